"""Networks that the user brings: torch modules made repeatable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from torch import nn

from skcnn.neural._batches import as_input
from skcnn.neural._modules import SeededDropout, make_plain

# Modules draw their weights from torch's global generator, which all threads share. A factory may
# train a network itself.
_global_generator = RLock()

_DROPOUTS = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}


def build_module(
    factory: Callable[..., nn.Module], image_shape: tuple[int, int, int], n_outputs: int, seed: int
) -> nn.Module:
    """Return ``factory(in_channels, height, width, n_outputs)`` with weights drawn from `seed`.

    Dropout layers of torch draw from its global generator; layers that draw from one of their own
    take their place.

    Raises
    ------
    TypeError
        If the factory is a module itself, or returns something else, or one that holds TorchScript.

    ValueError
        If the module has no parameters, or does not turn images into one row of `n_outputs` each.
    """
    if isinstance(factory, nn.Module):
        raise TypeError(
            "module must be a class or function (in_channels, height, width, n_outputs) -> "
            f"torch.nn.Module, but it is a module already: {type(factory).__name__}. Its class, or "
            "a function that makes it, lets every fit start anew."
        )
    height, width, channels = image_shape
    with global_draws_from(seed):
        module = factory(channels, height, width, n_outputs)
        if not isinstance(module, nn.Module):
            raise TypeError(
                "module must be a class or function (in_channels, height, width, n_outputs) -> "
                f"torch.nn.Module, but it returned {type(module).__name__}."
            )
        _ensure_hooks(module)
        _replace_dropouts(module)
        # Lazy layers draw their weights now.
        _ensure_outputs(module, image_shape, n_outputs)
    return module


@contextmanager
def global_draws_from(seed: int) -> Iterator[None]:
    """Seed torch's global generator, and give it back as it was found."""
    with _global_generator, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # manual_seed would seed accelerators too
        yield


def _replace_dropouts(module: nn.Module) -> None:
    replaced: dict[nn.Module, SeededDropout] = {}
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if type(child) in _DROPOUTS:
                seeded = SeededDropout(child.p, spatial=_DROPOUTS[type(child)])  # type: ignore
                # A layer that is used twice stays one layer.
                parent._modules[name] = replaced.setdefault(child, seeded)  # type: ignore


def _ensure_hooks(module: nn.Module) -> None:
    """Raise TypeError if a part cannot be looked into, as those of TorchScript."""
    for part in module.modules():
        try:
            part.register_forward_hook(lambda *_: None).remove()
            part.register_forward_pre_hook(lambda *_: None).remove()
        except RuntimeError as error:
            raise TypeError(
                f"module must not be or hold a TorchScript module, such as {type(part).__name__}, "
                "which takes no hooks. Return the torch.nn.Module that torch.jit.script was given."
            ) from error


def _ensure_outputs(module: nn.Module, image_shape: tuple[int, int, int], n_outputs: int) -> None:
    """Raise ValueError unless the module gives `n_outputs` for each of two images."""
    weight = next(module.parameters(), None)
    if weight is None:
        raise ValueError("module has no parameter that could be trained.")
    height, width, channels = image_shape
    images = torch.zeros(2, height, width, channels, dtype=weight.dtype, device=weight.device)
    size = f"{channels} x {height} x {width}"
    try:
        outputs = _try(module.eval(), as_input(images))
    except Exception as error:
        error.add_note(f"That was module with two images of {size}, as in training.")
        raise
    shape = getattr(outputs, "shape", None)
    if shape is None or tuple(shape) != (2, n_outputs):
        seen = type(outputs).__name__ if shape is None else f"shape {tuple(shape)}"
        raise ValueError(
            f"module must give {n_outputs} outputs an image, shape (2, {n_outputs}) for two images "
            f"of {size}; got {seen}."
        )


@torch.no_grad()
def _try(module: nn.Module, images: torch.Tensor) -> Any:
    """Return the outputs, and have images laid out plainly from now on if it needs to be."""
    try:
        return module(images)
    except RuntimeError:
        # ``view`` cannot join the axes of maps that are laid out channels last.
        make_plain(module)
        return module(images)


class GlobalDraws:
    """What a module draws from torch's global generator comes from one of its own instead.

    Layers such as attention and functions such as ``torch.nn.functional.dropout`` know no other
    generator. It is borrowed while the module computes: seeded, and given back as it was.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    generator : torch.Generator
        Source of the seeds.
    """

    def __init__(self, module: nn.Module, generator: torch.Generator) -> None:
        self._source = generator
        self._borrowed = [torch.default_generator]
        if generator.device.type == "cuda":
            index = generator.device.index or 0
            self._borrowed.append(torch.cuda.default_generators[index])
        module.register_forward_pre_hook(self._borrow)
        module.register_forward_hook(self._give_back, always_call=True)

    def _borrow(self, module: nn.Module, inputs: Any) -> None:
        _global_generator.acquire()
        self._kept = [generator.get_state() for generator in self._borrowed]
        # The source moves on only if the module draws: a resumed training finds it as it was.
        ahead = torch.Generator(self._source.device)
        seed = _seed_from(ahead.set_state(self._source.get_state()))
        for generator in self._borrowed:
            generator.manual_seed(seed)
        self._seeded = [generator.get_state() for generator in self._borrowed]

    def _give_back(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        states = [generator.get_state() for generator in self._borrowed]
        for generator, state in zip(self._borrowed, self._kept, strict=True):
            generator.set_state(state)
        _global_generator.release()
        if not all(map(torch.equal, states, self._seeded)):
            _seed_from(self._source)


def _seed_from(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
