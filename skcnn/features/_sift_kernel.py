"""Dense SIFT of a batch in one compiled pass: gradients, soft binning, pooling at the grid only.

Images are worked on column by column, so that the innermost loop of each step runs over long
contiguous memory: first all rows and orientations of a column, then all columns, bins and
orientations of a row.
"""

from __future__ import annotations

from math import atan, frexp, ldexp, pi, sqrt, tan

import numpy as np
from numba import njit

from skcnn.features._sift_grid import N_BINS, N_ORIENTATIONS, TAPS_AT_ONCE

_CLIP = 0.2

# No check for NaN, signed zeros or the order of a sum: images are finite.
_compiled = njit(
    nogil=True,
    cache=True,
    error_model="numpy",  # a check for a zero divisor would keep a loop from being vectorised
    fastmath={"nnan", "ninf", "nsz", "reassoc", "contract"},
)


def _fit_octants() -> tuple[float, ...]:
    """Return c0, c1, ... with atan(x) * 4 / pi = x * (c0 + c1 x^2 + ...) for |x| <= tan(pi / 8)."""

    def ratio(square: np.ndarray) -> np.ndarray:
        root = np.sqrt(np.maximum(square, 1e-12))
        return np.array([atan(x) / x for x in root]) * (4 / pi)

    domain = [0.0, tan(pi / 8) ** 2]
    fitted = np.polynomial.Chebyshev.interpolate(ratio, 10, domain)
    return tuple(float(c) for c in fitted.convert(kind=np.polynomial.Polynomial).coef)


_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10 = _fit_octants()
_TAN_PI_8 = tan(pi / 8)


@_compiled
def _load(image: np.ndarray, padded: np.ndarray, pad: int) -> None:
    """Write the transposed image, continued by its border pixels and scaled to [-1, 1].

    The scale is a power of two: exact, and neither squares of tiny nor of huge values leave the
    range of floating point.
    """
    height, width = image.shape
    real = padded.dtype.type
    peak = real(0)
    for y in range(height):
        for x in range(width):
            peak = max(peak, abs(image[y, x]))
    scale = real(ldexp(1.0, -min(frexp(peak)[1], 120)))
    for x in range(padded.shape[0]):
        column = min(max(x - pad, 0), width - 1)
        line = padded[x]
        for y in range(height):
            line[y + pad] = image[y, column] * scale
        for y in range(pad):
            line[y] = line[pad]
            line[pad + height + y] = line[pad + height - 1]


@_compiled
def _smooth(
    padded: np.ndarray, blur: np.ndarray, partial: np.ndarray, smoothed: np.ndarray
) -> None:
    """Convolve with the symmetric kernel whose one half is `blur`, along both axes.

    `smoothed` is smaller than `padded` by the kernel's radius on every side.
    """
    radius = blur.size - 1
    n_lines, length = smoothed.shape
    for x in range(n_lines):
        line = padded[x + radius]
        for y in range(partial.size):
            partial[y] = blur[0] * line[y]
        for k in range(1, radius + 1):
            before, after, weight = padded[x + radius - k], padded[x + radius + k], blur[k]
            for y in range(partial.size):
                partial[y] += weight * (before[y] + after[y])
        line = smoothed[x]
        for y in range(length):
            line[y] = blur[0] * partial[y + radius]
        for k in range(1, radius + 1):
            before, after, weight = partial[radius - k :], partial[radius + k :], blur[k]
            for y in range(length):
                line[y] += weight * (before[y] + after[y])


@_compiled
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
        long, short = max(abs(down), abs(right)), min(abs(down), abs(right))
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
        turn = real(2) - turn if abs(right) > abs(down) else turn
        turn = real(4) - turn if down < real(0) else turn
        angle[y] = real(8) - turn if right < real(0) else turn
        magnitude[y] = sqrt(down * down + right * right)


@_compiled
def _bin(magnitude: np.ndarray, angle: np.ndarray, histograms: np.ndarray) -> None:
    """Share each magnitude among the two nearest of 8 orientations; histograms lie end to end.

    Orientation k is centred at (k + 1) eighths of a circle, as in scikit-image.
    """
    histograms[:] = 0
    for y in range(magnitude.size):
        whole = int(angle[y])
        upper = magnitude[y] * (angle[y] - whole)
        base = N_ORIENTATIONS * y
        histograms[base + ((whole + 7) & 7)] = magnitude[y] - upper
        histograms[base + (whole & 7)] = upper


