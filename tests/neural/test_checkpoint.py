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

from skcnn import Augmentation, load_digit_images
from skcnn._interrupts import propagating_interrupts
from skcnn.neural._checkpoint import Checkpoint
from skcnn.neural._training import LeanNet
from tests.neural.killed_trainings import TRAININGS, assert_same, kill_in, make

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digit_images(return_X_y=True)
    return X[:150], y[:150]


@pytest.mark.parametrize("random_state", [0, "RandomState"])
@pytest.mark.parametrize("training", TRAININGS)
def test_a_fit_that_was_killed_ends_as_if_it_had_not_been(training, random_state, digits, tmp_path):
    def fresh(**parameters):
        seed = np.random.RandomState(7) if random_state == "RandomState" else random_state
        return make(training, random_state=seed, **parameters)

    expected = fresh().fit(*digits)
    path = tmp_path / "state"
    for epoch in (1, 2, 2, 4):  # killed again and again
        kill_in(lambda: fresh(checkpoint=path).fit(*digits), min(epoch, expected.n_iter_))
    assert path.exists() == (expected.n_iter_ > 1)
    assert_same(fresh(checkpoint=path).fit(*digits), expected)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_change_nothing(digits, tmp_path):
    with_file = make("early stopping", checkpoint=tmp_path / "state").fit(*digits)
    assert_same(with_file, make("early stopping").fit(*digits))


def test_a_fit_that_was_killed_after_its_last_epoch_only_ends(digits, tmp_path):
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


def test_more_epochs_may_be_asked_for(digits, tmp_path):
    path = tmp_path / "state"
    kill_in(lambda: make("adam", checkpoint=path, max_iter=4).fit(*digits), 3)
    longer = make("adam", checkpoint=path, max_iter=7).fit(*digits)
    assert_same(longer, make("adam", max_iter=7).fit(*digits))


def test_what_changes_no_weight_may_change(digits, tmp_path):
    path = tmp_path / "state"
    kill_in(lambda: make("adam", checkpoint=path, verbose=True).fit(*digits), 3)
    again = make("adam", checkpoint=os.fspath(path), n_dropout_samples=2)
    assert_same(again.fit(*digits), make("adam").fit(*digits))


def test_callbacks_may_record_numpys_numbers(digits, tmp_path):
    path = tmp_path / "state"
    callbacks = [
        EpochScoring("neg_log_loss", on_train=True),
        LRScheduler("StepLR", step_size=100, gamma=np.float64(0.5)),
    ]
    kill_in(lambda: make("adam", checkpoint=path, callbacks=callbacks).fit(*digits), 3)
    again = make("adam", checkpoint=path, callbacks=callbacks).fit(*digits)
    assert_same(again, make("adam").fit(*digits))


def test_a_warm_start_goes_on_from_its_own_first_weights(digits, tmp_path):
    expected = make("adam", warm_start=True).fit(*digits).fit(*digits)
    path = tmp_path / "state"
    started = make("adam", warm_start=True).fit(*digits)
    state = pickle.dumps(started.set_params(checkpoint=path))
    kill_in(lambda: started.fit(*digits), 3)
    assert_same(pickle.loads(state).fit(*digits), expected)
    kill_in(lambda: pickle.loads(state).fit(*digits), 3)
    with pytest.raises(ValueError, match=r"another training: first weights was \w+, now drawn"):
        make("adam", warm_start=True, checkpoint=path).fit(*digits)


def test_without_a_seed_the_same_images_are_set_aside_again(digits, tmp_path, monkeypatch):
    path, split, split_off = tmp_path / "state", [], Checkpoint.resume
    from skcnn.neural import _fit

    def noted(*args, **options):
        split.append(validation_split(*args, **options))
        return split[-1]

    validation_split = _fit.validation_split
    monkeypatch.setattr(_fit, "validation_split", noted)
    cnn = make("early stopping", checkpoint=path, random_state=None)
    kill_in(lambda: cnn.fit(*digits), 3)
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


def test_partial_fit_writes_no_file(digits, tmp_path):
    make("adam", checkpoint=tmp_path / "state").partial_fit(*digits)
    assert list(tmp_path.iterdir()) == []
