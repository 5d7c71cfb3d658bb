"""Optimisers of one flat tensor, each step a handful of operations.

They are torch optimisers to those who look (learning rate schedulers, skorch's callbacks), without
the bookkeeping that makes torch's own take longer than the arithmetic of a small network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch

from skcnn.neural._flat import FlatParameters


class FlatOptimizer(torch.optim.Optimizer, ABC):
    """The common part: one parameter group with one tensor, and the penalty of its weights.

    ``param_groups[0]["weight_decay"]`` is the factor of the weights in the gradient, or for
    :class:`FlatAdamW` what a step takes off them. ``param_groups[0]["slow_factor"]`` is the rate of
    the slow parameters, as a factor of ``param_groups[0]["lr"]``.
    """

    def __init__(self, flat: FlatParameters, *, slow_factor: float = 1.0, **options: Any) -> None:
        self.flat = flat
        super().__init__([flat.values], {**options, "slow_factor": slow_factor})
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
        group, state = self.param_groups[0], self.state[self.flat.values]
        self._begin(group, state)
        slow, factor = self.flat.slow, group["slow_factor"]
        if factor == 1 or slow.start == slow.stop:
            self._update(self.flat.values, self.flat.gradient, group["lr"], group, state)
            return
        for part, rate in (
            (slice(0, slow.start), group["lr"]),
            (slow, group["lr"] * factor),
            (slice(slow.stop, None), group["lr"]),
        ):
            of_part = {name: value[part] if value.ndim else value for name, value in state.items()}
            values, gradient = self.flat.values[part], self.flat.gradient[part]
            self._update(values, gradient, rate, group, of_part)

    step.hooked = True  # type: ignore[attr-defined]  # torch shall not wrap it in a profiler

    def _begin(self, group: dict, state: dict) -> None:
        """Do what is done once a step: add the gradient of the penalty."""
        first = self.flat.penalised
        if group["weight_decay"]:
            self.flat.gradient[:first].add_(self.flat.values[:first], alpha=group["weight_decay"])

    @abstractmethod
    def _update(
        self, values: torch.Tensor, gradient: torch.Tensor, rate: float, group: dict, state: dict
    ) -> None:
        """Take a step of all values or of a part; the gradient may be written to."""


class FlatSGD(FlatOptimizer):
    """Stochastic gradient descent with (Nesterov's) momentum."""

    def _initial_state(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"momentum_buffer": torch.zeros_like(values)}

    def _update(
        self, values: torch.Tensor, gradient: torch.Tensor, rate: float, group: dict, state: dict
    ) -> None:
        if group["momentum"]:
            velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
            if group["nesterov"]:
                gradient.add_(velocity, alpha=group["momentum"])
            else:
                gradient = velocity
        values.add_(gradient, alpha=-rate)


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

    def _begin(self, group: dict, state: dict) -> None:
        super()._begin(group, state)
        state["step"].add_(1)

    def _update(
        self, values: torch.Tensor, gradient: torch.Tensor, rate: float, group: dict, state: dict
    ) -> None:
        torch._fused_adam_(
            [values],
            [gradient],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            lr=rate,
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

    def _begin(self, group: dict, state: dict) -> None:
        state["step"].add_(1)
        rate, weights, slow = group["lr"], self.flat.values[: self.flat.penalised], self.flat.slow
        if group["weight_decay"]:
            weights[: slow.start].mul_(1 - rate * group["weight_decay"])
            weights[slow.start :].mul_(1 - rate * group["slow_factor"] * group["weight_decay"])


OPTIMIZERS: dict[str, Callable[..., FlatOptimizer]] = {
    "adam": FlatAdam,
    "adamw": FlatAdamW,
    "sgd": FlatSGD,
}
