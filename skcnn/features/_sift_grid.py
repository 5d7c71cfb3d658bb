"""Where dense SIFT descriptors lie, and which pixels each of their bins pools."""

from __future__ import annotations

from math import ceil, exp, sqrt
from typing import NamedTuple

import numpy as np

N_BINS = 4  # along each side of a patch
N_ORIENTATIONS = 8
N_VALUES = N_BINS * N_BINS * N_ORIENTATIONS

# Pixels are pooled four at a time, which reads and writes the sum a quarter as often.
TAPS_AT_ONCE = 4


class Grid(NamedTuple):
    """How the descriptors of one scale are pooled at each point of a grid.

    Attributes
    ----------
    kernel : ndarray of shape (m,)
        Smoothing kernel along an axis, then zeros up to a multiple of `TAPS_AT_ONCE`.

    radius : int
        Pixels of the kernel to each side of its centre.

    row_taps, column_taps : ndarray of int of shape (rows or columns, 4)
        First pixel of each bin at each point, negative if it lies beyond the image.

    row_weights, column_weights : ndarray of shape (4, n_taps)
        Weights of the pixels of a bin from there on, as many as a multiple of `TAPS_AT_ONCE`.
    """

    kernel: np.ndarray
    radius: int
    row_taps: np.ndarray
    row_weights: np.ndarray
    column_taps: np.ndarray
    column_weights: np.ndarray

    @property
    def mass_of_a_bin(self) -> float:
        """Sum of the weights of all pixels of a bin."""
        return self.row_weights.sum(axis=1).max() * self.column_weights.sum(axis=1).max()


def make_grid(
    rows: np.ndarray,
    columns: np.ndarray,
    bin_size: float,
    magnification: float | None,
    window: str,
) -> Grid:
    """Return the grid of points at `rows` and `columns`, which are whole pixels apart."""
    kernel = _smoothing_kernel(bin_size, magnification)
    return Grid(
        np.pad(kernel, (0, -len(kernel) % TAPS_AT_ONCE)),
        len(kernel) // 2,
        *_bin_taps(rows, bin_size, window),
        *_bin_taps(columns, bin_size, window),
    )


def grid_points(size: int, step: int, margin: float) -> np.ndarray:
    """Return the points along an axis of `size` pixels: `step` apart, `margin` kept, centred."""
    middle = (size - 1) / 2
    n_points = int((size - 1 - 2 * min(margin, middle)) // step) + 1
    return middle + (np.arange(n_points) - (n_points - 1) / 2) * step


def _bin_taps(points: np.ndarray, bin_size: float, window: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel of each bin at each point, (n, 4), and the weights from it, (4, m).

    The weights are the same at all points, for these are a whole number of pixels apart.
    """
    pixels = np.floor(points).astype(np.int64)
    offset = points[0] - pixels[0]
    centres = offset + (np.arange(N_BINS) - (N_BINS - 1) / 2) * bin_size
    reach = bin_size if window == "gaussian" else bin_size / 2
    n_taps = TAPS_AT_ONCE * ceil(2 * reach / TAPS_AT_ONCE)
    first = np.floor(centres - reach).astype(np.int64) + 1
    taps = first[:, np.newaxis] + np.arange(n_taps)
    weights = np.maximum(0, 1 - np.abs(taps - centres[:, np.newaxis]) / reach)
    if window == "gaussian":
        sigma = N_BINS * bin_size / 2
        weights = weights * np.exp(-((taps - offset) ** 2) / (2 * sigma**2))
    return pixels[:, np.newaxis] + first, weights


def _smoothing_kernel(bin_size: float, magnification: float | None) -> np.ndarray:
    """Return the Gaussian that makes images fit for the bins.

    It brings the blur of 0.5 pixels that a photograph has to `bin_size` / `magnification`.
    """
    variance = 0.0 if magnification is None else (bin_size / magnification) ** 2 - 0.25
    if variance <= 0:
        return np.ones(1)
    radius = int(4 * sqrt(variance) + 0.5)
    kernel = np.array([exp(-(k**2) / (2 * variance)) for k in range(-radius, radius + 1)])
    return kernel / kernel.sum()
