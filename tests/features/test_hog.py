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


@pytest.mark.parametrize("orientations", [7, 9, 11, 13, 14])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_edges_of_bins_are_not_rounded_to_float32(orientations, n_channels):
    edges = np.arange(1, orientations) * (180.0 / orientations)
    between = np.deg2rad((edges + edges.astype(np.float32)) / 2)
    images = np.zeros((len(between), 3, 3, n_channels))
    images[:, 1, 2], images[:, 2, 1] = np.cos(between)[:, None], np.sin(between)[:, None]
    parameters = {"orientations": orientations, "pixels_per_cell": (3, 3)}
    features = HOGExtractor(**parameters, cells_per_block=(1, 1)).fit_transform(images)
    expected = reference(images, **parameters, cells_per_block=(1, 1))
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


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
        ({"device": "tpu"}, "device must be 'auto', 'cpu', 'cuda'"),
        ({"device": None}, "device"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        HOGExtractor(**parameters).fit(np.zeros((1, 28, 28)))


def test_square_root_of_negative_values_is_refused():
    images = np.full((1, 28, 28), -0.5)
    with pytest.raises(ValueError, match=r"transform_sqrt=True needs .* holds -0.5"):
        HOGExtractor(transform_sqrt=True).fit_transform(images)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", ">f4"])
def test_fit_refuses_the_square_root_of_negative_values(shape, dtype):
    images = np.ones((5, *shape), dtype)
    extractor = HOGExtractor(transform_sqrt=True, chunk_mib=0.005)  # an image a chunk
    extractor.fit(images)
    images[3, 20, 10] = -2
    with pytest.raises(ValueError, match=r"transform_sqrt=True needs .* holds -2"):
        extractor.fit(images)
    HOGExtractor().fit(images)


def test_fit_reads_no_unsigned_images_for_a_square_root():
    class Unread:
        dtype, shape = np.dtype(np.uint8), (3, 28, 28)

        def __getitem__(self, rows):
            assert rows == slice(0, 0)
            return np.empty((0, 28, 28), np.uint8)

        def __len__(self):
            return 3

    HOGExtractor(transform_sqrt=True).fit(Unread())


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


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_equally_strong_channels_are_chosen_between_as_scikit_image_does(channels, dtype):
    # Few levels: many pixels have gradients in two channels that are equal or differ by rounding.
    levels = np.random.RandomState(0).randint(0, 5, size=(2, 40, 30, channels))
    unsigned = np.dtype(dtype).kind == "u"
    images = levels.astype(dtype) if unsigned else (levels / 7).astype(dtype)
    scaled = levels / np.iinfo(dtype).max if unsigned else images.astype(np.float64)
    features = HOGExtractor(8, (5, 5)).fit_transform(images)
    expected = reference(scaled, orientations=8, pixels_per_cell=(5, 5))
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("difference", [1e-9, 1e-7, 1e-6, 1e-3])
def test_channels_nearly_alike_are_chosen_between_as_scikit_image_does(channels, difference):
    # One picture in each channel, turned and mirrored, so that directions differ at equal size.
    rng = np.random.RandomState(0)
    picture = rng.rand(40, 40).round(2)
    turned = (picture, picture.T, picture[::-1], picture[:, ::-1])
    images = np.stack(turned[:channels], axis=-1)[None]
    images = (images + difference * rng.rand(*images.shape)).astype(np.float32)
    features = HOGExtractor(9, (5, 5)).fit_transform(images)
    expected = reference(images.astype(np.float64), orientations=9, pixels_per_cell=(5, 5))
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("orientations", [8, 12, 28, 180])
def test_unsigned_levels_near_the_edge_of_a_bin_fall_on_scikit_images_side(orientations):
    # Of v / 255 many differences along a diagonal are equal but for rounding.
    images = np.random.RandomState(0).randint(0, 256, size=(2, 64, 64), dtype=np.uint8)
    images[1] //= 32
    parameters = {"orientations": orientations, "pixels_per_cell": (8, 8)}
    features = HOGExtractor(**parameters).fit_transform(images)
    np.testing.assert_allclose(features, reference(images / 255, **parameters), atol=1e-6, rtol=0)


@pytest.mark.parametrize("block_norm", ["L1", "L1-sqrt", "L2", "L2-Hys"])
def test_float32_images_have_the_features_of_float64_ones(block_norm):
    images = photos((64, 40), np.float32)
    features = HOGExtractor(block_norm=block_norm).fit_transform(images)
    assert features.dtype == np.float32
    expected = reference(images.astype(np.float64), pixels_per_cell=(4, 4), block_norm=block_norm)
    np.testing.assert_allclose(features, expected, atol=5e-7, rtol=0)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e15, 1e30])
