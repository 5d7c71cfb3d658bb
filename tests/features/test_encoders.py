"""What all encoders of descriptor sets do alike: layouts, pyramids, sampling, bad input."""

import pickle
import tracemalloc
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skcnn import (
    BagOfVisualWords,
    DescriptorSets,
    FisherVectorEncoder,
    SIFTExtractor,
    VLADEncoder,
    load_digit_images,
)
from tests.estimators import ENCODERS, make
from tests.features.descriptor_sets import (
    WAYS,
    cells_of,
    centres_of,
    grid,
    ids,
    ragged,
)
from tests.images.containers import SliceOnly


def each(argument, values):
    return pytest.mark.parametrize(argument, values, ids=lambda one: one.__name__)


each_way = pytest.mark.parametrize(("encoder", "parameters"), WAYS, ids=ids)
PYRAMID = (1, 2, (3, 1), 3)


def test_every_encoder_is_tested_here():
    assert {encoder for encoder, _ in WAYS} == set(ENCODERS)


@each_way
def test_layouts_of_the_same_descriptors_give_the_same(encoder, parameters):
    X = grid()
    dense = X.reshape(12, 20, 5)
    expected = make(encoder, **parameters).fit(dense).transform(dense)
    for same in (
        X,
        X.reshape(12, 2, 5, 2, 5),
        DescriptorSets(X.reshape(-1, 5), [20] * 12),
        list(dense),
        dense.tolist(),
        np.asfortranarray(dense),
        SliceOnly(dense),
    ):
        actual = make(encoder, **parameters).fit(same).transform(same)
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@each_way
def test_each_set_is_encoded_for_itself_and_empty_ones_are_zeros(encoder, parameters):
    sets = ragged()
    fitted = make(encoder, **parameters).fit(sets)
    features = fitted.transform(sets)
    assert features.shape == (5, len(fitted.get_feature_names_out()))
    assert not features[1].any()
    for i in (0, 2, 3, 4):
        np.testing.assert_allclose(fitted.transform(sets[i][np.newaxis])[0], features[i], 1e-7)
        assert features[i].any()
    objects = np.empty(5, dtype=object)
    objects[:] = list(sets)
    np.testing.assert_array_equal(fitted.transform(objects), features)
    empty = fitted.transform(np.empty((3, 0, 5)))
    np.testing.assert_array_equal(empty, np.zeros_like(features[:3]))


@each_way
def test_images_without_descriptors_as_opencv_gives_them(encoder, parameters):
    rng = np.random.default_rng(0)
    some = [rng.random((n, 5)) for n in (6, 4)]
    expected = make(encoder, **parameters).fit_transform([some[0], np.empty((0, 5)), some[1]])
    assert not expected[1].any()
    for nothing in (None, [], (), np.array([])):
        fitted = make(encoder, **parameters).fit([nothing, *some])
        features = fitted.transform([some[0], nothing, some[1]])
        np.testing.assert_array_equal(features, expected)
        np.testing.assert_array_equal(fitted.transform([nothing] * 2), expected[[1, 1]])
        single = [one.astype(np.float32) for one in some]
        assert fitted.transform([*single, nothing]).dtype == np.float32


@each_way
def test_lists_that_do_not_fit_together_are_refused(encoder, parameters):
    for X in ([[[0.0, 1], [1, 2]], [[1.0, 1]]], [None, None], [np.ones(3), np.ones(4)]):
        with pytest.raises(ValueError, match=r"\(n, k, n_values\)|\(n_descriptors, n_values\)"):
            make(encoder, **parameters).fit(X)


@each_way
def test_one_descriptor_an_image_may_stand_in_a_table(encoder, parameters):
    X = grid(40, 1, 1)[:, 0, 0]
    fitted = make(encoder, **parameters).fit(X)
    expected = fitted.transform(X[:, np.newaxis])
    np.testing.assert_array_equal(fitted.transform(X), expected)
    frame = pd.DataFrame(X).add_prefix("value")
    named = make(encoder, **parameters).fit(frame)
    np.testing.assert_array_equal(named.transform(frame), expected)
    assert named.feature_names_in_.tolist() == frame.columns.tolist()


