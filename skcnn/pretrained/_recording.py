"""What a network does with a batch, written down as a list of steps.

Two batches of different sizes go through the network. Numbers that are the same in both runs belong
to the network, those that differ depend on the size of the batch. Modules, loops and conditions of
the network's own code leave no trace: only what they did with tensors is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

# Sizes of the two batches.
_FEW, _MORE = 2, 3

# torch keeps in variables of the process whether it is within a mode, and the end of a mode sets
# them back to what it found. Of two threads at a time the last one would find, and leave, "within".
# A network may record another one on its way, so it is a lock that a thread can take twice.
_one_at_a_time = RLock()

# Arguments that say whether, or how often, something is drawn.
_DRAWING = ("train", "training", "dropout_p")


class NotRecordableError(Exception):
    """A network that does more than compute one tensor from another, step by step."""


@dataclass(frozen=True)
class Value:
    """The tensor of this number, as an argument of a step."""

    number: int


@dataclass(frozen=True)
class OfBatch:
    """An int that depends on the number of images n: ``factor * n + offset``."""

    factor: int
    offset: int


@dataclass
class Step:
    """One call of a function on tensors.

    Parameters
    ----------
    function : callable
        What is called.

    arguments, options : tuple, dict
        What it is called with; :class:`Value` and :class:`OfBatch` stand for what is not known yet.

    results : Any
        What is made of its result, in the same form: :class:`Value` where there are tensors.

    mutates : frozenset of int
        Memory that it writes to.
    """

    function: Callable[..., Any]
    arguments: tuple
    options: dict[str, Any]
    results: Any
    mutates: frozenset[int] = frozenset()


@dataclass
class Program:
    """The steps from a batch to the network's output.

    Parameters
    ----------
    steps : list of Step
        In order.

    constants : dict of int to torch.Tensor
        Values that are the same for every batch, by number.

    examples : list of torch.Tensor
        Each value as it was in the run.

    batch, output : int
        Numbers of what comes in and what goes out.
    """

    steps: list[Step] = field(default_factory=list)
    constants: dict[int, torch.Tensor] = field(default_factory=dict)
    examples: list[torch.Tensor] = field(default_factory=list)
    batch: int = 0
    output: int = 0


def recorded(network: nn.Module, example: torch.Tensor) -> Program:
    """Return what a network does.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.

    example : torch.Tensor of shape (m, ...)
        A batch of at least one image.

    Raises
    ------
    NotRecordableError
        If steps depend on values of images, write to the network's own tensors, draw random
        numbers, or give anything but one tensor.
    """
    few, more = (_run(network, _repeated(example, size)) for size in (_FEW, _MORE))
    if len(few.steps) != len(more.steps):
        raise NotRecordableError("The steps depend on the size of the batch.")
    if len(few.examples) != len(more.examples) or few.output != more.output:
        raise NotRecordableError("The results depend on the size of the batch.")
    for number, constant in few.constants.items():
        if not _same(constant, more.constants.get(number)):
            raise NotRecordableError("A tensor of the network depends on the batch.")
    few.steps = [_unified(a, b) for a, b in zip(few.steps, more.steps, strict=True)]
    return _without_constant_steps(few)


def _repeated(example: torch.Tensor, size: int) -> torch.Tensor:
    indices = torch.arange(size, device=example.device) % len(example)
    return example[indices].contiguous(memory_format=torch.channels_last)


def _run(network: nn.Module, batch: torch.Tensor) -> Program:
    recorder = _Recorder(batch)
    with _one_at_a_time, torch.inference_mode(), recorder:
        output = network(batch)
    return recorder.finished(output)


class _Recorder(TorchDispatchMode):
    """Writes down the operations of this thread.

    All tensors are kept until the end, so that none takes the place of another in memory.
    """

    def __init__(self, batch: torch.Tensor) -> None:
        super().__init__()
        self._program = Program()
        self._numbers: dict[int, int] = {}
        self._program.batch = self._number_of_new(batch)
        self._of_images = {self._program.batch}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        _refuse_draws(func, args, kwargs)
        arguments, options = self._noted(args), self._noted(kwargs)
        mutated = _mutated(func, args, kwargs)
        result = func(*args, **kwargs)
        changed = {id(tensor) for tensor in mutated}
        results = _mapped(result, lambda tensor: self._noted_result(tensor, changed))
        self._follow_images(func, (arguments, options), results)
        if mutated or not _all_known(results, (arguments, options)):
            mutates = frozenset(map(memory_of, mutated))
            self._program.steps.append(Step(func, arguments, options, results, mutates))
        return result

    def _follow_images(self, func: Any, arguments: Any, results: Any) -> None:
        if self._of_images.isdisjoint(values_in(arguments)):
            return
        numbers = set(values_in(results))
        if not numbers:
            raise NotRecordableError(f"{func} reads values of images.")
        self._of_images |= numbers

    def finished(self, output: Any) -> Program:
        if not isinstance(output, torch.Tensor) or id(output) not in self._numbers:
            raise NotRecordableError("The network's output is not one tensor that it computed.")
        self._program.output = self._numbers[id(output)]
        mutated = {memory for step in self._program.steps for memory in step.mutates}
        given = [self._program.examples[self._program.batch], *self._program.constants.values()]
        if mutated & set(map(memory_of, given)):
            raise NotRecordableError("The network writes to its input or to its own tensors.")
        return self._program

    def _noted(self, arguments: Any) -> Any:
        return _mapped(arguments, self._noted_argument)

    def _noted_argument(self, tensor: torch.Tensor) -> Value:
        number = self._numbers.get(id(tensor))
        if number is None:
            number = self._number_of_new(tensor)
            self._program.constants[number] = tensor
        return Value(number)

    def _noted_result(self, tensor: torch.Tensor, changed: set[int]) -> Value:
        number = self._numbers.get(id(tensor))
        # A tensor that is written to is another value from then on.
        if number is None or id(tensor) in changed:
            number = self._number_of_new(tensor)
        return Value(number)

    def _number_of_new(self, tensor: torch.Tensor) -> int:
        number = len(self._program.examples)
        self._program.examples.append(tensor)
        self._numbers[id(tensor)] = number
        return number


def memory_of(tensor: torch.Tensor) -> int:
    """Return what tensors that share memory have in common."""
    return tensor.untyped_storage()._cdata


def values_in(nested: Any) -> Iterator[int]:
    """Yield the numbers of the values in arguments or results."""
    if isinstance(nested, Value):
        yield nested.number
    elif isinstance(nested, list | tuple):
        for part in nested:
            yield from values_in(part)
    elif isinstance(nested, dict):
        yield from values_in(tuple(nested.values()))


def _mapped(nested: Any, of_tensor: Callable[[torch.Tensor], Value]) -> Any:
    if isinstance(nested, torch.Tensor):
        return of_tensor(nested)
    if isinstance(nested, list | tuple):
        return type(nested)(_mapped(part, of_tensor) for part in nested)
    if isinstance(nested, dict):
        return {name: _mapped(part, of_tensor) for name, part in nested.items()}
    return nested


def _mutated(func: Any, args: tuple, kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Return the tensors that a function writes to."""
    written: list[torch.Tensor] = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            _mapped(given, lambda tensor: _noted(tensor, written))
    return written


