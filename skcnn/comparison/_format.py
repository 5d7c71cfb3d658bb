"""Numbers as people read them."""

from __future__ import annotations

import math

_DASH = "–"  # noqa: RUF001 - the typographic mark for "not known"


def format_score(score: float, digits: int = 3) -> str:
    """A score with `digits` decimals."""
    return _DASH if math.isnan(score) else f"{score:.{digits}f}"


def format_difference(difference: float, digits: int = 3) -> str:
    """A signed difference of scores, with a true minus sign."""
    if math.isnan(difference):
        return _DASH
    rounded = round(difference, digits) + 0.0
    sign = "\N{MINUS SIGN}" if rounded < 0 else "+" if rounded > 0 else ""
    return f"{sign}{abs(rounded):.{digits}f}"


def format_pvalue(pvalue: float) -> str:
    """A p value with three decimals; smaller ones are bounded."""
    if math.isnan(pvalue):
        return _DASH
    return "< 0.001" if pvalue < 0.001 else f"{pvalue:.3f}"


def format_duration(seconds: float) -> str:
    """A time span in the unit that suits it."""
    if math.isnan(seconds):
        return _DASH
    if seconds >= 3600:
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60} min"
    if seconds >= 99.5:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60} s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.995 * scale:
            return f"{_three_digits(seconds / scale)} {unit}"
    return f"{_three_digits(seconds / 1e-9)} ns"


def format_count(count: float | None) -> str:
    """A whole number, large ones in thousands, millions or billions."""
    if count is None or math.isnan(count):
        return _DASH
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * scale:
            return f"{_three_digits(count / scale)} {unit}"
    return f"{count:.0f}"


def format_bytes(n_bytes: float | None) -> str:
    """A size on disk in B, kB, MB or GB (powers of 1000)."""
    if n_bytes is None or math.isnan(n_bytes):
        return _DASH
    return format_count(n_bytes).replace("k", "kB").replace("M", "MB").replace("G", "GB") + (
        " B" if n_bytes < 999.5 else ""
    )


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def printable(text: str) -> str:
    """A text with control characters escaped: a name must not steer the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )
