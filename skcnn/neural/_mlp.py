"""The layers of multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from skcnn._parameters import layer_sizes
from skcnn.neural._modules import FlattenImages, dense_layers, named_sequence


class Perceptron:
    """Fully connected layers on all values of an image."""

    _parameter_constraints: dict = {}
    _follows_dtype = True
    _warns_of_last_epoch = True

    hidden_layer_sizes: int | Sequence[int]
    activation: str
    batch_norm: bool
    input_dropout: float
    dropout: float
    weights_: dict[str, np.ndarray]

    def _layers(self, image_shape: tuple[int, int, int], n_outputs: int, seed: int) -> nn.Module:
        height, width, channels = image_shape
        dense = dense_layers(
            height * width * channels,
            layer_sizes("hidden_layer_sizes", self.hidden_layer_sizes),
            n_outputs,
            activation=self.activation,
            batch_norm=self.batch_norm,
            input_dropout=self.input_dropout,
            dropout=self.dropout,
        )
        return named_sequence([("flatten", FlattenImages()), *dense])

    def _auto_batch_size(self, n_images: int) -> int:
        return 200

    def _dense_names(self) -> list[str]:
        names = (name.removesuffix(".weight") for name in self.weights_)
        return [
            name for name in names if self.weights_.get(f"{name}.weight", np.empty(0)).ndim == 2
        ]

    @property
    def coefs_(self) -> tuple[np.ndarray, ...]:
        """Weights (n_in, n_out) of each layer, as in scikit-learn, but not to be replaced."""
        return tuple(self.weights_[f"{name}.weight"].T for name in self._dense_names())

    @property
    def intercepts_(self) -> tuple[np.ndarray, ...]:
        """Biases of each layer; zero for those that batch normalisation follows."""
        return tuple(
            self.weights_.get(f"{name}.bias", np.zeros_like(self.weights_[f"{name}.weight"][:, 0]))
            for name in self._dense_names()
        )

    @property
    def n_layers_(self) -> int:
        """Number of layers, that of the inputs included, as in scikit-learn."""
        return len(self._dense_names()) + 1
