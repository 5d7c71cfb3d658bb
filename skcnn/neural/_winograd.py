"""Convolution by Winograd's method: a quarter of the multiplications, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from skcnn.neural._dispatch import in_dispatch_mode
from skcnn.neural._maps import as_images, empty_maps, empty_values

# The matrix G that takes a kernel w to G w G', and the one that takes its nine numbers to the 36.
_TIMES_24 = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]
_G = np.array(_TIMES_24, np.float32) / 24
_SPREAD = torch.from_numpy(np.kron(_G, _G))
# The product that a tile has as a constant, in each of its pixels, if it is one.
_CONSTANT = 7
# Where it is the shorter way, measured on one and two cores: up to so many threads, for so many
# tiles a thread and no more in an image, which is the least that is worked on at a time, and where
# the product of the channels is so many times their sum.
_MOST_THREADS = 4
_MOST_TILES = 1024
_FEWEST_TILES = 128
_LEAST_SAVED = 13


class WinogradConvolution(torch.autograd.Function):
    """Convolution of float32 maps on the CPU with kernels of 3 x 3.

    Images go through in groups whose values stay in the cache. Rounding errors are about ten times
    those of a sum over the nine products of each pixel, as one product stands for many.

    References
    ----------
    .. [1] S. Winograd, "Arithmetic Complexity of Computations", SIAM 1980.

    .. [2] A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
       :arxiv:`1509.09308`
    """

    @staticmethod
    def forward(
        ctx: Any,
        maps: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        padding: int,
    ) -> torch.Tensor:
        """Return maps (n, out, h + 2 padding - 2, w + 2 padding - 2), channels last."""
        from skcnn.neural._winograd_kernel import gather_tiles, spread_patches  # imports numba

        n, channels, height, width = maps.shape
        out = len(weight)
        grown = 2 * padding - 2
        result = empty_maps((n, out, height + grown, width + grown), maps)
        kernels = _spread_kernels(weight)
        ctx.save_for_backward(maps, weight, kernels)
        ctx.padding = padding
        images, results = as_images(maps), as_images(result)
        for group, (values, products) in _groups(result.shape, channels):
            spread_patches(images[group], padding, _flat(values))
            torch.bmm(values, kernels.transpose(1, 2), out=products)
            if bias is not None:
                products[_CONSTANT] += bias
            gather_tiles(_flat(products), results[group])
        return result

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of maps, weight and bias, as far as they are needed."""
        from skcnn.neural._winograd_kernel import gather_patches, spread_gradient, spread_patches

        maps, weight, kernels = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            return *_differentiable_gradients(gradient, maps, weight, ctx.padding, needed), None
        of_maps, of_weight, of_bias = needed
        out, channels = kernels.shape[1:]
        images, gradients = as_images(maps), as_images(gradient)
        maps_gradient = empty_maps(maps.shape, maps) if of_maps else None
        kernels_gradient = torch.zeros_like(kernels) if of_weight else None
        bias_gradient = maps.new_zeros(out) if of_bias else None
        for group, (values, products) in _groups(gradient.shape, channels):
            spread_gradient(gradients[group], _flat(products))
            if bias_gradient is not None:
                bias_gradient += products[_CONSTANT].sum(0)
            if kernels_gradient is not None:
                spread_patches(images[group], ctx.padding, _flat(values))
                kernels_gradient.baddbmm_(products.transpose(1, 2), values)
            if maps_gradient is not None:
                torch.bmm(products, kernels, out=values)
                gather_patches(_flat(values), ctx.padding, as_images(maps_gradient)[group])
        weight_gradient = None if kernels_gradient is None else _gather_kernels(kernels_gradient)
        return maps_gradient, weight_gradient, bias_gradient, None


def _differentiable_gradients(
    gradient: torch.Tensor,
    maps: torch.Tensor,
    weight: torch.Tensor,
    padding: int,
    needed: tuple[bool, ...],
) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients by torch's way, for somebody who takes gradients of gradients."""
    return torch.ops.aten.convolution_backward(
        gradient,
        maps,
        weight,
        [len(weight)],
        [1, 1],
        [padding] * 2,
        [1, 1],
        False,
        [0, 0],
        1,
        needed,
    )


