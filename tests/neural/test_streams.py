"""Going on with a network: partial_fit on a stream of images, and warm starts."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier as SklearnMLP
from skorch.callbacks import Callback

from skcnn import (
    Augmentation,
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    load_digit_images,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def images(n=40, seed=0):
    rng = np.random.RandomState(seed)
    y = rng.randint(3, size=n)
    return rng.rand(n, 6, 6) * (1 + y)[:, None, None], y


def assert_same_arrays(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def assert_same_network(one, other):
    assert_same_arrays(one.weights_, other.weights_)
    np.testing.assert_array_equal(one.input_mean_, other.input_mean_)
    assert one.loss_curve_ == other.loss_curve_


SETTINGS = {
    "mlp": (MLPClassifier, {}),
    "cnn": (CNNClassifier, {}),
    "regressor": (MLPRegressor, {}),
    "cnn regressor": (CNNRegressor, {}),
    "poisson": (MLPRegressor, {"loss": "poisson"}),
    "momentum": (MLPClassifier, {"solver": "sgd"}),
    "adamw": (MLPClassifier, {"solver": "adamw", "alpha": 0.1}),
    "invscaling": (MLPClassifier, {"solver": "sgd", "learning_rate": "invscaling"}),
    "adaptive": (
        MLPClassifier,
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e9, "n_iter_no_change": 2},
    ),
    "dropout": (MLPClassifier, {"dropout": 0.3, "input_dropout": 0.1}),
    "spatial dropout": (CNNClassifier, {"conv_dropout": 0.3}),
    "augment": (CNNClassifier, {"augment": Augmentation(shift=1)}),
    "averaged weights": (MLPClassifier, {"ema_decay": 0.9}),
    "averaged statistics": (CNNClassifier, {"ema_decay": 0.9}),
    "weights of classes": (MLPClassifier, {"class_weight": {0: 2.0, 2: 0.5}}),
}


def make(setting, **parameters):
    network, given = SETTINGS[setting]
    layers = {"hidden_layer_sizes": (8,)}
    if network in (CNNClassifier, CNNRegressor):
        layers["conv_channels"] = (4,)
    return network(**{"batch_size": 16, "random_state": 0, **layers, **given, **parameters})


@pytest.mark.parametrize("setting", SETTINGS)
def test_calls_on_the_same_images_are_the_epochs_of_fit(setting):
    X, y = images()
    whole = make(setting, max_iter=7).fit(X, y)
    assert whole.n_iter_ == 7
    stream = make(setting)
    for epoch in range(1, 8):
        assert stream.partial_fit(X, y) is stream
        assert stream.n_iter_ == len(stream.loss_curve_) == epoch
    assert_same_network(stream, whole)
    assert stream.t_ == whole.t_ == 7 * len(X)
    assert stream.loss_ == whole.loss_


@pytest.mark.parametrize("setting", ["mlp", "dropout", "augment", "averaged weights", "adaptive"])
@pytest.mark.parametrize(
    "stored", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_stored_network_goes_on_as_if_there_had_been_no_break(setting, stored):
    X, y = images()
    stream, broken = make(setting), make(setting)
    for _ in range(3):
        stream.partial_fit(X, y)
        kept = broken.partial_fit(X, y)
        broken = stored(kept)
    kept.partial_fit(X, y)  # which the copy does not notice
    assert_same_network(stream, broken)


def test_a_stream_of_chunks_is_learnt():
    X, y = load_digit_images(return_X_y=True)
    X = X.astype(np.float64)
    mlp = MLPClassifier((50,), random_state=0, batch_size=20)
    reference = SklearnMLP((50,), random_state=0, batch_size=20)
    for _ in range(5):
        for start in range(0, 1500, 100):
            rows = slice(start, start + 100)
            mlp.partial_fit(X[rows], y[rows], classes=range(10))
            reference.partial_fit(X[rows].reshape(100, -1), y[rows], classes=range(10))
    expected = reference.score(X[1500:].reshape(-1, 64), y[1500:])
    assert mlp.score(X[1500:], y[1500:]) > expected - 0.02 > 0.8
    assert mlp.t_ == reference.t_ == 5 * 1500


def test_statistics_are_those_of_the_first_chunk():
    X, y = images()
    mlp = MLPRegressor(hidden_layer_sizes=(8,), random_state=0).partial_fit(X[:20], y[:20])
    mlp.partial_fit(X[20:] * 100, y[20:] * 100)
    np.testing.assert_allclose(mlp.input_mean_, X[:20].mean())
    np.testing.assert_allclose(mlp.input_scale_, X[:20].std())
    np.testing.assert_allclose(mlp.target_mean_, y[:20].mean())
    np.testing.assert_allclose(mlp.target_scale_, y[:20].std())


@pytest.mark.parametrize("names", [["c", "a", "d", "b"], [10, 2, 3, 1], [0.0, -1.0, 2.0, 7.0]])
def test_classes_that_come_later(names):
    X, y = images()
    names = np.array(names)
    mlp = MLPClassifier((20,), random_state=0, learning_rate_init=0.02)
    mlp.partial_fit(X[y == 0], names[y[y == 0]], classes=names)
    assert mlp.classes_.tolist() == sorted(names)
    assert mlp.predict_proba(X).shape == (len(X), 4)
    for _ in range(60):
        mlp.partial_fit(X, names[y])
    assert mlp.score(X, names[y]) > 0.9
    mlp.partial_fit(X, names[y], classes=names[::-1])  # the same again: no harm done


def test_classes_of_the_first_y_are_all_if_none_are_named():
    X, y = images()
    mlp = MLPClassifier((8,)).partial_fit(X, y)
    assert mlp.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"not among those of the first y: \[3, 4\]"):
        mlp.partial_fit(X[:3], [0, 3, 4])


@pytest.mark.parametrize(
    ("y", "arguments", "message"),
    [
        ([0, 1], {"classes": [0]}, r"classes must name at least 2 classes, got \[0\]"),
        ([0, 5], {"classes": [0, 1]}, r"\[5\].*Known are \[0, 1\]"),
        ([0, 0], {}, "only one class"),
        (["0", "1"], {"classes": [0, 1]}, r"\['0', '1'\]. Known are \[0, 1\]"),
        ([0.5, 1.7], {"classes": [0, 1]}, "continuous"),
    ],
    ids=["one class", "unknown class", "one class in y", "text for numbers", "no classes"],
)
def test_classes_that_do_not_fit(y, arguments, message):
    mlp = MLPClassifier((8,))
    with pytest.raises(ValueError, match=message):
        mlp.partial_fit(images(2)[0], y, **arguments)
    assert not hasattr(mlp, "weights_")


def test_later_calls_cannot_change_what_the_first_has_fixed():
    X, y = images()
    mlp = MLPClassifier((8,), random_state=0).partial_fit(X, y)
    before = copy.deepcopy(mlp)
    with pytest.raises(ValueError, match=r"classes=\[0, 1\] is not the same.*\[0, 1, 2\]"):
        mlp.partial_fit(X, y % 2, classes=[0, 1])
    with pytest.raises(ValueError, match=r"\(5, 6\).*\(6, 6\)"):
        mlp.partial_fit(X[:, 1:], y)
    with pytest.raises(ValueError, match="40 images, but y 39"):
        mlp.partial_fit(X, y[1:])
    mlp.set_params(hidden_layer_sizes=(9,))
    with pytest.raises(ValueError, match=r"hidden_layer_sizes was \(8,\), now \(9,\)"):
        mlp.partial_fit(X, y)
    # What was refused has left no trace.
    mlp.set_params(hidden_layer_sizes=(8,))
    assert_same_network(mlp.partial_fit(X, y), before.partial_fit(X, y))


def test_numbers_of_another_width_are_refused():
    X, y = images()
    mlp = MLPRegressor(hidden_layer_sizes=(8,)).partial_fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="1 numbers an image, the first y 2"):
        mlp.partial_fit(X, y)
    labels = MLPClassifier((8,)).partial_fit(X, np.stack([y > 0, y > 1], axis=1).astype(int))
    with pytest.raises(ValueError, match="3 labels an image, the first y 2"):
        labels.partial_fit(X, np.stack([y > 0, y > 1, y < 1], axis=1).astype(int))


def test_partial_fit_after_fit_goes_on_from_its_weights():
    X, y = images()
    mlp = MLPClassifier((8,), max_iter=5, random_state=0).fit(X, y)
    fitted = copy.deepcopy(mlp)
    mlp.set_params(learning_rate_init=1e-30).partial_fit(X, y)
    assert mlp.loss_curve_[:5] == fitted.loss_curve_
    assert_same_arrays(mlp.weights_, fitted.weights_)
    assert (mlp.n_iter_, mlp.t_) == (6, 6 * len(X))


def test_fit_after_partial_fit_starts_anew():
    X, y = images()
    mlp = MLPClassifier((8,), max_iter=3, random_state=0)
    expected = clone(mlp).fit(X, y)
    mlp.partial_fit(X, y)
    assert_same_network(mlp.fit(X, y), expected)
    assert_same_network(clone(mlp.partial_fit(X, y)).fit(X, y), expected)


def test_random_state_decides_the_stream():
    X, y = images()

    def stream(seed):
        mlp = MLPClassifier((8,), dropout=0.2, batch_size=10, random_state=seed)
        for _ in range(3):
            mlp.partial_fit(X, y)
        return mlp

    assert_same_network(stream(1), stream(1))
    assert_same_network(stream(np.random.RandomState(1)), stream(1))
    assert stream(1).loss_curve_ != stream(2).loss_curve_
    assert stream(None).loss_curve_ != stream(None).loss_curve_
    # Each epoch draws another order.
    tiny = MLPClassifier((8,), batch_size=1, learning_rate_init=1.0, solver="sgd", random_state=0)
    seen = Recorder()
    tiny.set_params(callbacks=[seen])
    for _ in range(2):
        tiny.partial_fit(X, y)
    assert seen.order[:40] != seen.order[40:]
    assert sorted(seen.order[:40]) == sorted(seen.order[40:])


class Recorder(Callback):
    """Remember the order of targets, and each epoch's first learning rate."""

    def __init__(self):
        self.order, self.rates = [], []

    def on_epoch_begin(self, net, **kwargs):
        self.rates.append(net.optimizer_.param_groups[0]["lr"])

    def on_batch_begin(self, net, batch, training, **kwargs):
        self.order += batch[1].tolist()


