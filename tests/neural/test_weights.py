"""Weights of images and classes: an image of weight k is k images."""

import numpy as np
import pytest
import sklearn
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import compute_sample_weight

from skcnn import CNNClassifier, CNNRegressor, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# All images in every step, and nothing that depends on which others are in the batch.
FULL_BATCHES = {"batch_norm": False, "dropout": 0.0, "batch_size": 1000, "precision": "float64"}
NETWORKS = [
    (MLPClassifier, {"hidden_layer_sizes": (8,)}),
    (MLPRegressor, {"hidden_layer_sizes": (8,)}),
    (MLPRegressor, {"hidden_layer_sizes": (8,), "loss": "poisson", "solver": "sgd"}),
    (CNNClassifier, {"conv_channels": (4,), "hidden_layer_sizes": (8,), **FULL_BATCHES}),
    (CNNRegressor, {"conv_channels": (4,), "hidden_layer_sizes": (8,), **FULL_BATCHES}),
]
networks = pytest.mark.parametrize(
    ("network", "parameters"), NETWORKS, ids=["-".join([c.__name__, *p]) for c, p in NETWORKS]
)
CLASSIFIERS = [NETWORKS[0], NETWORKS[3]]
classifiers = pytest.mark.parametrize(
    ("network", "parameters"), CLASSIFIERS, ids=[c.__name__ for c, _ in CLASSIFIERS]
)


def images(n=36, seed=0):
    rng = np.random.RandomState(seed)
    y = rng.randint(3, size=n)
    return rng.rand(n, 6, 6) * (1 + y)[:, None, None], y


def fit(network, parameters, X, y, **weights):
    """Return the network after some epochs with a penalty that shows if the loss is scaled."""
    return network(**{**parameters, "max_iter": 12, "alpha": 0.5, "random_state": 0}).fit(
        X, y, **weights
    )


def assert_same_training(one, other):
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-7)
    np.testing.assert_allclose(one.input_mean_, other.input_mean_, rtol=1e-12)
    np.testing.assert_allclose(one.input_scale_, other.input_scale_, rtol=1e-12)
    if hasattr(one, "target_mean_"):
        np.testing.assert_allclose(one.target_mean_, other.target_mean_, rtol=1e-12)
        np.testing.assert_allclose(one.target_scale_, other.target_scale_, rtol=1e-12)
    for name, value in one.weights_.items():
        np.testing.assert_allclose(value, other.weights_[name], atol=1e-6, err_msg=name)


@networks
def test_an_image_of_weight_k_is_k_images_and_of_weight_0_none(network, parameters):
    X, y = images()
    weights = np.random.RandomState(1).randint(4, size=len(X))
    assert set(weights) == {0, 1, 2, 3}
    weighted = fit(network, parameters, X, y, sample_weight=weights)
    repeated = fit(network, parameters, np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert_same_training(weighted, repeated)


@networks
def test_images_of_weight_0_are_left_out_of_mini_batches_too(network, parameters):
    X, y = images()
    kept = np.arange(len(X)) % 3 > 0
    parameters = {**parameters, "batch_size": 5}
    weighted = fit(network, parameters, X, y, sample_weight=kept.astype(float))
    left_out = fit(network, parameters, X[kept], y[kept])
    assert_same_training(weighted, left_out)
    assert weighted.t_ == left_out.t_ == 12 * kept.sum()


@networks
def test_only_the_ratio_of_weights_counts_but_for_the_penalty(network, parameters):
    X, y = images()
    weights = np.random.RandomState(1).uniform(0.5, 2, len(X))
    parameters = {**parameters, "max_iter": 12, "alpha": 0.0, "random_state": 0}
    one = network(**parameters).fit(X, y, weights)
    thousand = network(**parameters).fit(X, y, 1000 * weights)
    assert_same_training(one, thousand)


def test_loss_is_the_weighted_mean():
    X, y = images()
    weights = np.random.RandomState(1).uniform(0, 2, len(X))
    mlp = MLPClassifier((8,), learning_rate_init=1e-30, max_iter=1, random_state=0)
    mlp.fit(X, y, weights)
    expected = log_loss(y, mlp.predict_proba(X), sample_weight=weights)
    assert mlp.loss_ == pytest.approx(expected, rel=1e-9)
    # In batches as well: their losses are weighted by what is in them.
    mlp.set_params(batch_size=7).fit(X, y, weights)
    assert mlp.loss_ == pytest.approx(expected, rel=1e-9)


@classifiers
@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0, 2: 0.5}, {1: 3}])
def test_class_weight_is_the_sample_weight_of_its_classes(network, parameters, class_weight):
    X, y = images()
    by_class = fit(network, {**parameters, "class_weight": class_weight}, X, y)
    by_image = fit(network, parameters, X, y, sample_weight=compute_sample_weight(class_weight, y))
    assert_same_training(by_class, by_image)
    names = np.array(["cat", "dog", "fly"])
    if isinstance(class_weight, dict):
        class_weight = {names[label]: weight for label, weight in class_weight.items()}
    named = fit(network, {**parameters, "class_weight": class_weight}, X, names[y])
    assert_same_training(named, by_image)


