"""The fitted pipeline that goes to disk, and how it comes back."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from threadpoolctl import threadpool_limits

from skcnn import __version__
from skcnn._interrupts import propagating_interrupts
from skcnn.cli._errors import CommandError, first_line
from skcnn.comparison._files import replacing

_FORMAT = "skcnn model 1"
_KEYS = {"pipeline", "estimator", "image_format"}
_CALIBRATION_FOLDS = 3


def fit_final(estimator: Any, images: Any, labels: np.ndarray, n_jobs: int) -> Any:
    """Fit a pipeline on all images; of a search, keep the winner.

    A classifier without probabilities (an SVM, say) gets them by temperature scaling of its
    decision values (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017), which
    leaves the labels as they are.
    """
    estimator = clone(estimator)
    if hasattr(estimator, "param_grid"):
        estimator.set_params(n_jobs=n_jobs)
    # As in the folds: each of the jobs with its share of the cores. Threads that share a busy core
    # wait for one another, and a small network then takes many times as long.
    n_threads = max(1, joblib.cpu_count() // n_jobs)
    with propagating_interrupts(), threadpool_limits(n_threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report has those of the folds
        return _fit_with_probabilities(estimator, images, labels, n_jobs)


def _fit_with_probabilities(estimator: Any, images: Any, labels: np.ndarray, n_jobs: int) -> Any:
    fitted = estimator.fit(images, labels)
    fitted = getattr(fitted, "best_estimator_", fitted)
    if hasattr(fitted, "predict_proba"):
        return fitted
    n_folds = min(_CALIBRATION_FOLDS, np.unique(labels, return_counts=True)[1].min())
    calibrated = CalibratedClassifierCV(
        fitted, method="temperature", cv=int(n_folds), ensemble=False, n_jobs=n_jobs
    )
    return calibrated.fit(images, labels)


def save_model(path: Path, model: dict[str, Any]) -> None:
    """Write a model at once: under another name beside it first, then renamed."""
    with replacing(path) as file:
        joblib.dump({"format": _FORMAT, "skcnn": __version__, **model}, file, compress=3)


def load_model(path: str) -> dict[str, Any]:
    """Read a model that `save_model` wrote; warnings about other versions go with it."""
    if not Path(path).is_file():
        raise CommandError(f"{path} does not exist or is not a file.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = joblib.load(path)
        except Exception as error:
            raise CommandError(
                f"{path} is not a model that can be loaded "
                f"({type(error).__name__}: {first_line(error)})."
            ) from error
    if not isinstance(model, dict) or model.get("format") != _FORMAT or not model.keys() >= _KEYS:
        raise CommandError(f"{path} was not written by `skcnn compare`.")
    return {**model, "warnings": sorted({str(warning.message) for warning in caught})}
