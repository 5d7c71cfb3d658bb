"""Learning rates that follow a plan."""

from __future__ import annotations

import math
from collections.abc import Callable

# scikit-learn's names, then plans over the whole of a training.
SKLEARN_SCHEDULES = ("constant", "invscaling", "adaptive")


def _step(done: float) -> float:
    return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _one_cycle(done: float) -> float:
    return done / 0.3 * 0.96 + 0.04 if done < 0.3 else _cosine((done - 0.3) / 0.7)


# Name -> factor of the learning rate after a share `done` of all steps.
PLANS: dict[str, Callable[[float], float]] = {
    "step": _step,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}
