"""How many threads torch computes with, told to one thread of Python's at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

import torch

_setting = Lock()


def thread_count() -> int:
    """Return how many threads torch computes with in the calling thread, and will from now on.

    A thread has torch's number of the moment when it first asks.
    """
    with _setting:
        return torch.get_num_threads()


@contextmanager
def one_thread_here() -> Iterator[None]:
    """Let torch compute with one thread in the calling thread, and as before in all others.

    torch shares each operation among threads that spin while they wait for the next one. Where
    several threads of Python's compute side by side, these would take their cores.
    """
    before = thread_count()
    try:
        _set_here(1)
        yield
    finally:
        try:
            _set_here(before)
        except BaseException:  # Ctrl-C may come in between
            torch.set_num_threads(before)
            raise


def have_one_thread() -> None:
    """Let torch compute with one thread in the calling thread from now on."""
    thread_count()  # torch sets its own number at a thread's first call
    _set_here(1)


def _set_here(n_threads: int) -> None:
    # What was set last in any thread is torch's number for all threads that are new to it. Another
    # thread, which Ctrl-C does not end, sets it back at once.
    known, is_set = Event(), Event()

    def keep() -> None:
        elsewhere = torch.get_num_threads()
        known.set()
        is_set.wait()
        torch.set_num_threads(elsewhere)

    keeper = Thread(target=keep, daemon=True)
    with _setting:
        try:
            keeper.start()
            known.wait()
            torch.set_num_threads(n_threads)
        finally:
            is_set.set()
        keeper.join()
