"""HOG on the CPU: one pass over the pixels, a strip of rows at a time, compiled by numba.

Loops that the compiler turns into vector instructions compute the gradients of a strip, then their
magnitudes and bins, in the precision of the features. That is right for all pixels but those whose
angle is within rounding of the edge of a bin: their bins are found one by one in float64. Where an
angle is within rounding of an edge in float64 too, it must be NumPy's to the last bit, and the
pixel is handed back to the caller.

One file, long as it is: numba compiles a kernel anew when its own file has changed, no other.
"""

# ruff: noqa: ANN001 - numba finds the types itself.
from __future__ import annotations

import math

import numpy as np

from skcnn._compiled import kernel, part

# atan(t) / pi on [-1, 1] within 4e-6, by odd powers. As multiples of 2**-24 whose sum is 1/4 they
# give exactly 1/4 for t = 1 in float32 too, so that the axes fall on their bins.
_C1, _C3, _C5, _C7, _C9 = (c * 2.0**-24 for c in (5339582, -1762985, 957997, -448410, 108120))
# How far from the edge of a bin, in half turns, the bin is certain: by the polynomial in float32,
# and in float64.
_SURE, _SURE_IN_DOUBLE = 6e-6, 1e-9
# Squared magnitudes between these lose nothing in float32.
_SMALLEST, _LARGEST = 1e-30, 1e37
# Makes 0 / 0 zero and is lost, in float64 too, beside the sides of what is not below the smallest.
_NOT_ZERO = 1e-37
# How many pixels are looked at closer at a time.
_GATHERED = 64
# Relative difference of two squares, in float64 and float32, that rounding may have made.
_TIE, _TIE_IN_SINGLE = 1e-14, 6e-7


@kernel("contract")
def sum_cells(
    images, divisor, take_sqrt, rough, cell, edges_exact, first, values, scratch, magnitudes,
    places, flags, numbers, sums, gradients, cells_of,
):  # fmt: skip
    """Sum the gradient magnitudes of each cell by orientation, without the pixels it hands back.

    Parameters
    ----------
    images : ndarray of shape (m, h, w) or (m, h, w, c)
        The images as they are stored. Of grey and colour images each compile what they need.

    divisor : float
        What they are to be divided by.

    take_sqrt : bool
        Take the square root of all values first.

    rough : bool
        Take the gradients of the images as they are stored, in float32 if `values` says so, and
        those of doubtful pixels again. Not for square roots, nor for several channels in float64.
        Gradients are otherwise scikit-image's to the last bit if `values` is float64.

    cell : (int, int)
        Height and width of a cell.

    edges_exact : bool
        Whether a gradient along an axis or diagonal is on the side of an edge that the exact
        angle says.

    first : uint32 ndarray of shape (strip * w,)
        Where in a row of sums the cell of each pixel of a strip starts.

    values : ndarray of shape (c, (strip + 2) * w)
        Room for a strip of rows and the two beside it, of the floating type to work in.

    scratch : ndarray of shape (2, strip * w)
        Room for its gradients, of the same type.

    magnitudes : ndarray of shape (strip * w,)
        Room for its magnitudes, of the floating type to compute them and the bins in.

    places : uint32 ndarray of shape (strip * w,)
        Room for the places of its pixels in a row of sums.

    flags : uint8 ndarray of shape (n,)
        Room for a flag of each pixel of a strip: strip * w, rounded up to whole words of 8.

    numbers : uint32 ndarray of shape (n + n / 8,)
        Room for the numbers of the pixels whose flag is set, and of words of flags.

    sums : float64 ndarray of shape (m, rows, columns * orientations + 1)
        Where the sums go; the last of a row is not used. They are `divisor` times too large if
        `rough`.

    gradients : float64 ndarray of shape (capacity, 2)
        Where the pixels handed back go: vertical and horizontal gradient.

    cells_of : int64 ndarray of shape (capacity,)
        Number of the cell of each of them.

    Returns
    -------
    n_images, n_pixels : int
        How many images are done (the next one has not found room for its pixels) and how many of
        their pixels are handed back.

    finite : bool
        Whether all values of these images are that were read: those of rows that belong to a cell
        or are next to one. It ends at the first image where they are not.
    """
    m, w = images.shape[0], images.shape[2]
    rows, past = sums.shape[1], sums.shape[2] - 1
    columns = w // cell[1]
    strip = len(places) // w
    used = rows * cell[0]
    gathered = np.empty((6, _GATHERED))
    n_pixels = np.int64(0)
    for i in range(m):
        before = n_pixels
        sums[i].fill(0)
        for top in range(0, used, strip):
            n_rows = min(strip, used - top)
            unit = 1.0 if rough else divisor
            if not _load(images[i], top, n_rows, unit, take_sqrt, values):
                return i, before, False
            begin, end = _rows_with_gradients(values[:, : (n_rows + 2) * w], w)
            if begin >= end:
                continue
            n = (end - begin) * w
            dx, dy = scratch[0, :n], scratch[1, :n]
            if images.ndim == 3:
                _take_gradients(values[0, begin * w :], w, dx, dy)
                for j in range(0, n, w):
                    dx[j], dx[j + w - 1] = 0, 0
            else:
                _take_strongest(
                    values, begin * w, w, divisor if rough else 1.0, dx, dy, flags, numbers,
                    gathered,
                )  # fmt: skip
            n_doubtful = _find_places(
                dx, dy, first, past, past // columns, edges_exact, magnitudes, places, flags
            )
            for k in range(end - begin):
                left, cell_row = k * w, (top + begin + k) // cell[0]
                right = left + columns * cell[1]
                _vote(places[left:right], magnitudes[left:right], sums[i, cell_row])
            if n_pixels + n_doubtful > len(cells_of):
                return i, before, True
            if n_doubtful:
                n_pixels = _settle_doubtful(
                    images[i], divisor, rough, dx, dy, _where_set(flags, n, numbers), top + begin,
                    cell, edges_exact, sums[i], i * rows * columns, gradients, cells_of, n_pixels,
                )  # fmt: skip
    return m, n_pixels, True


