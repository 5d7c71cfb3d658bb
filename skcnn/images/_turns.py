"""Threads that read from one container take turns."""

from __future__ import annotations

from threading import Lock


class Turns:
    """A lock, for containers of the user's that may not stand several readers at a time.

    A pickle of it is a new one.
    """

    def __init__(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple:
        return Turns, ()