@_compiled
def _mix(target: np.ndarray, sources: np.ndarray, first: int, weights: np.ndarray) -> None:
    """Write the weighted sum of the rows of `sources` from `first` on, which go round."""
    target[:] = 0
    n_rows = len(sources)
    for t in range(0, weights.size, TAPS_AT_ONCE):
        a = sources[(first + t) % n_rows]
        b = sources[(first + t + 1) % n_rows]
        c = sources[(first + t + 2) % n_rows]
        d = sources[(first + t + 3) % n_rows]
        wa, wb, wc, wd = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for i in range(target.size):
            target[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i]


@_compiled
def _pool_columns(
    smoothed: np.ndarray, first_taps: np.ndarray, weights: np.ndarray, pooled: np.ndarray
) -> None:
    """Write what each column of the grid pools of every row of the image.

    `pooled` has a row for each of the image's, of grid columns x 4 bins x 8 orientations.
    """
    width, height = smoothed.shape[0] - 2, smoothed.shape[1] - 2
    n_taps = weights.shape[1]
    magnitude, angle = np.empty(height, smoothed.dtype), np.empty(height, smoothed.dtype)
    # Histograms of the columns that a patch covers; those beyond the image stay empty.
    span = first_taps[0, -1] + n_taps - first_taps[0, 0]
    histograms = np.empty((span, height * N_ORIENTATIONS), smoothed.dtype)
    one_bin = np.empty(height * N_ORIENTATIONS, smoothed.dtype)
    upcoming = first_taps[0, 0]
    for column in range(len(first_taps)):
        while upcoming < first_taps[column, -1] + n_taps:
            if 0 <= upcoming < width:
                before, line = smoothed[upcoming], smoothed[upcoming + 1]
                _polar(before, line, smoothed[upcoming + 2], magnitude, angle)
                _bin(magnitude, angle, histograms[upcoming % span])
            else:
                histograms[upcoming % span] = 0
            upcoming += 1
        for b in range(N_BINS):
            _mix(one_bin, histograms, first_taps[column, b], weights[b])
            base = (column * N_BINS + b) * N_ORIENTATIONS
            for y in range(height):
                for k in range(N_ORIENTATIONS):
                    pooled[y, base + k] = one_bin[y * N_ORIENTATIONS + k]


@_compiled
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


@_compiled
def describe(
    images: np.ndarray,
    blur: np.ndarray,
    row_taps: np.ndarray,
    row_weights: np.ndarray,
    column_taps: np.ndarray,
    column_weights: np.ndarray,
    least: float,
    root: bool,
    out: np.ndarray,
    scale: int,
    plane: int,
) -> None:
    """Write the descriptors of all images at every point of the grid.

    Parameters
    ----------
    images : ndarray of shape (n, height, width)
        Grey images.

    blur : ndarray of shape (radius + 1,)
        Half of the smoothing kernel, its centre first.

    row_taps, column_taps : ndarray of int of shape (rows or columns, 4)
        First pixel of each bin at each point of the grid, before 0 if it lies beyond the image.

    row_weights, column_weights : ndarray of shape (4, n_taps)
        Weights of the pixels from there on. The number of taps is a multiple of `TAPS_AT_ONCE`.

    least : float
        A descriptor whose norm before normalisation is not above this is zero; the images are
        taken as scaled to a largest value between 1/2 and 1.

    root : bool
        Whether to take the square roots of the descriptors with a sum of 1.

    out : ndarray of shape (n, n_scales, rows, columns, n_planes, 128)
        The result.

    scale, plane : int
        Where in the result to write.
    """
    n_images, height, width = images.shape
    pad = blur.size
    padded = np.empty((width + 2 * pad, height + 2 * pad), images.dtype)
    partial = np.empty(height + 2 * pad, images.dtype)
    smoothed = np.empty((width + 2, height + 2), images.dtype)
    # Taps beyond the image go round to the empty rows at the end.
    n_beyond = max(0, -row_taps.min(), row_taps.max() + row_weights.shape[1] - height)
    length = len(column_taps) * N_BINS * N_ORIENTATIONS
    pooled = np.zeros((height + n_beyond, length), images.dtype)
    bands = np.empty((N_BINS, length), images.dtype)
    for image in range(n_images):
        _load(images[image], padded, pad)
        _smooth(padded, blur, partial, smoothed)
        _pool_columns(smoothed, column_taps, column_weights, pooled)
        for row in range(len(row_taps)):
            for b in range(N_BINS):
                _mix(bands[b], pooled, row_taps[row, b], row_weights[b])
            for column in range(len(column_taps)):
                start = column * N_BINS * N_ORIENTATIONS
                _finish(bands, start, least, root, out[image, scale, row, column, plane])
