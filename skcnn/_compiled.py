"""How the kernels are compiled: numba's options, in one place.

numba writes three functions for each: what it is for, a wrapper for Python, and one for C. Wrappers
that nobody calls are left out, because they take as long to compile as a short function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(*fastmath: str) -> Callable[[Callable], Any]:
    """Compile a function that Python calls, and keep it on the disk.

    `fastmath` names what its sums and products may ignore, in the words of LLVM.
    """

    def compile_later(function: Callable) -> Any:
        try:
            return numba.njit(cache=True, **_options(fastmath))(function)
        except RuntimeError:  # there is no folder that may be written to
            return numba.njit(**_options(fastmath))(function)

    return compile_later


def part(*fastmath: str) -> Callable[[Callable], Any]:
    """Compile a function that only kernels call: calling it from Python would crash."""
    return numba.njit(**_options(fastmath, no_cpython_wrapper=True))


def inlined(function: Callable) -> Any:
    """Copy a function into the kernels that call it, which saves it the counting of references."""
    return numba.njit(inline="always")(function)


def _options(fastmath: tuple[str, ...], **wrappers: bool) -> dict[str, Any]:
    return {
        "nogil": True,
        # A check for a zero divisor would keep loops from becoming vector code.
        "error_model": "numpy",
        "fastmath": set(fastmath),
        "no_cfunc_wrapper": True,
        **wrappers,
    }
