"""Descriptors that are computed when they are sliced are those of the array that they stand for."""

import pickle
import tracemalloc

import numpy as np
import pytest
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.utils import _safe_indexing

from skcnn import (
    BagOfVisualWords,
    FisherVectorEncoder,
    ImageFiles,
    LazyDescriptors,
    SIFTExtractor,
    VLADEncoder,
)
from tests.images.containers import SliceOnly


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(12, 20, 24)).astype(np.float32)


@pytest.fixture
def array(images):
    return SIFTExtractor(bin_size=(2, 3)).fit_transform(images)


@pytest.fixture
def lazy(images):
    return SIFTExtractor(bin_size=(2, 3), lazy=True).fit_transform(images)


def test_they_look_like_the_array(lazy, array):
    assert isinstance(lazy, LazyDescriptors)
    assert lazy.shape == array.shape
    assert lazy.ndim == array.ndim == 5
    assert lazy.dtype == array.dtype
    assert len(lazy) == 12
    np.testing.assert_array_equal(np.asarray(lazy), array)
    assert np.asarray(lazy, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        np.int64(2),
        slice(2, 7),
        slice(None, None, 3),
        slice(9, None, -2),
        slice(5, 5),
        Ellipsis,
        (slice(1, 4), 1),
        (2, Ellipsis, 5),
        (Ellipsis, 0),
        ([3, 1], 0),
        ([3, 1], [0, 1]),
        ([3, 1, 2], Ellipsis, [0, 5, 7]),
        np.array(1),
        [],
        np.zeros(12, bool),
    ],
    ids=str,
)
def test_slices_compute_what_the_array_holds(lazy, array, key):
    got = lazy[key]
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, array[key])


@pytest.mark.parametrize("key", [[4, 0, 4], np.arange(12) % 3 == 0], ids=str)
def test_arrays_select_without_computing(lazy, array, key):
    chosen = lazy[key]
    assert isinstance(chosen, LazyDescriptors)
    np.testing.assert_array_equal(chosen[:], array[key])


@pytest.mark.parametrize("key", [12, -13, [0, 12], None, True, [[0, 1]], 1.0, [0.5]], ids=str)
def test_what_is_no_index_is_refused(lazy, key):
    with pytest.raises(IndexError):
        lazy[key]


def test_scikit_learn_cuts_them(lazy, array):
    for train, _ in KFold(3).split(lazy):
        np.testing.assert_array_equal(_safe_indexing(lazy, train)[:], array[train])


def test_pickles_and_later_fits_change_nothing(images, array):
    extractor = SIFTExtractor(bin_size=(2, 3), lazy=True)
    lazy = extractor.fit_transform(images)
    extractor.set_params(bin_size=2).fit(images[:, :10, :10])
    np.testing.assert_array_equal(lazy[:], array)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy))[3:5], array[3:5])


def test_files_stay_files(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    files = ImageFiles([tmp_path / f"{i}.png" for i in range(6)], mode="grey")
    lazy = SIFTExtractor(lazy=True).fit_transform(files)
    expected = SIFTExtractor().fit_transform(pixels)
    np.testing.assert_array_equal(lazy[[5, 2]][:], expected[[5, 2]])


@pytest.mark.parametrize(
    "encoder",
    [
        BagOfVisualWords(20, spatial_pyramid=(1, 2), random_state=0),
        VLADEncoder(4, random_state=0),
        FisherVectorEncoder(4, pca_components=8, random_state=0),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_encoders_give_the_same_from_them(encoder, images):
    from_array = make_pipeline(SIFTExtractor(), encoder).fit_transform(images)
    from_lazy = make_pipeline(SIFTExtractor(lazy=True), encoder).fit_transform(images)
    np.testing.assert_allclose(from_lazy, from_array, rtol=1e-4, atol=1e-5)


def test_memory_does_not_grow_with_the_descriptors():
    images = np.random.default_rng(0).integers(0, 256, (400, 32, 32), dtype=np.uint8)
    extractor = SIFTExtractor(step=2, lazy=True).fit(images)
    encoder = BagOfVisualWords(10, max_descriptors=500, chunk_mib=2, random_state=0)
    encoder.fit(extractor.transform(images[:50]))
    as_array = np.prod(extractor.transform(images).shape) * 4
    assert as_array > 16 * 2**20
    tracemalloc.start()
    encoder.transform(extractor.transform(images))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 2**20


def test_images_are_read_in_slices():
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16), dtype=np.uint8)
    source = SliceOnly(images)
    lazy = SIFTExtractor(lazy=True).fit_transform(source)
    source.reads.clear()
    BagOfVisualWords(3, max_descriptors=50, chunk_mib=0.1, random_state=0).fit(lazy)
    assert source.reads
    assert max(stop - start for start, stop in source.reads) < 40


def test_lazy_is_what_was_set_at_fit(images):
    extractor = SIFTExtractor().fit(images).set_params(lazy=True)
    assert isinstance(extractor.transform(images), np.ndarray)
    assert isinstance(extractor.fit_transform(images), LazyDescriptors)


def test_keypoints_are_not_lazy(images):
    with pytest.raises(ValueError, match="lazy=True needs keypoints='dense'"):
        SIFTExtractor("dog", lazy=True).fit(images)


def test_a_copy_without_computing_is_refused(lazy):
    with pytest.raises(ValueError, match="without computing"):
        np.asarray(lazy, copy=False)
