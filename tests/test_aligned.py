"""Arrays that begin where a line of the cache does."""

import numpy as np
import pytest

from skcnn._aligned import empty_aligned


@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 1, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_arrays_are_aligned_and_can_be_written_to(shape, dtype):
    array = empty_aligned(shape, dtype)
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert (array.shape, array.dtype) == (shape, dtype)
    array[...] = 1
    assert array.sum() == np.prod(shape)


def test_arrays_share_no_memory():
    first, second = empty_aligned((100,), np.float32), empty_aligned((100,), np.float32)
    assert not np.shares_memory(first, second)
