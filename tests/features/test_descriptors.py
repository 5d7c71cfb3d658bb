"""Sets of descriptors as containers: what is in them, and that scikit-learn can cut them."""

import pickle

import numpy as np
import pytest
from sklearn.model_selection import KFold
from sklearn.utils import _safe_indexing, check_consistent_length

from skcnn import DescriptorSets


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [rng.uniform(size=(size, 4)) for size in (3, 0, 5, 1, 2)]


@pytest.fixture
def sets(arrays):
    descriptors = np.concatenate(arrays)
    return DescriptorSets(
        descriptors,
        [len(one) for one in arrays],
        positions=descriptors[:, :2],
        scales=descriptors[:, 2],
        orientations=descriptors[:, 3],
    )


def test_an_int_gives_one_set(sets, arrays):
    assert len(sets) == 5
    assert sets.shape == (5,)
    for i in range(-5, 5):
        np.testing.assert_array_equal(sets[i], arrays[i])
    for one, expected in zip(sets, arrays, strict=True):
        np.testing.assert_array_equal(one, expected)
    with pytest.raises(IndexError):
        sets[5]


@pytest.mark.parametrize(
    "key",
    [
        slice(1, 4),
        slice(None),
        slice(4, 2),
        slice(None, None, 2),
        slice(None, None, -1),
        [4, 0, 0],
        np.array([True, False, True, True, False]),
        np.array([], int),
    ],
    ids=str,
)
def test_a_selection_keeps_what_belongs_to_each_set(sets, arrays, key):
    chosen = sets[key]
    expected = [arrays[i] for i in np.arange(5)[key]]
    assert len(chosen) == len(expected)
    for one, other in zip(chosen, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(chosen.positions, chosen.descriptors[:, :2])
    np.testing.assert_array_equal(chosen.scales, chosen.descriptors[:, 2])
    np.testing.assert_array_equal(chosen.orientations, chosen.descriptors[:, 3])


def test_scikit_learn_cuts_them(sets, arrays):
    check_consistent_length(sets, np.zeros(5))
    for train, _ in KFold(3).split(sets):
        chosen = _safe_indexing(sets, train)
        assert isinstance(chosen, DescriptorSets)
        np.testing.assert_array_equal(
            chosen.descriptors, np.concatenate([arrays[i] for i in train])
        )


def test_lists_become_sets_and_pickles_keep_them(arrays):
    sets = DescriptorSets.from_list(arrays)
    assert sets.positions is None
    loaded = pickle.loads(pickle.dumps(sets))
    for one, expected in zip(loaded, arrays, strict=True):
        np.testing.assert_array_equal(one, expected)


def test_what_does_not_fit_is_refused():
    descriptors = np.zeros((5, 4))
    with pytest.raises(ValueError, match=r"sizes.*5 in all"):
        DescriptorSets(descriptors, [3, 3])
    with pytest.raises(ValueError, match=r"positions must be of shape \(5, 2\), got \(5,\)"):
        DescriptorSets(descriptors, [5], positions=np.zeros(5))
    with pytest.raises(ValueError, match=r"n_descriptors, n_values"):
        DescriptorSets(np.zeros(5), [5])
    with pytest.raises(ValueError, match=r"those of set 1 have 4, those of set 2 have 3\."):
        DescriptorSets.from_list([None, np.zeros((2, 4)), np.zeros((2, 3))])
    with pytest.raises(ValueError, match=r"set 1 has shape \(2, 4, 4\)\."):
        DescriptorSets.from_list([None, np.zeros((2, 4, 4)), np.zeros((2, 3))])
    with pytest.raises(IndexError, match="one index"):
        DescriptorSets(descriptors, [5])[0, 1]


@pytest.mark.parametrize(
    ("position", "seen"),
    [((14, 20), r"\(14, 20\)"), ((0.5, np.nan), "nan"), ((-0.1, 0), "-0.1"), ((0, np.inf), "inf")],
)
def test_positions_that_are_no_fractions_are_refused(position, seen):
    positions = np.full((3, 2), 0.5)
    positions[1] = position
    with pytest.raises(ValueError, match=f"descriptor 1 is .*{seen}.*Divide .* by the height"):
        DescriptorSets(np.zeros((3, 4)), [3], positions=positions)
    with pytest.raises(ValueError, match="positions must be numbers"):
        DescriptorSets(np.zeros((1, 4)), [1], positions=[["a", "b"]])


def test_lists_beside_the_descriptors_are_cut_too():
    sets = DescriptorSets(
        [[1.0], [2.0], [3.0]],
        [1, 2],
        positions=[[0, 0.5], [1, 0.5], [0.2, 1]],
        scales=[1.0, 2.0, 4.0],
        orientations=[0.0, 1.0, 3.0],
    )[[1]]
    np.testing.assert_array_equal(sets.positions, [[1, 0.5], [0.2, 1]])
    np.testing.assert_array_equal(sets.scales, [2, 4])
    np.testing.assert_array_equal(sets.orientations, [1, 3])


def test_sizes_are_integers():
    for sizes in ([2.5, 1.7], [2.0, 3.0], ["5"]):
        with pytest.raises(ValueError, match=r"sizes must be integers.*dtype"):
            DescriptorSets(np.zeros((5, 4)), sizes)
    with pytest.raises(ValueError, match=r"sizes must be one count an image, got shape \(1, 1\)"):
        DescriptorSets(np.zeros((5, 4)), [[5]])
    assert len(DescriptorSets(np.zeros((0, 4)), [])) == 0


def test_an_empty_list_of_sets_is_named():
    for sets in ([], [None, []]):
        with pytest.raises(ValueError, match=f"sets of {len(sets)} images hold no array"):
            DescriptorSets.from_list(sets)


def test_lists_of_images_without_descriptors():
    for sets in ([], [None, [], np.array([])]):
        empty = DescriptorSets.from_list(sets, n_values=7)
        assert empty.sizes.tolist() == [0] * len(sets)
        assert empty.descriptors.shape == (0, 7)
    some = DescriptorSets.from_list([None, np.ones((2, 3), np.float32)])
    assert some.sizes.tolist() == [0, 2]
    assert some.descriptors.shape == (2, 3)
    assert some.dtype == np.float32
