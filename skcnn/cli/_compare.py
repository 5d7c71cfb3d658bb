"""``skcnn compare``: load, compare, print, write."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

import joblib
from sklearn.model_selection import StratifiedKFold

from skcnn.cli._data import Data, load_data
from skcnn.cli._errors import CommandError, first_line
from skcnn.cli._messages import say
from skcnn.cli._model import fit_final, save_model
from skcnn.cli._output import MODEL, OutputFolder
from skcnn.comparison import Comparison, compare_pipelines, default_pipelines
from skcnn.comparison._pipelines import PRETRAINED
from skcnn.comparison._progress import PatientConsole
from skcnn.pretrained._availability import how_to_get

# Where no terminal limits a line, names need not be broken.
_PLAIN_WIDTH = 100


def run(arguments: argparse.Namespace) -> int:
    """Compare the chosen pipelines; what finished is printed and written, whatever ended it."""
    pipelines = _candidates(arguments)
    if arguments.list_pipelines:
        width = max(len(slug(name)) for name in pipelines) + 2
        print("\n".join(f"{slug(name):{width}}{name}" for name in pipelines))
        return 0
    if arguments.pipelines is None and PRETRAINED not in pipelines:
        say(f"No pre-trained network on board. To compare one: {how_to_get(arguments.backbone)}")
    pipelines = choose_pipelines(pipelines, arguments.pipelines, arguments.backbone)
    output = OutputFolder(arguments.output, force=arguments.force)
    data = load_data(arguments.data, arguments.size, arguments.mode)
    n_jobs = arguments.jobs or min(joblib.cpu_count(), len(pipelines) * arguments.cv)

    comparison = _compare(pipelines, data, arguments, n_jobs)
    if comparison.interrupted and not comparison.folds:
        raise KeyboardInterrupt
    reports = output.write_reports(comparison)
    _print_results(comparison)
    _announce(reports)
    if comparison.interrupted:
        say(f"Stopped before all folds had run: no {MODEL}.")
        return 130
    if comparison.best_name is None:
        say(f"Every pipeline failed: no {MODEL}.")
        return 1
    return _write_model(output, comparison, pipelines, data, n_jobs)


def _candidates(arguments: argparse.Namespace) -> dict[str, Any]:
    try:
        return default_pipelines(
            quick=arguments.quick,
            random_state=arguments.seed,
            backbone=arguments.backbone,
            weights=arguments.weights,
        )
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(first_line(error)) from error


def slug(name: str) -> str:
    """A pipeline's name as one types it: "HOG + RBF SVM" is hog-rbf-svm."""
    words = "".join(char if char.isalnum() else " " for char in name.lower()).split()
    return "-".join(words)


def choose_pipelines(
    pipelines: dict[str, Any], wanted: list[str] | None, backbone: str
) -> dict[str, Any]:
    """The pipelines that the user named, in the user's order; all if none was named."""
    if wanted is None:
        return pipelines
    by_slug = {slug(name): name for name in pipelines}
    chosen = {}
    for text in wanted:
        if slug(text) == slug(PRETRAINED) and PRETRAINED not in pipelines:
            raise CommandError(
                f"there are no weights for {text!r}. To get them: {how_to_get(backbone)}"
            )
        if slug(text) not in by_slug:
            close = get_close_matches(slug(text), by_slug, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise CommandError(
                f"there is no pipeline {text!r}: {hint}Choose from {', '.join(by_slug)}."
            )
        name = by_slug[slug(text)]
        chosen[name] = pipelines[name]
    return chosen


def _compare(
    pipelines: dict[str, Any], data: Data, arguments: argparse.Namespace, n_jobs: int
) -> Comparison:
    with warnings.catch_warnings():
        # An interrupted run is announced below, in the command's own words.
        warnings.filterwarnings("ignore", message="The comparison was interrupted")
        try:
            return compare_pipelines(
                pipelines,
                data.images,
                data.labels,
                cv=StratifiedKFold(arguments.cv, shuffle=True, random_state=arguments.seed),
                scoring=arguments.scoring,
                n_jobs=n_jobs,
                verbose=0 if arguments.quiet else 1,
            )
        except (TypeError, ValueError) as error:
            raise CommandError(first_line(error)) from error


def _write_model(
    output: OutputFolder, comparison: Comparison, pipelines: dict[str, Any], data: Data, n_jobs: int
) -> int:
    name = str(comparison.best_name)
    say(f"Fitting {name} on all images ...")
    try:
        fitted = fit_final(pipelines[name], data.images, data.labels, n_jobs)
    except KeyboardInterrupt:
        say(f"Stopped: no {MODEL}.")
        return 130
    except Exception as error:
        say(f"{name} could not be fitted on all images, no {MODEL}: {first_line(error)}")
        return 1
    path = output.path / MODEL
    image_format = data.image_format and asdict(data.image_format)
    save_model(path, {"pipeline": name, "estimator": fitted, "image_format": image_format})
    _announce([path])
    return 0


def print_ranking(comparison: Comparison) -> None:
    """Print the ranking and the conclusion on stdout."""
    console = PatientConsole(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    console.print(comparison)


def _print_results(comparison: Comparison) -> None:
    try:
        print_ranking(comparison)
    except OSError as error:  # a full disk, say: the reports are written, the work goes on
        say(f"The ranking could not be printed: {error}")
    for name, errors in comparison.errors.items():
        fold, reason = min(errors.items())
        say(f"{name} failed in fold {fold + 1}: {str(reason).splitlines()[0]}")


def _announce(paths: list) -> None:
    for path in paths:
        say(f"Wrote {path}")
