"""Layers as functions that do what comes after them, too, plain or with oneDNN's packed weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Self

import torch
from torch.nn import functional

_aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """A function of each value, under PyTorch's name and oneDNN's.

    Parameters
    ----------
    function : callable
        PyTorch's, with its further `arguments`.

    arguments : tuple
        Slope, bounds.

    options : dict
        Arguments that have a name.

    name : str
        oneDNN's name.
    """

    function: Callable[..., torch.Tensor]
    arguments: tuple
    options: dict[str, Any]
    name: str

    @classmethod
    def of(cls, function: Any, arguments: tuple, options: dict[str, Any]) -> Self | None:
        """Return the activation that a function of PyTorch is; None for other functions."""
        name = _ACTIVATIONS.get(function)
        scalar = all(isinstance(value, int | float) for value in arguments)
        return None if name is None or not scalar else cls(function, arguments, options, name)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Return the function of values, which may be overwritten."""
        return self.function(values, *self.arguments, **self.options)

    @property
    def for_onednn(self) -> tuple[str, list, str]:
        """Name, numbers and variant, as oneDNN's operations in torch want them."""
        numbers = list(self.arguments)
        if self.name == "hardtanh" and not numbers:
            numbers = [-1.0, 1.0]
        if self.name == "leaky_relu" and not numbers:
            numbers = [0.01]
        variant = self.options.get("approximate", "none") if self.name == "gelu" else ""
        return self.name, numbers, variant


_ACTIVATIONS = {
    _aten.relu.default: "relu",
    _aten.relu_.default: "relu",
    _aten.silu.default: "swish",
    _aten.silu_.default: "swish",
    _aten.hardtanh.default: "hardtanh",
    _aten.hardtanh_.default: "hardtanh",
    _aten.hardswish.default: "hardswish",
    _aten.hardswish_.default: "hardswish",
    _aten.leaky_relu.default: "leaky_relu",
    _aten.leaky_relu_.default: "leaky_relu",
    _aten.sigmoid.default: "sigmoid",
    _aten.sigmoid_.default: "sigmoid",
    _aten.tanh.default: "tanh",
    _aten.tanh_.default: "tanh",
    _aten.gelu.default: "gelu",
}


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution, and what comes after it: a sum with other maps, an activation.

    Parameters
    ----------
    weight, bias : torch.Tensor
        As in ``torch.nn.functional.conv2d``; `bias` may be None.

    stride, padding, dilation : (int, int)
        As there.

    groups : int
        As there.

    activation : Activation or None, default=None
        What is applied at the end.

    adds : bool, default=False
        Whether it is called with maps that are added before.

    overwrites : bool, default=False
        Whether these maps may be written over.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    activation: Activation | None = None
    adds: bool = False
    overwrites: bool = False

    def __call__(self, maps: torch.Tensor, other: torch.Tensor | None = None) -> torch.Tensor:
        """Return the new maps."""
        maps = functional.conv2d(
            maps, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )
        if other is not None:
            maps = maps.add_(other)
        return maps if self.activation is None else self.activation(maps)

    @property
    def does_more(self) -> bool:
        """Whether something comes after the convolution already."""
        return self.adds or self.activation is not None

    @property
    def is_depthwise(self) -> bool:
        """Whether each map has a kernel of its own."""
        return self.groups == len(self.weight) and self.weight.shape[1] == 1

    def bordered(self, sides: tuple[int, ...]) -> Convolution | None:
        """Return the convolution of maps without a border of zeros that they had before.

        PyTorch's padding is the same on opposite sides. Where one side wants less, the kernel grows
        by zeros on this side. That takes more products, and less time than to copy the maps.

        Parameters
        ----------
        sides : tuple of int
            Zeros on the left, right, top and bottom, as in ``torch.nn.functional.pad``.
        """
        left, right, top, bottom = sides
        more_rows, more_columns = bottom - top, right - left
        if any(self.padding) or min(left, top, more_rows, more_columns) < 0:
            return None
        if (more_rows and self.dilation[0] > 1) or (more_columns and self.dilation[1] > 1):
            return None
        weight = functional.pad(self.weight, (more_columns, 0, more_rows, 0))
        return replace(self, weight=weight, padding=(bottom, right))

    def normalised(
        self,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        mean: torch.Tensor,
        variance: torch.Tensor,
        eps: float,
    ) -> Convolution:
        """Return the convolution that does the batch normalisation after it, too."""
        scale = (variance.double() + eps).rsqrt()
        if weight is not None:
            scale = scale * weight
        shift = -mean * scale if self.bias is None else (self.bias - mean) * scale
        if bias is not None:
            shift = shift + bias
        scaled = self.weight * scale.view(-1, 1, 1, 1)
        dtype = self.weight.dtype
        return Convolution(
            scaled.to(dtype, memory_format=torch.channels_last),
            shift.to(dtype),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )


