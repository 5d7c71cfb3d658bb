"""The training engine: a skorch net without per-sample loading and per-batch bookkeeping."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from skcnn._interrupts import interrupts_propagate
from skcnn.neural._averaging import WeightAverage
from skcnn.neural._batches import Batch, TrainingBatches
from skcnn.neural._dense_step import DenseStep, is_dense
from skcnn.neural._flat import FlatParameters, is_finite
from skcnn.neural._grey_training import train_through
from skcnn.neural._kinds import treats_images_apart
from skcnn.neural._losses import Loss
from skcnn.neural._maps import Room
from skcnn.neural._optimizers import OPTIMIZERS
from skcnn.neural._parts import PartedBatch
from skcnn.neural._schedules import PLANS
from skcnn.neural._team import Team, can_be_shared, team_of

# Batches of twice as many images and more go through a network in parts of so many: maps above
# 32 MiB would be asked of the system anew each time. That needs layers that treat images apart.
_PART = 128

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class DivergedError(ValueError):
    """The loss became NaN or infinite."""


@dataclass
class TrainingPlan:
    """How a network is trained, in plain numbers.

    `score` turns the outputs for a validation set into the number that early stopping watches; the
    part of the network named `slow_part` learns at `slow_factor` times the rate; a batch is shared
    among `team_size` threads; `n_images_seen` and `state` are what an earlier training has seen,
    and left of its optimiser.
    """

    loss: Loss
    solver: str
    learning_rate: float
    max_iter: int
    solver_options: dict[str, Any] = field(default_factory=dict)
    alpha: float = 0.0
    schedule: str = "constant"
    power_t: float = 0.5
    max_grad_norm: float | None = None
    ema_decay: float | None = None
    slow_part: str | None = None
    slow_factor: float = 1.0
    low_precision: bool = False
    team_size: int = 1
    score: Callable[[torch.Tensor, TrainingBatches], float] | None = None
    n_images_seen: int = 0
    state: dict[str, Any] | None = None


class LeanNet(NeuralNet):
    """A skorch net that trains on :class:`TrainingBatches`.

    skorch's history and callbacks are used as they are. What is replaced is its inner loop: batches
    come as tensors, losses are read once an epoch, the optimiser sees one tensor, and the hooks
    that run for every batch are called only if a callback has one.
    """

    plan: TrainingPlan
    interrupted_ = False
    stop_training_ = False

    @property
    def _default_callbacks(self) -> list:
        return []

    def train(
        self,
        train: TrainingBatches,
        valid: TrainingBatches | None = None,
        resume: Callable[[LeanNet], None] | None = None,
    ) -> LeanNet:
        """Train, from where `resume` takes the net; Ctrl-C leaves a usable module."""
        self.initialize()
        self.n_images_seen_ = self.plan.n_images_seen
        self.notify("on_train_begin", X=train, y=None)
        if resume is not None:
            resume(self)
        try:
            with Room().in_use():
                self.fit_loop(train, valid)
        except KeyboardInterrupt:
            if interrupts_propagate():
                raise
            if not any("train_loss" in row for row in self.history):
                raise  # nothing has been learnt that would be worth keeping
            self.interrupted_ = True
        if self.average_ is not None:
            self.average_.swap_in()
        self.notify("on_train_end", X=train, y=None)
        self._ensure_finite()
        return self

    def fit_loop(
        self, X: TrainingBatches, y: Any = None, epochs: int | None = None, **fit_params: Any
    ) -> LeanNet:
        """Run epochs until all are done or a callback has set ``stop_training_``."""
        datasets = {"dataset_train": X, "dataset_valid": y}
        for _ in range(len(self.history), self.max_epochs if epochs is None else epochs):
            if self.stop_training_:
                break
            self.notify("on_epoch_begin", **datasets)
            self._train_epoch(X)
            if self.average_ is not None:
                self.average_.swap_in()
            if y is not None:
                self._evaluate(y)
            self.notify("on_epoch_end", **datasets)
        return self

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call a hook of every callback, of those after one that says stop, too."""
        getattr(self, method_name)(self, **cb_kwargs)
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **cb_kwargs)
            except KeyboardInterrupt:
                # The way of skorch's early stopping to say stop; else it is Ctrl-C.
                if not isinstance(callback, EarlyStopping) or callback.misses_ != callback.patience:
                    raise
                self.stop_training_ = True

    def _train_epoch(self, batches: TrainingBatches) -> None:
        plan = self.plan
        if self.average_ is not None:
            self.average_.swap_out()
        self._set_training(True)
        with self._steps() as step:
            losses, sizes = self._train_batches(batches, step)
        if not self._is_watched():
            self.history.new_batch()  # skorch's Checkpoint looks at the last batch of an epoch
        self.n_images_seen_ += len(batches)
        self._record_loss("train_loss", _mean(losses, sizes))
        if plan.schedule == "invscaling":
            rate = plan.learning_rate / (self.n_images_seen_ + 1) ** plan.power_t
            self.optimizer_.param_groups[0]["lr"] = rate

    def _train_batches(self, batches: TrainingBatches, step: Callable) -> tuple[list, list[int]]:
        """Make a step for each batch; return the losses before them, and the batches' sizes."""
        plan, optimizer = self.plan, self.optimizer_
        group = optimizer.param_groups[0]
        watched = self._is_watched()
        decoupled = plan.solver == "adamw"
        group["weight_decay"] = plan.alpha
        penalty = plan.alpha / batches.mean_weight
        rate = self._planned_rates(batches)
        losses, sizes = [], []
        for batch in batches:
            if rate is not None:
                group["lr"] = rate()
            if not decoupled:
                # scikit-learn's penalty is alpha / 2 * |w|^2 for a batch, not for an image.
                group["weight_decay"] = penalty / len(batch.targets)
            if watched:
                self.notify("on_batch_begin", batch=batch[:2], training=True)
                self._set_training(True)  # a callback may have predicted
            outputs, loss = step(batch.inputs, batch.targets, batch.weights)
            if watched:
                self._notify_gradient(batch)
            if plan.max_grad_norm is not None:
                _clip(self.flat_.gradient, plan.max_grad_norm)
            optimizer.step()
            if self.average_ is not None:
                self.average_.follow()
            losses.append(_kept(loss))
            sizes.append(len(batch.targets))
            if watched:
                self._notify_batch_end("train", batch, torch.as_tensor(loss, device="cpu"), outputs)
        return losses, sizes

    def _planned_rates(self, batches: TrainingBatches) -> Callable[[], float] | None:
        """Return what gives the learning rate of each step of the epoch, if there is a plan."""
        if self.plan.schedule not in PLANS:
            return None
        factor = PLANS[self.plan.schedule]
        n_batches = len(batches.bounds) - 1
        steps = iter(range((len(self.history) - 1) * n_batches, len(self.history) * n_batches))
        n_steps = self.max_epochs * n_batches
        return lambda: self.plan.learning_rate * factor(next(steps) / n_steps)

    @contextmanager
    def _steps(self) -> Iterator[Callable]:
        """Yield what computes the gradient of a batch, its outputs and its loss."""
        if is_dense(self.module_) and not self.plan.low_precision:
            yield DenseStep(self.module_, self.plan.loss, keep_outputs=self._is_watched())
        elif self.plan.team_size > 1 and not self._is_watched() and can_be_shared(self.module_):
            # Who watches may change the network between two batches.
            with team_of(self.module_, self.flat_, self.plan.team_size) as team:
                yield partial(self._shared_step, team)
        else:
            yield self._autograd_step

    def _autograd_step(self, *values: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.flat_.gradient.zero_()
        batch = Batch(*values)
        return self._add_gradient(self.module_, batch, slice(0, len(batch.targets)))

    def _shared_step(self, team: Team, *values: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if not team.is_worthwhile(len(values[0])):
            return self._autograd_step(*values)
        return team.step(self._add_gradient, Batch(*values))

    def _add_gradient(
        self, network: nn.Module, batch: Batch, rows: slice
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the gradient of some of a batch's images to that of the network."""
        n_images = len(batch.targets)
        parts = _parts(network, rows)
        if len(parts) == 1 and parts[0] == slice(0, n_images):
            return self._add_gradient_at_once(network, batch, 1.0)
        outputs, losses = [], []
        parted = PartedBatch(n_images)
        for part in parts:
            with parted.only(part):
                share = (part.stop - part.start) / n_images
                output, loss = self._add_gradient_at_once(network, batch.of(part), share)
            outputs.append(output)
            losses.append(loss)
        return torch.cat(outputs), torch.stack(losses).sum()

    def _add_gradient_at_once(
        self, network: nn.Module, batch: Batch, share: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with self._precision():
            outputs = train_through(network, batch.inputs)
            loss = self.plan.loss.mean(outputs, batch.targets, batch.weights)
            if share != 1:
                loss = loss * share
        loss.backward()
        return outputs.detach(), loss.detach()

    def _precision(self) -> Any:
        if not self.plan.low_precision:
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)

    def _notify_gradient(self, batch: Batch) -> None:
        named = list(self.get_all_learnable_params())
        self.notify("on_grad_computed", named_parameters=named, batch=batch[:2], training=True)

    def _notify_batch_end(
        self, part: str, batch: Batch, loss: torch.Tensor, outputs: torch.Tensor
    ) -> None:
        self.history.record_batch(f"{part}_loss", loss.item())
        self.history.record_batch(f"{part}_batch_size", len(batch.targets))
        results = {"loss": loss, "y_pred": outputs.detach()}
        self.notify("on_batch_end", batch=batch[:2], training=part == "train", **results)

    @torch.no_grad()
    def _evaluate(self, batches: TrainingBatches) -> None:
        watched = self._is_watched()
        self._set_training(False)
        losses, sizes, outputs = [], [], []
        for batch in batches:
            if watched:
                self.notify("on_batch_begin", batch=batch[:2], training=False)
            outputs.append(self.module_(batch.inputs))
            loss = self.plan.loss.mean(outputs[-1], batch.targets, batch.weights)
            losses.append(_kept(loss))
            sizes.append(len(batch.targets))
            if watched:
                self._notify_batch_end("valid", batch, loss, outputs[-1])
        self._record_loss("valid_loss", _mean(losses, sizes))
        if self.plan.score is not None:
            score = self.plan.score(torch.cat(outputs), batches)
            if math.isnan(score):
                raise ValueError(
                    "the score of the validation images is not a number: there are too few of "
                    "them, or of their classes, for this scoring. Validate on more images, or "
                    "choose another scoring."
                )
            earlier = [row["valid_score"] for row in self.history[:-1]]
            self.history.record("valid_score", score)
            self.history.record("valid_score_best", not earlier or score > max(earlier))

    def _is_watched(self) -> bool:
        return any(_has_batch_hook(callback) for _, callback in self.callbacks_)

    def _record_loss(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(self._diverged(f"{name} became {loss}"))
        earlier = [row[name] for row in self.history[:-1]]
        self.history.record(name, loss)
        self.history.record(f"{name}_best", not earlier or loss < min(earlier))

    def _ensure_finite(self) -> None:
        # The loss is taken before each step, so it says nothing about what the last one did.
        for name, value in self.module_.state_dict().items():
            if name in self.finite_ and not is_finite(value):
                raise DivergedError(self._diverged(f"{name} is not finite"))

    def _diverged(self, what: str) -> str:
        return (
            f"{what} in epoch {len(self.history)}: training diverged. Solver produced non-finite "
            "parameter weights. The input data may contain large values and need to be "
            "preprocessed. Check the scale of X, and try a learning_rate_init smaller than "
            f"{self.plan.learning_rate:g}."
        )

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> LeanNet:
        """Lay the parameters into one tensor and set the optimiser of it up."""
        plan = self.plan
        slow = None if plan.slow_part is None else self.module_.get_submodule(plan.slow_part)
        self.flat_ = FlatParameters(self.module_, () if slow is None else slow.parameters())
        # A module may hold infinite constants, as masks do.
        state = self.module_.state_dict().items()
        self.finite_ = {name for name, value in state if is_finite(value)}
        self.optimizer_ = OPTIMIZERS[plan.solver](
            self.flat_,
            lr=plan.learning_rate,
            weight_decay=0.0,
            slow_factor=plan.slow_factor,
            **plan.solver_options,
        )
        if plan.state is not None:
            state = self.optimizer_.state[self.flat_.values]
            if state.keys() == plan.state["optimizer"].keys():  # else the solver is another now
                _load_tensors(state, plan.state["optimizer"])
            if plan.schedule in ("invscaling", "adaptive"):
                self.optimizer_.param_groups[0]["lr"] = plan.state["learning_rate"]
        self.average_ = None
        if plan.ema_decay is not None:
            self.average_ = WeightAverage(self.module_, self.flat_, plan.ema_decay)
            if plan.state is not None and "weights" in plan.state:
                weights = [torch.as_tensor(value, device="cpu") for value in plan.state["weights"]]
                self.average_.go_on(weights, plan.state["n_steps"])
        return self

    def training_state(self) -> dict[str, Any]:
        """Return what a later training needs to go on as if there had been no break."""
        state = self.optimizer_.state[self.flat_.values]
        kept: dict[str, Any] = {
            "optimizer": {name: value.cpu().numpy().copy() for name, value in state.items()},
            "learning_rate": self.optimizer_.param_groups[0]["lr"],
        }
        if self.average_ is not None:
            # The network has its average now, and the average's place holds the network's weights.
            kept["weights"] = [value.cpu().numpy().copy() for value in self.average_.averages]
            kept["n_steps"] = self.average_.n_steps
        return kept

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the batches that skorch's callbacks predict on."""
        if not isinstance(dataset, TrainingBatches):
            return super().get_iterator(dataset, training)
        return (batch[:2] for batch in dataset.in_order())


def warn_if_interrupted(net: LeanNet, *, stacklevel: int) -> None:
    """Say that Ctrl-C ended the training early."""
    if net.interrupted_:
        warnings.warn(
            f"Training was interrupted in epoch {len(net.history)} of {net.max_epochs}; the "
            "network keeps what it has learnt so far.",
            UserWarning,
            stacklevel=stacklevel,
        )


def _load_tensors(state: dict[str, torch.Tensor], arrays: dict[str, Any]) -> None:
    for name, value in arrays.items():
        state[name].copy_(torch.as_tensor(value, device="cpu"))


def _parts(network: nn.Module, rows: slice) -> list[slice]:
    """Return the images that go through a network at once."""
    if rows.stop - rows.start < 2 * _PART or not treats_images_apart(network):
        return [rows]
    starts = range(rows.start, rows.stop, _PART)
    return [slice(start, min(start + _PART, rows.stop)) for start in starts]


def _clip(gradient: torch.Tensor, max_norm: float) -> None:
    gradient.mul_((max_norm / (gradient.norm() + 1e-6)).clamp(max=1.0))


def _kept(loss: Any) -> Any:
    """Return a step's loss as it is kept until the end of the epoch.

    That is a number on the CPU: small tensors between those of the steps would leave the memory
    full of holes. On another device a look at the number would wait for all that goes before it.
    """
    is_elsewhere = isinstance(loss, torch.Tensor) and loss.device.type != "cpu"
    return loss if is_elsewhere else float(loss)


def _mean(losses: list, sizes: list[int]) -> float:
    # One look at the device an epoch, not one a batch.
    values = torch.stack(losses).double().cpu() if isinstance(losses[0], torch.Tensor) else losses
    return float(np.average(values, weights=sizes))


def _has_batch_hook(callback: Callback) -> bool:
    return any(
        getattr(type(callback), hook) is not getattr(Callback, hook) for hook in _BATCH_HOOKS
    )
