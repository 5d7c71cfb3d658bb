"""The same seed is the same network, wherever and beside whatever it is trained."""

import hashlib
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning

from skcnn import (
    Augmentation,
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    load_digit_images,
)
from skcnn.neural._training import LeanNet

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")

CHANGES = Augmentation(
    shift=0.5, rotation=10, elastic=0.2, flip="both", cutout=2, brightness=0.1, contrast=0.1
)
NETWORKS = {
    "MLPClassifier": (MLPClassifier, {"hidden_layer_sizes": (9,), "dropout": 0.3}),
    "MLPRegressor": (MLPRegressor, {"hidden_layer_sizes": (9,), "batch_norm": True}),
    "CNNClassifier": (
        CNNClassifier,
        {
            "conv_channels": (4,),
            "hidden_layer_sizes": (8,),
            "augment": CHANGES,
            "conv_dropout": 0.2,
            "dropout": 0.3,
            "early_stopping": True,
            "ema_decay": 0.9,
        },
    ),
    "CNNRegressor": (CNNRegressor, {"conv_channels": (4,), "hidden_layer_sizes": (8,)}),
}


def make(name, **parameters):
    network, options = NETWORKS[name]
    return network(**{"max_iter": 2, "batch_size": 32, "random_state": 0, **options, **parameters})


def digest(fitted):
    """Digest of all weights, bit by bit."""
    weights = sorted(fitted.weights_.items())
    return hashlib.sha256(b"".join(name.encode() + w.tobytes() for name, w in weights)).hexdigest()


