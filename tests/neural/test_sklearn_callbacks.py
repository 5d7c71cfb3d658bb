"""scikit-learn's callbacks, alone and inside of pipelines and searches."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skcnn import CNNClassifier, CNNRegressor, MLPClassifier, MLPRegressor, load_digit_images
from skcnn.neural._training import LeanNet

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")
NETWORKS = [MLPClassifier, CNNClassifier, MLPRegressor, CNNRegressor]
OF_CLASSIFIERS, OF_REGRESSORS = ["accuracy", "neg_log_loss"], ["r2", "neg_mean_absolute_error"]
SCORES = {
    MLPClassifier: OF_CLASSIFIERS,
    CNNClassifier: OF_CLASSIFIERS,
    MLPRegressor: OF_REGRESSORS,
    CNNRegressor: OF_REGRESSORS,
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:100].reshape(100, -1), y[:100]


def make(network, **parameters):
    convolutional = issubclass(network, (CNNClassifier, CNNRegressor))
    layers = {"conv_channels": (4,)} if convolutional else {"hidden_layer_sizes": (8,)}
    quick = {"max_iter": 3, "batch_size": 50, "learning_rate_init": 0.01, "random_state": 0}
    return network(image_shape=(8, 8), **{**quick, **layers, **parameters})


def of_epochs(monitor):
    """Rows of the log that are of epochs, by the path of their fit."""
    rows = {}
    for row in monitor.get_logs().data:
        if row["task_name"] == "epoch":
            rows.setdefault(row["parent_task_id_path"], []).append(row)
    return rows


def assert_scores_of_networks_fitted_for_as_long(rows, estimator, X, y, weights=None):
    assert [row["task_id"] for row in rows] == list(range(estimator.max_iter))
    options = {} if weights is None else {"sample_weight": weights}
    for row in rows:
        stage = clone(estimator).set_callbacks().set_params(max_iter=row["task_id"] + 1)
        stage.fit(X, y, **options)
        for name in SCORES[type(estimator)]:
            assert row[name] == get_scorer(name)(stage, X, y, **options), (row["task_id"], name)


@pytest.mark.parametrize("network", NETWORKS)
def test_scores_after_each_epoch_are_those_of_networks_fitted_for_as_long(network, digits, capsys):
    X, y = digits
    monitor = ScoringMonitor(scoring=SCORES[network])
    estimator = make(network).set_callbacks(ProgressBar(), monitor).fit(X, y)
    assert_scores_of_networks_fitted_for_as_long(of_epochs(monitor)[0,], estimator, X, y)
    (whole,) = [row for row in monitor.get_logs().data if row["task_name"] == "fit"]
    assert whole[SCORES[network][0]] == estimator.score(X, y)
    printed = capsys.readouterr().out
    assert f"{network.__name__} - fit" in printed
    assert "100%" in printed


@pytest.mark.parametrize("network", NETWORKS)
def test_scores_are_weighted_as_the_fit_is(network, digits):
    X, y = digits
    weights = np.linspace(0.1, 2, len(X))
    monitor = ScoringMonitor(scoring=SCORES[network])
    estimator = make(network, max_iter=2).set_callbacks(monitor).fit(X, y, weights)
    rows = of_epochs(monitor)[0,]
    assert_scores_of_networks_fitted_for_as_long(rows, estimator, X, y, weights)


@pytest.mark.parametrize("parameters", [{"ema_decay": 0.9}, {"early_stopping": True}])
def test_scores_are_those_of_what_would_predict(parameters, digits):
    X, y = digits
    monitor = ScoringMonitor(scoring=SCORES[CNNClassifier])
    cnn = make(CNNClassifier, **parameters).set_callbacks(monitor).fit(X, y)
    rows = of_epochs(monitor)[0,]
    assert len(rows) == 3
    if "ema_decay" in parameters:
        assert_scores_of_networks_fitted_for_as_long(rows, cnn, X, y)
    else:  # the weights of the best epoch are put back at the end
        best = int(np.argmax(cnn.validation_scores_))
        assert rows[best]["accuracy"] == cnn.score(X, y)


@pytest.mark.parametrize("network", NETWORKS)
def test_inside_a_pipeline(network, digits, capsys):
    X, y = digits
    monitor = ScoringMonitor(scoring=SCORES[network])
    pipeline = make_pipeline(StandardScaler(), make(network).set_callbacks(monitor))
    pipeline.set_callbacks(ProgressBar()).fit(X, y)
    scaled = pipeline[0].transform(X)
    assert_scores_of_networks_fitted_for_as_long(of_epochs(monitor)[0, 1], pipeline[1], scaled, y)
    assert f"{network.__name__} - fit" in capsys.readouterr().out


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("network", [MLPClassifier, CNNRegressor])
def test_inside_a_grid_search(network, n_jobs, digits, capsys):
    X, y = digits
    halves = [(np.arange(0, 100, 2), np.arange(1, 100, 2)), (np.arange(50), np.arange(50, 100))]
    monitor = ScoringMonitor(scoring=SCORES[network])
    estimator = make(network, max_iter=2).set_callbacks(monitor)
    search = GridSearchCV(estimator, {"alpha": [1e-4, 1.0]}, cv=halves, n_jobs=n_jobs)
    search.set_callbacks(ProgressBar(max_propagation_depth=2)).fit(X, y)
    rows = of_epochs(monitor)
    assert len(rows) == 2 * 2 + 1  # and the refit
    for number, (alpha, half) in enumerate((a, h) for a in (1e-4, 1.0) for h in range(2)):
        train, _ = halves[half]
        candidate = clone(estimator).set_params(alpha=alpha)
        fold = rows[0, 0, number]
        assert_scores_of_networks_fitted_for_as_long(fold, candidate, X[train], y[train])
    assert_scores_of_networks_fitted_for_as_long(rows[0, 1], search.best_estimator_, X, y)
    assert capsys.readouterr().out.count(f"{network.__name__} - fit") >= 5


class Recorder:
    """A callback that notes its hooks, asks for the end after some epochs, or fails."""

    def __init__(self, stop_after=None, fail_in=None):
        self.stop_after, self.fail_in = stop_after, fail_in
        self.calls, self.estimators = [], []

    def note(self, hook, context):
        self.calls.append((hook, context.task_name))
        if (hook, context.task_name) == self.fail_in:
            raise RuntimeError(f"failed in {hook}")

    def setup(self, estimator, context):
        self.note("setup", context)

    def teardown(self, estimator, context):
        self.note("teardown", context)

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.note("begin", context)

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.note("end", context)
        self.estimators.append(fitted_estimator)
        if context.task_name == "epoch" and self.stop_after is not None:
            return context.task_id + 1 >= self.stop_after
        return None


@pytest.mark.parametrize("network", NETWORKS)
def test_a_callback_may_ask_for_the_end(network, digits):
    X, y = digits
    recorder = Recorder(stop_after=2)
    stopped = make(network, max_iter=9).set_callbacks(recorder).fit(X, y)
    assert stopped.n_iter_ == 2
    shorter = make(network, max_iter=2).fit(X, y)
    np.testing.assert_array_equal(stopped.predict(X), shorter.predict(X))
    epoch = [("begin", "epoch"), ("end", "epoch")]
    assert recorder.calls == [
        ("setup", "fit"),
        ("begin", "fit"),
        *epoch * 2,
        ("end", "fit"),
        ("teardown", "fit"),
    ]
    # What a callback gets is a network of its own that stays as it was after its epoch.
    first = make(network, max_iter=1).fit(X, y)
    np.testing.assert_array_equal(recorder.estimators[0].predict(X), first.predict(X))
    assert recorder.estimators[0].n_iter_ == 1


@pytest.mark.parametrize("network", [MLPClassifier, MLPRegressor])
def test_one_epoch_of_a_stream(network, digits):
    X, y = digits
    monitor = ScoringMonitor(scoring=SCORES[network])
    estimator = make(network).set_callbacks(monitor)
    for n_calls in (1, 2):
        estimator.partial_fit(X, y)
        assert len(monitor.get_logs("all")) == n_calls
        ((row,),) = of_epochs(monitor).values()
        assert row[SCORES[network][0]] == estimator.score(X, y)


def leftovers(estimator):
    return {name for name in vars(estimator) if "callback" in name} - {"callbacks"}


@pytest.mark.parametrize(
    "fail_in",
    [("setup", "fit"), ("begin", "fit"), ("begin", "epoch"), ("end", "epoch"), ("end", "fit")],
)
def test_callbacks_are_torn_down_after_their_own_errors(fail_in, digits):
    recorder, other = Recorder(fail_in=fail_in), Recorder()
    mlp = make(MLPClassifier).set_callbacks(other, recorder)
    with pytest.raises(RuntimeError, match=f"failed in {fail_in[0]}"):
        mlp.fit(*digits)
    for callback in (recorder, other):
        assert callback.calls[-1] == ("teardown", "fit")
    assert leftovers(mlp) == {"_skl_callbacks"}
    mlp.set_callbacks(other).fit(*digits)  # as good as new


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y: (X, y[:-1]), "100 images, but y 99 labels"),
        (lambda X, y: (np.full_like(X, np.nan), y), "NaN"),
        (lambda X, y: (X, y), "training diverged"),
    ],
)
def test_callbacks_are_torn_down_after_errors_of_fit(spoil, message, method, digits):
    recorder = Recorder()
    mlp = make(MLPClassifier).set_callbacks(recorder, ProgressBar())
    parameters = {"solver": "sgd", "learning_rate_init": 1e300}
    with pytest.raises(ValueError, match=message):
        getattr(mlp.set_params(**parameters), method)(*spoil(*digits))
    assert recorder.calls[0] == ("setup", "fit")
    assert recorder.calls[-1] == ("teardown", "fit")
    assert leftovers(mlp) == {"_skl_callbacks"}


def test_callbacks_are_torn_down_after_ctrl_c(digits, monkeypatch):
    train_epoch = LeanNet._train_epoch

    def interrupted(self, batches):
        if len(self.history) == 2:
            raise KeyboardInterrupt
        train_epoch(self, batches)

    monkeypatch.setattr(LeanNet, "_train_epoch", interrupted)
    recorder = Recorder()
    mlp = make(MLPClassifier, max_iter=9).set_callbacks(recorder)
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 9"):
        mlp.fit(*digits)
    assert recorder.calls[-2:] == [("end", "fit"), ("teardown", "fit")]
    assert recorder.estimators[-1].n_iter_ == mlp.n_iter_ == 1
    assert leftovers(mlp) == {"_skl_callbacks"}


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_of_callbacks_is_left_in_pickles_and_clones(network, digits):
    X, y = digits
    without = make(network).fit(X, y)
    fitted = make(network).set_callbacks(Recorder(), ProgressBar()).fit(X, y)
    assert leftovers(fitted) == {"_skl_callbacks"}
    assert leftovers(pickle.loads(pickle.dumps(fitted))) == {"_skl_callbacks"}
    assert vars(clone(fitted)).keys() == vars(make(network)).keys() | {"_skl_callbacks"}
    fitted.set_callbacks()
    assert vars(fitted).keys() == vars(without).keys()
    assert len(pickle.dumps(fitted)) == len(pickle.dumps(without))


def test_a_network_of_a_callback_pickles(digits):
    recorder = Recorder()
    fitted = make(CNNClassifier).set_callbacks(recorder).fit(*digits)
    last = recorder.estimators[2]
    np.testing.assert_array_equal(last.predict_proba(digits[0]), fitted.predict_proba(digits[0]))
    assert last.set_callbacks().n_iter_ == 3


def test_only_callbacks_of_scikit_learn_are_set():
    with pytest.raises(TypeError, match="FitCallback protocol"):
        make(MLPClassifier).set_callbacks(SimpleNamespace(setup=print))