@each_way
def test_pyramid_is_the_encoding_of_every_cell(encoder, parameters):
    X = grid()
    flat = make(encoder, **parameters).fit(X)
    pyramid = make(encoder, spatial_pyramid=PYRAMID, **parameters).fit(X)
    actual = pyramid.transform(X)
    assert actual.shape == (12, 17 * flat.transform(X).shape[1])
    global_roots = parameters.get("normalize") == "power" and encoder is BagOfVisualWords
    for one, row in zip(X.reshape(12, 20, 5), actual, strict=True):
        cells = cells_of(one, centres_of(5, 4), PYRAMID)
        if global_roots:  # it does not normalise cell by cell
            flat.set_params(normalize=None).fit(X)
        expected = flat.transform(cells).ravel()
        if global_roots:
            expected = np.sqrt(expected)
        if parameters.get("normalize", parameters.get("improved")):
            expected = expected / np.linalg.norm(expected)
        np.testing.assert_allclose(row, expected, rtol=1e-7, atol=1e-9)


@each("encoder", ENCODERS)
def test_positions_of_ragged_sets_and_of_scales_on_a_grid(encoder):
    X = grid()
    positions = centres_of(5, 4)
    fitted = make(encoder, spatial_pyramid=PYRAMID).fit(X)
    sets = DescriptorSets(X.reshape(-1, 5), [20] * 12, positions=np.tile(positions, (12, 1)))
    np.testing.assert_allclose(fitted.transform(sets), fitted.transform(X), rtol=1e-9, atol=1e-12)
    scales = np.stack([X, X[::-1]], axis=1)
    sets = DescriptorSets(scales.reshape(-1, 5), [40] * 12, positions=np.tile(positions, (24, 1)))
    np.testing.assert_allclose(
        fitted.transform(sets), fitted.transform(scales), rtol=1e-9, atol=1e-12
    )
    border = DescriptorSets(X[0, 0], [4], positions=np.ones((4, 2)))
    assert np.isfinite(fitted.transform(border)).all()


@each_way
def test_chunks_and_threads_change_nothing(encoder, parameters):
    for X in (grid(), ragged()):
        one = make(encoder, spatial_pyramid=(1, 2), chunk_mib=1e-6, **parameters)
        expected = one.fit(X).transform(X)
        other = make(encoder, spatial_pyramid=(1, 2), **parameters).fit(X)
        np.testing.assert_allclose(other.transform(X), expected, rtol=1e-9, atol=1e-9)
        threaded = clone(one).set_params(n_jobs=3).fit(X)
        np.testing.assert_array_equal(threaded.transform(X), expected)
        np.testing.assert_array_equal(threaded.assign(X), one.assign(X))


@each_way
def test_pickles_and_seeds_repeat_a_fit(encoder, parameters):
    X = grid()
    fitted = make(encoder, max_descriptors=100, **parameters).fit(X)
    features = fitted.transform(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), features)
    np.testing.assert_array_equal(clone(fitted).fit(X).transform(X), features)
    other = clone(fitted).set_params(random_state=1).fit(X).transform(X)
    assert (other != features).any()


@each_way
def test_parameters_set_after_fit_change_the_next_fit_only(encoder, parameters):
    X = grid()
    fitted = make(encoder, **parameters).fit(X)
    expected = fitted.transform(X)
    for changed in (
        {"spatial_pyramid": (2,), "ignore_zeros": False},
        {"normalize": "l2", "assignment": "soft", "bandwidth": 0.1, "n_words": 3},
        {"improved": not parameters.get("improved"), "n_modes": 2, "pca_components": 1},
    ):
        fitted.set_params(**{k: v for k, v in changed.items() if k in fitted.get_params()})
    np.testing.assert_array_equal(fitted.transform(X), expected)


@each_way
def test_small_integers_are_taken_as_they_are(encoder, parameters):
    X = np.round(20 * np.abs(grid())).astype(np.uint8)
    fitted = make(encoder, **parameters).fit(X)
    features = fitted.transform(X)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, fitted.transform(X.astype(float)), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(features, fitted.transform(X.astype(np.float32)))


