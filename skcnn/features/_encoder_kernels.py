"""The loops of the encoders that are no matrix product, compiled by numba on first use."""

from __future__ import annotations

import math

import numpy as np

from skcnn._compiled import kernel

# Sums in any order, so that loops become vector instructions; values are finite.
_FAST = ("reassoc", "contract", "nsz", "arcp", "nnan")


@kernel()
def nonzero_rows(rows: np.ndarray) -> np.ndarray:
    """Tell of each row whether it holds a value other than zero."""
    found = np.zeros(rows.shape[0], np.bool_)
    for i in range(rows.shape[0]):
        for value in rows[i]:
            if value != 0:
                found[i] = True
                break
    return found


@kernel()
def add_rows(rows: np.ndarray, targets: np.ndarray, sums: np.ndarray) -> None:
    """Add each row to the row of `sums` that is its target."""
    for i in range(rows.shape[0]):
        target = targets[i]
        for j in range(rows.shape[1]):
            sums[target, j] += rows[i, j]


@kernel(*_FAST)
def append_squares(values: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return rows of the values less the shift, and next to them their squares."""
    n_rows, n_values = values.shape
    points = np.empty((n_rows, 2 * n_values), values.dtype)
    for i in range(n_rows):
        # Two loops: one that writes to two places would not become vector instructions.
        for c in range(n_values):
            points[i, c] = values[i, c] - shift[c]
        for c in range(n_values):
            points[i, n_values + c] = points[i, c] * points[i, c]
    return points


@kernel(*_FAST)
def add_fisher_sums(
    points: np.ndarray,
    log_joint: np.ndarray,
    offsets: np.ndarray,
    scaled_means: np.ndarray,
    scales: np.ndarray,
    log_constants: np.ndarray,
    cutoff: np.floating,
    targets: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add what each point says of the modes to the row of `sums` that is its target.

    A row holds the posterior of every mode, then posterior times t and times t^2 - 1 for every mode
    and value, where t is the distance from the mode's mean in standard deviations. `log_joint` plus
    `offsets` need be good enough only to tell which modes are within `cutoff` of the best: their
    posteriors are computed anew from t, which loses no digits. Of `points` the first columns count.
    """
    n_modes, n_values = scales.shape
    real = points.dtype.type
    lowest = np.finfo(points.dtype).min
    distances = np.empty((n_modes, n_values), points.dtype)
    posteriors = np.empty(n_modes, points.dtype)
    quarter = n_modes // 4
    of_quarters = np.empty(quarter, points.dtype)
    is_near = np.zeros(-(-n_modes // 8) * 8, np.uint8)
    eights = is_near.view(np.uint64)
    chosen = np.empty(n_modes + 1, np.uint32)
    for i in range(points.shape[0]):
        joint = log_joint[i]
        for k in range(n_modes):
            joint[k] += offsets[k]
        # The largest of four quarters first: that of all in one loop would be no vector code.
        for k in range(quarter):
            left = max(joint[k], joint[quarter + k])
            of_quarters[k] = max(left, max(joint[2 * quarter + k], joint[3 * quarter + k]))
        best = lowest
        for k in range(quarter):
            best = max(best, of_quarters[k])
        for k in range(4 * quarter, n_modes):
            best = max(best, joint[k])
        for k in range(n_modes):
            is_near[k] = joint[k] >= best - cutoff
        n_chosen = np.uint32(0)
        for eight in range(len(eights)):
            if eights[eight] != 0:
                for k in range(8 * eight, 8 * eight + 8):  # without a branch
                    chosen[n_chosen] = k
                    n_chosen += np.uint32(is_near[k])
        if n_chosen == 0:  # beyond the largest number: log_joint tells nothing
            for k in range(n_modes):
                chosen[k] = k
            n_chosen = np.uint32(n_modes)
        largest = real(-np.inf)
        for j in range(n_chosen):
            k = chosen[j]
            squared = real(0)
            for c in range(n_values):
                t = points[i, c] * scales[k, c] - scaled_means[k, c]
                distances[j, c] = t
                squared += t * t
            posteriors[j] = log_constants[k] - squared * real(0.5)
            largest = max(largest, posteriors[j])
        total = real(0)
        for j in range(n_chosen):
            posteriors[j] = math.exp(posteriors[j] - largest)
            total += posteriors[j]
        row = sums[targets[i]]
        for j in range(n_chosen):
            k = chosen[j]
            posterior = posteriors[j] / total
            row[k] += posterior
            first = n_modes + k * n_values
            by_mean = row[first : first + n_values]
            by_variance = row[first + n_modes * n_values : first + (n_modes + 1) * n_values]
            for c in range(n_values):
                t = distances[j, c]
                by_mean[c] += posterior * t
                by_variance[c] += posterior * (t * t - real(1))


@kernel(*_FAST)
def finish_fisher_vectors(
    sums: np.ndarray,
    counts: np.ndarray,
    factors: np.ndarray,
    expected: np.ndarray,
    improved: bool,
) -> None:
    """Make Fisher vectors of the sums, shape (m, n_cells, n_sums), in place.

    Means over the `counts` times `factors`, less what is `expected` of the weights; if `improved`,
    their roots, brought to length 1 over a set's cells, and in each to the same length. Where that
    length is beyond the largest number they are infinite.
    """
    real = sums.dtype.type
    largest = np.finfo(sums.dtype).max
    n_sets, n_cells, n_sums = sums.shape
    for i in range(n_sets):
        n_filled = 0
        for cell in range(n_cells):
            n_filled += counts[i, cell] > 0
        for cell in range(n_cells):
            if counts[i, cell] == 0:
                continue
            values = sums[i, cell]
            share = real(1) / real(counts[i, cell])
            for j in range(n_sums):
                values[j] *= share * factors[j]
            for k in range(len(expected)):
                values[k] -= expected[k]
            if not improved:
                continue
            squared = real(0)  # length of the roots
            for j in range(n_sums):
                squared += abs(values[j])
            if squared > largest / real(n_filled):
                for j in range(n_sums):
                    values[j] = real(np.inf)
                continue
            scale = real(0)
            if squared > 0:
                scale = real(1) / math.sqrt(squared * real(n_filled))
            for j in range(n_sums):
                root = math.sqrt(abs(values[j])) * scale
                values[j] = root if values[j] > 0 else -root
