"""Whether somebody looks at torch's operations."""

from __future__ import annotations

from torch.utils._python_dispatch import _get_current_dispatch_mode


def in_dispatch_mode() -> bool:
    """Tell whether the operations of the calling thread go through a ``TorchDispatchMode``.

    torch's own ``is_in_torch_dispatch_mode`` tells it of all threads together, and for ever of a
    process in which two threads were in such modes at a time.
    """
    return _get_current_dispatch_mode() is not None
