"""The step that is differentiated by hand, against torch's automatic differentiation."""

import copy
import os
import subprocess
import sys
import warnings
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from skcnn import CNNClassifier, MLPClassifier, MLPRegressor
from skcnn.neural._batches import as_input
from skcnn.neural._dense_step import DenseStep, _product, is_dense
from skcnn.neural._flat import FlatParameters
from skcnn.neural._losses import BinaryCrossEntropy, CrossEntropy, PoissonDeviance, SquaredError
from skcnn.neural._modules import (
    ACTIVATIONS,
    FlattenImages,
    GlobalAverage,
    SeededDropout,
    initialise,
)

OF_SCIKIT_LEARN = ("identity", "logistic", "tanh", "relu")
N, N_OUTPUTS = 7, 3


def drawn(kind, generator):
    """Targets of a kind."""
    if kind == "codes":
        return torch.randint(N_OUTPUTS, (N,), generator=generator)
    numbers = torch.randn(N, N_OUTPUTS, dtype=torch.float64, generator=generator)
    return {"labels": (numbers > 0).double(), "counts": numbers.abs().round()}.get(kind, numbers)


LOSSES = {
    "cross-entropy": (CrossEntropy(), "codes"),
    "cross-entropy, smoothed": (CrossEntropy(0.1), "codes"),
    "binary": (BinaryCrossEntropy(), "labels"),
    "binary, smoothed": (BinaryCrossEntropy(0.1), "labels"),
    "squared": (SquaredError(), "numbers"),
    "poisson": (PoissonDeviance(), "counts"),
}


def build(estimator, image_shape, dtype=torch.float64):
    """The network of an estimator with weights, biases, scales and statistics unlike the start."""
    network = estimator._layers(image_shape, N_OUTPUTS, 0).to(dtype)
    generator = torch.Generator().manual_seed(0)
    initialise(network, generator)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point() and value.ndim == 1:
                value.add_(torch.rand(value.shape, generator=generator) / 2)
            assert torch.isfinite(value).all(), name
    return network.train()


def set_generators(network, seed):
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, SeededDropout):
            layer.generator = generator


def compare(network, image_shape, loss, kind, *, weighted, n_steps=1):
    """Run both ways through the same batches, and compare everything that a step leaves."""
    assert is_dense(network)
    plain = copy.deepcopy(network)
    flat = FlatParameters(network)
    for one in (network, plain):
        set_generators(one, seed=5)
    step = DenseStep(network, loss, keep_outputs=True)
    generator = torch.Generator().manual_seed(1)
    for _ in range(n_steps):
        flat.gradient.fill_(np.nan)  # whatever the step leaves out is seen
        images = as_input(torch.randn(N, *image_shape, generator=generator, dtype=torch.float64))
        targets = drawn(kind, generator)
        weights = torch.rand(N, generator=generator, dtype=torch.float64) if weighted else None
        kept = images.clone()
        outputs, value = step(images, targets, weights)
        torch.testing.assert_close(images, kept, rtol=0, atol=0)

        plain.zero_grad()
        expected_outputs = plain(images)
        expected = loss.mean(expected_outputs, targets, weights)
        expected.backward()
        ensure_near("outputs", outputs, expected_outputs)
        ensure_near("loss", torch.as_tensor(value), expected)
        for (name, ours), theirs in zip(
            network.named_parameters(), plain.parameters(), strict=True
        ):
            ensure_near(f"gradient of {name}", ours.grad, theirs.grad)
    # Weights, which a step leaves alone, and moving statistics, which it moves.
    theirs = plain.state_dict()
    for name, ours in network.state_dict().items():
        ensure_near(name, ours, theirs[name])


