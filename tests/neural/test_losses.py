"""Losses against scikit-learn's metrics, torch's functions and finite differences."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error
from torch.nn import functional as F  # noqa: N812

from skcnn import CNNRegressor, MLPClassifier, MLPRegressor
from skcnn.images import ImageBatch
from skcnn.neural._batches import Standardizer, TrainingBatches
from skcnn.neural._losses import BinaryCrossEntropy, CrossEntropy, PoissonDeviance, SquaredError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, K = 23, 4


def classes(rng):
    return rng.randint(K, size=N)


def labels(rng):
    return rng.randint(2, size=(N, K)).astype(float)


def numbers(rng):
    return rng.normal(size=(N, K))


def counts(rng):
    return rng.poisson(1.5, size=(N, K)).astype(float)


LOSSES = {
    "cross-entropy": (CrossEntropy(), classes),
    "cross-entropy, smoothed": (CrossEntropy(0.2), classes),
    "binary": (BinaryCrossEntropy(), labels),
    "binary, smoothed": (BinaryCrossEntropy(0.2), labels),
    "squared": (SquaredError(), numbers),
    "poisson": (PoissonDeviance(), counts),
}


@pytest.fixture(params=LOSSES)
def case(request):
    """A loss with outputs and targets for it."""
    rng = np.random.RandomState(0)
    loss, draw = LOSSES[request.param]
    return request.param, loss, rng.normal(0, 2, size=(N, K)), draw(rng)


@pytest.fixture(params=[False, True], ids=["no weights", "weights"])
def shares(request):
    """Weights of mean 1, as the engine hands them to a loss."""
    weights = np.random.RandomState(1).rand(N)
    return weights / weights.mean() if request.param else None


def both_ways(loss, outputs, targets, shares):
    """The mean loss by torch and by hand."""
    by_torch = loss.mean(
        torch.tensor(outputs),
        torch.tensor(targets),
        None if shares is None else torch.tensor(shares),
    )
    by_hand, _ = loss.mean_by_hand(outputs.copy(), targets, shares)
    return by_torch.item(), by_hand


def softmax(outputs):
    exponentials = np.exp(outputs)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def of_scikit_learn(name, outputs, targets, shares):
    """The value that scikit-learn's metrics give; they don't know smoothing."""
    if name == "cross-entropy":
        return log_loss(targets, softmax(outputs), sample_weight=shares, labels=range(K))
    columns = list(zip(targets.T, outputs.T, strict=True))
    if name == "binary":
        probabilities = [1 / (1 + np.exp(-column)) for _, column in columns]
        return sum(
            log_loss(target, p, sample_weight=shares, labels=[0, 1])
            for (target, _), p in zip(columns, probabilities, strict=True)
        )
    if name == "squared":
        return sum(mean_squared_error(t, o, sample_weight=shares) for t, o in columns) / 2
    return sum(mean_poisson_deviance(t, np.exp(o), sample_weight=shares) for t, o in columns) / 2


def test_values_are_those_of_scikit_learn(case, shares):
    name, loss, outputs, targets = case
    if "smoothed" in name:
        # The loss is linear in its target: a smoothed one is a mixture of plain ones.
        plain = of_scikit_learn(name.split(",")[0], outputs, targets, shares)
        others = [of_scikit_learn(name.split(",")[0], outputs, t, shares) for t in spread(targets)]
        expected = 0.8 * plain + 0.2 * np.mean(others)
    else:
        expected = of_scikit_learn(name, outputs, targets, shares)
    np.testing.assert_allclose(both_ways(loss, outputs, targets, shares), expected, rtol=1e-12)


def spread(targets):
    """Targets that are uniform over the classes, or over a label's two values, on average."""
    if targets.ndim == 1:
        return [np.full(N, k) for k in range(K)]
    return [np.zeros((N, K)), np.ones((N, K))]


def of_torch(name, outputs, targets):
    """The loss of each image by torch's functions."""
    if "cross" in name:
        smoothing = 0.2 if "smoothed" in name else 0.0
        return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=smoothing)
    if "binary" in name:
        targets = targets * 0.8 + 0.1 if "smoothed" in name else targets
        losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    elif name == "squared":
        losses = F.mse_loss(outputs, targets, reduction="none") / 2
    else:
        # Without the terms of the targets alone, which do not change where the minimum is.
        losses = F.poisson_nll_loss(outputs, targets, reduction="none")
        losses += torch.special.xlogy(targets, targets) - targets
    return losses.sum(dim=1)


