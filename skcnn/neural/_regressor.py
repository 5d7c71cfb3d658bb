"""What network regressors have in common: numbers in, numbers out."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from skcnn._compat import StrOptions, fit_context, with_callbacks
from skcnn.neural._base import NeuralEstimator
from skcnn.neural._targets import NumberTargets, Targets, check_numbers


class NeuralRegressor(RegressorMixin, NeuralEstimator):
    """A regressor that trains a torch module."""

    _parameter_constraints: dict = {
        **NeuralEstimator._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    loss: str

    @available_if(NeuralEstimator._can_stream)
    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, going on from where the network stands.

        Statistics of images and targets and the network's shape are those of the first call.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            Images, of the shape of the first call's.

        y : array-like of shape (n,) or (n, n_outputs)
            Their numbers.

        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images in the loss.

        Returns
        -------
        self : estimator
            The estimator.

        Raises
        ------
        ValueError
            If an image has another shape, or `y` another number of columns.
        """
        return self._stream_in(X, y, sample_weight)

    def _first_targets(self, y: Any, n_images: int, classes: Any) -> Targets:
        poisson = self.loss == "poisson"
        numbers = check_numbers(y, n_images, poisson=poisson)
        mean, scale = np.zeros(numbers.shape[1]), np.ones(numbers.shape[1])
        return NumberTargets(numbers, mean, scale, poisson=poisson, standardize=self.standardize)

    def _architecture_now(self) -> dict[str, Any]:
        # What the outputs mean cannot change either.
        return {**super()._architecture_now(), "loss": self.loss}

    def _known_targets(self, y: Any, n_images: int, *, in_stream: bool) -> Targets:
        poisson = self.loss == "poisson"
        numbers = check_numbers(y, n_images, poisson=poisson)
        if numbers.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y holds {numbers.shape[1]} numbers an image, the first y {self.n_outputs_}."
            )
        return NumberTargets(numbers, self.target_mean_, self.target_scale_, poisson=poisson)

    def predict(self, X: Any) -> np.ndarray:
        """Return the number or numbers of every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_outputs)
            On the scale of the y of `fit`. On the CPU of the floating type that the images are
            read in, float32 for float32 and uint8, else float32.
        """
        values = self._activate(self._outputs(X))
        y = values * self.target_scale_ + self.target_mean_
        y = y.astype(values.dtype, copy=False)
        return y[:, 0] if self.n_outputs_ == 1 else y

    def _activate(self, outputs: np.ndarray) -> np.ndarray:
        return np.exp(outputs) if self.out_activation_ == "exp" else outputs

    def _deactivate(self, values: np.ndarray) -> np.ndarray:
        return np.log(values) if self.out_activation_ == "exp" else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
