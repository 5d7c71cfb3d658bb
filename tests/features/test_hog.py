"""HOGExtractor against skimage.feature.hog."""

import numpy as np
import pytest
from skimage import data
from skimage.feature import hog
from skimage.transform import resize

from skcnn import HOGExtractor, load_digit_images

SHAPES = [(28, 28), (33, 47), (64, 40), (31, 30, 3)]


def photos(shape, dtype=np.float64):
    """Two views of a real photo, grey or colour, of the given shape."""
    astronaut = data.astronaut()
    views = [astronaut[:256, 100:356], astronaut[200:456, 200:456]]
    if len(shape) == 2:
        views = [view.mean(axis=-1) / 255 for view in views]
    images = np.array([resize(view, shape, anti_aliasing=True) for view in views])
    return (images * 255).round().astype(dtype) if dtype == np.uint8 else images.astype(dtype)


def reference(images, **parameters):
    channel_axis = -1 if images.ndim == 4 else None
    return np.array([hog(image, channel_axis=channel_axis, **parameters) for image in images])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block_norm", ["L1", "L1-sqrt", "L2", "L2-Hys"])
@pytest.mark.parametrize("transform_sqrt", [False, True])
def test_equals_scikit_image(shape, block_norm, transform_sqrt):
    images = photos(shape)
    parameters = {
        "orientations": 9,
        "pixels_per_cell": (5, 7),  # neither square nor a divisor of any side
        "cells_per_block": (3, 2),
        "block_norm": block_norm,
        "transform_sqrt": transform_sqrt,
    }
    features = HOGExtractor(**parameters).fit_transform(images)
    assert features.dtype == np.float64
    np.testing.assert_allclose(features, reference(images, **parameters), atol=1e-6, rtol=0)


@pytest.mark.parametrize("orientations", [1, 4, 7, 8, 9, 11, 12, 13])
@pytest.mark.parametrize("shape", [(24, 24), (24, 24, 3)])
def test_gradients_on_the_edge_of_a_bin_fall_on_scikit_images_side(orientations, shape):
    # Few grey levels give many gradients along the axes and diagonals.
    images = np.random.RandomState(0).randint(0, 4, size=(3, *shape)).astype(np.float64)
    parameters = {"orientations": orientations, "pixels_per_cell": (4, 4)}
    features = HOGExtractor(**parameters).fit_transform(images)
    np.testing.assert_allclose(features, reference(images, **parameters), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_uint8_equals_scikit_image_on_the_scaled_image(shape):
    images = photos(shape, np.uint8)
    features = HOGExtractor(pixels_per_cell=(8, 8)).fit_transform(images)
    expected = reference(images / 255, pixels_per_cell=(8, 8))
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


def test_defaults_are_those_of_scikit_image():
    images = photos((40, 40))
    features = HOGExtractor(pixels_per_cell=(8, 8)).fit_transform(images)
    np.testing.assert_allclose(features, reference(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2, -3])
def test_channel_axis(axis):
    images = photos((31, 30, 3))
    moved = np.moveaxis(images, -1, axis)
    features = HOGExtractor(channel_axis=axis).fit_transform(moved)
    np.testing.assert_array_equal(features, HOGExtractor().fit_transform(images))


@pytest.mark.parametrize(
    ("shape", "cell"),
    [
        ((28, 28), (4, 4)),
        ((8, 8), (2, 2)),
        ((32, 32), (4, 4)),
        ((128, 64), (8, 8)),
        ((1, 17), (1, 1)),
        ((17, 1), (1, 1)),
        ((1, 1), (1, 1)),
        ((2, 3), (1, 1)),
    ],
)
def test_auto_cells_suit_every_image(shape, cell):
    images = np.random.RandomState(0).rand(2, *shape)
    extractor = HOGExtractor()
    features = extractor.fit_transform(images)
    assert extractor.pixels_per_cell_ == cell
    expected = reference(images, pixels_per_cell=cell, cells_per_block=extractor.cells_per_block_)
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("parameters", [{"pixels_per_cell": (16, 4)}, {"pixels_per_cell": (4, 40)}])
def test_explicit_cells_that_do_not_fit_are_refused(parameters):
    with pytest.raises(ValueError, match=r"28 x 28 pixels are too small for pixels_per_cell"):
        HOGExtractor(**parameters).fit(np.zeros((1, 28, 28)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pixels_per_cell": (4, 4, 4)}, "pixels_per_cell"),
        ({"pixels_per_cell": (0, 4)}, "pixels_per_cell"),
        ({"pixels_per_cell": "automatic"}, "pixels_per_cell"),
        ({"cells_per_block": (1.5, 2)}, "cells_per_block"),
        ({"block_norm": "L3"}, "block_norm"),
        ({"orientations": 0}, "orientations"),
        ({"chunk_mib": 0}, "chunk_mib"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        HOGExtractor(**parameters).fit(np.zeros((1, 28, 28)))


def test_square_root_of_negative_values_is_refused():
    images = np.full((1, 28, 28), -0.5)
    with pytest.raises(ValueError, match=r"transform_sqrt=True needs .* holds -0.5"):
        HOGExtractor(transform_sqrt=True).fit_transform(images)


def test_constant_images_give_zeros():
    assert not HOGExtractor().fit_transform(np.full((2, 28, 28), 0.7)).any()


def test_changed_parameters_wait_for_the_next_fit():
    images = photos((28, 28))
    extractor = HOGExtractor().fit(images)
    before = extractor.transform(images)
    extractor.set_params(orientations=4, block_norm="L1", transform_sqrt=True)
    np.testing.assert_array_equal(extractor.transform(images), before)
    assert extractor.fit_transform(images).shape[1] == before.shape[1] * 4 // 9


def test_rows_of_a_table_keep_their_differences():
    rows = load_digit_images().images.reshape(-1, 1, 64)
    features = HOGExtractor().fit_transform(rows)
    assert (features.std(axis=0) > 0.01).sum() > 20