def test_values_and_gradients_are_those_of_torch(case, shares):
    name, loss, outputs, targets = case
    inputs = torch.tensor(outputs, requires_grad=True)
    losses = of_torch(name, inputs, torch.tensor(targets))
    expected = losses.mean() if shares is None else (losses * torch.tensor(shares)).mean()
    expected.backward()
    np.testing.assert_allclose(
        both_ways(loss, outputs, targets, shares), expected.item(), rtol=1e-13
    )
    of_each, _ = loss.by_hand(outputs.copy(), targets)
    np.testing.assert_allclose(of_each, losses.detach(), rtol=1e-12, atol=1e-14)
    _, gradient = loss.mean_by_hand(outputs.copy(), targets, shares)
    np.testing.assert_allclose(gradient, inputs.grad, rtol=1e-12, atol=1e-16)


def test_the_gradient_by_hand_is_that_of_finite_differences(case, shares):
    _, loss, outputs, targets = case
    _, gradient = loss.mean_by_hand(outputs.copy(), targets, shares)
    step = 1e-5
    for position in np.ndindex(3, K):
        ends = []
        for sign in (1, -1):
            moved = outputs.copy()
            moved[position] += sign * step
            ends.append(loss.mean_by_hand(moved, targets, shares)[0])
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(gradient[position], abs=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "poisson"])
def test_extreme_outputs_have_finite_losses_and_gradients(name, dtype):
    rng = np.random.RandomState(0)
    loss, draw = LOSSES[name]
    outputs = rng.choice([-1e4, 1e4], size=(N, K)).astype(dtype)
    targets = draw(rng)
    targets = targets if targets.dtype.kind == "i" else targets.astype(dtype)
    losses, gradient = loss.by_hand(outputs.copy(), targets)
    assert losses.dtype == gradient.dtype == dtype
    assert np.isfinite(losses).all()
    assert np.isfinite(gradient).all()
    expected = of_torch(name, torch.tensor(outputs).double(), torch.tensor(targets))
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_the_poisson_loss_of_extreme_outputs_is_their_limit():
    outputs, targets = np.array([[-1e4]]), np.zeros((1, 1))
    losses, gradient = PoissonDeviance().by_hand(outputs.copy(), targets)
    assert losses == gradient == 0
    losses, gradient = PoissonDeviance().by_hand(outputs.copy(), targets + 2)
    assert losses == pytest.approx(2e4 + 2 * np.log(2) - 2)
    assert gradient == -2


def batches_of(weights, batch_size):
    return TrainingBatches(
        ImageBatch(np.zeros((len(weights), 1, 1))),
        np.flatnonzero(weights),
        np.arange(len(weights), dtype=float)[:, None],
        weights,
        batch_size=batch_size,
        entry=Standardizer.nothing(1),
        device=torch.device("cpu"),
        dtype=torch.float64,
    )


def test_shares_have_mean_one_over_the_whole_set_and_not_over_a_batch():
    weights = np.array([0, 1, 1, 2, 8, 8, 0, 4.0])
    batches = batches_of(weights, 2)
    assert batches.mean_weight == 4
    seen = [batch.weights.tolist() for batch in batches]
    assert seen == [[0.25, 0.25], [0.5, 2.0], [2.0, 1.0]]
    assert batches.weights.mean() == 1
    targets = torch.cat([batch.targets for batch in batches]).flatten()
    np.testing.assert_array_equal(targets, np.flatnonzero(weights))


@pytest.mark.parametrize("module", [MLPRegressor, CNNRegressor])
def test_the_recorded_loss_is_the_weighted_mean_over_the_set(module):
    rng = np.random.RandomState(0)
    X, y, weights = rng.rand(21, 3, 3), rng.normal(size=(21, 2)), rng.rand(21)
    network = module(max_iter=1, learning_rate_init=1e-30, batch_size=4, random_state=0)
    network.set_params(batch_norm=False, precision="float64", hidden_layer_sizes=(3,))
    network.fit(X, y, sample_weight=weights)
    scaled = (y - network.target_mean_) / network.target_scale_
    said = (network.predict(X) - network.target_mean_) / network.target_scale_
    expected = mean_squared_error(scaled, said, sample_weight=weights, multioutput="raw_values")
    assert network.loss_ == pytest.approx(expected.sum() / 2, rel=1e-12)


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_whole_weights_are_repeated_images(hidden):
    rng = np.random.RandomState(0)
    X, y, weights = rng.rand(20, 3, 3), np.arange(20) % 3, np.arange(20) % 4
    # Full batches, and no order that could differ.
    options = {"max_iter": 30, "batch_size": 100, "shuffle": False, "random_state": 0}
    weighted = MLPClassifier(hidden, **options).fit(X, y, sample_weight=weights)
    repeated = MLPClassifier(hidden, **options).fit(X.repeat(weights, 0), y.repeat(weights))
    # The penalty is alpha / 2 * |w|^2 for a batch of the sum of weights, in both.
    for name, value in repeated.weights_.items():
        np.testing.assert_allclose(weighted.weights_[name], value, atol=1e-10)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-10)
