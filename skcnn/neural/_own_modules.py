"""Networks that the user brings: torch modules made repeatable."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from torch import nn

from skcnn.neural._modules import SeededDropout

# Modules draw their weights from torch's global generator, which all threads share.
_global_generator = Lock()


def build_module(
    factory: Callable[..., nn.Module], image_shape: tuple[int, int, int], n_outputs: int, seed: int
) -> nn.Module:
    """Return ``factory(in_channels, height, width, n_outputs)`` with weights drawn from `seed`.

    Dropout layers of torch draw from its global generator; layers that draw from one of their own
    take their place.

    Raises
    ------
    TypeError
        If the factory returns something else than a module.

    ValueError
        If the module does not turn images into one row of `n_outputs` each.
    """
    height, width, channels = image_shape
    with _global_generator, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory(channels, height, width, n_outputs)
    if not isinstance(module, nn.Module):
        raise TypeError(
            "module must be a class or function (in_channels, height, width, n_outputs) -> "
            f"torch.nn.Module, but it returned {type(module).__name__}."
        )
    _seed_dropouts(module)
    return module


def ensure_outputs(module: nn.Module, image_shape: tuple[int, int, int], n_outputs: int) -> None:
    """Raise ValueError unless the module gives `n_outputs` for each of two images."""
    height, width, channels = image_shape
    weight = next(module.parameters())
    images = torch.zeros(2, channels, height, width, dtype=weight.dtype, device=weight.device)
    with torch.inference_mode():
        outputs: Any = module.eval()(images)
    shape = getattr(outputs, "shape", None)
    if shape is None or tuple(shape) != (2, n_outputs):
        seen = type(outputs).__name__ if shape is None else f"shape {tuple(shape)}"
        raise ValueError(
            f"module must give {n_outputs} outputs an image, shape (2, {n_outputs}) for two images "
            f"of {channels} x {height} x {width}; got {seen}."
        )


def _seed_dropouts(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, (nn.Dropout, nn.Dropout1d, nn.Dropout2d)):
            spatial = isinstance(child, nn.Dropout2d)
            setattr(module, name, SeededDropout(child.p, spatial=spatial))
        else:
            _seed_dropouts(child)
