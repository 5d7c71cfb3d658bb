"""What holds for all displays: what they take, what they refuse, what they need."""

import builtins

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skcnn import BagOfVisualWords, ConvolutionFilter, HOGExtractor, SIFTExtractor
from skcnn.inspection import FilterDisplay, HOGDisplay, KeypointsDisplay, VisualWordsDisplay

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 16, 20), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 16, 20, 3), dtype=np.uint8)

OF_ONE_IMAGE = [
    (FilterDisplay, ConvolutionFilter),
    (HOGDisplay, HOGExtractor),
    (KeypointsDisplay, SIFTExtractor),
]
DISPLAYS = pytest.mark.parametrize(
    ("display", "extractor"), OF_ONE_IMAGE, ids=lambda thing: thing.__name__
)


def drawn(display):
    """Return what the first panel with an image of three axes, or the first at all, shows."""
    axes = getattr(display, "axes_", None) or (display.ax_,)
    image = next(ax for ax in axes if ax.get_title() not in {"kernel", "response"})
    return np.asarray(image.images[0].get_array())


@DISPLAYS
@pytest.mark.parametrize("X", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("convert", ["uint8", "float32", "float64", "list"])
def test_the_image_is_shown_as_it_is(display, extractor, X, convert):
    image = X[1] if convert in {"uint8", "list"} else (X[1] / 255).astype(convert)
    image = image.tolist() if convert == "list" else image
    fitted = extractor().fit(X / 255.0 if convert != "list" else X.astype(float))
    shown = drawn(display.from_estimator(fitted, image))
    if convert == "list" and X is GREY:
        np.testing.assert_array_equal(shown, X[1])  # whole numbers of 64 bits are not scaled
    else:
        np.testing.assert_allclose(shown, X[1] / 255, atol=0.01)


@DISPLAYS
def test_flat_rows_and_channels_in_front(display, extractor):
    flat = extractor(image_shape=(16, 20, 3)).fit(COLOUR.reshape(5, -1))
    shown = drawn(display.from_estimator(flat, COLOUR[2].ravel()))
    np.testing.assert_allclose(shown, COLOUR[2] / 255, atol=1e-6)
    in_front = np.moveaxis(COLOUR, -1, 1)
    fitted = extractor(channel_axis=1).fit(in_front)
    shown = drawn(display.from_estimator(fitted, in_front[2]))
    np.testing.assert_allclose(shown, COLOUR[2] / 255, atol=1e-6)


@DISPLAYS
def test_two_channels_are_shown_as_their_mean(display, extractor):
    X = COLOUR[..., :2] / 255.0
    shown = drawn(display.from_estimator(extractor().fit(X), X[0]))
    np.testing.assert_allclose(shown, X[0].mean(axis=-1))


@DISPLAYS
def test_values_beyond_black_and_white(display, extractor):
    X = 10.0 * RNG.standard_normal((2, 16, 20, 3))
    shown = drawn(display.from_estimator(extractor().fit(X), X[0]))
    expected = (X[0] - X[0].min()) / (X[0].max() - X[0].min())
    np.testing.assert_allclose(shown, expected)


@DISPLAYS
def test_bad_images(display, extractor):
    fitted = extractor().fit(GREY)
    with pytest.raises(ValueError, match=r"shape \(20, 16\).*fitted on images of shape \(16, 20\)"):
        display.from_estimator(fitted, GREY[0].T)
    with pytest.raises(ValueError, match="NaN"):
        display.from_estimator(fitted, np.full((16, 20), np.nan))
    with pytest.raises(ValueError, match="batch of images"):
        display.from_estimator(fitted, 3.0)


@DISPLAYS
def test_another_estimator(display, extractor):
    needed = f"extractor must be a fitted {extractor.__name__}, got "
    with pytest.raises(TypeError, match=rf"{needed}BagOfVisualWords\(\)"):
        display.from_estimator(BagOfVisualWords(), GREY[0])
    with pytest.raises(TypeError, match=f"{needed}the class {extractor.__name__}"):
        display.from_estimator(extractor, GREY[0])
    with pytest.raises(NotFittedError):
        display.from_estimator(extractor(), GREY[0])


def test_visual_words_of_another_estimator():
    sift = SIFTExtractor().fit(GREY)
    words = BagOfVisualWords(3, random_state=0).fit(sift.transform(GREY))
    hog = HOGExtractor().fit(GREY)
    with pytest.raises(TypeError, match=r"extractor must be a fitted SIFTExtractor, got HOG"):
        VisualWordsDisplay.from_estimator(hog, words, GREY)
    needed = "fitted BagOfVisualWords or VLADEncoder or FisherVectorEncoder, got HOGExtractor"
    with pytest.raises(TypeError, match=needed):
        VisualWordsDisplay.from_estimator(sift, hog, GREY)
    with pytest.raises(NotFittedError):
        VisualWordsDisplay.from_estimator(sift, BagOfVisualWords(), GREY)


def _without_matplotlib(monkeypatch):
    original = builtins.__import__

    def importing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)


@DISPLAYS
def test_missing_matplotlib_says_what_to_install(display, extractor, monkeypatch):
    fitted = extractor().fit(GREY)
    _without_matplotlib(monkeypatch)
    with pytest.raises(ImportError, match=r'pip install "skcnn\[plot\]"'):
        display.from_estimator(fitted, GREY[0])


def test_missing_matplotlib_and_visual_words(monkeypatch):
    display = VisualWordsDisplay(np.zeros((2, 4, 4)), np.array([1, 2]))
    _without_matplotlib(monkeypatch)
    with pytest.raises(ImportError, match=r'pip install "skcnn\[plot\]"'):
        display.plot()