@part("contract")
def _infinite(value):
    """Tell whether a value is NaN or infinity."""
    return value - value != 0


@part("contract")
def _load(image, top, n_rows, divisor, take_sqrt, values):
    """Read a strip of rows and the two beside it, one channel after another; tell if it is finite.

    What lies above and below the image mirrors it, so that differences there are zero.
    """
    (h, w), c = image.shape[:2], len(values)
    above, below = max(top - 1, 0), min(top + n_rows + 1, h)
    pixels = image[above:below].reshape(-1)
    start, n = (above - top + 1) * w, (below - above) * w
    n_infinite = np.int32(0)
    if image.ndim == 2:
        grey = values[0, start:]
        for j in range(n):
            grey[j] = pixels[j]
            n_infinite = np.int32(n_infinite + np.int32(_infinite(pixels[j])))
    elif c == 3:  # a step that the compiler knows is three times as fast
        red, green, blue = values[0, start:], values[1, start:], values[2, start:]
        for j in range(n):
            r, g, b = pixels[3 * j], pixels[3 * j + 1], pixels[3 * j + 2]
            red[j], green[j], blue[j] = r, g, b
            infinite = _infinite(r) | _infinite(g) | _infinite(b)
            n_infinite = np.int32(n_infinite + np.int32(infinite))
    else:
        for channel in range(c):
            out = values[channel, start:]
            for j in range(n):
                out[j] = pixels[j * c + channel]
                n_infinite = np.int32(n_infinite + np.int32(_infinite(out[j])))
    for channel in range(c):
        out = values[channel, start : start + n]
        if divisor != 1.0:
            for j in range(n):
                out[j] /= divisor
        if take_sqrt:
            for j in range(n):
                out[j] = math.sqrt(out[j])
        rows = values[channel]
        if top == 0:
            for j in range(w):
                rows[j] = rows[min(2, h) * w + j]
        if top + n_rows == h:
            for j in range(n_rows * w, (n_rows + 1) * w):
                rows[j + w] = rows[j - w]
    return n_infinite == 0


