"""Steps of a network put together: fewer passes over its maps, the same result.

A step may be moved and merged only where nobody else looks at what is between. So a value is merged
away only if one step reads it and no other tensor shares its memory, and a step is moved down only
past steps that do not write to what it reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from skcnn.pretrained._layer_steps import Activation, Convolution, Linear
from skcnn.pretrained._recording import Program, Step, Value, memory_of, values_in

_aten = torch.ops.aten


def fused(program: Program) -> Program:
    """Return a program that computes the same in fewer steps.

    Parameters
    ----------
    program : Program
        As recorded. It must not be used any more.
    """
    program.steps = [_as_layer(step, program) for step in program.steps]
    for merge in (_with_border, _with_norm, _with_activation, _with_sum, _with_activation):
        _merge_pairs(program, merge)
    program.steps = _overwriting(program)
    return program


def _as_layer(step: Step, program: Program) -> Step:
    """Return a convolution or a matrix product as the layer that it is, other steps as they are."""
    maker = _LAYERS.get(step.function)
    layer = maker(step, program) if maker is not None and not step.options else None
    if layer is None:
        return step
    return replace(step, function=layer, arguments=step.arguments[:1])


def _convolution(step: Step, program: Program) -> Convolution | None:
    _, *given = step.arguments
    defaults: tuple = (None, None, [1], [0], [1], 1)
    weight, bias, *sizes, groups = (*given, *defaults[len(given) :])
    stride, padding, dilation = (tuple(size) * (2 // len(size)) for size in sizes)
    kernels, offsets = _constant(weight, program), _constant(bias, program)
    if kernels is None or (bias is not None and offsets is None):
        return None
    return Convolution(kernels, offsets, stride, padding, dilation, groups)


def _linear(step: Step, program: Program) -> Linear | None:
    _, *given = step.arguments
    weight, bias = (*given, None)[:2]
    matrix, offsets = _constant(weight, program), _constant(bias, program)
    if matrix is None or (bias is not None and offsets is None):
        return None
    return Linear(matrix, offsets)


_LAYERS: dict[Any, Callable[[Step, Program], Any]] = {
    _aten.conv2d.default: _convolution,
    _aten.linear.default: _linear,
}


def _constant(argument: Any, program: Program) -> torch.Tensor | None:
    return program.constants.get(argument.number) if isinstance(argument, Value) else None


_Merge = Callable[[Step, Step, Program], Step | None]


def _merge_pairs(program: Program, merge: _Merge) -> None:
    """Merge layers with the step that alone reads their result, wherever `merge` can."""
    private = _private_values(program)
    made_by: dict[int, int] = {}  # step that makes each value
    steps: list[Step | None] = list(program.steps)
    for position, step in enumerate(program.steps):
        for number in reversed(list(values_in(step.arguments))):
            before = made_by.get(number, -1)
            layer = steps[before] if before >= 0 and number in private else None
            if layer is None or not _may_move(layer, steps[before + 1 : position], program):
                continue
            merged = merge(layer, step, program)
            if merged is not None:
                steps[before], steps[position] = None, merged
                break
        made_by |= dict.fromkeys(values_in(step.results), position)
    program.steps = [step for step in steps if step is not None]


def _private_values(program: Program) -> set[int]:
    """Return the values that one step reads, and that share memory with no other tensor."""
    readers = Counter(
        number for step in program.steps for number in values_in((step.arguments, step.options))
    )
    readers[program.output] += 1
    alone = _alone_in_memory(program)
    return {number for number, n_readers in readers.items() if n_readers == 1} & alone


def _alone_in_memory(program: Program) -> set[int]:
    # A tensor that is written to has a number for every time.
    tensors = {id(example): memory_of(example) for example in program.examples}
    sharing = Counter(tensors.values())
    return {
        number
        for number, example in enumerate(program.examples)
        if sharing[memory_of(example)] == 1
    }


def _may_move(step: Step, past: list[Step | None], program: Program) -> bool:
    """Tell whether a step may come after some others: they do not write to what it reads."""
    reads = {memory_of(program.examples[number]) for number in values_in(step.arguments)}
    return all(other is None or reads.isdisjoint(other.mutates) for other in past)


def _with_border(border: Step, layer: Step, program: Program) -> Step | None:
    """Return a depthwise convolution that adds the zeros around its maps itself, on each side."""
    convolution = layer.function
    if border.function is not _aten.pad.default or not isinstance(convolution, Convolution):
        return None
    maps, sides, *how = border.arguments
    if border.options or tuple(how) not in _ZEROS or len(sides) != 4:
        return None
    bordered = convolution.bordered(tuple(sides)) if convolution.is_depthwise else None
    if bordered is None:
        return None
    return replace(layer, function=bordered, arguments=(maps,))


# What follows the sides where torch fills with zeros.
_ZEROS = ((), ("constant",), ("constant", None), ("constant", 0), ("constant", 0.0))


def _with_norm(layer: Step, norm: Step, program: Program) -> Step | None:
    """Return a convolution that does the batch normalisation after it, too."""
    convolution = layer.function
    if not isinstance(convolution, Convolution) or norm.function is not _aten.batch_norm.default:
        return None
    _, *statistics, training, _, eps, _ = norm.arguments
    known = all(v is None or v.number in program.constants for v in statistics)
    weight, bias, mean, variance = (_constant(value, program) for value in statistics)
    if training or not known or mean is None or variance is None or convolution.does_more:
        return None
    function = convolution.normalised(weight, bias, mean, variance, eps)
    return replace(layer, function=function, results=norm.results)


def _with_activation(layer: Step, activation: Step, program: Program) -> Step | None:
    """Return a layer that applies the activation after it, too."""
    function = layer.function
    if not isinstance(function, Convolution | Linear) or function.activation is not None:
        return None
    found = Activation.of(activation.function, activation.arguments[1:], activation.options)
    # oneDNN knows no other activation after a sum.
    after_sum = isinstance(function, Convolution) and function.adds
    if found is None or (after_sum and found.name != "relu"):
        return None
    return replace(layer, function=replace(function, activation=found), results=activation.results)


def _with_sum(layer: Step, addition: Step, program: Program) -> Step | None:
    """Return a convolution that adds maps to its own, as at the end of a residual block."""
    convolution = layer.function
    if addition.function not in _ADDITIONS or addition.options or len(addition.arguments) != 2:
        return None
    if not isinstance(convolution, Convolution) or convolution.does_more:
        return None
    mine, *_ = values_in(layer.results)
    others = [value for value in addition.arguments if value != Value(mine)]
    if len(others) != 1 or not isinstance(others[0], Value):
        return None
    maps, other = program.examples[mine], program.examples[others[0].number]
    written_elsewhere = addition.mutates - {memory_of(maps)}
    if written_elsewhere or other.shape != maps.shape or other.dtype != maps.dtype:
        return None
    return replace(
        layer,
        function=replace(convolution, adds=True),
        arguments=(*layer.arguments, others[0]),
        results=addition.results,
    )


_ADDITIONS = (_aten.add.Tensor, _aten.add_.Tensor)


def _overwriting(program: Program) -> list[Step]:
    """Return the steps; what nobody reads any more is written over where that saves new memory."""
    mine = _alone_in_memory(program) - {program.batch, program.output} - set(program.constants)
    read_later: set[int] = set()
    steps = []
    for step in reversed(program.steps):
        reads = set(values_in((step.arguments, step.options)))
        steps.append(_overwritten(step, mine - read_later, program))
        read_later |= reads
    return steps[::-1]


def _overwritten(step: Step, free: set[int], program: Program) -> Step:
    if isinstance(step.function, Convolution) and step.function.adds:
        # A convolution with maps that are added to it themselves still reads them.
        maps, other = step.arguments
        overwrites = other.number in free and other != maps
        return replace(step, function=replace(step.function, overwrites=overwrites))
    if step.function is _aten.mul.Tensor and isinstance(step.arguments[0], Value):
        maps, product = step.arguments[0].number, step.results.number
        one, other = program.examples[maps], program.examples[product]
        if maps in free and one.shape == other.shape and one.dtype == other.dtype:
            return replace(step, function=_aten.mul_.Tensor)
    return step