@each_way
def test_zeros_are_left_out_unless_they_count(encoder, parameters):
    X = grid()
    flat = X.copy()
    flat[:, 1:3] = 0
    flat[3] = 0
    fitted = make(encoder, **parameters).fit(flat)
    without = [one[one.any(axis=-1)] for one in flat]
    again = make(encoder, **parameters).fit(DescriptorSets.from_list(without))
    np.testing.assert_allclose(fitted.transform(flat), again.transform(without), 1e-7, 1e-9)
    assert not fitted.transform(flat)[3].any()
    counted = make(encoder, ignore_zeros=False, **parameters).fit(flat).transform(flat)
    assert np.isfinite(counted).all()
    assert counted[3].any()


@each_way
def test_zeros_are_left_out_of_any_number_of_descriptors(encoder, parameters):
    # More than are treated at a time: there are pieces all of zeros, with some and with none.
    n_values, n = 5, 200_000
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2, n, n_values))
    fitted = make(encoder, **parameters).fit(X[:, :500])
    X[0, 1000:-1000] = 0
    X[1, rng.permutation(n)[:5000]] = 0
    without = [one[one.any(axis=-1)] for one in X]
    np.testing.assert_allclose(fitted.transform(X), fitted.transform(without), 1e-7, 1e-9)


@each_way
def test_images_without_any_pattern_give_finite_features(encoder, parameters):
    for X in (np.zeros((4, 3, 3, 5)), np.full((4, 3, 3, 5), 0.7, np.float32)):
        with pytest.warns(UserWarning, match="more than the 1 different descriptors"):
            features = make(encoder, **parameters).fit(X).transform(X)
        assert np.isfinite(features).all()


