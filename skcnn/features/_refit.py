"""A fit that fails leaves what an earlier one has learnt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sklearn.base import BaseEstimator


@contextmanager
def as_it_was_if_it_fails(estimator: BaseEstimator) -> Iterator[None]:
    """Let a fit that fails, or is interrupted, change nothing of the estimator."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
