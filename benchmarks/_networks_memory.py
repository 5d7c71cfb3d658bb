"""What a fit on all of MNIST, stored as uint8, adds to the memory of the process."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from _networks_data import Data, mnist_bytes
from _networks_nets import LECTURE, Network, perceptron
from _networks_peers import Task, scikit_learn_fit, torch_slices
from _timing import print_table

MIB = 2**20
INTERVAL = 0.002  # seconds between two looks at the process
PERCEPTRON = perceptron(28, 100)

Fit = Callable[[np.ndarray, np.ndarray], object]


def print_memory(data_folder: Path) -> None:
    """Print the table; every fit has a process of its own."""
    rows: list[list[object]] = []
    for name in FITS:
        command = [sys.executable, __file__, name, str(data_folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        size, growth = (float(number) / MIB for number in done.stdout.split())
        rows.append([name, size, growth, growth / size])
    columns = ["one epoch, batch 128", "MiB of X", "MiB added at the peak", "times X"]
    print_table("Memory that fit adds, 60000 uint8 images of MNIST", columns, rows)


def skcnn(network: Network) -> Fit:
    """Return a fit of the images as they are."""
    estimator = network.estimator(batch_size=128, max_iter=1, device="cpu")
    return estimator.fit


def torch_loop(network: Network) -> Fit:
    """Return a plain loop, which needs the images as a float32 tensor."""

    def fit(X: np.ndarray, y: np.ndarray) -> None:
        images = X[..., None].astype(np.float32)
        images /= 255
        torch_slices(Task(network, Data(images, y), 128, epochs=1))()

    return fit


def scikit_learn(X: np.ndarray, y: np.ndarray) -> None:
    """Fit scikit-learn's perceptron, which makes float64 of integers."""
    scikit_learn_fit(Task(PERCEPTRON, Data(X[..., None], y), 128, epochs=1), np.uint8)()


FITS: dict[str, Fit] = {
    "skcnn, lecture CNN": skcnn(LECTURE),
    "torch, lecture CNN": torch_loop(LECTURE),
    "skcnn, MLP 784-100-10": skcnn(PERCEPTRON),
    "torch, MLP 784-100-10": torch_loop(PERCEPTRON),
    "scikit-learn, MLP 784-100-10": scikit_learn,
}


def peak_growth(function: Callable[[], object]) -> int:
    """Return by how many bytes the memory of this process grows at most during a call."""
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(INTERVAL):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return max(peak, process.memory_info().rss) - before


def main() -> None:
    """Print the bytes of the images and those that the named fit adds to them."""
    name, folder = sys.argv[1:]
    torch.set_num_threads(1)
    X, y = mnist_bytes(Path(folder))
    few = slice(None, None, 100)  # the file may be sorted by class
    FITS[name](X[few], y[few])  # loads libraries and sets their buffers up
    print(X.nbytes, peak_growth(lambda: FITS[name](X, y)))


if __name__ == "__main__":
    main()
