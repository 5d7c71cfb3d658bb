"""How many threads torch computes with, told to one thread of Python's at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread

import torch

_setting = Lock()


@contextmanager
def one_thread_here() -> Iterator[None]:
    """Let torch compute with one thread in the calling thread, and as before in all others.

    torch shares each operation among threads that spin while they wait for the next one. Where
    several threads of Python's compute side by side, these would take their cores.
    """
    before = torch.get_num_threads()
    _set_here(1)
    try:
        yield
    finally:
        _set_here(before)


def have_one_thread() -> None:
    """Let torch compute with one thread in the calling thread from now on."""
    torch.get_num_threads()  # torch sets its own number at a thread's first call
    _set_here(1)


def _set_here(n_threads: int) -> None:
    # What was set last in any thread is torch's number for all threads that are new to it, so it is
    # set back at once.
    with _setting:
        elsewhere: list[int] = []
        _in_new_thread(lambda: elsewhere.append(torch.get_num_threads()))
        torch.set_num_threads(n_threads)
        _in_new_thread(lambda: torch.set_num_threads(elsewhere[0]))


def _in_new_thread(work: Callable[[], None]) -> None:
    thread = Thread(target=work)
    thread.start()
    thread.join()