def test_training_may_change_between_calls():
    X, y = images()
    mlp = MLPClassifier((8,), random_state=0, ema_decay=0.5).partial_fit(X, y)
    for changed in (
        {"solver": "sgd", "momentum": 0.0},
        {"learning_rate_init": 1e-30, "ema_decay": None},
        {"solver": "adamw", "ema_decay": 0.5},
        {"batch_size": 7, "alpha": 0.1, "dropout": 0.0},
    ):
        before = mlp.weights_
        mlp.set_params(**changed).partial_fit(X, y)
        if mlp.learning_rate_init == 1e-30:
            assert_same_arrays(mlp.weights_, before)
    assert len(mlp.loss_curve_) == 5
    assert np.isfinite(mlp.loss_curve_).all()


def test_partial_fit_is_hidden_where_it_cannot_be():
    assert hasattr(MLPClassifier(), "partial_fit")
    for learning_rate in ("step", "cosine", "one_cycle"):
        assert not hasattr(MLPClassifier(learning_rate=learning_rate), "partial_fit")
        assert not hasattr(CNNRegressor(learning_rate=learning_rate), "partial_fit")
    assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        MLPClassifier(early_stopping=True).partial_fit(*images())


def test_a_warm_start_goes_on():
    X, y = images()
    mlp = MLPClassifier((8,), max_iter=3, warm_start=True, random_state=0).fit(X, y)
    assert_same_network(mlp, clone(mlp).set_params(warm_start=False).fit(X, y))
    first = copy.deepcopy(mlp)
    mlp.set_params(learning_rate_init=1e-30, max_iter=2).fit(X, y)
    assert_same_arrays(mlp.weights_, first.weights_)
    assert mlp.loss_curve_[:3] == first.loss_curve_
    assert (mlp.n_iter_, len(mlp.loss_curve_), mlp.t_) == (2, 5, 5 * len(X))
    assert mlp.best_loss_ == min(mlp.loss_curve_)
    mlp.set_params(learning_rate_init=0.001, max_iter=50).fit(X, y)
    assert mlp.loss_ < first.loss_


