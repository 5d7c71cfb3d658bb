"""The average of the weights, against torch's AveragedModel."""

import copy

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn
from torch.optim.swa_utils import AveragedModel

from skcnn import CNNClassifier, MLPClassifier, load_digit_images
from skcnn.neural._averaging import WeightAverage
from skcnn.neural._flat import FlatParameters
from skcnn.neural._optimizers import FlatSGD

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def conv_net():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3)
    )
    return network.double().to(memory_format=torch.channels_last)


def averaged_model(network, decay):
    """torch's average, with the warm-up of ours and its start at the first weights."""

    def average(averaged, current, n_steps):
        if not averaged.is_floating_point():
            return current  # how many batches there were
        n = n_steps.item()
        kept = min(decay, n / (n + 10))
        return averaged * kept + current * (1 - kept)

    model = AveragedModel(network, avg_fn=average, use_buffers=True)
    model.update_parameters(network)  # the first is a copy
    return model


class Loop:
    """A training loop with both averages."""

    def __init__(self, decay):
        self.network = conv_net()
        self.flat = FlatParameters(self.network)
        self.optimizer = FlatSGD(self.flat, lr=0.1, momentum=0.9, nesterov=False, weight_decay=0)
        self.ours = WeightAverage(self.network, self.flat, decay)
        self.theirs = averaged_model(self.network, decay)

    def step(self, n=1):
        for _ in range(n):
            self.optimizer.zero_grad()
            images, targets = torch.randn(8, 3, 6, 6).double(), torch.randint(3, (8,))
            nn.functional.cross_entropy(self.network(images), targets).backward()
            self.optimizer.step()
            self.ours.follow()
            self.theirs.update_parameters(self.network)


def state(network):
    """A copy of weights and statistics, without the number of batches."""
    return {
        name: value.clone()
        for name, value in network.state_dict().items()
        if value.is_floating_point()
    }


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
def test_the_average_is_that_of_torch(decay):
    loop = Loop(decay)
    near = {"rtol": 0, "atol": 1e-12}
    for _ in range(12):
        loop.step(3)
        loop.ours.swap_in()
        torch.testing.assert_close(state(loop.network), state(loop.theirs.module), **near)
        loop.ours.swap_out()
    if decay == 0:
        torch.testing.assert_close(state(loop.network), state(loop.theirs.module), **near)


def test_early_weights_are_forgotten():
    # With a fixed decay of 0.999 the first weights would still have 98 % of the average.
    loop = Loop(0.999)
    with torch.no_grad():
        loop.flat.values.fill_(0.0)
        for average in loop.ours.averages:
            average.fill_(1.0)
    for _ in range(20):
        loop.ours.follow()
    shares = np.prod([n / (n + 10) for n in range(1, 21)])
    torch.testing.assert_close(loop.ours.averages[0], torch.full_like(loop.flat.values, shares))
    assert shares < 1e-6


def test_swapping_in_and_out_gives_back_what_there_was():
    loop = Loop(0.9)
    loop.step(5)
    training = state(loop.network)
    places = [p.data_ptr() for p in loop.network.parameters()]
    loop.ours.swap_out()  # nothing is in
    torch.testing.assert_close(state(loop.network), training, rtol=0, atol=0)
    loop.ours.swap_in()
    averaged = state(loop.network)
    assert (averaged["0.weight"] - training["0.weight"]).abs().max() > 1e-4
    assert (averaged["1.running_mean"] - training["1.running_mean"]).abs().max() > 1e-4
    loop.ours.swap_in()  # it is in
    torch.testing.assert_close(state(loop.network), averaged, rtol=0, atol=0)
    loop.ours.swap_out()
    torch.testing.assert_close(state(loop.network), training, rtol=0, atol=0)
    assert [p.data_ptr() for p in loop.network.parameters()] == places


def test_integers_and_frozen_weights_are_left_as_they_are():
    network = conv_net()
    network[4].requires_grad_(False)
    flat = FlatParameters(network)
    average = WeightAverage(network, flat, 0.5)
    frozen = network[4].weight.clone()
    network(torch.randn(4, 3, 6, 6).double())
    average.follow()
    average.swap_in()
    assert network[1].num_batches_tracked == 1
    torch.testing.assert_close(network[4].weight, frozen, rtol=0, atol=0)


