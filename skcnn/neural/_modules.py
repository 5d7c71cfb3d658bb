"""Torch modules of the networks, built from plain numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import nn

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")


class FlattenImages(nn.Module):
    """Make rows of images in the order (height, width, channels), that of NumPy's batches.

    Memory is channels last, so nothing is copied.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (n, height * width * channels) of (n, channels, height, width)."""
        return inputs.permute(0, 2, 3, 1).flatten(1)


class SeededDropout(nn.Module):
    """Dropout that draws from a generator of its own and leaves torch's global one alone."""

    generator: torch.Generator | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Zero each unit with probability `p` in training; do nothing in prediction."""
        if not self.training:
            return inputs
        keep = torch.empty_like(inputs).bernoulli_(1 - self.p, generator=self.generator)
        return inputs * keep.div_(1 - self.p)


def activation_layer(name: str) -> nn.Module:
    """Return the activation that scikit-learn calls `name`."""
    if name == "relu":
        return nn.ReLU(inplace=True)
    return {"identity": nn.Identity, "logistic": nn.Sigmoid, "tanh": nn.Tanh}[name]()


def named_sequence(layers: list[tuple[str, nn.Module]]) -> nn.Sequential:
    """Return the layers as one network, under their names."""
    return nn.Sequential(OrderedDict(layers))


def dense_layers(
    n_inputs: int,
    hidden_layer_sizes: Sequence[int],
    n_outputs: int,
    *,
    activation: str,
    batch_norm: bool,
    dropout: float,
) -> list[tuple[str, nn.Module]]:
    """Return named layers: hidden ones, then the output layer, which gives logits."""
    layers: list[tuple[str, nn.Module]] = []
    for number, width in enumerate(hidden_layer_sizes, start=1):
        # Normalisation takes the mean away, so a bias before it would do nothing.
        layers.append((f"dense{number}", nn.Linear(n_inputs, width, bias=not batch_norm)))
        if batch_norm:
            layers.append((f"dense{number}_norm", nn.BatchNorm1d(width)))
        layers.append((f"dense{number}_{activation}", activation_layer(activation)))
        if dropout:
            layers.append((f"dense{number}_dropout", SeededDropout(dropout)))
        n_inputs = width
    if dropout and not hidden_layer_sizes:
        layers.append(("dropout", SeededDropout(dropout)))
    layers.append(("output", nn.Linear(n_inputs, n_outputs)))
    return layers


def conv_layers(
    image_shape: tuple[int, int, int],
    conv_channels: Sequence[int],
    *,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: str | tuple[int, int],
    pool: str | None,
    pool_size: tuple[int, int],
    activation: str,
    batch_norm: bool,
) -> tuple[list[tuple[str, nn.Module]], tuple[int, int, int]]:
    """Return named convolution blocks and the shape (channels, height, width) of their output.

    An axis that is shorter than the pooling window is pooled as a whole, so small images keep
    working; a kernel that does not fit raises ValueError with the sizes after each layer.
    """
    height, width, channels = image_shape
    layers: list[tuple[str, nn.Module]] = []
    seen = [f"input {channels} x {height} x {width}"]
    for number, out_channels in enumerate(conv_channels, start=1):
        margins = [
            _margins(size, kernel, step, padding if isinstance(padding, str) else padding[axis])
            for axis, (size, kernel, step) in enumerate(
                zip((height, width), kernel_size, stride, strict=True)
            )
        ]
        padded = [size + sum(margin) for size, margin in zip((height, width), margins, strict=True)]
        if padded[0] < kernel_size[0] or padded[1] < kernel_size[1]:
            raise ValueError(
                f"the network is too deep for its images: a kernel of {kernel_size[0]} x "
                f"{kernel_size[1]} does not fit into convolution {number}. Sizes after each layer: "
                f"{' -> '.join(seen)}. Take padding='same', fewer conv_channels, a smaller "
                "kernel_size, stride or pool_size, or larger images."
            )
        layers += _convolution(
            number, channels, out_channels, kernel_size, stride, margins, batch_norm
        )
        channels = out_channels
        height, width = (
            (size - kernel) // step + 1
            for size, kernel, step in zip(padded, kernel_size, stride, strict=True)
        )
        seen.append(f"convolution {number} {channels} x {height} x {width}")
        window = min(pool_size[0], height), min(pool_size[1], width)
        pooling = [] if pool is None else [(f"pool{number}", _POOLS[pool](window))]
        activating = [(f"conv{number}_{activation}", activation_layer(activation))]
        # The activations grow monotonically, so the maximum may be taken first: same function and
        # gradients, and a quarter of the work for the activation.
        layers += pooling + activating if pool == "max" else activating + pooling
        if pool is not None:
            height, width = height // window[0], width // window[1]
            seen.append(f"pooling {number} {channels} x {height} x {width}")
    return layers, (channels, height, width)


_POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def _margins(size: int, kernel: int, step: int, padding: str | int) -> tuple[int, int]:
    """Return how many zeros go before and after an axis."""
    if not isinstance(padding, str):
        return padding, padding
    if padding == "valid":
        return 0, 0
    needed = max(0, (-(-size // step) - 1) * step + kernel - size)
    return needed // 2, needed - needed // 2


def _convolution(
    number: int,
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    margins: list[tuple[int, int]],
    batch_norm: bool,
) -> list[tuple[str, nn.Module]]:
    layers: list[tuple[str, nn.Module]] = []
    (top, bottom), (left, right) = margins
    even = top == bottom and left == right
    if not even:
        layers.append((f"pad{number}", nn.ZeroPad2d((left, right, top, bottom))))
    convolution = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding=(top, left) if even else 0,
        bias=not batch_norm,
    )
    layers.append((f"conv{number}", convolution))
    if batch_norm:
        layers.append((f"conv{number}_norm", nn.BatchNorm2d(out_channels)))
    return layers


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights from `generator`, uniformly and of Glorot's variance; zero the biases.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
       neural networks", AISTATS 2010.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.reset_parameters()


def to_arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """Return weights and moving statistics as NumPy arrays by name."""
    state = network.state_dict()
    return {name: np.array(value.cpu().numpy(), order="C") for name, value in state.items()}


def load_arrays(network: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Put the arrays of :func:`to_arrays` into a network of the same layers."""
    network.load_state_dict({name: torch.tensor(value) for name, value in arrays.items()})


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights that training changes."""
    return sum(prod(weight.shape) for weight in network.parameters())
