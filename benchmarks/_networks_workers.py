"""Candidates in processes of their own, idle when it is not their turn.

What a loop takes depends on the memory that those before it have left behind: a process that has
fitted a large network once gets its maps from the allocator faster than one that never did. Nobody
trains ten libraries' networks in one script, so none of them runs in the leftovers of another.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from _networks_timing import Run
from _timing import threads

# Makes a candidate, inside its process; what it is made of must be picklable.
Builder = Callable[[], Callable[..., Run]]


class Worker:
    """A candidate in a process: calls of it are calls of what `build` has made there."""

    def __init__(self, build: Builder, n_threads: int) -> None:
        context = get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, build, n_threads), daemon=True)
        self._process.start()
        there.close()

    def wait(self) -> None:
        """Wait until the candidate is made."""
        self._answer()

    def __call__(self, *arguments: object) -> Run:
        """Run the candidate and wait for it."""
        self._connection.send(arguments)
        return self._answer()

    def _answer(self) -> Run:
        result = self._connection.recv()
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, build: Builder, n_threads: int) -> None:
    with threads(n_threads):
        try:
            run = build()
            connection.send(None)
            while True:
                connection.send(run(*connection.recv()))
        except Exception as error:
            connection.send(error)


@contextmanager
def workers(builders: Mapping[str, Builder], n_threads: int) -> Iterator[dict[str, Worker]]:
    """Start a process for each candidate; end them all at last."""
    started = {name: Worker(build, n_threads) for name, build in builders.items()}
    try:
        for worker in started.values():
            worker.wait()
        yield started
    finally:
        for worker in started.values():
            worker.close()