def test_values_of_any_size(scale):
    images = (photos((24, 24)) * scale).astype(np.float32)
    features = HOGExtractor(block_norm="L1").fit_transform(images)
    expected = reference(images.astype(np.float64), pixels_per_cell=(4, 4), block_norm="L1")
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-30)


def test_huge_values_have_gradients():
    images = photos((24, 24)) * 1e200
    features = HOGExtractor(block_norm="L1").fit_transform(images)
    expected = HOGExtractor(block_norm="L1").fit_transform(photos((24, 24)) * 1e100)
    np.testing.assert_allclose(features, expected, atol=1e-6)


@pytest.mark.parametrize("voting", [{}, {"signed_gradient": True}, {"interpolate": True}])
@pytest.mark.parametrize("block_norm", ["L1", "L1-sqrt", "L2", "L2-Hys"])
@pytest.mark.parametrize(("dtype", "power"), [("f4", 66), ("f4", 127), ("f8", 531), ("f8", 1023)])
@pytest.mark.parametrize("shape", [(32, 24), (32, 24, 3)])
def test_blocks_whose_norm_overflows(shape, dtype, power, block_norm, voting):
    # From -1 to 1, so that differences of the largest overflow too.
    images = np.concatenate([2 * photos(shape) - 1, np.zeros((1, *shape))]).astype(dtype)
    parameters = {"pixels_per_cell": (4, 4), "block_norm": block_norm}
    features = HOGExtractor(**parameters, **voting).fit_transform(np.ldexp(images, power))
    # So large that the epsilon is lost; scikit-image has no larger cells than float32.
    large = np.ldexp(images.astype(np.float64), 30)
    if voting:
        expected = HOGExtractor(**parameters, **voting).fit_transform(large)
    else:
        expected = reference(large, **parameters)
    assert features.dtype == images.dtype
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


def test_large_and_ordinary_blocks_of_one_image():
    # 1e200 on the left, ordinary values where no block reaches over to it.
    images = photos((32, 64))
    parameters = {"pixels_per_cell": (8, 8), "cells_per_block": (2, 2), "block_norm": "L2"}
    expected = reference(images * 1e-4, **parameters).reshape(2, 3, 7, -1)
    large = images * 1e-4
    for scale in (1e200, 1.7e308):
        large[:, :, :24] = (2 * images[:, :, :24] - 1) * scale
        features = HOGExtractor(**parameters).fit_transform(large).reshape(2, 3, 7, -1)
        # Blocks from column 4 on begin at pixel 32.
        np.testing.assert_allclose(features[:, :, 4:], expected[:, :, 4:], atol=1e-6)
        assert np.isfinite(features).all()
        assert features[:, :, 0].any()


@pytest.mark.parametrize("size", [3e-15, 2e-15, 1e-12, 1e-16, 1e-30])
@pytest.mark.parametrize("orientations", [4, 9])
def test_tiny_gradients_along_an_axis(size, orientations):
    images = np.zeros((2, 8, 8))
    images[0, 4:] = images[1, :, 4:] = size
    parameters = {
        "orientations": orientations,
        "pixels_per_cell": (8, 8),
        "cells_per_block": (1, 1),
        "block_norm": "L1-sqrt",
    }
    features = HOGExtractor(**parameters).fit_transform(images)
    np.testing.assert_array_equal(
        features.argmax(axis=1), reference(images, **parameters).argmax(axis=1)
    )


