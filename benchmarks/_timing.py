"""Side-by-side timing: candidates take turns, so that a noisy machine is noisy for all of them."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager

import cv2
import torch
from threadpoolctl import threadpool_limits


@contextmanager
def threads(n_threads: int):
    """Hold every library to `n_threads` threads: BLAS, OpenMP, torch and OpenCV."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(n_threads)
    cv2.setNumThreads(n_threads)
    try:
        with threadpool_limits(n_threads):
            yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def interleaved(
    candidates: Mapping[str, Callable[[], object]], repeats: int = 7
) -> dict[str, float]:
    """Return the median seconds of each candidate; each round runs all of them once.

    A run before the first round, untimed, takes care of compilation and caches.
    """
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_machine(n_threads: int) -> None:
    """Say what the figures below were measured on."""
    print(f"{os.cpu_count()} cores, {n_threads} thread(s), load {os.getloadavg()[0]:.1f}")


def print_table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        cells = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
        print("| " + " | ".join(cells) + " |", flush=True)
