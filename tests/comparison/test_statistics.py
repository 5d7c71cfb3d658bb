import numpy as np
import pytest
from scipy import stats

from skcnn.comparison import corrected_resampled_ttest


def test_published_formula_by_hand():
    # mean 0.02, sample variance 2e-4 / 3, variance factor 1/4 + 25/75 = 7/12
    result = corrected_resampled_ttest([0.02, 0.01, 0.03, 0.02], n_train=75, n_test=25)
    by_hand = 0.02 / np.sqrt(7 / 12 * 2e-4 / 3)
    assert result.statistic == pytest.approx(by_hand)
    assert result.df == 3
    assert result.pvalue == pytest.approx(2 * (1 - stats.t(3).cdf(by_hand)))


def test_without_overlap_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 12))
    reference = stats.ttest_rel(first, second)
    # A test set that is nothing beside the training set leaves no correction.
    result = corrected_resampled_ttest(first - second, n_train=1e18, n_test=1)
    assert result.statistic == pytest.approx(reference.statistic)
    assert result.pvalue == pytest.approx(reference.pvalue)


def test_correction_makes_the_test_more_careful():
    differences = [0.01, 0.02, 0.03, 0.01, 0.02]
    assert (
        corrected_resampled_ttest(differences, 80, 20).pvalue
        > stats.ttest_1samp(differences, 0).pvalue
    )


def test_false_alarms_of_overlapping_folds_are_rare():
    # Two equal classifiers: their differences share most of their noise between folds. With the
    # correlation n_test / (n_test + n_train) that the correction assumes, 5 % are called different.
    rng = np.random.default_rng(0)
    n_folds, rho = 5, 0.2
    common = np.sqrt(rho) * rng.normal(size=(4000, 1))
    differences = common + np.sqrt(1 - rho) * rng.normal(size=(4000, n_folds))
    corrected = np.mean(
        [corrected_resampled_ttest(row, 80, 20).pvalue < 0.05 for row in differences]
    )
    naive = np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05)
    assert corrected == pytest.approx(0.05, abs=0.015)
    assert naive > 2 * corrected


def test_sign_and_symmetry():
    ahead = corrected_resampled_ttest([0.1, 0.2, 0.4], 2, 1)
    behind = corrected_resampled_ttest([-0.1, -0.2, -0.4], 2, 1)
    assert behind.statistic == -ahead.statistic
    assert behind.pvalue == ahead.pvalue


def test_no_difference():
    assert corrected_resampled_ttest([0.0, 0.0, 0.0], 2, 1) == (0.0, 1.0, 2)


def test_same_difference_in_every_fold():
    assert corrected_resampled_ttest([0.25, 0.25, 0.25], 2, 1) == (np.inf, 0.0, 2)


@pytest.mark.parametrize("difference", [0.0, 0.1])
def test_one_fold_says_nothing(difference):
    result = corrected_resampled_ttest([difference], 2, 1)
    assert np.isnan(result.statistic)
    assert np.isnan(result.pvalue)
    assert result.df == 0


@pytest.mark.parametrize("differences", [[], [[0.1, 0.2]], [0.1, np.nan]])
def test_bad_differences(differences):
    with pytest.raises(ValueError, match="differences must"):
        corrected_resampled_ttest(differences, 2, 1)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-3, 1)])
def test_bad_sizes(sizes):
    with pytest.raises(ValueError, match="must be positive"):
        corrected_resampled_ttest([0.1, 0.2], *sizes)
