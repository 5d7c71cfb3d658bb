"""Images as they are stored, with what brings them to scale."""

import numpy as np
import pytest

from skcnn.images import ImageBatch
from tests.images.containers import SliceOnly, random_images


@pytest.mark.parametrize(
    "stored",
    ["uint8", "uint16", ">u2", "float32", "float64", ">f4", "float16", "bool", "int64", "uint32"],
)
@pytest.mark.parametrize("channel_axis", [1, -1])
@pytest.mark.parametrize("checked", [True, False])
def test_scaled_they_are_what_read_returns(stored, channel_axis, checked):
    X = random_images((7, 5, 4, 3), np.uint8).astype(stored)
    batch = ImageBatch(X, channel_axis=channel_axis)
    images, divisor = batch.read_stored(slice(2, 6), checked=checked)
    assert images.flags.c_contiguous
    assert images.dtype in (np.uint8, np.uint16, np.float32, np.float64)
    assert images.dtype.isnative
    np.testing.assert_array_equal(images / divisor, batch.read(slice(2, 6), np.float64))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_nothing_is_copied_that_can_be_used(dtype):
    X = random_images((7, 5, 4), np.uint8).astype(dtype)
    assert np.shares_memory(ImageBatch(X).read_stored(slice(1, 3), checked=False)[0], X)


def test_one_slice_of_a_container_is_read():
    source = SliceOnly(random_images((9, 5, 4), np.uint8))
    ImageBatch(source).read_stored(slice(2, 5))
    assert source.reads == [(2, 5)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_infinite_images_are_refused_at_once_or_later(dtype):
    X = np.zeros((9, 5, 4), dtype)
    X[6, 1, 2] = np.inf
    batch = ImageBatch(X)
    with pytest.raises(ValueError, match="image 6"):
        batch.read_stored(slice(4, 8))
    if dtype != np.float16:  # converted, and therefore checked
        images, _ = batch.read_stored(slice(4, 8), checked=False)
        batch.refuse_infinite(images[:2], 4)
        with pytest.raises(ValueError, match="image 6"):
            batch.refuse_infinite(images[2:], 6)


def test_steps_are_refused():
    with pytest.raises(ValueError, match="step 1"):
        ImageBatch(np.zeros((9, 5, 4), np.uint8)).read_stored(slice(0, 8, 2))


@pytest.mark.parametrize("shape", [(7, 5, 4), (7, 20), (7, 3, 5, 4)])
def test_a_batch_that_is_held_reads_the_same_and_its_source_no_more(shape, monkeypatch):
    source = SliceOnly(random_images(shape, np.uint8))
    monkeypatch.setattr("skcnn.images._batch._HELD_CHUNK_MIB", 1e-4)
    channel_axis = 1
    batch = ImageBatch(
        source, image_shape=shape[1:] if len(shape) > 2 else (5, 4), channel_axis=channel_axis
    )
    held = batch.held(source._array.nbytes)
    assert source.rows_read == 7
    assert len(source.reads) > 1
    np.testing.assert_array_equal(held.take([3, 1]), batch.take([3, 1]))
    source.reads.clear()
    held.read(slice(0, 7))
    assert source.reads == []


def test_what_is_too_large_or_in_memory_is_not_held():
    X = random_images((7, 5, 4), np.uint8)
    source = ImageBatch(SliceOnly(X))
    assert source.held(X.nbytes - 1) is source
    in_memory = ImageBatch(X)
    assert in_memory.held(X.nbytes) is in_memory
