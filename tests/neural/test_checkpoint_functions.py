"""``checkpoint=``: functions and modules of one's own are known by their code."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from skcnn import load_digit_images
from skcnn.neural._checkpoint import Checkpoint
from tests.neural.killed_trainings import assert_same, kill_in, make

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:150], y[:150]


def loss_of(estimator, X, y):
    return estimator.score(X, y)


@pytest.mark.parametrize("parameters", [{"scoring": loss_of}, {"scoring": lambda e, X, y: 1.0}])
def test_functions_are_known_by_name_not_by_address(parameters, digits, tmp_path):
    # The address of a function is another one in another process.
    path = tmp_path / "state"
    cnn = make("early stopping", checkpoint=path, **parameters)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checkpoint, "remove", lambda self: None)
        cnn.fit(*digits)
    written = torch.load(path)["configuration"]
    assert " at 0x" not in str(written)
    assert written["scoring"].startswith("<function ")


NETWORK = """
import torch
from torch import nn

class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2

class Net(nn.Module):
    slope = 0.5

    def __init__(self, channels, height, width, n_classes):
        super().__init__()
        self.hidden = nn.Linear(channels * height * width, 16)
        self.output = nn.Linear(16, n_classes)

    def forward(self, images):
        return self.output(Double.apply(squash(self.hidden(images.flatten(1)))))

    @staticmethod
    def nothing():
        return 1

    @property
    def something(self):
        return 2

def squash(values):
    return values.tanh()

def factory(*shape):
    return Net(*shape)
"""
CHANGE = """
import time

STARTED = time.time()
n_calls = 0
shape = None

class Darker:
    __slots__ = ("strength",)

    def __init__(self, strength):
        self.strength = strength

    def __call__(self, images, generator):
        return images * self.strength

    def change(self, images, generator):
        return self(images, generator)

def make(strength):
    calls = 0

    def change(images, generator):
        global n_calls
        nonlocal calls
        calls += 1
        n_calls += 1
        assert time.time() > STARTED and images.shape
        return images * strength * (1 - 0.5)

    return change

change = make(0.9)
darker = Darker(0.9)
method = darker.change
"""
SCORE = """
from functools import lru_cache, partial
from sklearn.metrics import make_scorer
import numpy as np

def share(estimator, X, y, power, kinds=("a", frozenset({"flip", "turn", "shift"}))):
    return estimator.score(X, y) ** power * half()

@lru_cache
def half():
    return 1 / 2

def agreement(y, said):
    return np.mean(y == said)

score = partial(share, power=1)
metric = make_scorer(agreement)
"""
SAME = {
    "as it is": ("module", NETWORK, "factory", "", ""),
    "another line above": ("module", NETWORK, "Net", "class Net", "# comment\n\nclass Net"),
    "what is counted": ("augment", CHANGE, "change", "n_calls = 0", "n_calls = 7"),
    "what has the name of an attribute": ("augment", CHANGE, "change", "shape = None", "shape = 1"),
}
EDITS = {
    "method": ("module", NETWORK, "Net", "self.hidden(", "2 * self.hidden("),
    "function of a module": ("module", NETWORK, "factory", "tanh", "relu"),
    "width": ("module", NETWORK, "factory", "16", "8"),
    "attribute of a class": ("module", NETWORK, "factory", "slope = 0.5", "slope = 0.1"),
    "static method": ("module", NETWORK, "factory", "return 1", "return 0"),
    "property": ("module", NETWORK, "factory", "return 2", "return 0"),
    "function of torch's kind": ("module", NETWORK, "Net", "values * 2", "values * 3"),
    "constant": ("augment", CHANGE, "change", "(1 -", "(0.9 -"),
    "variable around": ("augment", CHANGE, "change", "make(0.9)", "make(0.8)"),
    "slot": ("augment", CHANGE, "darker", "Darker(0.9)", "Darker(0.8)"),
    "owner of a method": ("augment", CHANGE, "method", "Darker(0.9)", "Darker(0.8)"),
    "part": ("scoring", SCORE, "score", "** power", "** power / 2"),
    "argument of a part": ("scoring", SCORE, "score", "power=1", "power=2"),
    "default": ("scoring", SCORE, "score", '"flip", ', ""),
    "cached function": ("scoring", SCORE, "score", "1 / 2", "1 / 3"),
    "metric": ("scoring", SCORE, "metric", "y == said", "y >= said"),
}


@pytest.mark.parametrize("edit", [*SAME, *EDITS])
def test_functions_that_were_edited_are_others(edit, digits, tmp_path):
    parameter, source, name, before, after = {**SAME, **EDITS}[edit]
    assert before in source
    path = tmp_path / "state"

    def fit(text):
        module = {"__name__": "script"}
        exec(text, module)
        return make("early stopping", checkpoint=path, **{parameter: module[name]}).fit(*digits)

    kill_in(lambda: fit(source), 3)
    edited = source.replace(before, after)
    if edit in SAME:
        assert fit(edited).n_iter_ == 5
    else:
        with pytest.raises(ValueError, match=r"another training: .*(network|augment|scoring) was"):
            fit(edited)


def test_functions_without_a_module(digits, tmp_path):
    # As those are that torch.fx generates.
    def change(images, generator):
        return images

    change.__module__ = None
    fitted = make("adam", checkpoint=tmp_path / "state", augment=change).fit(*digits)
    assert_same(fitted, make("adam", augment=change).fit(*digits))


def test_texts_of_functions_are_those_of_other_processes():
    script = """
        from skcnn.neural._code import description

        class Changes:
            def __init__(self):
                self.seen = print

            def __call__(self, images, generator):
                def inner(kind, *, also={"here": 1}):
                    return kind in {"flip", "turn", "shift", "scale"} or inner
                return images if inner("flip") else self.recursive()

            def recursive(self):
                return self.recursive()

        def scorer(estimator, X, y, kinds=("x", frozenset({"flip", "turn", "shift"}))):
            return estimator.score(X, y)

        print(description(Changes()), description(lambda x: {x, "a", "b"}), description(scorer))
        print(description([{"flip", "turn", "shift"}]), description(print))
    """
    texts = {
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1
