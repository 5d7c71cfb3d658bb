"""The first layers of a network for grey images, computed as one, against torch's own."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from skcnn import CNNClassifier
from skcnn.datasets import load_digit_images
from skcnn.neural import _grey_block, _training
from skcnn.neural._batches import as_input
from skcnn.neural._grey_block import joined
from skcnn.neural._grey_training import train_through
from skcnn.neural._inference import as_function
from skcnn.neural._pooling import TileMaxima
from skcnn.neural._team_norm import Exchange, SharedNorm

# Height, width and padding: tiles that fit, a row and a column over, a single tile.
SIZES = [(10, 8, 0), (9, 7, 0), (8, 8, 1), (5, 6, (2, 1)), (4, 4, 0), (28, 28, 0)]


def images(*shape, dtype=torch.float64, levels=None):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator, dtype=dtype)
    if levels is not None:  # sums without rounding, of which many are equal
        values = torch.randint(levels, shape, generator=generator).to(dtype)
    return as_input(values[..., None])


def block(channels, padding=0, *, bias=True, norm=False, relu=True, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [nn.Conv2d(1, channels, 3, padding=padding, bias=bias, dtype=dtype)]
        if norm:
            layers.append(nn.BatchNorm2d(channels, eps=0.01, momentum=0.3, dtype=dtype))
            nn.init.normal_(layers[1].weight)  # minima become maxima where it is negative
            nn.init.normal_(layers[1].bias)
    layers.append(TileMaxima((2, 2)))
    return nn.Sequential(*layers, nn.ReLU(inplace=True) if relu else nn.LeakyReLU(inplace=True))


def as_torch_does(network):
    """Return a network of torch's layers alone, with the same weights but moving statistics."""
    network = copy.deepcopy(network, {id(p): p for p in network.parameters()})
    layers = [nn.MaxPool2d(2) if type(layer) is TileMaxima else layer for layer in network]
    return nn.Sequential(*layers)


@torch.no_grad()
def predict_through(network, inputs):
    return as_function(network)(inputs)


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
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 25])
@pytest.mark.parametrize(("height", "width", "padding"), SIZES)
@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float64, 1e-12), (torch.float32, 1e-4)], ids=str
)
def test_maps_and_gradients_are_torchs(
    height, width, padding, channels, bias, norm, relu, dtype, rounding
):
    network = block(channels, padding, bias=bias, norm=norm, relu=relu, dtype=dtype)
    reference = as_torch_does(network)
    inputs = images(5, height, width, dtype=dtype)
    ours, theirs = train_through(network, inputs), reference(inputs)
    assert_alike(ours, theirs, rounding)
    assert ours.permute(0, 2, 3, 1).is_contiguous()
    names = [name for name, _ in network.named_parameters()]
    changes = zip(names, gradients(ours, network), gradients(theirs, reference), strict=True)
    for name, one, other in changes:
        if norm and name == "0.bias":
            assert not one.any()  # torch's is rounding
        else:
            assert_alike(one, other, rounding)
    for one, other in zip(network.buffers(), reference.buffers(), strict=True):
        assert_alike(one, other, rounding)
    if not norm:
        assert_alike(predict_through(network, inputs), theirs, rounding)


