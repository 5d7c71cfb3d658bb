"""The numbers that come out of a batch: scale, type, finiteness."""

import warnings

import numpy as np
import pytest
from skimage.util import img_as_float32, img_as_float64

from skcnn.images import ImageBatch
from tests.images.containers import random_images

LIMITS = {np.uint8: 255, np.uint16: 65535}


@pytest.mark.parametrize("shape", [(7, 5, 4), (7, 5, 4, 3), (7, 20)])
@pytest.mark.parametrize("stored", [np.uint8, np.uint16, ">u2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uint8_and_uint16_are_scaled_to_the_unit_interval(shape, stored, dtype):
    X = random_images(shape, np.dtype(stored).newbyteorder("=")).astype(stored)
    read = ImageBatch(X).read(slice(None), dtype)
    limit = LIMITS[np.dtype(stored).newbyteorder("=").type]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.reshape(shape), X.astype(dtype) / dtype(limit))
    as_float = img_as_float32 if dtype is np.float32 else img_as_float64
    native = X.astype(np.dtype(stored).newbyteorder("="))
    np.testing.assert_allclose(read.reshape(shape), as_float(native), rtol=2e-7)


def test_scale_reaches_both_ends():
    for stored, limit in LIMITS.items():
        X = np.array([[[0, limit]]], dtype=stored)
        assert ImageBatch(X).read(slice(None)).ravel().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "stored",
    ["bool", "int8", "int16", "int32", "int64", "uint32", "uint64", "float16", "float32",
     "float64", "longdouble", ">f4", ">f8", ">i4"],
)  # fmt: skip
def test_other_numbers_are_taken_as_they_are(stored):
    dtype = np.dtype(stored)
    X = random_images((6, 3, 4), dtype.newbyteorder("=")).astype(dtype)
    batch = ImageBatch(X)
    for read in (batch.read(slice(None)), batch.take(np.arange(6))):
        assert read.dtype == batch.dtype
        assert read.dtype.isnative
        np.testing.assert_array_equal(read[..., 0], X.astype(batch.dtype))


@pytest.mark.parametrize(
    ("stored", "read"),
    [("bool", "float32"), ("uint8", "float32"), ("uint16", "float32"), ("float16", "float32"),
     ("float32", "float32"), ("float64", "float64"), ("int32", "float64"), ("int64", "float64"),
     ("uint32", "float64")],
)  # fmt: skip
def test_type_in_which_images_are_read(stored, read):
    batch = ImageBatch(np.ones((2, 3, 3), stored))
    assert batch.dtype == read
    assert batch.read(slice(None)).dtype == read
    assert batch.take([1]).dtype == read


def test_asked_for_type_is_given():
    batch = ImageBatch(random_images((3, 2, 2), np.float64))
    assert batch.read(slice(None), np.float32).dtype == np.float32
    assert batch.take([0], dtype=np.float32).dtype == np.float32


def test_nested_lists_and_lists_of_arrays_are_read():
    X = random_images((3, 4, 5), np.uint8)
    lists = ImageBatch(X.tolist())
    np.testing.assert_array_equal(lists.read(slice(None))[..., 0], X)  # ints, so not scaled
    arrays = ImageBatch(list(X))
    np.testing.assert_array_equal(arrays.read(slice(None), float)[..., 0], X / 255)


def test_reading_leaves_the_source_as_it_was():
    for dtype in (np.uint8, np.float32, np.float64):
        X = random_images((4, 3, 3), dtype)
        X.flags.writeable = False
        before = X.copy()
        batch = ImageBatch(X)
        batch.read(slice(None))
        batch.take([3, 3, 0])
        np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, object])
@pytest.mark.parametrize("shape", [(6, 2, 3), (6, 2, 3, 3), (6, 6)])
def test_nan_and_infinity_are_errors_that_name_the_image(value, dtype, shape):
    X = np.ones(shape, dtype)
    X[4].flat[1] = value
    batch = ImageBatch(X)
    seen = "NaN" if np.isnan(value) else "infinity"
    message = rf"X contains {seen}.* image 4"
    with pytest.raises(ValueError, match=message):
        batch.ensure_finite()
    with pytest.raises(ValueError, match=message):
        batch.ensure_finite(chunk_mib=1e-6)
    with pytest.raises(ValueError, match=message):
        batch.read(slice(3, 6))
    with pytest.raises(ValueError, match=message):
        batch.take([0, -2, 1])
    assert batch.read(slice(0, 4)).shape[0] == 4
    assert batch.take([5, 0]).shape[0] == 2


def test_values_whose_sum_overflows_are_finite():
    X = np.full((3, 4, 4), np.finfo(np.float64).max)
    ImageBatch(X).ensure_finite()
    np.testing.assert_array_equal(ImageBatch(X).read(slice(None))[..., 0], X)


def test_opposite_infinities_are_found():
    X = np.zeros((2, 2, 2))
    X[1, 0] = np.inf, -np.inf
    with pytest.raises(ValueError, match=r"infinity.*image 1"):
        ImageBatch(X).read(slice(None))


def test_value_too_large_for_the_asked_type_is_an_error():
    X = np.zeros((3, 2, 2))
    X[2, 1, 1] = 1e300
    batch = ImageBatch(X)
    assert batch.read(slice(None)).max() == 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"too large for float32.*image 2"):
            batch.read(slice(1, 3), np.float32)