def _noted(tensor: torch.Tensor, notes: list[torch.Tensor]) -> Value:
    notes.append(tensor)
    return Value(-1)


def _refuse_draws(func: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    """Raise an error if a function draws random numbers; dropout and attention need not."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return
    switches = [
        (args[position] if position < len(args) else kwargs.get(argument.name))
        for position, argument in enumerate(func._schema.arguments)
        if argument.name in _DRAWING
    ]
    if not switches or any(switches):
        raise NotRecordableError(f"{func} draws random numbers.")


def _all_known(results: Any, arguments: Any) -> bool:
    """Tell whether a function returned nothing but its arguments."""
    return set(values_in(results)) <= set(values_in(arguments))


def _same(one: torch.Tensor, other: torch.Tensor | None) -> bool:
    return one is other or (other is not None and torch.equal(one, other))


def _unified(few: Step, more: Step) -> Step:
    """Return a step for batches of any size from those of two sizes."""
    same = few.function is more.function and few.results == more.results
    if not same:
        raise NotRecordableError("The steps depend on the size of the batch.")
    arguments = _general(few.arguments, more.arguments)
    return Step(
        few.function, arguments, _general(few.options, more.options), few.results, few.mutates
    )


def _general(few: Any, more: Any) -> Any:
    if type(few) is not type(more):
        raise NotRecordableError("An argument depends on the size of the batch.")
    if isinstance(few, list | tuple) and len(few) == len(more):
        return type(few)(_general(a, b) for a, b in zip(few, more, strict=True))
    if isinstance(few, dict) and few.keys() == more.keys():
        return {name: _general(few[name], more[name]) for name in few}
    if few == more:
        return few
    if type(few) is int:
        factor = (more - few) // (_MORE - _FEW)
        return OfBatch(factor, few - factor * _FEW)
    raise NotRecordableError("An argument depends on the size of the batch.")


def _without_constant_steps(program: Program) -> Program:
    """Return the program without the steps that give the same for every batch."""
    mutated = {memory for step in program.steps for memory in step.mutates}
    steps = []
    for step in program.steps:
        results = list(values_in(step.results))
        writes = any(memory_of(program.examples[number]) in mutated for number in results)
        if writes or not _is_constant(step, program):
            steps.append(step)
        else:
            program.constants |= {number: program.examples[number] for number in results}
    program.steps = steps
    return program


def _is_constant(step: Step, program: Program) -> bool:
    arguments = (step.arguments, step.options)
    known = all(number in program.constants for number in values_in(arguments))
    return known and not _depends_on_batch(arguments)


def _depends_on_batch(nested: Any) -> bool:
    if isinstance(nested, dict):
        nested = tuple(nested.values())
    if isinstance(nested, list | tuple):
        return any(map(_depends_on_batch, nested))
    return isinstance(nested, OfBatch)
