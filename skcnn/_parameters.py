"""Parameters that are sizes: one int, a pair of ints, or a list of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

_Value = TypeVar("_Value")


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


def block_channels(value: Any) -> list[tuple[int, ...]]:
    """Return the numbers of kernels of each block; an int is a block of one convolution.

    Raises
    ------
    ValueError
        If a number is not a positive int, or a block is empty.
    """
    blocks = (value,) if _is_int(value) else _as_tuple(value)
    channels = [layer_sizes("conv_channels", block) for block in blocks]
    if not all(channels):
        raise ValueError(f"conv_channels must hold ints or tuples of ints, got {value!r}.")
    return channels


def per_block(
    name: str, value: Any, n_blocks: int, check: Callable[[str, Any], _Value]
) -> list[_Value]:
    """Return one checked value for each block: those of a list, or the same for all.

    Raises
    ------
    ValueError
        If a list has another length, or `check` refuses a value.
    """
    values = value if isinstance(value, list) else [value] * n_blocks
    if len(values) != n_blocks:
        raise ValueError(
            f"{name} must have one entry for each of the {n_blocks} blocks of conv_channels, got "
            f"{len(values)}: {value!r}."
        )
    return [check(name, entry) for entry in values]


def _as_tuple(value: Any) -> tuple:
    try:
        return tuple(value)
    except TypeError:  # a bool, or an array without dimensions
        return (value,)


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
