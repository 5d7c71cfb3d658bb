"""Optimisers of one flat tensor, against torch's own with parameter groups."""

import copy
import io
import subprocess
import sys
import textwrap
import warnings

import pytest
import torch
from torch import nn

from skcnn.neural._flat import FlatParameters
from skcnn.neural._optimizers import FlatAdam, FlatAdamW, FlatSGD

SOLVERS = {
    "sgd": (FlatSGD, torch.optim.SGD, {"momentum": 0.0, "nesterov": False}),
    "momentum": (FlatSGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": False}),
    "nesterov": (FlatSGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (FlatAdam, torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}),
    "adam, other numbers": (FlatAdam, torch.optim.Adam, {"betas": (0.5, 0.8), "eps": 1e-3}),
    "adamw": (FlatAdamW, torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8}),
    "adamw, other numbers": (FlatAdamW, torch.optim.AdamW, {"betas": (0.0, 0.8), "eps": 1e-3}),
}


def conv_net():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, (3, 2)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 2 * 3, 3),
    )
    return network.double().to(memory_format=torch.channels_last)


class Pair:
    """The same network twice: with an optimiser of ours, and with torch's.

    The layers `slow` learn at `slow_factor` times the rate.
    """

    def __init__(self, solver, *, lr=0.01, weight_decay=0.1, slow=(), slow_factor=1.0):
        ours, theirs, options = SOLVERS[solver]
        self.network, self.plain = conv_net(), conv_net()
        self.flat = FlatParameters(
            self.network, [p for layer in slow for p in self.network[layer].parameters()]
        )
        self.ours = ours(
            self.flat, lr=lr, weight_decay=weight_decay, slow_factor=slow_factor, **options
        )
        groups = []
        for layer, module in enumerate(self.plain):
            rate = {"lr": lr * slow_factor if layer in slow else lr}
            weights = [p for p in module.parameters() if p.ndim > 1]
            others = [p for p in module.parameters() if p.ndim == 1]
            groups.append({"params": weights, **rate})
            groups.append({"params": others, "weight_decay": 0.0, **rate})
        groups = [group for group in groups if group["params"]]
        self.theirs = theirs(groups, lr=lr, weight_decay=weight_decay, **options)
        self.generator = torch.Generator().manual_seed(1)

    def step(self):
        images = torch.randn(8, 3, 6, 6, dtype=torch.float64, generator=self.generator)
        images = images.to(memory_format=torch.channels_last)
        targets = torch.randint(3, (8,), generator=self.generator)
        for network, optimizer in ((self.network, self.ours), (self.plain, self.theirs)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), targets).backward()
            optimizer.step()

    def ensure_equal(self):
        theirs = dict(self.plain.named_parameters())
        for name, parameter in self.network.named_parameters():
            torch.testing.assert_close(parameter, theirs[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("solver", SOLVERS)
def test_twenty_steps_are_torchs(solver, weight_decay):
    pair = Pair(solver, weight_decay=weight_decay)
    start = pair.flat.values.clone()
    for _ in range(20):
        pair.step()
        pair.ensure_equal()
    assert (pair.flat.values - start).abs().max() > 1e-3


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("slow", [(0, 1), (3,), (1, 6), (0, 1, 3, 6)], ids=str)
def test_slow_parameters_are_a_group_of_torch_with_another_rate(slow, solver, weight_decay):
    pair = Pair(solver, weight_decay=weight_decay, slow=slow, slow_factor=0.3)
    start = copy.deepcopy(pair.network)
    for _ in range(20):
        pair.step()
        pair.ensure_equal()
    for layer in (0, 1, 3, 6):
        moved = pair.network[layer].weight - start[layer].weight
        assert moved.abs().max() > 1e-4
    unlike = Pair(solver, weight_decay=weight_decay)
    for _ in range(20):
        unlike.step()
    assert (unlike.network[slow[0]].weight - pair.network[slow[0]].weight).abs().max() > 1e-4


@pytest.mark.parametrize("solver", SOLVERS)
def test_slow_parameters_follow_a_plan_of_the_rate(solver):
    pair = Pair(solver, slow=(0, 1), slow_factor=0.1)
    rates = [group["lr"] for group in pair.theirs.param_groups]
    for factor in (0.1, 1.0, 0.5, 0.0):
        pair.ours.param_groups[0]["lr"] = 0.01 * factor
        for group, rate in zip(pair.theirs.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        pair.step()
    pair.ensure_equal()


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_penalty_can_change_between_steps(solver):
    # Batches of different size have different penalties.
    pair = Pair(solver)
    for k in range(6):
        decay = 0.1 * (k % 3)
        pair.ours.param_groups[0]["weight_decay"] = decay
        for group in pair.theirs.param_groups:
            group["weight_decay"] = decay * (group["params"][0].ndim > 1)
        pair.step()
    pair.ensure_equal()


SCHEDULERS = {
    "StepLR": {"step_size": 3, "gamma": 0.5},
    "MultiStepLR": {"milestones": [2, 5]},
    "ConstantLR": {"total_iters": 4},
    "LinearLR": {"total_iters": 4},
    "ExponentialLR": {"gamma": 0.8},
    "PolynomialLR": {"total_iters": 9},
    "LambdaLR": {"lr_lambda": lambda step: 1 / (1 + step)},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.9},
    "CosineAnnealingLR": {"T_max": 10},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "OneCycleLR": {"max_lr": 0.02, "total_steps": 12},
    "CyclicLR": {"base_lr": 0.001, "max_lr": 0.02, "step_size_up": 3},
    "ReduceLROnPlateau": {"patience": 1},
}


@pytest.mark.parametrize("solver", ["nesterov", "adam", "adamw"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_of_torch_work_without_a_warning(name, solver):
    pair = Pair(solver)
    scheduler = getattr(torch.optim.lr_scheduler, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, theirs = (scheduler(one, **SCHEDULERS[name]) for one in (pair.ours, pair.theirs))
        for _ in range(10):
            pair.step()
            losses = [1.0] if name == "ReduceLROnPlateau" else []
            ours.step(*losses)
            theirs.step(*losses)
            group, expected = pair.ours.param_groups[0], pair.theirs.param_groups[0]
            assert group["lr"] == expected["lr"]
            # OneCycleLR and CyclicLR move the momentum too.
            assert group.get("momentum") == expected.get("momentum")
            assert group.get("betas") == expected.get("betas")
    pair.ensure_equal()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_state_that_is_saved_and_loaded_goes_on_as_if_there_had_been_no_break(solver):
    slow = {"slow": (3,), "slow_factor": 0.3}
    unbroken, saved = Pair(solver, **slow), Pair(solver, **slow)
    loaded = Pair(solver, lr=1.0, slow=(3,), slow_factor=0.1)
    for _ in range(3):
        unbroken.step()
        saved.step()
    file = io.BytesIO()
    torch.save(saved.ours.state_dict(), file)
    file.seek(0)
    loaded.ours.load_state_dict(torch.load(file, weights_only=True))
    loaded.network.load_state_dict(saved.network.state_dict())
    loaded.generator.set_state(saved.generator.get_state())
    for _ in range(3):
        unbroken.step()
        loaded.step()
    assert loaded.ours.param_groups[0]["lr"] == 0.01
    torch.testing.assert_close(loaded.flat.values, unbroken.flat.values, rtol=0, atol=0)


def test_the_state_is_named_as_torchs():
    for solver in ("nesterov", "adam", "adamw"):
        pair = Pair(solver)
        pair.step()
        theirs = next(iter(pair.theirs.state.values()))
        assert pair.ours.state[pair.flat.values].keys() == theirs.keys()
        assert len(pair.ours.param_groups) == 1
        assert set(SOLVERS[solver][2]) <= set(pair.ours.param_groups[0])


def test_the_gradient_is_zeroed_and_never_none():
    pair = Pair("adam")
    pair.step()
    assert pair.flat.gradient.any()
    memory = pair.flat.gradient.data_ptr()
    for set_to_none in (False, True):
        pair.flat.gradient.fill_(1)
        pair.ours.zero_grad(set_to_none=set_to_none)
        assert not pair.flat.gradient.any()
        assert pair.flat.gradient.data_ptr() == memory
        assert all(p.grad is not None for p in pair.network.parameters())


def test_a_step_leaves_what_is_not_its_own_alone():
    pair = Pair("adam", weight_decay=0.5)
    buffers = copy.deepcopy(dict(pair.network.named_buffers()))
    pair.network[0].requires_grad_(False)
    pair.flat.gradient.zero_()
    with torch.no_grad():
        pair.flat.values.fill_(1.0)
    pair.ours.step()
    torch.testing.assert_close(dict(pair.network.named_buffers()), buffers, rtol=0, atol=0)
    # Without a gradient only the penalty moves anything, and only weights.
    assert (pair.flat.values[: pair.flat.penalised] < 1).all()
    assert (pair.flat.values[pair.flat.penalised :] == 1).all()


@pytest.mark.parametrize(
    "training",
    [
        "MLPClassifier((5,), batch_norm=True, dropout=0.1, early_stopping=True)",
        "CNNClassifier((4,), conv_dropout=0.1, solver='sgd', learning_rate='cosine')",
        "CNNClassifier((4,), solver='adamw', ema_decay=0.9, max_grad_norm=1.0)",
        "CNNClassifier(module=ResidualNetwork)",
    ],
)
def test_training_does_not_import_torchs_compiler(training):
    # It would cost every process seconds.
    program = f"""
        import sys
        import numpy as np
        from skcnn import CNNClassifier, MLPClassifier
        from skcnn.neural import ResidualNetwork
        assert "torch._dynamo" not in sys.modules, "imported with skcnn"
        X, y = np.random.RandomState(0).rand(30, 8, 8), np.arange(30) % 2
        network = {training}.set_params(max_iter=2, random_state=0).fit(X, y)
        assert "torch._dynamo" not in sys.modules, "imported by fit"
        network.predict_proba(X)
        network.summary()
        assert "torch._dynamo" not in sys.modules, "imported by prediction"
    """
    program = textwrap.dedent(program)
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=120)
