"""Networks that equal extractors of one process share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch


class LoadedNetwork:
    """A network in memory, as long as somebody uses it.

    Parameters
    ----------
    compute : callable
        From preprocessed images, a tensor (n, 3, height, width), to the output.

    output_shape : tuple of int
        Shape of the output for one image.
    """

    def __init__(
        self, compute: Callable[[torch.Tensor], torch.Tensor], output_shape: tuple[int, ...]
    ) -> None:
        self.compute, self.output_shape = compute, output_shape


# They live outside the estimators, which stay plain data: a pickle, a clone and a comparison never
# see a torch object. The latest outlives its users: a cross-validation clones its extractor for
# every fold, and the clone of the fold before is gone by then.
_networks: WeakValueDictionary[Hashable, LoadedNetwork] = WeakValueDictionary()
_users: WeakKeyDictionary[Any, LoadedNetwork] = WeakKeyDictionary()
_latest: deque[LoadedNetwork] = deque(maxlen=1)
_lock = Lock()


def shared(user: Any, key: Hashable, build: Callable[[], LoadedNetwork]) -> LoadedNetwork:
    """Return the network of a key for an estimator; it is built if nobody has it.

    Parameters
    ----------
    user : estimator
        Who uses it, until the estimator is gone or asks for another one.

    key : hashable
        All that makes the network what it is.

    build : callable
        Makes it.
    """
    with _lock:
        network = _networks.get(key)
        if network is None:
            network = _networks[key] = build()
        _users[user] = network
        _latest.append(network)
        return network


def forget(key: Hashable) -> None:
    """Build the network of a key anew when it is asked for next."""
    with _lock:
        _networks.pop(key, None)
