"""The report's pictures with matplotlib, for scripts and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skcnn._plotting import import_pyplot
from skcnn.comparison._charts import COSTS, Cost, classify
from skcnn.comparison._labels import Box, place_labels, shorten, text_width
from skcnn.comparison._summary import PipelineSummary

if TYPE_CHECKING:
    from skcnn.comparison._result import Comparison

# Okabe and Ito's blue and a grey: told apart by people of any colour vision, and in print.
_COLOURS = {"best": "#0072B2", "similar": "#0072B2", "other": "#7f7f7f"}


class ComparisonDisplay:
    """Scores per fold beside score against cost.

    Make it with `from_comparison` or `Comparison.plot`.

    Parameters
    ----------
    summaries : list of PipelineSummary
        In ranking order.
    scoring : str
        What the score is called.
    cost : {"fit_time", "predict_time_per_image", "n_parameters", "size"}
        What the second panel shows.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : tuple of two matplotlib Axes
        Left and right panel.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skcnn import compare_pipelines
    >>> X, y = load_iris(return_X_y=True)
    >>> comparison = compare_pipelines({"chance": DummyClassifier(), "Bayes": GaussianNB()}, X, y)
    >>> display = comparison.plot(cost="predict_time_per_image")  # doctest: +SKIP
    """

    def __init__(self, summaries: list[PipelineSummary], scoring: str, cost: str) -> None:
        self.summaries = summaries
        self.scoring = scoring
        self.cost = cost

    @classmethod
    def from_comparison(
        cls, comparison: Comparison, *, cost: str = "fit_time", axes: Any = None
    ) -> ComparisonDisplay:
        """Draw a comparison.

        Parameters
        ----------
        comparison : Comparison
            What to draw.
        cost : {"fit_time", "predict_time_per_image", "n_parameters", "size"}, default="fit_time"
            What the second panel shows.
        axes : pair of matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        display : ComparisonDisplay
            With ``figure_`` and ``axes_``.
        """
        display = cls(comparison._summaries(), comparison.setting["scoring"], cost)
        return display.plot(axes=axes)

    def plot(self, *, axes: Any = None) -> ComparisonDisplay:
        """Draw both panels.

        Parameters
        ----------
        axes : pair of matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        self : ComparisonDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `cost` is none of the four, or no fold of any pipeline finished.
        """
        if self.cost not in COSTS:
            raise ValueError(f"cost must be one of {list(COSTS)}, got {self.cost!r}.")
        drawn = [summary for summary in self.summaries if summary.finished]
        if not drawn:
            raise ValueError("There is nothing to plot: no fold of any pipeline finished.")
        left, right = self._new_axes(len(drawn)) if axes is None else axes
        kinds = classify(self.summaries)
        self.figure_, self.axes_ = left.figure, (left, right)
        self._draw_scores(left, drawn, kinds)
        self._draw_cost(right, drawn, kinds, COSTS[self.cost])
        return self

    @staticmethod
    def _new_axes(n_rows: int) -> Any:
        pyplot = import_pyplot()
        height = max(4.0, 0.34 * n_rows + 1.2)
        _, axes = pyplot.subplots(1, 2, figsize=(13, height), layout="constrained")
        return axes

    def _draw_scores(self, ax: Any, drawn: list[PipelineSummary], kinds: dict[str, str]) -> None:
        for row, summary in enumerate(drawn):
            colour = _COLOURS[kinds[summary.name]]
            ax.plot(summary.scores, np.full(len(summary.scores), row), "o", color=colour, alpha=0.4)
            ax.plot(summary.mean_score, row, "|", color=colour, markersize=18, markeredgewidth=2.5)
        ax.set_yticks(range(len(drawn)), [_literal(shorten(s.name, 260, 10)) for s in drawn])
        ax.set_ylim(len(drawn) - 0.5, -0.5)
        ax.set_xlabel(f"{_literal(self.scoring)} on the test images of each fold (bar: mean)")
        ax.grid(axis="x", alpha=0.3)

    def _draw_cost(
        self, ax: Any, drawn: list[PipelineSummary], kinds: dict[str, str], cost: Cost
    ) -> None:
        drawn = [summary for summary in drawn if cost.value(summary) > 0]
        for summary in drawn:
            kind = kinds[summary.name]
            face = "none" if kind == "similar" else _COLOURS[kind]
            ax.plot(
                cost.value(summary),
                summary.mean_score,
                "o",
                markersize=8,
                markerfacecolor=face,
                markeredgecolor=_COLOURS[kind],
                markeredgewidth=1.8,
            )
        ax.set_xscale("log")
        ax.margins(0.08)
        ax.xaxis.set_major_formatter(lambda value, _: cost.tick(value))
        ax.xaxis.set_minor_formatter("")
        ax.set_xlabel(cost.axis)
        ax.set_ylabel(f"mean {_literal(self.scoring)}")
        ax.grid(alpha=0.3)
        self._label_points(ax, drawn, cost)

    def _label_points(self, ax: Any, drawn: list[PipelineSummary], cost: Cost) -> None:
        """Place the names on the final layout, in points from the panel's lower left corner."""
        figure = ax.figure
        figure.draw_without_rendering()
        to_points = 72 / figure.dpi
        frame = ax.get_window_extent()
        corner, top = np.array([frame.x0, frame.y0]), frame.height * to_points
        values = [(cost.value(summary), summary.mean_score) for summary in drawn]
        pixels = ax.transData.transform(values) if values else np.empty((0, 2))
        points = [(x, top - y) for x, y in (pixels - corner) * to_points]
        names = [shorten(summary.name, 200, 9) for summary in drawn]
        sizes = [(text_width(name, 9) + 2, 12.0) for name in names]
        bounds = Box(2, 2, frame.width * to_points - 2, top - 2)
        boxes = place_labels(points, sizes, bounds, marker=6)
        for value, name, box in zip(values, names, boxes, strict=True):
            if box is not None:
                self._annotate(ax, value, name, ((box.left + box.right) / 2, top - box.bottom + 3))

    @staticmethod
    def _annotate(
        ax: Any, value: tuple[float, float], name: str, position: tuple[float, float]
    ) -> None:
        ax.annotate(
            _literal(name),
            value,
            xytext=position,
            textcoords="axes points",
            fontsize=9,
            ha="center",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "#7f7f7f", "shrinkB": 5},
        )


def _literal(text: str) -> str:
    """A user's text with its dollar signs kept: matplotlib would read mathematics between two."""
    return text.replace("$", r"\$")
