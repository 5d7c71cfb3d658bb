"""Random changes of training images: what is done, how it is drawn, and what is left alone."""

import inspect
import pickle
import re
import warnings
from math import radians
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from sklearn.base import BaseEstimator, clone

import skcnn
from skcnn import Augmentation
from skcnn.neural import _augmentation
from skcnn.neural._warping import (
    Border,
    cut_out,
    inverse_matrices,
    move,
    resample,
    smoothing_weights,
)

EVERYTHING = {
    "shift": 1.5,
    "rotation": 15,
    "scale": 0.2,
    "shear": 10,
    "flip": "both",
    "elastic": 0.7,
    "elastic_smoothness": 2,
    "cutout": 3,
    "brightness": 0.1,
    "contrast": 0.3,
}
KINDS = [
    {},
    {"shift": 2},
    {"shift": 2, "flip": "both", "fill": "constant"},
    {"shift": (1, 0.5), "fill": "reflect"},
    {"elastic": 1},
    {"cutout": 4},
    {"brightness": 0.2, "contrast": 0.2},
    EVERYTHING,
]
IN_NUMPY = {"edge": "edge", "reflect": "symmetric", "constant": "constant"}
IN_SCIPY = {"edge": "nearest", "reflect": "reflect", "constant": "grid-constant"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, dtype=torch.float32):
    return torch.rand(shape, dtype=dtype, generator=seeded(1))


def ramps(m, size=21):
    """Return images whose two channels say how far below and right of the centre a pixel is."""
    places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.stack(torch.meshgrid(places, places, indexing="ij")).repeat(m, 1, 1, 1)


def inverses(result):
    """Return the matrix that each of some changed ramps was read with, and where its centre was."""
    middle = result.shape[2] // 2
    at = result[:, :, middle, middle]
    down = result[:, :, middle + 1, middle] - at
    across = result[:, :, middle, middle + 1] - at
    return torch.stack([down, across], dim=2).numpy(), at.numpy()


def assert_uniform(values, low, high):
    assert low <= values.min()
    assert values.max() <= high
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01


class TestMove:
    @pytest.mark.parametrize("fill", IN_NUMPY)
    @pytest.mark.parametrize("channels", [1, 3])
    def test_is_flip_pad_and_crop(self, fill, channels):
        shift = torch.tensor([[0, 0], [2, -1], [-3, 4], [0, 5], [11, -9]])
        flipped = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1], [1, 1]]).bool()
        images = noise(5, channels, 4, 5)
        moved = move(images, shift, flipped, Border(fill, 0.25))
        options = {"constant_values": 0.25} if fill == "constant" else {}
        for image, (dy, dx), axes, result in zip(images, shift, flipped, moved, strict=True):
            flipped_image = np.flip(image.numpy(), axis=np.flatnonzero([False, *axes]))
            margins = [(0, 0), (12, 12), (12, 12)]
            padded = np.pad(flipped_image, margins, mode=IN_NUMPY[fill], **options)
            expected = padded[:, 12 - dy : 16 - dy, 12 - dx : 17 - dx]
            np.testing.assert_array_equal(result, expected)

    def test_inside_it_is_a_roll(self):
        images = noise(1, 1, 9, 9)
        moved = move(images, torch.tensor([[2, -3]]), torch.zeros(1, 2).bool(), Border("edge", 0.0))
        rolled = np.roll(images.numpy(), (2, -3), axis=(2, 3))
        np.testing.assert_array_equal(moved[:, :, 2:, :-3], rolled[:, :, 2:, :-3])