@part("contract")
def _rows_with_gradients(values, w):
    """Return the range of rows of a strip without those at either end that are blank."""
    n = values.shape[1]
    begin, end = n, 0
    for channel in range(len(values)):
        pixels = values[channel]
        first, last = 0, n
        while first < n and pixels[first] == pixels[0]:
            first += 1
        while last > first and pixels[last - 1] == pixels[0]:
            last -= 1
        begin, end = min(begin, first), max(end, last)
    if begin >= end:
        return 0, 0
    # A pixel counts for its own row and the two beside it.
    return max(begin // w - 2, 0), min((end - 1) // w + 1, n // w - 2)


@part("contract")
def _take_gradients(pixels, width, dx, dy):
    """Take the differences of the pixels to the left and right, and above and below."""
    left, right, above, below = _neighbours(pixels, width, len(dx))
    for j in range(len(dx)):
        dx[j] = right[j] - left[j]
        dy[j] = below[j] - above[j]


@part("contract")
def _neighbours(pixels, width, n):
    """Return what lies left of, right of, above and below each of n pixels, row by row."""
    return (
        pixels[width - 1 : width - 1 + n],
        pixels[width + 1 : width + 1 + n],
        pixels[:n],
        pixels[2 * width : 2 * width + n],
    )


@part("contract")
def _take_strongest(values, start, width, divisor, dx, dy, ties, numbers, gathered):
    """Take the gradients of the channel where they are strongest, the first of equals.

    Where squares in the precision of `values` do not tell, and at the borders, that is decided for
    one pixel after the other. `divisor` is what the values are yet to be divided by.
    """
    n, c = len(dx), len(values)
    real = values.dtype.type
    tie = real(_TIE_IN_SINGLE if values.itemsize == 4 else _TIE)
    n_ties = np.int32(0)
    if c == 3:  # at once, which is faster
        left_0, right_0, above_0, below_0 = _neighbours(values[0, start:], width, n)
        left_1, right_1, above_1, below_1 = _neighbours(values[1, start:], width, n)
        left_2, right_2, above_2, below_2 = _neighbours(values[2, start:], width, n)
        for j in range(n):
            x, y = right_0[j] - left_0[j], below_0[j] - above_0[j]
            x, y, near = _stronger(x, y, right_1[j] - left_1[j], below_1[j] - above_1[j], tie)
            x, y, near_too = _stronger(x, y, right_2[j] - left_2[j], below_2[j] - above_2[j], tie)
            dx[j], dy[j] = x, y
            ties[j] = 1 if near | near_too else 0
            n_ties = np.int32(n_ties + np.int32(near | near_too))
    else:
        _take_gradients(values[0, start:], width, dx, dy)
        ties[:n] = 0
        for channel in range(1, c):
            left, right, above, below = _neighbours(values[channel, start:], width, n)
            for j in range(n):
                x, y = right[j] - left[j], below[j] - above[j]
                dx[j], dy[j], near = _stronger(dx[j], dy[j], x, y, tie)
                ties[j] |= np.uint8(1 if near else 0)
                n_ties = np.int32(n_ties + np.int32(near))
    if n_ties > 0:
        where = _where_set(ties, n, numbers)
        _look_closer(values, start, width, divisor, dx, dy, where, gathered)
    for left in range(0, n, width):
        _take_vertical(values, start, width, dx, dy, left)
        _take_vertical(values, start, width, dx, dy, left + width - 1)


@part("contract")
def _stronger(x, y, other_x, other_y, tie):
    """Return the stronger of two gradients, and whether that needs a closer look.

    In float32 it needs none where both have the same orientation: nothing is lost but the last
    digit of the magnitude, and pixels near the edge of a bin are taken again. In float64 it needs
    none where one is the other, or its opposite.
    """
    real = type(tie)
    in_single = real(1) + real(1e-10) == real(1)  # known when this is compiled
    square = x * x + y * y
    difference = other_x * other_x + other_y * other_y - square
    margin = tie * square + real(_SMALLEST)
    if in_single:
        better = difference > real(0)
        same = x * other_y == y * other_x
    else:
        better = difference > margin
        same = ((x == other_x) & (y == other_y)) | ((x == -other_x) & (y == -other_y))
    near = (not (abs(difference) > margin)) & (not same)
    return other_x if better else x, other_y if better else y, near


@part("contract")
def _where_set(flags, n, numbers):
    """Return where the first n flags are set: words of eight are looked at first, no branches."""
    n_words = (n + 7) // 8
    for j in range(n, 8 * n_words):
        flags[j] = 0
    words = flags.view(np.uint64)
    end = np.uint32(len(flags))  # the words are listed behind the pixels
    n_used = np.uint32(0)
    for k in range(n_words):
        numbers[end + n_used] = k
        n_used += np.uint32(words[k] != 0)
    n_set = np.uint32(0)
    for i in range(n_used):
        begin = np.uint32(8) * numbers[end + i]
        for j in range(begin, begin + np.uint32(8)):
            numbers[n_set] = j
            n_set += flags[j]
    return numbers[:n_set]


@part("contract")
def _look_closer(values, start, width, divisor, dx, dy, numbers, gathered):
    """Take the strongest gradients of some pixels by squares in float64, or as hypot rounds them.

    Quotients that rounding has made different tell too, as they do in scikit-image. Pixels are
    gathered, `_GATHERED` at a time, so that what follows is vector code. It marks by NaN what
    squares do not tell.
    """
    strongest_x, strongest_y = gathered[4], gathered[5]
    for begin in range(0, len(numbers), _GATHERED):
        some = numbers[begin : begin + _GATHERED]
        for i in range(len(some)):
            strongest_x[i], strongest_y[i] = 0, 0
        for channel in range(len(values)):
            pixels = values[channel, start:]
            other_x, other_y = _gather_gradients(pixels, width, divisor, some, gathered)
            for i in range(len(some)):
                x, y = strongest_x[i], strongest_y[i]
                square = x * x + y * y
                difference = other_x[i] * other_x[i] + other_y[i] * other_y[i] - square
                a, b, other_a, other_b = abs(x), abs(y), abs(other_x[i]), abs(other_y[i])
                alike = ((a == other_a) & (b == other_b)) | ((a == other_b) & (b == other_a))
                near = not (abs(difference) > _TIE * square + _SMALLEST)
                better = (difference > 0) & (not alike)
                x = other_x[i] if better else x
                strongest_x[i] = math.nan if near & (not alike) else x
                strongest_y[i] = other_y[i] if better else y
        for i in range(len(some)):
            x, y = strongest_x[i], strongest_y[i]
            if x != x:  # NaN, seldom
                x, y = _strongest_by_hypot(values, start, width, divisor, some[i])
            dx[some[i]], dy[some[i]] = x * divisor, y * divisor


@part("contract")
def _gather_gradients(pixels, width, divisor, numbers, gathered):
    """Return the gradients of some pixels of the divided image in float64, by column and by row."""
    left, right, above, below = gathered[0], gathered[1], gathered[2], gathered[3]
    for i in range(len(numbers)):
        left[i], right[i], above[i], below[i] = _around(pixels, width, numbers[i])
    for i in range(len(numbers) if divisor != 1.0 else 0):
        left[i], right[i] = left[i] / divisor, right[i] / divisor
        above[i], below[i] = above[i] / divisor, below[i] / divisor
    for i in range(len(numbers)):
        right[i] -= left[i]
        below[i] -= above[i]
    return right, below


@part("contract")
def _strongest_by_hypot(values, start, width, divisor, j):
    """Return the strongest gradient of a pixel as scikit-image finds it, the first of equals."""
    x, y, strength = 0.0, 0.0, -1.0
    for channel in range(len(values)):
        left, right, above, below = _around(values[channel, start:], width, j)
        other_x, other_y = right / divisor - left / divisor, below / divisor - above / divisor
        other_strength = math.hypot(other_y, other_x)
        if other_strength > strength:
            x, y, strength = other_x, other_y, other_strength
    return x, y


@part("contract")
def _around(pixels, width, j):
    """Return in float64 what lies left of, right of, above and below a pixel."""
    row, one = np.uint64(width), np.uint64(1)  # no sign, and so no look for negative indices
    return (
        np.float64(pixels[j + row - one]),
        np.float64(pixels[j + row + one]),
        np.float64(pixels[j]),
        np.float64(pixels[j + row + row]),
    )


@part("contract")
def _take_vertical(values, start, width, dx, dy, j):
    """Take the strongest gradient of a pixel at the border, where those by columns are zero."""
    strongest = values.dtype.type(0)
    for channel in range(len(values)):
        y = values[channel, start + j + 2 * width] - values[channel, start + j]
        strongest = y if abs(y) > abs(strongest) else strongest
    dx[j], dy[j] = 0, strongest


@part("contract")
def _find_places(dx, dy, first, past, orientations, edges_exact, magnitudes, places, flags):
    """Compute the magnitudes and find where they belong; flag doubtful pixels, leave them out."""
    real = magnitudes.dtype.type
    # Scalars of the type to work in: a wider one would widen the loop.
    zero, quarter, half, one = real(0), real(0.25), real(0.5), real(1)
    c1, c3, c5, c7, c9 = real(_C1), real(_C3), real(_C5), real(_C7), real(_C9)
    smallest, largest, not_zero = real(_SMALLEST), real(_LARGEST), real(_NOT_ZERO)
    n_bins, past = real(orientations), np.uint32(past)
    sure = real(0.5 - _SURE * orientations)
    n_doubtful = np.int32(0)
    for j in range(len(dx)):
        by_column, by_row = real(dx[j]), real(dy[j])
        x, y = abs(by_column), abs(by_row)
        square = x * x + y * y
        nonzero = x + y > zero
        on_axis = (x == zero) | (y == zero)
        falling = ((by_column < zero) != (by_row < zero)) & (not on_axis)
        t = (y - x) / (y + x + not_zero)
        t2 = t * t
        turns = quarter + t * (c1 + t2 * (c3 + t2 * (c5 + t2 * (c7 + t2 * c9))))
        place = (one - turns if falling else turns) * n_bins
        number = np.int32(place)
        near_edge = (abs(place - real(number) - half) > sure) & (not (on_axis & edges_exact))
        out_of_range = (square < smallest) | (square > largest)
        doubtful = (near_edge | out_of_range) & nonzero
        magnitudes[j] = math.sqrt(square) if nonzero & (not doubtful) else zero
        places[j] = past if doubtful else np.uint32(first[j] + np.uint32(number))
        flags[j] = 1 if doubtful else 0
        n_doubtful = np.int32(n_doubtful + np.int32(doubtful))
    return n_doubtful


@part("contract")
def _vote(places, magnitudes, sums):
    """Add a row's magnitudes up: four cells by turns, so that no addition waits for the last."""
    n = len(places) // 4
    for j in range(n):
        sums[places[j]] += magnitudes[j]
        sums[places[n + j]] += magnitudes[n + j]
        sums[places[2 * n + j]] += magnitudes[2 * n + j]
        sums[places[3 * n + j]] += magnitudes[3 * n + j]
    for j in range(4 * n, len(places)):
        sums[places[j]] += magnitudes[j]


@part("contract")
def _settle_doubtful(
    image, divisor, rough, dx, dy, doubtful, top, cell, edges_exact,
    sums, before, gradients, cells_of, n,
):  # fmt: skip
    """Let doubtful pixels vote by their angle in float64, or hand them back."""
    w = image.shape[1]
    past, columns = sums.shape[1] - 1, w // cell[1]
    orientations = past // columns
    for one in doubtful:
        k = np.int64(one)
        i, j = top + k // w, k % w
        row, column = i // cell[0], j // cell[1]
        if column >= columns:
            continue
        y, x, unit = np.float64(dy[k]), np.float64(dx[k]), 1.0
        if rough:
            y, x, unit = 0.0, 0.0, divisor
            if image.ndim == 2:
                y, x = _exact_gradient(image, divisor, i, j)
            else:
                strongest = -1.0
                for channel in range(image.shape[2]):
                    its_y, its_x = _exact_gradient(image[:, :, channel], divisor, i, j)
                    strength = math.hypot(its_y, its_x)
                    if strength > strongest:
                        y, x, strongest = its_y, its_x, strength
        number = _certain_bin(y, x, orientations, edges_exact)
        if number >= 0:
            sums[row, column * orientations + number] += math.hypot(y, x) * unit
        else:
            gradients[n, 0], gradients[n, 1] = y, x
            cells_of[n] = before + row * columns + column
            n += 1
    return n


@part("contract")
def _exact_gradient(image, divisor, i, j):
    """Return the gradient of a pixel in float64, by row and by column."""
    h, w = image.shape
    y, x = 0.0, 0.0
    if 0 < i < h - 1:
        y = image[i + 1, j] / divisor - image[i - 1, j] / divisor
    if 0 < j < w - 1:
        x = image[i, j + 1] / divisor - image[i, j - 1] / divisor
    return y, x


@part("contract")
def _certain_bin(y, x, orientations, edges_exact):
    """Return the bin of a gradient, or -1 if it is within rounding of an edge."""
    if edges_exact and (x == 0 or y == 0 or abs(x) == abs(y)):
        quarters = 0 if y == 0 else (2 if x == 0 else (1 if (x > 0) == (y > 0) else 3))
        return quarters * orientations // 4
    place = (math.atan2(y, x) / math.pi) % 1.0 * orientations
    number = int(place)
    from_edge = min(place - number, number + 1 - place)
    return number if from_edge > _SURE_IN_DOUBLE * orientations else -1
