"""The output of one layer of a network, as a network of its own."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from skcnn.neural._inference import as_function
from skcnn.neural._modules import fold_batch_norm, lay_out
from skcnn.neural._summary import output_shapes, summarize, tensors

_ImageShape = tuple[int, int, int]

_POOLED: dict[str, Callable[..., torch.Tensor]] = {"average": torch.mean, "max": torch.amax}
POOLINGS = tuple(_POOLED)


class LayerOutput(nn.Module):
    """What a layer says of images: maps (n, height, width, channels), or whatever else it returns.

    Parameters
    ----------
    network : torch.nn.Module
        What ends with the layer, from :func:`up_to_layer`.

    pool : {"average", "max"} or None
        What becomes of the pixels of each map: (n, channels) remains. None keeps the maps.
    """

    def __init__(self, network: nn.Module, pool: str | None) -> None:
        super().__init__()
        self.network, self.pool = network, pool

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output for images (n, channels, height, width)."""
        values = next(tensors(as_function(self.network)(images)), None)
        if values is None or values.ndim == 0 or len(values) != len(images):
            seen = "no tensor" if values is None else f"shape {tuple(values.shape)}"
            raise ValueError(
                "layer must name one whose output has a row for each image; got "
                f"{seen} for {len(images)} images."
            )
        values = values.to(images.dtype)
        if values.ndim < 4:
            return values
        if self.pool is not None:
            return _POOLED[self.pool](values, dim=tuple(range(2, values.ndim)))
        return values.movedim(1, -1)

    @torch.no_grad()
    def shape_of(self, image_shape: _ImageShape) -> tuple[int, ...]:
        """Return the shape of the output for one image (height, width, channels)."""
        height, width, channels = image_shape
        like = next(self.network.parameters(), torch.empty(0))
        # Two of them: normalisation without moving statistics has none of a single image.
        images = torch.zeros(2, channels, height, width, dtype=like.dtype)
        return tuple(self(images).shape[1:])


def up_to_layer(
    network: nn.Module, image_shape: _ImageShape, layer: str | None, *, fold: bool = True
) -> nn.Module:
    """Return what computes the output of a layer.

    The network is taken apart for it, and must not be used any more.

    Parameters
    ----------
    network : torch.nn.Module
        A network on the CPU, as it was trained.

    image_shape : (int, int, int)
        Height, width and channels of an image.

    layer : str or None
        Name of the layer. None stands for what goes into the output layer, the last one with a
        matrix of weights or with kernels.

    fold : bool, default=True
        Merge normalisation into the layers before it, for who does not train the network further.

    Returns
    -------
    network : torch.nn.Module
        The network in prediction mode, up to the layer.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    paths = _paths_of_layers(network.eval(), image_shape)
    if layer == "input" and layer not in paths:
        return nn.Sequential()
    path = _output_layer(network, image_shape) if layer is None else _look_up(layer, paths)
    hooked = bool(network._forward_pre_hooks)
    if type(network) is nn.Sequential and path in network._modules and not hooked:
        end = list(network._modules).index(path) + (layer is not None)
        network = network[:end]
        if fold:
            fold_batch_norm(network)  # the layer itself comes last, with nothing to merge it with
        lay_out(network)
        return network
    multiplies = isinstance(network.get_submodule(path), (nn.Conv2d, nn.Linear))
    if fold and (layer is None or not multiplies):
        # Their own output would be gone with the normalisation after them merged into them.
        fold_batch_norm(network)
    lay_out(network)
    return _Stopped(network, path, before=layer is None)


def _paths_of_layers(network: nn.Module, image_shape: _ImageShape) -> dict[str, str]:
    """Return where the modules at work are, by their names, in the order in which they finish.

    They are those of :func:`summarize`, and the modules around them but for the network itself.
    """
    rows = {row.layer for row in summarize(network, image_shape)}
    names = {module: name for name, module in network.named_modules()}
    paths = [names[module] for module in output_shapes(network, image_shape)]
    own_name = type(network).__name__
    return {path or own_name: path for path in paths if path or own_name in rows}


def _look_up(layer: str, paths: dict[str, str]) -> str:
    if layer in paths:
        return paths[layer]
    similar = get_close_matches(layer, paths, n=1)
    hint = f" Did you mean {similar[0]!r}?" if similar else ""
    names = ", ".join(map(repr, dict.fromkeys(["input", *paths])))
    raise ValueError(f"layer={layer!r} is no layer of the network.{hint} Its layers are {names}.")


def _output_layer(network: nn.Module, image_shape: _ImageShape) -> str:
    called = output_shapes(network, image_shape)
    names = {module: name for name, module in network.named_modules()}
    for module in reversed(called):
        calls_others = any(part in called for part in module.modules() if part is not module)
        if not calls_others and _multiplies(module):
            return names[module]
    raise ValueError(
        "layer=None stands for what goes into the output layer, the last one with a matrix of "
        "weights or with kernels; the network has none. Name a layer of its summary()."
    )


def _multiplies(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    if is_parametrized(module):
        own += module.parametrizations.parameters()  # type: ignore[union-attr]
    return any(weight.ndim > 1 for weight in own)


class _Reached(Exception):  # noqa: N818 - no error
    """What the layer says: the rest of the network need not run."""

    def __init__(self, values: Any) -> None:
        self.values = values


class _Stopped(nn.Module):
    """A network that stops where one of its modules has been called, or is about to be."""

    def __init__(self, network: nn.Module, path: str, *, before: bool) -> None:
        super().__init__()
        self.network, self._path = network, path
        layer = network.get_submodule(path)
        if before:
            layer.register_forward_pre_hook(_stop_before, with_kwargs=True)
        else:
            layer.register_forward_hook(_stop_after)

    def forward(self, images: torch.Tensor) -> Any:
        try:
            self.network(images)
        except _Reached as reached:
            return reached.values
        raise ValueError(f"layer {self._path!r} was not called for these images.")


def _stop_before(module: nn.Module, inputs: tuple, options: dict[str, Any]) -> None:
    raise _Reached((inputs, options))


def _stop_after(module: nn.Module, inputs: tuple, output: Any) -> None:
    raise _Reached(output)