class TestResample:
    angle = torch.tensor([0.0, 0.3, -2.0, 1.0], dtype=torch.float64)
    factor = torch.tensor([1.0, 0.8, 1.3, 2.0], dtype=torch.float64)
    shear = torch.tensor([0.0, 0.2, -0.4, 0.1], dtype=torch.float64)
    flipped = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]).bool()
    shift = torch.tensor([[0.0, 0.0], [1.5, -0.3], [-2.2, 3.0], [0.0, 7.7]], dtype=torch.float64)

    def inverse(self):
        return inverse_matrices(self.angle, self.factor, self.shear, self.flipped)

    def test_matrix_undoes_flip_scale_shear_and_rotation(self):
        for i, inverse in enumerate(self.inverse().numpy()):
            cos, sin = np.cos(self.angle[i].item()), np.sin(self.angle[i].item())
            # Rows count downwards, so this turns counter-clockwise as one sees it.
            rotation = np.array([[cos, -sin], [sin, cos]])
            shear = np.array([[1, 0], [np.tan(self.shear[i].item()), 1]])
            flip = np.diag(1 - 2 * self.flipped[i].numpy())
            forward = rotation @ shear @ (self.factor[i].item() * np.eye(2)) @ flip
            np.testing.assert_allclose(inverse @ forward, np.eye(2), atol=1e-12)

    @pytest.mark.parametrize("fill", IN_SCIPY)
    @pytest.mark.parametrize("size", [(8, 11), (1, 7)])
    def test_is_scipys_affine_transform(self, fill, size):
        images = noise(4, 2, *size, dtype=torch.float64)
        results = resample(images, self.inverse(), self.shift, None, Border(fill, 0.25))
        centre = (np.array(size) - 1) / 2
        for i, inverse in enumerate(self.inverse().numpy()):
            offset = centre - inverse @ (centre + self.shift[i].numpy())
            for image, result in zip(images[i], results[i], strict=True):
                expected = ndimage.affine_transform(
                    image.numpy(), inverse, offset, order=1, mode=IN_SCIPY[fill], cval=0.25
                )
                np.testing.assert_allclose(result, expected, atol=1e-12)

    @pytest.mark.parametrize("fill", IN_SCIPY)
    def test_is_scipys_shift(self, fill):
        images = noise(4, 1, 8, 8, dtype=torch.float64)
        identity = torch.eye(2, dtype=torch.float64).repeat(4, 1, 1)
        results = resample(images, identity, self.shift, None, Border(fill, 0.25))
        for image, shift, result in zip(images[:, 0], self.shift, results[:, 0], strict=True):
            expected = ndimage.shift(
                image.numpy(), shift.numpy(), order=1, mode=IN_SCIPY[fill], cval=0.25
            )
            np.testing.assert_allclose(result, expected, atol=1e-12)

    @pytest.mark.parametrize("fill", IN_SCIPY)
    def test_is_scipys_map_coordinates_with_a_field(self, fill):
        images = noise(4, 1, 8, 11, dtype=torch.float64)
        field = 3 * torch.randn(4, 2, 8, 11, dtype=torch.float64, generator=seeded())
        results = resample(images, self.inverse(), self.shift, field, Border(fill, 0.25))
        expected = mapped(images, self.inverse(), self.shift, field, Border(fill, 0.25))
        np.testing.assert_allclose(results, expected, atol=1e-12)

    def test_a_quarter_turn_is_rot90_and_a_half_turn_flips_both(self):
        images = noise(2, 1, 7, 7, dtype=torch.float64)
        angle = torch.tensor([np.pi / 2, np.pi])
        inverse = inverse_matrices(
            angle, torch.ones(2), torch.zeros(2), torch.zeros(2, 2).bool()
        ).double()
        result = resample(images, inverse, torch.zeros(2, 2).double(), None, Border("edge", 0.0))
        np.testing.assert_allclose(result[0, 0], np.rot90(images[0, 0]), atol=1e-6)
        np.testing.assert_allclose(result[1, 0], np.flip(images[1, 0].numpy()), atol=1e-6)


def mapped(images, inverse, shift, field, border):
    """Return what scipy makes of the arguments of `resample`."""
    h, w = images.shape[2:]
    centre = np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    results = np.empty(images.shape)
    for i, image in enumerate(images.numpy()):
        places = np.indices((h, w)) - centre - shift[i].numpy()[:, None, None]
        places = np.einsum("ab,bhw->ahw", inverse[i].numpy(), places) + centre + field[i].numpy()
        for k, channel in enumerate(image):
            results[i, k] = ndimage.map_coordinates(
                channel, places, order=1, mode=IN_SCIPY[border.fill], cval=border.value
            )
    return results


def test_all_geometry_is_one_resampling(monkeypatch):
    calls = []

    def record(*arguments):
        calls.append(arguments)
        return resample(*arguments)

    monkeypatch.setattr(_augmentation, "resample", record)
    geometry = {**EVERYTHING, "cutout": 0, "brightness": 0, "contrast": 0}
    images = noise(6, 3, 9, 12, dtype=torch.float64)
    result = Augmentation(**geometry)(images, seeded())
    ((_, inverse, shift, field, border),) = calls
    np.testing.assert_allclose(result, mapped(images, inverse, shift, field, border), atol=1e-12)


