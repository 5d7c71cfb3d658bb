"""Dense SIFT of a batch in one compiled pass: gradients, soft binning, pooling at the grid only.

Images are worked on column by column, so that the innermost loop of each step runs over long
contiguous memory: first all rows and orientations of a column, then all columns, bins and
orientations of a row.
"""

from __future__ import annotations

from math import pi, sqrt, tan

import numpy as np

from skcnn._aligned import empty_aligned
from skcnn._compiled import kernel, part
from skcnn.features._sift_grid import N_BINS, N_ORIENTATIONS, TAPS_AT_ONCE, Grid

_CLIP = 0.2
_NOISE = 16  # rounding errors that may add up in a flat patch

# No check for NaN, signed zeros or the order of a sum: images are finite.
_FAST = ("nnan", "ninf", "nsz", "reassoc", "contract")


def _fit_octants() -> tuple[float, ...]:
    """Return c0, c1, ... with atan(x) * 4 / pi = x * (c0 + c1 x^2 + ...) for |x| <= tan(pi / 8)."""

    def ratio(square: np.ndarray) -> np.ndarray:
        x = np.sqrt(square)
        return np.arctan(x) / x * (4 / pi)

    domain = [0.0, tan(pi / 8) ** 2]
    fitted = np.polynomial.Chebyshev.interpolate(ratio, 10, domain)
    return tuple(float(c) for c in fitted.convert(kind=np.polynomial.Polynomial).coef)


_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10 = _fit_octants()
_TAN_PI_8 = tan(pi / 8)


@part(*_FAST)
def _load(image: np.ndarray, factor: float, padded: np.ndarray) -> None:
    """Write the transposed image times `factor`, continued by its border pixels."""
    height, width = image.shape
    pad = (len(padded) - width) // 2
    for x in range(padded.shape[0]):
        column = x - pad
        if column < 0:
            column = 0
        elif column >= width:
            column = width - 1
        line = padded[x]
        for y in range(height):
            line[y + pad] = image[y, column] * factor
        for y in range(pad):
            line[y] = line[pad]
            line[pad + height + y] = line[pad + height - 1]


@part(*_FAST)
def _mix(target: np.ndarray, sources: np.ndarray, first: int, weights: np.ndarray) -> None:
    """Write the weighted sum of the rows of `sources` from `first` on, which go round."""
    n_rows = len(sources)
    for t in range(0, weights.size, TAPS_AT_ONCE):
        a = sources[(first + t) % n_rows]
        b = sources[(first + t + 1) % n_rows]
        c = sources[(first + t + 2) % n_rows]
        d = sources[(first + t + 3) % n_rows]
        wa, wb, wc, wd = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        if t == 0:
            for i in range(target.size):
                target[i] = wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i]
        else:
            for i in range(target.size):
                target[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i]


@part(*_FAST)
def _smooth(
    padded: np.ndarray, kernel: np.ndarray, partial: np.ndarray, smoothed: np.ndarray
) -> None:
    """Convolve with the kernel along both axes; `partial` has room for a line and the kernel."""
    n_lines, length = smoothed.shape
    for x in range(n_lines):
        _mix(partial[: padded.shape[1]], padded, x, kernel)
        line = smoothed[x]
        line[:] = 0
        for t in range(0, kernel.size, TAPS_AT_ONCE):
            wa, wb, wc, wd = kernel[t], kernel[t + 1], kernel[t + 2], kernel[t + 3]
            shifted = partial[t:]
            for y in range(length):
                line[y] += (
                    wa * shifted[y]
                    + wb * shifted[y + 1]
                    + wc * shifted[y + 2]
                    + wd * shifted[y + 3]
                )


