import numpy as np
import pytest
from matplotlib import pyplot
from skimage.data import camera

from skcnn import (
    BagOfVisualWords,
    FisherVectorEncoder,
    SIFTExtractor,
    VLADEncoder,
    load_digit_images,
)
from skcnn.inspection import VisualWordsDisplay
from skcnn.inspection._patches import cut_out

DIGITS = load_digit_images().images[:40]
PHOTO = camera()[100:228, 150:278] / 255


def fit_words(X, n_words=6, **parameters):
    sift = SIFTExtractor(**parameters).fit(X)
    words = BagOfVisualWords(n_words, random_state=0).fit(sift.transform(X))
    return sift, words


def averages_by_loop(sift, words, X, width):
    """Average patches of a grid of whole-numbered positions, pixel by pixel."""
    descriptors = sift.transform(X).reshape(len(X), -1, sift.transform(X).shape[-1])
    sums = np.zeros((len(words.vocabulary_), width, width, *X.shape[3:]))
    counts = np.zeros(len(words.vocabulary_), dtype=int)
    for image, described in zip(X, descriptors, strict=True):
        for (row, column), descriptor in zip(sift.positions_, described, strict=True):
            if not descriptor.any():
                continue
            word = np.argmin(((words.vocabulary_ - descriptor) ** 2).sum(axis=1))
            counts[word] += 1
            for i in range(width):
                for j in range(width):
                    y = int(np.clip(row - width / 2 + 0.5 + i, 0, X.shape[1] - 1))
                    x = int(np.clip(column - width / 2 + 0.5 + j, 0, X.shape[2] - 1))
                    sums[word, i, j] += image[y, x]
    return sums / np.maximum(counts, 1).reshape(-1, *[1] * (sums.ndim - 1)), counts


def test_a_word_whose_average_is_known():
    rng = np.random.default_rng(0)
    upright, level = np.zeros((8, 8)), np.zeros((8, 8))
    upright[:, 4:], level[4:] = 1, 1
    # Brightness and contrast differ, which descriptors do not see: the means are those of images.
    gains = rng.uniform(0.3, 0.6, (30, 1, 1))
    X = np.concatenate([gains[:20] * upright + 0.2, gains[20:] * level + 0.1])
    sift, words = fit_words(X, 2, margin=3.5, bin_size=2)
    display = VisualWordsDisplay.from_estimator(sift, words, X)
    first, second = display.axes_
    np.testing.assert_allclose(first.images[0].get_array(), X[:20].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(second.images[0].get_array(), X[20:].mean(axis=0), atol=1e-12)
    assert first.get_title() == f"word {display.shown_[0]}"
    assert [ax.get_xlabel() for ax in display.axes_] == ["20 times", "10 times"]
    # Each in its own contrast, from black to white.
    assert first.images[0].get_clim() == pytest.approx((0.2, 0.2 + gains[:20].mean()))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_equal_to_a_plain_loop(channels):
    X = np.random.default_rng(0).uniform(size=(20, 12, 16, *channels))
    X[0] = 0.5  # flat: its descriptors are zeros, which are not counted
    sift, words = fit_words(X, step=2, bin_size=2)
    display = VisualWordsDisplay.from_estimator(sift, words, X)
    expected, counts = averages_by_loop(sift, words, X, 8)
    np.testing.assert_array_equal(display.counts, counts)
    assert counts.sum() == 19 * len(sift.positions_)
    patches = display.patches if channels else display.patches[..., 0]
    np.testing.assert_allclose(patches, expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_layouts_and_chunks_do_not_matter(dtype):
    X = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3)).astype(dtype)
    X = X if dtype == np.uint8 else X / dtype(255)
    sift, words = fit_words(X, bin_size=(2, 3))
    display = VisualWordsDisplay.from_estimator(sift, words, X)
    tiny = SIFTExtractor(bin_size=(2, 3), chunk_mib=1e-6).fit(X)
    lazy = SIFTExtractor(bin_size=(2, 3), lazy=True).fit(X)
    planes = SIFTExtractor(bin_size=(2, 3), channel_axis=1).fit(np.moveaxis(X, -1, 1))
    flat = SIFTExtractor(bin_size=(2, 3), image_shape=(12, 12, 3)).fit(X.reshape(12, -1))
    for sift, images in [
        (tiny, X),
        (lazy, X),
        (planes, np.moveaxis(X, -1, 1)),
        (flat, X.reshape(12, -1)),
        (flat, list(X.reshape(12, -1))),
    ]:
        other = VisualWordsDisplay.from_estimator(sift, words, images)
        np.testing.assert_array_equal(other.counts, display.counts)
        np.testing.assert_allclose(other.patches, display.patches, atol=1e-6)


def test_patches_of_all_scales_are_brought_to_one_size():
    rows, columns = np.mgrid[:40.0, :40.0]
    image = (2 * rows + 3 * columns)[..., np.newaxis]
    keypoints = np.array([[20.0, 18.0, 4 / 3, 0.0], [20.0, 18.0, 8 / 3, 0.0]])
    small, large = cut_out(image, keypoints, 16)[..., 0]
    offsets = np.arange(16) - 7.5
    slope = 2 * offsets[:, np.newaxis] + 3 * offsets
    np.testing.assert_allclose(small, 94 + slope)
    np.testing.assert_allclose(large, 94 + 2 * slope)


