"""Batch normalisation of a batch that several threads have shares of."""

from __future__ import annotations

from threading import Barrier
from typing import Any

import numpy as np
import torch
from torch import nn

from skcnn.neural._maps import as_images, empty_maps


class Exchange:
    """Where threads tell each other what they have found out, and wait until all have.

    Parameters
    ----------
    size : int
        Number of threads.
    """

    def __init__(self, size: int) -> None:
        self._barrier, self._turns = Barrier(size), [0] * size
        # Two sets of places: nobody is two exchanges ahead of somebody who has not read yet.
        self._places: list[list[Any]] = [[None] * size, [None] * size]

    def of_all(self, number: int, said: Any) -> list[Any]:
        """Say something as thread `number`; return what all have said, in their order."""
        places = self._places[self._turns[number]]
        self._turns[number] ^= 1
        places[number] = said
        self._barrier.wait()
        return list(places)

    def abandon(self) -> None:
        """Let everybody who waits, or will, fail with BrokenBarrierError."""
        self._barrier.abort()


class SharedNorm(nn.Module):
    """A layer of batch normalisation, of its share of the batch by the statistics of all shares.

    Parameters
    ----------
    norm : torch.nn.BatchNorm1d or torch.nn.BatchNorm2d
        The layer, in training mode. Thread 0 takes the statistics into its moving ones.

    exchange : Exchange
        Of the threads.

    number : int
        Number of this thread.
    """

    def __init__(self, norm: nn.Module, exchange: Exchange, number: int) -> None:
        super().__init__()
        self.norm: Any = norm
        self._exchange, self._number = exchange, number

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the share normalised."""
        return _SharedNormalisation.apply(inputs, self.norm.weight, self.norm.bias, self)

    def of_all(self, said: Any) -> list[Any]:
        """Return what the threads have said."""
        return self._exchange.of_all(self._number, said)

    @torch.no_grad()
    def follow(self, mean: torch.Tensor, variance: torch.Tensor, n_values: int) -> None:
        """Take a batch's statistics into the moving ones, if this is the thread that does it."""
        if self._number != 0:
            return
        norm = self.norm
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (n_values / (n_values - 1)), norm.momentum)


class _SharedNormalisation(torch.autograd.Function):
    """Batch normalisation whose sums are those of all threads."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, layer: SharedNorm
    ) -> torch.Tensor:
        from skcnn.neural._norm_kernel import moments  # imports numba

        found = inputs[:, 0].numel(), moments(_rows(inputs))
        n_values, *numbers = _together(layer.of_all(found))
        mean, variance = (torch.from_numpy(value).to(inputs.dtype) for value in numbers)
        layer.follow(mean, variance, n_values)
        ctx.save_for_backward(inputs, weight, mean, (variance + layer.norm.eps).rsqrt())
        ctx.layer, ctx.n_values = layer, n_values
        return torch.batch_norm(
            inputs, weight, bias, mean, variance, False, 0.0, layer.norm.eps, False
        )  # fmt: skip

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        from skcnn.neural._norm_kernel import gradient_sums, spread_gradient  # imports numba

        inputs, weight, mean, inverse = ctx.saved_tensors
        rows, gradients = _rows(inputs), _rows(gradient)
        sums = gradient_sums(rows, gradients, mean.numpy(), inverse.numpy())
        of_weight, of_bias = np.sum(ctx.layer.of_all(sums), axis=0) / ctx.n_values
        spread = empty_maps(inputs.shape, inputs) if inputs.ndim == 4 else torch.empty_like(inputs)
        factor = (weight * inverse).detach().numpy()
        slope = -of_weight * inverse.numpy()
        offset = -of_bias - slope * mean.numpy()
        dtype = factor.dtype
        spread_gradient(
            rows, gradients, factor, (factor * slope).astype(dtype),
            (factor * offset).astype(dtype), _rows(spread),
        )  # fmt: skip
        own = torch.from_numpy(sums).to(inputs.dtype)
        return spread, own[0], own[1], None


def _rows(values: torch.Tensor) -> np.ndarray:
    """Return (n, c) or (n, c, h, w) as rows of c numbers, a view if they lie so."""
    if values.ndim == 2:
        return values.detach().contiguous().numpy()
    images = as_images(values)
    return images.reshape(-1, images.shape[3])


def _together(found: list[tuple[int, np.ndarray]]) -> tuple[int, np.ndarray, np.ndarray]:
    """Return number, mean and variance of all values, by Chan, Golub and LeVeque's formula."""
    n_values = sum(n for n, _ in found)
    mean = sum(n * moments[0] for n, moments in found) / n_values
    squares = sum(moments[1] + n * (moments[0] - mean) ** 2 for n, moments in found)
    return n_values, mean, squares / n_values
