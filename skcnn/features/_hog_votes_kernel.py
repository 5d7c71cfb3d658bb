"""HOG's histograms with signed gradients or interpolated votes, compiled by numba.

Neither is scikit-image's, so no pixel needs its angle to the last bit, and the loop is a plain one.
"""
# ruff: noqa: ANN001 - numba finds the types itself.

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from skcnn._compiled import kernel, part

# Bytes of the sums of some images, which stay in the cache.
_SUMS = 2**20


def cell_votes(
    images: np.ndarray,
    divisor: float,
    take_sqrt: bool,
    cell: tuple[int, int],
    orientations: int,
    signed: bool,
    interpolate: bool,
    check: Callable[[np.ndarray, int], None],
) -> Iterator[tuple[slice, np.ndarray, float]]:
    """Yield the orientation histograms of the cells, some images at a time.

    Parameters and results are those of :func:`~skcnn.features._hog_cells.cell_sums` and

    signed : bool
        Whether the bins share 360 degrees, or 180 with opposite gradients being one.

    interpolate : bool
        Whether a gradient's magnitude is shared by the two bins whose middles are nearest.
    """
    m, h, w, _ = images.shape
    images = images.view()
    images.flags.writeable = False  # one compiled kernel for memory-mapped and other arrays
    grid = h // cell[0], w // cell[1] * orientations + 1
    sums = np.empty((max(1, min(m, _SUMS // (8 * prod(grid)))), *grid))
    for start in range(0, m, len(sums)):
        some = images[start : start + len(sums)]
        check(some, start)
        sum_votes(some, divisor, take_sqrt, cell, orientations, signed, interpolate, sums)
        yield slice(start, start + len(some)), sums[: len(some)], 1 / prod(cell)


@kernel()
def sum_votes(images, divisor, take_sqrt, cell, orientations, signed, interpolate, sums):
    """Sum the gradient magnitudes of each cell by orientation.

    Parameters
    ----------
    images : ndarray of shape (m, h, w, c)
        The images as they are stored.

    divisor : float
        What they are to be divided by.

    take_sqrt : bool
        Take the square root of all values first.

    cell : (int, int)
        Height and width of a cell.

    orientations : int
        Number of bins.

    signed, interpolate : bool
        As for :func:`cell_votes`.

    sums : float64 ndarray of shape (m or more, rows, columns * orientations + 1)
        Where the sums go. The last of a row is not used.
    """
    m, _, w, _ = images.shape
    for i in range(m):
        sums[i] = 0.0
        for row in range(sums.shape[1] * cell[0]):
            for column in range(w // cell[1] * cell[1]):
                y, x = _gradient(images[i], row, column, divisor, take_sqrt)
                if x != 0 or y != 0:
                    first = column // cell[1] * orientations
                    histogram = sums[i, row // cell[0], first : first + orientations]
                    _vote(y, x, signed, interpolate, histogram)


@part()
def _gradient(image, row, column, divisor, take_sqrt):
    """Return the central differences of the channel that changes most, 0 across the border."""
    h, w, c = image.shape
    best_y, best_x, best = 0.0, 0.0, -1.0
    for channel in range(c):
        y, x = 0.0, 0.0
        if 0 < row < h - 1:
            y = _value(image[row + 1, column, channel], divisor, take_sqrt)
            y -= _value(image[row - 1, column, channel], divisor, take_sqrt)
        if 0 < column < w - 1:
            x = _value(image[row, column + 1, channel], divisor, take_sqrt)
            x -= _value(image[row, column - 1, channel], divisor, take_sqrt)
        size = math.hypot(y, x) if c > 1 else 0.0
        if size > best:
            best_y, best_x, best = y, x, size
    return best_y, best_x


@part()
def _value(stored, divisor, take_sqrt):
    value = np.float64(stored) / divisor
    return math.sqrt(value) if take_sqrt else value


@part()
def _vote(y, x, signed, interpolate, histogram):
    n_bins = len(histogram)
    turns = math.atan2(y, x) / (2 * np.pi if signed else np.pi)
    place = (turns - math.floor(turns)) * n_bins
    magnitude = math.hypot(y, x)
    if interpolate:
        below = math.floor(place - 0.5)
        share = place - 0.5 - below
        histogram[int(below) % n_bins] += (1 - share) * magnitude
        histogram[int(below + 1) % n_bins] += share * magnitude
    else:
        histogram[int(place) % n_bins] += magnitude
