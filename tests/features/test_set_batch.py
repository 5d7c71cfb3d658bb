"""The batch of descriptor sets: what is read, and in which pieces."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from skcnn import DescriptorSets
from skcnn.features._set_batch import SetBatch
from tests.images.containers import SliceOnly


def test_descriptors_are_numbered_through():
    X = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    batch = SetBatch(X)
    assert (len(batch), batch.n_descriptors, batch.n_values) == (2, 24, 5)
    assert batch.set_shape == (3, 4)
    np.testing.assert_array_equal(batch.offsets, [0, 12, 24])
    np.testing.assert_array_equal(batch.read(slice(1, 2)), X[1].reshape(12, 5))
    sets = SetBatch(DescriptorSets(X.reshape(-1, 5), [3, 0, 21]))
    assert sets.set_shape is None
    np.testing.assert_array_equal(sets.sizes(slice(0, 3)), [3, 0, 21])
    np.testing.assert_array_equal(sets.read(slice(1, 3)), X.reshape(-1, 5)[3:])


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        *((name, "float32") for name in ("float16", "float32", "uint8", "int16", "bool")),
        *((name, "float64") for name in ("float64", "int32", "int64", "object")),
    ],
)
def test_floating_type(stored, read):
    batch = SetBatch(np.ones((2, 3, 4), stored))
    assert batch.dtype == read
    assert batch.read(slice(0, 2)).dtype == read


def test_chunks_cover_all_and_are_bounded():
    sizes = [5, 0, 100, 1, 1, 1, 30, 0]
    sets = SetBatch(DescriptorSets(np.zeros((138, 2)), sizes))
    for bound in (1, 8, 40, 10**6):
        chunks = list(sets.chunks(bound / 2**20, 1, 2))
        assert [rows.start for rows in chunks] == [0, *(rows.stop for rows in chunks[:-1])]
        assert chunks[-1].stop == 8
        for rows in chunks:
            cost = sum(sizes[rows]) + 2 * (rows.stop - rows.start)
            assert cost <= bound or rows.stop - rows.start == 1
    assert len(chunks) == 1


def test_only_sets_that_are_wanted_are_read():
    X = np.arange(50 * 4 * 2.0).reshape(50, 4, 2)
    wanted = np.array([0, 3, 4, 90, 91, 199])
    source = SliceOnly(X)
    np.testing.assert_array_equal(SetBatch(source).take(wanted, 1), X.reshape(-1, 2)[wanted])
    assert source.reads == [(0, 2), (22, 23), (49, 50)]
    for same in (X, np.asfortranarray(X), X.reshape(50, 2, 2, 2), list(X)):
        np.testing.assert_array_equal(SetBatch(same).take(wanted, 1), X.reshape(-1, 2)[wanted])


def test_positions_are_centres_of_the_grid():
    batch = SetBatch(np.zeros((3, 2, 4, 5, 7)))
    positions = batch.positions(slice(0, 3)).reshape(3, 2, 4, 5, 2)
    np.testing.assert_allclose(positions[2, 1, 3, 0], (3.5 / 4, 0.5 / 5))
    np.testing.assert_allclose(positions[0, 0, 0, 4], (0.5 / 4, 4.5 / 5))
    assert not SetBatch(np.zeros((3, 20, 7))).has_positions


def test_finite_values_whose_sum_is_not_are_no_error():
    batch = SetBatch(np.full((2, 3, 4), 1e308))
    assert np.isfinite(batch.read(slice(0, 2))).all()


def test_sparse_matrices_are_refused():
    with pytest.raises(TypeError):
        SetBatch(csr_array(np.eye(3)))
