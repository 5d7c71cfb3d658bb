"""Chunks of work shared among threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def in_threads(n_threads: int, work: Callable[[slice], Any], chunks: Iterable[slice]) -> list[Any]:
    """Return what `work` makes of each chunk, in order.

    joblib would do it too, but takes longer to start than a batch of small images takes.
    """
    if n_threads == 1:
        return [work(rows) for rows in chunks]
    pool = ThreadPoolExecutor(n_threads)
    try:
        return list(pool.map(work, chunks))
    finally:
        # After an error or Ctrl-C, the chunks that have not begun are left.
        pool.shutdown(cancel_futures=True)
