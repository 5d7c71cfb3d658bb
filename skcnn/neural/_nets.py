"""The engine for each thing that a network may say: classes, labels or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback
from torch import nn

from skcnn.neural._targets import LabelTargets, Targets
from skcnn.neural._training import LeanNet, TrainingPlan


class LeanClassifier(LeanNet, NeuralNetClassifier):
    """The engine as skorch's callbacks expect it of a classifier."""


class LeanLabeller(LeanNet, NeuralNetClassifier):
    """The engine as skorch's callbacks expect it where labels do not exclude each other."""

    def predict(self, X: Any) -> np.ndarray:
        """Return 1 for the labels of a probability above one half."""
        return (self.predict_proba(X) > 0.5).astype(int)


class LeanRegressor(LeanNet, NeuralNetRegressor):
    """The engine as skorch's callbacks expect it of a regressor."""


def make_net(
    network: nn.Module,
    plan: TrainingPlan,
    *,
    targets: Targets,
    device: torch.device,
    batch_size: int,
    callbacks: list[Callback],
) -> LeanNet:
    """Return the untrained net."""
    options: dict[str, Any] = {
        "optimizer": torch.optim.Optimizer,
        "lr": plan.learning_rate,
        "max_epochs": plan.max_iter,
        "batch_size": batch_size,
        "callbacks": callbacks,
        "train_split": None,
        "verbose": 1,  # only callbacks look at it: one that prints has been asked for
        "device": device,
        "predict_nonlinearity": targets.nonlinearity,
    }
    classes = list(range(targets.n_outputs))
    if targets.exclusive:
        options |= {"criterion": nn.CrossEntropyLoss, "classes": classes}
        net: LeanNet = LeanClassifier(network, **options)
    elif isinstance(targets, LabelTargets):
        options |= {"criterion": nn.BCEWithLogitsLoss, "classes": classes}
        net = LeanLabeller(network, **options)
    else:
        net = LeanRegressor(network, criterion=nn.MSELoss, **options)
    net.plan = plan
    return net
