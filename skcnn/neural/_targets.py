"""What a network learns to say: classes, labels that do not exclude each other, or numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import check_array
from sklearn.utils.multiclass import type_of_target

from skcnn._labels import encode_labels
from skcnn.neural._batches import divisor
from skcnn.neural._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    PoissonDeviance,
    SquaredError,
)


class Targets(ABC):
    """The y of a fit, as the engine wants it.

    Attributes
    ----------
    values : ndarray of shape (n,) of int, or (n, n_outputs) of float
        What the loss compares outputs with.

    n_outputs : int
        Number of the network's outputs.

    strata : ndarray of int or None
        What a validation split keeps the shares of.

    exclusive : bool
        Whether an image has one class out of several.

    least_to_score : int
        Validation images without which :meth:`score` says nothing.

    nonlinearity : callable or "auto"
        What makes predictions of outputs for skorch's callbacks; "auto" leaves it to skorch.
    """

    values: np.ndarray
    n_outputs: int
    strata: np.ndarray | None = None
    exclusive = False
    least_to_score = 1
    nonlinearity: Callable[[torch.Tensor], torch.Tensor] | str = "auto"

    @abstractmethod
    def loss(self, estimator: Any) -> Loss:
        """Return what training makes small."""

    def learn_scale(self, chosen: np.ndarray, weights: np.ndarray | None) -> None:  # noqa: B027
        """Bring the values to a scale that is learnt from those of the images `chosen`, if any."""

    @abstractmethod
    def encode(self, estimator: BaseEstimator, y: Any, n_images: int) -> np.ndarray:
        """Return the values of another y, with what was learnt from the first."""

    @abstractmethod
    def decode(self, values: np.ndarray) -> np.ndarray:
        """Return the y that has these values."""

    @property
    def y(self) -> np.ndarray:
        """The y of the fit, to the last digit: a count is a whole number."""
        return self.decode(self.values)

    def checked(self, estimator: BaseEstimator, y: Any, n_images: int) -> np.ndarray:
        """Return another y to the last digit, if it is one of this kind."""
        return self.decode(self.encode(estimator, y, n_images))

    @abstractmethod
    def score(self, outputs: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> float:
        """Return accuracy or R2 of outputs, as the estimator's own ``score`` does."""

    @abstractmethod
    def attributes(self) -> dict[str, Any]:
        """Return what the estimator remembers."""


