"""Convolution of grey images, maxima of tiles and ReLU in one pass over the pixels, compiled.

With one channel to read, a library's convolution moves more than it multiplies: the maps that it
writes are many times the image, and three of four of their values are thrown away by the pooling.
Here a tile's four values are computed side by side and only the largest is written.
"""

from __future__ import annotations

import numpy as np

from skcnn._compiled import kernel, part

# Loops over so many kernels, or a multiple of it, are vector code without a remainder.
WIDTH = 16
# The number in place of a position where ReLU has cut a maximum off.
CUT = 4
# Places of a kernel whose pixels are copied side by side at a time: they stay in the cache.
_STRIP = 512


@kernel("contract")
def tile_maxima_of_convolution(
    images: np.ndarray,
    numbers: np.ndarray,
    floor: float,
    maxima: np.ndarray,
    where: np.ndarray | None,
) -> None:
    """Write the maxima of tiles of 2 x 2 of the convolved images, and where each was.

    Parameters
    ----------
    images : ndarray of shape (n, h, w)
        The images, with the zeros around them that belong to the convolution.

    numbers : ndarray of shape (10, size)
        Kernels of 3 x 3, row by row, and what is added to their maps; behind those of the c maps
        any others, up to a multiple of `WIDTH`.

    floor : float
        What smaller maxima become: 0 for ReLU, minus infinity to keep them.

    maxima : ndarray of shape (n, (h - 2) // 2, (w - 2) // 2, c)
        Gets the maxima; NaN if there is one in the tile.

    where : ndarray of uint8, of the same shape, or None
        Gets the position of the first of equal maxima in its tile counted row by row, or `CUT`.
    """
    n, rows, columns, channels = maxima.shape
    least = maxima.dtype.type(floor)
    size = numbers.shape[1]
    largest, positions = np.empty_like(numbers[0]), np.empty(size, np.uint8)
    for image in range(n):
        for row in range(rows):
            for column in range(columns):
                (
                    (a0, a1, a2, a3), (b0, b1, b2, b3), (c0, c1, c2, c3), (d0, d1, d2, d3),
                ) = _patch(images[image], 2 * row, 2 * column)  # fmt: skip
                for k in range(size):
                    added = numbers[9, k]
                    w0, w1, w2 = numbers[0, k], numbers[1, k], numbers[2, k]
                    w3, w4, w5 = numbers[3, k], numbers[4, k], numbers[5, k]
                    w6, w7, w8 = numbers[6, k], numbers[7, k], numbers[8, k]
                    best = (
                        a0 * w0 + a1 * w1 + a2 * w2
                        + b0 * w3 + b1 * w4 + b2 * w5
                        + c0 * w6 + c1 * w7 + c2 * w8
                    ) + added  # fmt: skip
                    second = (
                        a1 * w0 + a2 * w1 + a3 * w2
                        + b1 * w3 + b2 * w4 + b3 * w5
                        + c1 * w6 + c2 * w7 + c3 * w8
                    ) + added  # fmt: skip
                    third = (
                        b0 * w0 + b1 * w1 + b2 * w2
                        + c0 * w3 + c1 * w4 + c2 * w5
                        + d0 * w6 + d1 * w7 + d2 * w8
                    ) + added  # fmt: skip
                    fourth = (
                        b1 * w0 + b2 * w1 + b3 * w2
                        + c1 * w3 + c2 * w4 + c3 * w5
                        + d1 * w6 + d2 * w7 + d3 * w8
                    ) + added  # fmt: skip
                    position = np.uint8(0)
                    larger = (second > best) | (second != second)
                    best = second if larger else best
                    position = np.uint8(1) if larger else position
                    larger = (third > best) | (third != third)
                    best = third if larger else best
                    position = np.uint8(2) if larger else position
                    larger = (fourth > best) | (fourth != fourth)
                    best = fourth if larger else best
                    position = np.uint8(3) if larger else position
                    is_cut = best <= least
                    largest[k] = least if is_cut else best
                    positions[k] = np.uint8(CUT) if is_cut else position
                for k in range(channels):
                    maxima[image, row, column, k] = largest[k]
                if where is not None:
                    for k in range(channels):
                        where[image, row, column, k] = positions[k]


