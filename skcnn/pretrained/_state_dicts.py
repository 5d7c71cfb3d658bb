"""State dicts: read from files without running code, and compared with a network."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from skcnn.pretrained._tensor_names import Tensors, in_timm_names

if TYPE_CHECKING:
    from skcnn.pretrained._backbones import Backbone

# Where training scripts put the state dict among other things; averaged weights come first.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")

# What wrappers of a network put before every name: torch.compile, and training on several devices.
_PREFIXES = ("_orig_mod.", "module.")

# Outputs beside the classifier that serve training only; timm's networks have none.
_TRAINING_ONLY = ("AuxLogits.",)

# How many batches a layer has seen. It plays no part in prediction, and older files lack it.
_COUNTS = ".num_batches_tracked"

_N_NAMED = 3


def read_tensors(path: Path) -> Tensors:
    """Return the state dict that a file holds, on the CPU.

    Parameters
    ----------
    path : Path
        A file of safetensors, or one that :func:`torch.save` has written.

    Raises
    ------
    ImportError
        If safetensors is not installed.

    ValueError
        If the file is damaged, or holds anything but tensors that have names. The message goes on
        after the name of the file.
    """
    if path.name.lower().endswith(".safetensors"):
        content: Any = _of_safetensors(path)
    else:
        content = _of_torch(path)
    return _without_prefixes(_state_dict_in(content))


def fit_to_network(
    tensors: Tensors,
    network: nn.Module,
    backbone: Backbone,
    *,
    without_classifier: bool = False,
) -> Tensors:
    """Return tensors under the names that a network has for them.

    Parameters
    ----------
    tensors : dict of str to Tensor
        A state dict with the names of timm, torchvision or efficientnet_lite_pytorch.

    network : torch.nn.Module
        The network, of timm.

    backbone : Backbone
        Its description.

    without_classifier : bool, default=False
        Leave out the tensors of the classifier on both sides.

    Raises
    ------
    ValueError
        If the network has other tensors, or of other shapes. The message goes on after the name
        of the file.
    """
    left_out = _classifier_prefixes(backbone) if without_classifier else ()
    wanted = _without(network.state_dict(), left_out)
    mismatches = []
    for named in in_timm_names(tensors, network, backbone):
        fitting = _without(named, (*left_out, *_TRAINING_ONLY), keep=wanted)
        mismatch = _Mismatch.between(fitting, wanted)
        if not mismatch:
            return {name: fitting[name] for name in fitting if name in wanted}
        mismatches.append(mismatch)
    nearest = min(mismatches, key=len)
    raise ValueError(
        f"does not fit {backbone.name!r}: {nearest}. Nothing was loaded. "
        f"{_advice(nearest, backbone)}"
    )


@dataclass(frozen=True)
class _Mismatch:
    """What there is to say against the tensors of a file."""

    missing: list[str]
    unexpected: list[str]
    different: dict[str, str]

    @classmethod
    def between(cls, tensors: Tensors, wanted: Tensors) -> _Mismatch:
        return cls(
            [name for name in wanted if name not in tensors and not name.endswith(_COUNTS)],
            [name for name in tensors if name not in wanted and not name.endswith(_COUNTS)],
            {
                name: f"{name} is {_described(tensor)}, not {_described(wanted[name])}"
                for name, tensor in tensors.items()
                if name in wanted and _described(tensor) != _described(wanted[name])
            },
        )

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.different)

    def __str__(self) -> str:
        parts = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape or type": list(self.different.values()),
        }
        return "; ".join(f"{what} {_few(names)}" for what, names in parts.items() if names)


def _of_safetensors(path: Path) -> Tensors:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(
            "Files of safetensors need a package that is not installed: "
            'pip install "skcnn[pretrained]"'
        ) from error
    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        raise ValueError(f"is damaged or no file of safetensors: {error}.") from error


def _of_torch(path: Path) -> Any:
    archive = zipfile.is_zipfile(path)  # what torch.save wrote before 1.6 cannot be mapped
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except (OSError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        names = sorted(get_unsafe_globals_in_checkpoint(path)) if archive else []
        raise ValueError(_more_than_tensors(names)) from error
    # A damaged file can fail anywhere in the reading of archives, pickles and tensors.
    except Exception as error:
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise ValueError(
            f"is damaged, or no file that torch has saved: {reason or type(error).__name__}."
        ) from error


def _more_than_tensors(names: list[str]) -> str:
    what = (
        f"holds more than tensors ({_few(names)})"
        if names
        else ("is damaged, or holds more than tensors,")
    )
    return (
        f"{what} and is not read: that would run code from the file. Where you trust it, save the "
        "tensors alone: torch.save(network.state_dict(), path)."
    )


def _state_dict_in(content: Any) -> Tensors:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise ValueError(
            f"holds no state dict, that is a dict of names and tensors, but {_kind(content)}."
        )
    wrong = [
        f"{name!r} is {_kind(value)}"
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, torch.Tensor))
    ]
    if wrong:
        raise ValueError(
            f"holds more than a state dict of names and tensors: {_few(wrong)}. The state dict may "
            f"be under one of the names {', '.join(_WRAPPERS)}."
        )
    return dict(content)


def _without_prefixes(tensors: Tensors) -> Tensors:
    for prefix in _PREFIXES * 2:  # in either order
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _classifier_prefixes(backbone: Backbone) -> tuple[str, ...]:
    names = backbone.classifier
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names or []))


def _without(tensors: Tensors, prefixes: tuple[str, ...], keep: Iterable[str] = ()) -> Tensors:
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name in keep or not name.startswith(prefixes)
    }


def _described(tensor: torch.Tensor) -> str:
    # Half and double precision are converted; an integer in the place of a weight is a mistake.
    real = "" if tensor.is_floating_point() else f" of {tensor.dtype}"
    return f"{tuple(tensor.shape)}{real}"


def _advice(mismatch: _Mismatch, backbone: Backbone) -> str:
    classifier = _classifier_prefixes(backbone)
    concerned = [*mismatch.missing, *mismatch.unexpected, *mismatch.different]
    if all(name.startswith(classifier) for name in concerned):
        return "Only the classifier differs: it was trained to tell other classes apart."
    return (
        "The file must be of this network, with the names of timm, torchvision or "
        "efficientnet_lite_pytorch."
    )


def _kind(value: Any) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else type(value).__name__


def _few(names: list[str]) -> str:
    more = len(names) - _N_NAMED
    return f"{', '.join(names[:_N_NAMED])}{f' and {more} more' if more > 0 else ''}"
