"""FourierExtractor against numpy.fft."""

from math import atan2, ceil, floor, hypot, pi

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcnn import FourierExtractor, load_digit_images

SHAPES = [(8, 8), (9, 7), (8, 11), (13, 6), (1, 10), (1, 9), (10, 1), (1, 1), (2, 2)]
LAYOUTS = [
    {"layout": "block"},
    {"layout": "block", "size": 1},
    {"layout": "polar"},
    {"layout": "polar", "n_rings": 3, "n_wedges": 5},
]


def images(*shape, seed=0):
    return np.random.RandomState(seed).rand(*shape)


def log_spectrum(image):
    return np.log1p(np.abs(np.fft.fft2(image)))


def half_plane(height, width):
    """Yield one of each two frequencies of which the spectra of real images are conjugate."""
    seen = set()
    for down in (*range(height // 2 + 1), *range(-1, -height // 2, -1)):
        for across in range(width // 2 + 1):
            if (-down % height, -across % width) not in seen:
                seen.add((down % height, across % width))
                yield down, across


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parameters", LAYOUTS)
def test_frequencies_are_there_once(shape, parameters):
    extractor = FourierExtractor(**parameters).fit(images(1, *shape))
    used = {(down % shape[0], across % shape[1]) for down, across in extractor.frequencies_}
    assert len(used) == len(extractor.frequencies_)
    mirrored = {(-down % shape[0], -across % shape[1]) for down, across in used}
    assert all(one == (-one[0] % shape[0], -one[1] % shape[1]) for one in used & mirrored)
    if parameters["layout"] == "polar":
        assert used | mirrored == set(np.ndindex(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_block_is_the_log_magnitude_of_numpy(shape):
    X = images(3, *shape)
    extractor = FourierExtractor()
    features = extractor.fit_transform(X)
    expected = np.array([log_spectrum(image) for image in X])
    down, across = extractor.frequencies_.T
    np.testing.assert_allclose(features, expected[:, down, across], atol=1e-12)
    low = [pair for pair in half_plane(*shape) if abs(pair[0]) < 8 and pair[1] < 8]
    assert sorted(map(tuple, extractor.frequencies_.tolist())) == sorted(low)


@pytest.mark.parametrize(("size", "n_features"), [(1, 1), (2, 5), ((1, 4), 4), ((3, 1), 3)])
def test_block_holds_as_many_frequencies_as_its_size_says(size, n_features):
    X = images(2, 12, 20)
    extractor = FourierExtractor(size=size)
    assert extractor.fit_transform(X).shape == (2, n_features)
    assert (np.abs(extractor.frequencies_) < size).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n_rings", "n_wedges"), [(1, 1), (4, 8), (3, 5), (10, 12)])
def test_polar_cells_are_means_over_rings_and_wedges(shape, n_rings, n_wedges):
    (image,) = images(1, *shape)
    spectrum, cells = log_spectrum(image), {}
    for down, across in half_plane(*shape):
        v, u = down / shape[0], across / shape[1]
        ring = min(ceil(round(2 * hypot(u, v) * n_rings, 9)), n_rings)
        wedge = floor(round(atan2(v, u) / pi * n_wedges + 0.5, 9)) % n_wedges if ring else 0
        cells.setdefault((ring, wedge), []).append(spectrum[down, across])
    expected = [np.mean(cells[cell]) for cell in sorted(cells)]
    extractor = FourierExtractor("polar", n_rings=n_rings, n_wedges=n_wedges)
    np.testing.assert_allclose(extractor.fit_transform([image])[0], expected, atol=1e-12)


@pytest.mark.parametrize("parameters", LAYOUTS)
@pytest.mark.parametrize("shape", [(12, 17), (12, 17, 3), (1, 20)])
def test_cyclic_shifts_change_nothing(parameters, shape):
    X = images(3, *shape)
    features = FourierExtractor(**parameters).fit_transform(X)
    for shift in [(1, 0), (0, 5), (-4, 9)]:
        shifted = FourierExtractor(**parameters).fit_transform(np.roll(X, shift, axis=(1, 2)))
        np.testing.assert_allclose(shifted, features, atol=1e-12)


@pytest.mark.parametrize("parameters", LAYOUTS)
def test_channels_are_treated_one_by_one(parameters):
    X = images(3, 12, 17, 3)
    features = FourierExtractor(**parameters).fit_transform(X)
    expected = [FourierExtractor(**parameters).fit_transform(X[..., c]) for c in range(3)]
    np.testing.assert_allclose(features, np.concatenate(expected, axis=1), atol=1e-12)


def test_stripes_are_found_in_the_wedge_of_their_direction():
    coordinate = np.cos(np.arange(32) * 2 * np.pi / 4)
    vertical, horizontal = np.tile(coordinate, (32, 1)), np.tile(coordinate[:, None], 32)
    rows, columns = np.indices((32, 32))
    falling = np.cos((rows - columns) * 2 * np.pi / 4)
    extractor = FourierExtractor("polar", n_rings=1, n_wedges=4)
    features = extractor.fit_transform(np.array([vertical, falling.T[::-1], horizontal, falling]))
    assert features[:, 1:].argmax(axis=1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("parameters", LAYOUTS)
def test_constant_images_have_the_frequency_zero_only(parameters):
    features = FourierExtractor(**parameters).fit_transform(np.full((1, 6, 8), 0.5))
    np.testing.assert_allclose(features[0, 0], np.log1p(24))
    np.testing.assert_allclose(features[0, 1:], 0, atol=1e-12)


@pytest.mark.parametrize("parameters", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spectra_beyond_the_largest_number_have_finite_logarithms(parameters, dtype):
    X = images(3, 12, 10).astype(dtype)
    X[1] *= np.finfo(dtype).max / 2  # its neighbours stay as they are
    extractor = FourierExtractor(**parameters)
    features = extractor.fit_transform(X)
    assert features.dtype == dtype
    np.testing.assert_array_equal(features[::2], extractor.transform(X[::2]))
    # |F| is so much larger than 1 that the factor's logarithm is added.
    reference = np.fft.fft2(X[1].astype(np.longdouble) / (np.finfo(dtype).max / 2))
    down, across = extractor.frequencies_.T
    expected = np.log(np.abs(reference))[down, across] + np.log(np.finfo(dtype).max / 2)
    n_used = np.bincount(extractor.feature_of_frequency_)
    means = np.bincount(extractor.feature_of_frequency_, weights=expected.astype(float)) / n_used
    np.testing.assert_allclose(features[1], means, rtol=1e-5 if dtype == np.float32 else 1e-12)
    constant = np.full((2, 28, 28), np.finfo(dtype).max / 2, dtype)
    assert np.isfinite(extractor.fit_transform(constant)).all()


@pytest.mark.parametrize("parameters", LAYOUTS)
def test_unsigned_and_single_precision_stay_single(parameters):
    X = (images(3, 32, 20) * 255).astype(np.uint8)
    features = FourierExtractor(**parameters).fit_transform(X)
    assert features.dtype == np.float32
    expected = FourierExtractor(**parameters).fit_transform(X / 255)
    assert expected.dtype == np.float64
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize("parameters", LAYOUTS)
def test_chunks_and_threads_change_nothing(parameters):
    X = images(20, 9, 10, 3)
    whole = FourierExtractor(**parameters).fit_transform(X)
    chunked = FourierExtractor(**parameters, chunk_mib=0.01, n_jobs=2).fit_transform(X)
    np.testing.assert_allclose(chunked, whole, atol=1e-13)


def test_changed_parameters_wait_for_the_next_fit():
    X = images(3, 9, 10)
    extractor = FourierExtractor().fit(X)
    before = extractor.transform(X)
    extractor.set_params(layout="polar", size=2)
    np.testing.assert_array_equal(extractor.transform(X), before)
    assert extractor.fit(X).transform(X).shape != before.shape


def test_tells_digits_apart():
    X, y = load_digit_images(return_X_y=True)
    for extractor, accuracy in [(FourierExtractor(), 0.8), (FourierExtractor("polar"), 0.75)]:
        pipeline = make_pipeline(extractor, StandardScaler(), LogisticRegression(max_iter=1000))
        assert pipeline.fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]) > accuracy


@pytest.mark.parametrize("size", [(5, 6), (8, 3)])
def test_blocks_of_more_frequencies_than_the_image_has_are_refused(size):
    with pytest.raises(ValueError, match=r"8 x 9 pixels have 5 x 5 .* too few for size=\("):
        FourierExtractor(size=size).fit(images(1, 8, 9))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"layout": "rings"}, "layout"),
        ({"size": 0}, "size"),
        ({"size": (2, 2, 2)}, "size"),
        ({"n_rings": 0}, "n_rings"),
        ({"n_wedges": "all"}, "n_wedges"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        FourierExtractor(**parameters).fit(images(1, 8, 8))


@parametrize_with_checks(
    [
        FourierExtractor("polar"),
    ]
)
def test_scikit_learns_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it the check of array API input is skipped
    check(estimator)
