"""What training makes small, for networks differentiated by torch and for those by hand."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from scipy.special import expit, xlogy
from torch.nn import functional


class Loss(ABC):
    """A loss of an image's outputs; a batch has the mean of its images' losses times weights."""

    @abstractmethod
    def of_images(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image, differentiable."""

    @abstractmethod
    def by_hand(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss of each image and its gradient; `outputs` may be written to."""

    def mean(
        self, outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the weighted mean over the batch, differentiable."""
        losses = self.of_images(outputs, targets)
        return losses.mean() if weights is None else torch.dot(losses, weights) / len(weights)

    def mean_by_hand(
        self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None
    ) -> tuple[float, np.ndarray]:
        """Return the weighted mean over the batch and its gradient."""
        losses, gradient = self.by_hand(outputs, targets)
        gradient /= len(gradient)
        if weights is None:
            return losses.mean(), gradient
        gradient *= weights[:, np.newaxis]
        return losses @ weights / len(weights), gradient


class CrossEntropy(Loss):
    """Softmax and cross-entropy with the code of the class.

    With `smoothing` the target is that share uniform over the classes, and the rest the class.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception architecture for computer vision",
       CVPR 2016.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing

    def of_images(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image."""
        return functional.cross_entropy(
            outputs, targets, reduction="none", label_smoothing=self.smoothing
        )

    def mean(
        self, outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the weighted mean, in one operation where there are no weights."""
        if weights is None:
            return functional.cross_entropy(outputs, targets, label_smoothing=self.smoothing)
        return super().mean(outputs, targets, weights)

    def by_hand(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses and gradient: the softmax minus the target."""
        rows = np.arange(len(targets))
        # torch's is several times faster on short rows than NumPy's reductions.
        logs = torch.log_softmax(torch.from_numpy(outputs), dim=1).numpy()
        losses = (self.smoothing - 1) * logs[rows, targets]
        if self.smoothing:
            losses -= self.smoothing * logs.mean(axis=1)
        gradient = np.exp(logs, out=outputs)
        gradient[rows, targets] -= 1 - self.smoothing
        if self.smoothing:
            gradient -= self.smoothing / outputs.shape[1]
        return losses, gradient


class BinaryCrossEntropy(Loss):
    """Logistic function and cross-entropy, summed over labels that do not exclude each other."""

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing

    def of_images(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image."""
        targets = targets * (1 - self.smoothing) + self.smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return losses.sum(dim=1)

    def by_hand(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses and gradient: the logistic function minus the target."""
        targets = targets * (1 - self.smoothing) + self.smoothing / 2
        # log(1 + exp(v)) without overflow
        losses = np.logaddexp(outputs.dtype.type(0), outputs) - targets * outputs
        return losses.sum(axis=1), expit(outputs) - targets


class SquaredError(Loss):
    """Half the squared error, summed over the outputs."""

    def of_images(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image."""
        return (outputs - targets).square().sum(dim=1) / 2

    def by_hand(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses and gradient: output minus target."""
        outputs -= targets
        return np.einsum("ij,ij->i", outputs, outputs) / 2, outputs


class PoissonDeviance(Loss):
    """Half the Poisson deviance of outputs that are logarithms of rates, summed over them."""

    def of_images(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image."""
        fixed = torch.xlogy(targets, targets) - targets
        return (outputs.exp() - targets * outputs + fixed).sum(dim=1)

    def by_hand(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses and gradient: rate minus target."""
        rates = np.exp(outputs)
        losses = rates - targets * outputs + xlogy(targets, targets) - targets
        rates -= targets
        return losses.sum(axis=1), rates
