"""What a network can learn to say, against closed forms and scikit-learn's own estimators."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import accuracy_score, d2_tweedie_score, r2_score
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.neural_network import MLPRegressor as SklearnRegressor

from skcnn import CNNClassifier, CNNRegressor, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# No hidden layer and all images in every step: a convex problem, solved to the end.
LINEAR = {
    "hidden_layer_sizes": (),
    "standardize": False,
    "batch_size": 1000,
    "learning_rate": "cosine",
    "learning_rate_init": 0.05,
    "max_iter": 800,
    "n_iter_no_change": np.inf,
    "random_state": 0,
}


def table(n=120, n_features=5):
    rng = np.random.RandomState(0)
    return rng.normal(size=(n, n_features)), rng


@pytest.mark.parametrize("alpha", [1.0, 30.0])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_linear_classifier_is_a_logistic_regression(n_classes, alpha):
    X, rng = table()
    y = np.argmax(X @ rng.normal(size=(5, n_classes)) + rng.normal(size=(120, n_classes)), axis=1)
    mlp = MLPClassifier(alpha=alpha, **LINEAR).fit(X, y)
    # Its penalty is alpha / 2 of the squared weights for the sum of the losses. Of two softmax
    # outputs each has half the weight of the one logistic output, and so twice the penalty.
    logistic = LogisticRegression(C=(2 if n_classes == 2 else 1) / alpha, tol=1e-10, max_iter=10**4)
    logistic.fit(X, y)
    np.testing.assert_allclose(mlp.predict_proba(X), logistic.predict_proba(X), atol=1e-5)
    weights = mlp.coefs_[0].T
    if n_classes == 2:
        weights = weights[1:] - weights[:1]
    np.testing.assert_allclose(weights, logistic.coef_, atol=1e-4)
    assert mlp.decision_function(X).shape == logistic.decision_function(X).shape


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_linear_regressor_is_a_ridge(n_outputs, weighted):
    X, rng = table()
    y = X @ rng.normal(size=(5, n_outputs)) + 3 + rng.normal(size=(120, n_outputs))
    y = y.squeeze()
    weights = rng.uniform(0, 2, 120) if weighted else None
    mlp = MLPRegressor(alpha=20.0, **LINEAR).fit(X, y, weights)
    ridge = Ridge(alpha=20.0).fit(X, y, weights)
    np.testing.assert_allclose(mlp.predict(X), ridge.predict(X), atol=1e-5)
    np.testing.assert_allclose(mlp.coefs_[0].T.squeeze(), ridge.coef_, atol=1e-5)
    np.testing.assert_allclose(mlp.intercepts_[0].squeeze(), ridge.intercept_, atol=1e-5)


@pytest.mark.parametrize("exposed", [False, True])
def test_a_linear_regressor_of_counts_is_scikit_learns(exposed):
    X, rng = table()
    rate = np.exp(X @ [0.3, -0.2, 0.1, 0.0, 0.4])
    exposure = rng.uniform(0.5, 4, 120) if exposed else np.ones(120)
    y = rng.poisson(rate * exposure) / exposure  # counts a year, say, of more or less than a year
    weights = exposure if exposed else None
    mlp = MLPRegressor(loss="poisson", alpha=2.0, **LINEAR).fit(X, y, weights)
    # Its penalty is for the mean of the losses.
    glm = PoissonRegressor(alpha=2.0 / exposure.sum(), tol=1e-10, max_iter=10**4)
    glm.fit(X, y, weights)
    np.testing.assert_allclose(mlp.predict(X), glm.predict(X), rtol=1e-5)
    np.testing.assert_allclose(mlp.coefs_[0].ravel(), glm.coef_, atol=1e-5)
    assert (mlp.predict(X) > 0).all()
    assert d2_tweedie_score(y, mlp.predict(X), power=1) > 0.1


def test_labels_that_do_not_exclude_each_other_are_logistic_regressions():
    X, rng = table()
    Y = (X @ rng.normal(size=(5, 3)) + rng.normal(size=(120, 3)) > 0).astype(int)
    mlp = MLPClassifier(alpha=5.0, **LINEAR).fit(X, Y)
    expected = np.stack(
        [LogisticRegression(C=0.2, tol=1e-10).fit(X, y).predict_proba(X)[:, 1] for y in Y.T], axis=1
    )
    np.testing.assert_allclose(mlp.predict_proba(X), expected, atol=1e-5)
    np.testing.assert_array_equal(mlp.predict(X), expected > 0.5)
    np.testing.assert_allclose(expit(mlp.decision_function(X)), mlp.predict_proba(X), rtol=1e-9)
    np.testing.assert_allclose(mlp.predict_log_proba(X), np.log(mlp.predict_proba(X)), rtol=1e-7)
    assert mlp.score(X, Y) == accuracy_score(Y, mlp.predict(X))


def test_the_loss_of_labels_is_scikit_learns():
    X, Y = make_multilabel_classification(n_samples=60, random_state=0)
    given = {"hidden_layer_sizes": (8,), "learning_rate_init": 1e-30, "max_iter": 1, "alpha": 0}
    mlp = MLPClassifier(**given, standardize=False, random_state=0).fit(X.astype(float), Y)
    theirs = SklearnClassifier(**given, warm_start=True, random_state=0).fit(X, Y)
    theirs.coefs_ = [weights.copy() for weights in mlp.coefs_]  # they will be trained
    theirs.intercepts_ = [biases.copy() for biases in mlp.intercepts_]
    np.testing.assert_allclose(mlp.predict_proba(X.astype(float)), theirs.predict_proba(X))
    np.testing.assert_array_equal(mlp.predict(X.astype(float)), theirs.predict(X))
    assert mlp.loss_ == pytest.approx(theirs.fit(X, Y).loss_)


def test_the_face_of_a_network_of_labels_is_scikit_learns():
    X, Y = make_multilabel_classification(n_samples=60, n_classes=4, random_state=0)
    ours = MLPClassifier((8,), max_iter=3, random_state=0).fit(X, Y)
    theirs = SklearnClassifier((8,), max_iter=3, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.n_outputs_ == theirs.n_outputs_
    assert ours.out_activation_ == theirs.out_activation_
    for name in ("predict", "predict_proba", "predict_log_proba"):
        said, expected = getattr(ours, name)(X), getattr(theirs, name)(X)
        assert said.shape == expected.shape
        assert said.dtype.kind == expected.dtype.kind
    assert set(np.unique(ours.predict(X))) <= {0, 1}


@pytest.mark.parametrize("kind", [int, bool, float, np.uint8])
def test_indicators_of_any_type(kind):
    X, rng = table()
    Y = X[:, :3] + 0.1 * rng.normal(size=(120, 3)) > 0
    given = {"max_iter": 100, "random_state": 0, "learning_rate_init": 0.01}
    mlp = MLPClassifier((10,), **given).fit(X, Y.astype(kind))
    assert mlp.score(X, Y.astype(kind)) > 0.9
    assert mlp.fit(X, Y.astype(kind).tolist()).score(X, Y) > 0.9


def test_labels_of_images():
    rng = np.random.RandomState(0)
    Y = rng.randint(2, size=(60, 2))
    X = rng.uniform(0, 0.3, (60, 8, 8))
    X[Y[:, 0] == 1, :4] += 0.6
    X[Y[:, 1] == 1, :, :4] += 0.6
    cnn = CNNClassifier((4,), hidden_layer_sizes=(8,), max_iter=40, random_state=0).fit(X, Y)
    assert cnn.score(X, Y) > 0.95
    both = CNNRegressor((4,), hidden_layer_sizes=(8,), max_iter=60, random_state=0).fit(X, 5.0 * Y)
    assert both.predict(X).shape == (60, 2)
    assert both.score(X, 5.0 * Y) > 0.9


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["no", "yes"], "U"),
        ([False, True], "b"),
        ([-1.0, 1.0], "f"),
        ([3, 7, 11], "i"),
        (["a", "b", "c"], "O"),
        ([0.0, 1.0, 2.0], "f"),
        ([1, 2], "u"),
    ],
    ids=str,
)
def test_names_of_classes_come_back_as_from_scikit_learn(names, kind):
    X, _ = table()
    code = (X[:, 0] > 0).astype(int) + (X[:, 0] > 1) * (len(names) - 2)
    dtype = {"O": object, "u": np.uint8}.get(kind)
    y = np.array(names, dtype=dtype)[code]
    given = {"max_iter": 100, "random_state": 0, "learning_rate_init": 0.01}
    ours = MLPClassifier((10,), **given).fit(X, y)
    theirs = SklearnClassifier((10,), **given).fit(X, y)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.predict(X).dtype == LogisticRegression().fit(X, y).predict(X).dtype
    assert ours.predict(X).shape == theirs.predict(X).shape
    assert ours.predict_proba(X).shape == theirs.predict_proba(X).shape
    assert ours.score(X, y) > 0.95


def test_columns_of_one():
    X, _ = table()
    y = (X[:, :1] > 0).astype(int)
    with pytest.warns(UserWarning, match="column-vector"):
        classifier = MLPClassifier((5,), max_iter=2).fit(X, y)
    assert classifier.predict(X).shape == (120,)
    ours = MLPRegressor(hidden_layer_sizes=(5,), max_iter=2).fit(X, X[:, :1])
    theirs = SklearnRegressor(hidden_layer_sizes=(5,), max_iter=2).fit(X, X[:, 0])
    assert ours.predict(X).shape == theirs.predict(X).shape == (120,)
    assert ours.score(X, X[:, :1]) == r2_score(X[:, :1], ours.predict(X))
    ours.partial_fit(X, X[:, 0]).partial_fit(X, X[:, :1])


def test_several_numbers_of_very_different_scales_train_alike():
    X, rng = table()
    y = X @ rng.normal(size=(5, 3)) * [1e-6, 1.0, 1e6] + [0, 5, -1e8]
    mlp = MLPRegressor(
        hidden_layer_sizes=(30,), max_iter=300, learning_rate_init=0.01, random_state=0
    ).fit(X, y)
    assert mlp.predict(X).shape == (120, 3)
    assert (r2_score(y, mlp.predict(X), multioutput="raw_values") > 0.95).all()
    # Each as if it were alone but for what they share.
    np.testing.assert_allclose(mlp.target_mean_, y.mean(axis=0))
    np.testing.assert_allclose(mlp.target_scale_, y.std(axis=0))


def test_a_constant_number_is_learnt():
    X, _ = table()
    mlp = MLPRegressor(
        hidden_layer_sizes=(5,), max_iter=300, learning_rate_init=0.01, random_state=0
    )
    np.testing.assert_allclose(mlp.fit(X, np.full(120, 7.0)).predict(X), 7, atol=0.6)
    assert mlp.target_scale_ == 1


@pytest.mark.parametrize("given", ["list", "int", "float32", "bool", "frame", "series"])
def test_numbers_of_any_type(given):
    X, _ = table()
    y = np.round(10 * X[:, 0])
    y = {
        "list": y.tolist(),
        "int": y.astype(int),
        "float32": y.astype(np.float32),
        "bool": y > 0,
        "frame": pd.DataFrame({"a": y, "b": -y}),
        "series": pd.Series(y),
    }[given]
    mlp = MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(X, y)
    again = MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(
        X, np.asarray(y, dtype=float)
    )
    np.testing.assert_array_equal(mlp.predict(X), again.predict(X))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(120, -1.0), "at least 0, got -1"),
        (np.full(120, np.nan), "NaN"),
        (np.full(120, np.inf), "infinity"),
        (np.zeros((120, 2, 2)), "dim"),
        (np.zeros(119), "120 images, but y 119"),
        (["many"] * 120, "could not convert|dtype"),
        (None, "y to be passed"),
    ],
    ids=["negative", "NaN", "infinite", "3-D", "too few", "text", "none"],
)
def test_numbers_that_cannot_be_learnt(y, message):
    X, _ = table()
    mlp = MLPRegressor(hidden_layer_sizes=(5,), loss="poisson")
    with pytest.raises(ValueError, match=message):
        mlp.fit(X, y)
    assert not hasattr(mlp, "weights_")


def test_negative_numbers_are_refused_in_every_call():
    X, _ = table()
    mlp = MLPRegressor(hidden_layer_sizes=(5,), loss="poisson").partial_fit(X, np.ones(120))
    with pytest.raises(ValueError, match="loss='poisson' needs y of at least 0"):
        mlp.partial_fit(X, np.full(120, -1.0))


def test_counts_that_are_all_zero():
    X, _ = table()
    mlp = MLPRegressor(
        hidden_layer_sizes=(5,),
        loss="poisson",
        max_iter=200,
        learning_rate_init=0.01,
        random_state=0,
    )
    predicted = mlp.fit(X, np.zeros(120)).predict(X)
    assert (predicted > 0).all()
    assert (predicted < 0.2).all()


@pytest.mark.parametrize("weights", [None, "uneven"])
def test_counts_are_learnt_on_the_scale_of_their_mean(weights):
    # The rate that a network starts from is their mean, however large they are.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)).astype(np.float32)
    y = rng.poisson(300 * np.exp(0.2 * X[:, 0]))
    weights = None if weights is None else rng.uniform(0.5, 2, 400)
    network = MLPRegressor("poisson", (16,), tol=1e-6, max_iter=300, random_state=0)
    fitted = clone(network).fit(X, y, weights)
    np.testing.assert_allclose(fitted.target_scale_, np.average(y, weights=weights))
    assert fitted.score(X, y) > 0.85  # the noise leaves 0.92
    same = clone(network).fit(X, y / 1000, weights)
    np.testing.assert_allclose(same.predict(X) * 1000, fitted.predict(X), rtol=1e-3)
    as_they_are = clone(network).set_params(standardize=False)
    assert as_they_are.fit(X, y, weights).target_scale_ == 1
