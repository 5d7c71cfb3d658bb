"""The outcome of a comparison."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.text import Text

from skcnn.comparison._files import write_text
from skcnn.comparison._fold import FoldResult
from skcnn.comparison._format import format_score, printable
from skcnn.comparison._page import render_notebook_table, render_page
from skcnn.comparison._summary import (
    PipelineSummary,
    compare_scores,
    conclude,
    find_best,
    rank_pipelines,
)
from skcnn.comparison._table import ranking_table

if TYPE_CHECKING:
    import pandas as pd

    from skcnn.comparison._plot import ComparisonDisplay


class Comparison:
    """Scores and costs of several pipelines on the same folds.

    `compare_pipelines` makes it. It is plain data and can be pickled.

    Parameters
    ----------
    names : sequence of str
        The pipelines, in the order they were given.
    n_folds : int
        Number of folds.
    folds : sequence of FoldResult
        One per pipeline and fold that ran.
    setting : dict
        How it was run: ``scoring``, ``cv``, ``n_images``, ``image_shape``, ``class_counts``,
        ``n_jobs``, ``machine``, ``versions``, ``started``, ``seconds``.
    interrupted : bool, default=False
        Whether Ctrl-C ended it early.

    Attributes
    ----------
    scores : dict of str to ndarray of shape (n_folds,)
        Score per fold, NaN where a fold failed or did not run.
    best_params : dict of str to list
        What a search chose in each fold; None where there was no search.
    errors : dict of str to dict of int to FoldError
        The folds that failed, by pipeline; empty if none did.
    best_name : str or None
        The best pipeline of those that finished all folds.
    conclusion : str
        The outcome in a few sentences.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skcnn import compare_pipelines
    >>> X, y = load_iris(return_X_y=True)
    >>> comparison = compare_pipelines({"chance": DummyClassifier(), "Bayes": GaussianNB()}, X, y)
    >>> comparison.best_name
    'Bayes'
    >>> comparison.scores["chance"].round(2).tolist()
    [0.33, 0.33, 0.33, 0.33, 0.33]
    """

    def __init__(
        self,
        names: Sequence[str],
        n_folds: int,
        folds: Sequence[FoldResult],
        setting: dict[str, Any],
        *,
        interrupted: bool = False,
    ) -> None:
        self.names = list(names)
        self.n_folds = n_folds
        self.folds = list(folds)
        self.setting = setting
        self.interrupted = interrupted

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Score per fold of every pipeline."""
        by_name = {summary.name: summary.scores for summary in self._summaries()}
        return {name: by_name[name] for name in self.names}

    @property
    def best_params(self) -> dict[str, list[dict[str, Any] | None]]:
        """Chosen parameters per fold of every pipeline."""
        chosen: dict[str, list] = {name: [None] * self.n_folds for name in self.names}
        for result in self.folds:
            chosen[result.pipeline][result.fold] = result.best_params
        return chosen

    @property
    def errors(self) -> dict[str, dict[int, Any]]:
        """Errors by pipeline and fold."""
        errors: dict[str, dict[int, Any]] = {}
        for result in self.folds:
            if result.error is not None:
                errors.setdefault(result.pipeline, {})[result.fold] = result.error
        return errors

    @property
    def best_name(self) -> str | None:
        """The best pipeline of those that finished all folds."""
        best = find_best(self._summaries())
        return best.name if best else None

    @property
    def conclusion(self) -> str:
        """The outcome in a few sentences."""
        return conclude(self._summaries(), self.setting["scoring"])

    def _summaries(self) -> list[PipelineSummary]:
        """One summary per pipeline, best first, failed ones last."""
        return rank_pipelines(self.names, self.n_folds, self.folds)

    def ranking(self, baseline: str | None = None) -> pd.DataFrame:
        """Pipelines from best to worst, with the significance of the differences.

        Parameters
        ----------
        baseline : str, optional
            Name of a pipeline that the others are compared with, beside the best one.

        Returns
        -------
        ranking : DataFrame
            ``pipeline``, ``mean_score``, ``std_score`` (sample standard deviation over folds),
            ``difference_to_best``, ``p_value_to_best``, with a baseline ``difference_to_baseline``
            and ``p_value_to_baseline``, then ``status`` ("ok", "interrupted" or "failed") and
            ``error``. The p values are those of `corrected_resampled_ttest`, not adjusted for the
            number of comparisons.

        Raises
        ------
        ValueError
            If no pipeline is called `baseline`.
        """
        import pandas as pd

        summaries = self._summaries()
        reference = self._find_baseline(baseline, summaries)
        return pd.DataFrame(
            {
                "pipeline": summary.name,
                "mean_score": summary.mean_score,
                "std_score": summary.std_score,
                **_differences(summary, find_best(summaries), "best"),
                **(_differences(summary, reference, "baseline") if reference else {}),
                "status": summary.status,
                "error": summary.error,
            }
            for summary in summaries
        )

    def _find_baseline(
        self, baseline: str | None, summaries: list[PipelineSummary]
    ) -> PipelineSummary | None:
        if baseline is None:
            return None
        if baseline not in self.names:
            close = get_close_matches(str(baseline), self.names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose from {self.names}."
            raise ValueError(f"baseline={baseline!r} is not one of the pipelines: {hint}")
        return next(summary for summary in summaries if summary.name == baseline)

    def to_frame(self) -> pd.DataFrame:
        """One row per pipeline, best first.

        Returns
        -------
        frame : DataFrame
            The columns of `ranking` and, as means over folds, ``fit_time`` (seconds, the search
            included), ``refit_time`` (seconds, a search's last fit alone), ``predict_time``
            (seconds per test fold), ``predict_time_per_image`` (seconds), ``n_parameters``,
            ``size`` (bytes), then ``score_fold_1``, ``score_fold_2``, ...
        """
        frame = self.ranking()
        summaries = self._summaries()
        costs = {
            name: [summary.mean_of(name) for summary in summaries]
            for name in ("fit_time", "refit_time", "predict_time", "n_parameters", "size")
        }
        costs["predict_time_per_image"] = [s.predict_time_per_image for s in summaries]
        order = ("fit_time", "refit_time", "predict_time", "predict_time_per_image")
        for name in (*order, "n_parameters", "size"):
            frame.insert(frame.columns.get_loc("status"), name, costs[name])
        for fold in range(self.n_folds):
            frame[f"score_fold_{fold + 1}"] = [summary.scores[fold] for summary in summaries]
        return frame

    def fold_frame(self) -> pd.DataFrame:
        """One row per pipeline and fold that ran, with everything measured.

        Returns
        -------
        frame : DataFrame
            The fields of `FoldResult`: ``pipeline``, ``fold`` (from 0), ``n_train``, ``n_test``,
            ``score``, ``fit_time``, ``refit_time``, ``predict_time``, ``n_parameters``, ``size``,
            ``best_params``, ``warnings``, ``error``.
        """
        import pandas as pd

        rows = [{**vars(result), "error": _text(result.error)} for result in self.folds]
        return pd.DataFrame(rows, columns=list(FoldResult.__dataclass_fields__))

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write `to_frame` as a CSV file, replacing an existing one.

        Parameters
        ----------
        path : str or path-like
            The file.
        """
        write_text(path, self.to_frame().to_csv(index=False, lineterminator="\n"))

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """Write a report: one page that needs no other file.

        Parameters
        ----------
        path : str or path-like, optional
            The file; an existing one is replaced.

        Returns
        -------
        page : str or None
            The page's text if `path` is None.
        """
        page = render_page(self)
        if path is None:
            return page
        write_text(path, page)
        return None

    def plot(self, *, cost: str = "fit_time", axes: Any = None) -> ComparisonDisplay:
        """Draw scores per fold beside score against cost, with matplotlib.

        Parameters
        ----------
        cost : {"fit_time", "predict_time_per_image", "n_parameters", "size"}, default="fit_time"
            What the second panel shows.
        axes : pair of matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        display : ComparisonDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from skcnn.comparison._plot import ComparisonDisplay

        return ComparisonDisplay.from_comparison(self, cost=cost, axes=axes)

    def _how_many(self) -> str:
        return "1 pipeline" if len(self.names) == 1 else f"{len(self.names)} pipelines"

    def __repr__(self) -> str:
        best = find_best(self._summaries())
        parts = [
            f"{self._how_many()}, {self.n_folds} folds, {self.setting['scoring']}",
            f"best: {best.name} {format_score(best.mean_score)} ± {format_score(best.std_score)}"
            if best
            else "",
            f"{len(self.errors)} failed" if self.errors else "",
            "interrupted" if self.interrupted else "",
        ]
        return f"<Comparison: {'; '.join(part for part in parts if part)}>"

    def __rich__(self) -> Group:
        """What `rich.print` shows: the ranking and the conclusion."""
        table = ranking_table(self._summaries(), self.setting["scoring"])
        return Group(table, Text(printable(self.conclusion)))

    def _repr_html_(self) -> str:
        return render_notebook_table(self)


def _differences(
    summary: PipelineSummary, reference: PipelineSummary | None, name: str
) -> dict[str, float]:
    difference, pvalue = compare_scores(summary, reference)
    return {f"difference_to_{name}": difference, f"p_value_to_{name}": pvalue}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
