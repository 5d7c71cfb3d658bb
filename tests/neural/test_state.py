"""Fitted networks are plain data: they pickle small, load anywhere and predict the same."""

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from skcnn import CNNClassifier, MLPClassifier, load_digit_images
from skcnn.images import ImageBatch
from tests.images.containers import SliceOnly


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:200], y[:200]


@pytest.fixture(scope="module", params=[MLPClassifier, CNNClassifier])
def fitted(request, digits):
    return request.param(max_iter=2, random_state=0).fit(*digits)


class NoTorch(pickle.Unpickler):
    """An unpickler that knows neither torch nor skorch."""

    def find_class(self, module, name):
        assert module.split(".")[0] not in ("torch", "skorch"), f"{module}.{name} was pickled"
        return super().find_class(module, name)


def test_no_torch_object_is_pickled(fitted, digits):
    fitted.predict(digits[0])  # rebuilds the module
    loaded = NoTorch(io.BytesIO(pickle.dumps(fitted))).load()
    np.testing.assert_array_equal(loaded.predict_proba(digits[0]), fitted.predict_proba(digits[0]))


def test_pickle_is_about_as_large_as_the_weights(fitted):
    weights = sum(value.nbytes for value in fitted.weights_.values())
    assert len(pickle.dumps(fitted)) < weights + 5000


def test_attributes_are_plain(fitted):
    def is_plain(value):
        if isinstance(value, dict):
            return all(map(is_plain, value.values()))
        if isinstance(value, (list, tuple)):
            return all(map(is_plain, value))
        return value is None or isinstance(value, (np.ndarray, np.generic, int, float, str))

    assert {name for name, value in vars(fitted).items() if not is_plain(value)} == set()