class TestElasticField:
    @pytest.mark.parametrize("smoothness", [1, 2.5, 4, 100])
    def test_correlation_is_that_of_filtered_white_noise(self, smoothness):
        weights = smoothing_weights(28, smoothness).numpy()
        distances = np.subtract.outer(np.arange(28), np.arange(28))
        expected = np.exp(-((distances / (2 * smoothness)) ** 2))
        np.testing.assert_allclose(weights @ weights.T, expected, atol=0.01)

    def test_without_smoothing_it_is_white_noise(self):
        weights = smoothing_weights(6, 0.1).numpy()
        np.testing.assert_allclose(weights @ weights.T, np.eye(6), atol=1e-12)

    def test_amplitude_is_the_standard_deviation_of_displacements(self):
        result = Augmentation(elastic=0.8, elastic_smoothness=3)(ramps(2000), seeded())
        displacements = (result - ramps(1))[:, :, 8:13, 8:13].numpy()
        np.testing.assert_allclose(displacements.std(axis=0), 0.8, rtol=0.08)
        np.testing.assert_allclose(displacements.mean(axis=0), 0, atol=0.08)
        assert abs(np.corrcoef(displacements[:, 0, 2, 2], displacements[:, 1, 2, 2])[0, 1]) < 0.08


class TestDraws:
    def test_rotation(self):
        matrices, at = inverses(Augmentation(rotation=30)(ramps(1000), seeded()))
        angles = np.degrees(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
        np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-6)
        np.testing.assert_allclose(at, 0, atol=1e-6)
        assert_uniform(angles, -30, 30)

    @pytest.mark.parametrize(("scale", "low", "high"), [(0.2, 0.8, 1.2), ((1.1, 1.5), 1.1, 1.5)])
    def test_scale(self, scale, low, high):
        matrices, _ = inverses(Augmentation(scale=scale)(ramps(1000), seeded()))
        factors = 1 / matrices[:, 0, 0]
        np.testing.assert_allclose(matrices, np.eye(2) / factors[:, None, None], atol=1e-6)
        assert_uniform(factors, low - 1e-6, high + 1e-6)

    def test_shear(self):
        matrices, _ = inverses(Augmentation(shear=20)(ramps(1000), seeded()))
        assert_uniform(-np.degrees(np.arctan(matrices[:, 1, 0])), -20 - 1e-5, 20 + 1e-5)
        matrices[:, 1, 0] = 0
        np.testing.assert_allclose(matrices, np.tile(np.eye(2), (1000, 1, 1)), atol=1e-6)

    @pytest.mark.parametrize("shift", [1.5, (2.5, 1)])
    def test_fractional_shift(self, shift):
        _, at = inverses(Augmentation(shift=shift)(ramps(1000), seeded()))
        for limit, values in zip(np.broadcast_to(shift, 2), at.T, strict=True):
            assert_uniform(values, -limit - 1e-6, limit + 1e-6)
        assert abs(np.corrcoef(at.T)[0, 1]) < 0.1

    def test_whole_shifts_are_equally_frequent(self):
        _, at = inverses(Augmentation(shift=(1, 2.0))(ramps(1500), seeded()))
        for limit, values in zip((1, 2), at.T, strict=True):
            found, counts = np.unique(values, return_counts=True)
            np.testing.assert_array_equal(found, np.arange(-limit, limit + 1))
            assert stats.chisquare(counts).pvalue > 0.01

    def test_whole_shifts_with_a_rotation_are_fractional(self):
        _, at = inverses(Augmentation(shift=2, rotation=1e-3)(ramps(100), seeded()))
        assert (at != np.round(at)).all()

    @pytest.mark.parametrize("others", [{}, {"rotation": 1e-6}])
    def test_flips_have_probability_one_half(self, others):
        for flip, n_kinds in ((None, 1), ("horizontal", 2), ("vertical", 2), ("both", 4)):
            matrices, _ = inverses(Augmentation(flip=flip, **others)(ramps(1000), seeded()))
            signs = np.round(matrices[:, [0, 1], [0, 1]])
            if flip == "horizontal":
                assert (signs[:, 0] == 1).all()
            if flip == "vertical":
                assert (signs[:, 1] == 1).all()
            kinds, counts = np.unique(signs, axis=0, return_counts=True)
            assert len(kinds) == n_kinds
            assert n_kinds == 1 or stats.chisquare(counts).pvalue > 0.01

    def test_brightness_is_an_offset(self):
        images = noise(1000, 2, 3, 3, dtype=torch.float64)
        offsets = Augmentation(brightness=0.3)(images, seeded()) - images
        assert_uniform(offsets[:, 0, 0, 0].numpy(), -0.3, 0.3)
        np.testing.assert_allclose(offsets, offsets[:, :1, :1, :1].expand(1000, 2, 3, 3))

    def test_contrast_is_a_factor_about_the_mean_of_the_image(self):
        images = noise(1000, 2, 3, 3, dtype=torch.float64)
        result = Augmentation(contrast=0.4)(images, seeded())
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        factors = (result - mean) / (images - mean)
        assert_uniform(factors[:, 0, 0, 0].numpy(), 0.6, 1.4)
        np.testing.assert_allclose(factors, factors[:, :1, :1, :1].expand(1000, 2, 3, 3))

    def test_cutout_centres_are_uniform(self):
        result = Augmentation(cutout=1)(torch.ones(3000, 1, 3, 4), seeded())
        assert (result == 0).sum(dim=(1, 2, 3)).tolist() == [1] * 3000
        assert stats.chisquare((result == 0).sum(dim=0).ravel().numpy()).pvalue > 0.01


