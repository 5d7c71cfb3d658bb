"""Short trainings that tests of ``checkpoint=`` run, and kill."""

import numpy as np
import pytest

from skcnn import (
    Augmentation,
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
)
from skcnn.neural._training import LeanNet

MLP = {"hidden_layer_sizes": (8,)}
CNN = {"conv_channels": (4,), "hidden_layer_sizes": (8,)}
TRAININGS = {
    "adam": (MLPClassifier, {**MLP, "solver": "adam"}),
    "sgd": (MLPClassifier, {**MLP, "solver": "sgd", "learning_rate": "adaptive", "tol": 1.0}),
    "invscaling": (MLPRegressor, {**MLP, "solver": "sgd", "learning_rate": "invscaling"}),
    "adamw": (CNNClassifier, {**CNN, "solver": "adamw", "alpha": 0.1}),
    "dropout": (CNNClassifier, {**CNN, "conv_dropout": 0.2, "dropout": 0.5, "input_dropout": 0.1}),
    "augment": (CNNRegressor, {**CNN, "augment": Augmentation(shift=1, rotation=20, flip="both")}),
    "ema": (CNNClassifier, {**CNN, "ema_decay": 0.9}),
    "early stopping": (CNNClassifier, {**CNN, "early_stopping": True, "ema_decay": 0.8}),
    "patience": (MLPClassifier, {**MLP, "early_stopping": True, "n_iter_no_change": 1, "tol": 1.0}),
    "one cycle": (CNNClassifier, {**CNN, "learning_rate": "one_cycle"}),
    "float64": (CNNClassifier, {**CNN, "precision": "float64", "batch_norm": False}),
}


def make(training, **parameters):
    network, options = TRAININGS[training]
    quick = {"max_iter": 5, "batch_size": 32, "learning_rate_init": 0.01, "random_state": 0}
    return network(**{**quick, **options, **parameters})


class KilledError(Exception):
    """Stands for SIGKILL: nothing in skcnn catches it."""


def kill_in(fit, epoch):
    """Let a fit die in some epoch; after that fits run to their end."""
    original = LeanNet._train_epoch

    def run(self, batches):
        if len(self.history) == epoch:
            raise KilledError
        original(self, batches)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LeanNet, "_train_epoch", run)
        with pytest.raises(KilledError):
            fit()


def assert_same(actual, expected):
    assert actual.loss_curve_ == expected.loss_curve_
    assert actual.validation_scores_ == expected.validation_scores_
    assert actual.best_loss_ == expected.best_loss_
    assert (actual.n_iter_, actual.t_) == (expected.n_iter_, expected.t_)
    assert actual.weights_.keys() == expected.weights_.keys()
    for name, value in expected.weights_.items():
        np.testing.assert_array_equal(actual.weights_[name], value, err_msg=name)