def test_a_new_process_predicts_the_same(fitted, digits, tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(fitted))
    np.save(tmp_path / "X.npy", digits[0])
    script = (
        "import pickle, sys, numpy as np; folder = sys.argv[1];"
        "model = pickle.load(open(folder + '/model.pkl', 'rb'));"
        "np.save(folder + '/p.npy', model.predict_proba(np.load(folder + '/X.npy')))"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
    np.testing.assert_allclose(
        np.load(tmp_path / "p.npy"), fitted.predict_proba(digits[0]), atol=1e-12
    )


def test_a_copy_predicts_the_same_and_refitting_it_leaves_the_original(fitted, digits):
    X, y = digits
    before = fitted.predict_proba(X)
    for duplicate in (copy.copy(fitted), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(duplicate.predict_proba(X), before)
        duplicate.set_params(max_iter=1).fit(X[::-1], y)
        assert not np.allclose(duplicate.predict_proba(X), before)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


def test_refitting_forgets_the_old_network(digits):
    X, y = digits
    mlp = MLPClassifier(max_iter=1, random_state=0).fit(X, y)
    first = mlp.predict_proba(X)
    assert not np.allclose(mlp.set_params(random_state=1).fit(X, y).predict_proba(X), first)


def test_changed_parameters_wait_for_the_next_fit(fitted, digits):
    before = fitted.predict_proba(digits[0])
    changed = pickle.loads(pickle.dumps(fitted))  # forgets the built module
    changed.set_params(hidden_layer_sizes=(7, 7), activation="tanh", batch_norm=True, dropout=0.5)
    np.testing.assert_array_equal(changed.predict_proba(digits[0]), before)
    assert "dense2" in {row.layer for row in changed.fit(*digits).summary()}


def test_other_weights_are_other_predictions(fitted, digits):
    changed = copy.copy(fitted)
    changed.predict(digits[0])
    bias = np.zeros(10, np.float32)
    bias[3] = 1e6
    changed.weights_ = fitted.weights_ | {"output.bias": bias}
    assert set(changed.predict(digits[0])) == {3}
    changed.weights_["output.bias"] = np.roll(bias, 1)
    assert set(changed.predict(digits[0])) == {4}


def test_prediction_keeps_the_type_of_the_images(fitted, digits):
    X = digits[0]
    assert fitted.predict_proba(X).dtype == np.float64
    assert fitted.predict_proba(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(
        fitted.predict_proba(X.astype(np.float32)), fitted.predict_proba(X), atol=1e-5
    )


def test_probabilities_are_the_softmax_of_the_decision_function(fitted, digits):
    exponentials = np.exp(fitted.decision_function(digits[0]))
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(digits[0]), expected, rtol=1e-9)
    np.testing.assert_allclose(fitted.predict_log_proba(digits[0]), np.log(expected), rtol=1e-9)


def test_prediction_does_not_depend_on_the_batch(fitted, digits):
    X = np.tile(digits[0], (2, 1, 1))  # more than one batch of the engine
    parts = np.vstack([fitted.predict_proba(X[:1]), fitted.predict_proba(X[1:])])
    np.testing.assert_allclose(fitted.predict_proba(X), parts, atol=1e-12)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there(device, fitted, digits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    elsewhere = copy.deepcopy(fitted).set_params(device=device)
    np.testing.assert_array_equal(elsewhere.predict(digits[0]), fitted.predict(digits[0]))
    with pytest.raises(ValueError, match=rf"device='{device}' is not available here"):
        elsewhere.fit(*digits)


def test_fits_and_predicts_from_a_memory_map_without_loading_it(tmp_path, digits):
    X, y = digits
    stored = (X * 255).astype(np.uint8)
    np.save(tmp_path / "X.npy", stored)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    cnn = CNNClassifier((4,), max_iter=2, random_state=0)
    expected = cnn.fit(stored, y).predict_proba(stored)
    np.testing.assert_array_equal(cnn.fit(mapped, y).predict_proba(mapped), expected)


def test_no_read_is_longer_than_a_chunk_or_batch(digits, monkeypatch):
    X, y = digits
    lengths, convert = [], ImageBatch._convert

    def counted(self, raw, *args, **options):
        lengths.append(len(raw))
        return convert(self, raw, *args, **options)

    monkeypatch.setattr(ImageBatch, "_convert", counted)
    monkeypatch.setattr("skcnn.neural._batches._GROUP_BYTES", 0)
    monkeypatch.setattr("skcnn.neural._batches._CHUNK_MIB", 0.005)
    cnn = CNNClassifier((4,), max_iter=1, batch_size=20).fit(X.astype(np.float32), y)
    assert max(lengths) == 20
    lengths.clear()
    cnn.predict(np.tile(X, (3, 1, 1)).astype(np.float32))
    assert max(lengths) == 128
    lengths.clear()
    monkeypatch.setattr("skcnn.neural._prediction._PREDICT_BYTES", 40_000)
    copy.copy(cnn).predict(X.astype(np.float32))
    # Two float32 maps of 4 x 8 x 8, each in two layouts, are 4 KiB.
    assert max(lengths) == 40_000 // 4096


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0] * 200, "only one class"),
        (None, "requires y"),
        (np.arange(199), "200 images, but y 199 labels"),
        (np.linspace(0, 1, 200), "Unknown label type"),
        ([0, np.nan] * 100, "NaN"),
    ],
)
def test_wrong_labels(y, message, digits):
    with pytest.raises(ValueError, match=message):
        MLPClassifier().fit(digits[0], y)


def test_images_of_another_shape_are_refused_with_both_shapes(fitted):
    with pytest.raises(ValueError, match=r"shape \(9, 9\).*shape \(8, 8\)"):
        fitted.predict(np.zeros((1, 9, 9)))


def test_string_labels_come_back(digits):
    X, y = digits
    names = np.array([f"digit {k}" for k in range(10)])
    cnn = CNNClassifier((8,), max_iter=8, random_state=0).fit(X, names[y])
    assert cnn.score(X, names[y]) > 0.9
    assert list(cnn.classes_) == sorted(names)


@pytest.mark.parametrize("most", [0, 10**9])
def test_stored_images_are_read_once_if_they_fit_into_memory(digits, most, monkeypatch):
    X, y = (digits[0] * 16).astype(np.uint8), digits[1]
    source = SliceOnly(X)
    monkeypatch.setattr("skcnn.neural._fit._HELD_BYTES", most)
    cnn = CNNClassifier((4,), max_iter=3, random_state=0)
    fitted = cnn.fit(source, y).weights_
    assert source.rows_read == len(X) if most else source.rows_read >= 3 * len(X)
    for name, value in cnn.fit(X, y).weights_.items():
        np.testing.assert_array_equal(fitted[name], value)
