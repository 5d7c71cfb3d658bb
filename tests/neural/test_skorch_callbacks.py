"""skorch's callbacks, unmodified, in ``callbacks=``: what they see, what they may do."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from skorch import callbacks as skorch
from torch.optim.lr_scheduler import OneCycleLR

from skcnn import (
    Augmentation,
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    load_digit_images,
)
from skcnn._interrupts import propagating_interrupts

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")
CLASSIFIERS, REGRESSORS = [MLPClassifier, CNNClassifier], [MLPRegressor, CNNRegressor]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:120], y[:120], X[120:160], y[120:160]


def make(network, **parameters):
    convolutional = issubclass(network, (CNNClassifier, CNNRegressor))
    layers = {"conv_channels": (4,)} if convolutional else {"hidden_layer_sizes": (8,)}
    quick = {"max_iter": 3, "batch_size": 40, "random_state": 0, "learning_rate_init": 0.01}
    return network(**{**quick, **layers, **parameters})


class History(skorch.Callback):
    """Collects what training records of every epoch."""

    def __init__(self):
        self.rows_ = []

    def initialize(self):
        self.rows_ = []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.rows_.append(dict(net.history[-1]))

    def __getitem__(self, name):
        return [row[name] for row in self.rows_]


def fit(network, digits, *callbacks, **parameters):
    """Fit with callbacks and validation images; return what was recorded, and the estimator."""
    X, y, X_val, y_val = digits
    history = History()
    estimator = make(network, callbacks=[*callbacks, history], **parameters)
    if network in REGRESSORS:
        y, y_val = y.astype(float), y_val.astype(float)
    return history, estimator.fit(X, y, X_val=X_val, y_val=y_val)


def after_each_epoch(estimator, digits):
    """Yield the estimator as it is after one epoch, after two, and so on."""
    X, y, X_val, y_val = digits
    for n_epochs in range(1, estimator.max_iter + 1):
        yield (
            clone(estimator)
            .set_params(max_iter=n_epochs, callbacks=None)
            .fit(X, y, X_val=X_val, y_val=y_val)
        )


@pytest.mark.parametrize("use_caching", [True, False])
@pytest.mark.parametrize("network", CLASSIFIERS)
def test_epoch_scoring_of_validation_images(network, use_caching, digits):
    def proba_score(net, X, y):
        return -log_loss(y, net.predict_proba(X), labels=net.classes_)

    options = {"lower_is_better": False, "use_caching": use_caching}
    history, fitted = fit(
        network,
        digits,
        skorch.EpochScoring("accuracy", **options),
        skorch.EpochScoring("neg_log_loss", **options),
        skorch.EpochScoring(proba_score, name="own", **options),
        dropout=0.3,
    )
    assert history["accuracy"] == pytest.approx(fitted.validation_scores_, abs=1e-6)
    expected = [
        -log_loss(digits[3], stage.predict_proba(digits[2]))
        for stage in after_each_epoch(fitted, digits)
    ]
    assert history["neg_log_loss"] == pytest.approx(expected, rel=1e-5)
    assert history["own"] == history["neg_log_loss"]
    assert history["neg_log_loss_best"] == [
        e == max(expected[: k + 1]) for k, e in enumerate(expected)
    ]


@pytest.mark.parametrize("network", CLASSIFIERS)
def test_epoch_scoring_of_training_images(network, digits):
    history, fitted = fit(
        network,
        digits,
        skorch.EpochScoring("neg_log_loss", on_train=True, name="as_trained"),
        skorch.EpochScoring("neg_log_loss", on_train=True, name="afterwards", use_caching=False),
        augment=Augmentation(shift=1),
        dropout=0.3,
    )
    # With caching these are the outputs of training, else new predictions on images as they are.
    assert history["as_trained"] == pytest.approx([-loss for loss in fitted.loss_curve_], rel=1e-4)
    X, y, *_ = digits
    expected = [-log_loss(y, s.predict_proba(X)) for s in after_each_epoch(fitted, digits)]
    assert history["afterwards"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("use_caching", [True, False])
@pytest.mark.parametrize("network", REGRESSORS)
def test_epoch_scoring_of_regressors(network, use_caching, digits):
    history, fitted = fit(
        network,
        digits,
        skorch.EpochScoring("r2", lower_is_better=False, use_caching=use_caching),
        skorch.EpochScoring("neg_mean_squared_error", use_caching=use_caching),
    )
    assert history["r2"] == pytest.approx(fitted.validation_scores_, abs=1e-5)
    errors = [
        -np.mean((stage.predict(digits[2]) - digits[3]) ** 2) / fitted.target_scale_[0] ** 2
        for stage in after_each_epoch(fitted, digits)
    ]
    assert history["neg_mean_squared_error"] == pytest.approx(errors, rel=1e-4)


@pytest.mark.parametrize("network", REGRESSORS)
def test_callbacks_see_rates_where_the_network_gives_logarithms(network, digits):
    history, fitted = fit(network, digits, skorch.EpochScoring("r2"), loss="poisson")
    assert history["r2"] == pytest.approx(fitted.validation_scores_, abs=1e-5)


@pytest.mark.parametrize("network", CLASSIFIERS)
def test_callbacks_see_labels_that_do_not_exclude_each_other(network, digits):
    labels = (digits[1][:, None] >= [3, 6]).astype(int)
    labels_val = (digits[3][:, None] >= [3, 6]).astype(int)
    history, fitted = fit(
        network, (digits[0], labels, digits[2], labels_val), skorch.EpochScoring("accuracy")
    )
    assert history["accuracy"] == pytest.approx(fitted.validation_scores_)


@pytest.mark.parametrize("use_caching", [True, False])
@pytest.mark.parametrize("on_train", [True, False])
def test_batch_scoring_and_passed_through_losses(on_train, use_caching, digits):
    part = "train" if on_train else "valid"
    history, fitted = fit(
        MLPClassifier,
        digits,
        skorch.BatchScoring(
            make_scorer(log_loss, response_method="predict_proba", labels=range(10)),
            name="batch_score",
            on_train=on_train,
            use_caching=use_caching,
        ),
        skorch.PassthroughScoring(f"{part}_loss", on_train=on_train),
    )
    # Before the step or after it: without caching the network is asked again, one step later.
    tolerance = 1e-5 if use_caching or not on_train else 0.3
    assert history["batch_score"] == pytest.approx(history[f"{part}_loss"], rel=tolerance)
    if on_train:
        assert history["train_loss"] == pytest.approx(fitted.loss_curve_, rel=1e-6)


@pytest.mark.parametrize("network", CLASSIFIERS)
def test_watching_changes_nothing(network, digits):
    alone = make(network, dropout=0.3, augment=Augmentation(shift=1))
    alone.fit(*digits[:2], X_val=digits[2], y_val=digits[3])
    watchers = [
        skorch.EpochScoring("accuracy", on_train=True, use_caching=False),
        skorch.BatchScoring("accuracy", on_train=True, use_caching=False),
        skorch.EpochTimer(),
    ]
    _, watched = fit(network, digits, *watchers, dropout=0.3, augment=Augmentation(shift=1))
    assert watched.loss_curve_ == alone.loss_curve_
    for name, value in alone.weights_.items():
        np.testing.assert_array_equal(watched.weights_[name], value)


class Rates(skorch.Callback):
    def initialize(self):
        self.rates_ = []
        return self

    def on_batch_begin(self, net, training, **kwargs):
        if training:
            self.rates_.append(net.optimizer_.param_groups[0]["lr"])


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(
    ("policy", "options", "steps"),
    [
        ("StepLR", {"step_size": 2, "gamma": 0.1}, "epoch"),
        ("ExponentialLR", {"gamma": 0.5}, "epoch"),
        ("CyclicLR", {"base_lr": 1e-4, "max_lr": 1e-2, "step_size_up": 3}, "batch"),
        (OneCycleLR, {"max_lr": 0.01, "total_steps": 12}, "batch"),
    ],
)
def test_learning_rate_schedules_are_torchs(policy, options, steps, solver, digits):
    schedule = skorch.LRScheduler(policy, step_every=steps, **options)
    rates = Rates()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of steps in the wrong order
        fit(CNNClassifier, digits, schedule, rates, solver=solver, max_iter=4)
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.01, momentum=0.9)
    reference = (policy if isinstance(policy, type) else getattr(torch.optim.lr_scheduler, policy))(
        optimizer, **options
    )
    expected = []
    for _ in range(4 if steps == "epoch" else 12):
        expected.extend([optimizer.param_groups[0]["lr"]] * (3 if steps == "epoch" else 1))
        optimizer.step()
        reference.step()
    assert rates.rates_ == pytest.approx(expected)


def test_a_learning_rate_falls_on_a_plateau(digits):
    plateau = skorch.LRScheduler("ReduceLROnPlateau", monitor="valid_score", patience=0, mode="min")
    rates = Rates()
    _, fitted = fit(CNNClassifier, digits, plateau, rates, max_iter=5)
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    expected, lowered = [], torch.optim.lr_scheduler.ReduceLROnPlateau(reference, patience=0)
    for score in fitted.validation_scores_:
        expected.extend([reference.param_groups[0]["lr"]] * 3)
        lowered.step(score)
    assert rates.rates_ == pytest.approx(expected)
    assert expected[-1] < 0.01


@pytest.mark.parametrize("monitor", ["valid_loss_best", "valid_score_best", "train_loss_best"])
@pytest.mark.parametrize("network", CLASSIFIERS + REGRESSORS)
def test_checkpoint_writes_what_torch_reads(network, monitor, digits, tmp_path):
    checkpoint = skorch.Checkpoint(monitor, dirname=str(tmp_path))
    history, fitted = fit(network, digits, checkpoint)
    state = torch.load(tmp_path / "params.pt", weights_only=True)
    best = np.flatnonzero(history[monitor])[-1]
    assert history["event_cp"] == history[monitor]
    *_, written = (s for s in after_each_epoch(fitted.set_params(max_iter=best + 1), digits))
    assert state.keys() == written.weights_.keys()
    for name, value in written.weights_.items():
        np.testing.assert_array_equal(state[name].numpy(), value)
    names = {"params.pt", "optimizer.pt", "criterion.pt", "history.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("scoring", [None, "loss", "neg_log_loss"])
def test_checkpoint_pickles_a_network_that_validates(scoring, digits, tmp_path):
    checkpoint = skorch.Checkpoint(monitor=None, f_pickle="net.pkl", dirname=str(tmp_path))
    history, fitted = fit(CNNClassifier, digits, checkpoint, scoring=scoring)
    with (tmp_path / "net.pkl").open("rb") as file:
        net = pickle.load(file)
    assert net.history[-1]["valid_score"] == history["valid_score"][-1]
    for name, value in fitted.weights_.items():
        np.testing.assert_array_equal(net.module_.state_dict()[name].numpy(), value)


def test_a_callback_that_is_none(digits):
    fitted = CNNClassifier((4,), max_iter=1, callbacks=[("none", None)]).fit(*digits[:2])
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(fitted)).predict(digits[0]), fitted.predict(digits[0])
    )


@pytest.mark.parametrize("callback", ["Checkpoint", "EarlyStopping"])
@pytest.mark.parametrize("parameters", [{}, {"ema_decay": 0.9}])
def test_load_best_puts_the_best_weights_back(callback, parameters, digits, tmp_path):
    # The validation score of an untrainable network: the first epoch stays the best one.
    better_first = {"lower_is_better": True, "patience": 2, "monitor": "valid_score"}
    load_best = {
        "Checkpoint": lambda: skorch.Checkpoint(
            lambda net: len(net.history) == 1, dirname=str(tmp_path), load_best=True
        ),
        "EarlyStopping": lambda: skorch.EarlyStopping(
            **better_first, load_best=True, threshold=0, sink=lambda *a, **k: None
        ),
    }[callback]()
    parameters = {"max_iter": 4, **parameters}
    _, fitted = fit(CNNClassifier, digits, load_best, **parameters)
    first = next(after_each_epoch(fitted, digits))
    for name, value in first.weights_.items():
        np.testing.assert_array_equal(fitted.weights_[name], value)


@pytest.mark.parametrize("network", CLASSIFIERS + REGRESSORS)
@pytest.mark.parametrize("inside_other_work", [True, False])
def test_early_stopping_ends_fit_normally(network, inside_other_work, digits, capsys, tmp_path):
    stopping = skorch.EarlyStopping("train_loss", lower_is_better=False, patience=2)
    seen = []
    after = Last(seen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if inside_other_work:
            with propagating_interrupts():
                history, fitted = fit(network, digits, stopping, after, max_iter=20)
        else:
            options = {"checkpoint": tmp_path / "state", "early_stopping": True}
            history, fitted = fit(network, digits, stopping, after, max_iter=20, **options)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == len(history.rows_)
    assert 3 <= fitted.n_iter_ < 20
    assert seen == list(range(1, fitted.n_iter_ + 1))  # also of the epoch that was the last
    assert "Stopping since train_loss has not improved" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


class Last(skorch.Callback):
    """A callback behind others."""

    def __init__(self, seen):
        self.seen = seen

    def on_epoch_end(self, net, **kwargs):
        self.seen.append(len(net.history))


def test_a_stop_is_not_undone_by_an_adaptive_learning_rate(digits):
    stopping = skorch.EarlyStopping("train_loss", patience=2, lower_is_better=False)
    parameters = {"solver": "sgd", "learning_rate": "adaptive", "max_iter": 9}
    _, fitted = fit(MLPClassifier, digits, stopping, tol=1e9, n_iter_no_change=1, **parameters)
    assert fitted.n_iter_ == 3


def test_gradient_norm_clipping_is_max_grad_norm(digits):
    _, ours = fit(CNNClassifier, digits, max_grad_norm=0.01, solver="sgd")
    _, theirs = fit(CNNClassifier, digits, skorch.GradientNormClipping(0.01), solver="sgd")
    _, none = fit(CNNClassifier, digits, solver="sgd")
    for name, value in ours.weights_.items():
        np.testing.assert_allclose(theirs.weights_[name], value, rtol=1e-4, atol=1e-6)
    assert not np.allclose(none.weights_["output.weight"], ours.weights_["output.weight"])


def test_printed_tables_and_bars(digits, capsys):
    fit(MLPClassifier, digits, skorch.PrintLog(), skorch.EpochTimer())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["epoch", "train_loss", "valid_loss", "valid_score", "dur"]
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3"]
    fit(MLPClassifier, digits, skorch.ProgressBar())
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "/4 " in printed.err  # three batches of training, one of validation


def test_nothing_is_printed_without_a_callback_that_prints(digits, capsys):
    fit(CNNClassifier, digits, skorch.EpochTimer(), skorch.EpochScoring("accuracy"))
    assert capsys.readouterr() == ("", "")


class EveryHook(skorch.Callback):
    """A user's callback with every hook, and what each of them got."""

    def __init__(self, kind="classifier"):
        self.kind = kind

    def initialize(self):
        self.calls_ = ["initialize"]
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.calls_.append("train begin")
        assert len(X) == 120
        assert len(net.history) == 0
        assert sum(p.numel() for p in net.module_.parameters()) > 0

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.calls_.append("epoch begin")
        assert (len(dataset_train), len(dataset_valid)) == (120, 40)

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.calls_.append(f"batch begin {training}")
        inputs, targets = batch
        assert inputs.shape[1:] == (1, 8, 8)
        assert len(inputs) == len(targets)
        assert targets.dtype == (torch.int64 if self.kind == "classifier" else torch.float32)

    def on_grad_computed(self, net, named_parameters, X=None, y=None, training=None, **kwargs):
        self.calls_.append(f"gradient {training}")
        assert all(p.grad is not None and p.grad.shape == p.shape for _, p in named_parameters)
        assert dict(named_parameters).keys() <= {
            f"module_.{n}" for n in net.module_.state_dict()
        } | {n for n, _ in net.module_.named_parameters()}

    def on_batch_end(self, net, batch=None, training=None, loss=None, y_pred=None, **kwargs):
        self.calls_.append(f"batch end {training}")
        assert len(y_pred) == len(batch[1])
        assert not y_pred.requires_grad
        part = "train" if training else "valid"
        assert net.history[-1, "batches", -1, f"{part}_loss"] == pytest.approx(float(loss))
        assert net.history[-1, "batches", -1, f"{part}_batch_size"] == len(batch[0])

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.calls_.append("epoch end")
        assert net.history[-1]["epoch"] == len(net.history)
        assert {"train_loss", "valid_loss", "valid_score"} <= net.history[-1].keys()

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.calls_.append("train end")


