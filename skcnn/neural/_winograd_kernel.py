"""The transforms of Winograd's convolution, compiled: 3 x 3 kernels, tiles of 4 x 4 outputs.

A tile of the output depends on a patch of 6 x 6 pixels of the input; patches overlap by two. Both
change to 6 x 6 values between which the convolution is nothing but products: the patch d to
``B' d B``, and products m to the tile ``A' m A``, with ::

    B' = [4  0 -5  0  1  0]       A' = [1  1  1  1  1  0]
         [0 -4 -4  1  1  0]            [0  1 -1  2 -2  0]
         [0  4 -4 -1  1  0]            [0  1  1  4  4  0]
         [0 -2 -1  2  1  0]            [0  1 -1  8 -8  1]
         [0  2 -1 -2  1  0]
         [0  4  0 -5  0  1]

Value (i, j) of all tiles lies in row 6 i + j of an array: one tile's channels after the other's, by
columns, rows and images. Gradients go the same ways backwards, through the transposed matrices.
"""

# ruff: noqa: ANN001 - numba finds the types itself.
from __future__ import annotations

import numpy as np

from skcnn._compiled import inlined, kernel

# Lines are transformed in one direction, then in the other. What lies between is a line of at most
# so many values for each (i, j). They are parts of one array at distances that the compiler knows,
# or loops over so many of them would not become vector code; and not at multiples of a memory page.
LINE = 4096
_STEP = LINE + 16
_2, _4, _5, _8 = np.float32(2), np.float32(4), np.float32(5), np.float32(8)


@inlined
def _lines(values, j, begin):
    """Return what is at `begin` of the rows of values (0, j) to (5, j)."""
    return (
        values[j, begin:],
        values[6 + j, begin:],
        values[12 + j, begin:],
        values[18 + j, begin:],
        values[24 + j, begin:],
        values[30 + j, begin:],
    )


@inlined
def _pixels(line, first, channels):
    """Return what begins at six pixels of a line in turn."""
    begin = first * channels
    return (
        line[begin:],
        line[begin + channels :],
        line[begin + 2 * channels :],
        line[begin + 3 * channels :],
        line[begin + 4 * channels :],
        line[begin + 5 * channels :],
    )


@inlined
def _copy(source, target):
    """Copy as much as there is in both."""
    for k in range(min(source.size, target.size)):
        target[k] = source[k]


@kernel("contract")
def spread_patches(images, padding, values):
    """Write B' d B of each patch d of images.

    Parameters
    ----------
    images : ndarray of float32 of shape (n, h, w, c)
        What goes into the convolution.

    padding : int
        Width of the zeros around it.

    values : ndarray of float32 of shape (36, >= tiles * c)
        Gets the values.
    """
    n, height, width, channels = images.shape
    rows, columns = (height + 2 * padding + 1) // 4, (width + 2 * padding + 1) // 4
    length, inner = columns * channels, padding * channels
    padded = np.zeros((4 * rows + 2, (4 * columns + 2) * channels), np.float32)
    half = np.empty(36 * _STEP, np.float32)
    begin = 0
    for image in range(n):
        for y in range(height):
            _copy(images[image, y].reshape(-1), padded[y + padding, inner:])
        for top in range(0, 4 * rows, 4):
            for i in range(6):
                line = padded[top + i]
                for column in range(columns):
                    d0, d1, d2, d3, d4, d5 = _pixels(line, 4 * column, channels)
                    to = half[6 * i * _STEP + column * channels :]
                    for k in range(channels):
                        even, odd = d4[k] - _4 * d2[k], d3[k] - _4 * d1[k]
                        to[k] = even + _4 * d0[k] - d2[k]
                        to[k + _STEP] = even + odd
                        to[k + 2 * _STEP] = even - odd
                        even, odd = d4[k] - d2[k], d3[k] - d1[k]
                        to[k + 3 * _STEP] = even + _2 * odd
                        to[k + 4 * _STEP] = even - _2 * odd
                        to[k + 5 * _STEP] = d5[k] - d3[k] - _4 * odd
            for j in range(6):
                d = half[j * _STEP :]
                v0, v1, v2, v3, v4, v5 = _lines(values, j, begin)
                for k in range(length):
                    even = d[k + 24 * _STEP] - _4 * d[k + 12 * _STEP]
                    odd = d[k + 18 * _STEP] - _4 * d[k + 6 * _STEP]
                    v0[k] = even + _4 * d[k] - d[k + 12 * _STEP]
                    v1[k] = even + odd
                    v2[k] = even - odd
                for k in range(length):
                    even = d[k + 24 * _STEP] - d[k + 12 * _STEP]
                    odd = d[k + 18 * _STEP] - d[k + 6 * _STEP]
                    v3[k] = even + _2 * odd
                    v4[k] = even - _2 * odd
                    v5[k] = d[k + 30 * _STEP] - d[k + 18 * _STEP] - _4 * odd
            begin += length


