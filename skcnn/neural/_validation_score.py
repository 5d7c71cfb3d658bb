"""The number that tells one epoch of a training from a better one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from sklearn.metrics import check_scoring

from skcnn.neural._batches import TrainingBatches
from skcnn.neural._targets import Targets


class ValidationScore:
    """The score of the validation images, as the estimator's `scoring` says.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted.

    targets : Targets
        What its network learns to say.

    y : ndarray
        What the validation images show, as scorers are to see it.
    """

    def __init__(self, estimator: Any, targets: Targets, y: np.ndarray) -> None:
        self.estimator, self.targets, self.y = estimator, targets, y
        self.scorer = None
        if estimator.scoring not in (None, "loss"):
            self.scorer = check_scoring(estimator, estimator.scoring)

    def __call__(self, outputs: torch.Tensor, valid: TrainingBatches) -> float:
        """Return the score of the network's outputs for all validation images."""
        estimator, targets = self.estimator, self.targets
        if estimator.scoring == "loss":
            return -float(targets.loss(estimator).mean(outputs, valid.targets, valid.weights))
        said, values = outputs.cpu().numpy(), valid.targets.cpu().numpy()
        weights = None if valid.weights is None else valid.weights.cpu().numpy()
        if self.scorer is None:
            return targets.score(said, values, weights)
        evaluated = copy.copy(estimator)
        # A stand-in that has been asked already: no image is read again for its predictions.
        vars(evaluated).update(targets.attributes(), _outputs=lambda X: said)
        options = {} if weights is None else {"sample_weight": weights}
        return float(self.scorer(evaluated, np.arange(len(said)), self.y, **options))
