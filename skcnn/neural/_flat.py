"""All parameters of a network in one piece of memory, and their gradients in another."""

from __future__ import annotations

import torch
from torch import nn


class FlatParameters:
    """Make the trained parameters of `module` views of one tensor, and their gradients of another.

    Whatever treats all parameters alike (an optimiser's step, clipping, averaging, a look for NaN)
    is then one operation, however many layers there are. Weights come first, so that the penalty
    can be laid on a slice; biases and the scales of normalisation are not penalised.

    Parameters
    ----------
    module : torch.nn.Module
        The network. Its parameters keep their shapes, strides and values.

    Attributes
    ----------
    values, gradient : torch.Tensor of shape (n_parameters,)
        The memory that the parameters and their ``grad`` live in.

    penalised : int
        So many of the first values are weights.
    """

    def __init__(self, module: nn.Module) -> None:
        trained = [p for p in module.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("module has no parameter that could be trained.")
        types = {(p.dtype, p.device) for p in trained}
        if len(types) > 1:
            raise ValueError(f"the parameters of module are of different types: {types}.")
        weights = [p for p in trained if p.ndim > 1]
        self.penalised = sum(p.numel() for p in weights)
        self.values = torch.empty(
            sum(p.numel() for p in trained), dtype=trained[0].dtype, device=trained[0].device
        )
        self.gradient = torch.zeros_like(self.values)
        start = 0
        for parameter in [*weights, *(p for p in trained if p.ndim <= 1)]:
            _move(parameter, self.values, self.gradient, start)
            start += parameter.numel()


def is_finite(values: torch.Tensor) -> bool:
    """Tell whether no value is NaN or infinite; shapes without memory have none."""
    return values.is_meta or bool(torch.isfinite(values).all())


def _move(
    parameter: nn.Parameter, values: torch.Tensor, gradient: torch.Tensor, start: int
) -> None:
    dense = parameter.data
    if not (dense.is_contiguous() or dense.is_contiguous(memory_format=torch.channels_last)):
        dense = dense.contiguous()
    shape, strides = dense.shape, dense.stride()
    home = values.as_strided(shape, strides, start)
    home.copy_(dense)
    parameter.data = home
    parameter.grad = gradient.as_strided(shape, strides, start)
