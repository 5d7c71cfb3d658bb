"""Chunks and threads change memory and speed of the extractors, not their results."""

import threading
import time
import tracemalloc

import numpy as np
import pytest

from skcnn import HOGExtractor, PixelExtractor, TemplateMatcher


@pytest.fixture
def images():
    return np.random.RandomState(0).randint(0, 256, size=(50, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("extractor", [HOGExtractor(), PixelExtractor()])
@pytest.mark.parametrize("chunk_mib", [1e-6, 0.01, 0.5])
def test_chunk_size_does_not_change_features(extractor, chunk_mib, images):
    whole = extractor.fit_transform(images)
    extractor.set_params(chunk_mib=chunk_mib)
    np.testing.assert_array_equal(extractor.fit_transform(images), whole)


def test_templates_are_the_class_means_for_every_chunk_size(images):
    y = np.arange(50) % 3
    expected = [images[y == k].mean(axis=0) / 255 for k in range(3)]
    for chunk_mib in (1e-6, 0.01, 64):
        matcher = TemplateMatcher(chunk_mib=chunk_mib).fit(images, y)
        np.testing.assert_allclose(matcher.templates_, expected, rtol=1e-12)


@pytest.mark.parametrize("n_jobs", [2, 3, -1])
def test_threads_do_not_change_features(n_jobs, images):
    expected = HOGExtractor().fit_transform(images)
    features = HOGExtractor(n_jobs=n_jobs, chunk_mib=0.1).fit_transform(images)
    np.testing.assert_array_equal(features, expected)


def test_n_jobs_is_the_number_of_threads(images, monkeypatch):
    fill, threads = HOGExtractor._fill, set()

    def noted(self, *arguments):
        threads.add(threading.get_ident())
        time.sleep(0.02)  # long enough for the other thread to take a chunk
        fill(self, *arguments)

    monkeypatch.setattr(HOGExtractor, "_fill", noted)
    HOGExtractor(n_jobs=2, chunk_mib=0.1).fit_transform(images)
    assert len(threads) == 2


def test_memory_of_templates_is_about_a_chunk():
    images = np.random.RandomState(0).randint(0, 256, size=(4000, 64, 64), dtype=np.uint8)
    matcher = TemplateMatcher(chunk_mib=4)
    for act in (lambda: matcher.fit(images, np.arange(4000) % 2), lambda: matcher.predict(images)):
        tracemalloc.start()
        act()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak / 2**20 < 6  # all at once would be 125 MiB in float64


def test_memory_beyond_the_result_is_about_a_chunk(tmp_path):
    stored = np.lib.format.open_memmap(
        tmp_path / "X.npy", mode="w+", dtype=np.uint8, shape=(4000, 28, 28)
    )
    stored[:] = np.random.RandomState(0).randint(0, 256, size=stored.shape, dtype=np.uint8)
    extractor = HOGExtractor(chunk_mib=4).fit(stored[:2])
    tracemalloc.start()
    features = extractor.transform(stored)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    extra = (peak - features.nbytes) / 2**20
    assert extra < 6  # all images at once would be 24 MiB in float64, and their gradients more


def test_a_slice_is_all_that_is_read_at_a_time(images):
    class Slices:
        """The least that an image batch can be."""

        shape, dtype, longest = images.shape, images.dtype, 0

        def __len__(self):
            return len(images)

        def __getitem__(self, rows):
            assert isinstance(rows, slice)
            part = images[rows]
            self.longest = max(self.longest, len(part))
            return part

    slices = Slices()
    features = PixelExtractor(chunk_mib=0.05).fit_transform(slices)
    np.testing.assert_array_equal(features, np.float32(images.reshape(50, -1)) / np.float32(255))
    assert 0 < slices.longest < 10
