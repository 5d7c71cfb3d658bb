"""Devices and precisions: nothing is wired to the CPU, as far as a machine without others shows."""

import pickle

import numpy as np
import pytest
import torch

from skcnn import (
    Augmentation,
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    load_digit_images,
)
from skcnn import _devices as devices
from skcnn.neural import _base, _fit
from skcnn.neural._training import LeanNet

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")
NETWORKS = {
    "MLPClassifier": (MLPClassifier, {"hidden_layer_sizes": (32,)}),
    "CNNClassifier": (CNNClassifier, {"conv_channels": (8,), "hidden_layer_sizes": (16,)}),
    "MLPRegressor": (MLPRegressor, {"hidden_layer_sizes": (32,)}),
    "CNNRegressor": (CNNRegressor, {"conv_channels": (8,), "hidden_layer_sizes": (16,)}),
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:400], y[:400]


def make(name, **parameters):
    network, options = NETWORKS[name]
    quick = {"max_iter": 2, "batch_size": 32, "learning_rate_init": 0.005, "random_state": 0}
    return network(**{**quick, **options, **parameters})


@pytest.fixture
def machine(monkeypatch):
    """Pretend that a machine has so many GPUs of CUDA, or Apple's."""

    def pretend(*, n_cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n_cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    pretend()
    return pretend


@pytest.mark.parametrize(
    ("there", "best"),
    [
        ({}, "cpu"),
        ({"mps": True}, "mps"),
        ({"n_cuda": 1}, "cuda"),
        ({"n_cuda": 2, "mps": True}, "cuda"),
    ],
)
def test_auto_takes_the_best_there_is(there, best, machine):
    machine(**there)
    for choose in (devices.training_device, devices.prediction_device):
        assert choose("auto") == torch.device(best)
        assert choose("cpu") == torch.device("cpu")


def test_a_gpu_that_is_there_is_taken_and_one_that_is_not_is_named(machine):
    machine(n_cuda=2)
    assert devices.training_device("cuda:1") == torch.device("cuda:1")
    assert devices.prediction_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="device='cuda:2' is not available here"):
        devices.training_device("cuda:2")
    assert devices.prediction_device("cuda:2") == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta", "xla", "", "CPU"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_unknown_devices(device, method, digits):
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu', 'cuda', 'cuda:1'"):
        getattr(make("MLPClassifier", device=device), method)(*digits)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "auto"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_of_a_gpu_predicts_where_there_is_none(name, device, digits, machine, monkeypatch):
    X, y = digits
    with monkeypatch.context() as patched:  # stands for a fit on that device
        patched.setattr(_fit, "training_device", lambda name: torch.device("cpu"))
        stored = pickle.dumps(make(name, device=device).fit(X, y))
    loaded = pickle.loads(stored)
    assert loaded.device == device
    expected = make(name, device="cpu").fit(X, y).predict(X)
    np.testing.assert_array_equal(loaded.predict(X), expected)
    if device != "auto":
        with pytest.raises(ValueError, match=f"device='{device}' is not available here"):
            loaded.fit(X, y)
        np.testing.assert_array_equal(loaded.predict(X), expected)


class CpuGenerator(torch.Generator):
    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu")


@pytest.fixture
def on_meta(monkeypatch):
    """Train and predict on torch's device without memory, which refuses tensors of the CPU.

    What comes back to the CPU is ones; generators, which it does not have, are the CPU's. What is
    returned says where training steps were and what came back from where.
    """
    meta, to_cpu = torch.device("meta"), torch.Tensor.cpu
    seen = {"steps": set(), "back": set()}

    def cpu(tensor):
        seen["back"].add((tensor.device.type, tensor.dtype))
        return torch.ones(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else to_cpu(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    monkeypatch.setattr(torch, "Generator", CpuGenerator)
    monkeypatch.setattr(_fit, "training_device", lambda name: meta)
    monkeypatch.setattr(_base, "prediction_device", lambda name: meta)
    monkeypatch.setattr(LeanNet, "_ensure_finite", lambda self: None)
    forward = torch.nn.Linear.forward

    def noted(self, inputs):
        if self.training:
            seen["steps"].add((inputs.device.type, self.weight.device.type, inputs.dtype))
        return forward(self, inputs)

    monkeypatch.setattr(torch.nn.Linear, "forward", noted)
    return seen


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"solver": "sgd", "ema_decay": 0.9, "max_grad_norm": 1.0, "learning_rate": "cosine"},
        {"solver": "adamw", "dropout": 0.5, "input_dropout": 0.1, "batch_norm": True},
        {"early_stopping": True, "solver": "sgd", "learning_rate": "adaptive"},
        {"augment": Augmentation(shift=1, rotation=10), "n_augmentations": 2},
        {"dropout": 0.5, "n_dropout_samples": 3},
    ],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_and_prediction_stay_on_their_device(name, parameters, digits, on_meta):
    X, y = digits
    fitted = make(name, **parameters).fit(X, y, sample_weight=np.linspace(1, 2, len(X)))
    assert fitted.n_iter_ == 2
    assert all(isinstance(value, np.ndarray) for value in fitted.weights_.values())
    streamed = make(name, **parameters | {"early_stopping": False, "learning_rate": "constant"})
    streamed.partial_fit(X, y).partial_fit(X, y)
    # float64 is slow on most accelerators, and missing on some.
    assert on_meta["steps"] == {("meta", "meta", torch.float32)}
    on_meta["back"].clear()
    predicted = fitted.predict(X)
    assert {dtype for device, dtype in on_meta["back"] if device == "meta"} == {torch.float32}
    assert predicted.shape == (len(X),)


