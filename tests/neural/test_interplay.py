"""What only shows where features meet: threads, streams, scores, failed fits, odd modules."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import nn

from skcnn import CNNClassifier, MLPClassifier, MLPRegressor, load_digit_images


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:300], y[:300]


pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
QUICK = {"max_iter": 4, "random_state": 0}


def test_threads_that_predict_with_one_model_do_not_share_masks(digits):
    X, y = digits
    mlp = MLPClassifier((50, 50), dropout=0.5, n_dropout_samples=10, **QUICK).fit(X, y)
    expected = mlp.predict_proba(X)
    with ThreadPoolExecutor(3) as pool:
        for seen in pool.map(lambda _: mlp.predict_proba(X), range(60)):
            np.testing.assert_array_equal(seen, expected)


def labels_of(y):
    return np.stack([y % 2, y > 4], axis=1).astype(int)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: np.where(labels, 1, -1), r"0 or 1, y holds \[-1"),
        (lambda labels: 2 * labels, r"0 or 1, y holds \[2"),
    ],
)
def test_labels_that_do_not_exclude_each_other_are_zeros_and_ones(digits, change, message):
    X, y = digits
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**QUICK).fit(X, change(labels_of(y)))


def test_later_labels_are_a_row_an_image(digits):
    X, y = digits
    mlp = MLPClassifier(**QUICK).fit(X, labels_of(y))
    with pytest.raises(ValueError, match=r"a row of labels.*got shape \(300,\)"):
        MLPClassifier(**QUICK).fit(X, labels_of(y), X_val=X, y_val=y)
    with pytest.raises(ValueError, match=r"a row of labels.*got None"):
        mlp.partial_fit(X, None)


@pytest.mark.parametrize("go_on", ["fit", "partial_fit"])
def test_the_loss_of_a_regressor_is_part_of_its_network(digits, go_on):
    X, y = digits
    mlp = MLPRegressor("poisson", warm_start=True, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="loss was 'poisson', now 'squared_error'"):
        getattr(mlp.set_params(loss="squared_error"), go_on)(X, y)


class Masked(nn.Module):
    """A module with an infinite constant, and one that is no buffer."""

    def __init__(self, in_channels, height, width, n_outputs):
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.blur = torch.full((1, 1, 3, 3), 1 / 9)
        self.output = nn.Linear(height * width, n_outputs)

    def forward(self, images):
        kept = torch.exp(self.mask)[0]
        return self.output(kept * nn.functional.conv2d(images, self.blur, padding=1).flatten(1))


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_infinite_and_plain_constants_of_a_module(digits, ema_decay):
    X, y = digits
    cnn = CNNClassifier(module=Masked, ema_decay=ema_decay, learning_rate_init=0.05, **QUICK)
    cnn.fit(X.astype(np.float64), y)
    probabilities = cnn.predict_proba(X.astype(np.float64))
    assert probabilities.dtype == np.float64
    assert cnn.score(X, y) > 0.7


def test_class_weights_of_a_stream_are_those_of_all_classes(digits):
    X, y = digits
    weighted = MLPClassifier(class_weight={1: 5.0}, random_state=0)
    by_hand = MLPClassifier(random_state=0)
    for chunk in (y < 5, y > 4):  # the second one has no image of class 1
        weighted.partial_fit(X[chunk], y[chunk], classes=np.arange(10))
        weights = np.where(y[chunk] == 1, 5.0, 1.0)
        by_hand.partial_fit(X[chunk], y[chunk], weights, classes=np.arange(10))
    for ours, theirs in zip(weighted.coefs_, by_hand.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="'balanced' is not for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y)


def test_classes_are_weighed_in_training_and_not_in_scores(digits):
    X, y = digits
    seen = []

    def scorer(estimator, X, y):
        seen.append(accuracy_score(y, estimator.predict(X)))
        return seen[-1]

    weights = {"class_weight": {0: 50.0}, "batch_size": 50, **QUICK}
    cnn = CNNClassifier((4,), early_stopping=True, scoring=scorer, **weights).fit(X, y)
    default = CNNClassifier((4,), early_stopping=True, **weights).fit(X, y)
    assert cnn.validation_scores_ == seen == default.validation_scores_


def test_a_score_that_is_no_number_is_an_error(digits):
    X, y = digits
    one_class = y == 3
    mlp = MLPClassifier(scoring="roc_auc", **QUICK)
    with (
        pytest.warns(UserWarning, match="Only one class"),
        pytest.raises(ValueError, match="score of the validation images is not a number"),
    ):
        mlp.fit(X, y > 4, X_val=X[one_class], y_val=y[one_class] > 4)


def test_a_fit_that_fails_leaves_the_shape_of_the_fitted_network(digits):
    X, y = digits
    cnn = CNNClassifier((4,), global_pool=True, **QUICK).fit(X, y)
    expected = cnn.predict_proba(X)
    with pytest.raises(ValueError, match="300 images, but y 2 labels"):
        cnn.fit(np.tile(X, (1, 2, 2)), [0, 1])
    assert cnn.image_shape_ == (8, 8)
    np.testing.assert_array_equal(cnn.predict_proba(X), expected)
    unfitted = CNNClassifier()
    with pytest.raises(ValueError, match="300 images, but y 2 labels"):
        unfitted.fit(X, [0, 1])
    assert not hasattr(unfitted, "n_features_in_")


def test_weights_cannot_be_changed_behind_the_networks_back(digits):
    mlp = MLPClassifier(**QUICK).fit(*digits)
    with pytest.raises(ValueError, match="read-only"):
        mlp.coefs_[0][:] = 0
    with pytest.raises(TypeError, match="does not support item assignment"):
        mlp.coefs_[0] = np.zeros_like(mlp.coefs_[0])


@pytest.mark.parametrize("same", [16, [16], np.array([16])])
def test_the_same_network_in_other_words(digits, same):
    X, y = digits
    mlp = MLPClassifier((16,), warm_start=True, max_iter=2).fit(X, y)
    assert mlp.set_params(hidden_layer_sizes=same).fit(X, y).n_iter_ == 2
    with pytest.raises(ValueError, match="hidden_layer_sizes was"):
        mlp.set_params(hidden_layer_sizes=(16, 16)).fit(X, y)


def test_blocks_are_no_lists_of_one_convolution(digits):
    X, y = digits
    cnn = CNNClassifier([(4, 4)], max_iter=1, warm_start=True).fit(X, y)
    assert cnn.set_params(conv_channels=(np.array([4, 4]),)).fit(X, y).n_iter_ == 1
    with pytest.raises(ValueError, match="conv_channels was"):
        cnn.set_params(conv_channels=(4, 4)).fit(X, y)


def test_averages_over_nothing_cost_nothing(digits):
    X, y = digits
    mlp = MLPClassifier(n_dropout_samples=50, n_augmentations=50, **QUICK).fit(X, y)
    plain = MLPClassifier(**QUICK).fit(X, y)
    np.testing.assert_array_equal(mlp.predict_proba(X), plain.predict_proba(X))


class Normalised(nn.Module):
    """A module that needs several images a batch."""

    def __init__(self, in_channels, height, width, n_outputs):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.output = nn.Linear(in_channels * height * width, n_outputs)

    def forward(self, images):
        return self.output(self.norm(images).flatten(1))


def test_batches_of_one_are_refused_for_modules_that_normalise_and_no_others(digits):
    X, y = digits[0][:30], digits[1][:30] > 4
    with pytest.raises(ValueError, match="batch_size=1"):
        CNNClassifier(module=Normalised, batch_size=1, batch_norm=False, **QUICK).fit(X, y)
    assert CNNClassifier(module=Masked, batch_size=1, **QUICK).fit(X, y).n_iter_ == 4


def test_a_stream_goes_on_where_the_generator_of_dropout_is_another_kind(digits):
    X, y = digits
    mlp = MLPClassifier(dropout=0.5, random_state=0).partial_fit(X, y)
    mlp._stream |= {"device": "cuda", "masks": np.zeros(16, np.uint8)}
    assert mlp.partial_fit(X, y).n_iter_ == 2


class DropsLater(nn.Module):
    """A module that begins to draw from the global generator after some steps."""

    def __init__(self, in_channels, height, width, n_outputs):
        super().__init__()
        self.output = nn.Linear(in_channels * height * width, n_outputs)
        self.n_steps = 0

    def forward(self, images):
        self.n_steps += self.training
        rows = images.permute(0, 2, 3, 1).flatten(1)
        return self.output(nn.functional.dropout(rows, 0.5, self.training and self.n_steps > 3))


def test_a_module_that_draws_late_is_seeded_too(digits):
    X, y = digits
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        weights.append(CNNClassifier(module=DropsLater, **QUICK).fit(X, y).weights_)
        assert torch.equal(torch.get_rng_state(), before)
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value)
