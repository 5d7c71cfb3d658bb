"""The ready-made residual network, against closed forms and torch's functions."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.fusion import fuse_conv_bn_eval

from skcnn.neural._modules import SeededDropout
from skcnn.neural._residual import ResidualBlock, ResidualNetwork
from skcnn.neural._summary import summarize

SMALL = partial(ResidualNetwork, channels=(4, 6))


def n_weights(network):
    return sum(weight.numel() for weight in network.parameters())


def closed_form(in_channels, n_classes, channels, blocks):
    """Kernels without biases, two numbers a map for each normalisation, and the output layer."""
    before = channels[0] // 2
    total = 9 * in_channels * before + 2 * before
    for after, n_blocks in zip(channels, blocks, strict=True):
        total += 9 * before * after + 2 * after + n_blocks * (18 * after**2 + 4 * after)
        before = after
    return total + before * n_classes + n_classes


@pytest.mark.parametrize(
    ("in_channels", "n_classes", "channels", "blocks"),
    [
        (3, 10, (64, 128, 256), (1, 1, 1)),
        (1, 2, (8, 4, 6), (0, 2, 1)),
        (2, 7, (6,), (3,)),
    ],
)
def test_number_of_weights(in_channels, n_classes, channels, blocks):
    network = ResidualNetwork(
        in_channels, 16, 16, n_classes, channels=channels, blocks_per_stage=blocks
    )
    expected = closed_form(in_channels, n_classes, channels, blocks)
    assert n_weights(network) == expected
    summary = summarize(network, (16, 16, in_channels))
    assert sum(row.n_weights for row in summary) == expected


def test_one_number_is_one_stage_and_the_same_blocks_everywhere():
    assert n_weights(SMALL(3, 8, 8, 2, channels=8)) == n_weights(SMALL(3, 8, 8, 2, channels=(8,)))
    one_number, listed = (SMALL(3, 8, 8, 2, blocks_per_stage=blocks) for blocks in (2, [2, 2]))
    assert list(one_number.state_dict()) == list(listed.state_dict())


def randomised(network):
    """Return the network in float64, with statistics and scales unlike those it starts with."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.double().state_dict().items():
        if value.is_floating_point() and "conv" not in name:
            value.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.5)
    return network


def normalise(values, state, name, training):
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return F.batch_norm(values, mean.clone(), variance.clone(), weight, bias, training)


def block_by_hand(values, state, prefix, training):
    change = F.conv2d(values, state[f"{prefix}conv1.weight"], padding=1)
    change = normalise(change, state, f"{prefix}norm1", training).relu()
    change = F.conv2d(change, state[f"{prefix}conv2.weight"], padding=1)
    change = normalise(change, state, f"{prefix}norm2", training)
    return (change + values).relu()


@pytest.mark.parametrize("training", [True, False])
def test_a_block_computes_what_it_says(training):
    torch.manual_seed(0)
    block = randomised(ResidualBlock(5)).train(training)
    state = {name: value.clone() for name, value in block.state_dict().items()}
    values = torch.randn(3, 5, 6, 7, dtype=torch.float64)
    expected = block_by_hand(values, state, "", training)
    torch.testing.assert_close(block(values.clone()), expected)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_computes_what_it_says(training):
    torch.manual_seed(0)
    network = randomised(SMALL(3, 9, 10, 4, output_scale=0.5)).train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randn(3, 3, 9, 10, dtype=torch.float64)
    values = F.conv2d(images, state["stem.conv.weight"], padding=1)
    values = normalise(values, state, "stem.norm", training).relu()
    for stage in ("stage1", "stage2"):
        values = F.max_pool2d(F.conv2d(values, state[f"{stage}.conv.weight"], padding=1), 2)
        values = normalise(values, state, f"{stage}.norm", training).relu()
        values = block_by_hand(values, state, f"{stage}.block1.", training)
    values = values.amax(dim=(2, 3))
    expected = 0.5 * F.linear(values, state["output.weight"], state["output.bias"])
    kept = images.clone()
    torch.testing.assert_close(network(images), expected)
    torch.testing.assert_close(images, kept, rtol=0, atol=0)


