"""Bytes are resized as Pillow does it, bit by bit."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from skimage import data

from skcnn.pretrained._preprocessing import Preprocessing, preprocessed
from skcnn.pretrained._resizing_kernel import resize_bytes, taps

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# Bytes stay what they are.
LEVELS = np.tile(np.arange(256, dtype=np.float32), (3, 1))
CUT = 3


def resized(image, height, width, filter_):
    """Return an image (h, w, c) resized, without its border of three pixels."""
    axes = [
        taps(before, after, slice(CUT, after - CUT), filter_)
        for before, after in zip(image.shape, (height, width), strict=False)
    ]
    out = np.empty((1, height - 2 * CUT, width - 2 * CUT, 3), np.float32)
    resize_bytes(image[np.newaxis], *axes, LEVELS, out)
    return out[0]


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((28, 28), (256, 256)),
        ((32, 32), (235, 235)),
        ((256, 256), (224, 224)),
        ((300, 400), (256, 341)),
        ((512, 512), (256, 256)),
        ((511, 640), (17, 21)),
        ((50, 70), (50, 200)),
        ((50, 70), (20, 70)),
        ((1, 9), (160, 1440)),
        ((40, 40), (40, 40)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_equal_to_pillow(before, after, filter_, channels):
    image = np.random.default_rng(0).integers(0, 256, (*before, channels), dtype=np.uint8)
    if channels == 3:  # extremes, beyond which cubic sums would go
        image[::2] = np.where(image[::2] > 127, 255, 0)
    pillow = Image.fromarray(image.squeeze(2) if channels == 1 else image)
    expected = np.asarray(pillow.resize(after[::-1], FILTERS[filter_]))
    expected = expected.reshape(*after, channels)[CUT:-CUT, CUT:-CUT]
    actual = resized(image, *after, filter_)
    np.testing.assert_array_equal(actual, np.broadcast_to(expected, actual.shape))


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_photos_reach_the_network_exactly_as_timm_shows_them(name, filter_):
    image = getattr(data, name)()
    how = Preprocessing(224, filter_, 0.875)
    transform = timm.data.create_transform(
        (3, 224, 224), interpolation=filter_, crop_pct=0.875, mean=how.mean, std=how.std
    )
    expected = transform(Image.fromarray(image))
    torch.testing.assert_close(preprocessed(image[None], how)[0], expected, rtol=0, atol=0)


def test_images_need_not_lie_in_one_piece():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 30), dtype=np.uint8)
    how = Preprocessing(16)
    turned = images.transpose(0, 2, 3, 1)
    assert torch.equal(preprocessed(turned, how), preprocessed(turned.copy(), how))
