"""A fit of one network with skcnn, torch loops, skorch and scikit-learn, as candidates."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from _networks_data import Data
from _networks_nets import Network
from _networks_timing import Candidate, Run, clock, timed
from sklearn.neural_network import MLPClassifier as ScikitLearnMLP
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Task:
    """A fit that every library is given: no penalty, no early end, Adam."""

    network: Network
    data: Data
    batch_size: int
    epochs: int

    @property
    def flat(self) -> bool:
        """Whether the images go in as rows."""
        return self.network.layers[0] == ("flatten",)

    @property
    def flops(self) -> float:
        """Operations of the matrix products of the whole fit."""
        return self.network.training_flops() * len(self.data.X) * self.epochs


def skcnn_fit(task: Task) -> Candidate:
    """Return the whole of fit: validation, statistics, shuffling and training."""
    estimator = task.network.estimator(
        alpha=0,
        batch_size=task.batch_size,
        learning_rate_init=LEARNING_RATE,
        max_iter=task.epochs,
        n_iter_no_change=np.inf,
        random_state=0,
        device="cpu",
    )
    X = task.data.rows if task.flat else task.data.X

    def run() -> Run:
        seconds = timed(lambda: estimator.fit(X, task.data.y))
        return Run(seconds, estimator.loss_, estimator.n_parameters_)

    return run


def torch_slices(task: Task, **adam) -> Candidate:
    """Return the loop of somebody who knows torch: one tensor, a gather for each batch."""
    X, y = tensors(task)

    def batches() -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(X))
        for chosen in order.split(task.batch_size):
            yield X[chosen], y[chosen]

    return _torch_loop(task, batches, **adam)


def torch_loader(task: Task) -> Candidate:
    """Return the loop of torch's tutorials, over a DataLoader."""
    X, y = tensors(task)
    loader = DataLoader(TensorDataset(X, y), task.batch_size, shuffle=True)
    return _torch_loop(task, lambda: loader)


def tensors(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (n, channels, height, width) or rows, and codes."""
    y = torch.from_numpy(task.data.y)
    if task.flat:
        return torch.from_numpy(task.data.rows), y
    return torch.from_numpy(task.data.X).permute(0, 3, 1, 2).contiguous(), y


def _torch_loop(task: Task, batches: Callable[[], Iterable], **adam) -> Candidate:
    criterion = nn.CrossEntropyLoss()

    def run() -> Run:
        torch.manual_seed(0)
        module = task.network.module().train()
        optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, **adam)
        start = clock()
        for _ in range(task.epochs):
            total = 0.0
            for inputs, codes in batches():
                optimizer.zero_grad()
                loss = criterion(module(inputs), codes)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(codes)
        seconds = clock() - start
        n_parameters = sum(weight.numel() for weight in module.parameters())
        return Run(seconds, total / len(task.data.y), n_parameters)

    return run


def skorch_fit(task: Task) -> Candidate:
    """Return skorch as it comes, without its validation split and its printing."""
    X, y = (tensor.numpy() for tensor in tensors(task))

    def run() -> Run:
        torch.manual_seed(0)
        net = skorch_net(task.network, task.batch_size, task.epochs)
        seconds = timed(lambda: net.fit(X, y))
        n_parameters = sum(weight.numel() for weight in net.module_.parameters())
        return Run(seconds, net.history[-1, "train_loss"], n_parameters)

    return run


def skorch_net(network: Network, batch_size: int, epochs: int) -> NeuralNetClassifier:
    """Return skorch's classifier for a network."""
    return NeuralNetClassifier(
        network.module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        batch_size=batch_size,
        max_epochs=epochs,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
    )


def scikit_learn_fit(task: Task, dtype: type) -> Candidate:
    """Return scikit-learn's perceptron on rows of a floating type."""
    X = task.data.rows.astype(dtype)
    hidden = [units for kind, *units in task.network.layers if kind == "dense"][:-1]
    perceptron = ScikitLearnMLP(
        [units[0] for units in hidden],
        alpha=0,
        batch_size=task.batch_size,
        learning_rate_init=LEARNING_RATE,
        max_iter=task.epochs,
        n_iter_no_change=task.epochs,
        random_state=0,
    )

    def run() -> Run:
        seconds = timed(lambda: perceptron.fit(X, task.data.y))
        weights = [*perceptron.coefs_, *perceptron.intercepts_]
        return Run(seconds, perceptron.loss_, sum(weight.size for weight in weights))

    return run