class WinogradConv2d(nn.Conv2d):
    """A convolution of 3 x 3 that takes Winograd's way where it is the shorter one.

    Made by :func:`~skcnn.neural._convolution.convolution`; its settings stay as they are.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the maps, torch's but for rounding."""
        if _pays(inputs, self.weight, int(self.padding[0])):
            return WinogradConvolution.apply(inputs, self.weight, self.bias, int(self.padding[0]))
        return super().forward(inputs)


def may_pay(in_channels: int, out_channels: int) -> bool:
    """Tell whether a layer of so many channels can be faster than torch's, for some maps."""
    return in_channels * out_channels >= _LEAST_SAVED * (in_channels + out_channels)


def _pays(maps: torch.Tensor, weight: torch.Tensor, padding: int) -> bool:
    """Tell whether maps can go Winograd's way, and sooner than torch's."""
    return (
        maps.ndim == 4
        and _is_shorter(maps.shape, len(weight), padding)
        and maps.device.type == "cpu"
        and maps.dtype == weight.dtype == torch.float32
        and maps.permute(0, 2, 3, 1).is_contiguous()
        and not torch.is_autocast_enabled("cpu")
        # Who records what torch does, as pretrained/ does, would not see the kernels.
        and not in_dispatch_mode()
    )


def _is_shorter(shape: torch.Size, out: int, padding: int) -> bool:
    """Tell whether the transforms take less time than the multiplications that they save.

    The more channels there are the more is saved, and the less the more of the tiles is beyond the
    maps. Threads share the products but not the transforms, and disturb them while they wait.
    """
    n, channels, height, width = shape
    height, width = height + 2 * padding - 2, width + 2 * padding - 2
    rows, columns = -(-height // 4), -(-width // 4)
    n_threads = torch.get_num_threads()
    if n * rows * columns < _FEWEST_TILES * n_threads or n_threads > _MOST_THREADS:
        return False
    if rows * columns > _MOST_TILES:
        return False
    from skcnn.neural._winograd_kernel import LINE  # imports numba

    return (
        columns * max(channels, out) <= LINE
        and channels * out * height * width
        >= _LEAST_SAVED * n_threads**2 * (channels + out) * 16 * rows * columns
    )


def _groups(
    shape: torch.Size, channels: int
) -> Iterator[tuple[slice, tuple[torch.Tensor, torch.Tensor]]]:
    """Yield groups of images with room for the values of their tiles, before and after."""
    n, out, height, width = shape
    n_tiles = -(-height // 4) * -(-width // 4)
    size = max(1, _tiles_at_once(channels, out) // n_tiles)
    n_values = 36 * min(n, size) * n_tiles
    before = empty_values((n_values * channels,), (1,), torch.float32)
    after = empty_values((n_values * out,), (1,), torch.float32)
    for start in range(0, n, size):
        group = slice(start, min(start + size, n))
        count = (group.stop - start) * n_tiles
        values = before[: 36 * count * channels].view(36, count, channels)
        yield group, (values, after[: 36 * count * out].view(36, count, out))


def _tiles_at_once(channels: int, out: int) -> int:
    """Return how many tiles' values stay in the cache while large kernels are read seldom."""
    return min(max(128, channels * out // 128), 512)


def _flat(values: torch.Tensor) -> np.ndarray:
    return values.view(36, -1).numpy()


def _spread_kernels(weight: torch.Tensor) -> torch.Tensor:
    """Return G w G' of the kernels (out, channels, 3, 3) as matrices (36, out, channels)."""
    out, channels = weight.shape[:2]
    return (_SPREAD @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(36, out, channels)


def _gather_kernels(gradient: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the kernels: the transpose of :func:`_spread_kernels`."""
    out, channels = gradient.shape[1:]
    return (_SPREAD.T @ gradient.view(36, -1)).view(3, 3, out, channels).permute(2, 3, 0, 1)
