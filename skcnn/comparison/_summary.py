"""From single folds to one line per pipeline, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skcnn.comparison._fold import FoldResult
from skcnn.comparison._format import format_duration, format_score
from skcnn.comparison._statistics import corrected_resampled_ttest

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class PipelineSummary:
    """One pipeline over all folds."""

    name: str
    folds: list[FoldResult]
    n_folds: int
    scores: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        scores = np.full(self.n_folds, np.nan)
        for result in self.folds:
            scores[result.fold] = result.score
        object.__setattr__(self, "scores", scores)

    @property
    def status(self) -> str:
        """One of "ok", "failed" (a fold raised) and "interrupted" (folds are missing)."""
        if any(result.error is not None for result in self.folds):
            return "failed"
        return "ok" if len(self.folds) == self.n_folds else "interrupted"

    @property
    def finished(self) -> list[FoldResult]:
        """The folds that gave a score."""
        return [result for result in self.folds if result.error is None]

    @property
    def error(self) -> str | None:
        """The first fold's error in one line, with its fold counted from 1."""
        for result in self.folds:
            if result.error is not None:
                return f"fold {result.fold + 1}: {result.error}"
        return None

    @property
    def mean_score(self) -> float:
        """Mean score over the folds that finished."""
        return self.mean_of("score")

    @property
    def std_score(self) -> float:
        """Sample standard deviation of the scores; NaN for fewer than two."""
        scores = self.scores[~np.isnan(self.scores)]
        return float(scores.std(ddof=1)) if len(scores) > 1 else np.nan

    @property
    def predict_time_per_image(self) -> float:
        """Seconds to predict one image."""
        n_images = sum(result.n_test for result in self.finished)
        total = sum(result.predict_time for result in self.finished)
        return total / n_images if n_images else np.nan

    def mean_of(self, attribute: str) -> float:
        """Mean of one measurement over the folds that finished; NaN where it is not known."""
        values = [getattr(result, attribute) for result in self.finished]
        known = [value for value in values if value is not None and not np.isnan(value)]
        return float(np.mean(known)) if known else np.nan


def rank_pipelines(
    names: Sequence[str], n_folds: int, folds: Sequence[FoldResult]
) -> list[PipelineSummary]:
    """Summaries, best first; interrupted pipelines after complete ones, failed ones last."""
    summaries = [
        PipelineSummary(name, [result for result in folds if result.pipeline == name], n_folds)
        for name in names
    ]
    return sorted(summaries, key=_rank_key)


def _rank_key(summary: PipelineSummary) -> tuple[Any, ...]:
    place = ("ok", "interrupted", "failed").index(summary.status)
    score = summary.mean_score
    return (place, np.isnan(score), -score, summary.mean_of("fit_time"))


def compare_scores(
    summary: PipelineSummary, reference: PipelineSummary | None
) -> tuple[float, float]:
    """Mean difference in score to a reference, and the p value of the corrected t-test."""
    if reference is None or summary.status != "ok" or reference.status != "ok":
        return np.nan, np.nan
    differences = summary.scores - reference.scores
    n_train = float(np.mean([result.n_train for result in summary.folds]))
    n_test = float(np.mean([result.n_test for result in summary.folds]))
    test = corrected_resampled_ttest(differences, n_train, n_test)
    return float(differences.mean()), test.pvalue


def find_best(summaries: Sequence[PipelineSummary]) -> PipelineSummary | None:
    """The best of the complete pipelines."""
    return summaries[0] if summaries and summaries[0].status == "ok" else None


def find_similar(summaries: Sequence[PipelineSummary]) -> list[PipelineSummary]:
    """The pipelines that the test does not tell apart from the best."""
    best = find_best(summaries)
    return [
        summary
        for summary in summaries[1:]
        if compare_scores(summary, best)[1] >= SIGNIFICANCE  # False for NaN
    ]


def conclude(summaries: Sequence[PipelineSummary], scoring: str) -> str:
    """The outcome of a comparison in a few plain sentences."""
    best = find_best(summaries)
    parts = [_describe_best(best, scoring), _describe_similar(summaries)] if best else []
    parts.append(_describe_incomplete(summaries))
    return " ".join(part for part in parts if part)


def _describe_best(best: PipelineSummary, scoring: str) -> str:
    score = format_score(best.mean_score)
    if best.n_folds == 1:
        return (
            f"{best.name} has the best {scoring}: {score} on the one fold, which says nothing "
            "about chance."
        )
    spread = format_score(best.std_score)
    return (
        f"{best.name} has the best {scoring}: {score} ± {spread} "
        f"(mean ± standard deviation over {best.n_folds} folds)."
    )


def _describe_similar(summaries: Sequence[PipelineSummary]) -> str:
    best, rest = summaries[0], [other for other in summaries[1:] if other.status == "ok"]
    similar = find_similar(summaries)
    if best.n_folds == 1 or not rest:
        return ""
    if not similar:
        others = {1: "the other one", 2: "both others"}.get(len(rest), f"all {len(rest)} others")
        return f"It is ahead of {others} (p < {SIGNIFICANCE})."
    names = join_names([other.name for other in similar])
    text = f"The folds do not tell {names} apart from it (p ≥ {SIGNIFICANCE})."
    cheapest = min([best, *similar], key=lambda summary: summary.mean_of("fit_time"))
    if cheapest is not best:
        start = "" if len(similar) == 1 else "Of these, "
        how = "quicker" if len(similar) == 1 else "the quickest"
        seconds, best_seconds = cheapest.mean_of("fit_time"), best.mean_of("fit_time")
        text += (
            f" {start}{cheapest.name} is {how} to fit: {format_duration(seconds)} against "
            f"{format_duration(best_seconds)}."
        )
    return text


def _describe_incomplete(summaries: Sequence[PipelineSummary]) -> str:
    failed = [summary.name for summary in summaries if summary.status == "failed"]
    stopped = [summary.name for summary in summaries if summary.status == "interrupted"]
    parts = []
    if failed and len(failed) == len(summaries):
        parts.append("Every pipeline failed.")
    elif failed:
        parts.append(f"{join_names(failed)} failed.")
    if stopped:
        verb = "was" if len(stopped) == 1 else "were"
        parts.append(f"{join_names(stopped)} {verb} interrupted before all folds had run.")
    return " ".join(parts)


def join_names(names: Sequence[str]) -> str:
    """Names as an enumeration in a sentence."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
