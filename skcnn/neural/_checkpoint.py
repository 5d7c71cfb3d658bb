"""A training on disk: what a fit that was killed needs to go on from its last epoch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.history import History

from skcnn.neural._callbacks import Patience

if TYPE_CHECKING:
    from skcnn.neural._training import LeanNet

_FORMAT = "skcnn training 2"


class Checkpoint(Callback):
    """Write the state of a training after every epoch, and read it back.

    The file is replaced whole or not at all. It holds tensors, numbers and text, and is read
    without unpickling anything else.

    Parameters
    ----------
    path : str or path-like
        The file. Its folder must exist; the file is read if there is one.

    Raises
    ------
    ValueError
        If there is no such folder, or the file is no checkpoint.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        # One name for all: what a killed process has left is written over.
        self._temporary = self.path.with_name(f"{self.path.name}.tmp")
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ValueError(
                f"checkpoint={str(path)!r} must name a file in a folder that exists; "
                f"{str(self.path if self.path.is_dir() else self.path.parent)!r} is "
                f"{'a folder' if self.path.is_dir() else 'none'}."
            )
        self._written = self._read() if self.path.exists() else None
        self._seed: int | None = None

    def seeded(self, rng: np.random.RandomState) -> np.random.RandomState:
        """Return a generator of a seed drawn from `rng`, or the one that the file was begun with.

        A fit without a `random_state` must set aside the same images again.
        """
        self._seed = int(rng.randint(2**31)) if self._written is None else self._written["seed"]
        return np.random.RandomState(self._seed)

    def ensure_same(self, configuration: dict[str, str]) -> None:
        """Raise ValueError if the file is of another training; what differs is named."""
        self._configuration = configuration
        written = configuration if self._written is None else self._written["configuration"]
        names = sorted(written.keys() | configuration.keys())
        if written.get("estimator") != configuration["estimator"]:
            names = ["estimator"]  # another has other parameters
        different = [
            f"{name} was {written.get(name)}, now {configuration.get(name)}"
            for name in names
            if written.get(name) != configuration.get(name)
        ]
        if different:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is of another training: {'; '.join(different)}. "
                "Remove the file to train from the start, or name another."
            )

    def of(self, rng: np.random.RandomState, generators: list[torch.Generator]) -> Checkpoint:
        """Remember the generators: that of the order of images, those of dropout and changes."""
        self._rng, self._generators = rng, generators
        return self

    def on_epoch_end(self, net: LeanNet, **kwargs: Any) -> None:
        """Write the state to a temporary name and move it into place."""
        before = sys.exception()
        try:
            with self._temporary.open("wb") as file:
                torch.save(self._state(net), file)
                file.flush()
                os.fsync(file.fileno())
            self._temporary.replace(self.path)
        except RuntimeError as error:
            # Ctrl-C has left torch an archive that it cannot close.
            cause = error.__context__
            if cause is not before and isinstance(cause, KeyboardInterrupt):
                raise cause from None
            raise
        finally:
            self._temporary.unlink(missing_ok=True)

    def resume(self, net: LeanNet) -> None:
        """Take the net to the epoch that the file was written after, if there is a file."""
        if self._written is None:
            return
        state, self._written = self._written, None
        net.module_.load_state_dict(state["module"])
        optimizer = net.optimizer_.state[net.flat_.values]
        for name, value in state["optimizer"].items():
            optimizer[name].copy_(value)
        net.optimizer_.param_groups[0]["lr"] = state["learning_rate"]
        net.n_images_seen_ = state["n_images_seen"]
        net.stop_training_ = state["stop_training"]
        net.history_ = History(state["history"])
        if net.average_ is not None:
            net.average_.go_on(state["averages"], state["n_steps"])
        patience = _patience(net)
        patience.best_, patience.epochs_without_ = state["best"], state["epochs_without"]
        patience.best_state_ = state["best_state"]
        name, keys, *position = state["order"]
        self._rng.set_state((name, keys.numpy().astype(np.uint32), *position))
        for generator, value in zip(self._generators, state["generators"], strict=True):
            generator.set_state(value)

    def remove(self) -> None:
        """Delete the file: the training is done."""
        self.path.unlink(missing_ok=True)
        self._temporary.unlink(missing_ok=True)

    def _state(self, net: LeanNet) -> dict[str, Any]:
        patience, average = _patience(net), net.average_
        name, keys, *position = self._rng.get_state(legacy=True)
        return {
            "format": _FORMAT,
            "configuration": self._configuration,
            "seed": self._seed,
            "module": net.module_.state_dict(),
            "optimizer": dict(net.optimizer_.state[net.flat_.values]),
            "learning_rate": float(net.optimizer_.param_groups[0]["lr"]),
            "n_images_seen": net.n_images_seen_,
            "stop_training": bool(net.stop_training_),
            "history": [_plain_row(row) for row in net.history],
            "averages": [] if average is None else average.averages,
            "n_steps": 0 if average is None else average.n_steps,
            "best": patience.best_,
            "epochs_without": patience.epochs_without_,
            "best_state": patience.best_state_,
            "order": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *position),
            "generators": [generator.get_state() for generator in self._generators],
        }

    def _read(self) -> dict[str, Any]:
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["format"] == _FORMAT:
                return state
        except Exception as error:
            raise ValueError(self._no_checkpoint()) from error
        raise ValueError(self._no_checkpoint())

    def _no_checkpoint(self) -> str:
        return (
            f"checkpoint={str(self.path)!r} is no checkpoint of skcnn, or of another version, or "
            "damaged. Remove the file to train from the start, or name another."
        )


def _patience(net: LeanNet) -> Patience:
    return next(callback for _, callback in net.callbacks_ if isinstance(callback, Patience))


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return what was recorded of an epoch as plain numbers, without its batches."""
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in row.items()
        if isinstance(value, (np.generic, int, float, str))
    }
    return plain | {"batches": [{}]}
