"""Normalised cross-correlation of patches that slide over images."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from scipy import fft

_EPS = np.finfo(np.float64).eps
# Images are matched in blocks whose working memory stays in the processor's cache.
_BLOCK_BYTES = 2 * 2**20


def best_matches(
    images: np.ndarray, patches: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best correlation of each image with each patch, and where it is.

    Parameters
    ----------
    images : ndarray of shape (m, h, w, c), float64
        The images.

    patches : sequence of ndarray of shape (ph, pw, c), float64
        The patches, none larger than the images and none constant.

    Returns
    -------
    correlations : ndarray of shape (m, n_patches)
        In [-1, 1]; 0 for images without contrast.

    positions : ndarray of shape (m, n_patches, 2), int
        Row and column of the upper left pixel of the best window, of several the first one.
    """
    per_block = max(1, _BLOCK_BYTES // bytes_per_image(images.shape[1:], 1))
    matches = [
        _match_block(images[start : start + per_block], patches)
        for start in range(0, len(images), per_block)
    ]
    correlations, positions = zip(*matches, strict=True)
    return np.concatenate(correlations), np.concatenate(positions)


def _match_block(
    images: np.ndarray, patches: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    images = _centred_and_scaled(images)
    spectra = fft.rfft2(images, _fast_size(images), axes=(1, 2))
    correlations = np.empty((len(images), len(patches)))
    positions = np.empty((len(images), len(patches), 2), dtype=np.intp)
    scales: dict[tuple[int, ...], np.ndarray] = {}
    for i, patch in enumerate(patches):
        if patch.shape not in scales:
            scales[patch.shape] = _scale_of_windows(images, patch.shape)
        responses = _products(images, spectra, _unit(patch)) * scales[patch.shape]
        correlations[:, i], positions[:, i] = _best(responses)
    return correlations, positions


def bytes_per_image(shape: tuple[int, ...], n_patch_sizes: int) -> int:
    """Return the working memory of one image of shape (h, w, c)."""
    height, width, n_channels = shape
    # Images as read, scaled, squared, their spectra; of each size the scales; the responses.
    return 8 * height * width * (7 * n_channels + n_patch_sizes + 6)


def _fast_size(images: np.ndarray) -> list[int]:
    # A cyclic correlation of the image's own size is right wherever the patch lies inside.
    return [fft.next_fast_len(side, real=True) for side in images.shape[1:3]]


def _centred_and_scaled(images: np.ndarray) -> np.ndarray:
    """Bring each image to the mean 0 and values of about 1, which changes no correlation."""
    axes = (1, 2, 3)
    largest = np.abs(images).max(axis=axes, keepdims=True)
    images = np.divide(images, largest, out=np.zeros_like(images), where=largest > 0)
    images -= images.mean(axis=axes, keepdims=True)
    return images


def _unit(patch: np.ndarray) -> np.ndarray:
    patch = patch / np.abs(patch).max()
    patch -= patch.mean()
    return patch / np.linalg.norm(patch)


def _products(images: np.ndarray, spectra: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Return the scalar product of the patch with the windows at all positions inside."""
    size = _fast_size(images)
    patch_spectrum = fft.rfft2(patch, size, axes=(0, 1)).conj()
    products = fft.irfft2(np.einsum("mhwc,hwc->mhw", spectra, patch_spectrum), size, axes=(1, 2))
    rows, columns = np.subtract(images.shape[1:3], patch.shape[:2]) + 1
    return products[:, :rows, :columns]


def _scale_of_windows(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what brings each window without its mean to length 1; 0 for constant windows."""
    mean = np.einsum("mhwc->mhw", images) / images.shape[3]
    spread = np.zeros_like(mean)
    for channel in range(images.shape[3]):
        difference = images[..., channel] - mean
        spread += np.square(difference, out=difference)
    moments = _Moments(images.shape[3], mean, spread)
    del mean, spread, difference  # let go of while the runs grow
    for axis, length in enumerate(shape[:2], start=1):
        moments = _of_runs(moments, length, axis)
    # What remains by rounding of a constant window: of its own values, and of the whole image's.
    rounding = prod(shape) * (4 * _EPS * moments.mean) ** 2 + 1e-24 * prod(images.shape[1:])
    variation = moments.spread
    variation[variation <= rounding] = np.inf
    return 1 / np.sqrt(variation, out=variation)


class _Moments(NamedTuple):
    """Mean, and sum of squared differences from it, of groups of `size` values each."""

    size: int
    mean: np.ndarray
    spread: np.ndarray

    def part(self, axis: int, start: int, stop: int) -> _Moments:
        """Return some of the groups."""
        place = (slice(None),) * axis + (slice(start, stop),)
        return _Moments(self.size, self.mean[place], self.spread[place])

    @classmethod
    def of_nothing(cls) -> _Moments:
        """Return those of groups without values."""
        return cls(0, np.zeros(1), np.zeros(1))

    def joined(self, other: _Moments) -> _Moments:
        """Return those of each group together with another."""
        if self.size == 0:
            return other
        size = self.size + other.size
        difference = other.mean - self.mean
        step = difference * (other.size / size)
        spread = np.multiply(difference, step, out=difference)
        spread *= self.size
        spread += self.spread
        spread += other.spread
        step += self.mean
        return _Moments(size, step, spread)


def _of_runs(moments: _Moments, length: int, axis: int) -> _Moments:
    """Return those of `length` neighbours along an axis.

    They are put together from those of 1, 2, 4, ... neighbours by Chan, Golub & LeVeque's update.
    Sums of squares less the square of the sum would lose the digits of dark windows in bright
    images.
    """
    n_runs = moments.mean.shape[axis] - length + 1
    runs, done, run = _Moments.of_nothing(), 0, 1
    while True:
        if length & run:
            runs = runs.joined(moments.part(axis, done, done + n_runs))
            done += run
        if done == length:
            return runs
        n = moments.mean.shape[axis]
        moments = moments.part(axis, 0, n - run).joined(moments.part(axis, run, n))
        run *= 2


def _best(responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest response of each image and its first position, rounding aside."""
    flat = responses.reshape(len(responses), -1)
    best = flat.max(axis=1)
    first = (flat >= best[:, np.newaxis] - 1e-9).argmax(axis=1)
    return np.clip(best, -1, 1), np.stack(np.unravel_index(first, responses.shape[1:]), axis=-1)