class TestCutout:
    @pytest.mark.parametrize("side", [1, 2, 3, 4, 30])
    def test_is_a_square_about_its_centre(self, side):
        h, w = 7, 9
        centres = np.indices((h, w)).reshape(2, -1).T
        images = noise(h * w, 2, h, w) + 1
        result = cut_out(images, torch.from_numpy(centres), side, -1.0)
        for image, (y, x), cut in zip(images.numpy(), centres, result, strict=True):
            top, left = y - side // 2, x - side // 2
            image = image.copy()
            image[:, max(top, 0) : top + side, max(left, 0) : left + side] = -1
            np.testing.assert_array_equal(cut, image)

    def test_area_is_full_where_the_square_does_not_stick_out(self):
        result = Augmentation(cutout=4, fill_value=2)(torch.zeros(200, 3, 16, 16), seeded())
        areas = (result == 2).sum(dim=(2, 3))
        assert (areas[:, :1] == areas).all()
        assert areas.max() == 16
        assert 4 <= areas.min() < 16


def test_constant_fill_comes_in_from_outside():
    images = torch.ones(200, 1, 6, 6)
    shifted = Augmentation(shift=2, fill="constant", fill_value=3)(images, seeded())
    assert set(shifted.unique().tolist()) == {1, 3}
    smaller = Augmentation(scale=(0.3, 0.3), fill="constant", fill_value=3)(images, seeded())
    np.testing.assert_allclose(smaller[:, :, [0, 0, 5, 5], [0, 5, 0, 5]], 3, rtol=1e-6)
    np.testing.assert_allclose(smaller[:, :, 3, 3], 1, rtol=1e-6)
    darker = Augmentation(shift=2, fill="constant", fill_value=3, brightness=0.5)
    assert (darker(images, seeded()) == 3).any()