@dataclass(frozen=True, eq=False)
class Linear:
    """A matrix product, and the activation after it.

    Parameters
    ----------
    weight, bias : torch.Tensor
        As in ``torch.nn.functional.linear``; `bias` may be None.

    activation : Activation or None, default=None
        What is applied at the end.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    activation: Activation | None = None

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the products."""
        rows = functional.linear(rows, self.weight, self.bias)
        return rows if self.activation is None else self.activation(rows)


# Private operations of torch, of which its compiler makes use: they may go, or change.
_OPERATIONS = (
    "_reorder_convolution_weight",
    "_convolution_pointwise",
    "_convolution_pointwise_",
    "_reorder_linear_weight",
    "_linear_pointwise",
)


def prepared(layer: Convolution | Linear, shape: torch.Size) -> Callable[..., torch.Tensor]:
    """Return what computes a layer, its weights laid out for it once.

    Parameters
    ----------
    layer : Convolution or Linear
        The layer.

    shape : torch.Size
        Shape of what comes into it: the best layout depends on it.
    """
    on_onednn = _is_for_onednn(layer.weight)
    if isinstance(layer, Convolution):
        return _packed_convolution(layer, shape) if on_onednn else _channels_last(layer)
    return _packed_linear(layer, shape) if on_onednn else layer


def _is_for_onednn(weight: torch.Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATIONS)
    )


def _channels_last(layer: Convolution) -> Convolution:
    weight = layer.weight.contiguous(memory_format=torch.channels_last)
    return replace(layer, weight=weight)


def _packed_convolution(layer: Convolution, shape: torch.Size) -> Callable[..., torch.Tensor]:
    operations = torch.ops.mkldnn
    padding, stride, dilation = list(layer.padding), list(layer.stride), list(layer.dilation)
    weight = operations._reorder_convolution_weight(
        _channels_last(layer).weight, padding, stride, dilation, layer.groups, list(shape)
    )
    fixed = weight, layer.bias, padding, stride, dilation, layer.groups
    name, numbers, variant = _names_of(layer.activation)
    if not layer.adds:
        return lambda maps: operations._convolution_pointwise(maps, *fixed, name, numbers, variant)
    after = "add", 1.0, None if name == "none" else name, numbers, variant
    if layer.overwrites:
        return lambda maps, other: operations._convolution_pointwise_(other, maps, *fixed, *after)
    pointwise = operations._convolution_pointwise.binary
    return lambda maps, other: pointwise(maps, other, *fixed, *after)


def _packed_linear(layer: Linear, shape: torch.Size) -> Callable[..., torch.Tensor]:
    operations, bias = torch.ops.mkldnn, layer.bias
    weight = operations._reorder_linear_weight(layer.weight.contiguous(), prod(shape[:-1]))
    after = _names_of(layer.activation)
    return lambda rows: operations._linear_pointwise(rows, weight, bias, *after)


def _names_of(activation: Activation | None) -> tuple[str, list, str]:
    return ("none", [], "") if activation is None else activation.for_onednn