@pytest.mark.parametrize("name", ["MLPClassifier", "CNNClassifier"])
def test_predictions_off_the_cpu_are_float32(name, digits, on_meta):
    X, y = digits
    fitted = make(name).fit(X, y)
    assert fitted.predict_proba(X.astype(np.float64)).dtype == np.float32


ACCURATE = {"max_iter": 12, "precision": "float32"}


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", ["MLPClassifier", "CNNClassifier"])
def test_every_precision_learns(name, precision, digits):
    X, y = digits
    fitted = make(name, **{**ACCURATE, "precision": precision}).fit(X[:300], y[:300])
    reference = make(name, **ACCURATE).fit(X[:300], y[:300])
    score = fitted.score(X[300:], y[300:])
    assert score >= 0.85
    assert score == pytest.approx(reference.score(X[300:], y[300:]), abs=0.05)
    stored = np.float64 if precision == "float64" else np.float32
    assert {w.dtype for n, w in fitted.weights_.items() if "num_batches" not in n} == {
        np.dtype(stored)
    }


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
@pytest.mark.parametrize("name", ["MLPRegressor", "CNNRegressor"])
def test_every_precision_learns_numbers(name, precision, digits):
    X, y = digits
    fitted = make(name, max_iter=15, precision=precision).fit(X, y.astype(float))
    assert fitted.score(X, y) > 0.8


def test_bfloat16_computes_in_bfloat16(digits, monkeypatch):
    seen, forward = set(), torch.nn.Linear.forward

    def noted(self, inputs):
        outputs = forward(self, inputs)
        seen.add((self.training, outputs.dtype))
        return outputs

    monkeypatch.setattr(torch.nn.Linear, "forward", noted)
    for name in ("MLPClassifier", "CNNClassifier"):
        seen.clear()
        make(name, precision="bfloat16").fit(*digits)
        assert (True, torch.bfloat16) in seen
        assert (True, torch.float32) not in seen


@pytest.mark.parametrize(
    ("name", "images", "weights"),
    [
        # As scikit-learn's perceptrons do.
        ("MLPClassifier", np.float64, np.float64),
        ("MLPRegressor", np.float64, np.float64),
        ("MLPClassifier", np.float32, np.float32),
        ("MLPRegressor", np.uint8, np.float32),
        ("CNNClassifier", np.float64, np.float32),
        ("CNNRegressor", np.float64, np.float32),
        ("CNNClassifier", np.uint8, np.float32),
    ],
)
def test_what_auto_precision_is(name, images, weights, digits):
    X, y = digits
    X = (X * 255).astype(images) if images == np.uint8 else X.astype(images)
    assert make(name).fit(X, y).weights_["output.weight"].dtype == weights
    explicit = make(name, precision=np.dtype(weights).name).fit(X, y)
    for key, value in make(name, precision="auto").fit(X, y).weights_.items():
        np.testing.assert_array_equal(explicit.weights_[key], value)


@pytest.mark.parametrize("precision", ["float16", "double", None, 32])
def test_unknown_precisions(precision, digits):
    with pytest.raises(ValueError, match=r"'precision' parameter .* must be a str among"):
        make("MLPClassifier", precision=precision).fit(*digits)
