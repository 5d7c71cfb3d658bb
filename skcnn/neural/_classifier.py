"""What network classifiers have in common: labels, class weights, probabilities."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from scipy.special import expit, log_expit, log_softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if

from skcnn._compat import Interval, StrOptions, fit_context, with_callbacks
from skcnn._labels import encode_labels
from skcnn.neural._base import NeuralEstimator
from skcnn.neural._targets import ClassTargets, LabelTargets, Targets, class_targets


class NeuralClassifier(ClassifierMixin, NeuralEstimator):
    """A classifier that trains a torch module."""

    _parameter_constraints: dict = {
        **NeuralEstimator._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    class_weight: str | dict | None
    label_smoothing: float

    @available_if(NeuralEstimator._can_stream)
    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch, going on from where the network stands.

        Statistics of the images and the network's shape are those of the first call.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            Images, of the shape of the first call's.

        y : array-like of shape (n,) or (n, n_outputs)
            Their classes.

        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images in the loss.

        classes : array-like of shape (n_classes,) or None, default=None
            All classes that will ever come; to be given in the first call, unless its `y` holds
            them all.

        Returns
        -------
        self : estimator
            The estimator.

        Raises
        ------
        ValueError
            If an image has another shape, or a label is not among the classes.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not for partial_fit: the frequencies of the classes "
                "are not known before all images have come. Pass a dict of weights instead."
            )
        if classes is not None and hasattr(self, "classes_"):
            given = np.unique(np.asarray(classes))
            if not np.array_equal(given, self.classes_):
                raise ValueError(
                    f"classes={given.tolist()} is not the same as in the first call of "
                    f"partial_fit: {self.classes_.tolist()}."
                )
        return self._stream_in(X, y, sample_weight, classes)

    def _first_targets(self, y: Any, n_images: int, classes: Any) -> Targets:
        return class_targets(self, y, n_images, classes)

    def _known_targets(self, y: Any, n_images: int, *, in_stream: bool) -> Targets:
        if self._is_multilabel():
            known = LabelTargets(np.empty((0, self.n_outputs_)))
            known.values = known.encode(self, y, n_images)
            return known
        if not in_stream:
            self._refuse_other_classes(y, n_images)
        first = ClassTargets(self.classes_, np.empty(0, dtype=int))
        codes = first.encode(self, y, n_images)
        return ClassTargets(self.classes_, codes)

    def _refuse_other_classes(self, y: Any, n_images: int) -> None:
        classes, _ = encode_labels(self, y, n_images, least_classes=1)
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {classes}. Take a clone, or "
                "warm_start=False."
            )

    def _weigh(self, weights: np.ndarray | None, targets: Targets) -> np.ndarray | None:
        if self.class_weight is None:
            return weights
        labels = targets.decode(targets.values)
        if isinstance(self.class_weight, dict) and targets.exclusive:
            # Of all classes: not every chunk of a stream has an image of each.
            of_classes = compute_class_weight(
                self.class_weight, classes=targets.decode(np.arange(targets.n_outputs)), y=labels
            )
            of_images = of_classes[targets.values]
            return of_images if weights is None else weights * of_images
        if weights is None:
            return compute_sample_weight(self.class_weight, labels)
        if self.class_weight == "balanced":
            return weights * _balancing_weights(labels, weights)
        return weights * compute_sample_weight(self.class_weight, labels)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        labels : ndarray of shape (n,) or (n, n_labels)
            Labels of `classes_`; or for labels that do not exclude each other 1 where the
            probability is above one half.
        """
        outputs = self._outputs(X)
        if self._is_multilabel():
            return (outputs > 0).astype(int)
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of every class for every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            Rows sum to 1 (not for labels that do not exclude each other); columns are in the order
            of `classes_`. On the CPU of the floating type that the images are read in, float32 for
            float32 and uint8, else float32.
        """
        return self._activate(self._outputs(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of the probability of every class for every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes)
            Columns are in the order of `classes_`.
        """
        outputs = self._outputs(X)
        return log_expit(outputs) if self._is_multilabel() else log_softmax(outputs, axis=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the network's output before the softmax.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        logits : ndarray of shape (n, n_classes), or (n,) for two classes
            With two classes: the second logit minus the first, positive for `classes_[1]`. The
            floating type is that of `predict_proba`. Where predictions are averaged, the logarithm
            of the mean probability.
        """
        logits = self._outputs(X)
        if self._is_multilabel() or len(self.classes_) != 2:
            return logits
        return logits[:, 1] - logits[:, 0]

    def _is_multilabel(self) -> bool:
        return self.out_activation_ == "logistic"

    def _activate(self, outputs: np.ndarray) -> np.ndarray:
        if self._is_multilabel():
            return expit(outputs)
        # SciPy's softmax takes a tenth of the time that a small network needs for an image.
        return torch.softmax(torch.from_numpy(outputs), dim=1).numpy()

    def _deactivate(self, values: np.ndarray) -> np.ndarray:
        smallest = np.finfo(values.dtype).tiny
        logarithms = np.log(np.maximum(values, smallest))
        if self._is_multilabel():
            return logarithms - np.log(np.maximum(1 - values, smallest))
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _balancing_weights(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return what lets all classes count alike, where an image counts as much as its weight."""
    factors = np.ones(len(labels))
    for column in labels.reshape(len(labels), -1).T:
        _, codes = np.unique(column, return_inverse=True)
        counts = np.bincount(codes, weights)
        counted = counts > 0
        shares = np.divide(counts.sum() / counted.sum(), counts, where=counted, out=counts)
        factors *= shares[codes]
    return factors
