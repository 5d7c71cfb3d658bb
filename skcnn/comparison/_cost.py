"""What a fitted pipeline costs: learnt numbers and bytes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.pipeline import FeatureUnion, Pipeline

# Public fitted floats that describe the fit and that prediction never reads.
_BOOKKEEPING = frozenset(
    {
        "C_",
        "Cs_",
        "best_loss_",
        "best_validation_score_",
        "class_count_",
        "class_weight_",
        "classes_",
        "epsilon_",
        "explained_variance_",
        "explained_variance_ratio_",
        "feature_names_in_",
        "inertia_",
        "labels_",
        "loss_",
        "loss_curve_",
        "n_samples_seen_",
        "noise_variance_",
        "objective_",
        "singular_values_",
        "validation_scores_",
    }
)


def count_parameters(estimator: Any) -> int | None:
    """Count the learnt numbers that a fitted estimator predicts with.

    An estimator that knows its own count says so in ``n_parameters_`` (skcnn's networks do). For
    any other, the numbers in its public fitted attributes are counted: attributes whose name ends
    with one underscore and that hold a float, a float array (dense, or the stored entries of a
    sparse one) or a list of float arrays. Integers (labels, indices, counts) and names that
    describe the fit rather than take part in predictions (``loss_``, ``explained_variance_``, ...)
    are left out; so is ``var_`` of a scaler, which uses its square root ``scale_``.

    A search counts as its ``best_estimator_``, a `Pipeline` or `FeatureUnion` as the sum of its
    steps, and fitted estimators inside fitted attributes (``estimators_``, ``final_estimator_``,
    ...) count once each. The support vectors of an SVM are learnt numbers.

    Parameters
    ----------
    estimator : object
        A fitted estimator.

    Returns
    -------
    n_parameters : int or None
        None where no learnt number is found in public attributes, as with nearest neighbours or
        trees: what they keep is private or not numbers of a formula.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skcnn.comparison import count_parameters
    >>> X, y = load_iris(return_X_y=True)
    >>> count_parameters(LogisticRegression(max_iter=1000).fit(X, y))  # 3 x 4 weights, 3 biases
    15
    """
    return _count(estimator, seen=set()) or None


def pickled_size(estimator: Any) -> int | None:
    """Number of bytes of a fitted estimator on disk, uncompressed; None if it cannot be pickled.

    Of a search only ``best_estimator_`` is measured: it is what one keeps.

    Parameters
    ----------
    estimator : object
        A fitted estimator.

    Returns
    -------
    n_bytes : int or None
        Length of its pickle.
    """
    sink = _ByteCounter()
    try:
        pickle.Pickler(sink, protocol=5).dump(getattr(estimator, "best_estimator_", estimator))
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    return sink.n_bytes


class _ByteCounter:
    """A file that keeps nothing: a model is measured without a second copy in memory."""

    def __init__(self) -> None:
        self.n_bytes = 0

    def write(self, data: Any) -> int:
        n_bytes = memoryview(data).nbytes
        self.n_bytes += n_bytes
        return n_bytes


def _count(estimator: Any, seen: set[int]) -> int:
    if id(estimator) in seen:
        return 0
    seen.add(id(estimator))
    if hasattr(estimator, "n_parameters_"):
        return int(estimator.n_parameters_)
    if hasattr(estimator, "best_estimator_"):
        return _count(estimator.best_estimator_, seen)
    if isinstance(estimator, Pipeline):
        return sum(_count(step, seen) for _, step in estimator.steps)
    if isinstance(estimator, FeatureUnion):
        return sum(_count(part, seen) for _, part in estimator.transformer_list)
    return sum(_count_value(value, seen) for value in _fitted_values(estimator))


def _fitted_values(estimator: Any) -> Iterator[Any]:
    attributes = getattr(estimator, "__dict__", {})
    for name, value in attributes.items():
        is_fitted = name.endswith("_") and not name.endswith("__") and not name.startswith("_")
        is_double = name == "var_" and "scale_" in attributes  # a scaler divides by scale_ alone
        if is_fitted and not is_double and name not in _BOOKKEEPING:
            yield value


def _count_value(value: Any, seen: set[int]) -> int:
    if isinstance(value, float | np.floating):
        return 1
    if sparse.issparse(value):
        return value.nnz if np.issubdtype(value.dtype, np.floating) else 0
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.size if np.issubdtype(value.dtype, np.floating) else 0
    if isinstance(value, list | tuple | np.ndarray):
        parts = np.ravel(value) if isinstance(value, np.ndarray) else value
        return sum(_count_value(part, seen) for part in parts if not isinstance(part, float))
    return _count(value, seen) if hasattr(value, "fit") else 0
