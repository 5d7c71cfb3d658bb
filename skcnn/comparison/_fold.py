"""One pipeline on one fold: fit, predict, score, measure."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import get_scorer

from skcnn._interrupts import propagating_interrupts
from skcnn.comparison._cost import count_parameters, pickled_size
from skcnn.images import ImageFiles


@dataclass(frozen=True)
class FoldError:
    """What went wrong in one fold.

    Parameters
    ----------
    type : str
        Name of the exception's class.
    message : str
        The exception's text.
    traceback : str
        The whole traceback.
    """

    type: str
    message: str
    traceback: str

    @classmethod
    def from_exception(cls, error: BaseException) -> FoldError:
        """Keep an exception as text, so that it can be pickled wherever it came from.

        Parameters
        ----------
        error : BaseException
            The exception caught.

        Returns
        -------
        fold_error : FoldError
            Its type, message and traceback.
        """
        return cls(type(error).__name__, str(error), "".join(traceback.format_exception(error)))

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True)
class FoldResult:
    """Everything that is known about one pipeline on one fold.

    Parameters
    ----------
    pipeline : str
        Name of the pipeline.
    fold : int
        Number of the fold, from 0.
    n_train, n_test : int
        Number of training and of test images.
    score : float
        Score on the test images; greater is better. NaN if the fold failed.
    fit_time : float
        Seconds to fit, the parameter search included.
    refit_time : float
        Seconds of a search's last fit alone, the one with the chosen parameters; NaN without a
        search.
    predict_time : float
        Seconds to predict all test images.
    n_parameters : int or None
        Learnt numbers, see `count_parameters`.
    size : int or None
        Bytes of the fitted pipeline's pickle.
    best_params : dict or None
        Parameters that a search chose.
    warnings : tuple of str
        Distinct warnings raised meanwhile.
    error : FoldError or None
        Why the fold failed.
    """

    pipeline: str
    fold: int
    n_train: int
    n_test: int
    score: float = np.nan
    fit_time: float = np.nan
    refit_time: float = np.nan
    predict_time: float = np.nan
    n_parameters: int | None = None
    size: int | None = None
    best_params: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    error: FoldError | None = None


def run_fold(
    name: str,
    fold: int,
    estimator: Any,
    X: Any,
    y: np.ndarray,
    split: tuple[np.ndarray, np.ndarray],
    scoring: str | Callable,
) -> FoldResult:
    """Fit a clone on the training images of one fold and measure it on the test images.

    Parameters
    ----------
    name : str
        Name of the pipeline.
    fold : int
        Number of the fold.
    estimator : estimator
        The pipeline; it is cloned, never fitted itself.
    X : image batch of length n_images
        All images; only this fold's are taken out.
    y : ndarray of shape (n_images,)
        All labels.
    split : tuple of two ndarrays
        Indices of the training and of the test images.
    scoring : str or callable
        Name of a scikit-learn scorer, or ``scorer(estimator, X, y)`` returning a float.

    Returns
    -------
    result : FoldResult
        An exception in the pipeline is caught and kept in ``result.error``.
    """
    train, test = split
    known: dict[str, Any] = {
        "pipeline": name,
        "fold": fold,
        "n_train": len(train),
        "n_test": len(test),
    }
    with propagating_interrupts(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            known |= _measure(estimator, take(X, train), y[train], take(X, test), y[test], scoring)
        except Exception as error:
            known["error"] = FoldError.from_exception(error)
    texts = (f"{warning.category.__name__}: {warning.message}" for warning in caught)
    return FoldResult(**known, warnings=tuple(dict.fromkeys(texts)))


def take(X: Any, indices: np.ndarray) -> Any:
    """Images at `indices`, in the container's own way: a lazy one stays lazy.

    Parameters
    ----------
    X : image batch, data frame, list or tuple
        What to take from.
    indices : ndarray of int
        Which ones.

    Returns
    -------
    X_taken : same kind as `X`
        A list for a list or tuple.
    """
    if hasattr(X, "iloc"):
        return X.iloc[indices]
    if isinstance(X, list | tuple):
        return [X[i] for i in indices]
    if isinstance(X, np.ndarray | ImageFiles) or np.all(np.diff(indices) > 0):
        return X[indices]
    # HDF5 data sets know increasing indices only.
    increasing, positions = np.unique(indices, return_inverse=True)
    return X[increasing][positions]


def _measure(
    estimator: Any, X_train: Any, y_train: Any, X_test: Any, y_test: Any, scoring: str | Callable
) -> dict[str, Any]:
    fitted = clone(estimator, safe=False)
    start = perf_counter()
    fitted.fit(X_train, y_train)
    fit_time = perf_counter() - start
    # Timed apart from the score: a metric's own arithmetic can outweigh a fast prediction.
    start = perf_counter()
    predictions = fitted.predict(X_test)
    predict_time = perf_counter() - start
    return {
        "score": _score(fitted, X_test, y_test, predictions, scoring),
        "fit_time": fit_time,
        "refit_time": float(getattr(fitted, "refit_time_", np.nan)),
        "predict_time": predict_time,
        "n_parameters": count_parameters(fitted),
        "size": pickled_size(fitted),
        "best_params": _plain_parameters(getattr(fitted, "best_params_", None)),
    }


def _score(fitted: Any, X: Any, y: np.ndarray, predictions: Any, scoring: str | Callable) -> float:
    if isinstance(scoring, str):
        score = get_scorer(scoring)(_Predicted(fitted, X, predictions), X, y)
    else:
        score = scoring(fitted, X, y)
    if not isinstance(score, Real) or not np.isfinite(float(score)):
        raise ValueError(f"scoring must give one finite number per fold, it gave {score!r}.")
    return float(score)


class _Predicted:
    """A fitted estimator that does not predict the same images a second time for its score."""

    def __init__(self, estimator: Any, X: Any, predictions: Any) -> None:
        self._estimator, self._X, self._predictions = estimator, X, predictions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def predict(self, X: Any) -> Any:
        return self._predictions if X is self._X else self._estimator.predict(X)


def _plain_parameters(parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Parameters as plain data; an estimator among the values is kept as its text."""
    if parameters is None:
        return None
    return {name: _plain(value) for name, value in sorted(parameters.items())}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return tuple(_plain(part) for part in value)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
