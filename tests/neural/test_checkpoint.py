"""``checkpoint=``: a training that is killed goes on from its last epoch to the same weights."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from skorch.callbacks import EpochScoring, LRScheduler

from skcnn import (
    Augmentation,
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    load_digit_images,
)
from skcnn._interrupts import propagating_interrupts
from skcnn.neural._checkpoint import Checkpoint
from skcnn.neural._training import LeanNet

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:150], y[:150]


MLP = {"hidden_layer_sizes": (8,)}
CNN = {"conv_channels": (4,), "hidden_layer_sizes": (8,)}
TRAININGS = {
    "adam": (MLPClassifier, {**MLP, "solver": "adam"}),
    "sgd": (MLPClassifier, {**MLP, "solver": "sgd", "learning_rate": "adaptive", "tol": 1.0}),
    "invscaling": (MLPRegressor, {**MLP, "solver": "sgd", "learning_rate": "invscaling"}),
    "adamw": (CNNClassifier, {**CNN, "solver": "adamw", "alpha": 0.1}),
    "dropout": (CNNClassifier, {**CNN, "conv_dropout": 0.2, "dropout": 0.5, "input_dropout": 0.1}),
    "augment": (CNNRegressor, {**CNN, "augment": Augmentation(shift=1, rotation=20, flip="both")}),
    "ema": (CNNClassifier, {**CNN, "ema_decay": 0.9}),
    "early stopping": (CNNClassifier, {**CNN, "early_stopping": True, "ema_decay": 0.8}),
    "patience": (MLPClassifier, {**MLP, "early_stopping": True, "n_iter_no_change": 1, "tol": 1.0}),
    "one cycle": (CNNClassifier, {**CNN, "learning_rate": "one_cycle"}),
    "float64": (CNNClassifier, {**CNN, "precision": "float64", "batch_norm": False}),
}


def make(training, **parameters):
    network, options = TRAININGS[training]
    quick = {"max_iter": 5, "batch_size": 32, "learning_rate_init": 0.01, "random_state": 0}
    return network(**{**quick, **options, **parameters})


class KilledError(Exception):
    """Stands for SIGKILL: nothing in skcnn catches it."""


@pytest.fixture
def killed_in(monkeypatch):
    """Let the next fit die in some epoch; after that fits run to their end."""

    def killed(fit, epoch):
        original = LeanNet._train_epoch

        def run(self, batches):
            if len(self.history) == epoch:
                raise KilledError
            original(self, batches)

        with monkeypatch.context() as patched:
            patched.setattr(LeanNet, "_train_epoch", run)
            with pytest.raises(KilledError):
                fit()

    return killed


def assert_same(actual, expected):
    assert actual.loss_curve_ == expected.loss_curve_
    assert actual.validation_scores_ == expected.validation_scores_
    assert actual.best_loss_ == expected.best_loss_
    assert (actual.n_iter_, actual.t_) == (expected.n_iter_, expected.t_)
    assert actual.weights_.keys() == expected.weights_.keys()
    for name, value in expected.weights_.items():
        np.testing.assert_array_equal(actual.weights_[name], value, err_msg=name)


@pytest.mark.parametrize("random_state", [0, "RandomState"])
@pytest.mark.parametrize("training", TRAININGS)
def test_a_fit_that_was_killed_ends_as_if_it_had_not_been(
    training, random_state, digits, tmp_path, killed_in
):
    def fresh(**parameters):
        seed = np.random.RandomState(7) if random_state == "RandomState" else random_state
        return make(training, random_state=seed, **parameters)

    expected = fresh().fit(*digits)
    path = tmp_path / "state"
    for epoch in (1, 2, 2, 4):  # killed again and again
        killed_in(lambda: fresh(checkpoint=path).fit(*digits), min(epoch, expected.n_iter_))
    assert path.exists() == (expected.n_iter_ > 1)
    assert_same(fresh(checkpoint=path).fit(*digits), expected)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_change_nothing(digits, tmp_path):
    with_file = make("early stopping", checkpoint=tmp_path / "state").fit(*digits)
    assert_same(with_file, make("early stopping").fit(*digits))


def test_a_fit_that_was_killed_after_its_last_epoch_only_ends(digits, tmp_path, killed_in):
    path = tmp_path / "state"
    for training in ("early stopping", "patience"):
        expected = make(training).fit(*digits)
        remove = Checkpoint.remove
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Checkpoint, "remove", lambda self: None)
            make(training, checkpoint=path).fit(*digits)
        assert Checkpoint.remove is remove
        assert path.exists()
        assert_same(make(training, checkpoint=str(path)).fit(*digits), expected)


SCRIPT = """
    import pickle, sys
    import numpy as np
    from skcnn import load_digit_images
    from skorch.callbacks import Callback

    class Progress(Callback):
        def on_epoch_begin(self, net, **kwargs):
            print(len(net.history), flush=True)

    X, y = load_digit_images(return_X_y=True)
    cnn = pickle.loads(bytes.fromhex(sys.argv[1])).set_params(callbacks=[Progress()])
    cnn.fit(X[:400], y[:400]).set_params(callbacks=None)
    sys.stdout.buffer.write(pickle.dumps(cnn))
