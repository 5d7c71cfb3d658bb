"""Ctrl-C and the progress bar."""

import os
import signal
import subprocess
import sys

import pandas as pd
import pytest

from skcnn.cli import main
from tests.cli.helpers import words


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
    assert capsys.readouterr().err == "skcnn compare: stopped.\n"
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
