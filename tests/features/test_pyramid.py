"""Spatial pyramids, against counting by hand."""

import numpy as np
import pytest

from skcnn.features._pyramid import SpatialPyramid
from tests.features.descriptor_sets import cells_of


@pytest.mark.parametrize(
    "levels", [(1,), (1, 2, 4), (1, (3, 1)), (2, 3), ((1, 5), (4, 3), 6), (3, 1), (1, 1)], ids=str
)
def test_sums_over_cells(levels):
    pyramid = SpatialPyramid(levels)
    rng = np.random.default_rng(0)
    positions = rng.uniform(size=(500, 2))
    values = rng.integers(10, size=(500, 3))
    sums = np.zeros((1, pyramid.n_parts, 3), int)
    np.add.at(sums[0], pyramid.part_of(positions), values)
    expected = [cell.sum(axis=0) for cell in cells_of(values, positions, levels)]
    assert pyramid.n_cells == len(expected)
    assert pyramid.needs_positions == any(level != 1 for level in levels)
    np.testing.assert_array_equal(pyramid.cell_sums(sums), [expected])
    np.testing.assert_array_equal(pyramid.cell_sums(sums[..., 0]), [[one[0] for one in expected]])


def test_borders_belong_to_the_cell_below_and_to_the_right():
    pyramid = SpatialPyramid((2,))
    at = np.array([(0, 0), (0.5, 0), (0, 0.5), (1, 1), (0.499, 0.5)])
    np.testing.assert_array_equal(pyramid.part_of(at), [0, 2, 1, 3, 1])


def test_borders_that_grids_share_are_one():
    assert SpatialPyramid((1, 2, 4, 8)).n_parts == 64
    assert SpatialPyramid((2, 3, 6)).n_parts == 36
    assert SpatialPyramid((2, 3)).n_parts == 16
