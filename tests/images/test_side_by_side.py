"""Containers of the user's, read by one thread at a time."""

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skcnn.features._set_batch import SetBatch
from skcnn.images import ImageBatch


class Tape:
    """Finds its place first and reads then, as files do."""

    def __init__(self, images):
        self._images, self.shape, self.dtype = images, images.shape, images.dtype
        self._place, self._busy, self.n_at_once = 0, 0, 0

    def __len__(self):
        return len(self._images)

    def __getitem__(self, rows):
        self._busy += 1
        self.n_at_once = max(self.n_at_once, self._busy)
        self._place = rows.start
        time.sleep(0.001)
        n = rows.stop - rows.start
        found = self._images[self._place : self._place + n]
        self._busy -= 1
        return found


@pytest.mark.parametrize("how", ["read", "read_stored"])
def test_a_container_has_one_reader_at_a_time(how):
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 3), np.uint8)
    tape = Tape(images)
    batch = ImageBatch(tape)
    expected = ImageBatch(images)
    slices = [slice(i, i + 2) for i in range(0, 40, 2)]

    def pixels(batch, rows):
        found = getattr(batch, how)(rows)
        return found if how == "read" else found[0]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: pixels(batch, rows), slices))
    for rows, read in zip(slices, found, strict=True):
        assert np.array_equal(read, pixels(expected, rows))
    assert tape.n_at_once == 1


def test_a_container_of_descriptors_has_one_reader_at_a_time():
    descriptors = np.random.default_rng(0).random((40, 3, 4))
    tape = Tape(descriptors)
    slices = [slice(i, i + 2) for i in range(0, 40, 2)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(SetBatch(tape).read, slices))
    assert np.array_equal(np.concatenate(found), descriptors.reshape(-1, 4))
    assert tape.n_at_once == 1


def test_arrays_have_several():
    both_are_here = threading.Barrier(2)

    class Watched(np.ndarray):
        def __getitem__(self, rows):
            both_are_here.wait(timeout=60)
            return super().__getitem__(rows)

    batch = ImageBatch(np.zeros((4, 3, 3)).view(Watched))
    with ThreadPoolExecutor(2) as pool:
        read = list(pool.map(batch.read, [slice(0, 2), slice(2, 4)]))
    assert np.concatenate(read).shape == (4, 3, 3, 1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_copies_take_turns_of_their_own(copied):
    batch = ImageBatch(Tape(np.ones((4, 3, 3))))
    assert np.array_equal(copied(batch).read(slice(1, 3)), np.ones((2, 3, 3, 1)))