@kernel("contract")
def gather_tiles(values, maps):
    """Write the tile A' m A of each m.

    Parameters
    ----------
    values : ndarray of float32 of shape (36, >= tiles * c)
        The values m.

    maps : ndarray of float32 of shape (n, h, w, c)
        Gets the tiles. What of the last ones is beyond the maps is left out.
    """
    n, height, width, channels = maps.shape
    columns = (width + 3) // 4
    length = columns * channels
    line = np.empty(4 * length, np.float32)
    half = np.empty(24 * _STEP, np.float32)
    begin = 0
    for image in range(n):
        for top in range(0, height, 4):
            for j in range(6):
                m0, m1, m2, m3, m4, m5 = _lines(values, j, begin)
                to = half[j * _STEP :]
                for k in range(length):
                    inner, outer = m1[k] + m2[k], m3[k] + m4[k]
                    to[k] = m0[k] + inner + outer
                    to[k + 12 * _STEP] = inner + _4 * outer
                    inner, outer = m1[k] - m2[k], m3[k] - m4[k]
                    to[k + 6 * _STEP] = inner + _2 * outer
                    to[k + 18 * _STEP] = inner + _8 * outer + m5[k]
            for i in range(min(4, height - top)):
                for column in range(columns):
                    m = half[6 * i * _STEP + column * channels :]
                    y0, y1, y2, y3, _, _ = _pixels(line, 4 * column, channels)
                    for k in range(channels):
                        inner = m[k + _STEP] + m[k + 2 * _STEP]
                        outer = m[k + 3 * _STEP] + m[k + 4 * _STEP]
                        y0[k] = m[k] + inner + outer
                        y2[k] = inner + _4 * outer
                    for k in range(channels):
                        inner = m[k + _STEP] - m[k + 2 * _STEP]
                        outer = m[k + 3 * _STEP] - m[k + 4 * _STEP]
                        y1[k] = inner + _2 * outer
                        y3[k] = inner + _8 * outer + m[k + 5 * _STEP]
                _copy(line, maps[image, top + i].reshape(-1))
            begin += length


