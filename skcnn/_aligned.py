"""Arrays for vector code."""

from math import prod

import numpy as np
from numpy.typing import DTypeLike

# Bytes of a line of the cache, and of the longest vector.
_LINE = 64


def empty_aligned(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array, its values to be written, that begins where a line of the cache does.

    NumPy's own begin at any multiple of 16 bytes: there, most vectors are read from two lines.
    """
    dtype = np.dtype(dtype)
    n_bytes = prod(shape) * dtype.itemsize
    room = np.empty(n_bytes + _LINE, np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + n_bytes].view(dtype).reshape(shape)
