"""Worker processes that leave Ctrl-C to the process that started them."""

from __future__ import annotations

import multiprocessing.resource_tracker
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
from sklearn.utils.parallel import Parallel, delayed


def start_workers(n_jobs: int | None) -> None:
    """Start the processes that a `Parallel` of as many jobs will use.

    A terminal sends Ctrl-C to every process. Workers that took it would print one traceback each;
    started while it is held back, they inherit that, and are ended by joblib when the main process
    gives up.
    """
    n_workers = joblib.effective_n_jobs(n_jobs)
    if n_workers > 1 and hasattr(signal, "pthread_sigmask"):
        _start_resource_trackers()
        with _interrupts_held_back():
            Parallel(n_jobs=n_jobs)(delayed(_do_nothing)() for _ in range(n_workers))


def _start_resource_trackers() -> None:
    """Start the trackers of Python and of loky ahead of time: that lets Ctrl-C through again."""
    multiprocessing.resource_tracker.ensure_running()
    try:
        from joblib.externals.loky.backend import resource_tracker
    except ImportError:  # another arrangement of joblib: at worst, workers print a traceback
        return
    resource_tracker.ensure_running()


def _do_nothing() -> None:
    pass


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C meanwhile arrives at the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
