import numpy as np
import pytest
from skimage import data
from skimage.color import rgb2gray
from skimage.feature import SIFT

from skcnn import SIFTExtractor
from tests.features.reference_sift import describe_at, smoothed_gradients

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}


@pytest.fixture(scope="module")
def photo():
    return data.camera()[100:124, 200:230] / 255


def reference(image, extractor, bin_size):
    """Return the descriptors of one scale, flat."""
    gradients = smoothed_gradients(image, bin_size, extractor.magnification)
    return np.stack(
        [
            describe_at(*gradients, *point, bin_size, extractor.window, extractor.root_sift)
            for point in extractor.positions_
        ]
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"window": "flat"},
        {"magnification": None, "root_sift": True},
        {"bin_size": 5.5, "step": 3, "margin": 0},
        {"bin_size": 3, "window": "flat", "magnification": 1.5, "margin": 2.5},
    ],
)
def test_it_is_lowes_definition(photo, dtype, parameters):
    images = np.stack([photo, photo[::-1, ::-1]]).astype(dtype)
    extractor = SIFTExtractor(**parameters).fit(images)
    descriptors = extractor.transform(images)
    assert descriptors.dtype == dtype
    for image, ours in zip(images, descriptors, strict=True):
        expected = reference(image, extractor, *extractor.bin_sizes_)
        np.testing.assert_allclose(ours.reshape(expected.shape), expected, atol=TOLERANCE[dtype])


def test_the_order_of_values_is_scikit_images(photo):
    # scikit-image at one upright keypoint of our choice: its descriptor is in whole numbers, and
    # its window is cut one bin and a half beyond the centres of the outer bins as ours is.
    image = data.camera() / 255
    row, column, sigma = 201, 255, 4 / 3
    theirs = SIFT(upsampling=1, n_octaves=1, n_scales=1)
    theirs.float_dtype = np.float64
    theirs.positions, theirs.scales = np.array([[row, column]], float), np.array([0])
    theirs.sigmas, theirs.orientations = np.array([sigma]), np.zeros(1)
    theirs.octaves = np.zeros(1)
    by_row, by_column = smoothed_gradients(image, 4, 3)
    theirs._compute_descriptor([(by_row[..., np.newaxis], by_column[..., np.newaxis])])
    patch = image[row - 20 : row + 21, column - 20 : column + 21]
    ours = SIFTExtractor(bin_size=4, margin=20).fit_transform(patch[np.newaxis]).ravel()
    np.testing.assert_allclose(512 * ours, theirs.descriptors[0], atol=3)
    assert theirs.descriptors.max() > 60


def test_scales_share_one_grid(photo):
    X = np.stack([photo, photo.T[:24, :24].repeat(2, axis=1)[:, :30]])
    sizes = (2, 3.5, 5)
    extractor = SIFTExtractor(step=5, bin_size=sizes, margin=4).fit(X)
    together = extractor.transform(X)
    assert together.shape == (2, 3, 4, 5, 128)
    assert extractor.bin_sizes_ == sizes
    for scale, size in enumerate(sizes):
        alone = SIFTExtractor(step=5, bin_size=size, margin=4).fit(X)
        np.testing.assert_array_equal(alone.positions_, extractor.positions_)
        np.testing.assert_array_equal(together[:, scale], alone.transform(X))
    only = SIFTExtractor(step=5, bin_size=[2], margin=4).fit_transform(X)
    np.testing.assert_array_equal(only, together[:, 0])


@pytest.mark.parametrize("size", [(28, 28), (29, 31), (17, 16), (64, 40)])
@pytest.mark.parametrize("margin", ["auto", 0, 3, 5.5])
def test_the_grid_is_centred_and_as_dense_as_asked(size, margin):
    extractor = SIFTExtractor(step=4, bin_size=4, margin=margin).fit(np.zeros((1, *size)))
    n_rows, n_columns = extractor.transform(np.zeros((1, *size))).shape[1:3]
    positions = extractor.positions_.reshape(n_rows, n_columns, 2)
    kept = 5.5 if margin == "auto" else margin
    for axis, length in enumerate(size):
        points = np.unique(positions[..., axis])
        np.testing.assert_array_equal(np.diff(points), 4)
        first, beyond = points[0], length - 1 - points[-1]
        assert first == beyond
        assert kept <= first < kept + 2
    assert (np.diff(positions[..., 0], axis=0) == 4).all()
    assert (np.diff(positions[..., 1], axis=1) == 4).all()


