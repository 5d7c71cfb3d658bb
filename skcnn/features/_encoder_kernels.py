"""The loops of the encoders that are no matrix product, compiled by numba on first use."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def nonzero_rows(rows: np.ndarray) -> np.ndarray:
    """Tell of each row whether it holds a value other than zero."""
    found = np.zeros(rows.shape[0], np.bool_)
    for i in range(rows.shape[0]):
        for value in rows[i]:
            if value != 0:
                found[i] = True
                break
    return found


@njit(nogil=True, cache=True)
def add_rows(rows: np.ndarray, targets: np.ndarray, sums: np.ndarray) -> None:
    """Add each row to the row of `sums` that is its target."""
    for i in range(rows.shape[0]):
        target = targets[i]
        for j in range(rows.shape[1]):
            sums[target, j] += rows[i, j]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def add_fisher_sums(
    points: np.ndarray,
    log_joint: np.ndarray,
    means: np.ndarray,
    scales: np.ndarray,
    log_constants: np.ndarray,
    cutoff: np.floating,
    targets: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add what each point says of the modes to the row of `sums` that is its target.

    A row holds the posterior of every mode, then posterior times t and times t^2 - 1 for every mode
    and value, where t is the distance from the mode's mean in standard deviations. `log_joint`
    need be good enough only to tell modes that are within `cutoff` of the best: their part is
    computed anew from t, which loses no digits.
    """
    n_modes, n_values = means.shape
    second = n_modes * (1 + n_values)
    distances = np.empty((n_modes, n_values), points.dtype)
    posteriors = np.empty(n_modes, points.dtype)
    chosen = np.empty(n_modes, np.intp)
    for i in range(points.shape[0]):
        best = log_joint[i, 0]
        for k in range(1, n_modes):
            best = max(best, log_joint[i, k])
        least = best - cutoff
        n_chosen = 0
        for k in range(n_modes):
            if log_joint[i, k] >= least:
                chosen[n_chosen] = k
                n_chosen += 1
        for j in range(n_chosen):
            k = chosen[j]
            squared = points.dtype.type(0)
            for c in range(n_values):
                t = (points[i, c] - means[k, c]) * scales[k, c]
                distances[j, c] = t
                squared += t * t
            posteriors[j] = log_constants[k] - squared / 2
        largest = posteriors[0]
        for j in range(1, n_chosen):
            largest = max(largest, posteriors[j])
        total = points.dtype.type(0)
        for j in range(n_chosen):
            posteriors[j] = np.exp(posteriors[j] - largest)
            total += posteriors[j]
        row = sums[targets[i]]
        for j in range(n_chosen):
            k = chosen[j]
            posterior = posteriors[j] / total
            row[k] += posterior
            first_of_mean = n_modes + k * n_values
            first_of_variance = second + k * n_values
            for c in range(n_values):
                t = distances[j, c]
                row[first_of_mean + c] += posterior * t
                row[first_of_variance + c] += posterior * (t * t - 1)