def fit_digest(name, X, y, **parameters):
    """Fit; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = make(name, **parameters).fit(X, y)
        fitted.predict(X)
    return digest(fitted)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:150].astype(np.float32), y[:150]


@pytest.fixture(scope="module")
def expected(digits):
    return {name: fit_digest(name, *digits) for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_another_seed_is_another_network(name, digits, expected):
    assert fit_digest(name, *digits) == expected[name]
    assert fit_digest(name, *digits, random_state=1) != expected[name]


def test_processes_give_the_same_as_this_one_from_memory_maps(digits, expected):
    X, y = digits
    # With this limit joblib hands X and y over as memory maps that cannot be written to.
    workers = Parallel(n_jobs=2, backend="loky", max_nbytes=1000)
    found = workers(delayed(fit_digest)(name, X, y) for name in [*NETWORKS, *NETWORKS])
    assert found == [*expected.values(), *expected.values()]


def test_threads_do_not_disturb_each_other(digits, expected):
    names = [*NETWORKS] * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: fit_digest(name, *digits), names))
    assert found == [expected[name] for name in names]


def test_a_fresh_process_gives_the_same(digits, expected, tmp_path):
    np.savez(tmp_path / "digits.npz", X=digits[0], y=digits[1])
    script = (
        "import sys, numpy as np, torch; sys.path.insert(0, sys.argv[1])\n"
        "torch.manual_seed(99); np.random.seed(99)\n"
        "from tests.neural.test_repeatability import NETWORKS, fit_digest\n"
        "with np.load(sys.argv[2]) as data: X, y = data['X'], data['y']\n"
        "print(*(fit_digest(name, X, y) for name in reversed(NETWORKS)))"
    )
    root = __file__.rsplit("tests", 1)[0]
    command = [sys.executable, "-c", script, root, str(tmp_path / "digits.npz")]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert output.stdout.split() == [expected[name] for name in reversed(NETWORKS)]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_read_only_memory_map_gives_the_same(name, digits, expected, tmp_path):
    X, y = digits
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    mapped = [np.load(tmp_path / f"{part}.npy", mmap_mode="r") for part in "Xy"]
    assert fit_digest(name, *mapped) == expected[name]


@pytest.mark.parametrize("images", [1, 7, 1000])
@pytest.mark.parametrize("name", NETWORKS)
def test_how_many_images_are_read_together_changes_nothing(
    name, images, digits, expected, monkeypatch
):
    monkeypatch.setattr("skcnn.neural._batches._GROUP_BYTES", images * 256)
    monkeypatch.setattr("skcnn.neural._prediction._PREDICT_BYTES", images * 256)
    assert fit_digest(name, *digits) == expected[name]


@pytest.mark.parametrize("augment", [CHANGES, torch.Tensor.zero_, None])
def test_images_that_cannot_be_written_to_are_predicted_without_a_warning(augment, digits):
    X, y = digits[0].copy(), digits[1]
    if augment is torch.Tensor.zero_:

        def augment(images, generator):
            return images.zero_()

    fitted = make("CNNClassifier", augment=augment, n_augmentations=2, n_dropout_samples=2)
    fitted.fit(X, y)
    said = fitted.predict_proba(X)
    np.testing.assert_array_equal(X, digits[0])  # also an augmentation in place leaves X alone
    X.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(fitted.predict_proba(X), said)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SURROUNDINGS = {
    "gradients off": torch.no_grad,
    "inference": torch.inference_mode,
    "float64": lambda: default_dtype(torch.float64),
    "deterministic": deterministic,
    # Every tensor that does not say where it is to be would have no memory.
    "another default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_settings_of_torch_around_a_fit_change_nothing(name, surroundings, digits, expected):
    with SURROUNDINGS[surroundings]():
        assert fit_digest(name, *digits) == expected[name]
        streamed = make(name, early_stopping=False, random_state=0)
        streamed.partial_fit(*digits).partial_fit(*digits)
    again = make(name, early_stopping=False, random_state=0)
    again.partial_fit(*digits).partial_fit(*digits)
    assert digest(streamed) == digest(again)


def settings():
    numpy_state = np.random.get_state()  # noqa: NPY002 - the generator that must not be touched
    return {
        "torch": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
        "numpy": (numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
        ),
        "precision": torch.get_float32_matmul_precision(),
        "flush denormal": torch.tensor(1e-40).mul(1).item() == 0,
        "errors": np.geterr(),
    }


def interrupted_fit(name, X, y):
    def interrupted(self, batches):
        if len(self.history) == 2:
            raise KeyboardInterrupt
        return train_epoch(self, batches)

    train_epoch = LeanNet._train_epoch
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LeanNet, "_train_epoch", interrupted)
        with pytest.warns(UserWarning, match="interrupted in epoch 2"):
            make(name).fit(X, y)


def failing_fit(name, X, y):
    def failing(images, generator):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make(name, augment=failing).fit(X, y)


USES = {
    "fit": lambda name, X, y: make(name).fit(X, y),
    "predict": lambda name, X, y: make(name, n_dropout_samples=2).fit(X, y).predict(X),
    "partial_fit": lambda name, X, y: make(name, early_stopping=False).partial_fit(X, y),
    "interrupted": interrupted_fit,
    "failing": failing_fit,
    "module": lambda name, X, y: (
        CNNClassifier(
            module=lambda channels, height, width, n_outputs: torch.nn.Sequential(
                torch.nn.Flatten(), torch.nn.Linear(height * width * channels, n_outputs)
            ),
            max_iter=1,
            random_state=0,
        )
        .fit(X, y)
        .predict(X)
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("random_state", [0, "RandomState"])
def test_global_settings_are_left_as_they_were(use, name, random_state, digits, monkeypatch):
    if random_state == "RandomState":
        network, options = NETWORKS[name]
        options = {**options, "random_state": np.random.RandomState(0)}
        monkeypatch.setitem(NETWORKS, name, (network, options))
    before = settings()
    USES[use](name, *digits)
    assert settings() == before


def test_no_accelerators_generator_is_seeded(digits, monkeypatch):
    def seed(*args):
        raise AssertionError("the generators of all accelerators were seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seed)
    monkeypatch.setattr(torch.cuda, "manual_seed", seed)
    for name in NETWORKS:
        make(name).fit(*digits)
    USES["module"]("CNNClassifier", *digits)


def test_a_random_state_goes_on_from_fit_to_fit(digits):
    rng = np.random.RandomState(0)
    first, second = (fit_digest("CNNRegressor", *digits, random_state=rng) for _ in range(2))
    assert first != second
    rng.seed(0)
    assert fit_digest("CNNRegressor", *digits, random_state=rng) == first


def test_the_number_of_threads_of_a_fit_is_that_of_its_caller(digits, monkeypatch):
    def set_threads(n):
        raise AssertionError(f"set_num_threads({n})")

    monkeypatch.setattr(torch, "set_num_threads", set_threads)
    for name in NETWORKS:
        make(name).fit(*digits).predict(digits[0])
