"""The significance test for scores of overlapping training sets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class TTestResult(NamedTuple):
    """Result of `corrected_resampled_ttest`."""

    statistic: float
    pvalue: float
    df: int


def corrected_resampled_ttest(differences: ArrayLike, n_train: float, n_test: float) -> TTestResult:
    """Two-sided corrected resampled t-test of Nadeau and Bengio.

    The folds of a cross-validation share training images, so their score differences are
    correlated and the ordinary paired t-test calls chance a finding far too often. The correction
    replaces the variance factor ``1 / n_folds`` with ``1 / n_folds + n_test / n_train``.

    Parameters
    ----------
    differences : array-like of shape (n_folds,)
        Score of one pipeline minus the score of another, fold by fold.
    n_train, n_test : float
        Number of training and of test images per fold (their means, where folds differ in size).

    Returns
    -------
    result : TTestResult
        ``statistic``, two-sided ``pvalue`` and degrees of freedom ``df``. A single fold says
        nothing about spread: ``statistic`` and ``pvalue`` are NaN. Differences that are all zero
        give ``pvalue=1``.

    Raises
    ------
    ValueError
        If `differences` is empty, not one-dimensional or not finite, or a size is not positive.

    References
    ----------
    .. [1] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52,
       239-281, 2003. https://doi.org/10.1023/A:1024068626366

    Examples
    --------
    >>> from skcnn.comparison import corrected_resampled_ttest
    >>> result = corrected_resampled_ttest([0.02, 0.01, 0.03, 0.02], n_train=75, n_test=25)
    >>> print(f"t = {result.statistic:.3f}, p = {result.pvalue:.3f}")
    t = 3.207, p = 0.049
    """
    differences = _check_differences(differences)
    if not (n_train > 0 and n_test > 0):
        raise ValueError(f"n_train and n_test must be positive, got {n_train} and {n_test}.")
    n_folds = len(differences)
    df = n_folds - 1
    if not differences.any():
        return TTestResult(0.0 if df else np.nan, 1.0 if df else np.nan, df)
    if df == 0:
        return TTestResult(np.nan, np.nan, df)
    mean = differences.mean()
    variance = (1 / n_folds + n_test / n_train) * differences.var(ddof=1)
    statistic = mean / np.sqrt(variance) if variance > 0 else np.copysign(np.inf, mean)
    return TTestResult(float(statistic), float(2 * stats.t.sf(abs(statistic), df)), df)


def _check_differences(differences: ArrayLike) -> np.ndarray:
    differences = np.asarray(differences, dtype=float)
    if differences.ndim != 1 or differences.size == 0:
        raise ValueError(
            "differences must hold one number per fold in one dimension, "
            f"got an array of shape {differences.shape}."
        )
    if not np.isfinite(differences).all():
        raise ValueError(f"differences must be finite, got {differences}.")
    return differences
