"""Stored images larger than the memory: only what is asked for is read and converted."""

import tracemalloc

import h5py
import numpy as np
import pytest
import torch
import zarr
from PIL import Image

from skcnn.images import ImageBatch
from tests.images.containers import SliceOnly, random_images

MIB = 2**20


def as_memmap(X, folder):
    X.tofile(folder / "X.raw")
    return np.memmap(folder / "X.raw", dtype=X.dtype, mode="r", shape=X.shape)


def as_npy(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def as_h5py(X, folder):
    with h5py.File(folder / "X.h5", "w") as file:
        file["X"] = X
    return h5py.File(folder / "X.h5")["X"]


def as_zarr(X, folder):
    stored = zarr.create_array(
        folder / "X.zarr", shape=X.shape, dtype=X.dtype, chunks=(3, *X.shape[1:])
    )
    stored[:] = X
    return zarr.open_array(folder / "X.zarr", mode="r")


def as_slices(X, folder):
    return SliceOnly(X)


STORES = [as_memmap, as_npy, as_h5py, as_zarr, as_slices]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((10, 4, 5), {}),
        ((10, 4, 5, 3), {}),
        ((10, 3, 4, 5), {"channel_axis": 1}),
        ((10, 60), {"image_shape": (4, 5, 3)}),
    ],
)
def test_stored_images_read_as_the_array_does(store, dtype, shape, options, tmp_path):
    X = random_images(shape, dtype)
    expected = ImageBatch(X, **options)
    batch = ImageBatch(store(X, tmp_path), **options)
    assert batch.shape == expected.shape
    assert batch.dtype == expected.dtype
    whole = expected.read(slice(None))
    for rows in (slice(None), slice(2, 7), slice(-3, None), slice(8, 99), slice(4, 4), slice(7, 2)):
        np.testing.assert_array_equal(batch.read(rows), whole[rows])
    for indices in ([3], [9, 0, 4, 4, 5], [-1, 0, -10], np.arange(10), np.arange(10)[::-1], []):
        np.testing.assert_array_equal(batch.take(indices), whole[np.array(indices, int)])
    mask = np.arange(10) % 3 == 0
    np.testing.assert_array_equal(batch.take(mask), whole[mask])


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("indices", [[10], [0, -11], [3, 99]])
def test_take_refuses_images_that_do_not_exist(store, indices, tmp_path):
    batch = ImageBatch(store(np.zeros((10, 2, 2)), tmp_path))
    with pytest.raises(IndexError, match="out of bounds"):
        batch.take(indices)


def test_making_a_batch_reads_nothing():
    source = SliceOnly(np.zeros((10, 4, 4), np.float32))
    batch = ImageBatch(source)
    assert (batch.shape, batch.dtype, batch.image_shape) == ((10, 4, 4, 1), np.float32, (4, 4))
    list(batch.chunks(1))
    assert source.reads == []


def test_read_reads_one_slice():
    source = SliceOnly(np.zeros((10, 4, 4)))
    ImageBatch(source).read(slice(2, 5))
    assert source.reads == [(2, 5)]


def test_take_reads_each_wanted_image_once_in_runs_of_neighbours():
    source = SliceOnly(np.zeros((100, 4, 4)))
    ImageBatch(source).take([50, 7, 51, 6, 7, 99, 52])
    assert source.reads == [(6, 8), (50, 53), (99, 100)]


def test_integers_are_known_to_be_finite_without_reading():
    source = SliceOnly(np.zeros((100, 4, 4), np.uint8))
    ImageBatch(source).ensure_finite()
    assert source.reads == []


def test_finiteness_is_looked_at_chunk_by_chunk():
    source = SliceOnly(np.zeros((100, 8, 8), np.float64))
    batch = ImageBatch(source)
    batch.ensure_finite(chunk_mib=10 * 512 / MIB)
    assert source.reads == [(start, start + 10) for start in range(0, 100, 10)]


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.uint8, "u2"])
def test_dtype_of_a_container_may_be_written_in_any_way_numpy_understands(dtype):
    X = random_images((6, 3, 3), dtype)
    source = SliceOnly(X, dtype=dtype)
    batch = ImageBatch(source)
    np.testing.assert_array_equal(batch.read(slice(1, 3)), ImageBatch(X).read(slice(1, 3)))
    assert source.reads == [(1, 3)]


def test_tensors_and_pillow_images_are_read():
    X = random_images((3, 4, 5), np.uint8)
    expected = ImageBatch(X).read(slice(None))
    np.testing.assert_array_equal(ImageBatch(torch.from_numpy(X)).read(slice(None)), expected)
    pictures = [Image.fromarray(image) for image in X]
    np.testing.assert_array_equal(ImageBatch(pictures).read(slice(None)), expected)


@pytest.mark.parametrize("n_images", [1, 7, 10, 64])
@pytest.mark.parametrize("chunk_mib", [1e-9, 0.001, 0.01, 5])
@pytest.mark.parametrize("bytes_per_image", [None, 100, 3000])
def test_chunks_cover_the_batch_in_order_within_the_memory(n_images, chunk_mib, bytes_per_image):
    batch = ImageBatch(np.zeros((n_images, 8, 8), np.uint8))
    chunks = list(batch.chunks(chunk_mib, bytes_per_image))
    covered = [i for rows in chunks for i in range(rows.start, rows.stop)]
    assert covered == list(range(n_images))
    one = bytes_per_image or 8 * 8 * 4
    for rows in chunks:
        assert rows.stop - rows.start == 1 or (rows.stop - rows.start) * one <= chunk_mib * MIB
    sizes = {rows.stop - rows.start for rows in chunks[:-1]}
    assert len(sizes) <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channel_axis", [-1, 1])
def test_a_walk_through_a_memory_mapped_set_needs_the_memory_of_a_chunk(
    dtype, channel_axis, tmp_path
):
    shape = (2000, 3, 32, 32) if channel_axis == 1 else (2000, 32, 32, 3)
    X = as_memmap(np.ones(shape, dtype), tmp_path)
    batch = ImageBatch(X, channel_axis=channel_axis)
    total = 0.0
    tracemalloc.start()
    batch.ensure_finite(chunk_mib=1)
    for rows in batch.chunks(1):
        total += float(batch.read(rows).mean()) * (rows.stop - rows.start)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    expected = 1 / np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    assert total / 2000 == pytest.approx(expected, rel=1e-4)
    # The converted set has 23 MiB or more; one chunk is in work while the next is read.
    assert peak < 2.5 * MIB


@pytest.mark.parametrize(
    "some",
    [np.s_[:], np.s_[::2], np.s_[:, ::-1], np.s_[:, :, 1:]],
    ids=["all", "rows", "up", "cut"],
)
def test_take_from_a_memory_mapped_set_needs_the_memory_of_what_is_taken(some, tmp_path):
    stored = as_memmap(np.ones((4000, 32, 32, 3), np.uint8), tmp_path)
    batch = ImageBatch(stored[some])
    tracemalloc.start()
    taken = batch.take(np.arange(0, 2000, 40))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken.shape == (50, *stored[some].shape[1:])
    assert peak < 2 * taken.nbytes
