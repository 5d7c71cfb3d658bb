"""The training step of a multi-layer perceptron, differentiated by hand.

A small perceptron's step takes tens of microseconds; recording it for automatic differentiation
takes several times that. On the CPU its layers are therefore run forwards and backwards here, in
NumPy, on the memory that the torch module lives in. The module stays the only definition of the
network: other layers, and other devices, are left to torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import nn

from skcnn.neural._losses import Loss
from skcnn.neural._modules import FlattenImages, SeededDropout

# OpenBLAS, which NumPy brings along, gives a product of so many multiplications to one thread.
_OF_MATRICES, _OF_A_VECTOR = 2**18, 9215


class DenseStep:
    """Loss and gradient of a sequence of dense layers.

    Parameters
    ----------
    network : torch.nn.Sequential
        The layers, for which :func:`is_dense` holds. Their gradients must be allocated.

    loss : Loss
        What is differentiated.

    keep_outputs : bool
        Whether somebody looks at the outputs; else None is returned in their place.
    """

    def __init__(self, network: nn.Sequential, loss: Loss, *, keep_outputs: bool) -> None:
        self._layers = [_LAYERS[type(layer)](layer) for layer in network]
        first = next(i for i, layer in enumerate(self._layers) if isinstance(layer, _Linear))
        # Nobody asks for the gradient of the images.
        self._backward = self._layers[: first - 1 if first else None : -1]
        self._layers[first].is_first = True
        self._loss, self._keep_outputs = loss, keep_outputs

    def __call__(
        self, inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, float]:
        """Set the gradient of the weighted mean loss; return outputs and loss."""
        values = inputs.numpy()
        # Training that diverges is an error with advice soon; torch does not warn before that.
        with np.errstate(over="ignore", invalid="ignore"):
            for layer in self._layers:
                values = layer.forward(values)
            outputs = torch.from_numpy(values.copy()) if self._keep_outputs else None
            loss, delta = self._loss.mean_by_hand(
                values, targets.numpy(), None if weights is None else weights.numpy()
            )
            for layer in self._backward:
                delta = layer.backward(delta)
        return outputs, loss


def is_dense(network: nn.Module) -> bool:
    """Tell whether :class:`DenseStep` knows all layers of a network, and the CPU has them."""
    return (
        isinstance(network, nn.Sequential)
        and all(type(layer) in _LAYERS for layer in network)
        and any(isinstance(layer, nn.Linear) for layer in network)
        and all(p.device.type == "cpu" and p.requires_grad for p in network.parameters())
    )


class _Flatten:
    def __init__(self, layer: FlattenImages) -> None:
        pass

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        # Channels last in memory: a view.
        return inputs.transpose(0, 2, 3, 1).reshape(len(inputs), -1)

    def backward(self, delta: np.ndarray) -> np.ndarray:
        return delta


class _Linear:
    is_first = False

    def __init__(self, layer: nn.Linear) -> None:
        self._weight, self._weight_gradient = _memory(layer.weight)
        self._has_bias = layer.bias is not None
        if self._has_bias:
            self._bias, self._bias_gradient = _memory(layer.bias)

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        self._inputs = inputs
        outputs = _product(inputs, self._weight.T)
        if self._has_bias:
            outputs += self._bias
        return outputs

    def backward(self, delta: np.ndarray) -> np.ndarray:
        _product(delta.T, self._inputs, out=self._weight_gradient)
        if self._has_bias:
            np.einsum("ij->j", delta, out=self._bias_gradient)  # faster than sum(axis=0)
        return delta if self.is_first else _product(delta, self._weight)


class _BatchNorm:
    def __init__(self, layer: nn.BatchNorm1d) -> None:
        self._momentum, self._epsilon = layer.momentum or 0.0, layer.eps
        self._scale, self._scale_gradient = _memory(layer.weight)
        self._shift, self._shift_gradient = _memory(layer.bias)
        buffers = dict(layer.named_buffers())
        self._mean = buffers["running_mean"].numpy()
        self._variance = buffers["running_var"].numpy()
        self._n_batches = buffers["num_batches_tracked"].numpy()

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        n, momentum = len(inputs), self._momentum
        mean = inputs.mean(axis=0)
        inputs = inputs - mean
        variance = np.einsum("ij,ij->j", inputs, inputs) / n
        self._mean += momentum * (mean - self._mean)
        self._variance += momentum * (variance * (n / (n - 1)) - self._variance)
        self._n_batches += 1
        self._inverse = 1 / np.sqrt(variance + inputs.dtype.type(self._epsilon))
        inputs *= self._inverse
        self._normalised = inputs
        return inputs * self._scale + self._shift

    def backward(self, delta: np.ndarray) -> np.ndarray:
        np.einsum("ij,ij->j", delta, self._normalised, out=self._scale_gradient)
        np.add.reduce(delta, axis=0, out=self._shift_gradient)
        n = len(delta)
        delta = delta - self._shift_gradient / n
        delta -= self._normalised * (self._scale_gradient / n)
        delta *= self._scale * self._inverse
        return delta


class _Dropout:
    def __init__(self, layer: SeededDropout) -> None:
        self._layer = layer

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        self._mask = self._layer.draw(len(inputs), torch.from_numpy(inputs)).numpy()
        return inputs * self._mask

    def backward(self, delta: np.ndarray) -> np.ndarray:
        delta *= self._mask
        return delta


class _Activation:
    """Activations are applied in place: their derivatives need their outputs only."""

    def __init__(self, layer: nn.Module) -> None:
        pass

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        self._outputs = self._apply(inputs)
        return self._outputs

    def _apply(self, inputs: np.ndarray) -> np.ndarray:
        return inputs

    def backward(self, delta: np.ndarray) -> np.ndarray:
        return delta


class _ReLU(_Activation):
    def _apply(self, inputs: np.ndarray) -> np.ndarray:
        return np.maximum(inputs, 0, out=inputs)

    def backward(self, delta: np.ndarray) -> np.ndarray:
        delta *= self._outputs > 0
        return delta


class _Tanh(_Activation):
    def _apply(self, inputs: np.ndarray) -> np.ndarray:
        return np.tanh(inputs, out=inputs)

    def backward(self, delta: np.ndarray) -> np.ndarray:
        delta *= 1 - self._outputs**2
        return delta


class _Logistic(_Activation):
    def _apply(self, inputs: np.ndarray) -> np.ndarray:
        return expit(inputs, out=inputs)

    def backward(self, delta: np.ndarray) -> np.ndarray:
        delta *= self._outputs * (1 - self._outputs)
        return delta


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the matrix product, as NumPy and torch do it without waiting for each other.

    Each has threads of its own, which for a while go on asking for work. A step that needs both,
    NumPy's for a large product and torch's for the optimiser, takes up to forty times as long as
    on one thread. So what NumPy would share among threads is left to torch.
    """
    most = _OF_A_VECTOR if 1 in (*a.shape, b.shape[1]) else _OF_MATRICES
    if a.size * b.shape[1] <= most:
        return np.dot(a, b, out=out)
    factors = torch.from_numpy(a), torch.from_numpy(b)
    if out is None:
        return torch.mm(*factors).numpy()
    torch.mm(*factors, out=torch.from_numpy(out))
    return out


def _memory(parameter: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    assert parameter.grad is not None  # FlatParameters has allocated it
    return parameter.detach().numpy(), parameter.grad.numpy()


_LAYERS: dict[type[nn.Module], Any] = {
    FlattenImages: _Flatten,
    nn.Linear: _Linear,
    nn.BatchNorm1d: _BatchNorm,
    SeededDropout: _Dropout,
    nn.Identity: _Activation,
    nn.ReLU: _ReLU,
    nn.Tanh: _Tanh,
    nn.Sigmoid: _Logistic,
}
