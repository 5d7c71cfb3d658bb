"""A training on disk: what a fit that was killed needs to go on from its last epoch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.history import History

from skcnn.neural._callbacks import Patience

if TYPE_CHECKING:
    from skcnn.neural._training import LeanNet


class Checkpoint(Callback):
    """Write the state of a training after every epoch, and read it back.

    The file is replaced whole or not at all. It holds tensors, numbers and text, and is read
    without unpickling anything else.

    Parameters
    ----------
    path : str or path-like
        The file.

    configuration : dict of str to str
        What the training must agree in, by name: parameters and a digest of the data.

    rng : RandomState
        The generator that the order of images is drawn from.

    generators : list of torch.Generator
        Those of dropout and augmentation.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        configuration: dict[str, str],
        rng: np.random.RandomState,
        generators: list[torch.Generator],
    ) -> None:
        self.path = Path(path)
        self.configuration = configuration
        self.rng, self.generators = rng, generators

    def on_epoch_end(self, net: LeanNet, **kwargs: Any) -> None:
        """Write the state to a temporary name and move it into place."""
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                torch.save({"configuration": self.configuration, **self._state(net)}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def resume(self, net: LeanNet) -> None:
        """Take the net to the epoch that the file was written after, if there is a file.

        Raises
        ------
        ValueError
            If the file is of another training; what differs is named.
        """
        if not self.path.exists():
            return
        state = self._read()
        self._refuse_another(state["configuration"])
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
        self.rng.set_state((name, keys.numpy().astype(np.uint32), *position))
        for generator, value in zip(self.generators, state["generators"], strict=True):
            generator.set_state(value)

    def remove(self) -> None:
        """Delete the file: the training is done."""
        self.path.unlink(missing_ok=True)

    def _state(self, net: LeanNet) -> dict[str, Any]:
        patience, average = _patience(net), net.average_
        name, keys, *position = self.rng.get_state(legacy=True)
        return {
            "module": net.module_.state_dict(),
            "optimizer": dict(net.optimizer_.state[net.flat_.values]),
            "learning_rate": net.optimizer_.param_groups[0]["lr"],
            "n_images_seen": net.n_images_seen_,
            "stop_training": bool(net.stop_training_),
            "history": [_plain_row(row) for row in net.history],
            "averages": [] if average is None else average.averages,
            "n_steps": 0 if average is None else average.n_steps,
            "best": patience.best_,
            "epochs_without": patience.epochs_without_,
            "best_state": patience.best_state_,
            "order": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *position),
            "generators": [generator.get_state() for generator in self.generators],
        }

    def _read(self) -> dict[str, Any]:
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if "configuration" in state:
                return state
        except Exception as error:
            raise ValueError(self._no_checkpoint()) from error
        raise ValueError(self._no_checkpoint())

    def _no_checkpoint(self) -> str:
        return (
            f"checkpoint={str(self.path)!r} is no checkpoint of skcnn, or damaged. Remove the file "
            "to train from the start, or name another."
        )

    def _refuse_another(self, written: dict[str, str]) -> None:
        wanted = self.configuration
        different = [
            f"{name} was {written.get(name)}, now {wanted.get(name)}"
            for name in sorted(written.keys() | wanted.keys())
            if written.get(name) != wanted.get(name)
        ]
        if different:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is of another training: {'; '.join(different)}. "
                "Remove the file to train from the start, or name another."
            )


def _patience(net: LeanNet) -> Patience:
    return next(callback for _, callback in net.callbacks_ if isinstance(callback, Patience))


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return what training recorded of an epoch, without what other callbacks may have."""
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, (bool, int, float, str)) and name != "batches"
    } | {"batches": []}