class ClassTargets(Targets):
    """One class an image; the network has one output a class."""

    exclusive = True

    def __init__(self, classes: np.ndarray, codes: np.ndarray) -> None:
        self.classes, self.values, self.strata = classes, codes, codes
        self.n_outputs = len(classes)

    def loss(self, estimator: Any) -> Loss:
        """Return the cross-entropy of the softmax."""
        return CrossEntropy(estimator.label_smoothing)

    def encode(self, estimator: BaseEstimator, y: Any, n_images: int) -> np.ndarray:
        """Return the codes of classes that must be known."""
        classes, codes = encode_labels(estimator, y, n_images, least_classes=1)
        unknown = np.setdiff1d(classes, self.classes)
        if len(unknown):
            raise ValueError(
                f"y holds classes that are not among those of the first y: {unknown.tolist()}. "
                f"Known are {self.classes.tolist()}."
            )
        return np.searchsorted(self.classes, classes)[codes]

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Return the labels of codes."""
        return self.classes[values]

    def score(self, outputs: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> float:
        """Return the accuracy."""
        return float(accuracy_score(values, outputs.argmax(axis=1), sample_weight=weights))

    def attributes(self) -> dict[str, Any]:
        """Return the classes."""
        return {
            "classes_": self.classes,
            "n_outputs_": self.n_outputs,
            "out_activation_": "softmax",
        }


class LabelTargets(Targets):
    """Any number of labels an image, each 0 or 1, as an indicator matrix."""

    nonlinearity = staticmethod(torch.sigmoid)

    def __init__(self, indicator: np.ndarray) -> None:
        self.values = indicator
        self.n_outputs = indicator.shape[1]

    def loss(self, estimator: Any) -> Loss:
        """Return the sum of the labels' cross-entropies."""
        return BinaryCrossEntropy(estimator.label_smoothing)

    def encode(self, estimator: BaseEstimator, y: Any, n_images: int) -> np.ndarray:
        """Return an indicator matrix with as many labels."""
        indicator = check_indicator(y, n_images)
        if indicator.shape[1] != self.n_outputs:
            raise ValueError(
                f"y holds {indicator.shape[1]} labels an image, the first y {self.n_outputs}."
            )
        return indicator

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Return the indicator matrix itself."""
        return values.astype(int)

    def score(self, outputs: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> float:
        """Return the share of images with every label right."""
        return float(
            accuracy_score(values.astype(int), expit(outputs) > 0.5, sample_weight=weights)
        )

    def attributes(self) -> dict[str, Any]:
        """Return the numbers of the labels as classes, as in scikit-learn."""
        return {
            "classes_": np.arange(self.n_outputs),
            "n_outputs_": self.n_outputs,
            "out_activation_": "logistic",
        }


class NumberTargets(Targets):
    """One or several numbers an image.

    They are brought to mean 0 and variance 1 of the images for training if the estimator
    standardises, so that ages and angles train alike, or for the Poisson deviance, which wants
    counts of at least 0, to mean 1; `mean` and `scale` of shape (n_outputs,) undo it.
    """

    least_to_score = 2

    def __init__(
        self,
        y: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        *,
        poisson: bool,
        standardize: bool = False,
    ) -> None:
        self.mean, self.scale, self.poisson, self.standardize = mean, scale, poisson, standardize
        self.nonlinearity = torch.exp if poisson else "auto"
        self._numbers, self.values = y, (y - mean) / scale
        self.n_outputs = y.shape[1]

    def learn_scale(self, chosen: np.ndarray, weights: np.ndarray | None) -> None:
        """Bring the values to weighted mean 0 and variance 1, or mean 1, of the images `chosen`."""
        if not self.standardize:
            return
        y, shares = self.values[chosen], None if weights is None else weights[chosen]
        mean = np.average(y, axis=0, weights=shares)
        if self.poisson:
            self.scale = np.where(mean > 0, mean, 1.0)
        else:
            self.mean = mean
            scale = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=shares))
            self.scale = divisor(mean, scale)
        if not np.isfinite(self.scale).all():
            raise ValueError("y holds numbers too large to be standardised: divide them.")
        self.values = (self.values - self.mean) / self.scale

    def loss(self, estimator: Any) -> Loss:
        """Return half the squared error or the Poisson deviance."""
        return PoissonDeviance() if self.poisson else SquaredError()

    def encode(self, estimator: BaseEstimator, y: Any, n_images: int) -> np.ndarray:
        """Return another y on the scale of the first."""
        return (self._check(y, n_images) - self.mean) / self.scale

    def _check(self, y: Any, n_images: int) -> np.ndarray:
        numbers = check_numbers(y, n_images, poisson=self.poisson)
        if numbers.shape[1] != self.n_outputs:
            raise ValueError(
                f"y holds {numbers.shape[1]} numbers an image, the first y {self.n_outputs}."
            )
        return numbers

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Return numbers on the scale of y."""
        return self._as_given(values * self.scale + self.mean)

    @property
    def y(self) -> np.ndarray:
        """The numbers as they were given."""
        return self._as_given(self._numbers)

    def checked(self, estimator: BaseEstimator, y: Any, n_images: int) -> np.ndarray:
        """Return other numbers as they are given."""
        return self._as_given(self._check(y, n_images))

    def _as_given(self, numbers: np.ndarray) -> np.ndarray:
        return numbers[:, 0] if self.n_outputs == 1 else numbers

    def score(self, outputs: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> float:
        """Return the coefficient of determination."""
        predicted = np.exp(outputs) if self.poisson else outputs
        return float(r2_score(values, predicted, sample_weight=weights))

    def attributes(self) -> dict[str, Any]:
        """Return the scale of y."""
        return {
            "target_mean_": self.mean,
            "target_scale_": self.scale,
            "n_outputs_": self.n_outputs,
            "out_activation_": "exp" if self.poisson else "identity",
        }


def class_targets(
    estimator: BaseEstimator, y: Any, n_images: int, classes: Any = None
) -> ClassTargets | LabelTargets:
    """Return the targets of a classifier's first y; `classes` are those that may come later."""
    if y is not None and type_of_target(y) == "multilabel-indicator":
        return LabelTargets(check_indicator(y, n_images))
    if classes is None:
        return ClassTargets(*encode_labels(estimator, y, n_images))
    known = ClassTargets(np.unique(np.asarray(classes)), np.empty(0, dtype=int))
    if len(known.classes) < 2:
        raise ValueError(f"classes must name at least 2 classes, got {known.classes.tolist()}.")
    return ClassTargets(known.classes, known.encode(estimator, y, n_images))


def check_indicator(y: Any, n_images: int) -> np.ndarray:
    """Return y as a matrix of zeros and ones; raise ValueError if it is not one row an image."""
    indicator = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    if indicator.ndim != 2:
        raise ValueError(
            "y must hold a row of labels, 0 or 1 each, for every image, as in the first fit; got "
            f"{'None' if y is None else f'shape {indicator.shape}'}."
        )
    _one_each(indicator, n_images)
    if not np.isin(indicator, (0, 1)).all():
        seen = np.setdiff1d(indicator, (0, 1))[:3].tolist()
        raise ValueError(f"labels that do not exclude each other must be 0 or 1, y holds {seen}.")
    return indicator.astype(np.float64)


def check_numbers(y: Any, n_images: int, *, poisson: bool) -> np.ndarray:
    """Return y as finite numbers of shape (n, n_outputs)."""
    if y is None:
        raise ValueError("A regressor requires y to be passed, but the target y is None.")
    numbers = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    _one_each(numbers, n_images)
    if poisson and (numbers < 0).any():
        raise ValueError(f"loss='poisson' needs y of at least 0, got {numbers.min()}.")
    return numbers.reshape(n_images, -1)


def _one_each(y: np.ndarray, n_images: int) -> None:
    if len(y) != n_images:
        raise ValueError(f"X holds {n_images} images, but y {len(y)} rows: one an image wanted.")
