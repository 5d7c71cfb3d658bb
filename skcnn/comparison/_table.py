"""The ranking in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from skcnn.comparison._format import (
    format_count,
    format_difference,
    format_duration,
    format_pvalue,
    format_score,
    printable,
)
from skcnn.comparison._summary import PipelineSummary, compare_scores, find_best


def ranking_table(summaries: Sequence[PipelineSummary], scoring: str) -> Table:
    """One row per pipeline, best first. Names are Text, so none is read as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("pipeline", vertical="top")
    heads = (
        f"{scoring}\nmean ± sd",
        "to best",
        "p",
        "fit\nper fold",
        "predict\nper image",
        "learnt\nnumbers",
    )
    for head in heads:
        table.add_column(Text(head), justify="right", no_wrap=True)
    best = find_best(summaries)
    for summary in summaries:
        table.add_row(*_cells(summary, best), style="bold" if summary is best else "")
    return table


def _cells(summary: PipelineSummary, best: PipelineSummary | None) -> list[Text]:
    name = Text(printable(summary.name))
    if summary.status == "failed":
        return [name, Text("failed", style="red")]
    difference, pvalue = compare_scores(summary, best)
    is_best = summary is best
    numbers = (
        f"{format_score(summary.mean_score)} ± {format_score(summary.std_score)}",
        "" if is_best else format_difference(difference),
        "" if is_best else format_pvalue(pvalue),
        format_duration(summary.mean_of("fit_time")),
        format_duration(summary.predict_time_per_image),
        format_count(summary.mean_of("n_parameters")),
    )
    return [name, *(Text(number) for number in numbers)]
