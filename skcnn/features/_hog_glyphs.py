"""The picture of the histograms of an image's cells."""

from __future__ import annotations

import numpy as np


def draw_glyphs(cells: np.ndarray, cell: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Draw a line per cell and orientation, as bright as its entry of the histogram.

    Parameters
    ----------
    cells : ndarray of shape (rows, columns, orientations)
        The histograms.

    cell : (int, int)
        Height and width of a cell in pixels.

    shape : (int, int)
        Height and width of the picture.

    Returns
    -------
    picture : float64 ndarray of shape `shape`
        The picture. Where lines cross they add up.
    """
    from skimage.draw import line

    rows, columns, orientations = cells.shape
    picture = np.zeros(shape)
    radius = min(cell) // 2 - 1
    middle_rows = np.arange(rows) * cell[0] + cell[0] // 2
    middle_columns = np.arange(columns) * cell[1] + cell[1] // 2
    for k, angle in enumerate(np.pi * (np.arange(orientations) + 0.5) / orientations):
        by_row, by_column = radius * np.sin(angle), radius * np.cos(angle)
        # Cut off as scikit-image does it, which is not alike for all cells.
        starts = (middle_rows - by_column).astype(int), (middle_columns + by_row).astype(int)
        ends = (middle_rows + by_column).astype(int), (middle_columns - by_row).astype(int)
        heights, widths = ends[0] - starts[0], ends[1] - starts[1]
        for height in np.unique(heights):
            for width in np.unique(widths):
                some = np.ix_(heights == height, widths == width)
                along_rows, along_columns = line(0, 0, height, width)
                row, column, brightness = np.broadcast_arrays(
                    starts[0][some[0]][..., np.newaxis] + along_rows,
                    starts[1][some[1]][..., np.newaxis] + along_columns,
                    cells[..., k][some][..., np.newaxis],
                )
                inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
                np.add.at(picture, (row[inside], column[inside]), brightness[inside])
    return picture