def test_blank_rows_do_not_matter():
    images = np.zeros((4, 28, 28))
    images[0, 0, 3] = images[1, 27, 5] = images[2, 13, 13] = 1
    images[3, 10:] = 0.5
    features = HOGExtractor(pixels_per_cell=(4, 4)).fit_transform(images)
    expected = reference(images, pixels_per_cell=(4, 4))
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("width", [1, 2, 3, 3000])
def test_narrow_and_wide_images(width):
    images = np.random.RandomState(0).rand(2, 12, width)
    parameters = {"pixels_per_cell": (3, 1), "cells_per_block": (2, 1)}
    features = HOGExtractor(**parameters).fit_transform(images)
    np.testing.assert_allclose(features, reference(images, **parameters), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">u2", np.float16, bool, np.int64])
def test_every_stored_type(dtype):
    images = np.random.RandomState(0).randint(0, 2, size=(2, 24, 24)).astype(dtype)
    factor = 65535 if np.dtype(dtype).kind == "u" else 1
    features = HOGExtractor(pixels_per_cell=(4, 4)).fit_transform(images)
    expected = reference(images.astype(np.float64) / factor, pixels_per_cell=(4, 4))
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("n_channels", [1, 2, 3])
@pytest.mark.parametrize("position", [(1, 0, 0), (4, 24, 5), (0, 25, 5), (2, 27, 27), (3, 13, 26)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("value", "seen"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_images_that_are_not_finite_are_named(n_channels, position, dtype, value, seen):
    # The last rows and columns are beyond the last whole cell, which ends with row 23.
    images = np.random.RandomState(0).rand(5, 28, 28, n_channels).astype(dtype)
    extractor = HOGExtractor(pixels_per_cell=(8, 8)).fit(images)
    images[position][-1] = value
    message = f"{seen}.*: the first one found is in image {position[0]}"
    for chunk_mib in (0.007, 1):
        with pytest.raises(ValueError, match=message):
            extractor.set_params(chunk_mib=chunk_mib).transform(images)
    with pytest.raises(ValueError, match=seen):
        extractor.visualize(images[position[0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_images_of_which_every_pixel_is_at_the_edge_of_a_bin(dtype, n_channels):
    # Planes that rise at 20 degrees, where rounding decides: more pixels than there is room for
    # among those of one strip, and than are handed to NumPy at a time.
    down, right = np.mgrid[:140, :150]
    plane = np.cos(np.deg2rad(20)) * right + np.sin(np.deg2rad(20)) * down
    images = np.random.RandomState(0).rand(4, 140, 150, n_channels)
    images[1:3] = plane[..., np.newaxis] / 200
    images = images.astype(dtype)
    features = HOGExtractor(pixels_per_cell=(10, 10)).fit_transform(images)
    expected = reference(images.astype(np.float64), pixels_per_cell=(10, 10))
    np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


def test_many_pixels_whose_channels_are_equally_strong():
    # More than are looked at closer at a time, among them 5^2 = 3^2 + 4^2, where rounding decides.
    levels = np.random.RandomState(0).choice([0, 30, 40, 50], size=(2, 40, 40, 3)).astype(np.uint8)
    for images in (levels, np.float32(levels / 255), levels / 255):
        features = HOGExtractor(pixels_per_cell=(8, 8)).fit_transform(images)
        scaled = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
        expected = reference(scaled, pixels_per_cell=(8, 8))
        np.testing.assert_allclose(features, expected, atol=1e-6, rtol=0)


def test_an_int_is_height_and_width():
    X = np.random.default_rng(0).random((2, 16, 24))
    features = HOGExtractor(pixels_per_cell=4, cells_per_block=2).fit_transform(X)
    expected = HOGExtractor(pixels_per_cell=(4, 4), cells_per_block=(2, 2)).fit_transform(X)
    np.testing.assert_array_equal(features, expected)


@pytest.mark.parametrize("name", ["orientations", "pixels_per_cell", "cells_per_block"])
def test_true_is_no_number(name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter .* Got True"):
        HOGExtractor(**{name: True}).fit(np.zeros((2, 8, 8)))
