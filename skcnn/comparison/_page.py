"""The report: one HTML page that carries its styles and pictures with it.

Every text that comes from the user (names, labels, parameters, errors) passes through `_e`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as _e
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from skcnn.comparison._charts import COSTS, classify, draw_cost, draw_scores
from skcnn.comparison._format import (
    format_bytes,
    format_count,
    format_difference,
    format_duration,
    format_pvalue,
    format_score,
)
from skcnn.comparison._summary import SIGNIFICANCE, PipelineSummary, compare_scores, find_best

if TYPE_CHECKING:
    from skcnn.comparison._result import Comparison

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

# Beyond this many, a list of classes says less than its ends.
_CLASSES_SHOWN = 30


def render_page(comparison: Comparison) -> str:
    """The whole report."""
    summaries = comparison._summaries()
    scoring = comparison.setting["scoring"]
    sections = (
        _header(comparison),
        _section("Ranking", _ranking_table(summaries, scoring) + _ranking_note(scoring)),
        _section("Scores per fold", _score_figure(summaries, scoring)),
        _section("Score against cost", _cost_figures(summaries, scoring)),
        _section("Chosen parameters", _parameter_table(comparison)),
        _section("Errors", _errors(comparison)),
        _section("Warnings", _warnings(comparison)),
        _section("Setting", _setting(comparison)),
    )
    style = files(__package__).joinpath("_report.css").read_text(encoding="utf-8")
    title = f"skcnn: comparison of {comparison._how_many()}"
    return _PAGE.format(title=_e(title), style=style, body="\n".join(filter(None, sections)))


def render_notebook_table(comparison: Comparison) -> str:
    """The conclusion and the ranking, for a notebook's output cell."""
    table = _ranking_table(comparison._summaries(), comparison.setting["scoring"])
    return f"<p>{_e(comparison.conclusion)}</p>{table}"


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{_e(title)}</h2>\n{content}\n</section>" if content else ""


def _header(comparison: Comparison) -> str:
    setting = comparison.setting
    what = comparison._how_many()
    facts = (
        f"{setting['n_images']:,} images",
        f"{len(setting['class_counts'])} classes",
        _describe_shape(setting["image_shape"]),
        f"{comparison.n_folds} folds",
    )
    subtitle = " · ".join(fact for fact in facts if fact)
    return (
        f"<header>\n<h1>Comparison of {what}</h1>\n"
        f'<p class="subtitle">{_e(subtitle)}</p>\n'
        f'<p class="conclusion">{_e(comparison.conclusion)}</p>\n</header>'
    )


def _describe_shape(shape: tuple[int, ...] | None) -> str:
    if not shape:
        return ""
    if len(shape) == 1:
        return f"{shape[0]} values each"
    return f"{shape[0]} \N{MULTIPLICATION SIGN} {shape[1]} pixels" + (
        f", {shape[2]} channels" if len(shape) > 2 else ""
    )


def _ranking_table(summaries: Sequence[PipelineSummary], scoring: str) -> str:
    heads = (
        "",
        "Pipeline",
        f"{_e(scoring)}<br>mean ± sd",
        "Difference<br>to best",
        "p",
        "Fit<br>per fold",
        "Predict<br>per image",
        "Learnt<br>numbers",
        "Size",
    )
    classes = ("", "", *["number"] * 7)
    cells = (
        f'<th scope="col" class="{kind}">{head}</th>'
        for head, kind in zip(heads, classes, strict=True)
    )
    best = find_best(summaries)
    rows = (_ranking_row(place, s, best) for place, s in enumerate(summaries, start=1))
    return (
        f'<div class="scroll"><table>\n<thead><tr>{"".join(cells)}</tr></thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody>\n</table></div>"
    )


def _ranking_row(place: int, summary: PipelineSummary, best: PipelineSummary | None) -> str:
    name = f'<th scope="row">{_e(summary.name)}{_incomplete_note(summary)}</th>'
    if summary.status == "failed":
        error = _e(str(summary.error).splitlines()[0])
        return f'<tr class="failed"><td></td>{name}<td colspan="7">failed, {error}</td></tr>\n'
    if not summary.finished:
        return f'<tr><td></td>{name}<td colspan="7">did not run</td></tr>\n'
    difference, pvalue = compare_scores(summary, best)
    is_best = summary is best
    numbers = (
        ("score", f"{format_score(summary.mean_score)} ± {format_score(summary.std_score)}"),
        ("", "" if is_best else format_difference(difference)),
        ("", "" if is_best else format_pvalue(pvalue)),
        ("", format_duration(summary.mean_of("fit_time"))),
        ("", format_duration(summary.predict_time_per_image)),
        ("", format_count(summary.mean_of("n_parameters"))),
        ("", format_bytes(summary.mean_of("size"))),
    )
    cells = "".join(f'<td class="number {kind}">{_e(text)}</td>' for kind, text in numbers)
    rank = place if summary.status == "ok" else ""
    return f'<tr class="{"best" if is_best else ""}"><td>{rank}</td>{name}{cells}</tr>\n'


def _incomplete_note(summary: PipelineSummary) -> str:
    if summary.status != "interrupted" or not summary.finished:
        return ""
    return (
        f'<br><span class="note">{len(summary.finished)} of {summary.n_folds} folds, '
        "interrupted</span>"
    )


