"""Images reach a network as timm's own evaluation would show them to it."""

import warnings
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from skimage import data

from skcnn.pretrained._preprocessing import PreprocessImages, Preprocessing, preprocessed

IMAGENET = Preprocessing(size=224)


def configuration_of(how):
    """Return what timm's create_transform is asked for."""
    return {
        "input_size": (3, *how.size),
        "interpolation": how.interpolation,
        "crop_pct": how.crop,
        "crop_mode": how.crop_mode,
        "mean": how.mean,
        "std": how.std,
    }


def as_timm_does(images, how):
    transform = timm.data.create_transform(**configuration_of(how), is_training=False)
    coloured = np.broadcast_to(images, (*images.shape[:3], 3))
    return torch.stack([transform(Image.fromarray(image)) for image in coloured])


def levels_apart(batch, expected, how):
    """Return mean and largest difference, counted in the 256 levels of a byte."""
    std = torch.tensor(how.std).view(1, 3, 1, 1)
    apart = (batch - expected).abs() * std * 255
    return apart.mean().item(), apart.max().item()


def random_images(height, width, n_channels=3):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (3, height, width, n_channels), dtype=np.uint8)


PHOTOS = {
    "astronaut": data.astronaut()[None],
    "chelsea": data.chelsea()[None],
    "coffee": data.coffee()[None],
    "portrait": np.ascontiguousarray(data.coffee().swapaxes(0, 1))[None],
    "rocket": data.rocket()[None],
    "camera": data.camera()[None, ..., None],
}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_mode", ["center", "border"])
@pytest.mark.parametrize("name", PHOTOS)
def test_photos_are_seen_as_by_timm(name, crop_mode, interpolation):
    how = replace(IMAGENET, crop_mode=crop_mode, interpolation=interpolation)
    photo = PHOTOS[name]
    assert torch.equal(preprocessed(photo, how), as_timm_does(photo, how))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("name", PHOTOS)
def test_squashed_photos_are_seen_as_by_timm(name, interpolation):
    how = replace(IMAGENET, crop_mode="squash", interpolation=interpolation)
    photo = PHOTOS[name]
    mean, _ = levels_apart(preprocessed(photo, how), as_timm_does(photo, how), how)
    # Pillow 13 filters columns first where the height shrinks much more than the width, and
    # rounds other values by that. Weights were published with rows first.
    assert mean < 0.3


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize(
    "shape",
    [(32, 32), (8, 9), (33, 20), (20, 45), (64, 64), (70, 71), (200, 131), (1, 7), (1, 1)],
    ids=str,
)
def test_any_size_is_seen_as_by_timm(shape, n_channels, interpolation):
    how = Preprocessing(size=64, interpolation=interpolation, crop=0.9)
    images = random_images(*shape, n_channels)
    expected = as_timm_does(images, how)
    batch = preprocessed(images, how)
    assert batch.shape == (3, 3, 64, 64)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, expected)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("crop", [0.875, 1.0, 1.15])
@pytest.mark.parametrize("size", [(48, 48), (41, 64), (64, 41)], ids=str)
@pytest.mark.parametrize("shape", [(37, 50), (100, 61)], ids=str)
def test_every_crop_is_at_timms_place(shape, size, crop, crop_mode):
    how = Preprocessing(size, "bilinear", crop, crop_mode=crop_mode)
    images = random_images(*shape)
    mean, _ = levels_apart(preprocessed(images, how), as_timm_does(images, how), how)
    # Squashed images: see above.
    assert mean < (0.3 if crop_mode == "squash" else 1e-9)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_floats_are_not_rounded_but_look_the_same(name, interpolation):
    how = replace(IMAGENET, interpolation=interpolation)
    photo = PHOTOS[name]
    batch = preprocessed((photo / 255).astype(np.float32), how)
    mean, largest = levels_apart(batch, as_timm_does(photo, how), how)
    assert 0.05 < mean < 0.5  # rounding alone takes a quarter of a level on average
    assert largest < 2.1


def test_float64_images_are_taken_too():
    images = random_images(40, 40) / 255
    batch = preprocessed(images, IMAGENET)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch, preprocessed(images.astype(np.float32), IMAGENET))


