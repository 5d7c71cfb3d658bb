"""Spatial pyramids: which part of the image a descriptor lies in, on several grids at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from skcnn._parameters import int_pair


class SpatialPyramid:
    """Grids of cells over the image, and the sums over each cell.

    Sums are taken over *parts*, the rectangles into which the borders of all grids cut the image.
    Every cell of every grid is made of whole parts, so a descriptor is counted once, and a cell's
    sum is that of its parts.

    Parameters
    ----------
    levels : sequence of int or (int, int)
        One a grid: rows and columns of cells; an int is a square grid.

    Attributes
    ----------
    grids : tuple of (int, int)
        Rows and columns of each grid.

    n_cells : int
        Number of cells of all grids.

    n_parts : int
        Number of parts.
    """

    def __init__(self, levels: Any) -> None:
        # No iterator, which a second fit would find empty.
        several = hasattr(levels, "__len__") and not isinstance(levels, str | bytes)
        self.grids = tuple(
            int_pair("each level of spatial_pyramid", level)
            for level in (levels if several else ())
        )
        if not self.grids:
            raise ValueError(
                "spatial_pyramid must be a sequence of one or more levels, such as (1, 2) for the "
                f"whole image and its quarters; got {levels!r}."
            )
        self._row_cuts = _cuts([n_rows for n_rows, _ in self.grids])
        self._column_cuts = _cuts([n_columns for _, n_columns in self.grids])
        self.n_cells = sum(n_rows * n_columns for n_rows, n_columns in self.grids)
        self.n_parts = (len(self._row_cuts) + 1) * (len(self._column_cuts) + 1)

    @property
    def needs_positions(self) -> bool:
        """Whether a cell is less than the image."""
        return self.n_parts > 1

    def part_of(self, positions: np.ndarray) -> np.ndarray:
        """Return the number of the part in which each position (row, column), 0 to 1, lies."""
        row = np.searchsorted(self._row_cuts, positions[:, 0], side="right")
        column = np.searchsorted(self._column_cuts, positions[:, 1], side="right")
        return row * (len(self._column_cuts) + 1) + column

    def cell_sums(self, part_sums: np.ndarray) -> np.ndarray:
        """Return the sums over cells, shape (m, n_cells, ...), of those over parts.

        The cells stand grid by grid, row by row.
        """
        if self.n_parts == 1:
            return np.repeat(part_sums, self.n_cells, axis=1) if self.n_cells > 1 else part_sums
        shape = len(self._row_cuts) + 1, len(self._column_cuts) + 1
        parts = part_sums.reshape(len(part_sums), *shape, *part_sums.shape[2:])
        sums = []
        for n_rows, n_columns in self.grids:
            by_row = np.add.reduceat(parts, _first_parts(self._row_cuts, n_rows), axis=1)
            by_cell = np.add.reduceat(by_row, _first_parts(self._column_cuts, n_columns), axis=2)
            sums.append(by_cell.reshape(len(parts), n_rows * n_columns, *part_sums.shape[2:]))
        return np.concatenate(sums, axis=1)


def _cuts(counts: list[int]) -> np.ndarray:
    """Return the borders inside (0, 1) of divisions into so many equal intervals."""
    return np.unique([i / count for count in counts for i in range(1, count)])


def _first_parts(cuts: np.ndarray, count: int) -> np.ndarray:
    """Return the first part of each of `count` equal intervals."""
    return np.searchsorted(cuts, np.arange(count) / count, side="right")
