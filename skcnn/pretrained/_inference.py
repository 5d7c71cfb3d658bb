"""A network made fast for prediction: the same function, computed with less work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import ceil
from typing import Any

import torch
from torch import nn

from skcnn._torch_threads import one_thread_here, thread_count
from skcnn.features._threads import in_threads
from skcnn.pretrained._fusion import fused
from skcnn.pretrained._layer_steps import Convolution, Linear, prepared
from skcnn.pretrained._recording import OfBatch, Program, Step, Value, recorded, values_in

_logger = logging.getLogger(__name__)

# Images go through the network in chunks whose largest maps take no more memory than this: they are
# at hand for the next layer, and what is freed is taken again. Arrays of more than 32 MiB the C
# library asks of the system anew each time, which takes longer than to fill them.
_CHUNK_BYTES = 24 * 2**20
_LEAST_CHUNK, _LARGEST_CHUNK = 2, 32

# How far the fast network may be from the original, as a share of the largest output.
_TOLERANCE = 1e-4


def optimized(network: nn.Module, example: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what computes the outputs of a network in evaluation mode, faster.

    Batch normalisation goes into the convolution before it, as do the activation and the sum of a
    residual block that come after; maps lie channels last, and on a CPU weights lie as oneDNN wants
    them. What the network does is learnt from watching it. The result is compared with the
    original's: if it differs, or the network cannot be watched, the original is used as it is.

    Parameters
    ----------
    network : nn.Module
        The network, in evaluation mode. It is left as it is, and its weights must stay as they
        are. Who drops it keeps no weights twice.

    example : torch.Tensor of shape (m, 3, height, width)
        Images as they will come, on the network's device.

    Returns
    -------
    compute : callable
        Takes a batch of any number of images, returns the network's output, without gradients.
        Several threads may call it at once.
    """

    def as_it_is(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(images.contiguous(memory_format=torch.channels_last))

    expected = as_it_is(example)
    try:
        with torch.inference_mode():
            fast = FastNetwork(fused(recorded(network, example)))
        agrees = _agree(fast(example), expected) and _agree(fast(example[:1]), expected[:1])
    except Exception as error:  # whatever a network of somebody's own does not bear
        _logger.info("%s is computed as it is: %s", type(network).__name__, error)
        return as_it_is
    if not agrees:
        _logger.info("%s is computed as it is: its fast form differs.", type(network).__name__)
        return as_it_is
    return fast


def _agree(fast: torch.Tensor, expected: torch.Tensor) -> bool:
    if fast.shape != expected.shape or fast.dtype != expected.dtype:
        return False
    apart = (fast - expected).abs().amax()
    return bool(apart <= _TOLERANCE * expected.abs().amax())


class FastNetwork:
    """The steps of a network, ready to run.

    Parameters
    ----------
    program : Program
        What the network does.
    """

    def __init__(self, program: Program) -> None:
        self._chunk = _images_at_a_time(program)
        layers = [_with_weights_in_place(step, program, self._chunk) for step in program.steps]
        self._steps = list(zip(layers, _last_uses(program), strict=True))
        used = {n for step in layers for n in values_in((step.arguments, step.options))}
        self._constants = {n: value for n, value in program.constants.items() if n in used}
        self._batch, self._output = program.batch, program.output

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's output for a batch of images."""
        n_threads = thread_count() if images.device.type == "cpu" else 1
        with torch.inference_mode():
            images = images.contiguous(memory_format=torch.channels_last)
            chunks = self._chunks(len(images), n_threads)
            if len(chunks) == 1:
                return self._run(images)
            # Threads that share each layer wait for one another after each, those with chunks of
            # their own do not.
            parts = in_threads(
                n_threads, lambda rows: self._run(images[rows]), chunks, within=one_thread_here
            )
            return torch.cat(parts)

    def _chunks(self, n_images: int, n_threads: int) -> list[slice]:
        """Return chunks of nearly the same size, as many for each thread."""
        n_chunks = max(1, ceil(n_images / self._chunk))
        if n_images >= n_threads * _LEAST_CHUNK:
            n_chunks = ceil(n_chunks / n_threads) * n_threads
        edges = [n_images * number // n_chunks for number in range(n_chunks + 1)]
        return [slice(start, stop) for start, stop in pairwise(edges)]

    @torch.inference_mode()
    def _run(self, images: torch.Tensor) -> torch.Tensor:
        values = {**self._constants, self._batch: images}
        size = len(images)
        for step, done in self._steps:
            arguments = _filled_in(step.arguments, values, size)
            options = _filled_in(step.options, values, size)
            values.update(_bound(step.results, step.function(*arguments, **options)))
            del arguments, options
            for number in done:
                del values[number]
        return values[self._output]


def _images_at_a_time(program: Program) -> int:
    n_images = len(program.examples[program.batch])
    results = {number for step in program.steps for number in values_in(step.results)}
    most = max((program.examples[number].nbytes for number in results), default=1)
    fitting = _CHUNK_BYTES * n_images // max(most, 1)
    return min(max(fitting, _LEAST_CHUNK), _LARGEST_CHUNK)


def _with_weights_in_place(step: Step, program: Program, n_images: int) -> Step:
    if not isinstance(step.function, Convolution | Linear):
        return step
    first, *rest = program.examples[step.arguments[0].number].shape
    first = first * n_images // len(program.examples[program.batch])
    function = prepared(step.function, torch.Size([first, *rest]))
    return Step(function, step.arguments, step.options, step.results)


def _last_uses(program: Program) -> list[list[int]]:
    """Return for each step the values that nobody reads after it."""
    seen = {program.output}
    uses = []
    for step in reversed(program.steps):
        numbers = set(values_in((step.arguments, step.options, step.results)))
        uses.append(sorted(numbers - seen))
        seen |= numbers
    return uses[::-1]


def _filled_in(nested: Any, values: dict[int, torch.Tensor], size: int) -> Any:
    """Return arguments with the values of this run."""
    if isinstance(nested, Value):
        return values[nested.number]
    if isinstance(nested, OfBatch):
        return nested.factor * size + nested.offset
    if isinstance(nested, list | tuple):
        return type(nested)([_filled_in(part, values, size) for part in nested])
    if isinstance(nested, dict):
        return {name: _filled_in(part, values, size) for name, part in nested.items()}
    return nested


def _bound(results: Any, result: Any) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the numbers of values with what they are in this run."""
    if isinstance(results, Value):
        yield results.number, result
    elif isinstance(results, list | tuple):
        for part, value in zip(results, result, strict=True):
            yield from _bound(part, value)