def test_without_a_warm_start_nothing_of_the_last_fit_is_left():
    X, y = images()
    mlp = MLPClassifier((8,), max_iter=3, random_state=0)
    once = copy.deepcopy(mlp.fit(X, y))
    assert_same_network(mlp.fit(X, y), once)
    mlp.set_params(hidden_layer_sizes=(5,)).fit(X[:, 1:], y % 2)
    assert (mlp.classes_.tolist(), mlp.image_shape_) == ([0, 1], (5, 6))


def test_a_warm_start_keeps_the_statistics_of_its_first_images():
    X, y = images()
    mlp = MLPClassifier((8,), max_iter=2, warm_start=True).fit(X, y)
    mean = mlp.input_mean_.copy()
    mlp.fit(X * 100, y)
    np.testing.assert_array_equal(mlp.input_mean_, mean)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 3], [0, 1, 2, 3], ["a", "b", "c"]], ids=str)
def test_a_warm_start_wants_the_same_classes(labels):
    X, y = images()
    mlp = MLPClassifier((8,), max_iter=2, warm_start=True).fit(X, y)
    other = np.array(labels)[np.arange(len(X)) % len(labels)]
    with pytest.raises(ValueError, match=r"same classes.*Previously got \[0 1 2\], `y` has \["):
        mlp.fit(X, other)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_layer_sizes": (9,)}, r"hidden_layer_sizes was \(8,\), now \(9,\)"),
        ({"activation": "tanh"}, "activation was 'relu', now 'tanh'"),
        ({"conv_channels": (4, 4)}, r"conv_channels was \(4,\), now \(4, 4\)"),
        ({"batch_norm": False}, "batch_norm was True, now False"),
    ],
)
def test_a_warm_start_wants_the_same_network(changed, message):
    X, y = images()
    cnn = make("cnn", max_iter=1, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=message):
        cnn.set_params(**changed).fit(X, y)


