"""scikit-learn's private names that estimators need, so that a new version breaks one file."""

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)

__all__ = [
    "Interval",
    "Options",
    "StrOptions",
    "fit_context",
    "validate_parameter_constraints",
]
