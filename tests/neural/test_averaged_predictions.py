"""Predictions averaged over networks with units dropped, and over changed images."""

import copy
import pickle

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from skcnn import Augmentation, CNNClassifier, CNNRegressor, MLPClassifier, MLPRegressor
from skcnn.images import ImageBatch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def images(n=60, seed=0, size=(6, 6)):
    rng = np.random.RandomState(seed)
    y = rng.randint(3, size=n)
    return rng.rand(n, *size) + 0.3 * y[:, None, None], y


X, y = images()
LABELS = np.stack([y > 0, y > 1], axis=1).astype(int)
MLP = {"hidden_layer_sizes": (12,), "max_iter": 5, "random_state": 0}
CNN = {"conv_channels": (6,), "hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
NETWORKS = {
    "classifier": (MLPClassifier(**MLP, dropout=0.5, input_dropout=0.2), y),
    "labels": (MLPClassifier(**MLP, dropout=0.5), LABELS),
    "regressor": (MLPRegressor(**MLP, dropout=0.3), 50 + 10.0 * y),
    "numbers": (MLPRegressor(**MLP, dropout=0.3), np.stack([y, -5.0 * y], axis=1)),
    "counts": (MLPRegressor(**MLP, loss="poisson", dropout=0.3), y),
    "cnn": (CNNClassifier(**CNN, dropout=0.3, conv_dropout=0.3), y),
    "cnn regressor": (CNNRegressor(**CNN, conv_dropout=0.3), 50 + 10.0 * y),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def fitted(name, **parameters):
    """Return a fitted network that then averages its predictions as `parameters` say."""
    network, targets = NETWORKS[name]
    return copy.deepcopy(network).fit(X, targets).set_params(**parameters)


def methods(network):
    names = ("predict", "predict_proba", "predict_log_proba", "decision_function")
    return [getattr(network, name) for name in names if hasattr(network, name)]


def probabilities_of_thinned_networks(mlp, n):
    """Return the probabilities of each thinned network, computed from the weights by hand."""
    w, said = mlp.weights_, []
    for sample in range(n):
        generator = torch.Generator().manual_seed(mlp.random_state + sample)

        def mask(n_units, p, generator=generator):
            kept = torch.empty(n_units, dtype=torch.float64).bernoulli_(1 - p, generator=generator)
            return kept.numpy() / (1 - p)

        values = ((X - mlp.input_mean_) / mlp.input_scale_).reshape(len(X), -1)
        values = values * mask(36, mlp.input_dropout)
        values = np.maximum(values @ w["dense1.weight"].T + w["dense1.bias"], 0)
        values = values * mask(12, mlp.dropout)
        said.append(softmax(values @ w["output.weight"].T + w["output.bias"], axis=1))
    return np.array(said)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_probabilities_are_the_mean_over_thinned_networks(n):
    mlp = fitted("classifier", n_dropout_samples=n)
    by_hand = probabilities_of_thinned_networks(mlp, n)
    np.testing.assert_allclose(mlp.predict_proba(X), by_hand.mean(axis=0), rtol=1e-9)
    assert n == 1 or by_hand.std(axis=0).max() > 0.01


def test_a_linear_regressor_averages_to_what_the_mean_mask_gives():
    mlp = MLPRegressor(hidden_layer_sizes=(), input_dropout=0.4, max_iter=5, random_state=0).fit(
        X, y
    )
    mlp.set_params(n_dropout_samples=3)
    masks = 0.0
    for sample in range(3):
        generator = torch.Generator().manual_seed(sample)
        masks = masks + torch.empty(36, dtype=torch.float64).bernoulli_(0.6, generator=generator)
    values = (X.reshape(60, -1) - mlp.input_mean_) / mlp.input_scale_
    expected = values * (masks.numpy() / 3 / 0.6) @ mlp.coefs_[0] + mlp.intercepts_[0]
    expected = expected * mlp.target_scale_ + mlp.target_mean_
    np.testing.assert_allclose(mlp.predict(X), expected[:, 0], rtol=1e-9)


@every_network
def test_many_thinned_networks_come_near_to_the_whole_one(name):
    whole = fitted(name)
    few, many = fitted(name, n_dropout_samples=1), fitted(name, n_dropout_samples=400)
    say = "predict_proba" if hasattr(whole, "predict_proba") else "predict"
    expected = getattr(whole, say)(X)
    error = {n: np.abs(getattr(e, say)(X) - expected).mean() for n, e in ((1, few), (400, many))}
    assert 0 < error[400] < error[1] / 2


@every_network
def test_averages_do_not_depend_on_which_images_are_predicted_together(name, monkeypatch):
    network = fitted(name, n_dropout_samples=3)
    together = [method(X) for method in methods(network)]
    for method, expected in zip(methods(network), together, strict=True):
        alone = np.concatenate([method(X[i : i + 1]) for i in range(5)])
        np.testing.assert_allclose(alone, expected[:5], rtol=1e-9)
        np.testing.assert_allclose(method(X[::-1]), expected[::-1], rtol=1e-9)
    monkeypatch.setattr("skcnn.neural._prediction._PREDICT_BATCH", 7)
    again = pickle.loads(pickle.dumps(network))
    for method, expected in zip(methods(again), together, strict=True):
        np.testing.assert_allclose(method(X), expected, rtol=1e-9)


@every_network
def test_averages_repeat_themselves_and_leave_the_whole_network_as_it_was(name):
    network, plain = fitted(name), fitted(name)
    expected = [method(X) for method in methods(plain)]
    network.set_params(n_dropout_samples=2)
    for method in methods(network):
        np.testing.assert_array_equal(method(X), method(X))
    assert any(
        not np.array_equal(method(X), whole)
        for method, whole in zip(methods(network), expected, strict=True)
    )
    network.set_params(n_dropout_samples=0)
    for method, whole in zip(methods(network), expected, strict=True):
        np.testing.assert_array_equal(method(X), whole)


@pytest.mark.parametrize("name", ["classifier", "labels", "cnn"])
def test_what_a_classifier_says_is_consistent(name):
    network = fitted(name, n_dropout_samples=3)
    probabilities = network.predict_proba(X)
    np.testing.assert_allclose(network.predict_log_proba(X), np.log(probabilities), rtol=1e-6)
    decisions = network.decision_function(X)
    if name == "labels":
        np.testing.assert_array_equal(network.predict(X), probabilities > 0.5)
        np.testing.assert_allclose(expit(decisions), probabilities, rtol=1e-9)
    else:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(network.predict(X), probabilities.argmax(axis=1))
        np.testing.assert_allclose(softmax(decisions, axis=1), probabilities, rtol=1e-6)


def test_two_classes_have_one_decision():
    mlp = MLPClassifier(**MLP, dropout=0.5).fit(X, y > 0).set_params(n_dropout_samples=4)
    decisions, probabilities = mlp.decision_function(X), mlp.predict_proba(X)
    assert decisions.shape == (60,)
    np.testing.assert_allclose(expit(decisions), probabilities[:, 1], rtol=1e-9)
    np.testing.assert_array_equal(decisions > 0, mlp.predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_averages_are_of_the_type_of_other_predictions(dtype):
    single = np.round(X * 100).astype(dtype)
    for name in ("classifier", "regressor"):
        network, targets = NETWORKS[name]
        network = copy.deepcopy(network).fit(single, targets).set_params(n_dropout_samples=2)
        assert methods(network)[-1](single).dtype == np.float32


def test_floats_of_either_width_meet_the_same_thinned_networks():
    network = fitted("classifier", n_dropout_samples=3)
    np.testing.assert_allclose(
        network.predict_proba(X.astype(np.float32)), network.predict_proba(X), atol=1e-5
    )


def test_counts_are_averaged_as_rates():
    network = fitted("counts", n_dropout_samples=2)
    first, second = (fitted("counts", n_dropout_samples=1, random_state=k) for k in (0, 1))
    expected = (first.predict(X) + second.predict(X)) / 2
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-9)


def test_without_dropout_there_is_nothing_to_average():
    mlp = MLPClassifier(**MLP).fit(X, y)
    expected = mlp.predict_proba(X)
    mlp.set_params(n_dropout_samples=5)
    np.testing.assert_allclose(mlp.predict_proba(X), expected, rtol=1e-9)


class Brighter:
    """Add a random number to each image, and remember the images that came."""

    def __init__(self):
        self.seen = []

    def __call__(self, images, generator):
        self.seen.append(images.clone())
        return images + torch.rand(len(images), 1, 1, 1, generator=generator).to(images)

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("network", [MLPClassifier(**MLP), CNNClassifier(**CNN)])
@pytest.mark.parametrize("n", [1, 3])
def test_probabilities_are_the_mean_over_an_image_and_its_changed_versions(network, n):
    augment = Brighter()
    network = copy.deepcopy(network).set_params(augment=augment).fit(X, y)
    plain = copy.deepcopy(network).set_params(augment=None)
    versions = [plain.predict_proba(X)]
    for view in range(1, n + 1):
        generator = torch.Generator().manual_seed(network.random_state + view)
        brighter = torch.rand(len(X), generator=generator).numpy()
        versions.append(plain.predict_proba(X + brighter[:, None, None]))
    augment.seen.clear()
    network.set_params(n_augmentations=n)
    np.testing.assert_allclose(network.predict_proba(X), np.mean(versions, axis=0), rtol=1e-6)
    # What is changed are the images as training saw them: before they are standardised.
    np.testing.assert_allclose(augment.seen[0][:, 0], X)


def test_numbers_are_averaged_over_changed_versions():
    mlp = MLPRegressor(**MLP, augment=Brighter(), n_augmentations=2).fit(X, 50 + 10.0 * y)
    plain = copy.deepcopy(mlp).set_params(augment=None)
    versions = [plain.predict(X)]
    for view in (1, 2):
        brighter = torch.rand(60, generator=torch.Generator().manual_seed(view)).numpy()
        versions.append(plain.predict(X + brighter[:, None, None]))
    np.testing.assert_allclose(mlp.predict(X), np.mean(versions, axis=0), rtol=1e-6)


def test_changed_versions_repeat_themselves():
    cnn = CNNClassifier(**CNN, augment=Augmentation(shift=1, rotation=20), n_augmentations=2)
    expected = cnn.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(cnn.predict_proba(X), expected)
    again = pickle.loads(pickle.dumps(cnn))
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    np.testing.assert_array_equal(cnn.predict(X), expected.argmax(axis=1))


@pytest.mark.parametrize("images", [slice(0, 1), slice(7, 20), slice(59, None)])
def test_changed_versions_of_an_image_do_not_depend_on_its_company(images):
    augment = Augmentation(shift=1, rotation=20, elastic=0.5, brightness=0.1)
    cnn = CNNClassifier(**CNN, augment=augment, n_augmentations=3).fit(X, y)
    alone = cnn.predict_proba(X[images])
    np.testing.assert_allclose(alone, cnn.predict_proba(X)[images], atol=1e-6)


def test_both_averages_together():
    mlp = MLPClassifier(**MLP, dropout=0.5, augment=Brighter()).fit(X, y)
    both = copy.deepcopy(mlp).set_params(n_dropout_samples=2, n_augmentations=1)
    thinned = copy.deepcopy(mlp).set_params(n_dropout_samples=2)
    brighter = torch.rand(60, generator=torch.Generator().manual_seed(1)).numpy()
    expected = thinned.predict_proba(X) + thinned.predict_proba(X + brighter[:, None, None])
    np.testing.assert_allclose(both.predict_proba(X), expected / 2, rtol=1e-9)


def test_images_are_not_written_to_by_averages():
    read_only = np.ascontiguousarray(X, dtype=np.float32)
    read_only.setflags(write=False)
    cnn = CNNClassifier(**CNN, dropout=0.5, augment=lambda x, _: x.add_(1), n_augmentations=1)
    before = read_only.copy()
    cnn.fit(read_only, y).set_params(n_dropout_samples=2).predict(read_only)
    np.testing.assert_array_equal(read_only, before)
    assert ImageBatch(read_only).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_dropout_samples", -3),
        ("n_dropout_samples", 2.5),
        ("n_augmentations", -1),
        ("n_augmentations", "a"),
    ],
)
def test_counts_set_after_fit_are_checked(name, value):
    network = fitted("cnn", augment=Augmentation(shift=1), **{name: value})
    for method in methods(network):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of CNNClassifier must be"):
            method(X)
