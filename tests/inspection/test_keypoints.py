import numpy as np
import pytest
from matplotlib import pyplot
from skimage.data import camera
from skimage.feature import SIFT

from skcnn import SIFTExtractor
from skcnn.inspection import KeypointsDisplay

PHOTO = camera()[100:228, 150:278]


@pytest.fixture(scope="module")
def found():
    sift = SIFT()
    sift.detect(PHOTO / 255)
    return sift


@pytest.fixture(scope="module")
def dog():
    return SIFTExtractor("dog").fit(PHOTO[np.newaxis] / 255)


def display_of_grid(shape, **parameters):
    image = np.random.default_rng(0).uniform(size=shape)
    fitted = SIFTExtractor(**parameters).fit(image[np.newaxis])
    return KeypointsDisplay.from_estimator(fitted, image)


def paths(lines):
    """Return the corners of lines as rows and columns, each path without its way back."""
    return [path.vertices[:, ::-1] for path in lines.get_paths()]


def test_circles_at_the_keypoints_of_scikit_image(dog, found):
    display = KeypointsDisplay.from_estimator(dog, PHOTO / 255, max_keypoints=1000)
    np.testing.assert_array_equal(display.ax_.images[0].get_array(), PHOTO / 255)
    order = np.argsort(-found.sigmas, kind="stable")
    centres = display.markers_.get_offsets()[:, ::-1]
    np.testing.assert_allclose(centres, found.positions[order], atol=1e-9)
    np.testing.assert_allclose(
        display.markers_.get_widths(), 2 * np.sqrt(2) * found.sigmas[order], rtol=1e-9
    )
    assert display.ax_.get_title() == f"{len(found.positions)} keypoints"


def test_lines_point_from_the_centre_to_the_circle(dog, found):
    display = KeypointsDisplay.from_estimator(dog, PHOTO / 255, max_keypoints=1000)
    lines = paths(display.lines_)
    order = np.argsort(-found.sigmas, kind="stable")
    assert len(lines) == len(found.positions)
    for (start, end), i in zip(lines, order, strict=True):
        np.testing.assert_allclose(start, found.positions[i], atol=1e-9)
        down, right = end - start
        assert np.hypot(down, right) == pytest.approx(np.sqrt(2) * found.sigmas[i])
        turn = np.arctan2(right, down) - found.orientations[i]
        assert np.cos(turn) == pytest.approx(1)


def test_only_the_largest_are_drawn(dog, found):
    display = KeypointsDisplay.from_estimator(dog, PHOTO / 255, max_keypoints=5)
    widths = display.markers_.get_widths()
    np.testing.assert_allclose(widths, 2 * np.sqrt(2) * np.sort(found.sigmas)[:-6:-1])
    assert len(display.lines_.get_paths()) == 5
    assert display.ax_.get_title() == f"{len(found.positions)} keypoints, the 5 largest shown"
    assert len(display.positions) == len(found.positions)


def test_an_image_without_keypoints(dog):
    display = KeypointsDisplay.from_estimator(dog, np.zeros_like(PHOTO, dtype=float))
    assert display.ax_.get_title() == "0 keypoints"
    assert len(display.markers_.get_offsets()) == 0
    display.figure_.draw_without_rendering()


def test_a_grid_is_a_dot_a_point_and_the_patch_of_its_middle():
    display = display_of_grid((28, 28), bin_size=4, step=5)
    # A bin's centre stays inside: 5.5 pixels of margin, three steps of 5 around the middle, 13.5.
    coordinates = np.array([6.0, 11.0, 16.0, 21.0])
    expected = [(row, column) for row in coordinates for column in coordinates]
    np.testing.assert_allclose(display.markers_.get_offsets()[:, ::-1], expected)
    (outline,) = paths(display.lines_)
    np.testing.assert_allclose(outline.min(axis=0), [11 - 8, 11 - 8])
    np.testing.assert_allclose(outline.max(axis=0), [11 + 8, 11 + 8])
    assert display.ax_.get_title() == "4 x 4 points, patches of 16 pixels"


def test_a_patch_of_each_scale():
    display = display_of_grid((31, 47, 3), bin_size=(4, 6.5), step=4)
    sides = [np.ptp(outline, axis=0) for outline in paths(display.lines_)]
    np.testing.assert_allclose(sides, [[16, 16], [26, 26]])
    for outline in paths(display.lines_):
        np.testing.assert_allclose((outline.min(axis=0) + outline.max(axis=0)) / 2, [15, 23])
    assert display.ax_.get_title().endswith("patches of 16 and 26 pixels")


def test_there_is_room_for_a_patch_beyond_the_image():
    display = display_of_grid((8, 8), bin_size=2, step=2)  # points at 2.5 and 4.5
    assert display.ax_.get_xlim() == (2.5 - 4, 7.5)
    assert display.ax_.get_ylim() == (7.5, 2.5 - 4)
    display = display_of_grid((28, 28))
    assert display.ax_.get_xlim() == (-0.5, 27.5)


def test_one_point_and_signals():
    assert display_of_grid((8, 8), margin=3.5, bin_size=2).ax_.get_title() == (
        "1 point, a patch of 8 pixels"
    )
    signal = np.sin(np.arange(50.0))
    fitted = SIFTExtractor().fit([signal])
    display = KeypointsDisplay.from_estimator(fitted, signal)
    assert len(display.markers_.get_offsets()) == len(fitted.positions_)
    display.figure_.draw_without_rendering()


def test_on_given_axes(dog):
    figure, ax = pyplot.subplots()
    display = KeypointsDisplay.from_estimator(dog, PHOTO / 255, ax=ax)
    assert display.figure_ is figure
    assert display.ax_ is ax


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "all"])
def test_bad_max_keypoints(dog, value):
    with pytest.raises(ValueError, match="max_keypoints must be an int of at least 1"):
        KeypointsDisplay.from_estimator(dog, PHOTO / 255, max_keypoints=value)