@pytest.mark.parametrize("network", CLASSIFIERS + REGRESSORS)
def test_every_hook_is_called_in_skorchs_order(network, digits):
    kind = "classifier" if network in CLASSIFIERS else "regressor"
    digits = (digits[0].astype(np.float32), digits[1], digits[2].astype(np.float32), digits[3])
    hooks = EveryHook(kind)
    fit(network, digits, ("mine", hooks), max_iter=2)
    training = ["batch begin True", "gradient True", "batch end True"] * 3
    epoch = ["epoch begin", *training, "batch begin False", "batch end False", "epoch end"]
    assert hooks.calls_ == ["initialize", "train begin", *epoch * 2, "train end"]


def test_callbacks_are_not_copied_so_that_their_results_can_be_read(digits):
    history = History()
    mlp = make(MLPClassifier, callbacks=[history])
    mlp.fit(*digits[:2])
    assert mlp.callbacks == [history]
    assert mlp.callbacks[0] is history
    assert history["train_loss"] == mlp.loss_curve_


def test_a_second_fit_starts_with_callbacks_as_new(digits):
    X, y, *_ = digits
    stopping = skorch.EarlyStopping("train_loss", patience=2, lower_is_better=False)
    callbacks = [stopping, skorch.LRScheduler("StepLR", step_size=1, gamma=0.5), Rates()]
    first = make(CNNClassifier, callbacks=callbacks, max_iter=9).fit(X, y)
    once = copy.deepcopy(first.weights_), list(callbacks[2].rates_)
    for again in (first.fit(X, y), clone(first).fit(X, y), copy.deepcopy(first).fit(X, y)):
        assert again.callbacks[2].rates_ == once[1]
        for name, value in once[0].items():
            np.testing.assert_array_equal(again.weights_[name], value)


