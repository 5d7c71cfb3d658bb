"""Chunks of work shared among threads, and work done ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from threading import Event, Lock, Thread
from typing import Any


def in_threads(
    n_threads: int,
    work: Callable[[slice], Any],
    chunks: Iterable[slice],
    *,
    within: Callable[[], AbstractContextManager] = nullcontext,
) -> list[Any]:
    """Return what `work` makes of each chunk, in order.

    The calling thread is one of the threads; unless it is the only one, each of them works in a
    context `within()`. joblib would do it too, but takes longer to start than a batch of small
    images takes; an executor takes half a millisecond more to start and to end than bare threads.
    """
    left = deque(enumerate(chunks))
    n_threads = min(n_threads, len(left))
    if n_threads <= 1:
        return [work(rows) for _, rows in left]
    results: list[Any] = [None] * len(left)
    failed: dict[int, BaseException] = {}
    taking = Lock()

    def next_chunk() -> tuple[int, slice] | None:
        with taking:
            return left.popleft() if left and not failed else None

    def take_chunks() -> None:
        number = -1
        try:
            with within():
                while (chunk := next_chunk()) is not None:
                    number, rows = chunk
                    results[number] = work(rows)
        except BaseException as error:
            failed[number] = error

    at_work: list[Event] = []

    def help_out() -> None:
        end = Event()
        at_work.append(end)
        try:
            take_chunks()
        finally:
            end.set()

    # Daemons, since one that Ctrl-C keeps from starting would keep the process from ending.
    helpers = [Thread(target=help_out, daemon=True) for _ in range(n_threads - 1)]
    try:
        for helper in helpers:
            helper.start()
        take_chunks()
        for helper in helpers:
            helper.join()
    except BaseException as error:  # there is no other thread, or Ctrl-C came in between
        failed[-1] = error  # so that nobody takes another chunk
        for end in list(at_work):
            end.wait()  # not join(), which takes a thread for ended once it was interrupted
    if failed:
        raise _most_urgent(failed)
    return results


def _most_urgent(failed: dict[int, BaseException]) -> BaseException:
    """Return Ctrl-C and its like, else the error of the first chunk that failed."""
    return min(failed.items(), key=lambda item: (isinstance(item[1], Exception), item[0]))[1]


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
