"""Rounds of fits: candidates take turns, and every one is compared with skcnn of its own round."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from _timing import print_table, threads

# Processor time is nearly that of an idle machine, if one thread works and others share the core.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = CLOCKS[os.environ.get("BENCHMARK_CLOCK", "wall")]


class Run(NamedTuple):
    """What a fit took, and what shows that it did the same work as the others."""

    seconds: float
    loss: float = float("nan")
    n_parameters: int = 0


# Called once a round; says itself how long it took, so that what goes before is not timed.
Candidate = Callable[[], Run]


@contextmanager
def cores(n_threads: int) -> Iterator[None]:
    """Hold every library to `n_threads` threads and, where the system can, as many cores.

    XLA starts a thread for each core that it may use, and can be held in no other way.
    """
    with threads(n_threads):
        if not hasattr(os, "sched_setaffinity"):
            yield
            return
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(allowed)[:n_threads])
        try:
            yield
        finally:
            os.sched_setaffinity(0, allowed)


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    start = clock()
    function()
    return clock() - start


def first_runs(candidates: Mapping[str, Candidate]) -> dict[str, Run]:
    """Run every candidate once, for compilation and caches."""
    return {name: run() for name, run in candidates.items()}


def interleaved_runs(candidates: Mapping[str, Candidate], repeats: int) -> dict[str, list[Run]]:
    """Run all candidates once a round."""
    runs: dict[str, list[Run]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            runs[name].append(run())
    return runs


def median_seconds(runs: list[Run]) -> float:
    """Return the median time of the runs."""
    return statistics.median(run.seconds for run in runs)


def times_skcnn(runs: list[Run], own: list[Run]) -> float:
    """Return how much longer than skcnn's the runs took: the median of the rounds' ratios."""
    return statistics.median(
        run.seconds / mine.seconds for run, mine in zip(runs, own, strict=True)
    )


def product_run(size: int = 1024, n_products: int = 20) -> Run:
    """Multiply float32 matrices: what the machine can do at best."""
    a, b = torch.rand(2, size, size)
    out = torch.empty(size, size)

    def multiply() -> None:
        for _ in range(n_products):
            torch.mm(a, b, out=out)

    return Run(timed(multiply) / (n_products * 2 * size**3))


def print_fits(
    title: str,
    candidates: Mapping[str, Candidate],
    missing: Mapping[str, str],
    *,
    repeats: int,
    flops: float,
) -> None:
    """Time fits of `flops` operations each, the first of them skcnn's, and print their table."""
    first = first_runs(candidates)
    runs = interleaved_runs({**candidates, "product": product_run}, repeats)
    products = runs.pop("product")
    own = next(iter(runs.values()))
    rows: list[list[object]] = []
    for name, fits in runs.items():
        share = statistics.median(
            flops * product.seconds / fit.seconds
            for fit, product in zip(fits, products, strict=True)
        )
        rows.append(
            [
                name,
                median_seconds(fits),
                times_skcnn(fits, own),
                first[name].seconds,
                f"{100 * share:.1f} %",
                fits[-1].n_parameters,
                fits[-1].loss,
            ]
        )
    rows += [[name, f"missing: {why}", *[""] * 5] for name, why in missing.items()]
    columns = ["candidate", "seconds", "times skcnn", "first fit", "of the peak", "weights"]
    peak = 1e-9 / median_seconds(products)
    print_table(f"{title}; peak {peak:.0f} GFLOP/s", [*columns, "final loss"], rows)
