"""Axes: from values to pixels, and the values worth a tick."""

from __future__ import annotations

import math
from collections.abc import Sequence


class LinearScale:
    """Maps an interval of values linearly to pixels."""

    def __init__(self, values: Sequence[float], start: float, stop: float) -> None:
        low, high = min(values), max(values)
        margin = 0.06 * (high - low) or 0.02 * max(abs(high), 0.5)
        is_share = low >= 0 and high <= 1
        self.low = max(low - margin, 0.0) if is_share else low - margin
        self.high = min(high + margin, 1.0) if is_share else high + margin
        self.start, self.stop = start, stop

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, at_most: int = 8) -> list[tuple[float, str]]:
        """Round values inside the axis and their texts."""
        step = _round_step((self.high - self.low) / at_most)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        ticks = (index * step for index in range(first, last + 1))
        return [(tick, _true_minus(f"{tick + 0.0:.{decimals}f}")) for tick in ticks]


class LogScale:
    """Maps positive values logarithmically to pixels."""

    def __init__(self, values: Sequence[float], start: float, stop: float) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        # At least a factor of six: noise in equal times must not look like a difference.
        margin = max(0.06 * (high - low), (0.8 - (high - low)) / 2)
        self.low, self.high = low - margin, high + margin
        self.start, self.stop = start, stop

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, at_most: int = 7) -> list[float]:
        """Values of 1, 2 and 5 times a power of ten, or of the powers alone where those suffice."""
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            ticks = [factor * 10.0**decade for decade in decades for factor in factors]
            inside = [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]
            if len(inside) <= at_most:
                return inside
        return inside[:: math.ceil(len(inside) / at_most)]


def _round_step(at_least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `at_least`."""
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= at_least * (1 - 1e-9))


def _true_minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
