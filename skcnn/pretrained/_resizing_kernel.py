"""Images of bytes resized as Pillow does it, bit by bit, and brought to a network's scale.

Pillow's filters sum integers: weights of 22 binary places, and a clip to bytes after each of the
two passes, first across, then down (since version 13 it begins with the rows of tall images).
Networks were evaluated on its images, and a difference of one level in some pixels is
seen in the third digit of what they say. Here only the window that the network sees is computed.
"""

# ruff: noqa: ANN001 - numba finds the types itself.

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skcnn._compiled import kernel, part

_PLACES = 22


class Taps(NamedTuple):
    """For each pixel of one axis of the result, which pixels it is a sum of.

    Parameters
    ----------
    first : ndarray of int64 of shape (n,)
        The first of them.

    number : ndarray of int64 of shape (n,)
        How many there are.

    weights : ndarray of int32 of shape (n, most)
        Their weights, in units of ``2 ** -22``.
    """

    first: np.ndarray
    number: np.ndarray
    weights: np.ndarray


def taps(n_before: int, n_after: int, window: slice, filter_: str) -> Taps:
    """Return what Pillow computes one axis with.

    Parameters
    ----------
    n_before, n_after : int
        Number of pixels before and after resizing.

    window : slice
        Which of the pixels after resizing are wanted.

    filter_ : {"bilinear", "bicubic"}
        The filter.
    """
    ratio = n_before / n_after
    stretch = max(ratio, 1.0)
    reach = (1.0 if filter_ == "bilinear" else 2.0) * stretch
    if n_before == n_after:
        reach = 0.5  # Pillow leaves this axis out; a single weight of one does the same
    centres = (np.arange(n_after)[window] + 0.5) * ratio
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    count = np.minimum((centres + reach + 0.5).astype(np.int64), n_before) - first
    positions = first[:, None] + np.arange(count.max())
    weights = _FILTERS[filter_](np.abs(positions - centres[:, None] + 0.5) / stretch)
    weights[np.arange(count.max()) >= count[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    scaled = weights * 2**_PLACES
    return Taps(first, count, np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32))


def _bilinear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def _bicubic(distance: np.ndarray) -> np.ndarray:
    a = -0.5
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * a
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))


_FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic}


def resize_bytes(
    images: np.ndarray, down: Taps, across: Taps, levels: np.ndarray, out: np.ndarray
) -> None:
    """Resize images and look their bytes up.

    Parameters
    ----------
    images : ndarray of uint8 of shape (m, h, w, c)
        The images; c is 1 or 3.

    down, across : Taps
        What becomes of the rows and of the columns.

    levels : ndarray of float32 of shape (3, 256)
        What each byte becomes, for each channel of the result.

    out : ndarray of float32 of shape (m, height, width, 3)
        Where to write. It need not be contiguous.
    """
    _resize(images, *down, *across, levels, out)


@part()
def _weigh(lines, first, count, weights, sums):
    """Sum weighted lines; Pillow rounds by starting from one half."""
    n = lines.shape[1]
    for j in range(n):
        sums[j] = 1 << (_PLACES - 1)
    for t in range(count):
        weight, line = weights[t], lines[first + t]
        for j in range(n):
            sums[j] += weight * np.int32(line[j])


@part()
def _turn(image, columns):
    """Write the columns of an image as lines. Three channels by name take half the time."""
    n_rows, n_columns, n_channels = image.shape
    for y in range(n_rows):
        for x in range(n_columns):
            if n_channels == 3:
                columns[x, 3 * y] = image[y, x, 0]
                columns[x, 3 * y + 1] = image[y, x, 1]
                columns[x, 3 * y + 2] = image[y, x, 2]
            else:
                columns[x, y] = image[y, x, 0]


@part()
def _settle(sums, rows, start, n_channels):
    """Write the sums of a line as the pixels of a column."""
    for y in range(len(rows)):
        for c in range(n_channels):
            rows[y, start + c] = _byte(sums[y * n_channels + c])


@part()
def _byte(total):
    return min(max(total >> _PLACES, 0), 255)


@kernel()
def _resize(images, y_first, y_count, y_weights, x_first, x_count, x_weights, levels, out):
    n_images, n_channels = images.shape[0], images.shape[3]
    new_height, new_width = out.shape[1], out.shape[2]
    top = y_first.min()
    n_rows = (y_first + y_count).max() - top
    left = x_first.min()
    n_columns = (x_first + x_count).max() - left
    # Both passes sum whole lines. For the first one the image is turned: its columns are lines.
    columns = np.empty((n_columns, n_rows * n_channels), np.uint8)
    rows = np.empty((n_rows, new_width * n_channels), np.uint8)
    sums = np.empty(max(columns.shape[1], rows.shape[1]), np.int32)
    for i in range(n_images):
        _turn(images[i, top : top + n_rows, left : left + n_columns], columns)
        for x in range(new_width):
            _weigh(columns, x_first[x] - left, x_count[x], x_weights[x], sums)
            _settle(sums, rows, x * n_channels, n_channels)
        for y in range(new_height):
            _weigh(rows, y_first[y] - top, y_count[y], y_weights[y], sums)
            for x in range(new_width):
                for c in range(3):
                    out[i, y, x, c] = levels[c, _byte(sums[x * n_channels + c % n_channels])]
