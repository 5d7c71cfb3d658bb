"""scikit-learn's private names that estimators need, so that a new version breaks one file."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.base import _fit_context as fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils._param_validation import Interval as _Interval
from sklearn.utils._param_validation import (
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_sample_weight

__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "Options",
    "StrOptions",
    "check_sample_weight",
    "choose_output",
    "fit_context",
    "validate_parameter_constraints",
    "with_callbacks",
]


class Interval(_Interval):
    """Numbers between two bounds; True and False are none."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether `val` is such a number."""
        return not isinstance(val, bool) and super().is_satisfied_by(val)


def check_sample_weight(sample_weight: Any, n_samples: int) -> np.ndarray:
    """Return weights as float64 of shape (n_samples,); raise ValueError if they are wrong."""
    rows = np.empty((n_samples, 0))
    return _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)


def choose_output(estimator: BaseEstimator, transform: str | None) -> BaseEstimator:
    """Do what ``set_output`` does, also for an estimator that has no feature names as it stands."""
    if transform is not None:
        chosen = getattr(estimator, "_sklearn_output_config", {})
        estimator._sklearn_output_config = {**chosen, "transform": transform}
    return estimator
