"""HOG on the CPU: histograms normalised over overlapping blocks, compiled by numba."""

# ruff: noqa: ANN001 - numba finds the types itself.
from __future__ import annotations

import math

import numba
import numpy as np

NORMS = ("L1", "L1-sqrt", "L2", "L2-Hys")
_EPS = 1e-5


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def normalise_blocks(sums, scale, norm, blocks):
    """Normalise the histograms over overlapping blocks of cells.

    Parameters
    ----------
    sums : float64 ndarray of shape (m, rows, columns * orientations + 1)
        The sums of :func:`~skcnn.features._hog_kernel.sum_cells`.

    scale : float
        What turns a sum into the mean of a cell.

    norm : int
        Position in :data:`NORMS`.

    blocks : ndarray of shape (m, block rows, block columns, height, width, orientations)
        Where the features go.
    """
    m, block_rows, block_columns, height, width, orientations = blocks.shape
    rows, columns = block_rows + height - 1, block_columns + width - 1
    # Scalars of the type to work in: a wider one would widen every loop.
    real = blocks.dtype.type
    zero, one, clip = real(0), real(1), real(0.2 if norm == 3 else np.inf)
    eps = real(_EPS if norm < 2 else _EPS * _EPS)
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
