"""Torch modules of the networks, built from plain numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import TypeGuard

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from skcnn.neural._convolution import CONVOLUTIONS
from skcnn.neural._parts import mask_for

_ACTIVATION_LAYERS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": partial(nn.ReLU, inplace=True),
    "leaky_relu": partial(nn.LeakyReLU, inplace=True),
    "elu": partial(nn.ELU, inplace=True),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
ACTIVATIONS = tuple(_ACTIVATION_LAYERS)
# These fall before they grow, so that a maximum may not be taken before them.
NOT_MONOTONIC = ("silu", "gelu")


class FlattenImages(nn.Module):
    """Make rows of images in the order (height, width, channels), that of NumPy's batches.

    Memory is channels last, so nothing is copied.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (n, height * width * channels) of (n, channels, height, width)."""
        return inputs.permute(0, 2, 3, 1).flatten(1)


class GlobalAverage(nn.Module):
    """The mean of every map."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (n, channels) of (n, channels, height, width)."""
        return inputs.mean(dim=(2, 3))


class SeededDropout(nn.Module):
    """Dropout that draws from a generator of its own and leaves torch's global one alone.

    Parameters
    ----------
    p : float
        Probability with which a unit is dropped.

    spatial : bool, default=False
        Drop whole maps of (n, channels, ...), whose neighbouring pixels say the same.

    Attributes
    ----------
    generator : torch.Generator
        Where training draws from; to be set.

    thinned : torch.Generator or None
        If set, predictions are those of one network with units dropped, the same for every image:
        averaging over several is the classic alternative to scaling.
    """

    def __init__(self, p: float, *, spatial: bool = False) -> None:
        super().__init__()
        self.p, self.spatial = p, spatial
        self.generator: torch.Generator | None = None
        self.thinned: torch.Generator | None = None
        self._mask: torch.Tensor | None = None

    def thin(self, generator: torch.Generator | None) -> None:
        """Predict with a mask drawn from `generator`, or again without one."""
        self.thinned, self._mask = generator, None

    def draw(
        self, n_images: int, like: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Return a mask for images like some: 0 for what is dropped, else 1 / (1 - p)."""
        for axis in range(2, like.ndim) if self.spatial else ():
            like = like.narrow(axis, 0, 1)
        generator = self.generator if generator is None else generator
        one, strides = like.shape[1:], torch.empty_like(like).stride()[1:]
        mask = like.new_empty_strided((n_images, *one), (prod(one), *strides))
        mask.bernoulli_(1 - self.p, generator=generator)
        return mask.div_(1 - self.p) if self.p < 1 else mask

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Zero each unit with probability `p` in training; do nothing in prediction."""
        if self.training:
            return inputs * mask_for(len(inputs), partial(self.draw, like=inputs))
        if self.thinned is None:
            return inputs
        if self._mask is None:
            self._mask = self.draw(1, inputs, self.thinned)
        return inputs * self._mask


def activation_layer(name: str) -> nn.Module:
    """Return the activation that scikit-learn calls `name`."""
    return _ACTIVATION_LAYERS[name]()


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
    input_dropout: float,
    dropout: float,
) -> list[tuple[str, nn.Module]]:
    """Return named layers: hidden ones, then the output layer, which gives logits."""
    layers: list[tuple[str, nn.Module]] = []
    if input_dropout:
        layers.append(("input_dropout", SeededDropout(input_dropout)))
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
    """Return weights and moving statistics as NumPy arrays by name.

    They may not be written to: a network that has been rebuilt from them would not notice.
    """
    state = network.state_dict()
    arrays = {name: np.array(value.cpu().numpy(), order="C") for name, value in state.items()}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def load_arrays(network: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    """Put the arrays of :func:`to_arrays` into a network of the same layers."""
    state = {name: torch.tensor(value, device="cpu") for name, value in arrays.items()}
    network.load_state_dict(state)


def fold_batch_norm(network: nn.Module) -> None:
    """Merge normalisation into the layer before it, for prediction; in place, in sequences."""
    for child in network.children():
        fold_batch_norm(child)
    if not _runs_in_order(network):
        return
    names = list(network._modules)
    for before, name in pairwise(names):
        layer, norm = network._modules[before], network._modules[name]
        if getattr(norm, "running_mean", None) is None:
            continue  # no normalisation, or one by the statistics of each batch
        if type(norm) is nn.BatchNorm2d and _is_convolution(layer):
            network._modules[before] = fuse_conv_bn_eval(layer, norm)
        elif type(layer) is nn.Linear and type(norm) is nn.BatchNorm1d:
            network._modules[before] = fuse_linear_bn_eval(layer, norm)
        else:
            continue
        network._modules[name] = nn.Identity()


def _is_convolution(layer: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    # Other classes may compute something else.
    return type(layer) in CONVOLUTIONS


def _runs_in_order(network: nn.Module) -> bool:
    """Tell whether the output of each layer goes into the next one, and nowhere else."""
    plain = isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward
    return plain or getattr(network, "runs_in_order", False)


def lay_out(network: nn.Module) -> None:
    """Lay the kernels of convolutions out channels last, which is faster, in place."""
    if _plainly in network._forward_pre_hooks.values():
        return
    for value in (*network.parameters(), *network.buffers()):
        if value.ndim == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)


def make_plain(network: nn.Module) -> None:
    """Keep a network and the images that it gets in torch's own layout."""
    network.register_forward_pre_hook(_plainly)


def _plainly(network: nn.Module, images: tuple[torch.Tensor]) -> torch.Tensor:
    # With one channel, memory that is laid out channels last counts as contiguous too: a copy.
    return images[0].clone(memory_format=torch.contiguous_format)


def normalises_batches(network: nn.Module) -> bool:
    """Tell whether there is batch normalisation in a network."""
    kinds = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
    return any(isinstance(layer, kinds) for layer in network.modules())


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights that training changes."""
    return sum(prod(weight.shape) for weight in network.parameters() if weight.requires_grad)
