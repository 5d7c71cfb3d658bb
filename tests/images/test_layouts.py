"""Where height, width and channels lie in X."""

import numpy as np
import pytest

from skcnn.images import ImageBatch

GREY = np.arange(5 * 4 * 6, dtype=float).reshape(5, 4, 6)
COLOUR = np.arange(5 * 4 * 6 * 3, dtype=float).reshape(5, 4, 6, 3)
# Where the channels lie in a 4-D X: its name in NumPy's moveaxis, and the two ways to write it.
AXES = [(3, 3), (3, -1), (2, 2), (2, -2), (1, 1), (1, -3)]


def test_grey_images_have_one_channel():
    batch = ImageBatch(GREY)
    assert batch.shape == (5, 4, 6, 1)
    assert batch.image_shape == (4, 6)
    assert len(batch) == 5
    np.testing.assert_array_equal(batch.read(slice(None)), GREY[..., None])


def test_colour_images_are_channels_last_by_default():
    batch = ImageBatch(COLOUR)
    assert batch.shape == (5, 4, 6, 3)
    assert batch.image_shape == (4, 6, 3)
    np.testing.assert_array_equal(batch.read(slice(None)), COLOUR)


@pytest.mark.parametrize(("position", "channel_axis"), AXES)
def test_channel_axis_of_4d_images(position, channel_axis):
    stored = np.ascontiguousarray(np.moveaxis(COLOUR, -1, position))
    batch = ImageBatch(stored, channel_axis=channel_axis)
    assert batch.shape == (5, 4, 6, 3)
    assert batch.image_shape == (4, 6, 3)
    read = batch.read(slice(1, 4))
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, COLOUR[1:4])
    np.testing.assert_array_equal(batch.take([4, 0, 4]), COLOUR[[4, 0, 4]])


@pytest.mark.parametrize(("position", "channel_axis"), AXES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_scaled_images_are_contiguous_whatever_the_channel_axis(position, channel_axis, dtype):
    stored = np.ascontiguousarray(np.moveaxis(COLOUR.astype(dtype), -1, position))
    read = ImageBatch(stored, channel_axis=channel_axis).read(slice(None), np.float64)
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, COLOUR.astype(dtype) / np.iinfo(dtype).max)


@pytest.mark.parametrize(("position", "channel_axis"), AXES)
def test_channel_axis_of_flat_rows_is_that_of_the_4d_batch_they_unfold_to(position, channel_axis):
    stored = np.ascontiguousarray(np.moveaxis(COLOUR, -1, position))
    batch = ImageBatch(
        stored.reshape(5, -1), image_shape=stored.shape[1:], channel_axis=channel_axis
    )
    assert batch.image_shape == (4, 6, 3)
    np.testing.assert_array_equal(batch.read(slice(None)), COLOUR)
    np.testing.assert_array_equal(batch.take([3, 1]), COLOUR[[3, 1]])


@pytest.mark.parametrize("channel_axis", [0, -4, 4, -5, 7, None])
@pytest.mark.parametrize("flat", [False, True])
def test_channel_axis_that_names_no_axis_of_an_image_is_an_error(channel_axis, flat):
    X, image_shape = (COLOUR.reshape(5, -1), (4, 6, 3)) if flat else (COLOUR, None)
    with pytest.raises(ValueError, match=f"channel_axis={channel_axis}"):
        ImageBatch(X, image_shape=image_shape, channel_axis=channel_axis)


@pytest.mark.parametrize("channel_axis", [-1, 1, None])
def test_grey_images_have_no_channel_axis_to_name(channel_axis):
    assert ImageBatch(GREY, channel_axis=channel_axis).image_shape == (4, 6)


def test_one_channel_is_grey():
    batch = ImageBatch(GREY[..., None])
    assert batch.image_shape == ImageBatch(GREY).image_shape == (4, 6)


@pytest.mark.parametrize(
    ("n_values", "expected"),
    [(1, (1, 1)), (4, (2, 2)), (64, (8, 8)), (784, (28, 28)), (2, (1, 2)), (63, (1, 63))],
)
def test_flat_row_is_a_square_image_or_one_row(n_values, expected):
    X = np.arange(3 * n_values, dtype=float).reshape(3, n_values)
    batch = ImageBatch(X)
    assert batch.image_shape == expected
    np.testing.assert_array_equal(batch.read(slice(None)), X.reshape(3, *expected, 1))


@pytest.mark.parametrize("image_shape", [(4, 6), [4, 6], np.array([4, 6]), (6, 4), (1, 24)])
def test_image_shape_folds_flat_rows(image_shape):
    batch = ImageBatch(GREY.reshape(5, -1), image_shape=image_shape)
    assert batch.image_shape == tuple(image_shape)
    np.testing.assert_array_equal(
        batch.read(slice(None)), GREY.reshape(5, *(int(n) for n in image_shape), 1)
    )


def test_image_shape_may_agree_with_images_that_are_not_flat():
    assert ImageBatch(COLOUR, image_shape=(4, 6, 3)).image_shape == (4, 6, 3)


@pytest.mark.parametrize("image_shape", [(5, 6), (4, 6, 3)])
def test_image_shape_that_does_not_fit_flat_rows_names_both(image_shape):
    with pytest.raises(ValueError, match=r"image_shape=\(.*rows hold 24 values"):
        ImageBatch(GREY.reshape(5, -1), image_shape=image_shape)


def test_image_shape_that_contradicts_images_names_both():
    with pytest.raises(ValueError, match=r"shape \(4, 6\), but image_shape is \(6, 4\)"):
        ImageBatch(GREY, image_shape=(6, 4))


@pytest.mark.parametrize(
    "image_shape", [(24,), (), (2, 2, 2, 3), 24, "46", (4.0, 6.0), (-4, -6), (0, 24), (4, None)]
)
def test_image_shape_that_is_no_shape_is_an_error(image_shape):
    with pytest.raises(ValueError, match="image_shape must be"):
        ImageBatch(GREY.reshape(5, -1), image_shape=image_shape)