@kernel("contract")
def gradients_of_kernels(
    images: np.ndarray, gradient: np.ndarray, where: np.ndarray, sums: np.ndarray
) -> None:
    """Write the gradients of kernels and biases.

    Parameters
    ----------
    images : ndarray of shape (n, h, w)
        The images, as above.

    gradient : ndarray of shape (n, (h - 2) // 2, (w - 2) // 2, c)
        Gradient of the maxima.

    where : ndarray of uint8, of the same shape
        Where they were.

    sums : ndarray of shape (10, size)
        Gets the gradients of the nine weights of each kernel, and of its bias; behind the c kernels
        there is something of no meaning.
    """
    n, rows, columns, channels = gradient.shape
    nothing = gradient.dtype.type(0)
    own = np.empty_like(sums)  # of one image: sums of fewer numbers are rounded less
    values, at = np.zeros_like(sums[0]), np.zeros(sums.shape[1], np.uint8)
    sums[:] = 0
    for image in range(n):
        own[:] = 0
        for row in range(rows):
            for column in range(columns):
                (
                    (a0, a1, a2, a3), (b0, b1, b2, b3), (c0, c1, c2, c3), (d0, d1, d2, d3),
                ) = _patch(images[image], 2 * row, 2 * column)  # fmt: skip
                for k in range(channels):
                    values[k] = gradient[image, row, column, k]
                for k in range(channels):
                    at[k] = where[image, row, column, k]
                for k in range(len(values)):
                    value, position = values[k], at[k]
                    first = value if position == 0 else nothing
                    second = value if position == 1 else nothing
                    third = value if position == 2 else nothing
                    fourth = value if position == 3 else nothing
                    own[0, k] += first * a0 + second * a1 + third * b0 + fourth * b1
                    own[1, k] += first * a1 + second * a2 + third * b1 + fourth * b2
                    own[2, k] += first * a2 + second * a3 + third * b2 + fourth * b3
                    own[3, k] += first * b0 + second * b1 + third * c0 + fourth * c1
                    own[4, k] += first * b1 + second * b2 + third * c1 + fourth * c2
                    own[5, k] += first * b2 + second * b3 + third * c2 + fourth * c3
                    own[6, k] += first * c0 + second * c1 + third * d0 + fourth * d1
                    own[7, k] += first * c1 + second * c2 + third * d1 + fourth * d2
                    own[8, k] += first * c2 + second * c3 + third * d2 + fourth * d3
                    own[9, k] += first + second + third + fourth
        sums += own


@kernel("contract", "reassoc")
def products_of_pixels(images: np.ndarray, origin: float, products: np.ndarray) -> None:
    """Write the sums, over all places of a kernel, of the products of the pixels that it sees.

    Parameters
    ----------
    images : ndarray of shape (n, h, w)
        The images, as above.

    origin : float
        What is taken off every pixel, so that a large mean does not swallow the differences.

    products : float64 ndarray of shape (10, 10)
        Gets the sums for each pair of the nine pixels; the tenth is 1, so that its row has the sums
        of the pixels, and at its end their number.
    """
    n, height, width = images.shape[0], images.shape[1] - 2, images.shape[2] - 2
    most = max(1, _STRIP // width)
    pixels = np.ones((10, most * width))
    products[:] = 0
    for image in range(n):
        for top in range(0, height, most):
            n_rows = min(most, height - top)
            for number in range(9):
                down, right = number // 3, number % 3
                for row in range(n_rows):
                    line = images[image, top + row + down, right : right + width]
                    into = pixels[number, row * width : (row + 1) * width]
                    for column in range(width):
                        into[column] = np.float64(line[column]) - origin
            size = n_rows * width
            for number in range(10):
                one = pixels[number, :size]
                for second in range(number, 10):
                    other = pixels[second, :size]
                    total = 0.0
                    for k in range(size):
                        total += one[k] * other[k]
                    products[number, second] += total
    for number in range(10):
        for second in range(number):
            products[number, second] = products[second, number]


@part("contract")
def _patch(image: np.ndarray, top: int, left: int) -> tuple[tuple, ...]:
    """Return the pixels that the four convolutions of a tile see, row by row."""
    first, second, third, fourth = image[top], image[top + 1], image[top + 2], image[top + 3]
    return (
        (first[left], first[left + 1], first[left + 2], first[left + 3]),
        (second[left], second[left + 1], second[left + 2], second[left + 3]),
        (third[left], third[left + 1], third[left + 2], third[left + 3]),
        (fourth[left], fourth[left + 1], fourth[left + 2], fourth[left + 3]),
    )
