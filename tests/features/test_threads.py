"""Chunks shared among threads: order, errors, Ctrl-C."""

import time

import pytest

from skcnn.features._threads import in_threads

CHUNKS = [slice(i, i + 1) for i in range(40)]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_are_in_order(n_threads):
    def work(rows):
        time.sleep(0.001 * (rows.start % 3))
        return rows.start

    assert in_threads(n_threads, work, iter(CHUNKS)) == list(range(40))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_ends_the_work(n_threads, error):
    begun = []

    def work(rows):
        begun.append(rows.start)
        time.sleep(0.005)
        if rows.start == 1:
            raise error("chunk 1")

    with pytest.raises(error, match="chunk 1"):
        in_threads(n_threads, work, CHUNKS)
    assert len(begun) < 10
