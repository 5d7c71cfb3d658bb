"""SIFT descriptors at keypoints: scikit-image's detector, with empty sets in place of errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from skcnn.features._descriptors import DescriptorSets
from skcnn.features._sift_grid import N_VALUES

_LEAST_SIDE = 12  # pixels of the upsampled image, below which scikit-image has no octave
_NOTHING_FOUND = "SIFT found no features"


class Keypoints(NamedTuple):
    """Where the descriptors of one image lie.

    Attributes
    ----------
    positions : ndarray of shape (n, 2)
        Row and column in pixels.

    scales : ndarray of shape (n,)
        Standard deviation of the Gaussian in pixels; a patch is 12 of them wide.

    orientations : ndarray of shape (n,)
        Angle in radians from down (rows grow) to the right (columns grow).
    """

    positions: np.ndarray
    scales: np.ndarray
    orientations: np.ndarray


def detect_and_describe(
    image: np.ndarray,
    root_sift: bool,
    upsampling: int,
    n_octaves: int,
    n_scales: int,
    c_dog: float,
) -> tuple[Keypoints, np.ndarray]:
    """Return the keypoints of a grey image and their descriptors, shape (n, 128)."""
    from skimage.feature import SIFT

    if min(image.shape) * upsampling < _LEAST_SIDE:
        return _nothing(image.dtype)
    sift = SIFT(upsampling=upsampling, n_octaves=n_octaves, n_scales=n_scales, c_dog=c_dog)
    try:
        # Where the scale space is flat it divides by zero, and drops what comes out.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            sift.detect_and_extract(image)
    except RuntimeError as error:
        if _NOTHING_FOUND not in str(error):
            raise
        return _nothing(image.dtype)
    found = Keypoints(
        *(values.astype(image.dtype) for values in (sift.positions, sift.sigmas, sift.orientations))
    )
    return found, _normalise(sift.descriptors.astype(image.dtype), root_sift)


def join(parts: Sequence[tuple[Keypoints, np.ndarray]], height: int, width: int) -> DescriptorSets:
    """Return the sets of images of `height` x `width` pixels from what each gave."""
    keypoints = [
        np.concatenate(values) for values in zip(*(found for found, _ in parts), strict=True)
    ]
    positions, scales, orientations = keypoints
    return DescriptorSets(
        np.concatenate([descriptors for _, descriptors in parts]),
        [len(descriptors) for _, descriptors in parts],
        positions=(positions + positions.dtype.type(0.5))
        / np.array([height, width], positions.dtype),
        scales=scales,
        orientations=orientations,
    )


def _nothing(dtype: np.dtype) -> tuple[Keypoints, np.ndarray]:
    none = np.empty(0, dtype)
    return Keypoints(np.empty((0, 2), dtype), none, none), np.empty((0, N_VALUES), dtype)


def _normalise(descriptors: np.ndarray, root_sift: bool) -> np.ndarray:
    """Bring scikit-image's whole numbers from 0 to 255 to the length that dense ones have."""
    if root_sift:
        return np.sqrt(descriptors / descriptors.sum(axis=1, keepdims=True))
    return descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
