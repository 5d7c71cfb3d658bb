"""Chunks of work shared among threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from joblib import Parallel, delayed


def in_threads(n_threads: int, work: Callable[[slice], Any], chunks: Iterable[slice]) -> list[Any]:
    """Return what `work` makes of each chunk, in order."""
    if n_threads == 1:  # starting joblib takes longer than a small batch
        return [work(rows) for rows in chunks]
    return Parallel(n_jobs=n_threads, require="sharedmem")(delayed(work)(rows) for rows in chunks)
