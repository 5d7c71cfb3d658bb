"""A batch that goes through a network in parts, and what is drawn for the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_computed: ContextVar[tuple[PartedBatch, slice] | None] = ContextVar("computed", default=None)


class PartedBatch:
    """The random masks of a batch's images, of which each part of the batch takes its own.

    So what is drawn does not depend on the parts, or on how many threads compute them.

    Parameters
    ----------
    n_images : int
        Number of images in the batch.
    """

    def __init__(self, n_images: int) -> None:
        self._n_images = n_images
        self._masks: list[torch.Tensor] = []
        self._n_taken = 0

    @contextmanager
    def only(self, rows: slice) -> Iterator[None]:
        """Have :func:`mask_for` give masks for these images, in the calling thread."""
        self._n_taken = 0
        token = _computed.set((self, rows))
        try:
            yield
        finally:
            _computed.reset(token)

    def mask(self, draw: Callable[[int], torch.Tensor], rows: slice) -> torch.Tensor:
        """Return the part's share of the next mask; layers ask in the same order in each part."""
        if self._n_taken == len(self._masks):
            self._masks.append(draw(self._n_images))
        self._n_taken += 1
        return self._masks[self._n_taken - 1][rows]


def mask_for(n_images: int, draw: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """Return a mask for some images, which `draw` makes for a number of them."""
    computed = _computed.get()
    if computed is None:
        return draw(n_images)
    batch, rows = computed
    assert n_images == rows.stop - rows.start  # else nobody knows which rows these are
    return batch.mask(draw, rows)
