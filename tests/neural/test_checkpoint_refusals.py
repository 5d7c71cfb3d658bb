"""``checkpoint=``: the file of another training, or of none, is refused and left as it is."""

import pickle

import numpy as np
import pytest
import torch

from skcnn import load_digit_images
from skcnn.neural._checkpoint import Checkpoint
from skcnn.neural._training import LeanNet
from tests.neural.killed_trainings import assert_same, kill_in, make

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:150], y[:150]


def shifted(images):
    return images


def another(digits, **changes):
    X, y = digits
    return {"X": X, "y": y, **changes}


def refusals(digits):
    """Names of what differs, and parameters and data of the second fit."""
    X, y = digits
    brighter, swapped = X.copy(), X.copy()
    brighter[77, 3, 3] += 0.01
    swapped[[77, 79]] = X[[79, 77]]  # which moves no mean
    names = np.where(y == 3, 4, y)
    return {
        "alpha": ({"alpha": 0.5}, {}),
        "solver": ({"solver": "sgd"}, {}),
        "random_state": ({"random_state": 1}, {}),
        "hidden_layer_sizes": ({"hidden_layer_sizes": (9,)}, {}),
        "augment": ({"augment": shifted}, {}),
        "class_weight": ({"class_weight": "balanced"}, {}),
        "X": ({}, {"X": brighter}),
        "X swapped": ({}, {"X": swapped}),
        "y": ({}, {"y": names}),
        "sample_weight": ({}, {"sample_weight": np.linspace(1, 2, 150)}),
        "X_val": ({}, {"X_val": X[:20], "y_val": y[:20]}),
    }


@pytest.mark.parametrize(
    "name",
    [
        "alpha",
        "solver",
        "random_state",
        "hidden_layer_sizes",
        "augment",
        "class_weight",
        "X",
        "X swapped",
        "y",
        "sample_weight",
        "X_val",
    ],
)
def test_another_training_is_refused_and_named(name, digits, tmp_path):
    path = tmp_path / "state"
    kill_in(lambda: make("adam", checkpoint=path).fit(*digits), 3)
    before = path.read_bytes()
    parameters, data = refusals(digits)[name]
    other = make("adam", checkpoint=path).set_params(**parameters)
    what = name.split()[0]
    with pytest.raises(ValueError, match=rf"state' is of another training: .*\b{what} was .*, now"):
        other.fit(**another(digits, **data))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert not hasattr(other, "weights_")
    assert_same(make("adam", checkpoint=path).fit(*digits), make("adam").fit(*digits))


def test_another_estimator_is_named_and_nothing_else(digits, tmp_path):
    path = tmp_path / "state"
    kill_in(lambda: make("adam", checkpoint=path).fit(*digits), 3)
    message = "another training: estimator was MLPClassifier, now CNNClassifier. Remove"
    with pytest.raises(ValueError, match=message):
        make("ema", checkpoint=path).fit(*digits)


@pytest.mark.parametrize("part", ["X_val", "y_val", "sample_weight_val"])
def test_other_validation_data_is_refused(part, digits, tmp_path):
    X, y = digits
    validation = {"X_val": X[:30], "y_val": y[:30], "sample_weight_val": np.ones(30)}
    path = tmp_path / "state"
    kill_in(lambda: make("ema", checkpoint=path).fit(X, y, **validation), 3)
    validation[part] = validation[part][::-1] * (0.5 if part == "sample_weight_val" else 1)
    with pytest.raises(ValueError, match=rf"another training: {part} was"):
        make("ema", checkpoint=path).fit(X, y, **validation)


def test_another_state_of_a_generator_is_refused(digits, tmp_path):
    path, rng = tmp_path / "state", np.random.RandomState(0)
    kill_in(lambda: make("patience", checkpoint=path, random_state=rng).fit(*digits), 2)
    with pytest.raises(ValueError, match="random_state was RandomState that draws"):
        make("patience", checkpoint=path, random_state=rng).fit(*digits)


class Code:
    ran = []

    def __reduce__(self):
        return self.ran.append, ("the code of the pickle",)


def damaged(kind, digits, path):
    if kind == "cut off":
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Checkpoint, "remove", lambda self: None)
            make("adam", checkpoint=path, max_iter=1).fit(*digits)
        return path.read_bytes()[:-2000]
    if kind == "pickle":
        return pickle.dumps(Code())
    if kind in ("code in torch's format", "another file of torch"):
        content = {"format": Code()} if kind.startswith("code") else {"weight": torch.zeros(3)}
        torch.save(content, path)
        return path.read_bytes()
    return {"empty": b"", "text": b"my thesis, the only copy"}[kind]


@pytest.mark.parametrize(
    "kind",
    ["cut off", "pickle", "code in torch's format", "another file of torch", "empty", "text"],
)
def test_what_is_no_checkpoint_is_refused_and_left_as_it_is(kind, digits, tmp_path):
    path = tmp_path / "state"
    content = damaged(kind, digits, path)
    path.write_bytes(content)
    mlp = make("adam", checkpoint=path)
    with pytest.raises(ValueError, match=r"state' is no checkpoint of skcnn, or of another"):
        mlp.fit(*digits)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert Code.ran == []


@pytest.mark.parametrize("name", ["missing/state", ""])
def test_a_path_that_cannot_be_written_is_refused_before_training(
    name, digits, tmp_path, monkeypatch
):
    def train(*args):
        raise AssertionError("training began")

    monkeypatch.setattr(LeanNet, "train", train)
    with pytest.raises(ValueError, match=r"checkpoint=.* must name a file in a folder that exists"):
        make("adam", checkpoint=tmp_path / name).fit(*digits)
