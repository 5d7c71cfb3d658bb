"""Patches that the user gives to be found in images, and the classes that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skcnn._labels import encode_labels
from skcnn.images import ImageBatch


def checked_patches(
    templates: Iterable[Any], image_shape: tuple[int, int, int], channel_axis: int | None
) -> list[np.ndarray]:
    """Return the patches as float64 arrays of shape (ph, pw, c), scaled like images.

    Raises
    ------
    ValueError
        If one of them is no patch of images of `image_shape` (h, w, c), or is constant.
    """
    patches = [
        _checked_patch(f"templates[{i}]", template, image_shape, channel_axis)
        for i, template in enumerate(templates)
    ]
    if not patches:
        raise ValueError("templates holds no template: give at least one, or None.")
    return patches


def _checked_patch(
    name: str, template: Any, image_shape: tuple[int, int, int], channel_axis: int | None
) -> np.ndarray:
    try:
        values = np.asarray(template)
        values = values.astype(np.float64) if values.dtype.kind == "O" else values
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as an array of numbers: {error}") from error
    *size, n_channels = image_shape
    grey = values.ndim == 2
    if values.dtype.kind not in "buif" or values.ndim not in (2, 3) or values.size == 0:
        raise ValueError(
            f"{name} must hold numbers in an array of shape (height, width), or with the channels "
            f"of the images (height, width, channels); got {values.dtype} of shape {values.shape}. "
            "A single template goes into a list."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity.")
    batch = ImageBatch(values[np.newaxis], channel_axis=-1 if grey else channel_axis)
    if batch.shape[3] != n_channels:
        raise ValueError(
            f"{name} of shape {values.shape} has {batch.shape[3]} channels, but the images have "
            f"{n_channels}."
        )
    if batch.shape[1] > size[0] or batch.shape[2] > size[1]:
        raise ValueError(
            f"{name} of {batch.shape[1]} x {batch.shape[2]} pixels is larger than the images of "
            f"{size[0]} x {size[1]} pixels (n_features={prod(size) * n_channels})."
        )
    patch = batch.read(slice(0, 1), np.float64)[0]
    if (patch == patch.flat[0]).all():
        raise ValueError(f"{name} is constant: it correlates 0 with everything.")
    return patch


def classes_of_patches(
    estimator: BaseEstimator, labels: Any, n_patches: int, y: Any, n_images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes of `y`, or of the labels if it is None, and that of each patch.

    Raises
    ------
    ValueError
        If the labels are not one a patch and at least one a class, or `y` not one an image.
    """
    labels = np.asarray(labels)
    if labels.shape != (n_patches,):
        raise ValueError(
            f"template_labels must hold one label a template: {n_patches}, got shape "
            f"{labels.shape}."
        )
    if y is None:
        return encode_labels(estimator, labels, n_patches)
    classes, _ = encode_labels(estimator, y, n_images)
    code_of = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in labels.tolist() if label not in code_of]
    if unknown:
        raise ValueError(f"template_labels holds {unknown[0]!r}, which is not among y: {classes}.")
    missing = set(code_of).difference(labels.tolist())
    if missing:
        raise ValueError(
            f"template_labels has no template for {missing.pop()!r}, a class of y: it could never "
            "be predicted. Give every class a template, or use the matcher without labels as a "
            "transformer before a classifier."
        )
    return classes, np.array([code_of[label] for label in labels.tolist()])
