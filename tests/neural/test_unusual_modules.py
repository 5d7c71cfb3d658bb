"""Modules that are built, laid out or called as skcnn's own networks never are."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from skcnn import CNNClassifier, load_digit_images
from skcnn.neural._modules import SeededDropout
from skcnn.neural._own_modules import build_module
from skcnn.neural._prediction import rebuild


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:120], y[:120]


def cnn(module, **parameters):
    return CNNClassifier(module=module, **{"max_iter": 2, "random_state": 0} | parameters)


class Constants(nn.Module):
    """Constants that are no part of the module's state, in each way that there is."""

    def __init__(self, channels, height, width, n_outputs):
        super().__init__()
        self.scale = torch.linspace(0, 1, height * width)
        self.register_buffer("shift", torch.full((height * width,), 0.5), persistent=False)
        self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]
        self.cached = None
        self.output = nn.Linear(height * width, n_outputs)

    def forward(self, images):
        if self.cached is None:
            self.cached = torch.full((1,), 2.0, dtype=images.dtype)
        values = images.flatten(1) * self.scale.to(images) + self.shift
        return self.output(values * self.cached * self.rates[1])


def test_constants_that_are_no_state_are_the_same_in_prediction(digits):
    X, y = digits
    network = cnn(Constants, standardize=False, precision="float64").fit(X, y)
    scale = torch.linspace(0, 1, 64).double().numpy()
    values = X.reshape(len(X), -1) * scale + 0.5
    expected = values @ network.weights_["output.weight"].T + network.weights_["output.bias"]
    loaded = pickle.loads(pickle.dumps(network))
    np.testing.assert_allclose(loaded.decision_function(X.astype(float)), expected, rtol=1e-6)


class InAnotherOrder(nn.Sequential):
    """A sequence whose layers are not called one after the other."""

    def forward(self, images):
        maps = self[0](images)
        return self[1](maps) + maps


@pytest.mark.parametrize(
    "part",
    [
        lambda: InAnotherOrder(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)),
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)),
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, affine=False)),
        lambda: nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(1, 3, 3)), nn.BatchNorm2d(3)
        ),
    ],
    ids=["another order", "plain", "not affine", "spectral"],
)
def test_predictions_are_those_of_the_module_itself(part, digits):
    X, y = digits

    def factory(channels, height, width, n_outputs):
        return nn.Sequential(part(), nn.ReLU(), nn.Flatten(), nn.Linear(108, n_outputs))

    network = cnn(factory, standardize=False).fit(X, y)
    module = rebuild(network, torch.float64).eval()
    with torch.no_grad():
        expected = module(torch.tensor(X).double()[:, None])
    np.testing.assert_allclose(network.decision_function(X), expected, atol=1e-5)


def test_normalisation_without_moving_statistics(digits):
    def factory(channels, height, width, n_outputs):
        norm = nn.BatchNorm2d(3, track_running_stats=False)
        return nn.Sequential(nn.Conv2d(1, 3, 3), norm, nn.Flatten(), nn.Linear(108, n_outputs))

    assert np.isfinite(cnn(factory).fit(*digits).predict_proba(digits[0])).all()


class OnVolumes(nn.Module):
    def __init__(self, channels, height, width, n_outputs):
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 3, padding=1)
        self.output = nn.Linear(2 * channels * height * width, n_outputs)

    def forward(self, images):
        return self.output(self.conv(images[:, None]).flatten(1))


def test_kernels_of_three_axes(digits):
    assert cnn(OnVolumes).fit(*digits).predict(digits[0]).shape == (120,)


class Views(nn.Module):
    """Joins the axes of its maps as only torch's own layout allows."""

    def __init__(self, channels, height, width, n_outputs):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.output = nn.Linear(4 * height * width, n_outputs)

    def forward(self, images):
        return self.output(self.conv(images).relu().view(len(images), -1))


class Flattens(Views):
    def forward(self, images):
        return self.output(self.conv(images).relu().flatten(1))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_module_that_needs_torchs_own_layout_gets_it(channels):
    rng = np.random.RandomState(0)
    X, y = rng.rand(40, 6, 5, channels), np.arange(40) % 2
    views, flattens = (cnn(module).fit(X, y) for module in (Views, Flattens))
    for name, value in flattens.weights_.items():
        np.testing.assert_allclose(views.weights_[name], value, atol=1e-6)
    np.testing.assert_allclose(views.predict_proba(X), flattens.predict_proba(X), atol=1e-6)


def test_a_sequence_that_needs_torchs_own_layout_gets_it(digits):
    def factory(channels, height, width, n_outputs):
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), View(), nn.Linear(256, n_outputs)
        )

    assert cnn(factory).fit(*digits).predict_proba(digits[0]).shape == (120, 10)


class View(nn.Module):
    def forward(self, maps):
        return maps.view(len(maps), -1)


@pytest.mark.parametrize(
    ("dropout", "shape", "dropped_together"),
    [
        (nn.Dropout, (50, 8), 1),
        (nn.Dropout, (50, 4, 3, 3), 1),
        (nn.Dropout1d, (50, 4, 6), 6),
        (nn.Dropout2d, (50, 4, 3, 3), 9),
        (nn.Dropout3d, (50, 4, 2, 3, 3), 18),
    ],
)
def test_layers_that_take_the_place_of_torchs_drop_the_same_together(
    dropout, shape, dropped_together
):
    def factory(channels, height, width, n_outputs):
        return nn.Sequential(nn.Flatten(), nn.Linear(4, n_outputs), dropout(0.4))

    layer = build_module(factory, (2, 2, 1), 2, 0)[2]
    assert type(layer) is SeededDropout
    layer.generator = torch.Generator().manual_seed(0)
    values = layer.train()(torch.ones(shape)).reshape(-1, dropped_together)
    assert (values == values[:, :1]).all()
    kept = values[:, 0][values[:, 0] > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / 0.6))
    assert len(kept) / len(values) == pytest.approx(0.6, abs=0.1)
    torch.testing.assert_close(layer.eval()(torch.ones(shape)), torch.ones(shape))


def test_everything_can_be_dropped():
    layer = SeededDropout(1.0)
    layer.generator = torch.Generator()
    torch.testing.assert_close(layer(torch.ones(3, 4)), nn.Dropout(1.0)(torch.ones(3, 4)))


def test_a_dropout_layer_that_is_used_twice_stays_one():
    def factory(channels, height, width, n_outputs):
        drop = nn.Dropout(0.5)
        inner = nn.ModuleDict({"again": drop})
        module = nn.Sequential(nn.Flatten(), drop, nn.Linear(4, 3), drop, nn.Linear(3, n_outputs))
        module.inner = nn.ModuleList([nn.Identity(), inner])
        module.forward = lambda images: module[4](module[2](images.flatten(1)))
        return module

    module = build_module(factory, (2, 2, 1), 2, 0)
    assert not any(isinstance(layer, nn.Dropout) for layer in module.modules())
    assert module[1] is module[3] is module.inner[1]["again"]
