"""Tests of skcnn.neural._maps."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from skcnn import CNNClassifier
from skcnn.neural import _training
from skcnn.neural._maps import Room, as_images, empty_maps

SHAPES = [(3, 5, 4, 2), (2, 1, 3, 3), (7, 40, 40, 30), (1, 512, 1, 1024), (200, 1, 40, 40)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_empty_maps_are_as_torch_lays_them_out(shape, dtype):
    expected = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
    with Room().in_use():
        maps = empty_maps(shape, torch.empty(1, dtype=dtype))
    assert maps.shape == expected.shape
    assert maps.stride() == expected.stride()
    assert maps.dtype == dtype
    assert maps.untyped_storage().nbytes() == expected.untyped_storage().nbytes()
    assert maps.data_ptr() % 64 == 0
    assert not maps._is_view()  # which torch would not let layers change in place
    values = torch.randn(shape).to(dtype)
    np.testing.assert_array_equal(maps.copy_(values).float(), values.float())


def large(n_images=200, dtype=torch.float32):
    """Return new maps of 0.73 MB or more."""
    return empty_maps((n_images, 1, 30, 30), torch.empty(1, dtype=dtype))


def test_room_is_used_again_when_nothing_lies_there_any_more():
    with Room().in_use():
        maps, others = large().fill_(1), large().fill_(2)
        place, view = maps.data_ptr(), maps[5]
        del maps
        third = large()
        assert third.data_ptr() != place  # where a part is still held
        del view
        kept = large(150).fill_(3)
        assert kept.data_ptr() == place
        assert large(150).fill_(4).data_ptr() not in (place, others.data_ptr())
    assert (others == 2).all()
    assert (kept == 3).all()


def test_room_that_is_much_too_large_is_not_taken():
    with Room().in_use():
        place = large(400).data_ptr()
        assert large(150).data_ptr() != place
        assert large(200, torch.float64).data_ptr() == place


def place_of_maps():
    return large().data_ptr()


def test_room_belongs_to_a_thread_and_ends_with_the_block():
    room = Room()
    with room.in_use(), ThreadPoolExecutor(1) as pool:
        place = place_of_maps()
        with Room().in_use():
            assert place_of_maps() != place
        assert pool.submit(place_of_maps).result() != place
        assert place_of_maps() == place
    assert place_of_maps() != place  # the room holds that as long as it lives
    with room.in_use():
        assert place_of_maps() == place


def test_maps_beyond_the_room_are_torchs_own():
    room = Room()
    with room.in_use():
        maps = [large(1000) for _ in range(5)]  # of 3.4 MiB each
        places = [one.data_ptr() for one in maps[:2]]
        maps[3].resize_(2000, 1, 30, 30)  # which NumPy's memory does not allow
        with pytest.raises(RuntimeError, match="resize"):
            maps[1].resize_(2000, 1, 30, 30)
        assert room.lend(3_600_000) is None
        del maps
        assert {large(1000).data_ptr() for _ in range(9)} <= set(places)


def test_room_goes_with_the_last_that_lies_there():
    room = Room()
    with room.in_use():
        maps = large()
    known = weakref.ref(room)
    del room
    assert known() is None
    assert maps.fill_(1).sum() == maps.numel()


def test_maps_in_a_room_may_be_kept_after_it():
    with Room().in_use():
        maps = [large().fill_(i) for i in range(5)]
        del maps[1::2]
        more = [large().fill_(10 + i) for i in range(2)]
    gc.collect()
    assert [float(one.unique()) for one in maps] == [0, 2, 4]
    assert [float(one.unique()) for one in more] == [10, 11]


def test_other_devices_get_maps_of_their_own():
    maps = empty_maps((2, 3, 4, 5), torch.empty(1, device="meta"))
    assert maps.device.type == "meta"
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_as_images_shares_memory_with_maps_that_lie_so():
    maps = empty_maps((4, 8, 30, 30), torch.empty(1)).fill_(0)
    as_images(maps)[2, 5, 7, 3] = 9
    assert maps[2, 3, 5, 7] == 9


@pytest.mark.parametrize("n_threads", [1, 2])
def test_maps_of_a_training_lie_in_rooms(n_threads, monkeypatch):
    places, lend = [], Room.lend

    def watched(room, n_bytes):
        lent = lend(room, n_bytes)
        if lent is not None:
            places.append((id(room), lent.__array_interface__["data"][0]))
        return lent

    monkeypatch.setattr(Room, "lend", watched)
    X = np.random.default_rng(0).random((640, 28, 28), np.float32)
    network = CNNClassifier(conv_channels=(32, 32), batch_size=128, max_iter=1, device="cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        network.fit(X, np.arange(640) % 2)
    finally:
        torch.set_num_threads(before)
    # One of each member of a team, all of which one thread may serve while the other one starts.
    assert len({room for room, _ in places}) == n_threads
    assert len(set(places)) < len(places) / 2


def test_losses_of_steps_are_no_tensors_on_the_cpu(monkeypatch):
    kept, mean = [], _training._mean
    monkeypatch.setattr(_training, "_mean", lambda *args: kept.append(args[0]) or mean(*args))
    X, y = np.random.default_rng(0).random((60, 12, 12), np.float32), np.arange(60) % 2
    network = CNNClassifier(conv_channels=(4,), batch_size=16, max_iter=2, device="cpu")
    network.fit(X, y, X_val=X[:20], y_val=y[:20])
    assert [len(losses) for losses in kept] == [4, 2, 4, 2]
    assert all(type(loss) is float for losses in kept for loss in losses)
