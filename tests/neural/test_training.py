"""The training engine, against a plain PyTorch loop and skorch's own callbacks."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EpochTimer, LRScheduler
from torch import nn

from skcnn import CNNClassifier, MLPClassifier, load_digit_images
from skcnn._interrupts import propagating_interrupts
from skcnn.images import ImageBatch
from skcnn.neural import _training
from skcnn.neural._batches import Standardizer, TrainingBatches
from skcnn.neural._training import LeanNet


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:300], y[:300]


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_equals_a_plain_pytorch_loop(digits, solver):
    X, y = digits
    start = MLPClassifier((20,), solver=solver, learning_rate_init=1e-30, max_iter=1, alpha=0)
    start.set_params(shuffle=False, random_state=0, batch_size=50).fit(X, y)
    initial = {name: torch.tensor(value) for name, value in start.weights_.items()}
    mlp = start.set_params(learning_rate_init=0.01, alpha=0.5, max_iter=3).fit(X, y)

    network = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    network.load_state_dict(
        dict(zip(network.state_dict(), initial.values(), strict=True)),
    )
    weights = [p for p in network.parameters() if p.ndim > 1]
    biases = [p for p in network.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": 0.5 / 50}, {"params": biases}]
    optimizer = {
        "adam": lambda: torch.optim.Adam(groups, lr=0.01),
        "sgd": lambda: torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True),
    }[solver]()
    inputs = torch.tensor((X - X.mean()) / X.std(), dtype=torch.float32).flatten(1)
    losses = []
    for _ in range(3):
        total = 0.0
        for batch in range(0, 300, 50):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                network(inputs[batch : batch + 50]), torch.tensor(y[batch : batch + 50])
            )
            loss.backward()
            optimizer.step()
            total += loss.item() * 50
        losses.append(total / 300)
    np.testing.assert_allclose(mlp.loss_curve_, losses, rtol=1e-4)
    for ours, theirs in zip(mlp.weights_.values(), network.state_dict().values(), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


def test_same_seed_same_weights_and_the_global_generators_stay_as_they_were(digits):
    X, y = digits
    cnn = CNNClassifier((4,), dropout=0.5, max_iter=2, random_state=3)
    torch.manual_seed(0)
    before = global_state()
    first = cnn.fit(X, y).weights_
    assert global_state() == before
    torch.manual_seed(99)
    second = cnn.fit(X, y).weights_
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)
    other = cnn.set_params(random_state=4).fit(X, y).weights_
    assert not np.array_equal(other["output.weight"], first["output.weight"])


def global_state():
    numpy_state = np.random.get_state()  # noqa: NPY002 - the generator that must not be touched
    return torch.get_rng_state().tolist(), numpy_state[1].tolist(), torch.get_num_threads()


def test_images_are_converted_batch_by_batch_or_kept_with_the_same_result(digits, monkeypatch):
    X, y = digits
    cnn = CNNClassifier((4,), max_iter=2, random_state=0)
    kept = cnn.fit(X, y).weights_
    monkeypatch.setattr("skcnn.neural._batches._CACHE_BYTES", 0)
    for name, value in cnn.fit(X, y).weights_.items():
        np.testing.assert_array_equal(value, kept[name])


def test_input_is_not_written_to(digits):
    X, y = np.ascontiguousarray(digits[0], dtype=np.float32), digits[1]
    X.setflags(write=False)
    before = X.copy()
    MLPClassifier((5,), max_iter=1).fit(X, y).predict(X)
    np.testing.assert_array_equal(X, before)


def test_standardizer_learns_mean_and_deviation_of_the_chosen_images(monkeypatch):
    images = np.random.RandomState(0).normal(1000, 2, size=(50, 6, 5, 3))
    chosen = np.arange(0, 50, 3)
    monkeypatch.setattr("skcnn.neural._batches._STATISTICS_MIB", 0.005)
    standardizer = Standardizer.learn(ImageBatch(images), chosen)
    np.testing.assert_allclose(standardizer.mean, images[chosen].mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(standardizer.scale, images[chosen].std(axis=(0, 1, 2)), rtol=1e-9)


def test_statistics_come_from_the_training_images_only():
    rng = np.random.RandomState(0)
    X, y = rng.rand(40, 4, 4), np.arange(40) % 2
    mlp = MLPClassifier((3,), early_stopping=True, max_iter=1, random_state=0).fit(X, y)
    assert not np.isclose(mlp.input_mean_[0], X.mean(), rtol=1e-9)


def test_constant_images_train_without_nan():
    mlp = MLPClassifier((3,), max_iter=2).fit(np.full((10, 4, 4), 0.1), [0, 1] * 5)
    assert np.isfinite(mlp.predict_proba(np.full((1, 4, 4), 0.1))).all()


@pytest.mark.parametrize(("n", "batch_size"), [(10, 3), (7, 3), (33, 32), (5, 5), (2, 16)])
def test_every_image_once_an_epoch_and_no_batch_of_one(n, batch_size):
    images = ImageBatch(np.arange(n, dtype=float).reshape(n, 1, 1))
    batches = TrainingBatches(
        images,
        np.arange(n),
        np.arange(n),
        batch_size=batch_size,
        standardizer=Standardizer(np.zeros(1), np.ones(1)),
        device=torch.device("cpu"),
        rng=np.random.RandomState(0),
    )
    epochs = []
    for _ in range(2):
        epoch = list(batches)
        assert min(len(codes) for _, codes in epoch) > 1
        assert max(len(codes) for _, codes in epoch) <= batch_size + 1
        for inputs, codes in epoch:
            np.testing.assert_array_equal(inputs.flatten().numpy(), codes.numpy())
        epochs.append(torch.cat([codes for _, codes in epoch]).tolist())
        assert sorted(epochs[-1]) == list(range(n))
    assert n == 2 or epochs[0] != epochs[1]


def test_stops_when_the_loss_no_longer_improves(digits):
    X, y = digits
    mlp = MLPClassifier((5,), tol=1e9, n_iter_no_change=3, max_iter=50).fit(X, y)
    # The first epoch improves on nothing at all, and so on infinity.
    assert mlp.n_iter_ == len(mlp.loss_curve_) == 4


def test_early_stopping_restores_the_best_weights(digits):
    X, y = digits
    cnn = CNNClassifier((4,), early_stopping=True, n_iter_no_change=3, max_iter=30, random_state=0)
    cnn.set_params(learning_rate_init=0.02).fit(X, y)
    scores = cnn.validation_scores_
    assert len(scores) == cnn.n_iter_ < 30
    assert scores[-1] < max(scores)
    # The same training, ended right after its best epoch, ends with the same weights.
    best = int(np.argmax(scores)) + 1
    again = CNNClassifier((4,), early_stopping=True, max_iter=best, random_state=0)
    again.set_params(learning_rate_init=0.02).fit(X, y)
    for name, value in again.weights_.items():
        np.testing.assert_array_equal(cnn.weights_[name], value)


def test_diverged_training_stops_with_advice(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"epoch \d+: training diverged.*learning_rate_init"):
        MLPClassifier((50, 50), solver="sgd", learning_rate_init=1e12).fit(X, y)


def test_verbose_prints_one_line_an_epoch(digits, capsys):
    MLPClassifier((5,), max_iter=3, verbose=True, early_stopping=True).fit(*digits)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]
    assert all("loss = " in line and "validation accuracy = " in line for line in lines)
    MLPClassifier((5,), max_iter=3).fit(*digits)
    assert capsys.readouterr().out == ""


@pytest.fixture
def interrupted_in_epoch_three(monkeypatch):
    original = LeanNet._run_epoch

    def run(self, batches, **kwargs):
        if len(self.history) == 3:
            raise KeyboardInterrupt
        return original(self, batches, **kwargs)

    monkeypatch.setattr(LeanNet, "_run_epoch", run)


@pytest.mark.usefixtures("interrupted_in_epoch_three")
def test_ctrl_c_leaves_a_fitted_model(digits):
    X, y = digits
    mlp = MLPClassifier((20,), max_iter=50, random_state=0)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 50"):
        mlp.fit(X, y)
    assert mlp.n_iter_ == 2
    assert mlp.score(X, y) > 0.3


@pytest.mark.usefixtures("interrupted_in_epoch_three")
def test_ctrl_c_goes_through_to_the_work_around_the_fit(digits):
    with propagating_interrupts(), pytest.raises(KeyboardInterrupt):
        MLPClassifier((20,), max_iter=50).fit(*digits)


class Recorder(Callback):
    """A callback with every hook, as a user of skorch would write it."""

    def __init__(self):
        self.calls = []

    def on_train_begin(self, net, **kwargs):
        self.calls.append("train begin")

    def on_epoch_end(self, net, **kwargs):
        self.calls.append("epoch end")

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        assert len(batch[0]) == len(batch[1])

    def on_batch_end(self, net, loss=None, y_pred=None, **kwargs):
        assert y_pred.shape[1] == 10
        self.calls.append("batch end")

    def on_grad_computed(self, net, named_parameters=None, **kwargs):
        assert all(p.grad is not None for _, p in named_parameters)
        self.calls.append("grad")

    def on_train_end(self, net, **kwargs):
        self.calls.append("train end")


def test_skorch_callbacks_and_history_work(digits):
    X, y = digits
    batches = TrainingBatches(
        ImageBatch(X),
        y,
        np.arange(300),
        batch_size=100,
        standardizer=Standardizer(np.zeros(1), np.ones(1)),
        device=torch.device("cpu"),
    )
    recorder = Recorder()
    net = LeanNet(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=1.0,
        max_epochs=2,
        callbacks=[recorder, EpochTimer(), LRScheduler("StepLR", step_size=1, gamma=0.5)],
        device="cpu",
    ).train(batches)
    one_epoch = ["grad", "batch end"] * 3 + ["epoch end"]
    assert recorder.calls == ["train begin", *one_epoch * 2, "train end"]
    assert net.history[:, "train_loss_best"] == [True, True]
    assert all(seconds > 0 for seconds in net.history[:, "dur"])
    assert net.optimizer_.param_groups[0]["lr"] == pytest.approx(0.25)


def test_batch_hooks_are_not_called_for_callbacks_without_them():
    assert not _training._has_batch_hook(EpochTimer())
    assert _training._has_batch_hook(Recorder())
