"""The first layers of a network for grey images, computed as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from skcnn.neural._convolution import CONVOLUTIONS
from skcnn.neural._dispatch import in_dispatch_mode
from skcnn.neural._kinds import is_altered, is_plain_norm
from skcnn.neural._maps import as_images, empty_maps
from skcnn.neural._pooling import TileMaxima
from skcnn.neural._team_norm import SharedNorm

# One core of the compiled kernels keeps up with so many of torch's.
_MOST_THREADS = 4

Layers = tuple[nn.Module, ...]


def joined(layers: Sequence[nn.Module]) -> Iterator[Layers]:
    """Yield layers in their order, those that are computed as one together.

    These are a convolution of grey images with kernels of 3 x 3, in training its normalisation, the
    maxima of tiles of 2 x 2, and their ReLU, as far as they follow each other.
    """
    start = 0
    while start < len(layers):
        stop = start + _n_joined(layers[start : start + 4])
        yield tuple(layers[start:stop])
        start = stop


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
        self._numbers: np.ndarray | None = None

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the maps (n, channels, rows, columns) of images (n, 1, height, width)."""
        if torch.is_grad_enabled() or not suits(maps, self._layers):
            return self._otherwise(maps)
        convolution: Any = self._layers[0]
        if self._numbers is None:
            kernels, biases = numbers_of(convolution.weight, convolution.bias)
            self._numbers = widened(kernels, biases, kernels.dtype)
        images = with_margins(maps, convolution.padding)
        channels = convolution.out_channels
        return maxima_of(images, self._numbers, channels, floor_of(self._layers), maps)


def _n_joined(layers: Sequence[nn.Module]) -> int:
    """Return how many layers, from the first one on, are computed as one."""
    if not _is_grey_convolution(layers[0]):
        return 1
    # In prediction batch normalisation has gone into the convolution.
    n = 2 if len(layers) > 1 and layers[1].training and _is_norm(layers[1]) else 1
    pool: Any = layers[n] if len(layers) > n else None
    if type(pool) is not TileMaxima or pool.tile != (2, 2) or is_altered(pool):
        return 1
    activation = layers[n + 1] if len(layers) > n + 1 else None
    return n + (2 if type(activation) is nn.ReLU and not is_altered(activation) else 1)


def _is_norm(layer: nn.Module) -> bool:
    return type(layer) is SharedNorm or is_plain_norm(layer)


def _is_grey_convolution(layer: Any) -> bool:
    if type(layer) not in CONVOLUTIONS or is_altered(layer):
        return False
    numbers = layer.in_channels, layer.kernel_size, layer.stride, layer.dilation
    if numbers != (1, (3, 3), (1, 1), (1, 1)):
        return False
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def floor_of(layers: Layers) -> float:
    """Return what the layers put in the place of what is less."""
    return 0.0 if type(layers[-1]) is nn.ReLU else -np.inf


def suits(maps: torch.Tensor, layers: Layers) -> bool:
    """Tell whether the kernels are compiled for maps, and are the shorter way."""
    convolution: Any = layers[0]
    if maps.ndim != 4 or maps.device.type != "cpu" or maps.dtype != convolution.weight.dtype:
        return False
    (height, width), (top, left) = maps.shape[2:], convolution.padding
    return (
        maps.dtype in (torch.float32, torch.float64)
        and maps.shape[1] == 1
        and min(height + 2 * top, width + 2 * left) >= 4  # else there is no tile, and torch says so
        and torch.get_num_threads() <= _MOST_THREADS
        # Who records what torch does would not see the kernels.
        and not in_dispatch_mode()
    )


def numbers_of(weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Return kernels (9, channels) and biases as arrays."""
    kernels = weight.detach().reshape(len(weight), 9).t().numpy()
    return kernels, np.zeros_like(kernels[0]) if bias is None else bias.detach().numpy()


def widened(kernels: np.ndarray, biases: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return kernels and biases (10, width) as the compiled loops take them."""
    channels = len(biases)
    numbers = np.zeros((10, width_of(channels)), dtype)
    numbers[:9, :channels], numbers[9, :channels] = kernels, biases
    return numbers


def width_of(channels: int) -> int:
    """Return how many kernels the compiled loops run over, for so many channels."""
    from skcnn.neural._grey_block_kernel import WIDTH  # imports numba

    return -(-channels // WIDTH) * WIDTH


def with_margins(maps: torch.Tensor, padding: tuple[int, int]) -> np.ndarray:
    """Return images (n, height, width) with zeros around them."""
    images = as_images(maps)[..., 0]
    if padding == (0, 0):
        return images
    n, height, width = images.shape
    (top, left), shape = padding, (n, height + 2 * padding[0], width + 2 * padding[1])
    wide = np.zeros(shape, images.dtype)
    wide[:, top : top + height, left : left + width] = images
    return wide


def maxima_of(
    images: np.ndarray,
    numbers: np.ndarray,
    channels: int,
    floor: float,
    like: torch.Tensor,
    where: np.ndarray | None = None,
) -> torch.Tensor:
    """Return the maps that kernels and biases make of images; `where` gets places of maxima."""
    from skcnn.neural._grey_block_kernel import tile_maxima_of_convolution  # imports numba

    n, height, width = images.shape
    maxima = empty_maps((n, channels, (height - 2) // 2, (width - 2) // 2), like)
    tile_maxima_of_convolution(images, numbers, floor, as_images(maxima), where)
    return maxima
