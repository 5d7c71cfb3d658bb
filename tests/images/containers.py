"""Containers of images that count what is read from them."""

import errno
import os

import numpy as np


class SliceOnly:
    """The least that an image batch may be: a shape, a dtype, a length and slices with step 1."""

    def __init__(self, array, dtype=None):
        self.shape = array.shape
        self.dtype = array.dtype if dtype is None else dtype
        self.reads = []
        self._array = array

    def __len__(self):
        return len(self._array)

    def __getitem__(self, key):
        if not isinstance(key, slice) or key.step not in (None, 1):
            raise TypeError(f"slices only, got {key!r}")
        start, stop = key.start, key.stop
        if not (isinstance(start, int) and isinstance(stop, int) and 0 <= start <= stop):
            raise TypeError(f"plain slices only, got {key!r}")
        self.reads.append((start, stop))
        return self._array[key]

    @property
    def rows_read(self):
        return sum(stop - start for start, stop in self.reads)


def random_images(shape, dtype, seed=0):
    """Return an array that spans the range of `dtype`."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def forbid(monkeypatch, folder):
    """Pretend that a folder may not be listed; tests may be run by one who may list all."""
    scandir = os.scandir

    def refuse(path):
        if os.path.realpath(path) == os.path.realpath(folder):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
