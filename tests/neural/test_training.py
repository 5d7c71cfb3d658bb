"""The training engine, against a plain PyTorch loop and skorch's own callbacks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as SklearnMLP
from skorch.callbacks import Callback, EpochTimer, LRScheduler
from torch import nn

from skcnn import Augmentation, CNNClassifier, MLPClassifier, load_digit_images
from skcnn._interrupts import propagating_interrupts
from skcnn.images import ImageBatch
from skcnn.neural import _training
from skcnn.neural._batches import Standardizer, TrainingBatches
from skcnn.neural._callbacks import Patience
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


@pytest.mark.parametrize("group_bytes", [0, 5000, 10**9])
def test_how_many_images_are_read_together_changes_nothing(digits, group_bytes, monkeypatch):
    X, y = digits
    cnn = CNNClassifier((4,), max_iter=2, dropout=0.2, random_state=0)
    cnn.set_params(augment=Augmentation(shift=1, rotation=5))
    expected = cnn.fit(X, y).weights_
    monkeypatch.setattr("skcnn.neural._batches._GROUP_BYTES", group_bytes)
    for name, value in cnn.fit(X, y).weights_.items():
        np.testing.assert_array_equal(value, expected[name])


def test_input_is_not_written_to(digits):
    X, y = np.ascontiguousarray(digits[0], dtype=np.float32), digits[1]
    X.setflags(write=False)
    before = X.copy()
    MLPClassifier((5,), max_iter=1).fit(X, y).predict(X)
    np.testing.assert_array_equal(X, before)


def test_standardizer_learns_mean_and_deviation_of_the_chosen_images(monkeypatch):
    images = np.random.RandomState(0).normal(1000, 2, size=(50, 6, 5, 3))
    chosen = np.arange(0, 50, 3)
    monkeypatch.setattr("skcnn.neural._batches._CHUNK_MIB", 0.005)
    standardizer = Standardizer.learn(ImageBatch(images), chosen)
    np.testing.assert_allclose(standardizer.mean, images[chosen].mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(standardizer.scale, images[chosen].std(axis=(0, 1, 2)), rtol=1e-9)


@pytest.fixture
def parts(monkeypatch):
    """Indices of the training and the validation images of every network that is fitted."""
    seen, original = [], TrainingBatches.__init__

    def init(self, images, indices, targets, weights=None, **options):
        seen.append(indices)
        original(self, images, indices, targets, weights, **options)

    monkeypatch.setattr(TrainingBatches, "__init__", init)
    return seen


def test_early_stopping_sets_aside_its_share_of_every_class(parts):
    rng = np.random.RandomState(0)
    X, y = rng.rand(200, 4, 4), np.repeat([0, 1, 2], [100, 60, 40])
    y = rng.permutation(y)
    mlp = MLPClassifier((3,), early_stopping=True, validation_fraction=0.2, max_iter=1)
    mlp.set_params(random_state=0).fit(X, y)
    train, valid = parts
    assert sorted([*train, *valid]) == list(range(200))
    np.testing.assert_allclose(np.bincount(y[valid]), [20, 12, 8], atol=1)
    # What is learnt from the images is learnt from the training part.
    np.testing.assert_allclose(mlp.input_mean_, X[train].mean(), rtol=1e-12)
    np.testing.assert_allclose(mlp.input_scale_, X[train].std(), rtol=1e-9)


def test_no_image_is_set_aside_unless_asked_for(parts):
    MLPClassifier((3,), max_iter=1).fit(np.eye(10), np.arange(10) % 2)
    assert [len(part) for part in parts] == [10]


def test_early_stopping_keeps_rare_classes_in_training(parts):
    X, y = np.random.RandomState(0).rand(30, 4, 4), np.r_[np.zeros(28), 1, 2].astype(int)
    mlp = MLPClassifier((3,), early_stopping=True, max_iter=1).fit(X, y)
    train, valid = parts
    assert len(valid) == 3
    assert set(y[train]) == {0, 1, 2}
    with pytest.raises(ValueError, match=r"validation set is too small: early_stopping=True"):
        mlp.fit(X[27:], y[27:])


def test_validation_scores_are_accuracies_of_the_network_in_prediction_mode(parts, digits):
    X, y = digits
    cnn = CNNClassifier((4,), dropout=0.5, early_stopping=True, max_iter=4, random_state=0)
    cnn.fit(X, y)
    best = cnn.score(X[parts[1]], y[parts[1]])
    assert best == pytest.approx(max(cnn.validation_scores_))


def test_what_is_remembered_of_the_loss(digits):
    mlp = MLPClassifier((5,), max_iter=4, learning_rate_init=0.1, random_state=0).fit(*digits)
    assert len(mlp.loss_curve_) == mlp.n_iter_ == 4
    assert mlp.loss_ == mlp.loss_curve_[-1]
    assert mlp.best_loss_ == min(mlp.loss_curve_)


def test_shuffling_changes_the_order_and_nothing_else_does(digits):
    X, y = digits
    mlp = MLPClassifier((5,), max_iter=2, random_state=0, shuffle=False)
    reordered = mlp.fit(X[::-1], y[::-1]).loss_curve_
    assert mlp.fit(X, y).loss_curve_ != reordered
    shuffled = mlp.set_params(shuffle=True).fit(X, y).loss_curve_
    assert shuffled != mlp.set_params(shuffle=False).fit(X, y).loss_curve_


def test_a_large_mean_does_not_blur_float64_images():
    rng = np.random.RandomState(0)
    y = np.arange(60) % 2
    X = rng.rand(60, 5, 5) * 0.1
    X[y == 1, :3] += 0.1
    mlp = MLPClassifier((10,), batch_size=15, max_iter=30, random_state=0)
    assert mlp.fit(X, y).score(X, y) == 1
    assert mlp.fit(X + 1e9, y).score(X + 1e9, y) == 1


@pytest.mark.parametrize(
    ("network", "n", "expected"),
    [
        (CNNClassifier, 5, 5),
        (CNNClassifier, 100, 8),
        (CNNClassifier, 2500, 25),
        (CNNClassifier, 10**6, 128),
        (MLPClassifier, 5, 5),
        (MLPClassifier, 10**6, 200),  # scikit-learn's
    ],
)
def test_automatic_batch_size(network, n, expected):
    assert network()._batch_size(n) == expected


def test_constant_images_train_without_nan():
    mlp = MLPClassifier((3,), max_iter=2).fit(np.full((10, 4, 4), 0.1), [0, 1] * 5)
    assert np.isfinite(mlp.predict_proba(np.full((1, 4, 4), 0.1))).all()


@pytest.mark.parametrize(("n", "batch_size"), [(10, 3), (7, 3), (33, 32), (5, 5), (2, 2)])
def test_every_image_once_an_epoch_and_no_batch_of_one(n, batch_size):
    images = ImageBatch(np.arange(n, dtype=float).reshape(n, 1, 1))
    batches = TrainingBatches(
        images,
        np.arange(n),
        np.arange(n),
        batch_size=batch_size,
        entry=Standardizer(np.zeros(1), np.ones(1)),
        device=torch.device("cpu"),
        rng=np.random.RandomState(0),
    )
    epochs = []
    for _ in range(2):
        epoch = list(batches)
        assert min(len(batch.targets) for batch in epoch) > 1
        assert max(len(batch.targets) for batch in epoch) <= batch_size + 1
        for batch in epoch:
            np.testing.assert_array_equal(batch.inputs.flatten().numpy(), batch.targets.numpy())
        epochs.append(torch.cat([batch.targets for batch in epoch]).tolist())
        assert sorted(epochs[-1]) == list(range(n))
    assert n == 2 or epochs[0] != epochs[1]


@pytest.mark.parametrize("kind", ["train_loss", "valid_score"])
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_is_that_of_scikit_learn(kind, patience):
    values = [0.3, 0.5, 0.45, 0.5005, 0.6, 0.59, 0.58, 0.61, 0.6, 0.6, 0.6, 0.6, 0.6]
    reference = SklearnMLP(tol=1e-3, n_iter_no_change=patience)
    reference._no_improvement_count, reference.best_loss_ = 0, np.inf
    reference.best_validation_score_, reference.validation_scores_ = -np.inf, []
    reference.coefs_ = reference.intercepts_ = []
    reference._score = lambda X, y, sample_weight=None: X
    callback, net = (
        Patience(patience, 1e-3, watch=kind),
        SimpleNamespace(history=[], stop_training_=False),
    )
    net.module_ = nn.Linear(1, 1)
    callback.on_train_begin(net)
    for value in values:
        loss = 1 - value
        net.history.append({"train_loss": loss} | ({kind: value} if kind == "valid_score" else {}))
        net.stop_training_ = False
        callback.on_epoch_end(net)
        reference.loss_curve_ = [loss]
        early = kind == "valid_score"
        reference._update_no_improvement_count(early, value, None, None)
        assert callback.epochs_without_ == reference._no_improvement_count
        assert net.stop_training_ == (reference._no_improvement_count > patience)


def test_stops_when_the_loss_no_longer_improves(digits):
    mlp = MLPClassifier((5,), tol=1e9, n_iter_no_change=3, max_iter=50).fit(*digits)
    reference = SklearnMLP((5,), tol=1e9, n_iter_no_change=3, max_iter=50)
    reference.fit(digits[0].reshape(300, -1), digits[1])
    assert mlp.n_iter_ == len(mlp.loss_curve_) == reference.n_iter_
    assert (
        MLPClassifier((5,), tol=1e9, n_iter_no_change=np.inf, max_iter=9).fit(*digits).n_iter_ == 9
    )


def test_early_stopping_restores_the_best_weights(digits, monkeypatch):
    X, y = digits
    accuracies = iter([0.5, 0.7, 0.6, 0.65, 0.6, 0.6])
    original = LeanNet._evaluate

    def evaluate(self, batches):
        original(self, batches)
        self.history[-1]["valid_score"] = next(accuracies)

    monkeypatch.setattr(LeanNet, "_evaluate", evaluate)
    cnn = CNNClassifier((4,), early_stopping=True, n_iter_no_change=2, max_iter=30, random_state=0)
    cnn.fit(X, y)
    assert cnn.validation_scores_ == [0.5, 0.7, 0.6, 0.65, 0.6]
    # The same training, ended right after its best epoch, ends with the same weights.
    monkeypatch.undo()
    again = CNNClassifier((4,), early_stopping=True, max_iter=2, random_state=0)
    monkeypatch.setattr(Patience, "on_train_end", lambda self, net, **kwargs: None)
    again.fit(X, y)
    for name, value in again.weights_.items():
        np.testing.assert_array_equal(cnn.weights_[name], value)


def test_diverged_training_stops_with_advice(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"epoch \d+: training diverged.*learning_rate_init"):
        MLPClassifier((50, 50), solver="sgd", learning_rate_init=1e12).fit(X, y)


def test_divergence_in_the_last_step_is_noticed(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"is not finite in epoch 1: training diverged"):
        CNNClassifier((4,), learning_rate_init=1e38, max_iter=1, batch_size=300).fit(X, y)


def test_verbose_prints_one_line_an_epoch(digits, capsys):
    MLPClassifier((5,), max_iter=3, verbose=True, early_stopping=True).fit(*digits)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"Iteration {k}/3" for k in (1, 2, 3)]
    assert all("loss = " in line and "validation score = " in line for line in lines)
    MLPClassifier((5,), max_iter=3).fit(*digits)
    assert capsys.readouterr().out == ""


@pytest.fixture(params=[3])
def interrupted_epoch(monkeypatch, request):
    original = LeanNet._train_epoch

    def run(self, batches):
        if len(self.history) == request.param:
            raise KeyboardInterrupt
        return original(self, batches)

    monkeypatch.setattr(LeanNet, "_train_epoch", run)


@pytest.mark.usefixtures("interrupted_epoch")
def test_ctrl_c_leaves_a_fitted_model(digits):
    X, y = digits
    mlp = MLPClassifier((20,), max_iter=50, random_state=0)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 50") as caught:
        mlp.fit(X, y)
    assert caught[0].filename == __file__
    assert mlp.n_iter_ == len(mlp.loss_curve_) == 2
    assert mlp.predict_proba(X).shape == (300, 10)


@pytest.mark.usefixtures("interrupted_epoch")
@pytest.mark.parametrize("interrupted_epoch", [1], indirect=True)
def test_ctrl_c_before_anything_is_learnt_leaves_no_model(digits):
    mlp = MLPClassifier((20,), max_iter=50)
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(*digits)
    with pytest.raises(NotFittedError):
        mlp.predict(digits[0])


@pytest.mark.usefixtures("interrupted_epoch")
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
    recorder, timer = Recorder(), EpochTimer()
    rates = []
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    watch = EachEpoch(lambda net: rates.append(net.optimizer_.param_groups[0]["lr"]))
    MLPClassifier(
        (5,), batch_size=100, max_iter=2, callbacks=[recorder, timer, schedule, watch]
    ).fit(*digits)
    one_epoch = ["grad", "batch end"] * 3 + ["epoch end"]
    assert recorder.calls == ["train begin", *one_epoch * 2, "train end"]
    assert rates == pytest.approx([5e-4, 2.5e-4])


class EachEpoch(Callback):
    def __init__(self, look):
        self.look = look

    def on_epoch_end(self, net, **kwargs):
        self.look(net)


def test_batch_hooks_are_not_called_for_callbacks_without_them():
    assert not _training._has_batch_hook(EpochTimer())
    assert _training._has_batch_hook(Recorder())
