"""The orientation histograms of the cells of a batch: the kernel, and NumPy where it is unsure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from skcnn._aligned import empty_aligned
from skcnn.features._hog_kernel import sum_cells

# Pixels of a strip of rows, which stay in the cache; bytes of some images and of their sums: enough
# that threads, which wait for each other between two calls of the kernel, seldom do.
_STRIP, _IMAGES, _SUMS = 4096, 2**20, 2**20
# Pixels that the kernel may hand back at a time; where an image has more, there is room for all.
_UNSURE = 2**14


def cell_sums(
    images: np.ndarray,
    divisor: float,
    take_sqrt: bool,
    cell: tuple[int, int],
    orientations: int,
    refuse: Callable[[np.ndarray, int], None],
) -> Iterator[tuple[slice, np.ndarray, float]]:
    """Yield the orientation histograms of the cells, some images at a time.

    Parameters
    ----------
    images : ndarray of shape (m, h, w, c)
        ``uint8``, ``uint16``, ``float32`` or ``float64`` images.

    divisor : float
        What they are to be divided by.

    take_sqrt : bool
        Take the square root of all values first.

    cell : (int, int)
        Height and width of a cell in pixels.

    orientations : int
        Number of bins over 180 degrees.

    refuse : callable
        Called with some of the images, and the number of the first of them, to raise an error that
        says which of them is not finite. The kernel finds that out by itself, but for rows that it
        does not read.

    Yields
    ------
    rows : slice
        Which images.

    sums : float64 ndarray of shape (some, rows, columns * orientations + 1)
        Gradient magnitudes summed up by cell and orientation; the last of a row means nothing.
        Valid until the next is asked for.

    scale : float
        What turns a sum into the mean of the cell's pixels.
    """
    m, h, w, c = images.shape
    images = images.reshape(m, h, w) if c == 1 else images.view()
    images.flags.writeable = False  # one compiled kernel for memory-mapped and other arrays
    work = np.float64 if images.dtype == np.float64 else np.float32
    # Quotients and square roots are rounded relative to the values, not to their small differences,
    # by which the strongest of several channels is chosen: in float64 that can be seen.
    rough = not take_sqrt and (c == 1 or work == np.float32)
    strip = max(1, min(h, _STRIP // w))
    values = empty_aligned((c, (strip + 2) * w), work if rough else np.float64)
    scratch = empty_aligned((2, strip * w), values.dtype)
    magnitudes = empty_aligned((strip * w,), work)
    places = empty_aligned((strip * w,), np.uint32)
    flags = empty_aligned((-(-strip * w // 8) * 8,), np.uint8)
    numbers = empty_aligned((len(flags) // 8 * 9,), np.uint32)
    first = empty_aligned((strip * w,), np.uint32)
    first[:] = np.tile(np.arange(w) // cell[1] * orientations, strip)
    grid = h // cell[0], w // cell[1] * orientations + 1
    unread = images[:, grid[0] * cell[0] + 1 :]
    n_some = min(m, _IMAGES // images[0].nbytes, _SUMS // (8 * prod(grid)))
    sums = empty_aligned((max(1, n_some), *grid), np.float64)
    gradients, cells_of = np.empty((_UNSURE, 2)), np.empty(_UNSURE, np.int64)
    edges_exact = _axes_are_exact(orientations)
    unit = divisor if rough else 1.0
    start = 0
    while start < m:
        some = images[start : start + len(sums)]
        refuse(unread[start : start + len(sums)], start)
        done, n_unsure, finite = sum_cells(
            some, divisor, take_sqrt, rough, cell, edges_exact, first, values, scratch, magnitudes,
            places, flags, numbers, sums, gradients, cells_of,
        )  # fmt: skip
        if not finite:
            refuse(some, start)
            raise AssertionError("an image was not finite, and was not refused")
        if done == 0:  # one image has so many
            gradients, cells_of = np.empty((h * w, 2)), np.empty(h * w, np.int64)
            continue
        if n_unsure:
            _vote(sums, gradients[:n_unsure], cells_of[:n_unsure], orientations, unit)
        yield slice(start, start + done), sums[:done], 1 / (prod(cell) * unit)
        start += done


def _vote(
    sums: np.ndarray, gradients: np.ndarray, cells_of: np.ndarray, orientations: int, unit: float
) -> None:
    by_row, by_column = gradients.T
    rows_of, columns_of = np.divmod(cells_of, (sums.shape[-1] - 1) // orientations)
    bins = exact_bins(by_row, by_column, orientations)
    places = columns_of * orientations + bins
    with np.errstate(over="ignore"):  # the caller sees to sums that are not finite
        sizes = np.where(bins < orientations, np.hypot(by_row, by_column) * unit, 0)
        np.add.at(sums.reshape(-1, sums.shape[-1]), (rows_of, places), sizes)


def exact_bins(by_row: np.ndarray, by_column: np.ndarray, orientations: int) -> np.ndarray:
    """Return the bins of gradients that scikit-image has.

    A tiny negative angle rounds to 180 degrees modulo 180, and scikit-image drops it: its bin is
    one past the last.
    """
    # Contiguous arrays, for which NumPy may use another arctan2 than for others.
    angles = np.arctan2(np.ascontiguousarray(by_row), np.ascontiguousarray(by_column))
    return np.searchsorted(_upper_edges(orientations), np.rad2deg(angles) % 180, side="right")


def exact_gradients(
    images: np.ndarray,
    divisor: float,
    take_sqrt: bool,
    numbers: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of some pixels as scikit-image has them, by row and by column."""
    _, h, w, _ = images.shape

    def values(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        inside = np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)
        scaled = images[numbers, *inside] / np.float64(divisor)
        return np.sqrt(scaled) if take_sqrt else scaled

    by_row = values(rows + 1, columns) - values(rows - 1, columns)
    by_row[(rows == 0) | (rows == h - 1)] = 0
    by_column = values(rows, columns + 1) - values(rows, columns - 1)
    by_column[(columns == 0) | (columns == w - 1)] = 0
    strongest = np.hypot(by_row, by_column).argmax(axis=-1)[:, np.newaxis]
    return (
        np.take_along_axis(by_row, strongest, axis=-1)[:, 0],
        np.take_along_axis(by_column, strongest, axis=-1)[:, 0],
    )


def _upper_edges(orientations: int) -> np.ndarray:
    return np.arange(1, orientations + 1) * (180.0 / orientations)


def _axes_are_exact(orientations: int) -> bool:
    """Tell whether the edges next to the axes and diagonals are not moved by rounding."""
    bins = np.searchsorted(_upper_edges(orientations), [0.0, 45.0, 90.0, 135.0], side="right")
    return bins.tolist() == [quarters * orientations // 4 for quarters in range(4)]
