import numpy as np
import pytest
from skimage import data
from skimage.feature import SIFT
from skimage.transform import resize

from skcnn import DescriptorSets, SIFTExtractor
from skcnn.features import _sift_keypoints

SIDE = 64


@pytest.fixture(scope="module")
def photos():
    images = [data.camera(), data.brick(), data.grass()]
    return np.stack([resize(image / 255, (SIDE, SIDE), anti_aliasing=True) for image in images])


@pytest.fixture(scope="module")
def found(photos):
    """Return what scikit-image finds in each of the photographs."""
    detectors = []
    for image in photos:
        detectors.append(SIFT())
        detectors[-1].detect_and_extract(image)
    return detectors


def test_it_is_scikit_images(photos, found):
    sets = SIFTExtractor("dog").fit_transform(photos)
    assert isinstance(sets, DescriptorSets)
    assert sets.dtype == np.float64
    assert sets.sizes.tolist() == [len(one.descriptors) for one in found]
    for i, theirs in enumerate(found):
        of_image = slice(sets.offsets[i], sets.offsets[i + 1])
        expected = (
            theirs.descriptors / np.linalg.norm(theirs.descriptors.astype(float), axis=1)[:, None]
        )
        np.testing.assert_allclose(sets[i], expected, rtol=1e-12)
        np.testing.assert_allclose(
            sets.positions[of_image] * SIDE - 0.5, theirs.positions, atol=1e-12
        )
        np.testing.assert_array_equal(sets.scales[of_image], theirs.sigmas)
        np.testing.assert_array_equal(sets.orientations[of_image], theirs.orientations)


def test_parameters_reach_the_detector(photos):
    parameters = {"upsampling": 1, "n_octaves": 2, "n_scales": 5, "c_dog": 0.005}
    theirs = SIFT(**parameters)
    theirs.detect_and_extract(photos[0])
    sets = SIFTExtractor("dog", **parameters).fit_transform(photos[:1])
    np.testing.assert_array_equal(sets.scales, theirs.sigmas)


def test_root_sift_is_the_root_of_shares(photos, found):
    sets = SIFTExtractor("dog", root_sift=True).fit_transform(photos)
    raw = found[1].descriptors.astype(float)
    np.testing.assert_allclose(sets[1], np.sqrt(raw / raw.sum(axis=1, keepdims=True)), rtol=1e-12)


def test_float32_and_bytes_give_float32(photos):
    for images in (photos.astype(np.float32), np.round(255 * photos).astype(np.uint8)):
        sets = SIFTExtractor("dog").fit_transform(images)
        values = (sets.descriptors, sets.positions, sets.scales, sets.orientations)
        assert {value.dtype for value in values} == {np.dtype(np.float32)}
        np.testing.assert_allclose(np.linalg.norm(sets.descriptors, axis=1), 1, rtol=1e-5)


def test_an_image_without_keypoints_has_an_empty_set(photos):
    batch = np.stack([np.zeros((SIDE, SIDE)), photos[0], np.ones((SIDE, SIDE))])
    sets = SIFTExtractor("dog").fit_transform(batch)
    assert sets.sizes[[0, 2]].tolist() == [0, 0]
    assert sets.sizes[1] > 0
    assert sets[0].shape == (0, 128)
    nothing = SIFTExtractor("dog").fit_transform(batch[[0, 2]])
    assert nothing.descriptors.shape == (0, 128)
    assert nothing.positions.shape == (0, 2)


@pytest.mark.parametrize("shape", [(1, 10), (2, 2), (5, 40), (6, 6)])
@pytest.mark.parametrize("upsampling", [1, 2])
def test_images_of_any_size_have_sets(shape, upsampling):
    X = np.random.default_rng(0).random((2, *shape))
    sets = SIFTExtractor("dog", upsampling=upsampling).fit_transform(X)
    assert len(sets) == 2


def test_other_errors_of_the_detector_are_not_hidden(photos, monkeypatch):
    def fail(self, image):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(SIFT, "detect_and_extract", fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        SIFTExtractor("dog").fit_transform(photos)


def test_chunks_and_threads_change_nothing(photos):
    expected = SIFTExtractor("dog").fit_transform(photos)
    for parameters in ({"chunk_mib": 1e-6}, {"n_jobs": 2}):
        sets = SIFTExtractor("dog", **parameters).fit_transform(photos)
        np.testing.assert_array_equal(sets.sizes, expected.sizes)
        np.testing.assert_array_equal(sets.descriptors, expected.descriptors)


def test_colour_images_are_described_by_their_luminance(photos, found):
    colour = np.stack([photos[1]] * 3, axis=-1)[np.newaxis]
    sets = SIFTExtractor("dog").fit_transform(colour)
    np.testing.assert_allclose(sets.positions * SIDE - 0.5, found[1].positions, atol=1e-6)


def test_colours_need_a_grid(photos):
    with pytest.raises(ValueError, match="color='opponent' needs keypoints='dense'"):
        SIFTExtractor("dog", color="opponent").fit(np.stack([photos] * 3, axis=-1))


def test_keypoints_of_an_image_are_in_pixels(photos, found):
    positions, scales, orientations = SIFTExtractor("dog").fit(photos).keypoints_of(photos[2])
    np.testing.assert_array_equal(positions, found[2].positions)
    np.testing.assert_array_equal(scales, found[2].sigmas)
    np.testing.assert_array_equal(orientations, found[2].orientations)


def test_keypoints_are_named():
    assert _sift_keypoints.Keypoints._fields == ("positions", "scales", "orientations")


@pytest.mark.parametrize("side", range(6, 13))
def test_small_images_have_scikit_images_keypoints(side):
    rows, columns = np.mgrid[:side, :side] - side / 2
    blob = np.exp(-(rows**2 + (columns + 0.3) ** 2) / (2 * 1.6**2))
    detector = SIFT(c_dog=0)
    detector.detect_and_extract(blob)
    sets = SIFTExtractor("dog", c_dog=0).fit_transform([blob])
    assert sets.sizes.tolist() == [len(detector.keypoints)]
    assert sets.sizes[0] > 0
