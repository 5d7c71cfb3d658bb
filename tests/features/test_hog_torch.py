"""HOG on torch devices: the same function on torch's CPU device, and the choice of the device."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from skcnn import HOGExtractor
from skcnn.features._hog_torch import hog_features
from tests.features.test_hog import photos

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(64, 40), (47, 33, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("orientations", [8, 9])
@pytest.mark.parametrize("block_norm", ["L1", "L1-sqrt", "L2", "L2-Hys"])
@pytest.mark.parametrize("transform_sqrt", [False, True])
def test_equals_the_kernel(shape, dtype, orientations, block_norm, transform_sqrt):
    images = photos(shape, dtype)
    extractor = HOGExtractor(
        orientations, (5, 7), (3, 2), block_norm, transform_sqrt=transform_sqrt
    )
    expected = extractor.fit_transform(images)
    features = hog_features(
        images.reshape(*images.shape[:3], -1),
        255.0 if dtype == np.uint8 else 1.0,
        transform_sqrt,
        (5, 7),
        (3, 2),
        orientations,
        False,
        False,
        block_norm,
        CPU,
    )
    assert features.dtype == expected.dtype
    np.testing.assert_allclose(features, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("transform_sqrt", [False, True])
def test_roots_of_the_smallest_shares_equal_the_kernel(transform_sqrt):
    # With few levels many gradients point to the very middle of a bin: the next gets nothing.
    levels = np.random.default_rng(0).integers(0, 4, (20, 24, 24, 3)).astype(np.float32) / 3
    voting = {"signed_gradient": False, "interpolate": True}
    extractor = HOGExtractor(4, (3, 3), (2, 2), "L1-sqrt", transform_sqrt=transform_sqrt, **voting)
    features = hog_features(
        levels, 1.0, transform_sqrt, (3, 3), (2, 2), 4, *voting.values(), "L1-sqrt", CPU
    )
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, extractor.fit_transform(levels), atol=1e-5, rtol=0)


def test_few_levels_equal_the_kernel():
    levels = np.random.RandomState(0).randint(0, 4, size=(3, 24, 24, 3))
    for images in (levels.astype(np.uint8), (levels / 7).astype(np.float32), levels * 0.1):
        divisor = 255.0 if images.dtype == np.uint8 else 1.0
        features = hog_features(images, divisor, False, (4, 4), (2, 2), 8, False, False, "L2", CPU)
        expected = HOGExtractor(8, (4, 4), (2, 2), "L2").fit_transform(images)
        np.testing.assert_allclose(features, expected, atol=1e-5, rtol=0)


def test_constant_images_give_zeros():
    images = np.full((2, 28, 28, 1), 0.7, dtype=np.float32)
    assert not hog_features(
        images, 1.0, False, (4, 4), (2, 2), 9, False, False, "L2-Hys", CPU
    ).any()


def test_transform_uses_the_device(monkeypatch):
    # Stands for a device other than the CPU, which this machine may lack.
    monkeypatch.setattr(HOGExtractor, "_torch_device", lambda self: CPU)
    images = photos((28, 28), np.float32)
    chunked = HOGExtractor(chunk_mib=0.01).fit_transform(images)
    monkeypatch.undo()
    expected = HOGExtractor().fit_transform(images)
    assert chunked.dtype == np.float32
    np.testing.assert_allclose(chunked, expected, atol=1e-5)
    assert (chunked != expected).any()


@pytest.mark.parametrize("voting", [{}, {"signed_gradient": True, "interpolate": True}])
@pytest.mark.parametrize("block_norm", ["L1", "L1-sqrt", "L2", "L2-Hys"])
@pytest.mark.parametrize(("dtype", "power"), [("f4", 66), ("f4", 127), ("f8", 531), ("f8", 1023)])
@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_values_that_overflow(shape, dtype, power, block_norm, voting, monkeypatch):
    # From -1 to 1, so that differences of the largest overflow too.
    images = np.concatenate([2 * photos(shape) - 1, np.zeros((1, *shape))]).astype(dtype)
    expected = HOGExtractor(block_norm=block_norm, **voting).fit_transform(np.ldexp(images, 30))
    monkeypatch.setattr(HOGExtractor, "_torch_device", lambda self: CPU)
    large = np.ldexp(images, power)
    features = HOGExtractor(block_norm=block_norm, **voting).fit_transform(large)
    np.testing.assert_allclose(features, expected, atol=1e-5, rtol=0)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    images = photos((28, 28))
    with pytest.raises(ValueError, match="device='cuda' is not available here"):
        HOGExtractor(device="cuda").fit(images)
    fitted = HOGExtractor().fit(images)
    expected = fitted.transform(images)
    elsewhere = pickle.loads(pickle.dumps(fitted.set_params(device="cuda")))
    np.testing.assert_array_equal(elsewhere.transform(images), expected)


def test_the_best_device_there_is(monkeypatch):
    devices = []

    def recorded(*arguments):
        devices.append(arguments[-1].type)
        return hog_features(*arguments)

    monkeypatch.setattr("skcnn.features._hog_torch.hog_features", recorded)
    images = photos((28, 28), np.float32)
    features = HOGExtractor(device="auto").fit_transform(images)
    if torch.cuda.is_available():
        assert set(devices) == {"cuda"}
    elif torch.backends.mps.is_available():
        assert set(devices) == {"mps"}
    else:
        assert HOGExtractor(device="auto")._torch_device() is None
        assert devices == []
    np.testing.assert_allclose(features, HOGExtractor().fit_transform(images), atol=1e-5)


def test_auto_takes_a_gpu_before_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert HOGExtractor(device="auto")._torch_device() == torch.device("cuda")


def test_the_cpu_needs_no_torch():
    code = (
        "import sys, numpy as np; from skcnn.features import HOGExtractor;"
        "HOGExtractor().fit_transform(np.ones((1, 8, 8), np.float32));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
