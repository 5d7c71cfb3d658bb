import numpy as np
import pytest
from matplotlib import pyplot
from scipy.ndimage import map_coordinates
from skimage.data import astronaut
from skimage.feature import hog

from skcnn import HOGExtractor
from skcnn.inspection import HOGDisplay

PHOTO = astronaut()[:96, 180:308] / 255


def display_of(image, **parameters):
    return HOGDisplay.from_estimator(HOGExtractor(**parameters).fit(image[np.newaxis]), image)


def histograms_by_loop(image, cell):
    """Return the mean gradient magnitude of each cell and orientation, pixel by pixel."""
    image = image.reshape(*image.shape[:2], -1)
    height, width, n_channels = image.shape
    cells = np.zeros((height // cell[0], width // cell[1], 9))
    for row in range(len(cells) * cell[0]):
        for column in range(cells.shape[1] * cell[1]):
            inner_row, inner_column = 0 < row < height - 1, 0 < column < width - 1
            gradients = [
                (
                    image[row + 1, column, k] - image[row - 1, column, k] if inner_row else 0.0,
                    image[row, column + 1, k] - image[row, column - 1, k] if inner_column else 0.0,
                )
                for k in range(n_channels)
            ]
            down, right = max(gradients, key=lambda pair: np.hypot(*pair))
            angle = np.rad2deg(np.arctan2(down, right)) % 180
            if angle < 180:
                cells[row // cell[0], column // cell[1], int(angle // 20)] += np.hypot(down, right)
    return cells / np.prod(cell)


@pytest.mark.parametrize(
    ("image", "cell"),
    [(PHOTO[..., 0], (8, 8)), (PHOTO, (16, 8)), (PHOTO[:90, :123, 1], (8, 8))],
    ids=["grey", "colour", "with a rest"],
)
def test_histograms_of_a_plain_loop(image, cell):
    display = display_of(image, pixels_per_cell=cell, cells_per_block=(1, 1))
    expected = histograms_by_loop(image, cell)
    assert display.histograms.shape == expected.shape
    np.testing.assert_allclose(display.histograms, expected, atol=1e-9)


def test_lines_lie_where_scikit_image_draws_them():
    display = display_of(PHOTO[..., 0], pixels_per_cell=(16, 16), cells_per_block=(1, 1))
    _, glyphs = hog(PHOTO[..., 0], 9, (16, 16), (1, 1), visualize=True)
    for start, end in display.lines_.get_segments()[-15:]:  # the brightest
        middle, reach = (start + end) / 2, (end - start) / 2
        places = np.linspace(-0.7, 0.7, 15)[:, np.newaxis]
        along, across = middle + places * reach, middle + places * reach[::-1] * [1, -1]
        means = [map_coordinates(glyphs, line.T[::-1], order=1).mean() for line in (along, across)]
        assert means[0] > 1.3 * means[1]


def test_image_and_title():
    display = display_of(PHOTO, pixels_per_cell=(16, 8))
    left, right = display.axes_
    np.testing.assert_array_equal(left.images[0].get_array(), PHOTO)
    assert left.get_title() == "image"
    assert right.get_title() == "6 x 16 cells of 16 x 8 pixels"
    assert right.get_xlim() == left.get_xlim() == (-0.5, 127.5)
    assert right.get_ylim() == left.get_ylim() == (95.5, -0.5)


def test_the_glyph_of_a_slanted_edge_runs_along_it():
    rows, columns = np.mgrid[:16, :16]
    image = np.clip(0.5 + 0.04 * (columns + 0.7 * rows - 13), 0, 1)  # edges fall to the left
    display = display_of(image, pixels_per_cell=(16, 16), cells_per_block=(1, 1), orientations=12)
    start, end = display.lines_.get_segments()[-1]  # the brightest is drawn last
    np.testing.assert_allclose((start + end) / 2, [7.5, 7.5])
    right, down = end - start
    assert np.hypot(right, down) == pytest.approx(0.9 * 16)
    assert abs(right + 0.7 * down) < 0.15 * 16  # within half a bin of the edge's direction
    assert display.lines_.get_colors()[-1].tolist() == [1, 1, 1, 1]


def test_a_line_for_each_bin_that_can_be_seen():
    histograms = np.zeros((2, 3, 4))
    histograms[0, 0, 0], histograms[1, 2, 2], histograms[1, 2, 3] = 4.0, 1.0, 0.01
    display = HOGDisplay(np.zeros((8, 12)), histograms, (4, 4)).plot()
    segments = np.array(display.lines_.get_segments())
    assert len(segments) == 2
    assert sorted(map(tuple, segments.mean(axis=1))) == [(1.5, 1.5), (9.5, 5.5)]
    np.testing.assert_allclose(display.lines_.get_colors()[:, 3], [0.25, 1])


@pytest.mark.parametrize("image", [np.full((8, 8), 0.3), np.zeros((16, 8, 3))])
def test_flat_images_have_no_lines(image):
    display = display_of(image)
    assert len(display.lines_.get_segments()) == 0
    display.figure_.draw_without_rendering()


def test_signals():
    signal = np.sin(np.arange(40.0))
    display = HOGDisplay.from_estimator(HOGExtractor().fit([signal]), signal)
    assert display.axes_[1].get_title() == "1 x 40 cells of 1 x 1 pixels"
    display.figure_.draw_without_rendering()


def test_what_the_extractor_refuses():
    fitted = HOGExtractor(transform_sqrt=True).fit(PHOTO[np.newaxis])
    with pytest.raises(ValueError, match="negative"):
        HOGDisplay.from_estimator(fitted, -PHOTO)


def test_on_given_axes():
    figure, axes = pyplot.subplots(1, 2)
    fitted = HOGExtractor().fit(PHOTO[np.newaxis])
    display = HOGDisplay.from_estimator(fitted, PHOTO, axes=axes)
    assert display.figure_ is figure
    assert display.axes_ == tuple(axes)
    with pytest.raises(ValueError, match="axes must be 2 matplotlib Axes, one a panel, got 3"):
        display.plot(axes=[*axes, axes[0]])
