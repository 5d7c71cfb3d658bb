"""Kernels that are separated into columns and rows, against scipy.ndimage."""

import numpy as np
import pytest
from scipy import ndimage

from skcnn import ConvolutionFilter
from skcnn.features._windows import separated


def random(*shape, seed=0):
    return np.random.RandomState(seed).rand(*shape)


@pytest.mark.parametrize(
    "kernel", [np.ones((9, 7)), np.outer(np.arange(9.0) - 3, np.arange(11.0) - 4), np.ones((12, 1))]
)
def test_a_constant_beyond_the_border_of_kernels_that_are_separated(kernel):
    X = random(2, 8, 11)
    filtered = ConvolutionFilter(kernel, mode="constant", cval=0.7).fit_transform(X)
    expected = [ndimage.convolve(image, kernel, mode="constant", cval=0.7) for image in X]
    np.testing.assert_allclose(filtered, expected, rtol=1e-12, atol=1e-12)


class TestSeparation:
    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_columns_times_rows_are_the_kernel(self, rank):
        kernel = np.einsum("ri,rj->ij", random(rank, 31) - 0.5, random(rank, 25, seed=1) - 0.5)
        kernel[3], kernel[:, 4] = 0, 0
        pairs = separated(kernel)
        assert len(pairs) == np.linalg.matrix_rank(kernel) == rank
        together = sum(np.outer(column, row) for column, row in pairs)
        np.testing.assert_allclose(together, kernel, atol=1e-14)
        for _, row in pairs:
            assert np.abs(row).sum() == pytest.approx(1)

    def test_small_parts_are_no_rounding(self):
        columns, rows = random(2, 30), random(2, 30, seed=1)
        kernel = np.outer(columns[0], rows[0]) + 1e-12 * np.outer(columns[1], rows[1])
        assert len(separated(kernel)) == 2

    @pytest.mark.parametrize(
        "kernel",
        [
            random(20, 20),
            np.ones((3, 3)),
            np.eye(12),
            np.outer(np.eye(12)[3], np.ones(12)),  # few weights that are not zero
            np.full((31, 31), 1e307),
        ],
    )
    def test_where_it_does_not_pay_the_kernel_stays_whole(self, kernel):
        assert separated(kernel) == []

    def test_large_weights_of_small_values(self):
        X = np.full((1, 40, 40), 1e-3, np.float32)
        filtered = ConvolutionFilter(np.full((31, 31), 2e37), mode="valid").fit_transform(X)
        np.testing.assert_allclose(filtered, 31**2 * 2e34, rtol=1e-5)

    def test_a_wide_gaussian_is_that_of_scipy(self):
        X = random(2, 40, 60)
        wide = ConvolutionFilter("gaussian", sigma=60).fit_transform(X)
        expected = [ndimage.gaussian_filter(image, 60) for image in X]
        np.testing.assert_allclose(wide, expected, rtol=1e-12)
