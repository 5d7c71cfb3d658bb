"""Layers as plain functions: what a fitted network computes, without what only training needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import nn
from torch.nn import functional

_Function = Callable[[torch.Tensor], torch.Tensor]


def as_function(network: nn.Module) -> _Function:
    """Return what computes the outputs of a network in prediction mode.

    The layers of a sequence are called directly: for one image a module's own bookkeeping takes as
    long as its arithmetic. Other modules are called as they are.
    """
    if type(network) is not nn.Sequential or any(map(_has_hooks, network.modules())):
        return network
    steps = [_layer(layer) for layer in network if not isinstance(layer, nn.Identity)]

    def compute(values: torch.Tensor) -> torch.Tensor:
        for step in steps:
            values = step(values)
        return values

    return compute


def _layer(layer: nn.Module) -> _Function:
    if type(layer) is nn.Linear:
        return partial(functional.linear, weight=layer.weight, bias=layer.bias)
    if type(layer) is nn.Conv2d and layer.padding_mode == "zeros":
        return partial(
            torch.conv2d,
            weight=layer.weight,
            bias=layer.bias,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
        )
    if type(layer) is nn.ReLU:
        return torch.relu_ if layer.inplace else torch.relu
    if type(layer) is nn.MaxPool2d and _is_tiling(layer):
        height, width = _pair(layer.kernel_size)
        return partial(tile_maxima, height=height, width=width)
    return layer


def tile_maxima(values: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the maximum of each tile of the maps (n, c, h, w); what is left over is dropped.

    Maxima of whole rows and columns of tiles are several times faster than torch's pooling, which
    notes for the gradient where each maximum was.
    """
    rows = values.shape[2] // height * height
    columns = values.shape[3] // width * width
    values = reduce(torch.maximum, [values[:, :, top:rows:height] for top in range(height)])
    return reduce(torch.maximum, [values[..., left:columns:width] for left in range(width)])


def _is_tiling(pool: nn.MaxPool2d) -> bool:
    """Tell whether windows neither overlap nor leave gaps or borders, and are small."""
    window = _pair(pool.kernel_size)
    return (
        _pair(pool.stride) == window
        and _pair(pool.padding) == (0, 0)
        and _pair(pool.dilation) == (1, 1)
        and not pool.ceil_mode
        and max(window) <= 4
    )


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
