"""Layers as plain functions: what a fitted network computes, without what only training needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from skcnn.neural._convolution import CONVOLUTIONS
from skcnn.neural._grey_block import GreyBlock, Layers, joined
from skcnn.neural._kinds import is_altered
from skcnn.neural._modules import FlattenImages
from skcnn.neural._pooling import TileMaxima

_Function = Callable[[torch.Tensor], torch.Tensor]


def as_function(network: nn.Module) -> _Function:
    """Return what computes the outputs of a network in prediction mode.

    The layers of a sequence are called directly: for one image a module's own bookkeeping takes as
    long as its arithmetic. Other modules are called as they are.
    """
    if type(network) is not nn.Sequential or any(map(is_altered, network.modules())):
        return network
    layers = [layer for layer in network if not isinstance(layer, nn.Identity)]
    return _in_order([_block(some) for some in joined(layers)])


def _in_order(steps: list[_Function]) -> _Function:
    def compute(values: torch.Tensor) -> torch.Tensor:
        for step in steps:
            values = step(values)
        return values

    return compute


def _block(layers: Layers) -> _Function:
    steps = [_layer(layer) for layer in layers]
    return steps[0] if len(steps) == 1 else GreyBlock(layers, _in_order(steps))


def _layer(layer: nn.Module) -> _Function:
    if type(layer) is nn.Linear:
        return partial(functional.linear, weight=layer.weight, bias=layer.bias)
    if type(layer) is nn.Conv2d and layer.padding_mode == "zeros":
        convolve = partial(
            torch.conv2d,
            weight=layer.weight,
            bias=layer.bias,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
        )
        return partial(_convolve_grey, convolve) if layer.in_channels == 1 else convolve
    if type(layer) is nn.ReLU:
        return torch.relu_ if layer.inplace else torch.relu
    if type(layer) in (*CONVOLUTIONS, TileMaxima, FlattenImages):
        return layer.forward
    return layer


def _convolve_grey(convolve: _Function, maps: torch.Tensor) -> torch.Tensor:
    """Return the convolution of maps of one channel, whose layout one may choose."""
    if maps.ndim < 4 or len(maps) > 1 or not maps.stride(1) == maps.stride(3) == 1:
        return convolve(maps)
    # torch is twice as fast with a single image in its own layout, which is that of a new axis.
    plain = maps[:, 0].unsqueeze(1)
    return convolve(plain).contiguous(memory_format=torch.channels_last)
