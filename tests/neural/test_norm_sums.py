"""Sums over batches that batch normalisation takes, against NumPy."""

import numpy as np
import pytest

from skcnn.neural._norm_kernel import gradient_sums, moments


def test_a_first_row_that_is_far_off_does_no_harm():
    rows = np.random.default_rng(0).normal(0, 0.01, (100_000, 2)).astype(np.float32)
    rows[0] = 100, 1 / 3
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(moments(rows)[1], len(rows) * exact.var(0), rtol=1e-5)


def test_corners_that_are_far_off_do_no_harm():
    images = np.random.default_rng(0).normal(100, 0.01, (64, 14, 14, 2)).astype(np.float32)
    images[:, 0, 0] = 0
    rows = images.reshape(-1, 2)
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(moments(rows)[1], len(rows) * exact.var(0), rtol=2e-6)


@pytest.mark.parametrize("n", [1, 63, 64, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_are_numpys(n, dtype):
    rows = np.random.default_rng(0).normal(1000, 3, (n, 5)).astype(dtype)
    mean, squares = moments(rows)
    exact = rows.astype(np.float64)
    rtol = 1e-5 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-9)
    np.testing.assert_allclose(squares, n * exact.var(0), rtol=rtol, atol=1e-20)


def test_what_is_not_a_number_stays():
    rows = np.ones((70, 3), np.float32)
    rows[69, 1] = np.nan
    assert np.isnan(moments(rows)).any(0).tolist() == [False, True, False]


def test_gradient_sums_are_numpys():
    rng = np.random.default_rng(0)
    rows, gradients = rng.normal(5, 2, (200, 4)), rng.normal(size=(200, 4))
    mean, inverse = rows.mean(0), 1 / rows.std(0)
    expected = (gradients * (rows - mean) * inverse).sum(0), gradients.sum(0)
    np.testing.assert_allclose(gradient_sums(rows, gradients, mean, inverse), expected)
