"""Learning rates and gradient clipping of whole fits, against torch, scikit-learn and formulas."""

import math

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier as SklearnMLP
from skorch.callbacks import Callback
from torch import nn

from skcnn import CNNClassifier, MLPClassifier, MLPRegressor
from skcnn.neural._schedules import PLANS
from skcnn.neural._training import _clip

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, N_BATCHES = 50, 5
RNG = np.random.RandomState(0)
X, Y = RNG.rand(N, 4, 4), RNG.permutation(N) % 2


class Rates(Callback):
    """Write the learning rate of every step and epoch down."""

    def __init__(self):
        self.of_steps, self.of_epochs = [], []

    def on_grad_computed(self, net, **kwargs):
        self.of_steps.append(net.optimizer_.param_groups[0]["lr"])

    def on_epoch_end(self, net, **kwargs):
        self.of_epochs.append(net.optimizer_.param_groups[0]["lr"])


def rates_of(network, max_iter, **parameters):
    rates = Rates()
    network.set_params(
        batch_size=N // N_BATCHES, max_iter=max_iter, callbacks=[rates], random_state=0
    )
    network.set_params(n_iter_no_change=np.inf, **parameters).fit(X, Y)
    assert len(rates.of_steps) == N_BATCHES * network.n_iter_
    return rates.of_steps


def rates_of_torch(n_steps, rate, scheduler, **options):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = scheduler(optimizer, **options)
    rates = []
    for _ in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.fixture(params=["adam", "adamw", "sgd"])
def solver(request):
    return request.param


@pytest.fixture(params=[MLPClassifier, CNNClassifier, MLPRegressor])
def network(request):
    return request.param(hidden_layer_sizes=(3,))


def test_constant(network, solver):
    assert rates_of(network, 3, solver=solver) == [0.001] * 3 * N_BATCHES


@pytest.mark.parametrize("max_iter", [1, 2, 7])
def test_cosine_is_that_of_torch_step_by_step(network, solver, max_iter):
    rates = rates_of(network, max_iter, solver=solver, learning_rate="cosine")
    n_steps = max_iter * N_BATCHES
    expected = rates_of_torch(
        n_steps, 0.001, torch.optim.lr_scheduler.CosineAnnealingLR, T_max=n_steps
    )
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


@pytest.mark.parametrize("max_iter", [1, 4, 7])
def test_step_is_torchs_with_milestones_at_a_half_and_three_quarters(network, solver, max_iter):
    rates = rates_of(network, max_iter, solver=solver, learning_rate="step")
    n_steps = max_iter * N_BATCHES
    milestones = [math.ceil(n_steps / 2), math.ceil(3 * n_steps / 4)]
    expected = rates_of_torch(
        n_steps, 0.001, torch.optim.lr_scheduler.MultiStepLR, milestones=milestones
    )
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_one_cycle_rises_in_a_line_and_falls_as_a_cosine(network, solver):
    rates = rates_of(network, 8, solver=solver, learning_rate="one_cycle")
    done = np.arange(8 * N_BATCHES) / (8 * N_BATCHES)
    rising = 0.04 + (1 - 0.04) * done / 0.3
    falling = (1 + np.cos(np.pi * (done - 0.3) / 0.7)) / 2
    np.testing.assert_allclose(rates, 0.001 * np.where(done < 0.3, rising, falling), rtol=1e-12)
    assert max(rates) == pytest.approx(0.001)
    assert 0 < rates[-1] < 1e-5


@pytest.mark.parametrize("plan", PLANS)
def test_plans_are_shares_of_the_highest_rate(plan):
    shares = [PLANS[plan](done) for done in np.linspace(0, 1, 1001)]
    assert max(shares) == pytest.approx(1)
    assert min(shares) >= 0
    assert shares[-1] <= 0.01


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_ends_with_max_iter_also_after_an_early_stop_and_a_warm_start(plan):
    mlp = MLPClassifier((3,), warm_start=True, learning_rate=plan)
    first = rates_of(mlp, 4)
    assert rates_of(mlp, 4) == first  # the next fit has a plan of its own
    stopped = MLPClassifier((3,), tol=1e9, learning_rate=plan)
    rates = Rates()
    stopped.set_params(callbacks=[rates], batch_size=10, max_iter=8, n_iter_no_change=1)
    stopped.fit(X, Y)
    assert stopped.n_iter_ == 3
    assert rates.of_steps == rates_of(MLPClassifier((3,), learning_rate=plan), 8)[:15]


class SklearnRates(SklearnMLP):
    """scikit-learn's perceptron, which writes the learning rate of every step down."""

    def _backprop(self, *args):
        vars(self).setdefault("rates", []).append(self._optimizer.learning_rate)
        return super()._backprop(*args)


