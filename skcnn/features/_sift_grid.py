"""Where dense SIFT descriptors lie, and which pixels each of their bins pools."""

from __future__ import annotations

from math import ceil, exp, sqrt

import numpy as np

N_BINS = 4  # along each side of a patch
N_ORIENTATIONS = 8
N_VALUES = N_BINS * N_BINS * N_ORIENTATIONS

# Pixels are pooled four at a time, which reads and writes the sum a quarter as often.
TAPS_AT_ONCE = 4


def grid_points(size: int, step: int, margin: float) -> np.ndarray:
    """Return the points along an axis of `size` pixels: `step` apart, `margin` kept, centred."""
    middle = (size - 1) / 2
    n_points = int((size - 1 - 2 * min(margin, middle)) // step) + 1
    return middle + (np.arange(n_points) - (n_points - 1) / 2) * step


def bin_taps(points: np.ndarray, bin_size: float, window: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel of each bin at each point, (n, 4), and the weights from it, (4, m).

    The weights are the same at all points, for these are a whole number of pixels apart.
    """
    pixels = np.floor(points).astype(np.intp)
    offset = points[0] - pixels[0]
    centres = offset + (np.arange(N_BINS) - (N_BINS - 1) / 2) * bin_size
    reach = bin_size if window == "gaussian" else bin_size / 2
    n_taps = TAPS_AT_ONCE * ceil(2 * reach / TAPS_AT_ONCE)
    first = np.floor(centres - reach).astype(np.intp) + 1
    taps = first[:, np.newaxis] + np.arange(n_taps)
    weights = np.maximum(0, 1 - np.abs(taps - centres[:, np.newaxis]) / reach)
    if window == "gaussian":
        sigma = N_BINS * bin_size / 2
        weights = weights * np.exp(-((taps - offset) ** 2) / (2 * sigma**2))
    return pixels[:, np.newaxis] + first, weights


def smoothing_kernel(bin_size: float, magnification: float | None) -> np.ndarray:
    """Return half of the Gaussian, its centre first, that makes images fit for the bins.

    It brings the blur of 0.5 pixels that a photograph has to `bin_size` / `magnification`.
    """
    variance = 0.0 if magnification is None else (bin_size / magnification) ** 2 - 0.25
    if variance <= 0:
        return np.ones(1)
    radius = int(4 * sqrt(variance) + 0.5)
    half = np.array([exp(-(k**2) / (2 * variance)) for k in range(radius + 1)])
    return half / (half[0] + 2 * half[1:].sum())