def ensure_near(name, ours, theirs):
    theirs = theirs.detach()
    apart = (ours - theirs).abs().max()
    assert apart <= 1e-10 + 1e-12 * theirs.abs().max(), f"{name} is {apart} apart"  # NaN fails too


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4), (5, 4, 3)], ids=len)
@pytest.mark.parametrize("activation", OF_SCIKIT_LEARN)
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_gradient_and_statistics_are_those_of_autograd(loss, activation, hidden):
    norms = [False, True] if hidden else [False]
    for number, (batch_norm, dropout, input_dropout, weighted) in enumerate(
        product(norms, [0.0, 0.4], [0.0, 0.2], [False, True])
    ):
        mlp = MLPClassifier(
            hidden,
            activation,
            batch_norm=batch_norm,
            dropout=dropout,
            input_dropout=input_dropout,
        )
        shape = (2, 3, 1 if number % 3 else 3)
        n_steps = 2 if batch_norm else 1  # the second starts with other moving statistics
        compare(build(mlp, shape), shape, *LOSSES[loss], weighted=weighted, n_steps=n_steps)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("input_dropout", [0.0, 0.3])
def test_a_cnn_without_convolutions(input_dropout, channels):
    # Here values are dropped before the images are flattened.
    cnn = CNNClassifier((), input_dropout=input_dropout, dropout=0.2, hidden_layer_sizes=(4,))
    shape = (3, 4, channels)
    compare(build(cnn, shape), shape, *LOSSES["cross-entropy"], weighted=True)


def test_dropped_units_are_those_of_torchs_path_in_the_order_of_the_layers():
    mlp = MLPClassifier((50, 50), input_dropout=0.5, dropout=0.5)
    network = build(mlp, (6, 6, 1))
    shape = (6, 6, 1)
    compare(network, shape, *LOSSES["squared"], weighted=False, n_steps=5)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_flattened_as_numpy_does(channels):
    network = nn.Sequential(FlattenImages(), nn.Linear(2 * 3 * channels, N_OUTPUTS)).double()
    FlatParameters(network)
    images = torch.randn(N, 2, 3, channels, dtype=torch.float64)
    outputs, _ = DenseStep(network, SquaredError(), keep_outputs=True)(
        as_input(images), torch.zeros(N, N_OUTPUTS, dtype=torch.float64), None
    )
    rows = images.numpy().reshape(N, -1)
    expected = rows @ network[1].weight.detach().numpy().T + network[1].bias.detach().numpy()
    np.testing.assert_allclose(outputs, expected, atol=1e-12)


def test_outputs_are_kept_only_if_somebody_looks():
    network = build(MLPClassifier((4,)), (2, 3, 1))
    FlatParameters(network)
    images, targets = torch.zeros(N, 1, 2, 3).double(), torch.zeros(N, N_OUTPUTS).double()
    outputs, _ = DenseStep(network, SquaredError(), keep_outputs=False)(images, targets, None)
    assert outputs is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "poisson"])
def test_extreme_logits_are_finite(loss, dtype):
    network = nn.Sequential(FlattenImages(), nn.Linear(1, N_OUTPUTS)).to(dtype)
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1e4], [-1e4], [0.0]]))
    flat = FlatParameters(network)
    function, kind = LOSSES[loss]
    targets = drawn(kind, torch.Generator().manual_seed(0))
    targets = targets if kind == "codes" else targets.to(dtype)
    images = torch.ones(N, 1, 1, 1, dtype=dtype)
    images[::2] = -1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, value = DenseStep(network, function, keep_outputs=False)(images, targets, None)
    assert np.isfinite(value)
    assert torch.isfinite(flat.gradient).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_saturated_units_have_the_gradient_of_autograd(scale, dtype):
    for activation in OF_SCIKIT_LEARN:
        network = build(MLPClassifier((5,), activation, batch_norm=True), (2, 2, 1), dtype)
        plain = copy.deepcopy(network)
        flat = FlatParameters(network)
        images = scale * torch.randn(N, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        images, targets = images.to(dtype), torch.arange(N) % N_OUTPUTS
        DenseStep(network, CrossEntropy(), keep_outputs=False)(images, targets, None)
        CrossEntropy().mean(plain(images), targets, None).backward()
        assert torch.isfinite(flat.gradient).all()
        for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
            largest = theirs.grad.abs().max().item()
            tolerance = (1e-4 if dtype == torch.float32 else 1e-9) * max(largest, 1e-6)
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=tolerance)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("activation", OF_SCIKIT_LEARN)
def test_divergence_is_an_error_and_not_a_warning_of_numpy(activation, loss):
    rng = np.random.RandomState(0)
    X, y = rng.rand(40, 3, 3), rng.rand(40) * 1e3
    mlp = MLPRegressor(loss, (20, 20), activation, standardize=False, solver="sgd")
    mlp.set_params(learning_rate_init=1e30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="training diverged"):
            mlp.fit(X * 1e100, y)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_is_known_which_networks_are_dense(activation):
    known = activation in OF_SCIKIT_LEARN
    assert is_dense(MLPClassifier((5,), activation)._layers((4, 4, 1), 3, 0)) == known
    assert is_dense(CNNClassifier((), activation=activation)._layers((4, 4, 1), 3, 0)) == known
    assert not is_dense(CNNClassifier((2,), activation=activation)._layers((4, 4, 1), 3, 0))


