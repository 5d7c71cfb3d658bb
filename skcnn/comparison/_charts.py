"""The report's pictures: inline SVG that follows the page's colours and needs no other library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from skcnn.comparison._format import format_bytes, format_count, format_duration, format_score
from skcnn.comparison._labels import Box, place_labels, shorten, text_width
from skcnn.comparison._scales import LinearScale, LogScale
from skcnn.comparison._summary import PipelineSummary, find_best, find_similar

WIDTH = 760
_FONT = 13
_ROW = 30
_LABEL_HEIGHT = 17


class Cost(NamedTuple):
    """One kind of cost: how to read it from a summary and how to write it."""

    title: str
    axis: str
    value: Callable[[PipelineSummary], float]
    text: Callable[[float], str]
    tick: Callable[[float], str]


def _tick_duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.999 * scale:
            return f"{seconds / scale:,.4g} {unit}".replace(",", "\N{THIN SPACE}")
    return f"{seconds / 1e-9:.4g} ns"


def _tick_plain(value: float) -> str:
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.999 * scale:
            return f"{value / scale:.4g} {unit}"
    return f"{value:.4g}"


COSTS = {
    "fit_time": Cost(
        "time to fit",
        "fit time per fold, parameter search included (log scale)",
        lambda summary: summary.mean_of("fit_time"),
        format_duration,
        _tick_duration,
    ),
    "predict_time_per_image": Cost(
        "time to predict",
        "prediction time per image (log scale)",
        lambda summary: summary.predict_time_per_image,
        format_duration,
        _tick_duration,
    ),
    "n_parameters": Cost(
        "number of parameters",
        "learnt numbers (log scale)",
        lambda summary: summary.mean_of("n_parameters"),
        format_count,
        _tick_plain,
    ),
    "size": Cost(
        "size on disk",
        "size of the pickled pipeline in bytes (log scale)",
        lambda summary: summary.mean_of("size"),
        format_bytes,
        lambda value: f"{_tick_plain(value)}B" if value >= 999 else f"{value:.4g} B",
    ),
}


def classify(summaries: Sequence[PipelineSummary]) -> dict[str, str]:
    """How each pipeline is drawn."""
    best, similar = find_best(summaries), {summary.name for summary in find_similar(summaries)}
    return {
        summary.name: "best"
        if summary is best
        else "similar"
        if summary.name in similar
        else "other"
        for summary in summaries
    }


def draw_scores(summaries: Sequence[PipelineSummary], scoring: str) -> str:
    """One row per pipeline: a dot per fold, a bar at the mean, the mean as a number."""
    drawn = [summary for summary in summaries if summary.finished]
    if not drawn:
        return ""
    names = [shorten(summary.name, 290, _FONT) for summary in drawn]
    left = max(text_width(name, _FONT, bold=True) for name in names) + 14
    bottom = len(drawn) * _ROW + 8
    values = [score for summary in drawn for score in summary.scores if not np.isnan(score)]
    scale = LinearScale(values, left + 10, WIDTH - 68)
    kinds = classify(summaries)
    parts = [_vertical_tick(scale(value), 0, bottom, text) for value, text in scale.ticks()]
    for row, (summary, name) in enumerate(zip(drawn, names, strict=True)):
        parts.append(_score_row(summary, name, kinds[summary.name], left, row * _ROW + 19, scale))
    parts.append(_axis_title(f"{scoring} on the test images of each fold", left, bottom + 42))
    return _svg(parts, bottom + 50, f"{scoring} of every pipeline on every fold")


def draw_cost(summaries: Sequence[PipelineSummary], scoring: str, cost: Cost) -> str:
    """Score against a cost on a logarithmic axis, every point labelled with its name."""
    drawn = [summary for summary in summaries if summary.finished and cost.value(summary) > 0]
    if not drawn:
        return ""
    height = max(320, 20 * len(drawn) + 120)
    plot = Box(62, 8, WIDTH - 8, height - 56)
    x_scale = LogScale([cost.value(summary) for summary in drawn], plot.left + 14, plot.right - 14)
    y_scale = LinearScale(
        [summary.mean_score for summary in drawn], plot.bottom - 14, plot.top + 14
    )
    parts = [_horizontal_tick(y_scale(value), plot, text) for value, text in y_scale.ticks(6)]
    parts += [
        _vertical_tick(x_scale(value), plot.top, plot.bottom, cost.tick(value))
        for value in x_scale.ticks()
    ]
    parts += _labelled_points(drawn, classify(summaries), cost, x_scale, y_scale, plot)
    parts.append(_axis_title(cost.axis, plot.left, plot.bottom + 42))
    parts.append(_upright_title(f"mean {scoring}", plot))
    return _svg(parts, height, f"mean {scoring} of every pipeline against its {cost.title}")


def _score_row(
    summary: PipelineSummary, name: str, kind: str, left: float, y: float, scale: LinearScale
) -> str:
    mean, spread = format_score(summary.mean_score), format_score(summary.std_score)
    parts = [
        f'<line class="row" x1="{left:.1f}" x2="{WIDTH - 58}" y1="{y}" y2="{y}"/>',
        _text(left - 8, y + 4, name, f"name {kind}", "end"),
    ]
    for fold, score in enumerate(summary.scores):
        if not np.isnan(score):
            title = f"{summary.name}, fold {fold + 1}: {format_score(score, 4)}"
            parts.append(_circle(scale(score), y, 4, f"fold {kind}", title))
    x = scale(summary.mean_score)
    title = f"{summary.name}: mean {mean}, standard deviation {spread}"
    parts.append(
        f'<line class="mean {kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9}" y2="{y + 9}">'
        f"<title>{escape(title)}</title></line>"
    )
    parts.append(_text(WIDTH - 4, y + 4, mean, f"value {kind}", "end"))
    return "".join(parts)


def _labelled_points(
    drawn: Sequence[PipelineSummary],
    kinds: dict[str, str],
    cost: Cost,
    x_scale: LogScale,
    y_scale: LinearScale,
    plot: Box,
) -> list[str]:
    points = [(x_scale(cost.value(s)), y_scale(s.mean_score)) for s in drawn]
    names = [shorten(summary.name, 230, _FONT) for summary in drawn]
    widths = [
        text_width(name, _FONT, bold=kinds[summary.name] == "best")
        for summary, name in zip(drawn, names, strict=True)
    ]
    sizes = [(width, _LABEL_HEIGHT) for width in widths]
    leaders, marks = [], []
    for summary, name, (x, y), box in zip(
        drawn, names, points, place_labels(points, sizes, plot), strict=True
    ):
        kind = kinds[summary.name]
        title = (
            f"{summary.name}: {format_score(summary.mean_score)}, {cost.text(cost.value(summary))}"
        )
        marks.append(_circle(x, y, 6, f"point {kind}", title))
        if box is not None:
            leaders.append(_leader(x, y, box))
            marks.append(_label(x, box, name, kind))
    return [*leaders, *marks]


def _label(x: float, box: Box, name: str, kind: str) -> str:
    """A name, at the side of its box that faces its point: the box is rather wide."""
    if box.left >= x:
        return _text(box.left, box.bottom - 4, name, f"name {kind}", "start")
    if box.right <= x:
        return _text(box.right, box.bottom - 4, name, f"name {kind}", "end")
    return _text((box.left + box.right) / 2, box.bottom - 4, name, f"name {kind}", "middle")


def _leader(x: float, y: float, box: Box) -> str:
    """A thin line from a point to a label that could not sit right beside it."""
    end_x, end_y = box.nearest(x, y)
    if (end_x - x) ** 2 + (end_y - y) ** 2 < 14**2:
        return ""
    return f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{end_x:.1f}" y2="{end_y:.1f}"/>'


def _svg(parts: Sequence[str], height: float, description: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'aria-label="{escape(description)}" font-size="{_FONT}">{"".join(parts)}</svg>'
    )


def _vertical_tick(x: float, top: float, bottom: float, text: str) -> str:
    line = f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    return line + _text(x, bottom + 18, text, "tick", "middle")


def _horizontal_tick(y: float, plot: Box, text: str) -> str:
    line = f'<line class="grid" x1="{plot.left}" x2="{plot.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(plot.left - 8, y + 4, text, "tick", "end")


def _axis_title(text: str, left: float, y: float) -> str:
    return _text((left + WIDTH) / 2, y, text, "axis", "middle")


def _upright_title(text: str, plot: Box) -> str:
    middle = (plot.top + plot.bottom) / 2
    return (
        f'<text class="axis" text-anchor="middle" '
        f'transform="translate(14 {middle:.1f}) rotate(-90)">{escape(text)}</text>'
    )


def _circle(x: float, y: float, radius: float, kind: str, title: str) -> str:
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
        f"<title>{escape(title)}</title></circle>"
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