def test_gradients_are_those_of_the_plain_computation():
    torch.manual_seed(0)
    block = randomised(ResidualBlock(3)).train()
    state = dict(block.state_dict(keep_vars=True))
    values = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    inputs = [values, *block.parameters()]
    expected = torch.autograd.grad(block_by_hand(values, state, "", True).square().sum(), inputs)
    found = torch.autograd.grad(block(values).square().sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    network = ResidualNetwork(3, 12, 12, 5, channels=(8, 8, 8), blocks_per_stage=2)
    outputs = network(torch.randn(8, 3, 12, 12))
    F.cross_entropy(outputs, torch.arange(8) % 5).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("image_shape", "sizes"),
    [
        ((28, 28, 1), [(14, 14), (7, 7)]),
        ((32, 32, 3), [(16, 16), (8, 8)]),
        ((7, 13, 2), [(3, 6), (1, 3)]),
        ((1, 10, 1), [(1, 5), (1, 2)]),
        ((3, 2, 1), [(1, 1)]),
    ],
)
def test_shapes(image_shape, sizes):
    height, width, in_channels = image_shape
    channels = (4, 6)[: len(sizes)]
    network = SMALL(in_channels, height, width, 3, channels=channels)
    shapes = {row.layer: row.output_shape for row in summarize(network, image_shape)}
    assert shapes["stem.relu"] == (2, height, width)
    for number, (n_maps, size) in enumerate(zip(channels, sizes, strict=True), start=1):
        assert shapes[f"stage{number}.conv"][0] == n_maps
        assert shapes[f"stage{number}.block1.relu2"] == (n_maps, *size)
    assert shapes["global_pool"] == (channels[-1], 1, 1)
    assert shapes["output"] == shapes["scale"] == (3,)
    assert network(torch.zeros(2, in_channels, height, width)).shape == (2, 3)


def test_names():
    names = set(SMALL(1, 8, 8, 3).state_dict())
    assert {
        "stem.conv.weight",
        "stem.norm.running_mean",
        "stage1.conv.weight",
        "stage1.block1.conv1.weight",
        "stage2.block1.norm2.bias",
        "output.bias",
    } <= names
    assert {name.split(".")[0] for name in names} == {"stem", "stage1", "stage2", "output"}


def test_dropout_is_of_the_last_values_and_draws_from_its_own_generator():
    network = SMALL(1, 8, 8, 3, dropout=0.5)
    layers = [layer for layer in network.modules() if isinstance(layer, SeededDropout)]
    assert layers == [network.dropout]
    assert layers[0].p == 0.5
    assert summarize(network, (8, 8, 1))[-3].layer == "dropout"
    assert not hasattr(SMALL(1, 8, 8, 3), "dropout")


def test_a_block_works_with_its_normalisation_folded():
    torch.manual_seed(0)
    block = randomised(ResidualBlock(5)).eval()
    images = torch.randn(3, 5, 6, 7, dtype=torch.float64)
    expected = block(images)
    for conv, norm in (("conv1", "norm1"), ("conv2", "norm2")):
        folded = fuse_conv_bn_eval(block.get_submodule(conv), block.get_submodule(norm))
        setattr(block, conv, folded)
        setattr(block, norm, torch.nn.Identity())
    kept = images.clone()
    torch.testing.assert_close(block(images), expected)
    torch.testing.assert_close(images, kept, rtol=0, atol=0)


def test_it_is_built_without_memory():
    with torch.device("meta"):
        network = ResidualNetwork(3, 32, 32, 10)
    assert {value.device.type for value in network.state_dict().values()} == {"meta"}


def test_seeded_weights_repeat():
    def state(seed):
        torch.manual_seed(seed)
        return SMALL(1, 8, 8, 3).state_dict()

    assert all(torch.equal(a, b) for a, b in zip(state(0).values(), state(0).values(), strict=True))
    assert not torch.equal(state(0)["stem.conv.weight"], state(1)["stem.conv.weight"])


def test_too_deep_a_network_names_the_sizes():
    with pytest.raises(ValueError, match=r"too deep.*stage 3 has to halve maps of 1 x 1") as error:
        ResidualNetwork(3, 4, 5, 10)
    sizes = "input 3 x 4 x 5 -> stage 1 64 x 2 x 2 -> stage 2 128 x 1 x 1."
    assert sizes in str(error.value)


def test_an_image_of_one_pixel_is_refused():
    with pytest.raises(ValueError, match=r"input 1 x 1 x 1\."):
        ResidualNetwork(1, 1, 1, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"channels": ()}, "channels must hold at least one"),
        ({"channels": (8, 0)}, "channels must be positive ints"),
        ({"blocks_per_stage": -1}, "blocks_per_stage must be"),
        ({"blocks_per_stage": 1.5}, "blocks_per_stage must be"),
        ({"blocks_per_stage": (1, 1, 1)}, "each of the 2 numbers of channels"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"output_scale": 0.0}, "output_scale must be"),
        ({"output_scale": float("inf")}, "output_scale must be"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        SMALL(1, 8, 8, 3, **parameters)