class Subclass(nn.Linear):
    pass


@pytest.mark.parametrize(
    "network",
    [
        nn.Linear(2, 2),
        nn.Sequential(FlattenImages(), nn.ReLU()),
        nn.Sequential(nn.Conv2d(1, 2, 1), FlattenImages(), nn.Linear(2, 2)),
        nn.Sequential(GlobalAverage(), nn.Linear(2, 2)),
        nn.Sequential(nn.Flatten(), nn.Linear(2, 2)),
        nn.Sequential(FlattenImages(), nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)),
        nn.Sequential(FlattenImages(), nn.Sequential(nn.Linear(2, 2))),
        nn.Sequential(FlattenImages(), Subclass(2, 2)),
        nn.Sequential(FlattenImages(), nn.Linear(2, 2), nn.LayerNorm(2)),
        nn.Sequential(FlattenImages(), nn.Linear(2, 2, device="meta")),
    ],
    ids=lambda network: "-".join(type(layer).__name__ for layer in network.modules()),
)
def test_other_networks_are_left_to_torch(network):
    assert not is_dense(network)


def test_products_of_every_size_are_those_of_numpy():
    rng = np.random.default_rng(0)
    for n, k, m in [
        (2, 3, 4),
        (64, 64, 64),
        (64, 64, 65),
        (300, 40, 30),
        (200, 100, 1),
        (1, 90, 200),
    ]:
        a, b = rng.random((k, n)).T, rng.random((k, m))  # a is not contiguous
        np.testing.assert_allclose(_product(a, b), a @ b, rtol=1e-13)
        out = np.empty((n, m))
        assert _product(a, b, out=out) is out
        np.testing.assert_allclose(out, a @ b, rtol=1e-13)


TIME_OF_OTHER_THREADS = """
import time
import numpy as np
import torch
from skcnn import {name}

torch.set_num_threads(1)
X, y = np.random.default_rng(0).random((400, 28, 28), np.float32), np.arange(400) % 10
network = {name}(hidden_layer_sizes={hidden}, batch_size=200, max_iter=40, n_iter_no_change=np.inf)
network.fit(X, y)

def times():
    return np.array([time.process_time() - time.thread_time(), time.thread_time()])

before = times()
network.fit(X, y)
others, own = times() - before
print(others / own)
"""


@pytest.mark.parametrize(
    ("name", "hidden"), [("MLPClassifier", "(100,)"), ("MLPRegressor", "(300, 100)")]
)
def test_numpy_starts_no_threads_beside_those_of_torch(name, hidden):
    # Two pools that wait for the same cores made a fit up to forty times as slow.
    program = TIME_OF_OTHER_THREADS.format(name=name, hidden=hidden)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert float(output.stdout) < 0.1
