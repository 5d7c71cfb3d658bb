"""Sums of batch normalisation, and what becomes of its gradient, compiled: one pass each."""

from __future__ import annotations

import numpy as np

from skcnn._compiled import kernel

# Rows whose sums are kept in the type of the values before they go into those of float64.
_BLOCK = 64
# Rows that tell where about the mean is.
_LOOKS = 32


@kernel("reassoc", "contract")
def moments(rows: np.ndarray) -> np.ndarray:
    """Return mean and sum of squared deviations of each column, float64, shape (2, c).

    Values are summed as differences to what is about their mean, so that a large mean does not
    swallow them.
    """
    n, channels = rows.shape
    sums, block = np.zeros((2, channels)), np.zeros((2, channels), rows.dtype)
    middle = np.zeros(channels, rows.dtype)
    n_looks = min(n, _LOOKS)
    for look in range(n_looks):
        values = rows[look * (n - 1) // max(1, n_looks - 1)]
        for channel in range(channels):
            middle[channel] += values[channel] / n_looks
    for start in range(0, n, _BLOCK):
        for channel in range(channels):
            block[0, channel] = block[1, channel] = 0
        for row in range(start, min(start + _BLOCK, n)):
            values = rows[row]
            for channel in range(channels):
                difference = values[channel] - middle[channel]
                block[0, channel] += difference
                block[1, channel] += difference * difference
        for channel in range(channels):
            sums[0, channel] += block[0, channel]
            sums[1, channel] += block[1, channel]
    for channel in range(channels):
        difference = sums[0, channel] / n
        squares = sums[1, channel] - n * difference * difference
        sums[1, channel] = 0.0 if squares < 0 else squares
        sums[0, channel] = middle[channel] + difference
    return sums


@kernel("reassoc", "contract")
def gradient_sums(
    rows: np.ndarray, gradients: np.ndarray, mean: np.ndarray, inverse: np.ndarray
) -> np.ndarray:
    """Return the gradients of weight and bias, float64, shape (2, c)."""
    n, channels = rows.shape
    sums, block = np.zeros((2, channels)), np.zeros((2, channels), rows.dtype)
    for start in range(0, n, _BLOCK):
        for channel in range(channels):
            block[0, channel] = block[1, channel] = 0
        for row in range(start, min(start + _BLOCK, n)):
            values, slopes = rows[row], gradients[row]
            for channel in range(channels):
                block[0, channel] += slopes[channel] * (values[channel] - mean[channel])
                block[1, channel] += slopes[channel]
        for channel in range(channels):
            sums[0, channel] += block[0, channel]
            sums[1, channel] += block[1, channel]
    for channel in range(channels):
        sums[0, channel] *= inverse[channel]
    return sums


@kernel("reassoc", "contract")
def spread_gradient(
    rows: np.ndarray,
    gradients: np.ndarray,
    factor: np.ndarray,
    slope: np.ndarray,
    offset: np.ndarray,
    spread: np.ndarray,
) -> None:
    """Write ``factor * gradients + slope * rows + offset``, column by column."""
    n, channels = rows.shape
    for row in range(n):
        values, slopes, out = rows[row], gradients[row], spread[row]
        for channel in range(channels):
            out[channel] = (
                factor[channel] * slopes[channel] + slope[channel] * values[channel]
            ) + offset[channel]