class Recomputed(Callback):
    """Follow the weights of a training with torch's average, and keep it after every epoch."""

    def __init__(self, decay):
        self.decay = decay

    def on_train_begin(self, net, **kwargs):
        self.model = averaged_model(net.module_, self.decay)
        self.n_batches, self.after_epochs, self.at_epoch_end = 0, [], []

    def on_grad_computed(self, net, training=False, **kwargs):
        # The weights here are those after the step before.
        if self.n_batches:
            self.model.update_parameters(net.module_)
        self.n_batches += 1

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.last = copy.deepcopy(net.module_)

    def on_epoch_end(self, net, **kwargs):
        model = copy.deepcopy(self.model)
        model.update_parameters(self.last)
        self.after_epochs.append(state(model.module))
        self.at_epoch_end.append(state(net.module_))


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:200].astype(float), y[:200]


@pytest.mark.parametrize(
    "network",
    [
        MLPClassifier((8,), batch_size=50),
        CNNClassifier((4,), precision="float64", batch_norm=False, batch_size=50),
    ],
    ids=["by hand", "by torch"],
)
def test_the_network_of_a_fit_is_the_average(network, digits):
    recorder = Recomputed(0.95)
    network.set_params(ema_decay=0.95, max_iter=4, random_state=0, learning_rate_init=0.01)
    network.set_params(callbacks=[recorder]).fit(*digits)
    assert recorder.n_batches == 16
    for ours, theirs in zip(recorder.at_epoch_end, recorder.after_epochs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for name, value in recorder.after_epochs[-1].items():
        np.testing.assert_allclose(network.weights_[name], value, atol=1e-12)
    # Training itself goes on with its own weights.
    plain = network.set_params(ema_decay=None, callbacks=None).fit(*digits)
    for name, value in state(recorder.last).items():
        np.testing.assert_array_equal(plain.weights_[name], value)
        assert np.abs(plain.weights_[name] - recorder.after_epochs[-1][name].numpy()).max() > 1e-4


@pytest.mark.parametrize("module", [MLPClassifier, CNNClassifier])
def test_training_is_the_same_with_and_without_an_average(module, digits):
    network = module(max_iter=3, batch_norm=True, dropout=0.2, random_state=0)
    losses = network.fit(*digits).loss_curve_
    assert network.set_params(ema_decay=0.9).fit(*digits).loss_curve_ == losses


def test_an_average_of_the_last_step_only_is_no_average(digits):
    network = CNNClassifier((4,), ema_decay=None, max_iter=2, random_state=0)
    expected = network.fit(*digits).weights_
    averaged = network.set_params(ema_decay=0.0).fit(*digits).weights_
    for name, value in expected.items():
        np.testing.assert_allclose(averaged[name], value, rtol=1e-6, atol=1e-7)


def test_early_stopping_watches_and_restores_averages(digits):
    X, y = digits
    recorder = Recomputed(0.9)
    network = MLPClassifier(
        (8,), ema_decay=0.9, early_stopping=True, n_iter_no_change=3, max_iter=60, batch_size=50
    )
    network.set_params(callbacks=[recorder], random_state=0, learning_rate_init=0.02)
    network.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
    scores = network.validation_scores_
    assert network.n_iter_ < 60
    best = int(np.argmax(scores))
    assert best < len(scores) - 1
    for name, value in recorder.after_epochs[best].items():
        np.testing.assert_allclose(network.weights_[name], value, atol=1e-12)
    assert network.score(X[150:], y[150:]) == scores[best]


def test_a_stream_keeps_its_average_between_calls(digits):
    X, y = digits
    options = {"ema_decay": 0.9, "shuffle": False, "random_state": 0, "batch_size": 50}
    stream = MLPClassifier((8,), **options)
    for _ in range(3):
        stream.partial_fit(X, y)
    whole = MLPClassifier((8,), max_iter=3, **options).fit(X, y)
    for name, value in whole.weights_.items():
        np.testing.assert_allclose(stream.weights_[name], value, atol=1e-12)


def test_an_average_may_begin_or_end_within_a_stream(digits):
    stream = MLPClassifier((8,), random_state=0).partial_fit(*digits)
    for decay in (0.9, None, 0.99):
        stream.set_params(ema_decay=decay).partial_fit(*digits)
    assert stream.n_iter_ == 4
    assert all(np.isfinite(value).all() for value in stream.weights_.values())
