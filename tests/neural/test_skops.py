"""Networks in skops files, joblib files, copies and clones."""

import copy
import io
import json
import zipfile

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops import io as skops

from skcnn import (
    Augmentation,
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    load_digit_images,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")
NETWORKS = {
    "MLPClassifier": (MLPClassifier, {"early_stopping": True, "dropout": 0.2}),
    "MLPRegressor": (MLPRegressor, {"random_state": np.random.RandomState(0)}),
    "CNNClassifier": (
        CNNClassifier,
        {
            "conv_channels": (4, (4, 5)),
            "kernel_size": [3, (2, 3)],
            "ema_decay": 0.9,
            "augment": Augmentation(shift=1),
            "class_weight": {0: 2.0, 1: 1.0},
        },
    ),
    "CNNRegressor": (CNNRegressor, {"conv_channels": (4,), "loss": "poisson"}),
}
HOW = ["fit", "partial_fit", "pipeline"]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    X, y = X[y < 2][:100], y[y < 2][:100]
    return X.reshape(len(X), -1), y


def make(name, **parameters):
    network, options = NETWORKS[name]
    quick = {"max_iter": 2, "hidden_layer_sizes": (6,), "image_shape": (8, 8), "random_state": 0}
    return network(**{**quick, **options, **parameters})


@pytest.fixture(params=[(name, how) for name in NETWORKS for how in HOW], ids="-".join)
def fitted(request, digits):
    name, how = request.param
    if how == "pipeline":
        return make_pipeline(StandardScaler(), make(name)).fit(*digits)
    if how == "partial_fit":
        return make(name, early_stopping=False).partial_fit(*digits).partial_fit(*digits)
    return make(name).fit(*digits)


def assert_same_predictions(actual, expected, X):
    for method in ("predict", "predict_proba", "decision_function"):
        if hasattr(expected, method):
            np.testing.assert_array_equal(getattr(actual, method)(X), getattr(expected, method)(X))


def test_only_names_of_skcnn_need_trust(fitted, digits):
    fitted.predict(digits[0])  # what is built for predictions is no part of the state
    untrusted = skops.get_untrusted_types(data=skops.dumps(fitted))
    assert untrusted
    assert all(name.startswith("skcnn.") for name in untrusted), untrusted


def test_neither_torch_nor_a_pickle_is_inside(fitted):
    with zipfile.ZipFile(io.BytesIO(skops.dumps(fitted))) as archive:
        names = archive.namelist()
        assert {name.rpartition(".")[2] for name in names} == {"npy", "json"}
        for name in names:
            if name.endswith(".npy"):
                np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
        schema = json.loads(archive.read("schema.json"))
    assert modules(schema) <= {"skcnn", "sklearn", "numpy", "builtins", "collections"}


def modules(node):
    """Return the packages of all objects that a skops schema speaks of."""
    if isinstance(node, dict):
        own = {node["__module__"].split(".")[0]} if "__module__" in node else set()
        return own.union(*map(modules, node.values()))
    return set().union(*map(modules, node)) if isinstance(node, list) else set()


def test_skops_gives_back_the_same_network(fitted, digits):
    data = skops.dumps(fitted)
    loaded = skops.loads(data, trusted=skops.get_untrusted_types(data=data))
    assert_same_predictions(loaded, fitted, digits[0])
    network = fitted[-1] if hasattr(fitted, "steps") else fitted
    again = loaded[-1] if hasattr(loaded, "steps") else loaded
    assert again.get_params().keys() == network.get_params().keys()
    assert vars(again).keys() == vars(network).keys()
    assert str(again.summary()) == str(network.summary())


def through_skops(estimator):
    data = skops.dumps(estimator)
    return skops.loads(data, trusted=skops.get_untrusted_types(data=data))


def through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("way", [through_skops, through_joblib, copy.deepcopy])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_stream_goes_on_after_a_break(way, name, digits):
    X, y = digits
    whole, broken = (make(name, early_stopping=False, random_state=0) for _ in range(2))
    for half in (slice(50), slice(50, 100)):
        whole.partial_fit(X[half], y[half])
        broken = way(broken.partial_fit(X[half], y[half]))
    assert broken.loss_curve_ == whole.loss_curve_
    for key, value in whole.weights_.items():
        np.testing.assert_array_equal(broken.weights_[key], value)


def test_joblib_and_copies_give_the_same_network(fitted, digits, tmp_path):
    joblib.dump(fitted, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    for other in (mapped, through_joblib(fitted), copy.deepcopy(fitted), copy.copy(fitted)):
        assert_same_predictions(other, fitted, digits[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_deep_copy_shares_nothing(name, digits):
    X, y = digits
    fitted = make(name).fit(X, y)
    other = copy.deepcopy(fitted)
    before = fitted.predict(X)
    for value in other.weights_.values():
        value[...] = 0
    other.loss_curve_.clear()
    np.testing.assert_array_equal(fitted.predict(X), before)
    assert len(fitted.loss_curve_) == fitted.n_iter_


@pytest.mark.parametrize("name", NETWORKS)
def test_a_clone_is_not_fitted_and_fits_the_same(name, digits):
    X, y = digits
    fitted = make(name, random_state=0).fit(X, y)
    other = clone(fitted)
    with pytest.raises(NotFittedError):
        other.predict(X)
    assert vars(other).keys() == vars(make(name)).keys()
    assert_same_predictions(other.fit(X, y), fitted, X)