@pytest.mark.parametrize("kind", KINDS)
class TestContract:
    def test_seeds_repeat(self, kind):
        images = noise(8, 3, 10, 12)
        augmentation = Augmentation(**kind)
        first = augmentation(images, seeded(3))
        assert torch.equal(first, augmentation(images, seeded(3)))
        generator = seeded(3)
        augmentation(images, generator)
        if kind:
            assert not torch.equal(first, augmentation(images, generator))

    def test_images_do_not_depend_on_each_other(self, kind):
        images = noise(8, 3, 10, 12)
        others = images.clone()
        others[:4] = 0
        results = [Augmentation(**kind)(batch, seeded()) for batch in (images, others)]
        assert torch.equal(results[0][4:], results[1][4:])

    def test_every_image_gets_its_own_draw(self, kind):
        images = noise(1, 1, 10, 12).repeat(16, 1, 1, 1)
        result = Augmentation(**kind)(images, seeded())
        assert len({image.numpy().tobytes() for image in result}) > (8 if kind else 0)

    @pytest.mark.parametrize("channels", [1, 2, 3])
    def test_memory_layout_does_not_matter(self, kind, channels):
        contiguous = noise(5, channels, 10, 12)
        expected = Augmentation(**kind)(contiguous, seeded())
        n_last = contiguous.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
        turned = contiguous.transpose(2, 3).contiguous().transpose(2, 3)
        sliced = contiguous.repeat_interleave(2, dim=3)[..., ::2]
        for images in (channels_last(contiguous), n_last, turned, sliced):
            result = Augmentation(**kind)(images, seeded())
            torch.testing.assert_close(result, expected)
        shared = contiguous[:1, :1].expand(5, channels, 10, 12)
        torch.testing.assert_close(
            Augmentation(**kind)(shared, seeded()),
            Augmentation(**kind)(shared.contiguous(), seeded()),
        )

    @pytest.mark.parametrize("shape", [(5, 1, 10, 12), (5, 3, 10, 12), (1, 1, 6, 6)])
    def test_channels_last_stays_so(self, kind, shape):
        images = channels_last(noise(*shape))
        assert Augmentation(**kind)(images, seeded()).stride() == images.stride()

    @pytest.mark.parametrize("shape", [(1, 1, 9, 9), (1, 3, 1, 7), (2, 1, 5, 1), (3, 1, 1, 1)])
    def test_small_batches_and_images(self, kind, shape):
        result = Augmentation(**kind)(noise(*shape), seeded())
        assert result.shape == shape
        assert torch.isfinite(result).all()

    def test_double_precision_gets_the_same_draws(self, kind):
        images = noise(6, 2, 10, 12, dtype=torch.float64)
        result = Augmentation(**kind)(images, seeded())
        assert result.dtype == torch.float64
        single = Augmentation(**kind)(images.float(), seeded())
        assert single.dtype == torch.float32
        np.testing.assert_allclose(result, single, atol=1e-4)

    def test_images_and_global_generators_are_left_alone(self, kind):
        images = noise(6, 3, 10, 12)
        before = images.clone()
        of_torch, of_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        result = Augmentation(**kind)(images, seeded())
        Augmentation(**kind).augment(images.numpy())
        assert torch.equal(torch.get_rng_state(), of_torch)
        np.testing.assert_array_equal(np.random.get_state()[1], of_numpy)  # noqa: NPY002
        assert torch.equal(images, before)
        result.zero_()
        assert torch.equal(images, before)

    def test_all_tensors_are_on_the_images_device(self, kind):
        result = Augmentation(**kind)(noise(4, 3, 10, 12).to("meta"), seeded())
        assert result.device.type == "meta"
        assert result.shape == (4, 3, 10, 12)


def channels_last(images):
    m, c, h, w = images.shape
    # A copy that is filled has these strides for one channel too.
    return torch.empty(m, h, w, c).permute(0, 3, 1, 2).copy_(images)


class TestAugment:
    def test_scales_and_shapes(self):
        rng = np.random.default_rng(0)
        grey = rng.integers(0, 256, (7, 6, 5), dtype=np.uint8)
        result = Augmentation().augment(grey)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, grey / np.float32(255))
        colour = rng.random((7, 6, 5, 3))
        np.testing.assert_array_equal(Augmentation().augment(colour), colour)
        first = Augmentation().augment(np.moveaxis(colour, -1, 1), channel_axis=1)
        np.testing.assert_array_equal(first, colour)
        flat = Augmentation().augment(colour.reshape(7, -1), image_shape=(6, 5, 3))
        np.testing.assert_array_equal(flat, colour)

    @pytest.mark.parametrize("shape", [(9, 8, 8), (9, 8, 8, 3)])
    def test_is_the_call_in_numpy(self, shape):
        X = np.random.default_rng(0).random(shape).astype(np.float32)
        augmentation = Augmentation(**EVERYTHING)
        result = augmentation.augment(X, random_state=5)
        images = torch.from_numpy(X.reshape(9, 8, 8, -1)).permute(0, 3, 1, 2)
        seed = int(np.random.RandomState(5).randint(2**31))
        expected = augmentation(images, seeded(seed)).permute(0, 2, 3, 1).reshape(shape)
        np.testing.assert_array_equal(result, expected)

    def test_seeds(self):
        X = np.random.default_rng(0).random((20, 8, 8))
        augmentation = Augmentation(**EVERYTHING)
        first = augmentation.augment(X, random_state=1)
        np.testing.assert_array_equal(first, augmentation.augment(X, random_state=1))
        generator = np.random.RandomState(1)
        np.testing.assert_array_equal(first, augmentation.augment(X, random_state=generator))
        assert (first != augmentation.augment(X, random_state=generator)).any()
        assert (augmentation.augment(X) != augmentation.augment(X)).any()

    def test_read_only_images_in_chunks(self, monkeypatch):
        X = np.random.default_rng(0).random((20, 8, 8)).astype(np.float32)
        X.flags.writeable = False
        before = X.copy()
        monkeypatch.setattr(_augmentation, "_CHUNK_MIB", 5 * 8 * 8 * 4 / 2**20)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = Augmentation(shift=1).augment(X, random_state=0)
        np.testing.assert_array_equal(X, before)
        # Each is one of the nine shifts of its own image.
        padded = np.pad(X, [(0, 0), (1, 1), (1, 1)], mode="edge")
        shifts = [padded[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
        assert np.any([(result == s).all(axis=(1, 2)) for s in shifts], axis=0).all()

    def test_bad_images(self):
        with pytest.raises(ValueError, match="NaN"):
            Augmentation().augment(np.full((2, 4, 4), np.nan))
        with pytest.raises(ValueError, match="batch of images"):
            Augmentation().augment(np.zeros(4))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("shift", [-1, np.inf, np.nan, "1", None, (1, -1), (1, 2, 3), (1, np.inf), [], ("a", 1)]),
        ("rotation", [-1, 181, np.nan, "10", None, (0, 10)]),
        ("scale", [-0.1, 1, np.nan, "1", None, (0, 1), (1.2, 0.8), (1, np.inf), (1,)]),
        ("shear", [-1, 90, None]),
        ("flip", ["left", True, 1]),
        ("elastic", [-1, np.inf, None]),
        ("elastic_smoothness", [0, -1, np.inf, np.nan]),
        ("cutout", [-1, 2.5, None]),
        ("brightness", [-0.1, np.inf, None]),
        ("contrast", [-0.1, 1.1, np.nan]),
        ("fill", ["nearest", None, 0]),
        ("fill_value", [np.nan, np.inf, None, "0"]),
    ],
)
def test_bad_parameters_are_named(name, values):
    for value in values:
        augmentation = Augmentation(**{name: value})
        for use in (
            augmentation.check,
            lambda: augmentation(noise(2, 1, 4, 4), seeded()),  # noqa: B023
            lambda: augmentation.augment(np.zeros((2, 4, 4))),  # noqa: B023
        ):
            with pytest.raises(ValueError, match=rf"\b{name}\b"):
                use()


