"""A network trained by several threads, each with a share of every batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from threading import BrokenBarrierError

import torch
from torch import nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from skcnn._torch_threads import have_one_thread, one_thread_here
from skcnn.neural._batches import Batch
from skcnn.neural._flat import FlatParameters
from skcnn.neural._kinds import NORMS, is_known
from skcnn.neural._modules import SeededDropout
from skcnn.neural._summary import summarize
from skcnn.neural._team_norm import Exchange, SharedNorm

# Up to so many threads work as a team: measured with two of them. With more, the calls of layers,
# which only one thread at a time can make, would be too large a part.
MOST_THREADS = 4
# Shares of fewer images, or with fewer values between the layers, take less time than it takes to
# hand them out.
_FEWEST_IMAGES = 32
_FEWEST_VALUES = 2**19

# Adds the gradient of a share of a batch of so many images to that of a network, and returns the
# outputs and the share of the loss.
Work = Callable[[nn.Module, Batch, int], tuple[torch.Tensor, torch.Tensor]]


@dataclass
class _Member:
    """The network of a thread, which has everybody's weights, and its own gradient of them."""

    network: nn.Module
    gradient: torch.Tensor


class Team:
    """Threads that take a share of every batch through a network each, side by side.

    The networks have one set of weights in common, and batch normalisation goes by the statistics
    of the whole batch. Gradients are added up in the order of the members, so that the sum does not
    depend on who is done first.

    Parameters
    ----------
    network : torch.nn.Module
        The network, one that :func:`team_size` finds suitable, in training mode.

    flat : FlatParameters
        Its parameters; their gradient gets the sum.

    pool : ThreadPoolExecutor
        Threads for all members but one, which is the calling thread.
    """

    def __init__(
        self, network: nn.Module, flat: FlatParameters, pool: ThreadPoolExecutor, size: int
    ) -> None:
        self._flat, self._pool, self._exchange = flat, pool, Exchange(size)
        self._members = [_member(network, flat, self._exchange, n) for n in range(size)]

    def step(self, work: Work, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the gradient of a batch; return its outputs and its loss."""
        n_images = len(batch.targets)
        begin = [
            partial(self._run, work, member, share, n_images)
            for member, share in zip(self._members, self._shares(batch), strict=True)
        ]
        others: list[Future] = []
        try:
            others += [self._pool.submit(run) for run in begin[1:]]
            results = [begin[0]()]
            results += [other.result() for other in others]
        except BaseException as error:
            self._exchange.abandon()
            wait(others)
            raise _cause(others, error) from None
        torch.sum(torch.stack([m.gradient for m in self._members]), 0, out=self._flat.gradient)
        outputs, losses = zip(*results, strict=True)
        return torch.cat(outputs), torch.stack(losses).sum()

    def is_worthwhile(self, n_images: int) -> bool:
        """Tell whether there is enough in a batch, as there may not be in an epoch's last."""
        return n_images >= len(self._members) * _FEWEST_IMAGES

    def _shares(self, batch: Batch) -> list[Batch]:
        n_images, size = len(batch.targets), len(self._members)
        edges = [n_images * number // size for number in range(size + 1)]
        return [batch.of(slice(*rows)) for rows in pairwise(edges)]

    def _run(
        self, work: Work, member: _Member, share: Batch, n_images: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        try:
            member.gradient.zero_()
            return work(member.network, share, n_images)
        except BaseException:
            self._exchange.abandon()  # the others wait for this one's statistics
            raise


@contextmanager
def team_of(network: nn.Module, flat: FlatParameters, size: int) -> Iterator[Team]:
    """Yield a team of `size` threads, one of which is the calling one."""
    others = ThreadPoolExecutor(size - 1, initializer=have_one_thread)
    with one_thread_here(), others as pool:
        yield Team(network, flat, pool, size)


def team_size(network: nn.Module, image_shape: tuple[int, int, int], batch_size: int) -> int:
    """Return how many threads should train a network together; 1 if torch should share the work."""
    size = torch.get_num_threads()
    on_cpu = next(network.parameters()).device.type == "cpu"
    if not 1 < size <= MOST_THREADS or batch_size < size * _FEWEST_IMAGES or not on_cpu:
        return 1
    if not is_known(network) or is_in_torch_dispatch_mode():
        return 1
    n_values = sum(prod(row.output_shape) for row in summarize(network, image_shape))
    return size if batch_size * n_values >= size * _FEWEST_VALUES else 1


def _member(network: nn.Module, flat: FlatParameters, exchange: Exchange, number: int) -> _Member:
    """Return a network with the weights of another, and gradients and generators of its own."""
    gradient = torch.zeros_like(flat.gradient)
    known: dict[int, object] = {id(buffer): buffer for buffer in network.buffers()}
    for parameter in network.parameters():
        known[id(parameter)] = _twin(parameter, gradient)
    for layer in network.modules():
        if isinstance(layer, SeededDropout) and id(layer.generator) not in known:
            known[id(layer.generator)] = _generator_from(layer.generator)
    twin = copy.deepcopy(network, known)
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if isinstance(child, NORMS):
                parent.add_module(name, SharedNorm(child, exchange, number))
    return _Member(twin, gradient)


def _twin(parameter: nn.Parameter, gradient: torch.Tensor) -> nn.Parameter:
    twin = nn.Parameter(parameter.data, requires_grad=parameter.requires_grad)
    if parameter.requires_grad:
        place = parameter.grad
        assert place is not None  # FlatParameters has given it one
        twin.grad = gradient.as_strided(place.shape, place.stride(), place.storage_offset())
    return twin


def _generator_from(generator: torch.Generator | None) -> torch.Generator:
    assert generator is not None  # it is set before a network is trained
    seed = torch.randint(2**62, (), generator=generator)
    return torch.Generator().manual_seed(int(seed))


def _cause(others: Sequence[Future], error: BaseException) -> BaseException:
    """Return the error that made the others give up."""
    if not isinstance(error, BrokenBarrierError):
        return error
    errors = [other.exception() for other in others]
    return next((e for e in errors if e and not isinstance(e, BrokenBarrierError)), error)
