"""The training engine: a skorch net without per-sample loading and per-batch bookkeeping."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn

from skcnn._interrupts import interrupts_propagate
from skcnn.neural._batches import TrainingBatches

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class DivergedError(ValueError):
    """The loss became NaN or infinite."""


class LeanNet(NeuralNet):
    """A skorch net that trains on :class:`TrainingBatches`.

    skorch's history, callbacks and optimizer set-up are used as they are. What is replaced is its
    inner loop: batches come as tensors, losses are summed on the device and read once an epoch, and
    the hooks that run for every batch are called only if a callback has one.
    """

    interrupted_ = False
    stop_training_ = False

    @property
    def _default_callbacks(self) -> list:
        return []

    def train(self, train: TrainingBatches, valid: TrainingBatches | None = None) -> LeanNet:
        """Train from scratch; Ctrl-C ends the loop and leaves a usable module."""
        self.initialize()
        self.notify("on_train_begin", X=train, y=None)
        try:
            self.fit_loop(train, valid)
        except KeyboardInterrupt:
            if interrupts_propagate():
                raise
            if not any("train_loss" in row for row in self.history):
                raise  # nothing has been learnt that would be worth keeping
            self.interrupted_ = True
        self.notify("on_train_end", X=train, y=None)
        _ensure_finite(self.module_, len(self.history))
        return self

    def fit_loop(
        self, X: TrainingBatches, y: Any = None, epochs: int | None = None, **fit_params: Any
    ) -> LeanNet:
        """Run epochs until all are done or a callback has set ``stop_training_``."""
        datasets = {"dataset_train": X, "dataset_valid": y}
        for _ in range(self.max_epochs if epochs is None else epochs):
            self.notify("on_epoch_begin", **datasets)
            self._run_epoch(X, training=True, prefix="train")
            if y is not None:
                self._run_epoch(y, training=False, prefix="valid")
            self.notify("on_epoch_end", **datasets)
            if self.stop_training_:
                break
        return self

    def _run_epoch(self, batches: TrainingBatches, *, training: bool, prefix: str) -> None:
        watched = any(_has_batch_hook(callback) for _, callback in self.callbacks_)
        step = self._train_on if training else self._evaluate
        self._set_training(training)
        total = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device)
        for inputs, codes in batches:
            if watched:
                self.notify("on_batch_begin", batch=(inputs, codes), training=training)
            logits, loss = step(inputs, codes, watched)
            total += loss.detach() * len(codes)
            if not training:
                correct += (logits.argmax(dim=1) == codes).sum()
            if watched:
                result = {"loss": loss, "y_pred": logits}
                self.notify("on_batch_end", batch=(inputs, codes), training=training, **result)
        self._record_loss(f"{prefix}_loss", total.item() / len(batches))
        if not training:
            self.history.record("valid_acc", correct.item() / len(batches))

    def _train_on(
        self, inputs: torch.Tensor, codes: torch.Tensor, watched: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.optimizer_.zero_grad(set_to_none=True)
        logits = self.module_(inputs)
        loss = self.criterion_(logits, codes)
        loss.backward()
        if watched:
            named = list(self.get_all_learnable_params())
            self.notify(
                "on_grad_computed", named_parameters=named, batch=(inputs, codes), training=True
            )
        self.optimizer_.step()
        return logits, loss

    @torch.no_grad()
    def _evaluate(
        self, inputs: torch.Tensor, codes: torch.Tensor, watched: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.module_(inputs)
        return logits, self.criterion_(logits, codes)

    def _record_loss(self, name: str, loss: float) -> None:
        epoch = len(self.history)
        if not math.isfinite(loss):
            raise DivergedError(_diverged(f"{name} became {loss}", epoch))
        earlier = [row[name] for row in self.history[:-1]]
        self.history.record(name, loss)
        self.history.record(f"{name}_best", not earlier or loss < min(earlier))

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> LeanNet:
        """Set the optimizer up with weight decay for the weights only."""
        options = self.get_params_for("optimizer")
        decay = options.pop("weight_decay", 0.0)
        weights = [p for p in self.module_.parameters() if p.ndim > 1]
        others = [p for p in self.module_.parameters() if p.ndim <= 1]
        groups = [
            {"params": weights, "weight_decay": decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer_ = self.optimizer(groups, lr=self.lr, **options)
        return self


class Patience(Callback):
    """Stop when more than `n_iter_no_change` epochs improve nothing by `tol`, as in scikit-learn.

    With a validation set its accuracy is watched, and the weights of the best epoch are put back
    at the end; without one the training loss is watched.
    """

    def __init__(self, n_iter_no_change: float, tol: float) -> None:
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol

    def on_train_begin(self, net: LeanNet, **kwargs: Any) -> None:
        """Forget what an earlier training saw."""
        self.best_, self.epochs_without_ = -math.inf, 0
        self.best_state_: dict[str, torch.Tensor] | None = None

    def on_epoch_end(self, net: LeanNet, **kwargs: Any) -> None:
        """Compare this epoch with the best one."""
        row = net.history[-1]
        score = row.get("valid_acc", -row["train_loss"])
        self.epochs_without_ = 0 if score >= self.best_ + self.tol else self.epochs_without_ + 1
        if score > self.best_:
            self.best_ = score
            if "valid_acc" in row:
                state = net.module_.state_dict()
                self.best_state_ = {name: value.clone() for name, value in state.items()}
        net.stop_training_ = self.epochs_without_ > self.n_iter_no_change

    def on_train_end(self, net: LeanNet, **kwargs: Any) -> None:
        """Put the best weights back."""
        if self.best_state_ is not None:
            net.module_.load_state_dict(self.best_state_)


class EpochPrinter(Callback):
    """Print one line an epoch."""

    def on_epoch_begin(self, net: LeanNet, **kwargs: Any) -> None:
        """Start the clock."""
        self.started_ = time.perf_counter()

    def on_epoch_end(self, net: LeanNet, **kwargs: Any) -> None:
        """Print loss, validation accuracy and time of the epoch."""
        row = net.history[-1]
        accuracy = f", validation accuracy = {row['valid_acc']:.4f}" if "valid_acc" in row else ""
        seconds = time.perf_counter() - self.started_
        print(
            f"Epoch {row['epoch']}/{net.max_epochs}, loss = {row['train_loss']:.6f}{accuracy} "
            f"({seconds:.2f} s)",
            flush=True,
        )


def train_network(
    network: nn.Module,
    train: TrainingBatches,
    valid: TrainingBatches | None,
    *,
    optimizer: type[torch.optim.Optimizer],
    lr: float,
    optimizer_options: dict[str, Any],
    max_iter: int,
    n_iter_no_change: float,
    tol: float,
    verbose: bool,
    device: torch.device,
) -> LeanNet:
    """Train `network` in place and return the net, whose ``history`` tells how it went."""
    callbacks: list[Callback] = [Patience(n_iter_no_change, tol)]
    if verbose:
        callbacks.append(EpochPrinter())
    net = LeanNet(
        network,
        criterion=nn.CrossEntropyLoss,
        optimizer=optimizer,
        lr=lr,
        max_epochs=max_iter,
        callbacks=callbacks,
        train_split=None,
        verbose=0,
        device=device,
        **{f"optimizer__{name}": value for name, value in optimizer_options.items()},
    )
    net.train(train, valid)
    if net.interrupted_:
        warnings.warn(
            f"Training was interrupted in epoch {len(net.history)} of {max_iter}; the network "
            "keeps what it has learnt so far.",
            UserWarning,
            stacklevel=5,  # the caller of fit
        )
    return net


def _has_batch_hook(callback: Callback) -> bool:
    return any(
        getattr(type(callback), hook) is not getattr(Callback, hook) for hook in _BATCH_HOOKS
    )


def _ensure_finite(module: nn.Module, epoch: int) -> None:
    # The loss is taken before each step, so it says nothing about what the last one did.
    for name, value in module.state_dict().items():
        if not torch.isfinite(value).all():
            raise DivergedError(_diverged(f"{name} is not finite", epoch))


def _diverged(what: str, epoch: int) -> str:
    return (
        f"{what} in epoch {epoch}: training diverged. Try a smaller learning_rate_init, and check "
        "the scale of X."
    )
