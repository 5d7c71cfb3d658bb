"""Parameters that are sizes: one int, a pair of ints, or a list of them."""

from __future__ import annotations

from typing import Any

import numpy as np


def int_pair(name: str, value: Any, *, least: int = 1) -> tuple[int, int]:
    """Return (height, width) of an int or of two ints.

    Raises
    ------
    ValueError
        If `value` is neither, or smaller than `least`.
    """
    sizes = (value, value) if _is_int(value) else _as_tuple(value)
    if len(sizes) != 2 or not all(_is_int(size) and size >= least for size in sizes):
        raise ValueError(
            f"{name} must be (height, width), two ints of at least {least}, got {value!r}."
        )
    return int(sizes[0]), int(sizes[1])


def layer_sizes(name: str, value: Any) -> tuple[int, ...]:
    """Return the numbers of units of a stack of layers; one int is one layer.

    Raises
    ------
    ValueError
        If a size is not a positive int.
    """
    sizes = (value,) if _is_int(value) else _as_tuple(value)
    if not all(_is_int(size) and size > 0 for size in sizes):
        raise ValueError(f"{name} must be positive ints, one a layer, got {value!r}.")
    return tuple(int(size) for size in sizes)


def _as_tuple(value: Any) -> tuple:
    try:
        return tuple(value)
    except TypeError:  # a bool, or an array without dimensions
        return (value,)


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
