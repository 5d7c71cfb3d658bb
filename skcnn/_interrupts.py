"""Who answers Ctrl-C: the network that is being trained, or the work that it is part of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_propagate: ContextVar[bool] = ContextVar("skcnn_propagate_interrupts", default=False)


def interrupts_propagate() -> bool:
    """Return whether a `fit` that is interrupted must raise KeyboardInterrupt."""
    return _propagate.get()


@contextmanager
def propagating_interrupts() -> Iterator[None]:
    """Let Ctrl-C end the whole work inside, not only the fit of the network that it meets.

    A network's `fit` ends its epochs and keeps what it has learnt. Inside a comparison that would
    pass a half-trained network on as a result.
    """
    token = _propagate.set(True)
    try:
        yield
    finally:
        _propagate.reset(token)