def test_a_warm_start_wants_images_of_the_same_shape():
    X, y = images()
    mlp = MLPClassifier((8,), max_iter=1, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"\(5, 6\).*\(6, 6\)"):
        mlp.fit(X[:, 1:], y)
    assert mlp.image_shape_ == (6, 6)


def test_validation_scores_of_a_warm_start_go_on():
    X, y = images()
    X_val, y_val = images(seed=1)
    mlp = MLPClassifier((8,), max_iter=3, warm_start=True, random_state=0)
    mlp.fit(X, y, X_val=X_val, y_val=y_val)
    first = list(mlp.validation_scores_)
    mlp.fit(X, y, X_val=X_val, y_val=y_val)
    assert mlp.validation_scores_[:3] == first
    assert len(mlp.validation_scores_) == 6
    assert mlp.validation_scores_[-1] == mlp.score(X_val, y_val)
    mlp.fit(X, y)
    assert mlp.validation_scores_ is None


def test_best_score_of_a_warm_start_is_that_of_the_network_that_is_kept():
    X, y = images()
    X_val, y_val = images(seed=1)
    mlp = MLPClassifier((8,), max_iter=30, warm_start=True, early_stopping=True, random_state=0)
    mlp.set_params(learning_rate_init=0.03).fit(X, y, X_val=X_val, y_val=y_val)
    assert mlp.best_validation_score_ == mlp.score(X_val, y_val) > 0.5
    # From here on it learns nonsense.
    mlp.set_params(learning_rate_init=1.0, max_iter=2)
    mlp.fit(X, (y + 1) % 3, X_val=X_val, y_val=y_val)
    assert mlp.best_validation_score_ == mlp.score(X_val, y_val)


def test_the_learning_rate_of_a_warm_start_goes_on_falling():
    X, y = images()
    recorder = Recorder()
    mlp = MLPClassifier((8,), solver="sgd", learning_rate="invscaling", warm_start=True)
    mlp.set_params(max_iter=2, callbacks=[recorder]).fit(X, y).fit(X, y)
    # As in scikit-learn: each fit begins with the full rate, then counts all images ever seen.
    rates = [0.001, 0.001 / 41**0.5, 0.001, 0.001 / 121**0.5]
    assert recorder.rates == pytest.approx(rates)


def test_an_adaptive_learning_rate_ends_at_that_of_scikit_learn():
    recorder = Recorder()
    mlp = MLPClassifier(tol=0.5, max_iter=3000, solver="sgd", learning_rate="adaptive")
    mlp.set_params(callbacks=[recorder]).fit([[3, 2], [1, 6]], [1, 0])
    reference = SklearnMLP(tol=0.5, max_iter=3000, solver="sgd", learning_rate="adaptive")
    reference.fit([[3, 2], [1, 6]], [1, 0])
    assert recorder.rates[-1] == pytest.approx(reference._optimizer.learning_rate)
    assert mlp.n_iter_ == reference.n_iter_