def test_grid_of_mnist_and_smaller_images():
    def shape_of(*size):
        extractor = SIFTExtractor().fit(np.zeros((1, *size)))
        return extractor.bin_sizes_, extractor.step_, extractor._result_shape[:2]

    assert shape_of(28, 28) == ((4,), 2, (9, 9))
    assert shape_of(64, 128) == ((4,), 2, (27, 59))
    assert shape_of(8, 8) == ((2,), 1, (3, 3))
    assert shape_of(3, 50) == ((1,), 1, (1, 48))
    assert shape_of(16, 15) == ((3,), 1, (8, 7))
    assert shape_of(1, 10) == ((2,), 1, (1, 5))
    assert shape_of(1, 2) == ((1,), 1, (1, 1))
    assert shape_of(1, 1) == ((1,), 1, (1, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("value", [0, 1, 77, 255])
@pytest.mark.parametrize("root_sift", [False, True])
def test_flat_images_are_zeros(dtype, value, root_sift):
    X = np.full((2, 27, 33), value).astype(dtype)
    extractor = SIFTExtractor(bin_size=(2, 4, 6.5), root_sift=root_sift)
    descriptors = extractor.fit_transform(X / 3 if X.dtype.kind == "f" else X)
    assert not descriptors.any()


def test_flat_patches_of_other_images_are_zeros(photo):
    X = np.full((1, 40, 60), 0.3, np.float32)
    X[0, :24, :30] = photo
    extractor = SIFTExtractor(bin_size=2, step=2).fit(X)
    norms = np.linalg.norm(extractor.transform(X)[0].reshape(-1, 128), axis=1)
    rows, columns = extractor.positions_.T
    far = (rows > 24 + 12) | (columns > 30 + 12)
    assert far.any()
    assert not norms[far].any()
    np.testing.assert_allclose(norms[(rows < 24) & (columns < 30)], 1, rtol=1e-5)


def test_moving_by_a_step_moves_the_grid():
    image = data.camera()[:96, :96] / 255
    extractor = SIFTExtractor(step=4, bin_size=4).fit(image[np.newaxis, :64, :64])
    before, after = extractor.transform(np.stack([image[:64, :64], image[4:68, 8:72]]))
    # Those that the borders do not reach, neither before nor after.
    np.testing.assert_allclose(after[3:10, 3:9], before[4:11, 5:11], atol=1e-10)


@pytest.mark.parametrize(
    ("factor", "dtype"),
    [(factor, dtype) for factor in (1e-30, 0.37, 2, 1e30) for dtype in TOLERANCE]
    + [(1e-200, np.float64)],
)
def test_contrast_and_brightness_do_not_matter(photo, factor, dtype):
    X = photo[np.newaxis].astype(dtype)
    extractor = SIFTExtractor().fit(X)
    expected = extractor.transform(X)
    scaled = extractor.transform((X * dtype(factor)).astype(dtype))
    np.testing.assert_allclose(scaled, expected, atol=TOLERANCE[dtype])
    shifted = extractor.transform(X + dtype(0.5))
    np.testing.assert_allclose(shifted, expected, atol=TOLERANCE[dtype])


def test_turning_the_image_turns_bins_and_orientations(photo):
    X = photo[np.newaxis, :24, :24]
    straight = SIFTExtractor(bin_size=3).fit_transform(X)[0]
    turned = SIFTExtractor(bin_size=3).fit_transform(np.rot90(X, axes=(1, 2)))[0]
    # A quarter turn to the left: down becomes right, so angles grow by pi/2, two bins.
    grid = np.rot90(straight.reshape(*straight.shape[:2], 4, 4, 8), axes=(0, 1))
    expected = np.roll(np.rot90(grid, axes=(2, 3)), 2, axis=-1)
    np.testing.assert_allclose(turned, expected.reshape(turned.shape), atol=1e-10)


def test_lengths_are_one_and_few_values_above_the_clip(photo):
    descriptors = SIFTExtractor().fit_transform(photo[np.newaxis]).reshape(-1, 128)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-12)
    assert (descriptors >= 0).all()


def test_root_sift_is_the_root_of_shares(photo):
    plain = SIFTExtractor().fit_transform(photo[np.newaxis])
    root = SIFTExtractor(root_sift=True).fit_transform(photo[np.newaxis])
    np.testing.assert_allclose(root, np.sqrt(plain / plain.sum(axis=-1, keepdims=True)), 1e-10)
    np.testing.assert_allclose((root**2).sum(axis=-1), 1, rtol=1e-12)


@pytest.fixture(scope="module")
def colour():
    return data.astronaut()[np.newaxis, 60:90, 200:230] / 255


class TestColour:
    def test_grey_is_the_luminance(self, colour):
        ours = SIFTExtractor().fit_transform(colour)
        np.testing.assert_allclose(
            ours, SIFTExtractor().fit_transform(rgb2gray(colour)), atol=1e-10
        )

    def test_two_channels_are_averaged(self, colour):
        ours = SIFTExtractor().fit_transform(colour[..., :2])
        mean = colour[..., :2].mean(axis=-1)
        np.testing.assert_allclose(ours, SIFTExtractor().fit_transform(mean), atol=1e-10)

    def test_channels_are_joined(self, colour):
        extractor = SIFTExtractor(color="channels", bin_size=(2, 4))
        ours = extractor.fit_transform(colour)
        grey = SIFTExtractor(bin_size=(2, 4))
        alone = [grey.fit_transform(colour[..., c]) for c in range(3)]
        np.testing.assert_allclose(ours, np.concatenate(alone, axis=-1), atol=1e-10)

    def test_opponent_colours(self, colour):
        red, green, blue = np.moveaxis(colour, -1, 0)
        planes = [
            (red + green + blue) / np.sqrt(3),
            (red - green) / np.sqrt(2),
            (red + green - 2 * blue) / np.sqrt(6),
        ]
        ours = SIFTExtractor(color="opponent").fit_transform(colour)
        alone = [SIFTExtractor().fit_transform(plane) for plane in planes]
        np.testing.assert_allclose(ours, np.concatenate(alone, axis=-1), atol=1e-9)

    def test_opponent_colours_need_three_channels(self, colour):
        with pytest.raises(ValueError, match="3 channels, got 2"):
            SIFTExtractor(color="opponent").fit(colour[..., :2])


def test_images_too_small_for_a_bin_size_are_refused():
    with pytest.raises(ValueError, match=r"15 x 20 pixels.*bin_size=4.*16 x 16"):
        SIFTExtractor(bin_size=(2, 4)).fit(np.zeros((1, 15, 20)))
    with pytest.raises(ValueError, match=r"margin=5 .*8 pixels.*above 3.5"):
        SIFTExtractor(margin=5).fit(np.zeros((1, 8, 20)))


@pytest.mark.parametrize("bin_size", [(), (2, 0.5), [[1, 2]], ["a"], 0.5])
def test_bin_sizes_that_are_none_are_refused(bin_size):
    with pytest.raises(ValueError, match="bin_size"):
        SIFTExtractor(bin_size=bin_size).fit(np.zeros((1, 20, 20)))


def test_set_params_changes_the_next_fit_only(photo):
    X = photo[np.newaxis]
    extractor = SIFTExtractor().fit(X)
    expected = extractor.transform(X)
    extractor.set_params(root_sift=True, window="flat", step=7, bin_size=3, keypoints="dog")
    np.testing.assert_array_equal(extractor.transform(X), expected)


def test_images_that_must_not_be_written_to(photo):
    X = photo[np.newaxis].astype(np.float32)
    expected = SIFTExtractor().fit_transform(X)
    X.flags.writeable = False
    np.testing.assert_array_equal(SIFTExtractor().fit_transform(X), expected)


def test_keypoints_of_a_grid(photo):
    extractor = SIFTExtractor(bin_size=(3, 6)).fit(photo[np.newaxis])
    positions, scales, orientations = extractor.keypoints_of(photo)
    n_points = len(extractor.positions_)
    np.testing.assert_array_equal(positions, np.tile(extractor.positions_, (2, 1)))
    np.testing.assert_array_equal(scales, [1] * n_points + [2] * n_points)
    assert not orientations.any()
    with pytest.raises(ValueError, match=r"\(10, 10\).*\(24, 30\)"):
        extractor.keypoints_of(np.zeros((10, 10)))


@pytest.mark.parametrize("bin_size", [[2, np.nan], np.inf, [], [[2]], "large", 0.5])
def test_bins_that_are_no_sizes_are_refused(bin_size):
    with pytest.raises(ValueError, match="bin_size"):
        SIFTExtractor(bin_size=bin_size).fit(np.zeros((1, 20, 20)))


def test_smoothing_everything_away_is_refused():
    with pytest.raises(ValueError, match=r"magnification=0.1 .* 20 x 24 pixels by 40 pixels"):
        SIFTExtractor(bin_size=4, magnification=0.1).fit(np.zeros((1, 20, 24)))
    with pytest.raises(ValueError, match="magnification=1e-09"):
        SIFTExtractor(magnification=1e-9).fit(np.zeros((1, 20, 24)))