@part(*_FAST)
def _polar(
    before: np.ndarray,
    line: np.ndarray,
    after: np.ndarray,
    magnitude: np.ndarray,
    angle: np.ndarray,
) -> None:
    """Write the gradient's magnitude and its angle in eighths of a circle, 0 for down.

    From down (rows grow) the angle turns to the right (columns grow).
    """
    real = line.dtype.type
    for y in range(magnitude.size):
        down = line[y + 2] - line[y]
        right = after[y + 1] - before[y + 1]
        steep, flat = abs(down), abs(right)
        long = steep if steep > flat else flat
        short = flat if steep > flat else steep
        # Beyond pi / 8 the angle is measured from pi / 4, where the polynomial holds.
        beyond = short > real(_TAN_PI_8) * long
        x = (short - long if beyond else short) / ((short + long if beyond else long) + real(1e-30))
        z = x * x
        p = real(_C10) * z + real(_C9)
        p = p * z + real(_C8)
        p = p * z + real(_C7)
        p = p * z + real(_C6)
        p = p * z + real(_C5)
        p = p * z + real(_C4)
        p = p * z + real(_C3)
        p = p * z + real(_C2)
        p = p * z + real(_C1)
        p = p * z + real(_C0)
        turn = p * x + (real(1) if beyond else real(0))
        turn = turn if steep > flat else real(2) - turn
        turn = real(4) - turn if down < real(0) else turn
        angle[y] = real(8) - turn if right < real(0) else turn
        magnitude[y] = sqrt(down * down + right * right)


@part(*_FAST)
def _bin(magnitude: np.ndarray, angle: np.ndarray, histograms: np.ndarray) -> None:
    """Share each magnitude among the two nearest of 8 orientations, multiples of pi / 4.

    `histograms` is zero before, and holds those of the pixels end to end.
    """
    real = magnitude.dtype.type
    for y in range(magnitude.size):
        whole = int(angle[y])
        upper = magnitude[y] * (angle[y] - real(whole))
        base = N_ORIENTATIONS * y
        histograms[base + (whole & 7)] = magnitude[y] - upper
        histograms[base + ((whole + 1) & 7)] = upper


@part(*_FAST)
def _pool_columns(
    smoothed: np.ndarray,
    first_taps: np.ndarray,
    weights: np.ndarray,
    polar: np.ndarray,
    histograms: np.ndarray,
    pooled: np.ndarray,
) -> None:
    """Write what each column of the grid pools of every row of the image.

    `histograms` has room for the columns that a patch covers, then for one bin more. `pooled` has a
    row for each of the image's, of grid columns x 4 bins x 8 orientations.
    """
    width, height = smoothed.shape[0] - 2, smoothed.shape[1] - 2
    n_taps = weights.shape[1]
    span = len(histograms) - 1
    patch, one_bin = histograms[:span], histograms[span]
    upcoming = first_taps[0, 0]
    for column in range(len(first_taps)):
        while upcoming < first_taps[column, -1] + n_taps:
            line = patch[upcoming % span]
            line[:] = 0
            if 0 <= upcoming < width:
                _polar(
                    smoothed[upcoming],
                    smoothed[upcoming + 1],
                    smoothed[upcoming + 2],
                    polar[0],
                    polar[1],
                )
                _bin(polar[0], polar[1], line)
            upcoming += 1
        for b in range(N_BINS):
            _mix(one_bin, patch, first_taps[column, b], weights[b])
            base = (column * N_BINS + b) * N_ORIENTATIONS
            for y in range(height):
                for k in range(N_ORIENTATIONS):
                    pooled[y, base + k] = one_bin[y * N_ORIENTATIONS + k]


@part(*_FAST)
def _finish(
    bands: np.ndarray, start: int, least: float, root: bool, descriptor: np.ndarray
) -> None:
    """Write the normalised descriptor whose 4 rows of bins start at `start` of the `bands`."""
    real = descriptor.dtype.type
    length = descriptor.size // N_BINS
    total = real(0)
    for b in range(N_BINS):
        source, target = bands[b, start : start + length], descriptor[b * length : (b + 1) * length]
        for i in range(length):
            target[i] = source[i]
            total += source[i] * source[i]
    norm = sqrt(total)
    if norm <= least:  # nothing but the rounding of a flat patch
        descriptor[:] = 0
        return
    most = real(_CLIP) * norm
    total = real(0)
    for i in range(descriptor.size):
        value = min(descriptor[i], most)
        descriptor[i] = value
        total += value if root else value * value
    if root:
        for i in range(descriptor.size):
            descriptor[i] = sqrt(descriptor[i] / total)
    else:
        factor = real(1) / sqrt(total)
        for i in range(descriptor.size):
            descriptor[i] *= factor


