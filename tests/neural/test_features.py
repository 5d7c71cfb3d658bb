"""Layers of networks as transformers: in pipelines and searches, frozen, with metadata."""

import pickle
import pickletools

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from skcnn import (
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    NetworkFeatures,
    load_digit_images,
)
from skcnn.neural._base import NeuralEstimator

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")
QUICK = {"max_iter": 2, "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def cnn(digits):
    return CNNClassifier((4, 6), hidden_layer_sizes=(10,), **QUICK).fit(*digits)


def test_features_and_svm_are_one_pipeline():
    X, y = load_digit_images(return_X_y=True)
    cnn = CNNClassifier((8, 16), max_iter=3, random_state=0)
    pipeline = make_pipeline(NetworkFeatures(cnn), SVC()).fit(X[:1000], y[:1000])
    assert pipeline.score(X[1000:], y[1000:]) > 0.85
    features = cnn.fit(X[:1000], y[:1000]).as_transformer()
    svm = SVC().fit(features.transform(X[:1000]), y[:1000])
    by_hand = svm.predict(features.transform(X[1000:]))
    np.testing.assert_array_equal(pipeline.predict(X[1000:]), by_hand)


def test_grid_search_over_layers_and_the_networks_parameters(digits):
    X, y = digits
    cnn = CNNClassifier((4,), hidden_layer_sizes=(), random_state=0)
    pipeline = make_pipeline(NetworkFeatures(cnn), LogisticRegression(max_iter=20, tol=0.1))
    grid = {
        "networkfeatures__layer": ["conv1", "pool1", None],
        "networkfeatures__estimator__max_iter": [1, 2],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 6
    assert search.best_score_ > 0.5
    chosen = search.best_estimator_[0]
    assert chosen.estimator_.n_iter_ == chosen.estimator.max_iter
    assert cnn.max_iter == 20


class TestFrozen:
    @pytest.fixture(autouse=True)
    def forbid_training(self, cnn, monkeypatch):
        def fit(*args, **kwargs):
            raise AssertionError("a frozen network was trained")

        monkeypatch.setattr(NeuralEstimator, "fit", fit)

    @pytest.mark.parametrize("kind", ["wrapped", "as_transformer", "cloned"])
    def test_it_is_not_trained_in_pipelines_and_searches(self, kind, digits, cnn):
        X, y = digits
        features = NetworkFeatures(FrozenEstimator(cnn))
        if kind != "wrapped":
            features = cnn.as_transformer()
        if kind == "cloned":
            features = clone(features)
        pipeline = make_pipeline(features, LogisticRegression(max_iter=20, tol=0.1))
        grid = {"networkfeatures__layer": [None, "conv1"]}
        GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
        expected = cnn.as_transformer().transform(X)
        np.testing.assert_array_equal(pipeline.fit(X, y)[0].transform(X), expected)
        np.testing.assert_array_equal(clone(features).fit(X[:3]).transform(X), expected)

    def test_arguments_for_a_fit_are_not_used(self, digits, cnn):
        X, y = digits
        features = NetworkFeatures(FrozenEstimator(cnn), random_state=3)
        assert features.fit(X, y, sample_weight=np.ones(len(X))).estimator_.estimator is cnn

    def test_images_of_another_shape_are_refused(self, cnn):
        with pytest.raises(ValueError, match=r"\(9, 9\).*\(8, 8\)"):
            NetworkFeatures(FrozenEstimator(cnn)).fit(np.zeros((2, 9, 9)))

    def test_what_is_not_fitted_or_no_network_is_refused(self, digits):
        with pytest.raises(NotFittedError):
            NetworkFeatures(FrozenEstimator(CNNClassifier())).fit(*digits)
        with pytest.raises(TypeError, match="LogisticRegression in a FrozenEstimator"):
            NetworkFeatures(FrozenEstimator(LogisticRegression())).fit(*digits)


def test_the_transformer_of_a_fitted_network_stays_as_the_network_was(digits):
    X, y = digits
    mlp = MLPClassifier((10,), **QUICK).fit(X, y)
    features = mlp.as_transformer("dense1")
    before = features.transform(X)
    mlp.partial_fit(X, y)
    np.testing.assert_array_equal(features.transform(X), before)
    mlp.set_params(hidden_layer_sizes=(3,)).fit(X, y)
    np.testing.assert_array_equal(features.transform(X), before)
    assert mlp.as_transformer("dense1").transform(X).shape == (len(X), 3)


def test_the_transformer_of_an_unfitted_network_trains_a_clone(digits):
    mlp = MLPClassifier((10,), **QUICK)
    features = mlp.as_transformer("dense1", pool="max")
    assert features.estimator is not mlp
    assert features.get_params()["estimator__hidden_layer_sizes"] == (10,)
    with pytest.raises(NotFittedError):
        features.transform(digits[0])
    features.fit(*digits)
    assert not mlp.__sklearn_is_fitted__()
    expected = mlp.fit(*digits).as_transformer("dense1").transform(digits[0])
    np.testing.assert_array_equal(features.transform(digits[0]), expected)


def test_set_params_changes_the_next_fit_only(digits, cnn):
    X, y = digits
    features = NetworkFeatures(FrozenEstimator(cnn), layer="conv1").fit(X, y)
    before, names = features.transform(X), features.get_feature_names_out()
    features.set_params(layer="dense1", pool="max")
    np.testing.assert_array_equal(features.transform(X), before)
    np.testing.assert_array_equal(features.get_feature_names_out(), names)
    assert features.fit(X, y).transform(X).shape == (len(X), 10)


def test_a_second_fit_is_seen_by_the_next_transform(digits):
    X, y = digits
    features = NetworkFeatures(MLPClassifier((10,), max_iter=1), random_state=0)
    once = features.fit(X, y).transform(X)
    again = features.set_params(random_state=1).fit(X, y).transform(X)
    assert (once != again).any()
    np.testing.assert_array_equal(again, features.estimator_.as_transformer().transform(X))


def test_the_seed_is_the_networks(digits):
    X, y = digits
    own = MLPClassifier((10,), max_iter=1, random_state=5)
    expected = NetworkFeatures(own).fit_transform(X, y)
    np.testing.assert_array_equal(own.fit(X, y).as_transformer().transform(X), expected)
    given = NetworkFeatures(clone(own).set_params(random_state=None), random_state=5)
    np.testing.assert_array_equal(given.fit_transform(X, y), expected)


def test_an_unknown_layer_is_refused_before_training(digits, cnn, monkeypatch):
    message = r"'conv1_nrm' is no layer.*Did you mean 'conv1_norm'\?.*'input', 'conv1', .*'output'"
    with pytest.raises(ValueError, match=message):
        cnn.as_transformer("conv1_nrm")
    with pytest.raises(ValueError, match=r"'xyz' is no layer of the network\. Its layers are"):
        cnn.as_transformer("xyz")
    monkeypatch.setattr(NeuralEstimator, "fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        NetworkFeatures(clone(cnn), layer="conv1_nrm").fit(*digits)
    with pytest.raises(ValueError, match="'conv3' is no layer"):
        NetworkFeatures(CNNRegressor((4, 4)), layer="conv3").fit(*digits)


def test_bad_parameters_are_refused(digits, cnn):
    with pytest.raises(ValueError, match="'pool' parameter"):
        cnn.as_transformer(pool="median")
    with pytest.raises(ValueError, match="'estimator' parameter"):
        NetworkFeatures(LogisticRegression()).fit(*digits)
    with pytest.raises(ValueError, match="'conv_dropout' parameter of CNNClassifier"):
        NetworkFeatures(CNNClassifier(conv_dropout=2)).fit(*digits)
    with pytest.raises(ValueError, match="requires y"):
        NetworkFeatures().fit(digits[0])


class TestMetadata:
    def test_arguments_go_to_the_network(self, digits):
        X, y = digits
        weights = np.where(y < 5, 1.0, 0.0)
        mlp = MLPClassifier((10,), **QUICK)
        expected = clone(mlp).fit(X, y, weights, X_val=X, y_val=y)
        features = NetworkFeatures(mlp).fit(X, y, sample_weight=weights, X_val=X, y_val=y)
        assert features.estimator_.validation_scores_ == expected.validation_scores_
        np.testing.assert_array_equal(features.transform(X), expected.as_transformer().transform(X))
        pipeline = make_pipeline(NetworkFeatures(mlp), SVC())
        pipeline.fit(X, y, networkfeatures__sample_weight=weights)
        np.testing.assert_array_equal(
            pipeline[0].estimator_.predict(X),
            clone(mlp).fit(X, y, weights).predict(X),
        )

    def test_routing(self, digits):
        X, y = digits
        weights = np.where(y < 5, 1.0, 0.0)
        mlp = MLPClassifier((10,), **QUICK)
        expected = clone(mlp).fit(X, y, weights).as_transformer().transform(X)
        with config_context(enable_metadata_routing=True):
            asking = clone(mlp).set_fit_request(sample_weight=True)
            svm = SVC().set_fit_request(sample_weight=False)
            pipeline = make_pipeline(NetworkFeatures(asking), svm)
            pipeline.fit(X, y, sample_weight=weights)
            np.testing.assert_array_equal(pipeline[0].transform(X), expected)
            with pytest.raises(UnsetMetadataPassedError):
                NetworkFeatures(mlp).fit(X, y, sample_weight=weights)
            NetworkFeatures(mlp).fit(X, y)


@pytest.mark.filterwarnings("ignore:.*SVC does not support callbacks:UserWarning")
def test_scikit_learns_callbacks_reach_the_network(digits, capsys):
    X, y = digits
    monitor = ScoringMonitor(scoring="accuracy")
    mlp = MLPClassifier((10,), **QUICK).set_callbacks(monitor)
    pipeline = make_pipeline(NetworkFeatures(mlp), SVC())
    pipeline.set_callbacks(ProgressBar(max_propagation_depth=2)).fit(X, y)
    printed = capsys.readouterr().out
    assert "NetworkFeatures - fit" in printed
    assert "MLPClassifier - fit" in printed
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == 2
    assert epochs[-1]["accuracy"] == pipeline[0].estimator_.score(X, y)
    pickle.dumps(pipeline)
    frozen = NetworkFeatures(FrozenEstimator(pipeline[0].estimator_))
    frozen.set_callbacks(ProgressBar()).fit(X)
    assert "NetworkFeatures - fit" in capsys.readouterr().out


def test_a_pickle_holds_no_torch(digits):
    X, y = digits
    features = NetworkFeatures(CNNClassifier((4,), **QUICK), layer="pool1").fit(X, y)
    expected = features.transform(X)
    stored = pickle.dumps(features)
    texts = {str(argument) for _, argument, _ in pickletools.genops(stored)}
    assert not any(text.startswith("torch") for text in texts)
    np.testing.assert_array_equal(pickle.loads(stored).transform(X), expected)


def test_data_frames_name_columns(digits):
    X, y = digits
    frame = pd.DataFrame(X.reshape(len(X), -1)).add_prefix("pixel")
    features = NetworkFeatures(MLPClassifier((10,), **QUICK), layer="dense1")
    seen = features.set_output(transform="pandas").fit_transform(frame, y)
    assert seen.columns[3] == "dense1_3"
    assert features.feature_names_in_[2] == "pixel2"
    assert features.n_features_in_ == 64
    assert not hasattr(NetworkFeatures(features.estimator_), "n_features_in_")
    with pytest.raises(ValueError, match="feature names should match"):
        features.transform(frame.iloc[:, ::-1])
