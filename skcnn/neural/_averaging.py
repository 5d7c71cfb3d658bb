"""The exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from skcnn.neural._flat import FlatParameters, is_finite


class WeightAverage:
    """Follow the weights of a network, and take their place when predictions are asked for.

    The moving statistics of batch normalisation are averaged likewise. Early steps are forgotten
    faster, so that the first weights, drawn at random, do not linger.

    Parameters
    ----------
    module : torch.nn.Module
        The network.

    flat : FlatParameters
        Its parameters.

    decay : float
        Share of the average that a step keeps, once many steps are done.

    References
    ----------
    .. [1] B. T. Polyak and A. B. Juditsky, "Acceleration of stochastic approximation by
       averaging", SIAM Journal on Control and Optimization 30, 1992. :doi:`10.1137/0330046`
    """

    def __init__(self, module: nn.Module, flat: FlatParameters, decay: float) -> None:
        self._decay, self.n_steps, self.in_place = decay, 0, False
        buffers = [
            buffer
            for buffer in module.buffers()
            if buffer.is_floating_point() and is_finite(buffer)
        ]
        self._current = [flat.values, *buffers]
        self.averages = [value.clone() for value in self._current]

    @torch.no_grad()
    def follow(self) -> None:
        """Take one step's weights into the average."""
        self.n_steps += 1
        share = 1 - min(self._decay, self.n_steps / (self.n_steps + 10))
        for average, value in zip(self.averages, self._current, strict=True):
            average.lerp_(value, share)

    @torch.no_grad()
    def go_on(self, weights: Sequence[torch.Tensor], n_steps: int) -> None:
        """Go on after a training that ended with `weights`, and whose average the network has."""
        for value, earlier in zip(self.averages, weights, strict=True):
            value.copy_(earlier)
        self.n_steps, self.in_place = n_steps, True

    def swap_in(self) -> None:
        """Let the network have the averaged weights, and keep those of training."""
        if not self.in_place:
            self._swap()

    def swap_out(self) -> None:
        """Let the network have the weights of training again."""
        if self.in_place:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for average, value in zip(self.averages, self._current, strict=True):
            kept = value.clone()
            value.copy_(average)
            average.copy_(kept)
        self.in_place = not self.in_place
