"""The loops over windows of images, compiled by numba on first use.

The rows of an image lie one after the other, so a window's pixels have the same distances wherever
it is. A strip of windows is treated at a time in long loops without branches, which become vector
instructions. Windows that begin in one row and end in the next are computed too and not kept.

`images` have shape (m, h, w * c) and `results` (m, rows, columns * c). Plain loops in place of
NumPy's array expressions halve the time to compile.
"""

from __future__ import annotations

import numpy as np

from skcnn._compiled import kernel, part

# Bytes of a strip, few enough for the fastest cache.
_STRIP = 2**13


@kernel("contract")
def correlate_windows(
    images: np.ndarray,
    n_channels: int,
    weights: np.ndarray,
    stride: tuple[int, int],
    results: np.ndarray,
) -> None:
    """Write the sums of weight times pixel of all windows; weights are of the images' own type."""
    row_length, n_rows = images.shape[2], results.shape[1]
    strip_rows = max(1, _STRIP // (row_length * images.itemsize)) if stride[0] == 1 else 1
    sums = np.empty(strip_rows * row_length, images.dtype)
    for n in range(images.shape[0]):
        pixels = images[n].ravel()
        for y in range(0, n_rows, strip_rows):
            last = min(y + strip_rows, n_rows)
            length = (last - y) * row_length - (weights.shape[1] - 1) * n_channels
            for x in range(length):
                sums[x] = 0
            for i in range(weights.shape[0]):
                for j in range(weights.shape[1]):
                    weight = weights[i, j]
                    if weight != 0:
                        start = (y * stride[0] + i) * row_length + j * n_channels
                        source = pixels[start : start + length]
                        for x in range(length):
                            sums[x] += weight * source[x]
            _keep(sums, row_length, n_channels, stride[1], results[n], y, last)


@kernel()
def select_in_windows(
    images: np.ndarray,
    n_channels: int,
    window: tuple[int, int],
    exchanges: np.ndarray,
    rank: int,
    stride: tuple[int, int],
    results: np.ndarray,
) -> None:
    """Write the value of `rank` of all windows.

    `exchanges` is the network that brings the value to its place: pairs of places, to the first of
    which the smaller one of their values goes.
    """
    row_length, n_rows = images.shape[2], results.shape[1]
    strip_rows = max(1, _STRIP // (row_length * images.itemsize)) if stride[0] == 1 else 1
    values = np.empty((window[0] * window[1], strip_rows * row_length), images.dtype)
    for n in range(images.shape[0]):
        pixels = images[n].ravel()
        for y in range(0, n_rows, strip_rows):
            last = min(y + strip_rows, n_rows)
            length = (last - y) * row_length - (window[1] - 1) * n_channels
            for i in range(window[0]):
                for j in range(window[1]):
                    start = (y * stride[0] + i) * row_length + j * n_channels
                    for x in range(length):
                        values[i * window[1] + j, x] = pixels[start + x]
            for e in range(exchanges.shape[0]):
                first, second = values[exchanges[e, 0]], values[exchanges[e, 1]]
                for x in range(length):
                    a, b = first[x], second[x]
                    first[x] = a if a < b else b
                    second[x] = b if a < b else a
            _keep(values[rank], row_length, n_channels, stride[1], results[n], y, last)


@kernel()
def root_mean_square(horizontal: np.ndarray, vertical: np.ndarray) -> None:
    """Write the root of the mean square of two flat arrays over the first one.

    The larger value is taken out of the root: its square may be beyond the largest or the smallest
    number.
    """
    half = np.float32(0.5)  # 0.5 would turn single into double precision
    for x in range(horizontal.size):
        a, b = abs(horizontal[x]), abs(vertical[x])
        larger, smaller = max(a, b), min(a, b)
        ratio = smaller / larger if larger > 0 else larger
        horizontal[x] = larger * np.sqrt(half + half * ratio * ratio)


@part()
def _keep(
    strip: np.ndarray,
    row_length: int,
    n_channels: int,
    across: int,
    results: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Write every `across`th window of the rows in a strip to the rows of the results."""
    for y in range(first, last):
        start = (y - first) * row_length
        if across == 1:
            for x in range(results.shape[1]):
                results[y, x] = strip[start + x]
        else:
            for x in range(results.shape[1]):
                step = x // n_channels * (across - 1) * n_channels
                results[y, x] = strip[start + step + x]
