"""Worker processes that leave Ctrl-C to the process that started them."""

from __future__ import annotations

import multiprocessing.resource_tracker
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cloudpickle
import joblib
from joblib.parallel import get_active_backend
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


def make_parallel(n_jobs: int | None) -> Parallel:
    """Return a `Parallel` that gives each result as soon as its backend lets it."""
    try:
        # One job at a time per worker: a batch of quick ones would hold back the progress report.
        return Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    except ValueError:  # "multiprocessing" gives all results at the end
        return Parallel(n_jobs=n_jobs, batch_size=1)


def find_unsendable(estimators: Mapping[str, Any], n_jobs: int | None) -> dict[str, Exception]:
    """Estimators that cannot be sent to worker processes, with the reason: one ends all jobs."""
    backend, _ = get_active_backend()
    if joblib.effective_n_jobs(n_jobs) == 1 or getattr(backend, "uses_threads", False):
        return {}
    unsendable: dict[str, Exception] = {}
    for name, estimator in estimators.items():
        try:
            cloudpickle.dumps(estimator)
        except Exception as error:
            unsendable[name] = error
    return unsendable


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
