"""Winograd's convolution, against torch's in float64."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from skcnn import CNNClassifier, ResidualNetwork
from skcnn.datasets import load_digit_images
from skcnn.neural import _winograd
from skcnn.neural._convolution import convolution
from skcnn.neural._winograd import WinogradConv2d, WinogradConvolution

# Height and width, with the padding: tiles that fit, tiles beyond the maps, a single one.
SIZES = [(8, 8, 1), (10, 6, 0), (7, 9, 1), (5, 13, 0), (4, 3, 2), (3, 3, 0), (1, 1, 1)]


def leaf(*shape, seed=0, dtype=torch.float32):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    if len(shape) == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    return values.requires_grad_()


def distance(ours, theirs):
    """Return the largest difference, as a share of the largest value."""
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs).detach().abs().max() / theirs.detach().abs().max())


def in_double(*tensors):
    return [None if t is None else t.detach().double().requires_grad_() for t in tensors]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("channels", "out"), [(1, 1), (3, 20), (33, 16)])
@pytest.mark.parametrize(("height", "width", "padding"), SIZES)
def test_maps_and_gradients_are_torchs(height, width, padding, channels, out, bias):
    maps, weight = leaf(5, channels, height, width), leaf(out, channels, 3, 3, seed=1)
    shift = leaf(out, seed=2) if bias else None
    exact = in_double(maps, weight, shift)
    ours = WinogradConvolution.apply(maps, weight, shift, padding)
    theirs = torch.conv2d(*exact, padding=padding)
    assert distance(ours, theirs) < 1e-5
    gradient = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(3))
    ours.backward(gradient)
    theirs.backward(gradient.double())
    for mine, reference in zip((maps, weight, shift), exact, strict=True):
        assert mine is None or distance(mine.grad, reference.grad) < 1e-5


def test_groups_of_images_are_put_together_again(monkeypatch):
    monkeypatch.setattr(_winograd, "_tiles_at_once", lambda channels, out: 9)  # two images' tiles
    maps, weight, shift = leaf(7, 4, 6, 7), leaf(5, 4, 3, 3, seed=1), leaf(5, seed=2)
    exact = in_double(maps, weight, shift)
    ours = WinogradConvolution.apply(maps, weight, shift, 1)
    theirs = torch.conv2d(*exact, padding=1)
    assert distance(ours, theirs) < 1e-5
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for mine, reference in zip((maps, weight, shift), exact, strict=True):
        assert distance(mine.grad, reference.grad) < 1e-5


def test_groups_have_room_for_a_bounded_number_of_tiles():
    rooms = [
        values.numel() + products.numel()
        for _, (values, products) in _winograd._groups(torch.Size((1000, 64, 32, 32)), 64)
    ]
    assert len(rooms) == 500
    assert max(rooms) * 4 < 3e6  # bytes; the maps have 262 million


@pytest.mark.parametrize(
    "needed", [(True, False, False), (False, True, False), (False, False, True)]
)
def test_only_needed_gradients_are_computed(needed):
    tensors = leaf(2, 3, 8, 8), leaf(4, 3, 3, 3, seed=1), leaf(4, seed=2)
    for tensor, need in zip(tensors, needed, strict=True):
        tensor.requires_grad_(need)
    exact = in_double(*tensors)
    WinogradConvolution.apply(*tensors, 1).square().sum().backward()
    torch.conv2d(*exact, padding=1).square().sum().backward()
    for mine, reference, need in zip(tensors, exact, needed, strict=True):
        assert distance(mine.grad, reference.grad) < 1e-5 if need else mine.grad is None


@pytest.mark.parametrize("layout", ["plain", "expanded", "cut"])
def test_gradients_may_lie_in_any_way(layout):
    maps, weight = leaf(2, 3, 8, 8), leaf(4, 3, 3, 3, seed=1)
    gradient = {
        "plain": torch.randn(2, 4, 8, 8),
        "expanded": torch.ones(1, 1, 1, 1).expand(2, 4, 8, 8),
        "cut": torch.randn(2, 9, 8, 8)[:, 2:6],
    }[layout]
    exact = in_double(maps, weight)
    WinogradConvolution.apply(maps, weight, None, 1).backward(gradient)
    torch.conv2d(*exact, padding=1).backward(gradient.double())
    assert distance(maps.grad, exact[0].grad) < 1e-5
    assert distance(weight.grad, exact[1].grad) < 1e-5


def test_gradients_of_gradients_are_torchs():
    maps, weight, shift = leaf(2, 3, 8, 8), leaf(4, 3, 3, 3, seed=1), leaf(4, seed=2)
    exact = in_double(maps, weight, shift)

    def penalty(maps, weight, outputs):
        (slope,) = torch.autograd.grad(outputs.square().sum(), maps, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), weight)[0]

    ours = penalty(maps, weight, WinogradConvolution.apply(maps, weight, shift, 1))
    theirs = penalty(*exact[:2], torch.conv2d(*exact, padding=1))
    assert distance(ours, theirs) < 1e-5


def test_what_is_not_finite_stays_in_its_image():
    maps, weight = leaf(3, 4, 8, 8), leaf(4, 4, 3, 3, seed=1)
    with torch.no_grad():
        maps[1, 0, 0, 0] = torch.inf
    outputs = WinogradConvolution.apply(maps, weight, None, 1)
    assert torch.isfinite(outputs).all(dim=(1, 2, 3)).tolist() == [True, False, True]


class TestChoice:
    """Which way a layer takes."""

    @pytest.fixture
    def ways(self, monkeypatch):
        """Return a list that gets an entry for each convolution that goes Winograd's way."""
        seen = []
        forward = WinogradConvolution.forward

        def watched(ctx, maps, *rest):
            seen.append(tuple(maps.shape))
            return forward(ctx, maps, *rest)

        monkeypatch.setattr(WinogradConvolution, "forward", staticmethod(watched))
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        return seen

    def layer(self, in_channels=32):
        layer = convolution(in_channels, 64, (3, 3), padding=(1, 1), bias=True)
        return layer.to(memory_format=torch.channels_last)

    def test_many_channels_go_winograds_way(self, ways):
        layer, maps = self.layer(), leaf(8, 32, 16, 16)
        assert type(layer) is WinogradConv2d
        expected = torch.conv2d(*in_double(maps, layer.weight, layer.bias), padding=1)
        assert distance(layer(maps), expected) < 1e-5
        assert ways == [maps.shape]

    @pytest.mark.parametrize(
        ("shape", "in_channels", "n_threads"),
        [
            ((8, 8, 16, 16), 8, 1),  # few channels
            ((1, 32, 16, 16), 32, 1),  # few tiles
            ((64, 32, 5, 5), 32, 1),  # most of the tiles beyond the maps
            ((1, 32, 5, 260), 32, 1),  # lines too long for the kernels
            ((1, 32, 132, 132), 32, 1),  # an image too large for the cache
            ((8, 32, 16, 16), 32, 2),  # threads that would wait
            ((8, 999, 16, 16), 999, 5),
        ],
    )
    def test_where_it_does_not_pay_it_is_torchs(
        self, ways, monkeypatch, shape, in_channels, n_threads
    ):
        monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
        layer, maps = self.layer(in_channels), leaf(*shape)
        expected = torch.conv2d(maps, layer.weight, layer.bias, padding=1)
        assert torch.equal(layer(maps), expected)
        assert ways == []

    @pytest.mark.parametrize("case", ["float64", "plain layout", "autocast", "3 axes"])
    def test_what_the_kernels_cannot_take_is_torchs(self, ways, case):
        layer, maps = self.layer(), leaf(8, 32, 16, 16)
        if case == "float64":
            assert layer.double()(maps.double()).dtype == torch.float64
        elif case == "plain layout":
            # A module may look at its maps with `view`, which asks for the layout that came in.
            assert layer.to(memory_format=torch.contiguous_format)(
                maps.contiguous()
            ).is_contiguous()
        elif case == "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert layer(maps).dtype == torch.bfloat16
        else:
            assert layer(maps[0]).ndim == 3
        assert ways == []

    @pytest.mark.parametrize(
        "options",
        [
            {"in_channels": 8},
            {"kernel_size": (5, 5)},
            {"kernel_size": (3, 1)},
            {"stride": (2, 2)},
            {"padding": (3, 3)},
            {"padding": (0, 1)},
        ],
        ids=str,
    )
    def test_other_layers_are_torchs_own(self, options):
        plain = {"in_channels": 64, "out_channels": 64, "kernel_size": (3, 3), "bias": False}
        assert type(convolution(**plain)) is WinogradConv2d
        assert type(convolution(**plain | options)) is nn.Conv2d

    def test_who_records_the_steps_of_torch_sees_convolutions(self, ways):
        class Recorder(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                seen.append(function)
                return function(*args, **kwargs or {})

        seen = []
        with Recorder(), torch.no_grad():
            self.layer()(leaf(8, 32, 16, 16))
        assert ways == []
        assert torch.ops.aten.convolution.default in seen

    def test_fits_take_it_and_learn_the_same(self, ways, monkeypatch):
        X, y = load_digit_images(return_X_y=True)
        cnn = CNNClassifier((32, (64, 64)), max_iter=2, batch_size=128, random_state=0)
        cnn.fit(X[:256], y[:256])
        assert {shape[1] for shape in ways} == {32, 64}
        monkeypatch.setattr(_winograd, "_MOST_THREADS", 0)
        del ways[:]
        by_torch = CNNClassifier(**cnn.get_params()).fit(X[:256], y[:256])
        assert ways == []
        np.testing.assert_allclose(cnn.loss_curve_, by_torch.loss_curve_, rtol=1e-3)
        assert cnn.loss_curve_ != by_torch.loss_curve_

    def test_predictions_and_features_take_it(self, ways, monkeypatch):
        X, y = load_digit_images(return_X_y=True)
        X = X.astype(np.float32)
        cnn = CNNClassifier((32, 64), pool=None, max_iter=1, random_state=0).fit(X[:32], y[:32])
        features = cnn.as_transformer("conv2")
        del ways[:]
        ours = cnn.decision_function(X), features.transform(X)
        assert len(ways) == 2 * (len(X) // 128)  # the last few images are left to torch
        monkeypatch.setattr(_winograd, "_MOST_THREADS", 0)
        for way, reference in zip(ours, (cnn.decision_function, features.transform), strict=True):
            exact = reference(X.astype(np.float64))
            assert way.dtype == np.float32
            assert np.abs(way - exact).max() < 1e-5 * np.abs(exact).max()

    def test_residual_networks_take_it(self, ways):
        X, y = load_digit_images(return_X_y=True)
        module = partial(ResidualNetwork, channels=(64, 64))
        CNNClassifier(module=module, max_iter=1, batch_size=128).fit(X[:128], y[:128])
        assert ways

    def test_modules_of_the_users_own_keep_torchs_layers(self, ways):
        def factory(in_channels, height, width, n_classes):
            return nn.Sequential(
                nn.Conv2d(in_channels, 64, 3),
                nn.Conv2d(64, 64, 3),
                nn.AdaptiveMaxPool2d(1),
                nn.Flatten(),
                nn.Linear(64, n_classes),
            )

        X, y = load_digit_images(return_X_y=True)
        cnn = CNNClassifier(module=factory, max_iter=1, batch_size=256).fit(X[:256], y[:256])
        cnn.predict(X[:256])
        assert ways == []