def test_clones_have_callbacks_of_their_own(digits):
    X, y, *_ = digits
    history = History()
    fitted = make(MLPClassifier, callbacks=[history]).fit(X, y)
    other = clone(fitted)
    assert other.callbacks[0] is not history
    assert other.callbacks[0].rows_ == []
    other.set_params(max_iter=1).fit(X, y)
    assert (len(history.rows_), len(other.callbacks[0].rows_)) == (3, 1)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_callbacks_in_a_grid_search(n_jobs, digits):
    X, y, *_ = digits
    callbacks = [
        skorch.EpochScoring("accuracy", on_train=True),
        skorch.LRScheduler("StepLR", step_size=1, gamma=0.5),
        History(),
    ]
    mlp = make(MLPClassifier, callbacks=callbacks)
    search = GridSearchCV(mlp, {"alpha": [1e-4, 1e-3]}, cv=2, n_jobs=n_jobs, error_score="raise")
    search.fit(X, y)
    rows = search.best_estimator_.callbacks[2].rows_
    assert [row["event_lr"] for row in rows] == pytest.approx([0.01, 0.005, 0.0025])
    assert mlp.callbacks[2].rows_ == []


def test_pickles_keep_results_and_no_torch(digits):
    X, y, *_ = digits
    callbacks = [
        skorch.EpochScoring("accuracy", on_train=True),
        ("rates", skorch.LRScheduler("StepLR", step_size=1)),
        skorch.EpochTimer,
        History(),
    ]
    fitted = make(CNNClassifier, callbacks=callbacks).fit(X, y)
    stored = pickle.dumps(fitted)
    assert b"optim" not in stored
    assert len(stored) < sum(value.nbytes for value in fitted.weights_.values()) + 10_000
    loaded = pickle.loads(stored)
    assert loaded.callbacks[3].rows_ == callbacks[3].rows_
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert callbacks[1][1].lr_scheduler_ is not None  # the user's own are as they were
    assert loaded.fit(X, y).loss_curve_ == fitted.loss_curve_
