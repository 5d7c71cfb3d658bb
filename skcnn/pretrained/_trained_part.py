"""Which part of a network is trained further: its last stage, or all of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from skcnn.neural._summary import output_shapes


def trained_modules(features: nn.Module, trainable: str, size: tuple[int, int]) -> set[str]:
    """Return the names of the modules that learn, with all that is inside them.

    Parameters
    ----------
    features : torch.nn.Module
        What makes features of images (n, 3, height, width), on the CPU.

    trainable : {"last_block", "all"}
        The last stage with what comes after it, or everything.

    size : (int, int)
        Height and width of the images.
    """
    if trainable == "all":
        return {""}
    calls = _calls(features, size)
    first = _start_of_last_stage(features, calls)
    # What is first called before the stage is not trained, though it may be called again.
    return set(calls[first:])


def used_parameters(features: nn.Module, size: tuple[int, int]) -> set[str]:
    """Return the names of the parameters that have an influence on the features."""
    like = next(features.parameters())
    images = torch.zeros(2, 3, *size, dtype=like.dtype, device=like.device)
    with torch.enable_grad(), torch.inference_mode(False):
        values = features(images)
    used = {id(parameter) for parameter in _leaves(values.grad_fn)}
    return {name for name, parameter in features.named_parameters() if id(parameter) in used}


def _leaves(node: torch.autograd.graph.Node | None) -> Iterator[torch.Tensor]:
    """Yield the parameters that a result was computed from."""
    to_visit, seen = [node], set()
    while to_visit:
        node = to_visit.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        to_visit.extend(before for before, _ in node.next_functions)


def _calls(features: nn.Module, size: tuple[int, int]) -> list[str]:
    """Return the names of the modules in the order in which they are first called."""
    names = {module: name for name, module in features.named_modules()}
    calls: dict[str, None] = {}

    def remember(module: nn.Module, _: tuple) -> None:
        calls.setdefault(names[module])

    hooks = [module.register_forward_pre_hook(remember) for module in names]
    try:
        output_shapes(features, (*size, 3))
    finally:
        for hook in hooks:
            hook.remove()
    return list(calls)


def _start_of_last_stage(features: nn.Module, calls: list[str]) -> int:
    """Return the place of the call that the last stage begins with."""
    stages = [name for name in _stages(features) if name in calls]
    with_weights = [name for name in stages if _has_weights_since(features, calls, stages, name)]
    if not with_weights:
        return calls.index(_last_child(features, calls))
    last = with_weights[-1]
    module = features.get_submodule(last)
    if isinstance(module, nn.Sequential) and _has_weights(module):
        return calls.index(last)  # a sequence of blocks is a stage by itself
    return _end_of(stages[: stages.index(last)], calls)


def _has_weights_since(features: nn.Module, calls: list[str], stages: list[str], name: str) -> bool:
    """Tell whether there are weights between the end of the stage before and that of a stage."""
    start, end = _end_of(stages[: stages.index(name)], calls), _end_of([name], calls)
    return any(_has_weights(features.get_submodule(call)) for call in calls[start:end])


def _end_of(stages: list[str], calls: list[str]) -> int:
    """Return the place after the last call inside the last of some stages."""
    if not stages:
        return 1  # the network itself is called first
    inside = (stages[-1], f"{stages[-1]}.")
    return 1 + max(
        i for i, call in enumerate(calls) if call == inside[0] or call.startswith(inside[1])
    )


def _stages(features: nn.Module) -> list[str]:
    """Return the modules that timm says stages end with, by name."""
    network = getattr(features, "network", features)
    info = getattr(network, "feature_info", None) or []
    return [f"network.{stage['module']}" for stage in info if "module" in stage]


def _last_child(features: nn.Module, calls: list[str]) -> str:
    """Return the last module with weights; one that is all there is is looked into."""
    parent = ""
    while True:
        inside = [call for call in calls if call.rpartition(".")[0] == parent and call]
        with_weights = [c for c in inside if _has_weights(features.get_submodule(c))]
        if len(with_weights) > 1:
            return with_weights[-1]
        if not with_weights:
            return parent or calls[0]
        parent = with_weights[0]


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
