"""All parameters of a network in one piece of memory, and their gradients in another."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class FlatParameters:
    """Make the trained parameters of `module` views of one tensor, and their gradients of another.

    Whatever treats all parameters alike (an optimiser's step, clipping, averaging, a look for NaN)
    is then one operation, however many layers there are. Weights come first, so that the penalty
    can be laid on a slice; biases and the scales of normalisation are not penalised. Parameters
    that learn at another rate lie in the middle, so that they are a slice, too.

    Parameters
    ----------
    module : torch.nn.Module
        The network. Its parameters keep their shapes, strides and values.

    slow : iterable of torch.nn.Parameter, default=()
        Those of its parameters that learn at another rate.

    Attributes
    ----------
    values, gradient : torch.Tensor of shape (n_parameters,)
        The memory that the parameters and their ``grad`` live in.

    penalised : int
        So many of the first values are weights.

    slow : slice
        Where the values lie that learn at another rate.
    """

    def __init__(self, module: nn.Module, slow: Iterable[nn.Parameter] = ()) -> None:
        trained = [p for p in module.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("module has no parameter that could be trained.")
        types = {(p.dtype, p.device) for p in trained}
        if len(types) > 1:
            raise ValueError(f"the parameters of module are of different types: {types}.")
        apart = set(map(id, slow))
        # Weights and others meet in the middle, where those of the slow parameters are.
        weights = sorted((p for p in trained if p.ndim > 1), key=lambda p: id(p) in apart)
        others = sorted((p for p in trained if p.ndim <= 1), key=lambda p: id(p) not in apart)
        self.penalised = _size(weights)
        n_slow_weights = _size(p for p in weights if id(p) in apart)
        n_slow_others = _size(p for p in others if id(p) in apart)
        self.slow = slice(self.penalised - n_slow_weights, self.penalised + n_slow_others)
        self.values = torch.empty(_size(trained), dtype=trained[0].dtype, device=trained[0].device)
        self.gradient = torch.zeros_like(self.values)
        start = 0
        for parameter in [*weights, *others]:
            _move(parameter, self.values, self.gradient, start)
            start += parameter.numel()


def is_finite(values: torch.Tensor) -> bool:
    """Tell whether no value is NaN or infinite; shapes without memory have none."""
    return values.is_meta or bool(torch.isfinite(values).all())


def _size(parameters: Iterable[nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters)


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
