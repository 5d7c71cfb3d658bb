"""Sums and medians over the windows of images of shape (m, h, w, c)."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

# The words of scipy.ndimage and those of numpy.pad.
_PAD_MODES: dict[str, Any] = {
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "wrap": "wrap",
}


# A column and a row of weights.
Pair = tuple[np.ndarray, np.ndarray]


class Margins(NamedTuple):
    """How much is put around an image, before and after, and what."""

    down: tuple[int, int]
    across: tuple[int, int]
    mode: str
    cval: float

    def around(self, images: np.ndarray) -> np.ndarray:
        """Return a copy of the images with the margins."""
        widths = [(0, 0), self.down, self.across, (0, 0)]
        if self.mode == "constant":
            return np.pad(images, widths, constant_values=self.cval)
        return np.pad(images, widths, mode=_PAD_MODES[self.mode])


def windows_kept(
    size: tuple[int, int], window: tuple[int, ...], stride: tuple[int, int]
) -> tuple[int, int]:
    """Return how many rows and columns of windows there are in an image."""
    return (size[0] - window[0]) // stride[0] + 1, (size[1] - window[1]) // stride[1] + 1


def separated(kernel: np.ndarray) -> list[Pair]:
    """Return columns and rows whose outer products sum up to the kernel.

    The list is empty where filtering with them would be about as much work as with the kernel. They
    are found by Gaussian elimination with complete pivoting: the column and the row through the
    largest weight are taken out, then those through the largest that is left, and so on.
    """
    with np.errstate(over="ignore"):
        if not np.abs(kernel).sum() < np.finfo(np.float32).max:  # some pass would overflow
            return []
    left, rounding = kernel.copy(), 1e-14 * np.abs(kernel).max()
    pairs: list[Pair] = []
    while True:
        i, j = np.unravel_index(np.abs(left).argmax(), left.shape)
        if abs(left[i, j]) <= rounding:
            return pairs
        # Small kernels stay whole, which keeps integers exact.
        if 2 * (len(pairs) + 1) * sum(kernel.shape) > np.count_nonzero(kernel):
            return []
        # Weights of a row that sum up to 1 keep the first pass within the values' range.
        size = np.abs(left[i]).sum()
        pairs.append((left[:, j] * (size / left[i, j]), left[i] / size))
        left -= np.outer(*pairs[-1])


def correlate(
    images: np.ndarray,
    kernel: np.ndarray,
    pairs: list[Pair],
    margins: Margins,
    stride: tuple[int, int],
) -> np.ndarray:
    """Return the sums of weight times pixel over the windows, shape (m, rows, columns, c).

    `pairs` are what the kernel has been :func:`separated` into.
    """
    if not pairs:
        return _sums(margins.around(images), kernel, stride)
    parts = []
    for column, row in pairs:
        part = _sums(margins._replace(down=(0, 0)).around(images), row[np.newaxis], (1, stride[1]))
        # A constant beyond the border was not summed up with the rows.
        beside = margins._replace(across=(0, 0), cval=margins.cval * row.sum())
        parts.append(_sums(beside.around(part), column[:, np.newaxis], (stride[0], 1)))
    return sum(parts[1:], start=parts[0])


def gradient_magnitudes(
    images: np.ndarray, kernels: np.ndarray, margins: Margins, stride: tuple[int, int]
) -> np.ndarray:
    """Return the root of the mean square of what two kernels give, shape (m, rows, columns, c)."""
    from skcnn.features._filter_kernel import root_mean_square  # numba takes a while to import

    horizontal, vertical = (correlate(images, kernel, [], margins, stride) for kernel in kernels)
    root_mean_square(horizontal.reshape(-1), vertical.reshape(-1))
    return horizontal


def _sums(images: np.ndarray, kernel: np.ndarray, stride: tuple[int, int]) -> np.ndarray:
    from skcnn.features._filter_kernel import correlate_windows  # numba takes a while to import

    sums = _room_for_windows(images, kernel.shape, stride)
    weights = np.ascontiguousarray(kernel, dtype=images.dtype)
    correlate_windows(_joined(images), images.shape[3], weights, stride, _joined(sums))
    return sums


def medians(
    images: np.ndarray, window: tuple[int, int], margins: Margins, stride: tuple[int, int]
) -> np.ndarray:
    """Return the medians of the windows, shape (m, rows, columns, c).

    Of an even number of values it is the larger one of the middle, as in scipy.
    """
    from skcnn.features._filter_kernel import select_in_windows  # numba takes a while to import

    images = margins.around(images)
    chosen = _room_for_windows(images, window, stride)
    n_values = window[0] * window[1]
    rank = n_values // 2
    exchanges = _selection_network(n_values, rank)
    select_in_windows(
        _joined(images), images.shape[3], window, exchanges, rank, stride, _joined(chosen)
    )
    return chosen


def _room_for_windows(
    images: np.ndarray, window: tuple[int, ...], stride: tuple[int, int]
) -> np.ndarray:
    m, height, width, n_channels = images.shape
    kept = windows_kept((height, width), window, stride)
    return np.empty((m, *kept, n_channels), dtype=images.dtype)


def _joined(images: np.ndarray) -> np.ndarray:
    """Return a view with columns and channels in one axis."""
    return images.reshape(*images.shape[:2], -1)


@cache
def _selection_network(n_values: int, rank: int) -> np.ndarray:
    """Return the exchanges, shape (n, 2), that bring the value of a rank to its place.

    Each puts the smaller value first. They are those of Batcher's merge exchange sort (Knuth, "The
    Art of Computer Programming", volume 3, algorithm 5.2.2M) that reach the place wanted.
    """
    half = 1 << (n_values - 1).bit_length() >> 1
    exchanges, p = [], half
    while p > 0:
        q, r, distance = half, 0, p
        while distance > 0:
            exchanges += [(i, i + distance) for i in range(n_values - distance) if i & p == r]
            q, r, distance = q >> 1, p, q - p
        p >>= 1
    wanted, kept = {rank}, []
    for exchange in reversed(exchanges):
        if wanted.intersection(exchange):
            wanted.update(exchange)
            kept.append(exchange)
    return np.array(kept[::-1], dtype=np.intp).reshape(-1, 2)
