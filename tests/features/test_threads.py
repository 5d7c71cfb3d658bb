"""Chunks shared among threads: order, errors, Ctrl-C."""

import signal
import time
from contextlib import contextmanager
from threading import Barrier, Thread, get_ident, main_thread

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


def test_the_error_of_the_first_chunk_is_told():
    both_are_here = Barrier(2)

    def work(rows):
        both_are_here.wait(timeout=60)
        time.sleep(0.05 * (1 - rows.start))
        raise ValueError(f"chunk {rows.start}")

    with pytest.raises(ValueError, match="chunk 0"):
        in_threads(2, work, CHUNKS[:2])


def test_ctrl_c_comes_before_other_errors():
    both_are_here = Barrier(2)

    def work(rows):
        both_are_here.wait(timeout=60)
        raise (KeyboardInterrupt if rows.start else ValueError)

    with pytest.raises(KeyboardInterrupt):
        in_threads(2, work, CHUNKS[:2])


def test_ctrl_c_waits_for_chunks_of_other_threads():
    both_are_here, here, finished = Barrier(2), get_ident(), []

    def work(rows):
        both_are_here.wait(timeout=60)
        if get_ident() != here:
            time.sleep(0.1)  # the calling thread is waiting for this one
            signal.pthread_kill(main_thread().ident, signal.SIGINT)
            time.sleep(0.2)
            finished.append(rows.start)

    # Python's own handling of Ctrl-C is switched off where tests run in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_threads(2, work, CHUNKS[:2])
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(finished) == 1


def test_nothing_is_done_without_all_threads(monkeypatch):
    done, start = [], Thread.start

    def fail_at_the_second(thread):
        if done:
            raise RuntimeError("can't start new thread")
        start(thread)
        while not done:
            time.sleep(0.001)

    def work(rows):
        done.append(rows.start)
        time.sleep(0.01)

    monkeypatch.setattr(Thread, "start", fail_at_the_second)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        in_threads(3, work, CHUNKS)
    assert len(done) < 10


@pytest.mark.parametrize("who_fails", ["calling thread", "other thread"])
def test_no_thread_works_on_after_an_error(who_fails):
    both_are_here, here, finished = Barrier(2), get_ident(), []

    def work(rows):
        both_are_here.wait(timeout=60)
        if (get_ident() == here) == (who_fails == "calling thread"):
            raise ValueError("no")
        time.sleep(0.2)
        finished.append(rows.start)

    with pytest.raises(ValueError, match="no"):
        in_threads(2, work, CHUNKS)
    assert len(finished) == 1


def test_the_calling_thread_takes_part():
    all_are_here = Barrier(3)

    def work(rows):
        all_are_here.wait(timeout=60)
        return get_ident()

    threads = in_threads(3, work, CHUNKS[:3])
    assert len(set(threads)) == 3
    assert get_ident() in threads


@pytest.mark.parametrize("fails", [False, True])
def test_each_thread_works_within_a_context_of_its_own(fails):
    entered, left = [], []

    @contextmanager
    def here():
        entered.append(get_ident())
        try:
            yield
        finally:
            left.append(get_ident())

    all_are_here = Barrier(2)

    def work(rows):
        all_are_here.wait(timeout=60)
        assert get_ident() in entered
        if fails:
            raise ValueError("no")

    if fails:
        with pytest.raises(ValueError, match="no"):
            in_threads(2, work, CHUNKS[:2], within=here)
    else:
        in_threads(2, work, CHUNKS[:2], within=here)
    assert len(entered) == 2
    assert sorted(entered) == sorted(left)