def rates_of_scikit_learn(**parameters):
    network = SklearnRates((3,), batch_size=N // N_BATCHES, random_state=0, **parameters)
    network.fit(X.reshape(N, -1), Y)
    return network.rates


@pytest.mark.parametrize("power_t", [0.0, 0.25, 0.5, 1.0])
def test_invscaling_is_that_of_scikit_learn(power_t):
    options = {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": 0.3,
        "power_t": power_t,
    }
    expected = rates_of_scikit_learn(max_iter=4, n_iter_no_change=100, **options)
    np.testing.assert_allclose(rates_of(MLPClassifier((3,)), 4, **options), expected, rtol=1e-12)


def test_invscaling_goes_on_between_the_calls_of_a_stream():
    options = {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 10}
    rates = Rates()
    stream = MLPClassifier((3,), callbacks=[rates], random_state=0, **options)
    reference = SklearnRates((3,), random_state=0, **options)
    for _ in range(3):
        stream.partial_fit(X, Y)
        reference.partial_fit(X.reshape(N, -1), Y, classes=[0, 1])
    np.testing.assert_allclose(rates.of_steps, reference.rates, rtol=1e-12)
    assert stream.t_ == reference.t_ == 3 * N


@pytest.mark.parametrize("patience", [1, 2])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_adaptive_is_that_of_scikit_learn(early_stopping, patience):
    # No epoch improves anything by so much, so patience ends as often in both.
    options = {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.01,
        "tol": 1e9,
        "n_iter_no_change": patience,
        "early_stopping": early_stopping,
        "max_iter": 100,
    }
    reference = SklearnRates((3,), batch_size=N // N_BATCHES, random_state=0, **options)
    reference.fit(X.reshape(N, -1), Y)
    rates = Rates()
    mlp = MLPClassifier((3,), batch_size=N // N_BATCHES, random_state=0, **options)
    mlp.set_params(callbacks=[rates]).fit(X, Y)
    assert mlp.n_iter_ == reference.n_iter_ < 100
    np.testing.assert_allclose(rates.of_steps, reference.rates, rtol=1e-12)
    assert rates.of_epochs[-1] == pytest.approx(reference._optimizer.learning_rate)
    assert min(rates.of_steps) <= 1e-6


@pytest.mark.parametrize("schedule", ["invscaling", "adaptive"])
@pytest.mark.parametrize("solver", ["adam", "adamw"])
def test_scikit_learns_schedules_are_those_of_sgd_only(schedule, solver):
    rates = rates_of(MLPClassifier((3,)), 3, solver=solver, learning_rate=schedule, tol=1e9)
    assert rates == [0.001] * 3 * N_BATCHES


@pytest.mark.parametrize("plan", ["cosine", "invscaling"])
def test_a_whole_fit_with_a_plan_is_a_plain_torch_loop(plan):
    parameters = {
        "solver": "sgd",
        "learning_rate": plan,
        "learning_rate_init": 0.5,
        "batch_size": 10,
        "shuffle": False,
        "alpha": 0.0,
        "random_state": 0,
    }
    start = MLPClassifier((3,), max_iter=1, **parameters | {"learning_rate_init": 1e-30}).fit(X, Y)
    network = nn.Sequential(nn.Linear(16, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    names = dict(zip(network.state_dict(), start.weights_, strict=True))
    network.load_state_dict({name: torch.tensor(start.weights_[n]) for name, n in names.items()})
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9, nesterov=True)
    schedule = {
        "cosine": lambda step: (1 + math.cos(math.pi * step / 20)) / 2,
        "invscaling": lambda step: (step // 5 * 50 + 1) ** -0.5 if step >= 5 else 1.0,
    }[plan]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    inputs = torch.tensor((X - X.mean()) / X.std()).flatten(1)
    for _ in range(4):
        for rows in torch.arange(N).split(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[rows]), torch.tensor(Y)[rows]).backward()
            optimizer.step()
            scheduler.step()
    mlp = MLPClassifier((3,), max_iter=4, **parameters).fit(X, Y)
    for theirs, ours in names.items():
        np.testing.assert_allclose(mlp.weights_[ours], network.state_dict()[theirs], atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1e3])
def test_clipping_is_that_of_torch(scale, max_norm, dtype):
    generator = torch.Generator().manual_seed(0)
    gradient = (torch.randn(100, generator=generator) * scale).to(dtype)
    parameters = [nn.Parameter(part.clone()) for part in gradient.split([30, 50, 20])]
    for parameter in parameters:
        parameter.grad = parameter.detach().clone()
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    _clip(gradient, max_norm)
    expected = torch.cat([parameter.grad for parameter in parameters])
    torch.testing.assert_close(
        gradient, expected, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=0
    )


@pytest.mark.parametrize("network", [MLPClassifier, CNNClassifier])
def test_a_fit_clips_the_gradient_of_every_step_and_not_the_penalty(network):
    parameters = {
        "hidden_layer_sizes": (3,),
        "batch_norm": False,
        "solver": "sgd",
        "momentum": 0.0,
        "learning_rate_init": 0.5,
        "batch_size": 10,
        "shuffle": False,
        "alpha": 0.1,
        "precision": "float64",
        "random_state": 0,
    }
    if network is CNNClassifier:
        parameters |= {"conv_channels": (), "dropout": 0.0, "ema_decay": None}
    start = network(max_iter=1, **parameters | {"learning_rate_init": 1e-30}).fit(X, Y)
    plain = nn.Sequential(nn.Linear(16, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    names = dict(zip(plain.state_dict(), start.weights_, strict=True))
    plain.load_state_dict({name: torch.tensor(start.weights_[n]) for name, n in names.items()})
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": 0.1 / 10},
        {"params": [p for p in plain.parameters() if p.ndim == 1]},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    inputs = torch.tensor((X - X.mean()) / X.std()).flatten(1)
    norms = []
    for _ in range(3):
        for rows in torch.arange(N).split(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(plain(inputs[rows]), torch.tensor(Y)[rows]).backward()
            norms.append(torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.3).item())
            optimizer.step()
    assert min(norms) < 0.3 < max(norms)  # some are clipped, some are not
    fitted = network(max_iter=3, max_grad_norm=0.3, **parameters).fit(X, Y)
    for theirs, ours in names.items():
        np.testing.assert_allclose(fitted.weights_[ours], plain.state_dict()[theirs], atol=1e-10)
