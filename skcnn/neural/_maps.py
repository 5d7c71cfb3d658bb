"""Maps of the layers, (n, channels, height, width), as compiled kernels take and give them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np
import torch

from skcnn._aligned import empty_aligned

# Bytes from which on it is worth while to keep memory, and how many are kept at most.
_LARGE, _MOST = 2**19, 10 * 2**20

_here = threading.local()


def empty_maps(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Return maps of that shape, laid out channels last, whose values are to be written."""
    if like.device.type == "cpu":
        _, channels, height, width = shape
        strides = height * width * channels, 1, width * channels, channels
        return empty_values(shape, strides, like.dtype)
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def empty_values(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype
) -> torch.Tensor:
    """Return a tensor on the CPU whose values are to be written, without gaps between them."""
    room: Room | None = getattr(_here, "room", None)
    n_bytes = prod(shape) * dtype.itemsize
    lent = None if room is None or n_bytes < _LARGE else room.lend(n_bytes)
    if lent is None:
        return torch.empty_strided(shape, strides, dtype=dtype, device="cpu")
    storage = torch.from_numpy(lent).untyped_storage()
    return torch.empty(0, dtype=dtype, device="cpu").set_(storage, 0, shape, strides)


def as_images(maps: torch.Tensor) -> np.ndarray:
    """Return maps as an array (n, h, w, c) in C order, a view if they lie so."""
    return maps.detach().resolve_neg().permute(0, 2, 3, 1).contiguous().numpy()


class Room:
    """Memory for large maps, which each step of a training needs again.

    Asked for anew it comes as empty pages, which take time to fill. And many versions of glibc find
    no room for torch's tensors, aligned as they are, in holes of just their size (its bug 14581),
    so that the memory of the process grows with the steps.

    What is here is there for maps of about one size, so there is not much of it: in networks whose
    maps are of many sizes most would lie idle.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lent: dict[int, tuple[weakref.ref, np.ndarray]] = {}
        self._returned: list[weakref.ref] = []
        self._n_bytes = 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let this thread's maps lie here."""
        before = getattr(_here, "room", None)
        _here.room = self
        try:
            yield
        finally:
            _here.room = before

    def lend(self, n_bytes: int) -> np.ndarray | None:
        """Return bytes that are free again as soon as nobody holds the array any more.

        None if there are none left.
        """
        self._take_back()
        # An epoch's last batch, a smaller one, takes what the others do.
        fitting = [
            (room.nbytes, number)
            for number, room in enumerate(self._free)
            if n_bytes <= room.nbytes <= 2 * n_bytes
        ]
        if fitting:
            room = self._free.pop(min(fitting)[1])
        elif self._n_bytes + n_bytes <= _MOST:
            room = empty_aligned((n_bytes,), np.uint8)
            self._n_bytes += n_bytes
        else:
            return None
        lent = room[:n_bytes]
        # No function of Python's is called when it goes: Ctrl-C would be lost in it.
        reference = weakref.ref(lent, self._returned.append)
        self._lent[id(reference)] = reference, room
        return lent

    def _take_back(self) -> None:
        while self._returned:
            known = self._lent.pop(id(self._returned.pop()), None)
            if known is not None:  # else an error came between the two lines that note it
                self._free.append(known[1])
