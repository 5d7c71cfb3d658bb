"""Ctrl-C, the progress bar, and readers that leave."""

import os
import shlex
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from skcnn.cli import main
from tests.cli.helpers import FAST, OUTPUTS, digits, save_npz, words


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_keeps_what_finished(jobs):
    """As in a terminal, the signal goes to the command and all its workers."""
    arguments = ["--pipelines", "template-matching,cnn", "--jobs", jobs, "--output", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "skcnn", "compare", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    seen = ""
    while "[5/10]" not in seen:  # template matching is done, the network is under way
        line = process.stderr.readline()
        assert line, seen
        seen += line
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "Stopped before all folds had run: no best.joblib." in errors
    assert "template matching has the best accuracy" in words(output)
    assert "CNN was interrupted" in words(output)
    assert sorted(os.listdir("out")) == ["comparison.csv", "comparison.html"]
    table = pd.read_csv("out/comparison.csv", index_col="pipeline")
    assert table.loc["template matching", "status"] == "ok"
    assert table.loc["CNN", "status"] == "interrupted"


def test_ctrl_c_before_anything_finished(monkeypatch, capsys):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skcnn.cli._compare.load_data", stop)
    assert main(["compare", "--output", "out"]) == 130
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "skcnn compare: stopped."
    assert os.listdir() == []


def test_progress_bar_on_a_terminal():
    import pty

    main_end, terminal = pty.openpty()
    arguments = ["--pipelines", "template-matching", "--cv", "2", "--jobs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "skcnn", "compare", *arguments],
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "90"},
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(main_end, 65536)
        except OSError:  # how a closed terminal reads on Linux
            break
        if not part:
            break
        shown += part
    os.close(main_end)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "Comparing" in text
    assert "2/2" in text
    assert "fold 2: accuracy" in text


@pytest.mark.parametrize("redirection", ["| true", "2>&1 | true", "> /dev/full", "2> /dev/full"])
def test_nothing_is_lost_when_nobody_reads(redirection):
    X, y = digits()
    arguments = " ".join([save_npz(X=X, y=y), "--output", "out", *FAST])
    command = f"{shlex.quote(sys.executable)} -m skcnn compare {arguments} {redirection}"
    subprocess.run(["bash", "-c", command], timeout=120, check=False)
    assert sorted(os.listdir("out")) == OUTPUTS


def test_a_terminal_that_knows_ascii_only_gets_escapes():
    X, y = digits()
    names = np.array(["nü\N{SNOWMAN}ll", "b", "c"])
    arguments = [save_npz(X=X, y=names[y]), "--output", "out", "--quiet", *FAST]
    done = subprocess.run(
        [sys.executable, "-m", "skcnn", "compare", *arguments],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert b"0.9" in done.stdout
    assert b"Traceback" not in done.stderr
    assert sorted(os.listdir("out")) == OUTPUTS
