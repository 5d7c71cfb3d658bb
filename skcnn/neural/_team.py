"""A network trained by several threads, each with a share of every batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, starmap
from math import prod
from threading import BrokenBarrierError
from typing import Any

import torch
from torch import nn

from skcnn._torch_threads import have_one_thread, one_thread_here, thread_count
from skcnn.neural._batches import Batch
from skcnn.neural._flat import FlatParameters
from skcnn.neural._kinds import NORMS, is_known, torch_is_altered
from skcnn.neural._maps import Room
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

# Adds the gradient of some images of a batch to that of a network, and returns their outputs and
# their share of the loss.
Work = Callable[[nn.Module, Batch, slice], tuple[torch.Tensor, torch.Tensor]]


@dataclass
class _Member:
    """The network of a thread, which has everybody's weights, and what is the thread's own.

    That is the gradient, a generator for each that the layers draw from, and memory for maps.
    """

    network: nn.Module
    gradient: torch.Tensor
    generators: dict[torch.Generator, torch.Generator]
    room: Room = field(default_factory=Room)

    def draw_alike(self) -> None:
        """Make the generators ready to give the numbers that those of the network would."""
        for original, own in self.generators.items():
            own.set_state(original.get_state())

    def run(self, work: Work, batch: Batch, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Do the member's share of a step."""
        self.gradient.zero_()
        with self.room.in_use():
            return work(self.network, batch, rows)


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
        As many threads as there are to be members. The calling thread only waits for them, so that
        Ctrl-C comes between no two of their exchanges.
    """

    def __init__(
        self, network: nn.Module, flat: FlatParameters, pool: ThreadPoolExecutor, size: int
    ) -> None:
        self._gradient, self._pool, self._exchange = flat.gradient, pool, Exchange(size)
        self._members = [_member(network, flat, self._exchange, n) for n in range(size)]

    def step(self, work: Work, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the gradient of a batch; return its outputs and its loss."""
        for member in self._members:
            member.draw_alike()
        at_work: list[Future] = []
        try:
            for member, rows in zip(self._members, self._shares(len(batch.targets)), strict=True):
                at_work.append(self._pool.submit(member.run, work, batch, rows))
            _, not_done = wait(at_work, return_when=FIRST_EXCEPTION)
            if not_done:
                self._exchange.abandon()  # they wait for the statistics of one that has failed
        except BaseException:
            self._exchange.abandon()
            raise
        outputs, losses = zip(*_results(at_work), strict=True)
        for member in self._members[1:]:
            self._gradient.add_(member.gradient)
        return torch.cat(outputs), torch.stack(losses).sum()

    def is_worthwhile(self, n_images: int) -> bool:
        """Tell whether there is enough in a batch, as there may not be in an epoch's last."""
        return n_images >= len(self._members) * _FEWEST_IMAGES

    def _shares(self, n_images: int) -> Iterator[slice]:
        size = len(self._members)
        edges = [n_images * number // size for number in range(size + 1)]
        return starmap(slice, pairwise(edges))


@contextmanager
def team_of(network: nn.Module, flat: FlatParameters, size: int) -> Iterator[Team]:
    """Yield a team of `size` threads."""
    members = ThreadPoolExecutor(size, initializer=have_one_thread)
    with one_thread_here(), members as pool:
        yield Team(network, flat, pool, size)


def team_size(network: nn.Module, image_shape: tuple[int, int, int], batch_size: int) -> int:
    """Return how many threads should train a network together; 1 if torch should share the work."""
    size = thread_count()
    on_cpu = next(network.parameters()).device.type == "cpu"
    if not 1 < size <= MOST_THREADS or batch_size < size * _FEWEST_IMAGES or not on_cpu:
        return 1
    if not can_be_shared(network):
        return 1
    n_values = sum(prod(row.output_shape) for row in summarize(network, image_shape))
    return size if batch_size * n_values >= size * _FEWEST_VALUES else 1


def can_be_shared(network: nn.Module) -> bool:
    """Tell whether a network does the same in parts, in other threads."""
    return is_known(network) and not torch_is_altered() and _can_be_copied(network)


def _can_be_copied(network: nn.Module) -> bool:
    """Tell whether nothing that a user has hung on a layer is in the way of a twin."""
    kept = (*network.parameters(), *network.buffers(), *_generators(network))
    twins = {id(each): each for each in kept}
    try:
        copy.deepcopy(network, twins)
    except Exception:  # whatever the user's object raises
        return False
    return True


def _member(network: nn.Module, flat: FlatParameters, exchange: Exchange, number: int) -> _Member:
    # The first one's gradient is the network's, which those of the others are added to.
    gradient = flat.gradient if number == 0 else torch.zeros_like(flat.gradient)
    twins: dict[int, Any] = {id(buffer): buffer for buffer in network.buffers()}
    for parameter in network.parameters():
        twins[id(parameter)] = _twin(parameter, gradient)
    generators = _generators(network)
    # The first one draws from the network's own, so that these go on.
    own = generators if number == 0 else [torch.Generator(g.device) for g in generators]
    twins |= {id(g): copied for g, copied in zip(generators, own, strict=True)}
    twin = copy.deepcopy(network, twins)
    shared: dict[nn.Module, nn.Module] = {}
    for parent in list(twin.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, NORMS):
                norm = SharedNorm(child, exchange, number)
                parent._modules[name] = shared.setdefault(child, norm)  # one that is used twice
    followed = {} if number == 0 else dict(zip(generators, own, strict=True))
    return _Member(twin, gradient, followed)


def _twin(parameter: nn.Parameter, gradient: torch.Tensor) -> nn.Parameter:
    twin = nn.Parameter(parameter.data, requires_grad=parameter.requires_grad)
    if parameter.requires_grad:
        place = parameter.grad
        assert place is not None  # FlatParameters has given it one
        twin.grad = gradient.as_strided(place.shape, place.stride(), place.storage_offset())
    return twin


def _generators(network: nn.Module) -> list[torch.Generator]:
    """Return what the layers draw from, each once."""
    layers = [layer for layer in network.modules() if isinstance(layer, SeededDropout)]
    return list(dict.fromkeys(layer.generator for layer in layers if layer.generator is not None))


def _results(at_work: Sequence[Future]) -> list[Any]:
    """Return what all have found; or raise the error that made the others give up."""
    errors = [error for future in at_work if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
    return [future.result() for future in at_work]