@classifiers
@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0, 2: 0.5}])
def test_weights_of_classes_and_images_together(network, parameters, class_weight):
    X, y = images()
    weights = np.random.RandomState(1).randint(4, size=len(X))
    parameters = {**parameters, "class_weight": class_weight}
    weighted = fit(network, parameters, X, y, sample_weight=weights)
    repeated = fit(network, parameters, np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert_same_training(weighted, repeated)


def test_a_class_whose_images_all_weigh_nothing_can_be_balanced():
    X, y = images()
    weights = (y != 1).astype(float)
    parameters = {"hidden_layer_sizes": (8,), "class_weight": "balanced"}
    weighted = fit(MLPClassifier, parameters, X, y, sample_weight=weights)
    assert weighted.classes_.tolist() == [0, 1, 2]
    assert np.isfinite(weighted.loss_curve_).all()
    weights[y != 1] = compute_sample_weight("balanced", y[y != 1])
    parameters["class_weight"] = None
    assert_same_training(weighted, fit(MLPClassifier, parameters, X, y, sample_weight=weights))


def test_balanced_labels_that_do_not_exclude_each_other():
    X, y = images()
    labels = np.stack([y > 0, y > 1], axis=1).astype(int)
    parameters = {"hidden_layer_sizes": (8,)}
    weights = np.random.RandomState(1).randint(1, 4, size=len(X))
    balanced = fit(MLPClassifier, {**parameters, "class_weight": "balanced"}, X, labels)
    by_image = compute_sample_weight("balanced", labels)
    assert_same_training(
        balanced, fit(MLPClassifier, parameters, X, labels, sample_weight=by_image)
    )
    parameters["class_weight"] = "balanced"
    assert_same_training(
        fit(MLPClassifier, parameters, X, labels, sample_weight=weights),
        fit(MLPClassifier, parameters, np.repeat(X, weights, 0), np.repeat(labels, weights, 0)),
    )


def test_score_is_weighted():
    X, y = images()
    weights = np.random.RandomState(1).uniform(0, 2, len(X))
    mlp = fit(MLPClassifier, {"hidden_layer_sizes": (8,)}, X, y)
    expected = accuracy_score(y, mlp.predict(X), sample_weight=weights)
    assert mlp.score(X, y, sample_weight=weights) == pytest.approx(expected)
    assert expected != accuracy_score(y, mlp.predict(X))
    mlp = fit(MLPRegressor, {"hidden_layer_sizes": (8,)}, X, y)
    expected = r2_score(y, mlp.predict(X), sample_weight=weights)
    assert mlp.score(X, y, sample_weight=weights) == pytest.approx(expected)


@networks
def test_partial_fit_takes_weights_as_fit_does(network, parameters):
    X, y = images()
    weights = np.random.RandomState(1).randint(4, size=len(X))
    weighted = network(**parameters, random_state=0)
    repeated = network(**parameters, random_state=0)
    for _ in range(3):
        weighted.partial_fit(X, y, sample_weight=weights)
        repeated.partial_fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert_same_training(weighted, repeated)


@networks
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(35), r"\(35,\).*\(36,\)|35.*36"),
        (np.ones((36, 2)), "1D|dimension"),
        (np.r_[-1.0, np.ones(35)], "[Nn]egative"),
        (np.r_[np.nan, np.ones(35)], "NaN"),
        (np.r_[np.inf, np.ones(35)], "infinity"),
        (np.zeros(36), "zero"),
        (["many"] * 36, "many"),
    ],
    ids=["too few", "2-D", "negative", "NaN", "infinite", "all zero", "text"],
)
def test_wrong_weights_are_refused(network, parameters, weights, message):
    X, y = images()
    estimator = network(**parameters)
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match=message):
        estimator.partial_fit(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y, X_val=X, y_val=y, sample_weight_val=weights)
    assert not hasattr(estimator, "weights_")


def test_a_number_as_weight_weighs_all_alike():
    X, y = images()
    parameters = {"hidden_layer_sizes": (8,)}
    assert_same_training(
        fit(MLPClassifier, parameters, X, y, sample_weight=1.0),
        fit(MLPClassifier, parameters, X, y),
    )


@pytest.fixture
def _routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("_routing")
def test_weights_and_validation_images_are_routed_through_pipeline_and_search():
    X, y = images(60)
    X = X.reshape(len(X), -1)
    X_val, y_val = images(20, seed=1)
    X_val = X_val.reshape(len(X_val), -1)
    weights = np.random.RandomState(1).uniform(0, 2, len(X))
    mlp = MLPClassifier((8,), max_iter=5, random_state=0)
    mlp.set_fit_request(sample_weight=True, X_val=True, y_val=True)
    mlp.set_score_request(sample_weight=True)
    pipeline = make_pipeline(MinMaxScaler(), mlp, transform_input=["X_val"])
    folds = [(np.arange(0, 60, 2), np.arange(1, 60, 2)), (np.arange(40), np.arange(40, 60))]
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=folds)
    search.fit(X, y, sample_weight=weights, X_val=X_val, y_val=y_val)

    for fold, (train, test) in enumerate(folds):
        scaler = MinMaxScaler().fit(X[train])
        by_hand = MLPClassifier((8,), max_iter=5, random_state=0).fit(
            scaler.transform(X[train]),
            y[train],
            weights[train],
            X_val=scaler.transform(X_val),
            y_val=y_val,
        )
        expected = by_hand.score(scaler.transform(X[test]), y[test], sample_weight=weights[test])
        assert search.cv_results_[f"split{fold}_test_score"][0] == pytest.approx(expected)
    best = search.best_estimator_[-1]
    scaler = MinMaxScaler().fit(X)
    by_hand = MLPClassifier((8,), max_iter=5, random_state=0, alpha=best.alpha)
    by_hand.fit(scaler.transform(X), y, weights, X_val=scaler.transform(X_val), y_val=y_val)
    assert_same_training(best, by_hand)
    assert best.validation_scores_ == by_hand.validation_scores_


@pytest.mark.usefixtures("_routing")
def test_what_nobody_asked_for_is_not_routed():
    X, y = images()
    X = X.reshape(len(X), -1)
    pipeline = make_pipeline(MLPClassifier((8,), max_iter=1))
    with pytest.raises(ValueError, match=r"sample_weight.*not.*request"):
        pipeline.fit(X, y, sample_weight=np.ones(len(X)))
