"""What watches a training: patience, printed progress, scikit-learn's callbacks."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch.callbacks import Callback

if TYPE_CHECKING:
    from skcnn.neural._training import LeanNet

# scikit-learn's: an adaptive learning rate is divided by five until it is this small.
_SMALLEST_RATE = 1e-6


class Patience(Callback):
    """Stop when more than `n_iter_no_change` epochs improve nothing by `tol`, as in scikit-learn.

    Either the validation score is watched, and the weights of the best epoch are put back at the
    end, or the training loss. With `adaptive` the learning rate is divided by five first, again and
    again.
    """

    def __init__(
        self,
        n_iter_no_change: float,
        tol: float,
        *,
        watch: str,
        adaptive: bool = False,
        so_far: tuple[float, int] = (-math.inf, 0),
    ) -> None:
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.watch = watch
        self.adaptive = adaptive
        self.so_far = so_far

    def on_train_begin(self, net: LeanNet, **kwargs: Any) -> None:
        """Start from what an earlier part of the same training saw, `so_far`."""
        self.best_, self.epochs_without_ = self.so_far
        self.best_state_: dict[str, torch.Tensor] | None = None

    def on_epoch_end(self, net: LeanNet, **kwargs: Any) -> None:
        """Compare this epoch with the best one."""
        row, validating = net.history[-1], self.watch == "valid_score"
        score = row["valid_score"] if validating else -row["train_loss"]
        self.epochs_without_ = 0 if score >= self.best_ + self.tol else self.epochs_without_ + 1
        if score > self.best_:
            self.best_ = score
            if validating:
                state = net.module_.state_dict()
                self.best_state_ = {name: value.clone() for name, value in state.items()}
        if self.epochs_without_ > self.n_iter_no_change:
            slower = self.adaptive and self._slow_down(net)
            net.stop_training_ = net.stop_training_ or not slower

    def _slow_down(self, net: LeanNet) -> bool:
        group = net.optimizer_.param_groups[0]
        if group["lr"] <= _SMALLEST_RATE:
            return False
        group["lr"] /= 5
        self.epochs_without_ = 0
        return True

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
        """Print loss, validation score and time of the epoch."""
        row = net.history[-1]
        score = f", validation score = {row['valid_score']:.4f}" if "valid_score" in row else ""
        seconds = time.perf_counter() - self.started_
        print(
            f"Iteration {row['epoch']}/{net.max_epochs}, loss = {row['train_loss']:.6f}{score} "
            f"({seconds:.2f} s)",
            flush=True,
        )


class TaskReporter(Callback):
    """Report every epoch to scikit-learn's callbacks as a task of `fit`.

    `task` is what they get of every task: estimator, X, y and metadata.
    """

    def __init__(
        self, context: Any, task: dict[str, Any], fitted: Callable[[LeanNet], dict]
    ) -> None:
        self.context, self.task, self.fitted = context, task, fitted

    def on_epoch_begin(self, net: LeanNet, **kwargs: Any) -> None:
        """Open the task of an epoch."""
        self.epoch_ = self.context.subcontext(task_name="epoch")
        self.epoch_.call_on_fit_task_begin(**self.task)

    def on_epoch_end(self, net: LeanNet, **kwargs: Any) -> None:
        """Close it; a callback may ask for the end of training."""
        stop = self.epoch_.call_on_fit_task_end(
            **self.task, reconstruction_attributes=lambda: self.fitted(net)
        )
        net.stop_training_ = net.stop_training_ or stop


def storable(callbacks: Sequence | None) -> Sequence | None:
    """Return a user's callbacks for a pickle: without what training left in them of torch.

    skorch's names for that end with an underscore. Plain data of such names, such as what a
    callback has collected, stays.
    """
    return None if callbacks is None else [_storable(callback) for callback in callbacks]


def _storable(callback: Any) -> Any:
    if isinstance(callback, (tuple, list)):
        name, callback = callback
        return name, _storable(callback)
    if callback is None or isinstance(callback, type):
        return callback
    stored = copy.copy(callback)
    for name, value in list(vars(stored).items()):
        if name.endswith("_") and not _is_plain(value):
            delattr(stored, name)
    return stored


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (np.ndarray, np.generic, int, float, str))
