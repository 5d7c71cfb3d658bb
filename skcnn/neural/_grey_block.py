"""The first layers of a network for grey images, computed as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from skcnn.neural._kinds import is_altered, torch_is_altered
from skcnn.neural._maps import as_images, empty_maps
from skcnn.neural._pooling import TileMaxima
from skcnn.neural._winograd import WinogradConv2d

# One core of the compiled kernels keeps up with so many of torch's.
_MOST_THREADS = 4

Layers = tuple[nn.Module, ...]


def joined(layers: Sequence[nn.Module]) -> Iterator[Layers]:
    """Yield layers in their order, those that are computed as one together.

    These are a convolution of grey images with kernels of 3 x 3, the maxima of its tiles of 2 x 2,
    and their ReLU, if that is what follows.
    """
    start = 0
    while start < len(layers):
        stop = start + _n_joined(*layers[start : start + 3])
        yield tuple(layers[start:stop])
        start = stop


def train_through(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return a network's outputs in training mode, ready for their gradients to be asked for."""
    if type(network) is not nn.Sequential or is_altered(network) or torch_is_altered():
        return network(inputs)
    values = inputs
    for layers in joined(list(network)):
        if len(layers) > 1 and not values.requires_grad and _is_known(values, layers):
            convolution = layers[0]
            values = _TrainedBlock.apply(
                values, convolution.weight, convolution.bias, convolution.padding, _floor(layers)
            )
        else:
            for layer in layers:
                values = layer(values)
    return values


class GreyBlock:
    """What layers that :func:`joined` has put together compute, for prediction.

    Parameters
    ----------
    layers : tuple of torch.nn.Module
        The layers, whose weights may not change any more.

    otherwise : callable
        What computes the same of maps that the kernels are not compiled for.
    """

    def __init__(self, layers: Layers, otherwise: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._layers, self._otherwise = layers, otherwise
        self._numbers: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the maps (n, channels, rows, columns) of images (n, 1, height, width)."""
        if not _is_known(maps, self._layers):
            return self._otherwise(maps)
        convolution: Any = self._layers[0]
        if self._numbers is None:
            self._numbers = _numbers(convolution.weight, convolution.bias)
        images = _with_margins(maps, convolution.padding)
        return _maxima(images, self._numbers, _floor(self._layers), None, maps)


class _TrainedBlock(torch.autograd.Function):
    """The same with gradients of the weights, but none of the images."""

    @staticmethod
    def forward(
        ctx: Any,
        maps: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        padding: tuple[int, int],
        floor: float,
    ) -> torch.Tensor:
        ctx.images = images = _with_margins(maps, padding)
        n, height, width = images.shape
        ctx.where = np.empty((n, (height - 2) // 2, (width - 2) // 2, len(weight)), np.uint8)
        return _maxima(images, _numbers(weight, bias), floor, ctx.where, maps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        from skcnn.neural._grey_block_kernel import gradients_of_kernels

        channels = gradient.shape[1]
        sums = np.empty((10, channels), ctx.images.dtype)
        gradients_of_kernels(ctx.images, as_images(gradient), ctx.where, sums)
        of_weights = torch.from_numpy(sums[:9].T.reshape(channels, 1, 3, 3))
        of_biases = torch.from_numpy(sums[9]) if ctx.needs_input_grad[2] else None
        return None, of_weights, of_biases, None, None


def _n_joined(first: nn.Module, second: Any = None, third: Any = None) -> int:
    """Return how many layers, from the first one on, are computed as one."""
    if type(first) not in (nn.Conv2d, WinogradConv2d) or is_altered(first):
        return 1
    convolution: Any = first
    numbers = convolution.in_channels, convolution.kernel_size, convolution.stride
    if numbers != (1, (3, 3), (1, 1)) or convolution.dilation != (1, 1):
        return 1
    if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
        return 1
    if type(second) is not TileMaxima or second.tile != (2, 2) or is_altered(second):
        return 1
    return 3 if type(third) is nn.ReLU and not is_altered(third) else 2


def _floor(layers: Layers) -> float:
    """Return what the layers put in the place of what is less."""
    return 0.0 if len(layers) == 3 else -np.inf


def _is_known(maps: torch.Tensor, layers: Layers) -> bool:
    """Tell whether the kernels are compiled for maps, and are the shorter way."""
    convolution: Any = layers[0]
    if maps.ndim != 4 or maps.device.type != "cpu" or maps.dtype != convolution.weight.dtype:
        return False
    (height, width), (top, left) = maps.shape[2:], convolution.padding
    return (
        maps.dtype in (torch.float32, torch.float64)
        and min(height + 2 * top, width + 2 * left) >= 4  # else there is no tile, and torch says so
        and torch.get_num_threads() <= _MOST_THREADS
    )


def _numbers(weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Return kernels (9, channels) and biases as arrays."""
    kernels = weight.detach().reshape(len(weight), 9).t().contiguous().numpy()
    return kernels, np.zeros_like(kernels[0]) if bias is None else bias.detach().numpy()


def _with_margins(maps: torch.Tensor, padding: tuple[int, int]) -> np.ndarray:
    """Return images (n, height, width) with zeros around them."""
    images = as_images(maps)[..., 0]
    if padding == (0, 0):
        return images
    n, height, width = images.shape
    (top, left), shape = padding, (n, height + 2 * padding[0], width + 2 * padding[1])
    wide = np.zeros(shape, images.dtype)
    wide[:, top : top + height, left : left + width] = images
    return wide


def _maxima(
    images: np.ndarray,
    numbers: tuple[np.ndarray, np.ndarray],
    floor: float,
    where: np.ndarray | None,
    like: torch.Tensor,
) -> torch.Tensor:
    from skcnn.neural._grey_block_kernel import tile_maxima_of_convolution  # imports numba

    (n, height, width), channels = images.shape, numbers[0].shape[1]
    maxima = empty_maps((n, channels, (height - 2) // 2, (width - 2) // 2), like)
    tile_maxima_of_convolution(images, *numbers, floor, as_images(maxima), where)
    return maxima
