"""The first layers of a network for grey images, computed as one, against torch's own."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skcnn import CNNClassifier
from skcnn.datasets import load_digit_images
from skcnn.neural import _grey_block, _training
from skcnn.neural._batches import as_input
from skcnn.neural._grey_block import joined, train_through
from skcnn.neural._inference import as_function
from skcnn.neural._pooling import TileMaxima

# Height, width and padding: tiles that fit, a row and a column over, a single tile.
SIZES = [(10, 8, 0), (9, 7, 0), (8, 8, 1), (5, 6, (2, 1)), (4, 4, 0), (28, 28, 0)]


def images(*shape, dtype=torch.float64, levels=None):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator, dtype=dtype)
    if levels is not None:  # sums without rounding, of which many are equal
        values = torch.randint(levels, shape, generator=generator).to(dtype)
    return as_input(values[..., None])


def block(channels, padding=0, *, bias=True, relu=True, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        convolution = nn.Conv2d(1, channels, 3, padding=padding, bias=bias, dtype=dtype)
    activation = nn.ReLU(inplace=True) if relu else nn.Tanh()
    return nn.Sequential(convolution, TileMaxima((2, 2)), activation)


def as_torch_does(network):
    layers = [nn.MaxPool2d(2) if type(layer) is TileMaxima else layer for layer in network]
    return nn.Sequential(*layers)


def gradients(outputs, network):
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)
    return torch.autograd.grad((outputs * weights).sum(), list(network.parameters()))


def assert_alike(ours, theirs, rounding):
    assert ours.shape == theirs.shape
    assert float((ours - theirs).detach().abs().max()) <= rounding * float(
        theirs.detach().abs().max()
    )


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 25])
@pytest.mark.parametrize(("height", "width", "padding"), SIZES)
@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float64, 1e-12), (torch.float32, 2e-5)], ids=str
)
def test_maps_and_gradients_are_torchs(
    height, width, padding, channels, bias, relu, dtype, rounding
):
    network = block(channels, padding, bias=bias, relu=relu, dtype=dtype)
    inputs = images(5, height, width, dtype=dtype)
    ours, theirs = train_through(network, inputs), as_torch_does(network)(inputs)
    assert type(ours.grad_fn).__name__ != type(theirs.grad_fn).__name__ or not relu
    assert_alike(ours, theirs, rounding)
    assert ours.permute(0, 2, 3, 1).is_contiguous()
    for one, other in zip(gradients(ours, network), gradients(theirs, network), strict=True):
        assert_alike(one, other, rounding)
    with torch.inference_mode():
        assert_alike(as_function(network)(inputs), theirs, rounding)


def test_of_equal_values_the_first_gets_the_gradient():
    network = block(4)
    with torch.no_grad():
        network[0].weight.copy_(network[0].weight.mul(4).round())
    inputs = images(6, 12, 12, levels=2)
    ours, theirs = train_through(network, inputs), as_torch_does(network)(inputs)
    for one, other in zip(gradients(ours, network), gradients(theirs, network), strict=True):
        assert_alike(one, other, 1e-12)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("place", ["weight", "bias", "image"])
def test_what_is_not_a_number_goes_on(place, relu):
    network, inputs = block(2, relu=relu), images(1, 6, 6)
    with torch.no_grad():
        hurt = inputs if place == "image" else getattr(network[0], place)
        hurt.view(-1)[0] = torch.nan
    expected = as_torch_does(network)(inputs).isnan()
    assert expected.any()
    assert torch.equal(train_through(network, inputs).isnan(), expected)
    assert torch.equal(as_function(network)(inputs).isnan(), expected)


def sizes(*layers):
    return [len(some) for some in joined(layers)]


def test_only_what_the_kernels_compute_is_joined():
    pool, relu = TileMaxima((2, 2)), nn.ReLU()
    assert sizes(nn.Conv2d(1, 4, 3), pool, relu) == [3]
    assert sizes(nn.Dropout(), nn.Conv2d(1, 4, 3), pool, nn.Tanh(), relu) == [1, 2, 1, 1]
    for other in (
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(1, 4, 5),
        nn.Conv2d(1, 4, 3, stride=2),
        nn.Conv2d(1, 4, 3, dilation=2),
        nn.Conv2d(1, 4, 3, padding="same"),
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv1d(1, 4, 3),
    ):
        assert sizes(other, pool, relu) == [1, 1, 1]
    assert sizes(nn.Conv2d(1, 4, 3), TileMaxima((1, 2)), relu) == [1, 1, 1]
    assert sizes(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), pool) == [1, 1, 1]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_hook_sees_its_layer(number):
    network, seen = block(3), []
    handle = network[number].register_forward_hook(lambda *_: seen.append(number))
    inputs = images(2, 6, 6)
    train_through(network, inputs)
    assert seen == [number]
    handle.remove()
    train_through(network, inputs)
    assert seen == [number]


def test_inputs_whose_gradient_is_asked_for_get_it():
    network, inputs = block(3), images(2, 6, 6).requires_grad_()
    (ours,) = torch.autograd.grad(train_through(network, inputs).sum(), inputs)
    (theirs,) = torch.autograd.grad(as_torch_does(network)(inputs).sum(), inputs)
    assert_alike(ours, theirs, 1e-12)


def test_frozen_weights_stay_without_gradients():
    network = block(3)
    network[0].weight.requires_grad_(False)
    (ours,) = torch.autograd.grad(train_through(network, images(2, 6, 6)).sum(), network[0].bias)
    outputs = as_torch_does(network)(images(2, 6, 6))
    (theirs,) = torch.autograd.grad(outputs.sum(), network[0].bias)
    assert_alike(ours, theirs, 1e-12)


def test_images_in_any_order_of_memory():
    network = block(3)
    inputs = images(2, 9, 7)
    expected = as_torch_does(network)(inputs)
    turned = inputs.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    every_other = torch.stack([inputs, inputs + 1], dim=1).flatten(0, 1)[::2]
    for same in (turned, every_other):
        assert_alike(train_through(network, same), expected, 1e-12)
        assert_alike(as_function(network)(same), expected, 1e-12)


def test_no_images_have_no_maps():
    assert train_through(block(3), images(0, 8, 6)).shape == (0, 3, 3, 2)


def test_images_smaller_than_a_kernel_are_refused_by_torch():
    network = block(3)
    for compute in (train_through, lambda network, inputs: as_function(network)(inputs)):
        with pytest.raises(RuntimeError, match="Kernel size"):
            compute(network, images(1, 2, 8))


def test_many_threads_and_other_types_are_left_to_torch(monkeypatch):
    network, inputs = block(3), images(2, 8, 8)
    expected = train_through(network, inputs)
    monkeypatch.setattr(_grey_block, "_MOST_THREADS", 0)
    outputs = train_through(network, inputs)
    assert type(outputs.grad_fn).__name__ == "ReluBackward0"
    assert_alike(outputs, expected, 1e-12)
    monkeypatch.undo()
    low = copy.deepcopy(network).bfloat16()
    assert train_through(low, inputs.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("options", [{}, {"batch_norm": False}, {"input_dropout": 0.2}])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_networks_learn_and_predict_as_layer_by_layer(options, activation, monkeypatch):
    digits = load_digit_images()
    X, y = digits.images[:300], digits.target[:300]
    settings = {"max_iter": 2, "random_state": 0, "activation": activation, **options}

    def fit():
        return CNNClassifier((6, 8), hidden_layer_sizes=(10,), **settings).fit(X, y)

    ours = fit()
    with monkeypatch.context() as patched:
        patched.setattr(_training, "train_through", lambda network, inputs: network(inputs))
        plain = fit()
    for name, values in ours.weights_.items():
        np.testing.assert_allclose(values, plain.weights_[name], rtol=0, atol=2e-3, err_msg=name)
    with monkeypatch.context() as patched:
        patched.setattr(_grey_block, "_MOST_THREADS", 0)
        expected = copy.deepcopy(ours).predict_proba(X)
    np.testing.assert_allclose(ours.predict_proba(X), expected, rtol=0, atol=2e-5)
