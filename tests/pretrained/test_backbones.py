"""The registry: names, what timm says of the networks, and networks that are built."""

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch

from skcnn import Preprocessing, list_backbones
from skcnn.pretrained._backbones import blank_network, find_backbone, random_network

FAMILIES = ["vgg16", "resnet50", "inception_v3", "efficientnet_b0"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("vgg16", "vgg16.tv_in1k"),
        ("VGG-16", "vgg16.tv_in1k"),
        ("resnet50", "resnet50.a1_in1k"),
        ("ResNet-50", "resnet50.a1_in1k"),
        ("resnet50.tv_in1k", "resnet50.tv_in1k"),
        ("inception_v3", "inception_v3.tv_in1k"),
        ("Inception-v3", "inception_v3.tv_in1k"),
        ("efficientnet_b0", "efficientnet_b0.ra_in1k"),
        ("EfficientNet-B0", "efficientnet_b0.ra_in1k"),
        ("tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k"),
        ("efficientnet_lite0", "efficientnet_lite0.ra_in1k"),
        ("test_vit", "test_vit.r160_in1k"),
    ],
)
def test_names(written, name):
    backbone = find_backbone(written)
    assert backbone.name == name
    assert backbone.hub_id == f"timm/{name}"
    assert backbone.n_classes == 1000


@pytest.mark.parametrize("name", [*FAMILIES, "tf_efficientnet_lite0", "test_convnext"])
def test_preprocessing_is_that_of_timm_s_configuration(name):
    network = timm.create_model(name)
    expected = timm.data.resolve_model_data_config(network)
    how = find_backbone(name).preprocessing
    assert (3, *how.size) == expected["input_size"]
    assert how.interpolation == expected["interpolation"]
    assert how.crop == expected["crop_pct"]
    assert how.mean == expected["mean"]
    assert how.std == expected["std"]
    assert isinstance(how, Preprocessing)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet51", "'resnet50'"),
        ("resnet50.a9_in1k", "Did you mean 'resnet50"),
        ("efficientnet_b", "'efficientnet_b0'"),
        ("qqq", r"skcnn.list_backbones\('\*part\*'\)"),
    ],
)
def test_unknown_names_get_a_hint(name, hint):
    with pytest.raises(ValueError, match=f"backbone='{name}' is no network of timm.*{hint}"):
        find_backbone(name)


def test_lists_are_those_of_timm():
    names = list_backbones()
    assert names == sorted(names)
    assert {*FAMILIES, "tf_efficientnet_lite0"} <= set(names)
    assert set(names) == {name.partition(".")[0] for name in timm.list_models(pretrained=True)}
    assert list_backbones("resnet50.*") == sorted(timm.list_models("resnet50.*", pretrained=True))
    assert list_backbones("no such*") == []
    assert all(find_backbone(name).hub_id for name in list_backbones("resnet?8*"))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit3", "test_efficientnet_gn", "test_nfnet"])
def test_a_blank_network_with_weights_is_the_network(name):
    """What a network computes with besides its weights is there, though no weights are drawn."""
    backbone = find_backbone(name)
    expected = random_network(backbone, 0)
    blank = blank_network(backbone)
    blank.load_state_dict(expected.state_dict())
    images = torch.randn(2, 3, *backbone.preprocessing.size)
    with torch.inference_mode():
        torch.testing.assert_close(blank(images), expected(images), rtol=0, atol=0)


def test_networks_leave_torch_as_they_found_it():
    backbone = find_backbone("test_resnet")
    before = torch.random.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        networks = [
            random_network(backbone, 3),
            random_network(backbone, 3),
            blank_network(backbone),
        ]
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before, torch.random.get_rng_state())
    first, second = (
        np.concatenate([p.detach().ravel() for p in n.parameters()]) for n in networks[:2]
    )
    np.testing.assert_array_equal(first, second)
    assert {p.dtype for n in networks for p in n.parameters()} == {torch.float32}
    assert not any(n.training for n in networks)


def test_without_timm_an_error_says_what_to_install():
    code = (
        "import sys; sys.modules['timm'] = None\n"
        "import numpy as np, skcnn\n"
        "for use in (skcnn.list_backbones, skcnn.PretrainedExtractor().fit):\n"
        "    try: use(*[np.zeros((2, 8, 8))] if use is not skcnn.list_backbones else [])\n"
        "    except ImportError as error: print(error)\n"
        "print(len(skcnn.default_pipelines()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    *errors, n_pipelines = result.stdout.splitlines()
    line = 'pip install "skcnn[pretrained]"'
    assert errors == [f"Pre-trained networks need timm, which is not installed: {line}"] * 2
    assert n_pipelines == "11"
