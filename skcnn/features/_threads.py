"""Chunks of work shared among threads, and work done ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def in_threads(
    n_threads: int,
    work: Callable[[slice], Any],
    chunks: Iterable[slice],
    *,
    start: Callable[[], None] | None = None,
) -> list[Any]:
    """Return what `work` makes of each chunk, in order.

    New threads begin with `start`; with a single thread there is no new one. joblib would do it
    too, but takes longer to start than a batch of small images takes.
    """
    if n_threads == 1:
        return [work(rows) for rows in chunks]
    pool = ThreadPoolExecutor(n_threads, initializer=start)
    try:
        return list(pool.map(work, chunks))
    finally:
        # After an error or Ctrl-C, the chunks that have not begun are left.
        pool.shutdown(cancel_futures=True)


def one_ahead(
    prepare: Callable[[slice], Any], chunks: Iterable[slice]
) -> Iterator[tuple[slice, Any]]:
    """Yield each chunk with what `prepare` makes of it, and prepare the next one in the meantime.

    Another thread prepares: that pays where it does not keep this one from working.
    """
    pool = ThreadPoolExecutor(1)
    try:
        ready = None
        for rows in chunks:
            coming = rows, pool.submit(prepare, rows)
            if ready is not None:
                yield ready[0], ready[1].result()
            ready = coming
        if ready is not None:
            yield ready[0], ready[1].result()
    finally:
        pool.shutdown(cancel_futures=True)