"""

# Ends the process, as SIGKILL does, in the middle of a write.
WHILE_WRITING = """
    import os, signal
    from skcnn.neural import _checkpoint

    save = _checkpoint.torch.save

    def half(state, file):
        save(state, file)
        file.flush()
        if len(state["history"]) == 4:
            os.ftruncate(file.fileno(), 5000)
            os.kill(os.getpid(), signal.SIGKILL)

    _checkpoint.torch.save = half
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_kill_minus_9(tmp_path):
    path = tmp_path / "state"
    parameters = {"augment": Augmentation(shift=1), "ema_decay": 0.9, "early_stopping": True}
    cnn = make("dropout", **parameters, random_state=np.random.RandomState(3), max_iter=9)
    stored = pickle.dumps(cnn.set_params(checkpoint=path)).hex()

    def start(script=SCRIPT):
        command = [sys.executable, "-c", textwrap.dedent(script), stored]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    def kill_in(epoch):
        """Kill a fit somewhere in an epoch; return the epoch that it began with."""
        process = start()
        begun = []
        for line in process.stdout:
            begun.append(int(line))
            if begun[-1] == epoch:
                os.kill(process.pid, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        return begun[0]

    assert kill_in(2) == 1
    assert start(textwrap.dedent(WHILE_WRITING) + textwrap.dedent(SCRIPT)).wait(60) == (
        -signal.SIGKILL
    )
    assert (tmp_path / "state.tmp").exists()
    assert len(torch.load(path)["history"]) == 3
    assert kill_in(6) == 4
    last = start()
    output, _ = last.communicate(timeout=60)
    begun, _, fitted = output.partition(b"\n")
    assert int(begun) in (6, 7)  # the kill may have come after the epoch
    X, y = load_digit_images(return_X_y=True)
    undisturbed = cnn.set_params(checkpoint=None).fit(X[:400], y[:400])
    assert_same(pickle.loads(fitted[fitted.index(b"\x80") :]), undisturbed)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_sees_a_broken_file(digits, tmp_path, monkeypatch):
    path, seen, save = tmp_path / "state", [], torch.save

    def slow_save(state, file):
        save(state, file)
        file.flush()
        for size in (0, 1000):
            os.ftruncate(file.fileno(), size)
            seen.append(len(torch.load(path)["history"]) if path.exists() else 0)
        file.seek(0)
        save(state, file)

    monkeypatch.setattr("skcnn.neural._checkpoint.torch.save", slow_save)
    make("adam", checkpoint=path, max_iter=3).fit(*digits)
    assert seen == [0, 0, 1, 1, 2, 2]


def test_an_error_while_writing_leaves_the_last_file(digits, tmp_path, monkeypatch):
    path, save = tmp_path / "state", torch.save

    def full_disk(state, file):
        if len(state["history"]) == 3:
            file.write(b"half")
            raise OSError("No space left on device")
        save(state, file)

    monkeypatch.setattr("skcnn.neural._checkpoint.torch.save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        make("adam", checkpoint=path).fit(*digits)
    assert list(tmp_path.iterdir()) == [path]
    assert len(torch.load(path)["history"]) == 2
    monkeypatch.undo()
    assert_same(make("adam", checkpoint=path).fit(*digits), make("adam").fit(*digits))


@pytest.mark.parametrize("propagating", [True, False])
def test_ctrl_c_keeps_the_file(propagating, digits, tmp_path, monkeypatch):
    path, train_epoch = tmp_path / "state", LeanNet._train_epoch

    def interrupted(self, batches):
        if len(self.history) == 3:
            raise KeyboardInterrupt
        train_epoch(self, batches)

    monkeypatch.setattr(LeanNet, "_train_epoch", interrupted)
    cnn = make("ema", checkpoint=path)
    if propagating:
        with propagating_interrupts(), pytest.raises(KeyboardInterrupt):
            cnn.fit(*digits)
    else:
        with pytest.warns(UserWarning, match="interrupted in epoch 3 of 5"):
            cnn.fit(*digits)
        assert cnn.n_iter_ == 2
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    assert_same(cnn.fit(*digits), make("ema").fit(*digits))


def test_more_epochs_may_be_asked_for(digits, tmp_path, killed_in):
    path = tmp_path / "state"
    killed_in(lambda: make("adam", checkpoint=path, max_iter=4).fit(*digits), 3)
    longer = make("adam", checkpoint=path, max_iter=7).fit(*digits)
    assert_same(longer, make("adam", max_iter=7).fit(*digits))


def test_what_changes_no_weight_may_change(digits, tmp_path, killed_in):
    path = tmp_path / "state"
    killed_in(lambda: make("adam", checkpoint=path, verbose=True).fit(*digits), 3)
    again = make("adam", checkpoint=os.fspath(path), n_dropout_samples=2)
    assert_same(again.fit(*digits), make("adam").fit(*digits))


def test_callbacks_may_record_numpys_numbers(digits, tmp_path, killed_in):
    path = tmp_path / "state"
    callbacks = [
        EpochScoring("neg_log_loss", on_train=True),
        LRScheduler("StepLR", step_size=100, gamma=np.float64(0.5)),
    ]
    killed_in(lambda: make("adam", checkpoint=path, callbacks=callbacks).fit(*digits), 3)
    again = make("adam", checkpoint=path, callbacks=callbacks).fit(*digits)
    assert_same(again, make("adam").fit(*digits))


def test_a_warm_start_goes_on_from_its_own_first_weights(digits, tmp_path, killed_in):
    expected = make("adam", warm_start=True).fit(*digits).fit(*digits)
    path = tmp_path / "state"
    started = make("adam", warm_start=True).fit(*digits)
    state = pickle.dumps(started.set_params(checkpoint=path))
    killed_in(lambda: started.fit(*digits), 3)
    assert_same(pickle.loads(state).fit(*digits), expected)
    killed_in(lambda: pickle.loads(state).fit(*digits), 3)
    with pytest.raises(ValueError, match=r"another training: first weights was \w+, now drawn"):
        make("adam", warm_start=True, checkpoint=path).fit(*digits)


def test_without_a_seed_the_same_images_are_set_aside_again(
    digits, tmp_path, killed_in, monkeypatch
):
    path, split, split_off = tmp_path / "state", [], Checkpoint.resume
    from skcnn.neural import _fit

    def noted(*args, **options):
        split.append(validation_split(*args, **options))
        return split[-1]

    validation_split = _fit.validation_split
    monkeypatch.setattr(_fit, "validation_split", noted)
    cnn = make("early stopping", checkpoint=path, random_state=None)
    killed_in(lambda: cnn.fit(*digits), 3)
    np.random.seed(0)  # noqa: NPY002 - the generator that must not be rewound
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    cnn.fit(*digits)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    for first, second in zip(*split, strict=True):
        np.testing.assert_array_equal(first, second)
    assert cnn.n_iter_ == 5
    cnn.fit(*digits)
    assert not np.array_equal(split[-1][1], split[0][1])
    assert Checkpoint.resume is split_off


def shifted(images):
    return images


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
def test_another_training_is_refused_and_named(name, digits, tmp_path, killed_in):
    path = tmp_path / "state"
    killed_in(lambda: make("adam", checkpoint=path).fit(*digits), 3)
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


def test_another_estimator_is_named_and_nothing_else(digits, tmp_path, killed_in):
    path = tmp_path / "state"
    killed_in(lambda: make("adam", checkpoint=path).fit(*digits), 3)
    message = "another training: estimator was MLPClassifier, now CNNClassifier. Remove"
    with pytest.raises(ValueError, match=message):
        make("ema", checkpoint=path).fit(*digits)


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
def test_functions_that_were_edited_are_others(edit, digits, tmp_path, killed_in):
    parameter, source, name, before, after = {**SAME, **EDITS}[edit]
    assert before in source
    path = tmp_path / "state"

    def fit(text):
        module = {"__name__": "script"}
        exec(text, module)
        return make("early stopping", checkpoint=path, **{parameter: module[name]}).fit(*digits)

    killed_in(lambda: fit(source), 3)
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


def test_ctrl_c_while_the_file_is_written(digits, tmp_path, monkeypatch):
    path, save = tmp_path / "state", torch.save

    class Interrupted:
        def __init__(self, file):
            self.file, self.n_bytes = file, 0

        def write(self, content):
            self.n_bytes += len(content)
            if self.n_bytes > 1000:
                raise KeyboardInterrupt
            return self.file.write(content)

        def flush(self):
            self.file.flush()

    def interrupted(state, file):
        save(state, Interrupted(file) if len(state["history"]) == 3 else file)

    monkeypatch.setattr("skcnn.neural._checkpoint.torch.save", interrupted)
    cnn = make("ema", checkpoint=path)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 5"):
        cnn.fit(*digits)
    assert cnn.n_iter_ == 3
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    assert_same(cnn.fit(*digits), make("ema").fit(*digits))


@pytest.mark.parametrize("part", ["X_val", "y_val", "sample_weight_val"])
def test_other_validation_data_is_refused(part, digits, tmp_path, killed_in):
    X, y = digits
    validation = {"X_val": X[:30], "y_val": y[:30], "sample_weight_val": np.ones(30)}
    path = tmp_path / "state"
    killed_in(lambda: make("ema", checkpoint=path).fit(X, y, **validation), 3)
    validation[part] = validation[part][::-1] * (0.5 if part == "sample_weight_val" else 1)
    with pytest.raises(ValueError, match=rf"another training: {part} was"):
        make("ema", checkpoint=path).fit(X, y, **validation)


def test_another_state_of_a_generator_is_refused(digits, tmp_path, killed_in):
    path, rng = tmp_path / "state", np.random.RandomState(0)
    killed_in(lambda: make("patience", checkpoint=path, random_state=rng).fit(*digits), 2)
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


def test_partial_fit_writes_no_file(digits, tmp_path):
    make("adam", checkpoint=tmp_path / "state").partial_fit(*digits)
    assert list(tmp_path.iterdir()) == []
