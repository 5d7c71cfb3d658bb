"""The names that other libraries give to the tensors of a network, turned into timm's.

Most networks are called alike everywhere, or timm knows how to turn the old names into its own.
EfficientNet is not: here are the names of torchvision and of efficientnet_lite_pytorch.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from skcnn.pretrained._backbones import Backbone

Tensors = dict[str, torch.Tensor]

# timm's functions that bring old checkpoints of a network up to date, as its modules call them.
_FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")

# torchvision pads evenly and adds 1e-5 to variances, in these networks only: other EfficientNets
# would take its tensors and compute something else.
_OF_TORCHVISION = tuple(f"efficientnet_b{size}" for size in range(5))

# The parts of a block that widens its input first, and of one that does not.
_TORCHVISION_WIDENING = {
    "0.0": "conv_pw",
    "0.1": "bn1",
    "1.0": "conv_dw",
    "1.1": "bn2",
    "2.fc1": "se.conv_reduce",
    "2.fc2": "se.conv_expand",
    "3.0": "conv_pwl",
    "3.1": "bn3",
}
_TORCHVISION_PLAIN = {
    "0.0": "conv_dw",
    "0.1": "bn1",
    "1.fc1": "se.conv_reduce",
    "1.fc2": "se.conv_expand",
    "2.0": "conv_pw",
    "2.1": "bn2",
}
_LITE_WIDENING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_LITE_PLAIN = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_LITE_ENDS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def in_timm_names(tensors: Tensors, network: nn.Module, backbone: Backbone) -> Iterator[Tensors]:
    """Yield the tensors as they are named, and under the names that each library's would have.

    Parameters
    ----------
    tensors : dict of str to Tensor
        A state dict.

    network : torch.nn.Module
        What it may be of, a network of timm.

    backbone : Backbone
        Its description.

    Raises
    ------
    ValueError
        If the tensors are of an EfficientNet that computes something else than this one.
    """
    yield tensors
    if "conv_stem.weight" in network.state_dict():
        if _any_begins_with(r"features\.\d+\.\d+\.block\.", tensors):
            _ensure_same_arithmetic("torchvision", backbone, _OF_TORCHVISION)
            yield _from_torchvision(tensors)
        if _any_begins_with(r"_blocks\.\d+\.", tensors):
            _ensure_same_arithmetic("efficientnet_lite_pytorch", backbone, ("tf_efficientnet_",))
            yield _from_lite(tensors, network)
    brought_up_to_date = _filter_of_timm(backbone)
    if brought_up_to_date is not None:
        try:
            filtered = brought_up_to_date(dict(tensors), network)
        # They are written for their own checkpoints and may fail at others anywhere.
        except Exception:
            return
        yield filtered


def _any_begins_with(pattern: str, tensors: Tensors) -> bool:
    # A file that lacks a tensor is still its library's: the message shall name what it lacks.
    return any(re.match(pattern, name) for name in tensors)


def _from_torchvision(tensors: Tensors) -> Tensors:
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("features."))
    ends = {
        "features.0.0": "conv_stem",
        "features.0.1": "bn1",
        f"features.{last}.0": "conv_head",
        f"features.{last}.1": "bn2",
        "classifier.1": "classifier",
    }

    def renamed(module: str) -> str:
        inside = re.fullmatch(r"features\.(\d+)\.(\d+)\.block\.(.+)", module)
        if inside is None:
            return ends.get(module, module)
        stage, block, part = inside.groups()
        widens = f"features.{stage}.{block}.block.3.0.weight" in tensors
        parts = _TORCHVISION_WIDENING if widens else _TORCHVISION_PLAIN
        return f"blocks.{int(stage) - 1}.{block}.{parts.get(part, part)}"

    return _with_modules_renamed(tensors, renamed)


def _from_lite(tensors: Tensors, network: nn.Module) -> Tensors:
    # Blocks are numbered through there, and by stages in timm.
    places = [re.match(r"blocks\.\d+\.\d+(?=\.)", name) for name in network.state_dict()]
    blocks = list(dict.fromkeys(place[0] for place in places if place))

    def renamed(module: str) -> str:
        inside = re.fullmatch(r"_blocks\.(\d+)\.(.+)", module)
        if inside is None:
            return _LITE_ENDS.get(module, module)
        number, part = int(inside[1]), inside[2]
        widens = f"_blocks.{number}._expand_conv.weight" in tensors
        parts = _LITE_WIDENING if widens else _LITE_PLAIN
        return f"{blocks[number]}.{parts.get(part, part)}" if number < len(blocks) else module

    return _with_modules_renamed(tensors, renamed)


def _with_modules_renamed(tensors: Tensors, renamed: Callable[[str], str]) -> Tensors:
    split = {name: name.rpartition(".") for name in tensors}
    return {
        f"{renamed(module)}.{tensor}": tensors[name] for name, (module, _, tensor) in split.items()
    }


def _ensure_same_arithmetic(library: str, backbone: Backbone, beginnings: tuple[str, ...]) -> None:
    architecture = backbone.name.partition(".")[0]
    if architecture.startswith(beginnings):
        return
    other = architecture.removeprefix("tf_")
    other = other if other != architecture else f"tf_{other}"
    hint = f" Take backbone={other!r}." if other.startswith(beginnings) else ""
    raise ValueError(
        f"is of an EfficientNet of {library}, which pads images or normalises otherwise than "
        f"{backbone.name!r}: it would compute something else with the same tensors.{hint}"
    )


def _filter_of_timm(backbone: Backbone) -> Callable[[Tensors, nn.Module], Tensors] | None:
    from timm.models import model_entrypoint

    module = sys.modules[model_entrypoint(backbone.name.partition(".")[0]).__module__]
    found = next((getattr(module, name) for name in _FILTERS if hasattr(module, name)), None)
    if found is None or len(inspect.signature(found).parameters) > 1:
        return found
    return lambda tensors, _: found(tensors)