@each("encoder", ENCODERS)
def test_fewer_different_descriptors_than_words(encoder):
    X = np.repeat(grid(1, 1, 5), 9, axis=0)  # the same five again and again
    size = "n_modes" if encoder is FisherVectorEncoder else "n_words"
    with pytest.warns(UserWarning, match=f"{size}=8 is more than the 5 different"):
        fitted = make(encoder, **{size: 8}).fit(X)
    codes = fitted.means_ if encoder is FisherVectorEncoder else fitted.vocabulary_
    assert len(codes) == 5
    assert sorted(np.unique(fitted.assign(X))) == list(range(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(encoder, **{size: 5}).fit(X)


@each("encoder", ENCODERS)
def test_the_sample_is_bounded_seeded_and_drawn_from_all_sets(encoder, monkeypatch):
    seen = []
    monkeypatch.setattr(encoder, "_learn", lambda self, sample, rng: seen.append(sample))
    monkeypatch.setattr(encoder, "_coder", lambda self, dtype: _NoCoder())
    monkeypatch.setattr(BagOfVisualWords, "_learn_from_sets", lambda self, sets: None)
    numbers = np.arange(1.0, 1 + 200 * 30)
    dense = np.stack([numbers, -numbers], axis=-1).reshape(200, 30, 2)
    sets = DescriptorSets(dense.reshape(-1, 2), [0, 59, *[30] * 197, 31])
    for X in (dense, dense.reshape(200, 5, 6, 2), SliceOnly(dense), sets, np.asfortranarray(dense)):
        make(encoder, max_descriptors=300, chunk_mib=1e-3).fit(X)
    for sample in seen:
        np.testing.assert_array_equal(sample, seen[0])
    drawn = seen[0][:, 0]
    np.testing.assert_array_equal(seen[0][:, 1], -drawn)
    assert len(np.unique(drawn)) == len(drawn) == 300
    assert np.isin(drawn, numbers).all()
    # Uniform over 6000: quarters hold 75 each, give or take four standard deviations.
    assert (np.abs(np.histogram(drawn, 4, (0, 6000))[0] - 75) < 30).all()
    make(encoder, max_descriptors=300, random_state=1).fit(dense)
    assert (seen[-1] != seen[0]).any()
    make(encoder, max_descriptors=6000).fit(dense)
    np.testing.assert_array_equal(seen[-1], dense.reshape(-1, 2))


class _NoCoder:
    n_sums = 1


@each("encoder", ENCODERS)
def test_a_container_on_disk_is_read_by_chunk(encoder, tmp_path):
    X = grid(40).astype(np.float32)
    expected = make(encoder).fit(X)
    with h5py.File(tmp_path / "X.h5", "w") as file:
        stored = file.create_dataset("X", data=X)
        fitted = make(encoder).fit(stored)
        np.testing.assert_allclose(fitted.transform(stored), expected.transform(X), 1e-4, 1e-5)
        np.testing.assert_array_equal(fitted.assign(stored), expected.assign(X))
    source = SliceOnly(X)
    size = "n_modes" if encoder is FisherVectorEncoder else "n_words"
    in_chunks = make(encoder, chunk_mib=0.004, max_descriptors=3, **{size: 2}).fit(source)
    assert source.rows_read <= 3
    in_chunks.transform(source)
    in_chunks.assign(source)
    assert max(stop - start for start, stop in source.reads) < 10


@each("encoder", ENCODERS)
@pytest.mark.parametrize("spatial_pyramid", [(1,), (1, 2, 4)])
def test_memory_is_that_of_a_chunk_beside_the_features(encoder, spatial_pyramid):
    X = np.random.default_rng(0).normal(size=(2000, 8, 8, 4)).astype(np.float32)
    fitted = make(encoder, spatial_pyramid=spatial_pyramid, chunk_mib=1, max_descriptors=1000)
    fitted.fit(X[:100]).transform(X[:10])
    tracemalloc.start()
    try:
        features = fitted.transform(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A chunk, a block of half a MiB for every step on the way, and the offsets of the sets.
    assert peak - features.nbytes < 4 * 2**20


@each("encoder", ENCODERS)
def test_descriptors_of_the_sift_extractor(encoder):
    images = np.pad(load_digit_images(return_X_y=True)[0][:40], ((0, 0), (12, 12), (12, 12)))
    on_grid = make_pipeline(SIFTExtractor(), make(encoder, spatial_pyramid=(1, 2)))
    features = on_grid.fit_transform(images)
    assert np.isfinite(features).all()
    assert features.any(axis=1).all()
    at_keypoints = make_pipeline(SIFTExtractor(keypoints="dog"), make(encoder))
    features = at_keypoints.fit_transform(images)
    assert np.isfinite(features).all()
    without = at_keypoints[0].transform(images).sizes == 0
    np.testing.assert_array_equal(features.any(axis=1), ~without)


@each("encoder", ENCODERS)
def test_assigned_words_have_the_shape_of_the_sets(encoder):
    X = grid()
    fitted = make(encoder).fit(X)
    words = fitted.assign(X)
    assert words.shape == (12, 5, 4)
    assert words.dtype.kind == "i"
    assert len(np.unique(words)) > 2
    np.testing.assert_array_equal(fitted.assign(X.reshape(240, 5)), words.ravel())
    sets = DescriptorSets(X.reshape(-1, 5), [0, 100, 140])
    np.testing.assert_array_equal(fitted.assign(sets), words.ravel())


@each("encoder", ENCODERS)
def test_searches_and_splits_take_grids_and_ragged_sets(encoder):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    sets = [rng.normal(size=(k, 4)) + label for k, label in zip(range(5, 45), y, strict=True)]
    dense = np.stack([one[:5] for one in sets])
    for X in (DescriptorSets.from_list(sets), dense):
        pipeline = make_pipeline(make(encoder), LogisticRegression())
        name = "n_modes" if encoder is FisherVectorEncoder else "n_words"
        grid = {f"{encoder.__name__.lower()}__{name}": [3, 4]}
        search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
        assert search.best_score_ > 0.65
        assert search.predict(X).shape == (40,)


@each("encoder", ENCODERS)
class TestBadInput:
    def test_another_number_of_values(self, encoder):
        fitted = make(encoder).fit(grid())
        for method in (fitted.transform, fitted.assign):
            with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 5"):
                method(grid(n_values=3))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite(self, encoder, value):
        X = grid()
        fitted = make(encoder).fit(X)
        sets = ragged()
        X[7, 2, 1, 3] = value
        sets.descriptors[8] = value
        for method in (make(encoder).fit, fitted.transform, fitted.assign):
            with pytest.raises(ValueError, match=r"(NaN|infinity).*image 7"):
                method(X)
            with pytest.raises(ValueError, match=r"(NaN|infinity).*image 2"):
                method(sets)

    def test_nothing_to_learn_from(self, encoder):
        for X in (np.empty((4, 0, 5)), [np.empty((0, 5))] * 3):
            with pytest.raises(ValueError, match=r"no descriptors: all of its \d sets are empty"):
                make(encoder).fit(X)

    def test_pyramids_without_positions(self, encoder):
        X = grid()
        sets = DescriptorSets(X.reshape(-1, 5), [20] * 12)
        fitted = make(encoder, spatial_pyramid=(1, 2)).fit(X)
        for unknown in (sets, X.reshape(12, 20, 5)):
            for method in (make(encoder, spatial_pyramid=(2,)).fit, fitted.transform):
                with pytest.raises(ValueError, match=r"spatial_pyramid=.*where each descriptor"):
                    method(unknown)

    def test_the_pyramid_that_lacks_positions_is_the_fitted_one(self, encoder):
        fitted = make(encoder, spatial_pyramid=(1, 2)).fit(grid())
        fitted.set_params(spatial_pyramid=(1,))
        with pytest.raises(ValueError, match=r"spatial_pyramid=\(\(1, 1\), \(2, 2\)\), as fitted"):
            fitted.transform(grid().reshape(12, 20, 5))

    @pytest.mark.parametrize("sign", [1, -1])
    def test_values_whose_squares_are_no_numbers(self, encoder, sign):
        X = grid()
        X *= sign / X.max()
        with pytest.raises(ValueError, match=r"X holds descriptors with values up to .*e\+200"):
            make(encoder).fit(X * 1e200)
        for factor, dtype in [(1, float), (1e13, float), (1e13, np.float32)]:
            features = make(encoder).fit_transform((X * factor).astype(dtype))
            assert np.isfinite(features).all()
            assert features.any()

    def test_later_values_whose_squares_are_no_numbers(self, encoder):
        X = grid() / grid().max()
        fitted = make(encoder).fit(X)
        X[3:] *= 1e200
        if encoder is FisherVectorEncoder:  # the others need no squares
            with pytest.raises(
                ValueError, match=r"too large, or too small, those of image 3 first: .* float64"
            ):
                fitted.transform(X)
        else:
            features = fitted.transform(X)
            assert np.isfinite(features).all()
            assert (np.abs(features).sum(axis=1) > 0.1).all()

    @pytest.mark.parametrize("levels", [(), (0,), (1, -2), (1.5,), ((1, 2, 3),), ("a",)])
    def test_levels_that_are_no_grids(self, encoder, levels):
        with pytest.raises(ValueError, match="level"):
            make(encoder, spatial_pyramid=levels).fit(grid())

    @pytest.mark.parametrize(
        ("X", "error"),
        [
            (np.zeros(5), "1-D array.*Reshape your data"),
            (np.zeros((2, 2, 2, 2, 2, 2)), "6-D array"),
            (np.zeros((0, 3, 5)), "0 sample"),
            (np.zeros((3, 4, 0)), "0 feature"),
            (np.zeros((3, 4, 5), complex), "Complex"),
            (np.full((3, 5), "a"), "numbers"),
            ([np.zeros((2, 4)), np.zeros((3, 3))], r"those of set 1 have 3"),
        ],
    )
    def test_arrays_that_are_no_sets(self, encoder, X, error):
        with pytest.raises(ValueError, match=error):
            make(encoder).fit(X)


def test_learnt_numbers_are_counted():
    X = grid()
    assert VLADEncoder(4).fit(X).n_parameters_ == 4 * 5
    assert BagOfVisualWords(4).fit(X).n_parameters_ == 4 * 5
    assert BagOfVisualWords(4, normalize="tf-idf").fit(X).n_parameters_ == 4 * 5 + 4
    assert FisherVectorEncoder(4, pca_components=None).fit(X).n_parameters_ == 4 * 11
    assert FisherVectorEncoder(4, pca_components=3).fit(X).n_parameters_ == 4 * 7 + 5 + 15


@pytest.mark.parametrize("normalize", ["power", "intra", "l2"])
@pytest.mark.parametrize(("dtype", "factor"), [(np.float32, 2.0**66), (np.float64, 2.0**531)])
def test_vlad_of_values_whose_squares_are_no_numbers(normalize, dtype, factor):
    sets = np.random.default_rng(0).normal(size=(6, 10, 4)).astype(dtype)
    fitted = VLADEncoder(3, normalize=normalize, random_state=0).fit(sets)
    one_word = np.abs(sets) + 1e3  # so far from all that the words are nothing beside them
    with warnings.catch_warnings(action="error"):
        features = fitted.transform(one_word * dtype(factor))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