@kernel(*_FAST)
def _describe(
    images: np.ndarray,
    factors: np.ndarray,
    kernel: np.ndarray,
    row_taps: np.ndarray,
    row_weights: np.ndarray,
    column_taps: np.ndarray,
    column_weights: np.ndarray,
    least: float,
    root: bool,
    workspace: tuple[np.ndarray, ...],
    out: np.ndarray,
    scale: int,
    plane: int,
) -> None:
    padded, partial, smoothed, polar, histograms, pooled, bands = workspace
    for image in range(len(images)):
        _load(images[image], factors[image], padded)
        _smooth(padded, kernel, partial, smoothed)
        _pool_columns(smoothed, column_taps, column_weights, polar, histograms, pooled)
        for row in range(len(row_taps)):
            for b in range(N_BINS):
                _mix(bands[b], pooled, row_taps[row, b], row_weights[b])
            for column in range(len(column_taps)):
                start = column * N_BINS * N_ORIENTATIONS
                _finish(bands, start, least, root, out[image, scale, row, column, plane])


def describe(
    images: np.ndarray, grid: Grid, root: bool, out: np.ndarray, scale: int, plane: int
) -> None:
    """Write the descriptors of all images at every point of the grid.

    Parameters
    ----------
    images : ndarray of shape (n, height, width)
        Grey images, float32 or float64.

    grid : Grid
        Where the descriptors lie, and how their bins pool.

    root : bool
        Whether to take the square roots of the descriptors with a sum of 1.

    out : ndarray of shape (n, n_scales, rows, columns, n_planes, 128)
        The result.

    scale, plane : int
        Where in the result to write.
    """
    dtype = images.dtype
    _, height, width = images.shape
    _describe(
        _read_only(images),
        _factors_to_one(images),
        grid.kernel.astype(dtype),
        grid.row_taps,
        grid.row_weights.astype(dtype),
        grid.column_taps,
        grid.column_weights.astype(dtype),
        dtype.type(grid.mass_of_a_bin * _NOISE * np.finfo(dtype).eps),
        root,
        _workspace(height, width, grid, dtype),
        out,
        scale,
        plane,
    )


def _read_only(images: np.ndarray) -> np.ndarray:
    """Return a view that is of one type for numba whether the images may be written to or not."""
    view = np.ascontiguousarray(images).view()
    view.flags.writeable = False
    return view


def _factors_to_one(images: np.ndarray) -> np.ndarray:
    """Return the powers of two that bring the largest values of the images between 1/2 and 1.

    Powers of two are exact, and neither squares of tiny nor of huge values leave the range of
    floating point then. Only what is next to the smallest of all numbers stays below.
    """
    flat = images.reshape(len(images), -1)
    peaks = np.maximum(flat.max(axis=1), -flat.min(axis=1))
    largest = 120 if images.dtype == np.float32 else 1000
    return np.ldexp(images.dtype.type(1), np.minimum(-np.frexp(peaks)[1], largest))


def _workspace(height: int, width: int, grid: Grid, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return the arrays that the kernel writes to on its way."""
    pad = grid.radius + 1
    n_taps = grid.column_weights.shape[1]
    span = grid.column_taps[0, -1] + n_taps - grid.column_taps[0, 0]
    # Taps beyond the image go round to the empty rows at the end.
    first, last = grid.row_taps.min(), grid.row_taps.max() + grid.row_weights.shape[1]
    n_beyond = max(0, -first, last - height)
    length = len(grid.column_taps) * N_BINS * N_ORIENTATIONS
    shapes = [
        (width + 2 * pad, height + 2 * pad),  # padded
        (height + 2 * pad + grid.kernel.size,),  # partial
        (width + 2, height + 2),  # smoothed
        (2, height),  # polar
        (span + 1, height * N_ORIENTATIONS),  # histograms
        (height + n_beyond, length),  # pooled
        (N_BINS, length),  # bands
    ]
    arrays = tuple(empty_aligned(shape, dtype) for shape in shapes)
    for array in arrays:
        array[...] = 0
    return arrays