def _ranking_note(scoring: str) -> str:
    return (
        f'<p class="note">Greater {_e(scoring)} is better; sd is the standard deviation over '
        "folds. p: two-sided corrected resampled t-test against the best (Nadeau and Bengio 2003), "
        "which allows for overlapping training sets; not adjusted for the number of pipelines. "
        "Fit includes the parameter search. Size is the fitted pipeline on disk, uncompressed. "
        "A dash means not known.</p>"
    )


def _key(kind: str, text: str) -> str:
    circle = f'<circle class="point {kind}" cx="8" cy="8" r="6"/>'
    return f'<span class="key"><svg viewBox="0 0 16 16">{circle}</svg> {_e(text)}</span>'


def _score_figure(summaries: Sequence[PipelineSummary], scoring: str) -> str:
    picture = draw_scores(summaries, scoring)
    caption = "A dot is one fold, the upright bar and the number at the right are the mean."
    return picture and f"<figure>\n<figcaption>{caption}</figcaption>\n{picture}\n</figure>"


def _cost_figures(summaries: Sequence[PipelineSummary], scoring: str) -> str:
    names = ("fit_time", "predict_time_per_image")
    pictures = [draw_cost(summaries, scoring, COSTS[name]) for name in names]
    if not any(pictures):
        return ""
    kinds = set(classify(summaries).values())
    keys = (
        ("best", "best"),
        ("similar", f"not told apart from the best (p ≥ {SIGNIFICANCE})"),
        ("other", "other"),
    )
    legend = "".join(_key(kind, text) for kind, text in keys if kind in kinds)
    figures = "\n".join(f"<figure>\n{picture}\n</figure>" for picture in pictures if picture)
    return (
        '<p class="note">Up is better, left is cheaper. Point at a mark to read its values.<br>'
        f"{legend}</p>\n{figures}"
    )


def _parameter_table(comparison: Comparison) -> str:
    chosen = comparison.best_params
    order = [summary.name for summary in comparison._summaries()]
    rows = "".join(_parameter_rows(name, chosen[name]) for name in order)
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">fold {fold + 1}</th>' for fold in range(comparison.n_folds))
    return (
        '<p class="note">What the search inside each training fold chose.</p>\n'
        '<div class="scroll"><table>\n<thead><tr><th scope="col">Pipeline</th>'
        f'<th scope="col">Parameter</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n'
        "</table></div>"
    )


def _parameter_rows(name: str, per_fold: Sequence[dict[str, Any] | None]) -> str:
    parameters = sorted({key for chosen in per_fold for key in chosen or ()})
    rows = []
    for index, parameter in enumerate(parameters):
        head = f'<th scope="row" rowspan="{len(parameters)}">{_e(name)}</th>' if index == 0 else ""
        values = (
            _e(str(chosen[parameter])) if chosen and parameter in chosen else ""
            for chosen in per_fold
        )
        cells = "".join(f"<td>{value}</td>" for value in values)
        rows.append(f"<tr>{head}<td><code>{_e(parameter)}</code></td>{cells}</tr>\n")
    return "".join(rows)


def _errors(comparison: Comparison) -> str:
    return "\n".join(
        f"<details><summary><b>{_e(name)}</b>, fold {fold + 1}: "
        f'<span class="error">{_e(_first_line(error))}</span></summary>\n'
        f"<pre>{_e(error.traceback)}</pre></details>"
        for name, by_fold in comparison.errors.items()
        for fold, error in by_fold.items()
    )


def _first_line(error: Any) -> str:
    return str(error).splitlines()[0]


def _warnings(comparison: Comparison) -> str:
    folds_by_warning: dict[tuple[str, str], int] = {}
    for result in comparison.folds:
        for text in result.warnings:
            key = (result.pipeline, text)
            folds_by_warning[key] = folds_by_warning.get(key, 0) + 1
    if not folds_by_warning:
        return ""
    items = "".join(
        f"<p><b>{_e(name)}</b>, in {count} of {comparison.n_folds} folds</p><pre>{_e(text)}</pre>"
        for (name, text), count in folds_by_warning.items()
    )
    count = len(folds_by_warning)
    what = "1 warning" if count == 1 else f"{count} warnings"
    return f"<details><summary>{what} from fitting and predicting</summary>\n{items}</details>"


def _setting(comparison: Comparison) -> str:
    setting = comparison.setting
    versions = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
    facts = {
        "Started": f"{setting['started']}, took {format_duration(setting['seconds'])}",
        "Folds": setting["cv"],
        "Score": setting["scoring"],
        "Images": _describe_images(setting),
        "Images per class": _describe_classes(setting["class_counts"]),
        "Parallel jobs": "not set" if setting["n_jobs"] is None else str(setting["n_jobs"]),
        **setting["machine"],
        "Versions": versions,
    }
    return _definitions(facts.items())


def _describe_images(setting: dict[str, Any]) -> str:
    parts = (f"{setting['n_images']:,}", _describe_shape(setting["image_shape"]), setting["dtype"])
    return ", ".join(part for part in parts if part)


def _describe_classes(counts: dict[str, int]) -> str:
    shown = [f"{name}: {count:,}" for name, count in list(counts.items())[:_CLASSES_SHOWN]]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {rest} more classes" if rest else "")


def _definitions(facts: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{_e(name)}</dt><dd>{_e(text)}</dd>\n" for name, text in facts)
    return f"<dl>\n{items}</dl>"
