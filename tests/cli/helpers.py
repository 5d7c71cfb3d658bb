"""What the tests of the command line share."""

import numpy as np

from skcnn import load_digit_images
from skcnn.cli import main

FAST = ["--pipelines", "template-matching,pixels-rbf-svm", "--quick", "--cv", "2", "--jobs", "1"]
OUTPUTS = ["best.joblib", "comparison.csv", "comparison.html"]


def save_npz(name="data.npz", **arrays):
    np.savez(name, **arrays)
    return name


def digits(n=60, n_classes=3):
    images, labels = load_digit_images(return_X_y=True)
    chosen = labels < n_classes
    return images[chosen][:n], labels[chosen][:n]


def words(text):
    """The text without its line breaks."""
    return " ".join(text.split())


def usage_error(arguments, capsys):
    """Run a command that must end with exit code 2 and one line, and return that line."""
    try:
        code = main(arguments)
    except SystemExit as exit_:  # argparse
        code = exit_.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err.splitlines()[-1]
