"""HOG on the CPU: histograms normalised over overlapping blocks, compiled by numba."""

# ruff: noqa: ANN001 - numba finds the types itself.
from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from skcnn._compiled import kernel

NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys")
_EPS = 1e-5
# Norms of blocks, by the bytes of a value, whose reciprocals lose no digits.
_LARGEST = {4: 1e37, 8: 1e300}


def normalise_blocks(
    sums: np.ndarray, scale: float, norm: int, blocks: np.ndarray
) -> np.ndarray | None:
    """Normalise the histograms over overlapping blocks of cells.

    Parameters
    ----------
    sums : float64 ndarray of shape (m, rows, columns * orientations + 1)
        Histograms of the cells; the last of a row is not used.

    scale : float
        What turns a sum into the mean of a cell.

    norm : int
        Position in :data:`NORMS`.

    blocks : ndarray of shape (m, block rows, block columns, height, width, orientations)
        Where the features go.

    Returns
    -------
    overflowed : int ndarray or None
        Numbers of the images whose sums are not finite; their features mean nothing.
    """
    if not _normalise_blocks(sums, scale, norm, _LARGEST[blocks.dtype.itemsize], blocks):
        return None
    peaks = sums[:, :, :-1].max(axis=(1, 2))  # NaN if one of them is
    finite = np.isfinite(peaks)
    for i in np.flatnonzero(finite):
        normalise_large(sums[i], scale, norm, blocks[i])
    return np.flatnonzero(~finite)


def normalise_large(sums: np.ndarray, scale: float, norm: int, blocks: np.ndarray) -> None:
    """Normalise the blocks of one image, each divided by its largest cell before, in float64."""
    _, _, height, width, orientations = blocks.shape
    cells = sums[:, :-1].reshape(len(sums), -1, orientations)
    windows = np.moveaxis(sliding_window_view(cells, (height, width), axis=(0, 1)), 2, -1)
    each = (2, 3, 4)
    unit = np.maximum(windows.max(axis=each, keepdims=True), 1 / scale)
    values = windows / unit
    with np.errstate(over="ignore"):  # an epsilon relative to infinity is zero
        eps = _EPS / (unit * scale)
    if norm < 2:
        values /= values.sum(axis=each, keepdims=True) + eps
    else:
        values /= np.sqrt((values**2).sum(axis=each, keepdims=True) + eps**2)
    if norm == 1:
        np.sqrt(values, out=values)
    if norm == 3:
        np.minimum(values, 0.2, out=values)
        values /= np.sqrt((values**2).sum(axis=each, keepdims=True) + _EPS**2)
    blocks[:] = values


@kernel("contract", "reassoc")
def _normalise_blocks(sums, scale, norm, largest, blocks):
    """Normalise the histograms over overlapping blocks of cells, but for values that overflow.

    Parameters
    ----------
    sums : float64 ndarray of shape (m, rows, columns * orientations + 1)
        The sums of :func:`~skcnn.features._hog_kernel.sum_cells`.

    scale : float
        What turns a sum into the mean of a cell.

    norm : int
        Position in :data:`NORMS`.

    largest : float
        The largest norm (squared, for L2) of a block that is computed with.

    blocks : ndarray of shape (m, block rows, block columns, height, width, orientations)
        Where the features go.

    Returns
    -------
    too_large : bool
        Whether some block is above it, whose features mean nothing.
    """
    m, block_rows, block_columns, height, width, orientations = blocks.shape
    rows, columns = block_rows + height - 1, block_columns + width - 1
    # Scalars of the type to work in: a wider one would widen every loop.
    real = blocks.dtype.type
    zero, one, clip = real(0), real(1), real(0.2 if norm == 3 else np.inf)
    eps, largest = real(_EPS if norm < 2 else _EPS * _EPS), real(largest)
    too_large = False
    cells = np.empty((rows, columns * orientations), blocks.dtype)
    strength = np.empty((rows, columns), blocks.dtype)
    length = width * orientations
    rows_of_blocks = blocks.reshape((m, block_rows, block_columns, height, length))
    for i in range(m):
        for row in range(rows):
            for j in range(columns * orientations):
                cells[row, j] = sums[i, row, j] * scale
            for column in range(columns):
                total = zero
                cell = cells[row, column * orientations : (column + 1) * orientations]
                for j in range(orientations):
                    total += cell[j] * cell[j] if norm >= 2 else cell[j]
                strength[row, column] = total
        for row in range(block_rows):
            for column in range(block_columns):
                out = rows_of_blocks[i, row, column]
                total = zero
                for k in range(height):
                    for j in range(width):
                        total += strength[row + k, column + j]
                if total == zero:
                    out[:] = zero
                    continue
                too_large |= not (total <= largest)
                factor = one / (total + eps if norm < 2 else math.sqrt(total + eps))
                again, total = one, zero
                start, stop = column * orientations, column * orientations + length
                if norm == 3:
                    for k in range(height):
                        in_row = cells[row + k, start:stop]
                        for j in range(length):
                            value = in_row[j] * factor
                            value = value if value < clip else clip
                            total += value * value
                    again = one / math.sqrt(total + eps)
                for k in range(height):
                    in_row = cells[row + k, start:stop]
                    for j in range(length):
                        value = in_row[j] * factor
                        out[k, j] = (value if value < clip else clip) * again
                if norm == 1:
                    for k in range(height):
                        for j in range(length):
                            out[k, j] = math.sqrt(out[k, j])
    return too_large
