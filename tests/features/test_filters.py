"""ConvolutionFilter against scipy.ndimage, scipy.signal and skimage.filters."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, signal
from skimage import filters
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcnn import ConvolutionFilter, HOGExtractor

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
NAMES = ["box", "gaussian", "median", "sobel", "prewitt", "scharr", "laplacian", "log", "sharpen"]


def images(*shape, seed=0):
    return np.random.RandomState(seed).rand(*shape)


class TestFactsOfTheLecture:
    def test_convolution_of_a_signal(self):
        f = [[1, 1, 2]]
        valid = ConvolutionFilter([1, 2, 1], mode="valid").fit_transform(f)
        normalised = ConvolutionFilter([1, 2, 1], mode="valid", normalize=True).fit_transform(f)
        assert valid.tolist() == [[[5]]]
        assert normalised.tolist() == [[[5 / 4]]]

    def test_box_filter(self):
        image = [
            [1, 2, 0, 1, 3],
            [2, 1, 4, 2, 2],
            [1, 0, 1, 0, 1],
            [1, 2, 1, 0, 2],
            [2, 5, 3, 1, 2],
        ]
        smooth = ConvolutionFilter("box", mode="valid").fit_transform([image])
        expected = [[12, 11, 14], [13, 11, 13], [16, 13, 11]]
        np.testing.assert_allclose(smooth[0] * 9, expected, rtol=1e-14)

    @pytest.mark.parametrize("flip", [True, False])  # the kernel is the same turned round
    def test_diagonal_filter_at_both_strides(self, flip):
        rows = ["100001", "010010", "001100", "100010", "010010", "001010"]
        image = [[int(pixel) for pixel in row] for row in rows]
        kernel = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
        at_one = ConvolutionFilter(kernel, mode="valid", flip=flip).fit_transform([image])[0]
        at_two = ConvolutionFilter(kernel, mode="valid", flip=flip, stride=2).fit_transform([image])
        expected = [[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]]
        assert at_one.tolist() == expected
        assert at_two.tolist() == [[[3, -3], [-3, 0]]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(3, 3), (1, 4), (5, 2), (7, 8), (9, 9)])
class TestArraysOfWeights:
    def test_convolution_is_that_of_scipy(self, shape, mode):
        X, kernel = images(3, 8, 11), images(*shape, seed=1) - 0.5
        expected = [ndimage.convolve(image, kernel, mode=mode, cval=0.3) for image in X]
        filtered = ConvolutionFilter(kernel, mode=mode, cval=0.3).fit_transform(X)
        np.testing.assert_allclose(filtered, expected, atol=1e-12)

    def test_correlation_is_that_of_scipy(self, shape, mode):
        X, kernel = images(3, 8, 11), images(*shape, seed=1) - 0.5
        expected = [ndimage.correlate(image, kernel, mode=mode, cval=0.3) for image in X]
        filtered = ConvolutionFilter(kernel, mode=mode, cval=0.3, flip=False).fit_transform(X)
        np.testing.assert_allclose(filtered, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (6, 1), (8, 11)])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
def test_valid_windows_are_those_of_scipy(shape, stride):
    X, kernel = images(3, 8, 11), images(*shape, seed=1) - 0.5
    down, across = np.broadcast_to(stride, 2)
    for flip, function in [(True, signal.convolve2d), (False, signal.correlate2d)]:
        expected = np.array([function(image, kernel, "valid") for image in X])[:, ::down, ::across]
        filter_ = ConvolutionFilter(kernel, mode="valid", stride=stride, flip=flip)
        np.testing.assert_allclose(filter_.fit_transform(X), expected, atol=1e-12)


def test_a_stride_takes_every_so_manieth_of_all_windows():
    X = images(3, 8, 11, 3)
    whole = ConvolutionFilter("sobel").fit_transform(X)
    strided = ConvolutionFilter("sobel", stride=(2, 3)).fit_transform(X)
    np.testing.assert_array_equal(strided, whole[:, ::2, ::3])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("parameters", "function"),
    [
        ({"kernel": "box"}, lambda image, **border: ndimage.uniform_filter(image, 3, **border)),
        (
            {"kernel": "box", "size": (5, 2)},
            lambda image, **border: ndimage.uniform_filter(image, (5, 2), **border),
        ),
        (
            {"kernel": "gaussian"},
            lambda image, **border: ndimage.gaussian_filter(image, 1, **border),
        ),
        (
            {"kernel": "gaussian", "sigma": 1.7},
            lambda image, **border: ndimage.gaussian_filter(image, 1.7, **border),
        ),
        ({"kernel": "median"}, lambda image, **border: ndimage.median_filter(image, 3, **border)),
        (
            {"kernel": "median", "size": (5, 2)},
            lambda image, **border: ndimage.median_filter(image, (5, 2), **border),
        ),
        ({"kernel": "laplacian"}, ndimage.laplace),
        ({"kernel": "log"}, lambda image, **border: ndimage.gaussian_laplace(image, 1, **border)),
        (
            {"kernel": "log", "sigma": 2.5},
            lambda image, **border: ndimage.gaussian_laplace(image, 2.5, **border),
        ),
        (
            {"kernel": "sharpen"},
            lambda image, **border: image - ndimage.laplace(image, **border),
        ),
        (
            {"kernel": "sobel", "direction": "horizontal"},
            lambda image, **border: ndimage.sobel(image, 1, **border) / 4,
        ),
        (
            {"kernel": "prewitt", "direction": "vertical"},
            lambda image, **border: ndimage.prewitt(image, 0, **border) / 3,
        ),
    ],
)
def test_kernels_with_a_name_are_those_of_scipy(parameters, function, mode):
    X = images(2, 14, 17)
    expected = [function(image, mode=mode, cval=0.0) for image in X]
    filtered = ConvolutionFilter(mode=mode, **parameters).fit_transform(X)
    np.testing.assert_allclose(filtered, expected, atol=1e-12)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("name", ["sobel", "prewitt", "scharr"])
def test_gradients_are_those_of_scikit_image(name, flip):
    X = images(2, 14, 17)
    # scikit-image names the edges that a derivative answers to, not its direction.
    for direction, suffix in [("horizontal", "_v"), ("vertical", "_h"), ("magnitude", "")]:
        filtered = ConvolutionFilter(name, direction=direction, flip=flip).fit_transform(X)
        expected = [getattr(filters, name + suffix)(image) for image in X]
        np.testing.assert_allclose(filtered, expected, atol=1e-14)


@pytest.mark.parametrize("factor", [1e30, 1e-30])
@pytest.mark.parametrize("name", ["sobel", "prewitt", "scharr"])
def test_gradients_whose_squares_are_no_numbers(name, factor):
    X = images(2, 14, 17).astype(np.float32)
    filtered = ConvolutionFilter(name).fit_transform(X * np.float32(factor))
    assert filtered.dtype == np.float32
    expected = [getattr(filters, name)(image.astype(float)) for image in X]
    np.testing.assert_allclose(filtered / factor, expected, atol=1e-6)
    constant = ConvolutionFilter(name).fit_transform(np.full((1, 8, 8), factor, np.float32))
    np.testing.assert_allclose(constant / factor, 0, atol=1e-7)


def test_derivatives_are_right_minus_left_and_bottom_minus_top():
    ramp = np.arange(5.0) / 2
    for kernel in ("sobel", "prewitt", "scharr"):
        for direction, image in [
            ("horizontal", np.tile(ramp, (5, 1))),
            ("vertical", np.tile(ramp[:, None], 5)),
        ]:
            filter_ = ConvolutionFilter(kernel, direction=direction, mode="valid")
            np.testing.assert_allclose(filter_.fit_transform([image]), 1, rtol=1e-14)


def test_median_removes_single_wrong_pixels():
    image = np.tile(np.linspace(0, 1, 20), (20, 1))
    noisy = image.copy()
    noisy[3::5, 2::5] = 1
    noisy[5::5, 4::5] = 0
    expected = ndimage.median_filter(image, 3)
    filtered = ConvolutionFilter("median").fit_transform([noisy])[0]
    assert np.abs(filtered - expected).max() < 0.06
    assert np.abs(noisy - expected).max() > 0.8


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (1, 1)])
@pytest.mark.parametrize("mode", ["reflect", "nearest", "mirror", "wrap"])
@pytest.mark.parametrize("name", NAMES)
def test_in_one_row_a_kernel_sees_what_it_would_see_in_equal_rows(name, mode, shape):
    X = images(2, *shape)
    sides = 12 if shape[0] == 1 else 1, 12 if shape[1] == 1 else 1
    equal = np.tile(X, (1, *sides))  # in which the missing direction has no change
    filtered = ConvolutionFilter(name, mode=mode).fit_transform(X)
    expected = ConvolutionFilter(name, mode=mode).fit_transform(equal)
    np.testing.assert_allclose(
        filtered, expected[:, : shape[0], : shape[1]], atol=1e-3 if name == "log" else 1e-12
    )


def test_kernels_with_a_name_suit_signals_without_border():
    signals = images(2, 1, 30)
    smooth = ConvolutionFilter("box", mode="valid").fit_transform(signals)
    expected = [np.convolve(row[0], np.ones(3) / 3, "valid") for row in signals]
    np.testing.assert_allclose(smooth[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("kernel", [*NAMES, np.ones((3, 2))])
@pytest.mark.parametrize("mode", ["reflect", "valid"])
def test_channels_are_filtered_on_their_own_and_stay_where_they_are(kernel, mode):
    X = images(3, 12, 14, 3)
    filtered = ConvolutionFilter(kernel, mode=mode).fit_transform(X)
    for channel in range(3):
        grey = ConvolutionFilter(kernel, mode=mode).fit_transform(X[..., channel])
        np.testing.assert_allclose(filtered[..., channel], grey, atol=1e-14)
    for axis in (1, 2, -2):
        moved = ConvolutionFilter(kernel, mode=mode, channel_axis=axis)
        actual = moved.fit_transform(np.moveaxis(X, -1, axis))
        np.testing.assert_array_equal(actual, np.moveaxis(filtered, -1, axis))


def test_flat_rows_become_images():
    X = images(3, 6, 8, 3)
    expected = ConvolutionFilter("sobel").fit_transform(X)
    rows = ConvolutionFilter("sobel", image_shape=(6, 8, 3)).fit_transform(X.reshape(3, -1))
    np.testing.assert_array_equal(rows, expected)
    one_channel = ConvolutionFilter("sobel").fit_transform(X[..., :1])
    np.testing.assert_array_equal(one_channel, expected[..., 0])


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3)])
def test_flat_features_are_the_filtered_images_in_rows(shape):
    X = images(3, *shape)
    expected = ConvolutionFilter("box", stride=2).fit_transform(X)
    flat = ConvolutionFilter("box", stride=2, flatten=True)
    np.testing.assert_array_equal(flat.fit_transform(X), expected.reshape(3, -1))
    assert flat.get_feature_names_out()[-1] == f"convolutionfilter{expected[0].size - 1}"
    frame = flat.set_output(transform="pandas").fit_transform(X)
    assert frame.columns.tolist() == flat.get_feature_names_out().tolist()
    assert not hasattr(ConvolutionFilter(), "get_feature_names_out")


@pytest.mark.parametrize("axis", [-1, 1])
def test_a_pipeline_goes_on_with_the_images(axis):
    X = np.moveaxis(images(4, 16, 20, 3), -1, axis)
    filter_, hog = ConvolutionFilter("gaussian", channel_axis=axis), HOGExtractor(channel_axis=axis)
    smooth = [
        [ndimage.gaussian_filter(channel, 1) for channel in image]
        for image in np.moveaxis(X, axis, 1)
    ]
    expected = HOGExtractor(channel_axis=1).fit_transform(np.array(smooth))
    actual = make_pipeline(filter_, hog).fit_transform(X)
    np.testing.assert_allclose(actual, expected, atol=1e-9)


class TestNormalize:
    def test_weights_sum_to_one(self):
        kernel = ConvolutionFilter([[1, 2], [3, -1]], normalize=True).fit(images(1, 4, 4)).kernel_
        np.testing.assert_allclose(kernel, [[-0.2, 0.6], [0.4, 0.2]], rtol=1e-14)

    @pytest.mark.parametrize("scale", [1, 0.1, 1e-8])
    def test_positive_weights_of_a_derivative_sum_to_one(self, scale):
        sobel = scale * np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
        X = images(2, 9, 9)
        filtered = ConvolutionFilter(sobel, normalize=True).fit_transform(X)
        np.testing.assert_allclose(filtered, [filters.sobel_v(image) for image in X], atol=1e-14)


class TestKernelInUse:
    def test_is_flipped_as_it_is_laid_over_the_image(self):
        X = images(1, 5, 5)
        assert ConvolutionFilter([[1, 2, 3]]).fit(X).kernel_.tolist() == [[3, 2, 1]]
        assert ConvolutionFilter([1, 2, 3], flip=False).fit(X).kernel_.tolist() == [[1, 2, 3]]

    def test_of_a_name(self):
        X = images(1, 9, 9)
        both = ConvolutionFilter("sobel").fit(X).kernel_
        horizontal = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
        np.testing.assert_array_equal(both, [horizontal, horizontal.T])
        assert ConvolutionFilter("sobel", direction="vertical").fit(X).kernel_.shape == (3, 3)
        assert ConvolutionFilter("gaussian", sigma=0.6).fit(X).kernel_.shape == (5, 5)
        assert ConvolutionFilter("gaussian", size=7).fit(X).kernel_.shape == (7, 7)
        assert ConvolutionFilter("median").fit(X).kernel_ is None

    def test_sums_up_to_the_result(self):
        X = images(1, 5, 5)
        for kernel in ("box", "sharpen", images(5, 5, seed=1)):
            filter_ = ConvolutionFilter(kernel, size=5, mode="valid").fit(X)
            window = X[0] if filter_.kernel_.shape == (5, 5) else X[0, :3, :3]
            first = filter_.transform(X)[0, 0, 0]
            np.testing.assert_allclose(first, (filter_.kernel_ * window).sum(), rtol=1e-12)


@pytest.mark.parametrize("kernel", NAMES)
def test_constant_images_stay_constant(kernel):
    filtered = ConvolutionFilter(kernel).fit_transform(np.full((1, 9, 9), 0.7))
    smooths = kernel in {"box", "gaussian", "median", "sharpen"}
    # scipy's sampled Laplacian of Gaussian does not sum to 0 exactly, nor does this one.
    atol = 2e-3 if kernel == "log" else 1e-15
    np.testing.assert_allclose(filtered, 0.7 if smooths else 0, atol=atol)


@pytest.mark.parametrize("kernel", ["gaussian", "median", "sobel", np.ones((2, 3))])
def test_unsigned_and_single_precision_stay_single(kernel):
    X = (images(3, 9, 10) * 255).astype(np.uint8)
    filtered = ConvolutionFilter(kernel).fit_transform(X)
    assert filtered.dtype == np.float32
    expected = ConvolutionFilter(kernel).fit_transform(X / 255)
    assert expected.dtype == np.float64
    np.testing.assert_allclose(filtered, expected, atol=1e-6)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("kernel", NAMES)
def test_chunks_and_threads_change_nothing(kernel, n_jobs):
    X = images(20, 9, 10)
    whole = ConvolutionFilter(kernel).fit_transform(X)
    filtered = ConvolutionFilter(kernel, n_jobs=n_jobs, chunk_mib=0.01).fit_transform(X)
    np.testing.assert_array_equal(filtered, whole)


@pytest.mark.parametrize(
    "parameters",
    [{"kernel": "gaussian"}, {"kernel": "median"}, {"kernel": "sobel"}, {"sigma": 10}],
    ids=str,
)
def test_memory_beyond_the_result_is_about_a_chunk(parameters):
    X = np.random.RandomState(0).randint(0, 256, (600, 32, 32), dtype=np.uint8)
    filter_ = ConvolutionFilter(chunk_mib=1, **parameters).fit(X)
    filter_.transform(X[:2])  # compiled
    tracemalloc.start()
    filtered = filter_.transform(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (peak - filtered.nbytes) / 2**20 < 1.2  # all images in float32 are 2.3 MiB


def test_changed_parameters_wait_for_the_next_fit():
    X = images(3, 9, 10, 3)
    filter_ = ConvolutionFilter("sobel").fit(X)
    before = filter_.transform(X)
    filter_.set_params(
        kernel="median", size=5, direction="vertical", mode="valid", stride=2, flatten=True
    )
    np.testing.assert_array_equal(filter_.transform(X), before)
    assert filter_.fit(X).transform(X).shape == (3, 3 * 3 * 3)


@pytest.mark.parametrize("kernel", [np.ones((3, 12)), np.ones((9, 3))])
def test_kernels_larger_than_the_image_need_a_border(kernel):
    with pytest.raises(ValueError, match=rf"8 x 11 .* kernel of {len(kernel)} x {len(kernel.T)}"):
        ConvolutionFilter(kernel, mode="valid").fit(images(1, 8, 11))
    for mode in MODES:
        assert ConvolutionFilter(kernel, mode=mode).fit_transform(images(1, 8, 11)).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kernel": "sobell"}, "kernel"),
        ({"kernel": np.ones((3, 3, 3))}, r"kernel .* shape \(3, 3, 3\)"),
        ({"kernel": []}, "kernel"),
        ({"kernel": [[1, 2], [3]]}, "kernel"),
        ({"kernel": [[1, np.nan]]}, "kernel"),
        ({"kernel": [[0, 0]]}, "kernel"),
        ({"kernel": ["a", "b"]}, "kernel"),
        ({"size": (3, 0)}, "size"),
        ({"size": "big"}, "size"),
        ({"sigma": 0}, "sigma"),
        ({"sigma": 513}, r"sigma=513 .* 8 x 8 pixels.* at most 512.* size of the kernel"),
        ({"sigma": 1e-7}, "sigma"),
        ({"kernel": "log", "sigma": 1e200}, "sigma"),
        ({"direction": "up"}, "direction"),
        ({"mode": "full"}, "mode"),
        ({"stride": 0}, "stride"),
        ({"stride": (1, 2, 3)}, "stride"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionFilter(**parameters).fit(images(1, 8, 8))


@parametrize_with_checks(
    [
        ConvolutionFilter("sobel", flatten=True),
        ConvolutionFilter("median", stride=2),
        ConvolutionFilter([1, -1]),
    ]
)
def test_scikit_learns_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it the check of array API input is skipped
    check(estimator)


def test_signals_whose_length_is_a_square():
    signals = np.sin(0.1 * np.arange(200)).reshape(2, 100)
    expected = ndimage.convolve1d(signals, [1, 2, 1])
    smooth = ConvolutionFilter([1, 2, 1], image_shape=(1, 100))
    with warnings.catch_warnings(action="error"):
        np.testing.assert_allclose(smooth.fit_transform(signals)[:, 0], expected)
        ConvolutionFilter([[1, 2, 1]]).fit(signals)  # a kernel for images
        ConvolutionFilter([1, 2, 1]).fit(signals[:, :99])
    with pytest.warns(UserWarning, match=r"images of 10 x 10 .* set image_shape=\(1, 100\)"):
        ConvolutionFilter([1, 2, 1]).fit(signals)


def test_an_output_chosen_for_images_is_that_of_rows_later():
    X = images(4, 6, 6)
    chosen = ConvolutionFilter().set_output(transform="pandas")
    assert isinstance(chosen.fit_transform(X), np.ndarray)
    for rows in (clone(chosen).set_params(flatten=True), chosen.set_params(flatten=True)):
        assert isinstance(rows.fit_transform(X), pd.DataFrame)
        assert isinstance(rows.set_output(transform=None).fit_transform(X), pd.DataFrame)
    chosen.set_params(flatten=False).set_output(transform="default").set_params(flatten=True)
    assert isinstance(chosen.fit_transform(X), np.ndarray)


def test_values_near_the_largest_number_are_smoothed():
    X = np.full((1, 9, 9), 3e38, np.float32)
    for sigma in (0.5, 1, 2, 9, 30):
        smooth = ConvolutionFilter("gaussian", sigma=sigma).fit_transform(X)
        np.testing.assert_allclose(smooth, 3e38, rtol=1e-5)


@pytest.mark.parametrize("kernel", ["gaussian", "log"])
@pytest.mark.parametrize("sigma", [1e-6, 0.01, 1e200])
def test_extreme_scales_of_a_given_size(kernel, sigma):
    weights = ConvolutionFilter(kernel, sigma=sigma, size=3).fit(images(1, 8, 9)).kernel_
    corner = 0 if sigma < 1 else 1 / 9
    expected = [[corner] * 3, [corner, 1 - 8 * corner, corner], [corner] * 3]
    if kernel == "log":  # -2 / sigma^2 at the centre
        expected = np.diag([0, -2 / sigma / sigma, 0])
    np.testing.assert_allclose(weights, expected, rtol=1e-12, atol=1e-15)
