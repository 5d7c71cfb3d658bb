"""HOG with signed gradients and interpolated votes, against the formulas written out."""

import numpy as np
import pytest
import torch

from skcnn import HOGExtractor
from skcnn.features._hog_torch import hog_features

VOTING = [(True, False), (False, True), (True, True)]


def images(channels, dtype=np.float64):
    rng = np.random.default_rng(0)
    if dtype == np.uint8:
        return rng.integers(0, 256, (6, 19, 22, channels), dtype=np.uint8)
    return rng.uniform(size=(6, 19, 22, channels)).astype(dtype)  # no angle on a bin's edge


def plain_hog(image, orientations, cell, block, signed, interpolate):
    """Return the L2 features of an image (h, w, c), one pixel after another."""
    h, w, _ = image.shape
    by_row, by_column = np.zeros_like(image), np.zeros_like(image)
    by_row[1:-1] = image[2:] - image[:-2]
    by_column[:, 1:-1] = image[:, 2:] - image[:, :-2]
    rows, columns = h // cell, w // cell
    cells = np.zeros((rows, columns, orientations))
    period = 360 if signed else 180
    middles = (np.arange(orientations) + 0.5) * period / orientations
    for r in range(rows * cell):
        for c in range(columns * cell):
            channel = np.hypot(by_row[r, c], by_column[r, c]).argmax()
            y, x = by_row[r, c, channel], by_column[r, c, channel]
            angle = np.rad2deg(np.arctan2(y, x)) % period
            away = np.abs(angle - middles)
            away = np.minimum(away, period - away) * orientations / period  # in bins, around
            shares = np.maximum(0, 1 - away)
            if not interpolate:
                shares = np.eye(orientations)[int(angle / period * orientations)]
            cells[r // cell, c // cell] += shares * np.hypot(y, x) / cell**2
    features = []
    for r in range(rows - block + 1):
        for c in range(columns - block + 1):
            one = cells[r : r + block, c : c + block].ravel()
            features.append(one / np.sqrt(one @ one + 1e-10))
    return np.concatenate(features)


@pytest.mark.parametrize(("signed", "interpolate"), VOTING)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientations", [3, 8, 9])
def test_votes_are_those_of_the_plain_loop(signed, interpolate, channels, orientations):
    X = images(channels)
    extractor = HOGExtractor(
        orientations,
        (5, 5),
        (2, 2),
        "L2",
        signed_gradient=signed,
        interpolate=interpolate,
    )
    expected = [plain_hog(image, orientations, 5, 2, signed, interpolate) for image in X]
    np.testing.assert_allclose(extractor.fit_transform(X), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("signed", "interpolate"), VOTING)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("norm", ["L1-sqrt", "L2-Hys"])
def test_torch_gives_the_same(signed, interpolate, channels, norm):
    for dtype in (np.float32, np.uint8, np.float64):
        X = images(channels, dtype)
        divisor = 255.0 if dtype == np.uint8 else 1.0
        extractor = HOGExtractor(
            8, (4, 4), (2, 2), norm, signed_gradient=signed, interpolate=interpolate
        )
        on_torch = hog_features(
            X, divisor, False, (4, 4), (2, 2), 8, signed, interpolate, norm, torch.device("cpu")
        )
        np.testing.assert_allclose(on_torch, extractor.fit_transform(X), rtol=0, atol=1e-5)


def test_opposite_gradients_differ_when_signed():
    ramp = np.tile(np.linspace(0, 1, 16), (1, 16, 1))
    for signed in (False, True):
        extractor = HOGExtractor(8, (4, 4), (2, 2), signed_gradient=signed, interpolate=True).fit(
            ramp
        )
        up, down = extractor.transform(ramp), extractor.transform(ramp[:, :, ::-1])
        assert np.allclose(up, down) != signed


def test_an_angle_between_two_bins_is_shared_equally():
    ramp = np.tile(np.arange(16.0), (1, 16, 1))  # 0 degrees: the border of the first and last bin
    extractor = HOGExtractor(4, (4, 4), (1, 1), "L1", interpolate=True)
    cells = extractor.fit_transform(ramp).reshape(4, 4, 4)
    np.testing.assert_allclose(cells, np.broadcast_to([0.5, 0, 0, 0.5], cells.shape), atol=1e-4)


@pytest.mark.parametrize(("signed", "interpolate"), VOTING)
def test_constant_images_are_zeros(signed, interpolate):
    X = np.full((2, 16, 16), 0.3, dtype=np.float32)
    extractor = HOGExtractor(signed_gradient=signed, interpolate=interpolate)
    assert not extractor.fit_transform(X).any()


def test_what_counts_is_what_was_set_at_fit():
    X = images(1)[..., 0]
    extractor = HOGExtractor(interpolate=True).fit(X)
    expected = extractor.transform(X)
    np.testing.assert_array_equal(extractor.set_params(interpolate=False).transform(X), expected)


@pytest.mark.parametrize(("signed", "interpolate"), VOTING)
def test_not_finite_and_negative_values_are_refused(signed, interpolate):
    X = images(1)[..., 0]
    extractor = HOGExtractor(
        signed_gradient=signed, interpolate=interpolate, transform_sqrt=True
    ).fit(X)
    X[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="image 3"):
        extractor.transform(X)
    X[3, 2, 1] = -1
    with pytest.raises(ValueError, match="transform_sqrt"):
        extractor.transform(X)