@pytest.mark.parametrize("n_channels", [1, 3])
def test_images_of_the_right_size_are_only_normalised(n_channels):
    how = Preprocessing(size=(48, 64), crop=1.0)
    images = random_images(48, 64, n_channels)
    expected = as_timm_does(images, how)
    assert torch.equal(preprocessed(images, how), expected)
    torch.testing.assert_close(preprocessed(images / np.float32(255), how), expected)


@pytest.mark.parametrize("crop", [0.875, 1.15])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_images_of_the_right_side_are_only_cropped_and_normalised(n_channels, crop):
    how = Preprocessing(size=64, crop=crop)
    shape = how.resized((64, 64))
    images = random_images(shape[0], shape[1] + 9, n_channels)
    assert torch.equal(preprocessed(images, how), as_timm_does(images, how))


def test_images_are_left_as_they_were():
    images = random_images(64, 64)
    images.setflags(write=False)
    as_floats = images / np.float32(255)
    before = as_floats.copy()
    how = Preprocessing(size=64, crop=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of memory that it must not write to
        preprocessed(images, how)
    preprocessed(as_floats, how)
    assert np.array_equal(as_floats, before)


def test_the_layer_does_the_same_in_a_network():
    images = random_images(50, 40) / np.float32(255)
    how = Preprocessing(size=32)
    layer = PreprocessImages(how)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    assert torch.equal(layer(tensor), preprocessed(images, how))
    assert torch.equal(layer(tensor[:, :1]), preprocessed(images[..., :1], how))
    assert "size=(32, 32)" in repr(layer)
    assert not list(layer.parameters())
    assert not layer.state_dict()


def test_gradients_flow_through_the_layer():
    images = torch.full((1, 3, 20, 20), 0.5, requires_grad=True)
    PreprocessImages(Preprocessing(size=16, crop=1.0, std=(1.0, 1.0, 1.0)))(images).sum().backward()
    # What the filter's weights add up to: 16 x 16 values of three channels.
    torch.testing.assert_close(images.grad.sum(), torch.tensor(16.0 * 16 * 3))


@pytest.mark.parametrize(
    "name",
    [
        "vgg16",
        "resnet50",
        "inception_v3",
        "efficientnet_b0",
        "tf_efficientnet_lite0",
        "beit_base_patch16_224",
    ],
)
def test_timms_configuration_is_understood(name):
    configuration = timm.models.get_pretrained_cfg(name).to_dict()
    expected = timm.data.resolve_data_config(pretrained_cfg=configuration)
    assert configuration_of(Preprocessing.of_timm(configuration)) == expected


def test_an_empty_configuration_is_timms_default():
    expected = timm.data.resolve_data_config({"crop_pct": None}, pretrained_cfg={})
    assert configuration_of(Preprocessing.of_timm({})) == expected


def test_every_published_configuration_is_understood():
    names = timm.list_pretrained()
    kinds = set()
    for name in names:
        how = Preprocessing.of_timm(timm.models.get_pretrained_cfg(name).to_dict())
        kinds.add((how.interpolation, how.crop_mode))
    assert len(kinds) >= 5


def test_only_networks_of_three_channels():
    with pytest.raises(ValueError, match="13 channels"):
        Preprocessing.of_timm({"input_size": (13, 224, 224)})


def test_values_are_kept_in_one_form():
    how = Preprocessing(size=64, interpolation="random", crop=1, mean=[0, 0, 0], std=np.ones(3))
    assert how == Preprocessing((64, 64), "bilinear", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert hash(how) == hash(replace(how))
    assert type(how.mean[0]) is float
    with pytest.raises(FrozenInstanceError):
        how.size = (1, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "size must be"),
        ({"size": (1, 2, 3)}, "size must be"),
        ({"interpolation": "cubic"}, "interpolation must be one of 'bilinear', 'bicubic'"),
        ({"crop": 0}, "crop must be a positive number, got 0"),
        ({"crop": "all"}, "crop must be a positive number"),
        ({"mean": 0.5}, "mean must be three numbers"),
        ({"mean": (0.5, 0.5)}, "mean must be three numbers"),
        ({"std": (0.5, 0.5, np.nan)}, "std must be three numbers"),
        ({"std": (0.5, 0.5, 0)}, "std must be positive"),
        ({"crop_mode": "middle"}, "crop_mode must be one of"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{"size": 224} | values)