def test_patches_of_keypoints_are_turned_upright():
    """Described as a grid describes them, they are what was found at the keypoint."""
    dog = SIFTExtractor("dog").fit(PHOTO[np.newaxis])
    described = dog.transform(PHOTO[np.newaxis]).descriptors
    found = dog.keypoints_of(PHOTO)
    from_border = np.minimum(found.positions, 127 - found.positions).min(axis=1)
    chosen = (from_border > 9 * found.scales) & (found.scales > 1.5)
    keypoints = np.column_stack(found)[chosen]
    assert len(keypoints) > 20
    assert np.ptp(found.orientations[chosen]) > 4
    patches = cut_out(PHOTO[..., np.newaxis], keypoints, 32)[..., 0]
    again = SIFTExtractor(margin=15.5, bin_size=8).fit_transform(patches).reshape(-1, 128)
    cosines = (again * described[chosen]).sum(axis=1)
    assert cosines.min() > 0.9


@pytest.mark.parametrize(
    "encoder",
    [
        VLADEncoder(n_words=5, random_state=0),
        FisherVectorEncoder(n_modes=5, random_state=0),
        BagOfVisualWords(n_words=5, spatial_pyramid=(1, 2), random_state=0),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_every_encoder_of_keypoints(encoder):
    X = np.stack([PHOTO[:64, :64], PHOTO[64:, :64], np.zeros((64, 64)), PHOTO[64:, 64:]])
    sift = SIFTExtractor("dog").fit(X)
    sets = sift.transform(X)
    display = VisualWordsDisplay.from_estimator(sift, encoder.fit(sets), X)
    words = encoder.assign(sets)
    np.testing.assert_array_equal(display.counts, np.bincount(words, minlength=5))
    assert display.patches.shape == (5, 16, 16, 1)
    keypoints = np.concatenate([np.column_stack(sift.keypoints_of(image)) for image in X])
    images = np.repeat(np.arange(4), sets.sizes)
    patches = [cut_out(X[i][..., np.newaxis], keypoints[[k]], 16)[0] for k, i in enumerate(images)]
    for word in range(5):
        mean = np.mean([patches[k] for k in np.flatnonzero(words == word)], axis=0)
        np.testing.assert_allclose(display.patches[word], mean, atol=1e-4)


def test_the_most_frequent_words_that_occur():
    display = VisualWordsDisplay(np.random.default_rng(0).uniform(size=(5, 4, 4)), [3, 0, 9, 1, 9])
    display.plot()
    np.testing.assert_array_equal(display.shown_, [2, 4, 0, 3])
    display.plot(n_words=2)
    np.testing.assert_array_equal(display.shown_, [2, 4])
    assert len(display.axes_) == 2


def test_on_given_axes():
    sift, words = fit_words(DIGITS, 12)
    figure, axes = pyplot.subplots(2, 2)
    display = VisualWordsDisplay.from_estimator(sift, words, DIGITS, axes=axes)
    assert display.figure_ is figure
    assert display.axes_ == tuple(axes.ravel())  # fewer than words
    np.testing.assert_array_equal(display.shown_, np.argsort(-display.counts, kind="stable")[:4])
    display = VisualWordsDisplay.from_estimator(sift, words, DIGITS, n_words=3, axes=axes)
    assert display.axes_ == tuple(axes.ravel()[:3])
    assert not axes[1, 1].axison  # none left for it


def test_patch_size():
    sift, words = fit_words(DIGITS)
    display = VisualWordsDisplay.from_estimator(sift, words, DIGITS, patch_size=5)
    assert display.patches.shape == (6, 5, 5, 1)
    for value in [0, 2.5, None, "large"]:
        with pytest.raises(ValueError, match="patch_size must be an int of at least 1 or 'auto'"):
            VisualWordsDisplay.from_estimator(sift, words, DIGITS, patch_size=value)
    with pytest.raises(ValueError, match="n_words must be an int of at least 1, got 0"):
        VisualWordsDisplay.from_estimator(sift, words, DIGITS, n_words=0)


def test_descriptors_of_another_kind():
    sift, words = fit_words(DIGITS)
    colours = np.random.default_rng(0).uniform(size=(3, 8, 8, 3))
    opponent = SIFTExtractor(color="opponent").fit(colours)
    with pytest.raises(ValueError, match="384 features"):
        VisualWordsDisplay.from_estimator(opponent, words, colours)
    with pytest.raises(ValueError, match=r"images of shape \(8, 8, 3\)"):
        VisualWordsDisplay.from_estimator(sift, words, colours)


def test_images_without_descriptors():
    sift, words = fit_words(DIGITS)
    with pytest.raises(ValueError, match="no word occurs"):
        VisualWordsDisplay.from_estimator(sift, words, np.zeros((3, 8, 8)))
    X = np.stack([PHOTO[:64, :64], PHOTO[64:, :64]])
    sift, words = fit_words(X, keypoints="dog")
    with pytest.raises(ValueError, match="no word occurs"):
        VisualWordsDisplay.from_estimator(sift, words, np.zeros((3, 64, 64)))


def test_a_constant_patch_is_drawn():
    display = VisualWordsDisplay(np.full((2, 4, 4), 0.5), [2, 1]).plot()
    assert display.axes_[0].images[0].get_clim() == (0, 1)
    display.figure_.draw_without_rendering()
