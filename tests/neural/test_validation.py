"""Validation: images of one's own, scores of any kind, and early stopping."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer, r2_score

from skcnn import Augmentation, CNNClassifier, CNNRegressor, MLPClassifier, MLPRegressor
from skcnn.neural._batches import TrainingBatches

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def images(n=60, seed=0, n_classes=3):
    rng = np.random.RandomState(seed)
    y = rng.randint(n_classes, size=n)
    return rng.rand(n, 6, 6) + 0.15 * y[:, None, None], y


X, y = images()
X_val, y_val = images(50, seed=1)
VALIDATION = {"X_val": X_val, "y_val": y_val}

mlp_of = {
    "classifier": lambda **p: MLPClassifier((8,), random_state=0, batch_size=20, **p),
    "regressor": lambda **p: MLPRegressor(
        hidden_layer_sizes=(8,), random_state=0, batch_size=20, **p
    ),
}
cnn_of = {
    "classifier": lambda **p: CNNClassifier((4,), hidden_layer_sizes=(8,), random_state=0, **p),
    "regressor": lambda **p: CNNRegressor((4,), hidden_layer_sizes=(8,), random_state=0, **p),
}
every_network = pytest.mark.parametrize(
    "network",
    [*mlp_of.values(), *cnn_of.values()],
    ids=["MLPClassifier", "MLPRegressor", "CNNClassifier", "CNNRegressor"],
)


def assert_same_weights(one, other):
    for name, value in one.weights_.items():
        np.testing.assert_array_equal(value, other.weights_[name], err_msg=name)


@every_network
@pytest.mark.parametrize(
    "parameters",
    [{}, {"dropout": 0.3}, {"augment": Augmentation(shift=1)}, {"ema_decay": 0.9}],
    ids=str,
)
def test_images_for_validation_are_watched_and_never_trained_on(network, parameters):
    without = network(max_iter=4, **parameters).fit(X, y)
    watched = network(max_iter=4, **parameters).fit(X, y, **VALIDATION)
    assert_same_weights(watched, without)
    assert watched.loss_curve_ == without.loss_curve_
    np.testing.assert_array_equal(watched.input_mean_, without.input_mean_)
    assert without.validation_scores_ is without.best_validation_score_ is None
    assert len(watched.validation_scores_) == 4
    assert watched.best_validation_score_ == max(watched.validation_scores_)
    assert watched.validation_scores_[-1] == pytest.approx(watched.score(X_val, y_val))


def scored_epoch_by_epoch(network, score, fit_on, n_epochs=4, **fitted_with):
    """Return the scores that `score` gives to networks trained for one, two, ... epochs."""
    return [score(network(max_iter=n).fit(*fit_on, **fitted_with)) for n in range(1, n_epochs + 1)]


def second_of_two(estimator, X, y):
    """Score as people write it: a function of an estimator."""
    return float(np.mean(estimator.predict_proba(X)[np.arange(len(y)), 1] * (y == "right")))


@pytest.mark.parametrize("network", [mlp_of, cnn_of], ids=["mlp", "cnn"])
@pytest.mark.parametrize(
    "scoring",
    [
        None,
        "accuracy",
        "f1_macro",
        "neg_log_loss",
        "roc_auc",
        make_scorer(accuracy_score, normalize=False),
        second_of_two,
    ],
    ids=lambda scoring: getattr(scoring, "__name__", str(scoring)[:30]),
)
def test_scores_of_two_classes_are_those_of_the_fitted_network(network, scoring):
    names = np.array(["left", "right"])
    on, other = images(n_classes=2), images(50, seed=1, n_classes=2)
    on, other = (on[0], names[on[1]]), (other[0], names[other[1]])
    fitted = network["classifier"](max_iter=4, scoring=scoring)
    fitted.fit(*on, X_val=other[0], y_val=other[1])

    def score(estimator):
        if scoring is None:
            return estimator.score(*other)
        return (scoring if callable(scoring) else get_scorer(scoring))(estimator, *other)

    expected = scored_epoch_by_epoch(network["classifier"], score, on)
    assert fitted.validation_scores_ == pytest.approx(expected, rel=1e-5)
    assert len(set(np.round(expected, 6))) > 1


@pytest.mark.parametrize("scoring", [None, "f1_macro", "neg_log_loss", "roc_auc_ovr"])
def test_scores_of_three_classes(scoring):
    network = mlp_of["classifier"]
    fitted = network(max_iter=4, scoring=scoring).fit(X, y, **VALIDATION)
    scorer = get_scorer(scoring or "accuracy")
    expected = scored_epoch_by_epoch(network, lambda e: scorer(e, X_val, y_val), (X, y))
    assert fitted.validation_scores_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scoring", [None, "r2", "neg_mean_absolute_error"])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_scores_of_numbers(scoring, n_outputs):
    numbers, numbers_val = 50 + 10.0 * y, 50 + 10.0 * y_val
    if n_outputs == 2:
        numbers, numbers_val = (np.stack([n, -n / 5], axis=1) for n in (numbers, numbers_val))
    network = mlp_of["regressor"]
    fitted = network(max_iter=4, scoring=scoring).fit(X, numbers, X_val=X_val, y_val=numbers_val)
    scorer = get_scorer(scoring or "r2")
    expected = scored_epoch_by_epoch(network, lambda e: scorer(e, X_val, numbers_val), (X, numbers))
    assert fitted.validation_scores_ == pytest.approx(expected, rel=1e-9)


def test_scores_of_labels_and_counts():
    labels, labels_val = (np.stack([v > 0, v > 1], axis=1).astype(int) for v in (y, y_val))
    mlp = mlp_of["classifier"](max_iter=20).fit(X, labels, X_val=X_val, y_val=labels_val)
    assert mlp.validation_scores_[-1] == pytest.approx(mlp.score(X_val, labels_val))
    mlp.set_params(scoring="f1_macro").fit(X, labels, X_val=X_val, y_val=labels_val)
    expected = get_scorer("f1_macro")(mlp, X_val, labels_val)
    assert mlp.validation_scores_[-1] == pytest.approx(expected)
    counts = mlp_of["regressor"](max_iter=20, loss="poisson").fit(X, y, **VALIDATION)
    assert counts.validation_scores_[-1] == pytest.approx(counts.score(X_val, y_val))


def test_the_loss_as_score():
    mlp = mlp_of["classifier"](max_iter=3, scoring="loss").fit(X, y, **VALIDATION)
    expected = -log_loss(y_val, mlp.predict_proba(X_val))
    assert mlp.validation_scores_[-1] == pytest.approx(expected, rel=1e-6)
    mlp = mlp_of["regressor"](max_iter=3, scoring="loss").fit(X, y, **VALIDATION)
    errors = (mlp.predict(X_val) - y_val) / mlp.target_scale_
    assert mlp.validation_scores_[-1] == pytest.approx(-np.mean(errors**2) / 2, rel=1e-6)


@pytest.mark.parametrize("scoring", [None, "f1_macro", "neg_log_loss", "loss"])
def test_weights_of_images_for_validation(scoring):
    weights = np.random.RandomState(2).uniform(0, 3, len(X_val)).round()
    mlp = mlp_of["classifier"](max_iter=3, scoring=scoring)
    mlp.fit(X, y, **VALIDATION, sample_weight_val=weights)
    repeats = weights.astype(int)
    expected = mlp_of["classifier"](max_iter=3, scoring=scoring).fit(
        X, y, X_val=np.repeat(X_val, repeats, axis=0), y_val=np.repeat(y_val, repeats)
    )
    assert mlp.validation_scores_ == pytest.approx(expected.validation_scores_, rel=1e-9)
    assert mlp.validation_scores_ != mlp.fit(X, y, **VALIDATION).validation_scores_


def test_a_scorer_that_is_none():
    with pytest.raises(ValueError, match="scoring"):
        MLPClassifier(scoring="best").fit(X, y, **VALIDATION)
    with pytest.raises(ValueError, match="scoring"):
        MLPClassifier(scoring=["accuracy", "f1_macro"]).fit(X, y, **VALIDATION)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": X_val[:, 1:], "y_val": y_val}, r"X_val.*\(5, 6\).*\(6, 6\)"),
        ({"X_val": X_val[..., None].repeat(3, -1), "y_val": y_val}, r"X_val.*\(6, 6, 3\)"),
        ({"X_val": X_val, "y_val": y_val + 1}, r"y_val.*\[3\].*Known are \[0, 1, 2\]"),
        ({"X_val": X_val, "y_val": y_val[1:]}, "y_val.*50 images.* 49"),
        ({"X_val": X_val}, "y_val.*None"),
        ({"y_val": y_val}, "X_val"),
        ({"sample_weight_val": np.ones(50)}, "X_val"),
        ({"X_val": np.full_like(X_val, np.nan), "y_val": y_val}, "X_val.*image 0"),
        ({**VALIDATION, "sample_weight_val": np.ones(3)}, r"sample_weight_val.*\(3,\)"),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, dict) else "",
)
def test_validation_data_that_do_not_fit_are_refused(given, message):
    mlp = MLPClassifier((8,))
    with pytest.raises(ValueError, match=message):
        mlp.fit(X, y, **given)
    assert not hasattr(mlp, "weights_")


def test_numbers_for_validation_that_do_not_fit_are_refused():
    two = np.stack([y_val, y_val], axis=1)
    with pytest.raises(ValueError, match=r"y_val.*2 numbers an image, the first y 1"):
        MLPRegressor(hidden_layer_sizes=(8,)).fit(X, y, X_val=X_val, y_val=two)
    with pytest.raises(ValueError, match=r"y_val.*at least 0"):
        MLPRegressor(hidden_layer_sizes=(8,), loss="poisson").fit(
            X, y, X_val=X_val, y_val=y_val - 1
        )


def test_images_for_validation_may_be_stored_otherwise():
    stored = np.round(X_val / X_val.max() * 255).astype(np.uint8)
    mlp = MLPClassifier((8,), max_iter=2, random_state=0, image_shape=(6, 6))
    mlp.fit(X, y, X_val=stored.reshape(len(stored), -1), y_val=y_val.tolist())
    assert mlp.validation_scores_[-1] == pytest.approx(mlp.score(stored, y_val))


@pytest.fixture
def parts(monkeypatch):
    """Images and indices of every set of a fit: training, then validation."""
    seen, original = [], TrainingBatches.__init__

    def init(self, images, indices, *args, **options):
        seen.append((images, indices))
        original(self, images, indices, *args, **options)

    monkeypatch.setattr(TrainingBatches, "__init__", init)
    return seen


@every_network
@pytest.mark.parametrize("scoring", [None, "loss"])
def test_early_stopping_keeps_the_best_network_of_the_set_that_is_given(network, scoring, parts):
    given = {"early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.03}
    fitted = network(max_iter=40, scoring=scoring, **given).fit(X, y, **VALIDATION)
    assert [len(indices) for _, indices in parts] == [60, 50]  # no image is set aside
    scores = fitted.validation_scores_
    assert fitted.n_iter_ == len(scores) < 40
    best = int(np.argmax(scores))
    assert fitted.best_validation_score_ == scores[best]
    assert best < len(scores) - 1
    if scoring is None:
        assert fitted.score(X_val, y_val) == pytest.approx(scores[best])
    # The same training, ended after its best epoch.
    again = network(max_iter=best + 1, scoring=scoring, **given).fit(X, y, **VALIDATION)
    assert_same_weights(fitted, again)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_early_stopping_of_regressors_sets_images_aside(loss, n_outputs, parts):
    numbers = np.stack([y + k for k in range(n_outputs)], axis=1).squeeze()
    mlp = mlp_of["regressor"](loss=loss, early_stopping=True, learning_rate_init=0.03)
    mlp.set_params(n_iter_no_change=5, validation_fraction=0.25, max_iter=100).fit(X, numbers)
    (_, train), (_, valid) = parts
    assert (len(train), len(valid)) == (45, 15)
    assert sorted([*train, *valid]) == list(range(60))
    assert mlp.n_iter_ < 100
    expected = r2_score(numbers[valid], mlp.predict(X[valid]))
    assert mlp.best_validation_score_ == max(mlp.validation_scores_) == pytest.approx(expected)
    if loss == "squared_error":
        np.testing.assert_allclose(mlp.target_mean_, numbers[train].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(mlp.target_scale_, numbers[train].std(axis=0), rtol=1e-12)


def test_images_of_weight_0_are_not_set_aside_either(parts):
    weights = (np.arange(60) % 3 > 0).astype(float)
    mlp_of["classifier"](early_stopping=True, max_iter=2).fit(X, y, weights)
    (_, train), (_, valid) = parts
    np.testing.assert_array_equal(np.sort([*train, *valid]), np.flatnonzero(weights))


def test_averaged_weights_are_what_is_scored_and_kept():
    mlp = mlp_of["classifier"](max_iter=30, early_stopping=True, n_iter_no_change=5)
    mlp.set_params(ema_decay=0.9, learning_rate_init=0.05).fit(X, y, **VALIDATION)
    assert mlp.best_validation_score_ == pytest.approx(mlp.score(X_val, y_val))


def test_the_same_seed_sets_the_same_images_aside(parts):
    for seed in (0, 0, 1):
        MLPClassifier((8,), early_stopping=True, max_iter=1, random_state=seed).fit(X, y)
    first, second, third = (parts[k][1].tolist() for k in (1, 3, 5))
    assert first == second != third


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("given", [True, False])
def test_scorers_see_the_numbers_that_were_given(loss, outputs, given):
    counts = y + 3 if outputs == 1 else np.stack([y + 3, 7 * y], axis=1)
    seen = []

    def scorer(estimator, X, y):
        seen.append(y)
        return r2_score(y, estimator.predict(X))

    network = mlp_of["regressor"](loss=loss, max_iter=1, early_stopping=True, scoring=scorer)
    if given:
        network.fit(X, counts, X_val=X[:20], y_val=counts[:20])
        np.testing.assert_array_equal(seen[0], counts[:20])
    else:
        network.fit(X, counts)
        assert seen[0].shape == (6, *counts.shape[1:])
        assert np.isin(seen[0], counts).all()