@kernel("contract")
def spread_gradient(gradient, values):
    """Write A g A' of each tile g: the transpose of :func:`gather_tiles`.

    Parameters
    ----------
    gradient : ndarray of float32 of shape (n, h, w, c)
        Gradient of the maps.

    values : ndarray of float32 of shape (36, >= tiles * c)
        Gets that of the values m.
    """
    n, height, width, channels = gradient.shape
    columns = (width + 3) // 4
    length = columns * channels
    line = np.zeros(4 * length, np.float32)
    half = np.empty(24 * _STEP, np.float32)
    begin = 0
    for image in range(n):
        for top in range(0, height, 4):
            for i in range(4):
                if top + i < height:
                    _copy(gradient[image, top + i].reshape(-1), line)
                else:
                    line[:] = 0
                for column in range(columns):
                    g0, g1, g2, g3, _, _ = _pixels(line, 4 * column, channels)
                    to = half[6 * i * _STEP + column * channels :]
                    for k in range(channels):
                        to[k] = g0[k]
                        even, odd = g0[k] + g2[k], g1[k] + g3[k]
                        to[k + _STEP] = even + odd
                        to[k + 2 * _STEP] = even - odd
                        even, odd = g0[k] + _4 * g2[k], _2 * g1[k] + _8 * g3[k]
                        to[k + 3 * _STEP] = even + odd
                        to[k + 4 * _STEP] = even - odd
                        to[k + 5 * _STEP] = g3[k]
            for j in range(6):
                g = half[j * _STEP :]
                v0, v1, v2, v3, v4, v5 = _lines(values, j, begin)
                for k in range(length):
                    even, odd = g[k] + g[k + 12 * _STEP], g[k + 6 * _STEP] + g[k + 18 * _STEP]
                    v0[k] = g[k]
                    v1[k] = even + odd
                    v2[k] = even - odd
                for k in range(length):
                    even = g[k] + _4 * g[k + 12 * _STEP]
                    odd = _2 * g[k + 6 * _STEP] + _8 * g[k + 18 * _STEP]
                    v3[k] = even + odd
                    v4[k] = even - odd
                    v5[k] = g[k + 18 * _STEP]
            begin += length


@kernel("contract")
def gather_patches(values, padding, gradient):
    """Write the sums of the patches B v B' where they overlap: the transpose of `spread_patches`.

    Parameters
    ----------
    values : ndarray of float32 of shape (36, >= tiles * c)
        Gradient of the values of the patches.

    padding : int
        Width of the zeros around the images.

    gradient : ndarray of float32 of shape (n, h, w, c)
        Gets that of the images.
    """
    n, height, width, channels = gradient.shape
    rows, columns = (height + 2 * padding + 1) // 4, (width + 2 * padding + 1) // 4
    length, inner = columns * channels, padding * channels
    padded = np.empty((4 * rows + 2, (4 * columns + 2) * channels), np.float32)
    half = np.empty(36 * _STEP, np.float32)
    begin = 0
    for image in range(n):
        padded[:] = 0
        for top in range(0, 4 * rows, 4):
            for j in range(6):
                v0, v1, v2, v3, v4, v5 = _lines(values, j, begin)
                to = half[j * _STEP :]
                for k in range(length):
                    inner_sum, outer_sum = v1[k] + v2[k], v3[k] + v4[k]
                    inner_gap, outer_gap = v1[k] - v2[k], v3[k] - v4[k]
                    to[k] = _4 * v0[k]
                    to[k + 6 * _STEP] = _4 * (v5[k] - inner_gap) - _2 * outer_gap
                    to[k + 12 * _STEP] = -_5 * v0[k] - _4 * inner_sum - outer_sum
                    to[k + 18 * _STEP] = inner_gap + _2 * outer_gap - _5 * v5[k]
                    to[k + 24 * _STEP] = v0[k] + inner_sum + outer_sum
                    to[k + 30 * _STEP] = v5[k]
            for i in range(6):
                line = padded[top + i]
                for column in range(columns):
                    v = half[6 * i * _STEP + column * channels :]
                    d0, d1, d2, d3, d4, d5 = _pixels(line, 4 * column, channels)
                    for k in range(channels):
                        near = v[k + _STEP] + v[k + 2 * _STEP]
                        far = v[k + 3 * _STEP] + v[k + 4 * _STEP]
                        d0[k] += _4 * v[k]
                        d2[k] -= _5 * v[k] + _4 * near + far
                        d4[k] += v[k] + near + far
                    for k in range(channels):
                        near = v[k + _STEP] - v[k + 2 * _STEP]
                        far = v[k + 3 * _STEP] - v[k + 4 * _STEP]
                        d1[k] += _4 * (v[k + 5 * _STEP] - near) - _2 * far
                        d3[k] += near + _2 * far - _5 * v[k + 5 * _STEP]
                        d5[k] += v[k + 5 * _STEP]
            begin += length
        for y in range(height):
            _copy(padded[y + padding, inner:], gradient[image, y].reshape(-1))
