"""The check that every skcnn estimator runs on its X."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from skcnn.images._batch import ImageBatch, as_container


def check_images(estimator: BaseEstimator, X: Any, *, reset: bool) -> ImageBatch:
    """Return `X` as an :class:`ImageBatch` that suits `estimator`.

    The estimator's parameters `image_shape` and `channel_axis` (if it has them) say how `X` is
    laid out.

    Parameters
    ----------
    estimator : estimator
        The estimator that got `X`.

    X : array-like
        The images, in any layout that :class:`ImageBatch` knows.

    reset : bool
        True in `fit`: the estimator gets the attributes `image_shape_`, `n_features_in_` and, for
        data frames, `feature_names_in_`. False elsewhere: `X` must agree with them.

    Returns
    -------
    batch : ImageBatch
        The images.

    Raises
    ------
    ValueError
        If `X` is no image batch, or its images differ from those of `fit`; both shapes are named.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import HOGExtractor
    >>> from skcnn.images import check_images
    >>> extractor = HOGExtractor()
    >>> check_images(extractor, np.zeros((3, 8, 8)), reset=True).shape
    (3, 8, 8, 1)
    >>> extractor.image_shape_
    (8, 8)
    """
    # Feature names only: scikit-learn's other checks would convert the whole of X. An array has
    # none, and looking for them takes as long as a small network needs for an image.
    if reset or type(X) is not np.ndarray or hasattr(estimator, "feature_names_in_"):
        validate_data(estimator, X, reset=reset, skip_check_array=True, ensure_2d=False)
    X = as_container(X)
    image_shape = getattr(estimator, "image_shape", None)
    channel_axis = getattr(estimator, "channel_axis", -1)
    if not reset and image_shape is None:
        image_shape = _shape_for_flat_rows(estimator.image_shape_, X.shape, channel_axis)
    batch = ImageBatch(X, image_shape=image_shape, channel_axis=channel_axis)
    if reset:
        estimator.image_shape_ = batch.image_shape
        estimator.n_features_in_ = prod(batch.image_shape)
    elif batch.image_shape != estimator.image_shape_:
        name = type(estimator).__name__
        raise ValueError(
            f"X has {prod(batch.image_shape)} features, but {name} is expecting "
            f"{estimator.n_features_in_} features as input: X holds images of shape "
            f"{batch.image_shape}, {name} was fitted on images of shape {estimator.image_shape_}."
        )
    return batch


def _shape_for_flat_rows(
    fitted: tuple[int, ...], shape: tuple[int, ...], channel_axis: int | None
) -> tuple[int, ...] | None:
    """Flat rows of the right length are read as images of the shape seen in `fit`."""
    if tuple(shape[1:]) != (prod(fitted),):
        return None
    if len(fitted) == 2 or channel_axis is None:
        return fitted
    *stored, channels = fitted
    stored.insert(channel_axis % 4 - 1, channels)
    return tuple(stored)
