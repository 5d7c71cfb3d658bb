"""Optimisers of one flat tensor, each step a handful of operations.

They are torch optimisers to those who look (learning rate schedulers, skorch's callbacks), without
the bookkeeping that makes torch's own take longer than the arithmetic of a small network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from skcnn.neural._flat import FlatParameters


class FlatOptimizer(torch.optim.Optimizer, ABC):
    """The common part: one parameter group with one tensor, and the penalty of its weights.

    ``param_groups[0]["weight_decay"]`` is the factor of the weights in the gradient, or for
    :class:`FlatAdamW` what a step takes off them.
    """

    def __init__(self, flat: FlatParameters, **options: Any) -> None:
        self.flat = flat
        super().__init__([flat.values], options)
        self.state[flat.values] = self._initial_state(flat.values)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the one group; torch's own method would import its compiler, for seconds."""
        param_group["params"] = list(param_group["params"])
        self.param_groups.append({**self.defaults, **param_group})

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set the gradient to zero; it is never None, because the parameters' are views of it."""
        self.flat.gradient.zero_()

    @abstractmethod
    def _initial_state(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the optimiser remembers of earlier steps, before the first."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Change the parameters by their gradient."""
        group = self.param_groups[0]
        values, gradient, first = self.flat.values, self.flat.gradient, self.flat.penalised
        if group["weight_decay"]:
            gradient[:first].add_(values[:first], alpha=group["weight_decay"])
        self._update(values, gradient, group, self.state[values])

    step.hooked = True  # type: ignore[attr-defined]  # torch shall not wrap it in a profiler

    @abstractmethod
    def _update(
        self, values: torch.Tensor, gradient: torch.Tensor, group: dict, state: dict
    ) -> None:
        """Take a step; the gradient may be written to."""


class FlatSGD(FlatOptimizer):
    """Stochastic gradient descent with (Nesterov's) momentum."""

    def _initial_state(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"momentum_buffer": torch.zeros_like(values)}

    def _update(
        self, values: torch.Tensor, gradient: torch.Tensor, group: dict, state: dict
    ) -> None:
        if group["momentum"]:
            velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
            if group["nesterov"]:
                gradient.add_(velocity, alpha=group["momentum"])
            else:
                gradient = velocity
        values.add_(gradient, alpha=-group["lr"])


class FlatAdam(FlatOptimizer):
    """Adam.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    def _initial_state(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            "step": torch.zeros((), dtype=torch.float32, device=values.device),
            "exp_avg": torch.zeros_like(values),
            "exp_avg_sq": torch.zeros_like(values),
        }

    def _update(
        self, values: torch.Tensor, gradient: torch.Tensor, group: dict, state: dict
    ) -> None:
        state["step"].add_(1)
        torch._fused_adam_(
            [values],
            [gradient],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


class FlatAdamW(FlatAdam):
    """Adam with decoupled weight decay.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Shrink the weights by their decay, then step."""
        group = self.param_groups[0]
        values = self.flat.values
        if group["weight_decay"]:
            values[: self.flat.penalised].mul_(1 - group["lr"] * group["weight_decay"])
        self._update(values, self.flat.gradient, group, self.state[values])

    step.hooked = True  # type: ignore[attr-defined]


OPTIMIZERS = {"adam": FlatAdam, "adamw": FlatAdamW, "sgd": FlatSGD}
