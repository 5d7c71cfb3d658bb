"""Class labels in, codes out: the check that every skcnn classifier runs on its y."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets


def encode_labels(
    estimator: BaseEstimator, y: Any, n_images: int, *, least_classes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes and, for each image, the index of its class.

    Raises
    ------
    ValueError
        If `y` is missing, not one label an image, not finite, continuous, or of fewer classes than
        `least_classes`.
    """
    name = type(estimator).__name__
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    y = column_or_1d(y, warn=True)
    if len(y) != n_images:
        raise ValueError(f"X holds {n_images} images, but y {len(y)} labels: one an image wanted.")
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < least_classes:
        only = classes.tolist()[0]
        raise ValueError(
            f"{name} needs images of at least 2 classes, but y has only one class: {only!r}."
        )
    return classes, codes