def test_bad_batches():
    with pytest.raises(TypeError, match=r"torch\.Tensor, got ndarray"):
        Augmentation()(np.zeros((2, 1, 4, 4)), seeded())
    with pytest.raises(ValueError, match=r"\(2, 4, 4\)"):
        Augmentation()(torch.zeros(2, 4, 4), seeded())
    with pytest.raises(ValueError, match="uint8"):
        Augmentation()(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), seeded())


class Holder(BaseEstimator):
    def __init__(self, augment=None):
        self.augment = augment


def test_parameters_can_be_searched_cloned_and_pickled():
    holder = clone(Holder(Augmentation(shift=(1, 2), flip="both")))
    holder.set_params(augment__rotation=10, augment__shift=[1, 2])
    assert holder.augment.rotation == 10
    assert repr(holder.augment) == "Augmentation(flip='both', rotation=10, shift=[1, 2])"
    images = noise(3, 1, 8, 8)
    again = pickle.loads(pickle.dumps(holder.augment))
    assert torch.equal(holder.augment(images, seeded()), again(images, seeded()))


def test_parameters_are_described_and_constrained():
    names = list(inspect.signature(Augmentation).parameters)
    text = inspect.getdoc(Augmentation)
    parameters = text[text.index("Parameters\n---") : text.index("Raises\n---")]
    assert re.findall(r"^(\w+) :", parameters, flags=re.MULTILINE) == names
    assert list(Augmentation._parameter_constraints) == names
    reference = Path(__file__).parents[2] / "docs" / "api" / "index.rst"
    assert re.search(r"^ +Augmentation$", reference.read_text(encoding="utf-8"), re.MULTILINE)
    assert {"Augmentation"} <= set(skcnn.__all__)


def test_angles_are_in_degrees():
    quarter = Augmentation(rotation=90)
    limit = radians(90)
    matrices, _ = inverses(quarter(ramps(500), seeded()))
    angles = np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0])
    assert 0.95 * limit < np.abs(angles).max() <= limit + 1e-6


def test_images_that_are_changed_alike_are_changed_as_one_is():
    images = torch.rand(5, 3, 12, 10, generator=seeded(3))
    every = {"shift": 2.5, "rotation": 20, "scale": 0.2, "shear": 5, "flip": "both", "elastic": 1.0}
    augmentation = Augmentation(**every, cutout=4, brightness=0.2, contrast=0.3)
    together = augmentation(images, seeded(0), alike=True)
    for k in range(5):
        alone = augmentation(images[k : k + 1], seeded(0))
        np.testing.assert_allclose(together[k : k + 1], alone, atol=1e-6)
