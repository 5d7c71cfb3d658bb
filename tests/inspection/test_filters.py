import numpy as np
import pytest
from matplotlib import pyplot
from scipy.ndimage import correlate, median_filter

from skcnn import ConvolutionFilter
from skcnn.inspection import FilterDisplay

RNG = np.random.default_rng(0)
GREY = RNG.uniform(size=(12, 16))
COLOUR = RNG.uniform(size=(12, 16, 3))


def display_of(image, kernel, **parameters):
    fitted = ConvolutionFilter(kernel, **parameters).fit(image[np.newaxis])
    return FilterDisplay.from_estimator(fitted, image)


def shown(ax):
    return np.asarray(ax.images[0].get_array())


def titles(display):
    return [ax.get_title() for ax in display.axes_]


def written(ax):
    return [text.get_text() for text in ax.texts]


def test_kernel_image_and_response_of_a_derivative():
    display = display_of(GREY, "sobel", direction="horizontal")
    sobel = np.outer([1, 2, 1], [-1, 0, 1]) / 4
    assert titles(display) == ["kernel", "image", "response"]
    kernel, image, response = display.axes_
    np.testing.assert_allclose(shown(kernel), sobel)
    np.testing.assert_array_equal(shown(image), GREY)
    np.testing.assert_allclose(shown(response), correlate(GREY, sobel), atol=1e-12)
    minus = "\N{MINUS SIGN}"
    assert written(kernel) == f"{minus}0.25 0 0.25 {minus}0.5 0 0.5 {minus}0.25 0 0.25".split()
    low, high = response.images[0].get_clim()
    assert low == -high < 0  # white is no response
    assert response.images[0].get_cmap().name == "RdBu_r"
    assert len(display.colorbars_) == 1


def test_two_kernels_of_a_magnitude():
    display = display_of(GREY, "scharr")
    assert titles(display) == ["kernel, horizontal", "kernel, vertical", "image", "response"]
    np.testing.assert_array_equal(shown(display.axes_[0]), shown(display.axes_[1]).T)
    assert display.axes_[-1].images[0].get_cmap().name == "gray"
    assert shown(display.axes_[-1]).min() >= 0


def test_the_median_has_no_kernel():
    display = display_of(GREY, "median")
    assert titles(display) == ["image", "response"]
    np.testing.assert_array_equal(shown(display.axes_[1]), median_filter(GREY, 3))
    assert display.axes_[1].images[0].get_clim() == (0, 1)
    assert display.colorbars_ == ()


def test_a_smoothed_colour_image_is_in_colour():
    display = display_of(COLOUR, "box", flatten=True)
    kernel, image, response = display.axes_
    assert set(written(kernel)) == {"0.111"}
    np.testing.assert_array_equal(shown(image), COLOUR)
    expected = correlate(COLOUR, np.full((3, 3, 1), 1 / 9))
    np.testing.assert_allclose(shown(response), expected, atol=1e-12)


def test_the_edges_of_a_colour_image_are_the_mean_of_its_channels():
    display = display_of(COLOUR, "laplacian")
    laplacian = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[..., np.newaxis]
    expected = correlate(COLOUR, laplacian).mean(axis=-1)
    np.testing.assert_allclose(shown(display.axes_[2]), expected, atol=1e-12)


def test_a_large_kernel_has_a_colour_bar_and_no_numbers():
    display = display_of(GREY, "gaussian")
    assert not written(display.axes_[0])
    assert len(display.colorbars_) == 1
    low, high = display.axes_[0].images[0].get_clim()
    assert -low == high == display.kernels[0].max()


def test_stronger_responses_than_most_point_the_colour_bar():
    image = np.zeros((30, 30))
    image[:, 15:] = 0.1
    image[5, 5] = 1.0
    display = display_of(image, "sobel", direction="horizontal")
    response = display.axes_[-1].images[0]
    assert response.get_clim()[1] == pytest.approx(0.1)  # 60 of 900 at the step, 6 at the pixel
    assert display.colorbars_[-1].extend == "both"
    assert display_of(GREY[:6, :6], "laplacian").colorbars_[-1].extend == "neither"


def test_lecture_filter_on_the_lecture_image():
    rows = ["100001", "010010", "001100", "100010", "010010", "001010"]
    image = np.array([[int(pixel) for pixel in row] for row in rows])
    kernel = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    display = display_of(image, kernel, flip=False, mode="valid")
    expected = [[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]]
    np.testing.assert_array_equal(shown(display.axes_[2]), expected)
    assert display.axes_[2].images[0].get_clim() == (-3, 3)


def test_constant_images_and_signals():
    display = display_of(np.full((6, 6), 0.5), "laplacian")
    low, high = display.axes_[-1].images[0].get_clim()
    assert low < 0 < high
    signal = ConvolutionFilter([1, 2, 1], mode="valid").fit([[1, 1, 2]])
    display = FilterDisplay.from_estimator(signal, [1, 1, 2])
    assert shown(display.axes_[2]).tolist() == [[5]]
    display.figure_.draw_without_rendering()


def test_on_given_axes():
    fitted = ConvolutionFilter("median").fit(GREY[np.newaxis])
    figure, axes = pyplot.subplots(2, 1)
    display = FilterDisplay.from_estimator(fitted, GREY, axes=axes)
    assert display.figure_ is figure
    assert display.axes_ == tuple(axes)
    with pytest.raises(ValueError, match="axes must be 2 matplotlib Axes, one a panel, got 1"):
        display.plot(axes=axes[0])


def test_set_params_changes_the_next_fit_only():
    fitted = ConvolutionFilter("box").fit(GREY[np.newaxis])
    before = shown(FilterDisplay.from_estimator(fitted, GREY).axes_[2])
    fitted.set_params(kernel="sobel", stride=2, flatten=True)
    np.testing.assert_array_equal(
        shown(FilterDisplay.from_estimator(fitted, GREY).axes_[2]), before
    )