@pytest.mark.parametrize("norm", [False, True])
def test_the_layers_are_not_called(norm, monkeypatch):
    network = block(3, norm=norm)
    expected = as_torch_does(network)(images(2, 8, 8))
    for kind in (nn.Conv2d, nn.BatchNorm2d, TileMaxima, nn.ReLU):
        monkeypatch.setattr(kind, "forward", None)
    assert_alike(train_through(network, images(2, 8, 8)), expected, 1e-12)
    if not norm:
        assert_alike(predict_through(network, images(2, 8, 8)), expected, 1e-12)


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-3, 0), (1, 1e4), (1e-3, 100), (1e4, 1e5), (0, 1)]
)
def test_statistics_of_images_of_any_size(scale, offset):
    network = block(4, norm=True)
    reference, inputs = as_torch_does(network), scale * images(5, 12, 12)
    ours = train_through(network, inputs + offset)
    theirs = reference(inputs)  # normalisation takes the offset away; torch's gradients lose by it
    assert_alike(ours, theirs, 1e-9)
    for one, other in zip(gradients(ours, network), gradients(theirs, reference), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
    moved = as_torch_does(block(4, norm=True))
    moved(inputs + offset)
    for one, other in zip(network.buffers(), moved.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_normalisation_in_prediction_is_by_the_moving_statistics():
    network = block(4, norm=True)
    inputs = images(5, 8, 8)
    expected = as_torch_does(network).eval()(inputs)
    assert_alike(train_through(network.eval(), inputs), expected, 1e-12)
    assert_alike(predict_through(network, inputs), expected, 1e-12)


def test_members_of_a_team_have_shares_of_the_gradient():
    network = block(4, norm=True)
    reference, inputs = as_torch_does(network), images(10, 8, 8)
    theirs = reference(inputs)
    weights = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(2)).double()
    expected = torch.autograd.grad((theirs * weights).sum(), list(reference.parameters()))
    exchange = Exchange(2)

    def share(number):
        rows = slice(0, 4) if number == 0 else slice(4, 10)
        convolution, norm, *others = network
        member = nn.Sequential(convolution, SharedNorm(norm, exchange, number), *others)
        outputs = train_through(member, inputs[rows])
        return outputs, torch.autograd.grad(
            (outputs * weights[rows]).sum(), list(network.parameters())
        )

    with ThreadPoolExecutor(2) as pool:
        (first, of_first), (second, of_second) = pool.map(share, range(2))
    assert_alike(torch.cat([first, second]), theirs, 1e-12)
    for name, *found in zip(
        [name for name, _ in network.named_parameters()], of_first, of_second, expected, strict=True
    ):
        if name != "0.bias":
            assert_alike(found[0] + found[1], found[2], 1e-12)
    for one, other in zip(network.buffers(), reference.buffers(), strict=True):
        assert_alike(one, other, 1e-12)


def test_of_equal_values_the_first_gets_the_gradient():
    network = block(4)
    with torch.no_grad():
        network[0].weight.copy_(network[0].weight.mul(4).round())
    inputs = images(6, 12, 12, levels=2)
    ours, theirs = train_through(network, inputs), as_torch_does(network)(inputs)
    for one, other in zip(gradients(ours, network), gradients(theirs, network), strict=True):
        assert_alike(one, other, 1e-12)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("place", ["weight", "bias", "image"])
def test_what_is_not_a_number_goes_on(place, norm):
    network, inputs = block(2, norm=norm), images(1, 6, 6)
    with torch.no_grad():
        hurt = inputs if place == "image" else getattr(network[int(norm)], place)
        hurt.view(-1)[0] = torch.nan
    expected = as_torch_does(network)(inputs).isnan()
    assert expected.any()
    assert torch.equal(train_through(network, inputs).isnan(), expected)
    if not norm:
        assert torch.equal(predict_through(network, inputs).isnan(), expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_training_that_diverges_is_an_error_and_no_warning(batch_norm, solver):
    digits = load_digit_images()
    network = CNNClassifier((4,), batch_norm=batch_norm, solver=solver, learning_rate_init=1e30)
    with pytest.raises(ValueError, match="training diverged"):
        network.fit(digits.images[:100], digits.target[:100])


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
    norm = nn.BatchNorm2d(4)
    assert sizes(nn.Conv2d(1, 4, 3), norm, pool, nn.Tanh()) == [3, 1]
    assert sizes(nn.Conv2d(1, 4, 3), norm, pool, relu) == [4]
    assert sizes(nn.Conv2d(1, 4, 3), norm, relu, pool) == [1, 1, 1, 1]
    assert sizes(nn.Conv2d(1, 4, 3), norm.eval(), pool) == [1, 1, 1]
    plain = nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, track_running_stats=False)
    assert [sizes(nn.Conv2d(1, 4, 3), each, pool) for each in plain] == [[1, 1, 1]] * 2


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


def test_who_asks_a_function_for_gradients_gets_them():
    network, inputs = block(3), images(2, 6, 6).requires_grad_()
    (ours,) = torch.autograd.grad(as_function(network)(inputs).sum(), inputs)
    (theirs,) = torch.autograd.grad(as_torch_does(network)(inputs).sum(), inputs)
    assert_alike(ours, theirs, 1e-12)


@pytest.mark.parametrize("compute", [train_through, predict_through])
def test_who_counts_operations_sees_the_convolution(compute):
    network = block(3)
    with FlopCounterMode(display=False) as counter:
        compute(network, images(2, 6, 6))
    assert counter.get_total_flops() == 2 * 2 * 3 * 9 * 16


@pytest.mark.parametrize("compute", [train_through, predict_through])
def test_maps_of_several_channels_are_refused_by_torch(compute):
    with pytest.raises(RuntimeError, match="channels"):
        compute(block(3), torch.zeros(2, 3, 8, 8, dtype=torch.float64))


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
        assert_alike(predict_through(network, same), expected, 1e-12)


def test_no_images_have_no_maps():
    assert train_through(block(3), images(0, 8, 6)).shape == (0, 3, 3, 2)


def test_images_smaller_than_a_kernel_are_refused_by_torch():
    network = block(3)
    for compute in (train_through, predict_through):
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
    # Adam would make much of rounding where gradients are almost zero.
    settings = {"max_iter": 2, "random_state": 0, "activation": activation, "solver": "sgd"}

    def fit():
        return CNNClassifier((6, 8), hidden_layer_sizes=(10,), **settings, **options).fit(X, y)

    ours = fit()
    with monkeypatch.context() as patched:
        patched.setattr(_training, "train_through", lambda network, inputs: network(inputs))
        plain = fit()
    for name, values in ours.weights_.items():
        np.testing.assert_allclose(values, plain.weights_[name], rtol=0, atol=1e-4, err_msg=name)
    with monkeypatch.context() as patched:
        patched.setattr(_grey_block, "_MOST_THREADS", 0)
        expected = copy.deepcopy(ours).predict_proba(X)
    np.testing.assert_allclose(ours.predict_proba(X), expected, rtol=0, atol=2e-5)
