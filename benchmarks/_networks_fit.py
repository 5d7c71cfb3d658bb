"""Fits beside their peers: convolutional networks, a trivial network, perceptrons."""

from functools import partial
from pathlib import Path

import numpy as np
from _networks_data import cifar, digits, mnist
from _networks_keras import KerasError, KerasWorker
from _networks_nets import LECTURE, VGG, perceptron
from _networks_peers import (
    Task,
    scikit_learn_fit,
    skcnn_fit,
    skorch_fit,
    torch_loader,
    torch_slices,
)
from _networks_timing import Candidate, print_fits
from _networks_workers import Builder, workers

Missing = dict[str, str]


class Bench:
    """What the sections have in common: workers, rounds and the heading of a table."""

    def __init__(
        self, data: Path, repeats: int, n_threads: int, keras: list[KerasWorker], missing: Missing
    ) -> None:
        self.data, self.repeats, self.n_threads = data, repeats, n_threads
        self.keras, self.missing = keras, missing

    def heading(self, what: str) -> str:
        """Return the title of a table."""
        return f"{what}, {self.n_threads} thread{'s' * (self.n_threads > 1)}"

    def compare(self, task: Task, builders: dict[str, Builder], *, keras: bool = True) -> None:
        """Time the candidates beside skcnn and print their table."""
        images = f"{len(task.data.X)} images x {task.epochs} epochs"
        title = self.heading(f"Fit of {task.network.name}, {images}, batch {task.batch_size}")
        missing = dict(self.missing) if keras else {}
        builders = {"skcnn": partial(skcnn_fit, task), **builders}
        with workers(builders, self.n_threads) as processes:
            candidates: dict[str, Candidate] = dict(processes)
            for worker in self.keras if keras else ():
                try:
                    candidates[worker.name] = worker.fit(task)
                except KerasError as error:
                    missing[worker.name] = str(error)
            print_fits(title, candidates, missing, repeats=self.repeats, flops=task.flops)


def torch_peers(task: Task) -> dict[str, Builder]:
    """Return the loops that people write for a network, and skorch."""
    return {
        "torch, slices": partial(torch_slices, task),
        "torch, DataLoader": partial(torch_loader, task),
        "skorch": partial(skorch_fit, task),
    }


def lecture(bench: Bench) -> None:
    """Print the tables of the lecture's network on MNIST."""
    data = mnist(bench.data, 2000)
    for batch_size in (20, 128, 512):
        task = Task(LECTURE, data, batch_size, epochs=2)
        bench.compare(task, torch_peers(task))


def vgg(bench: Bench) -> None:
    """Print the table of a network of VGG's kind on CIFAR-10."""
    task = Task(VGG, cifar(bench.data, 256), 64, epochs=1)
    bench.compare(task, torch_peers(task))


def engine(bench: Bench) -> None:
    """Print the table of a network so small that only the bookkeeping takes time."""
    task = Task(perceptron(8, 16), digits(), 128, epochs=60)
    bench.compare(task, torch_peers(task))


def mlp(bench: Bench) -> None:
    """Print the tables of perceptrons beside scikit-learn's."""
    images, small = mnist(bench.data, 10_000), digits()
    for network, data, batch_size, epochs in [
        (perceptron(28, 100), images, 200, 4),
        (perceptron(8, 100), small, 200, 100),
        (perceptron(8, 100), small, 32, 25),
    ]:
        task = Task(network, data, batch_size, epochs)
        bench.compare(task, perceptron_peers(task), keras=False)


def perceptron_peers(task: Task) -> dict[str, Builder]:
    """Return scikit-learn's perceptron of both types and loops with both Adams."""
    return {
        "scikit-learn, float64": partial(scikit_learn_fit, task, np.float64),
        "scikit-learn, float32": partial(scikit_learn_fit, task, np.float32),
        "torch, slices": partial(torch_slices, task),
        "torch, slices, fused Adam": partial(torch_slices, task, fused=True),
    }
