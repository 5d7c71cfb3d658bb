"""The first layers of a network for grey images, trained as one.

In a plain network their maps, larger than all others, are written and read a dozen times a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from skcnn.neural._grey_block import (
    floor_of,
    joined,
    maxima_of,
    numbers_of,
    suits,
    widened,
    width_of,
    with_margins,
)
from skcnn.neural._kinds import NORMS, is_altered, torch_is_altered
from skcnn.neural._maps import as_images
from skcnn.neural._team_norm import Exchange, SharedNorm


def train_through(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return a network's outputs in training mode, ready for their gradients to be asked for."""
    if type(network) is not nn.Sequential or is_altered(network) or torch_is_altered():
        return network(inputs)
    values = inputs
    for layers in joined(list(network)):
        if len(layers) > 1 and not values.requires_grad and suits(values, layers):
            with _without_warnings():
                values = _through_block(values, *layers)
        else:
            for layer in layers:
                values = layer(values)
    return values


def _through_block(maps: torch.Tensor, *layers: nn.Module) -> torch.Tensor:
    convolution: Any = layers[0]
    norm: Any = layers[1]
    weight, bias = convolution.weight, convolution.bias
    images, floor = with_margins(maps, convolution.padding), floor_of(layers)
    if isinstance(norm, SharedNorm):
        return _NormedBlock.apply(weight, bias, *norm.parameters(), images, floor, norm)
    if isinstance(norm, NORMS):
        alone = SharedNorm(norm, Exchange(1), 0)
        return _NormedBlock.apply(weight, bias, *norm.parameters(), images, floor, alone)
    return _Block.apply(weight, bias, images, floor)


class _Block(torch.autograd.Function):
    """Convolution, maxima of tiles, and what is less than a floor replaced by it."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        images: np.ndarray,
        floor: float,
    ) -> torch.Tensor:
        return _computed(ctx, images, *numbers_of(weight, bias), floor, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        sums = _sums(ctx, gradient)
        of_bias = torch.from_numpy(sums[9]) if ctx.needs_input_grad[1] else None
        return _as_kernels(sums[:9]), of_bias, None, None


class _NormedBlock(torch.autograd.Function):
    """The same with batch normalisation after the convolution.

    Mean and variance of a convolution follow from those of the pixels that its kernel sees: with
    their mean m and covariance C a kernel w has the mean w'm and the variance w'Cw. So its outputs
    need not be known before they are normalised: they come from weights that do both.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scale: torch.Tensor,
        shift: torch.Tensor,
        images: np.ndarray,
        floor: float,
        norm: SharedNorm,
    ) -> torch.Tensor:
        n_values, ctx.mean, ctx.covariance = _statistics(images, norm)
        ctx.kernels = _doubles(numbers_of(weight, None)[0])
        means = ctx.mean @ ctx.kernels
        variances = (ctx.kernels * (ctx.covariance @ ctx.kernels)).sum(axis=0).clip(0)
        ctx.inverse = 1 / np.sqrt(variances + norm.norm.eps)
        ctx.factor = _doubles(scale) * ctx.inverse
        offsets = _doubles(shift) - ctx.factor * means
        means = means if bias is None else means + _doubles(bias)
        moving = [torch.from_numpy(v) for v in _rounded(images.dtype, means, variances)]
        norm.follow(moving[0], moving[1], n_values)
        return _computed(ctx, images, ctx.factor * ctx.kernels, offsets, floor, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        with _without_warnings():
            sums = _sums(ctx, gradient)
            of_shift = sums[9].astype(np.float64)
            of_folded = sums[:9] - np.outer(ctx.mean, of_shift)
            of_factor = (of_folded * ctx.kernels).sum(axis=0)
            # A larger kernel has a larger variance, by which its outputs are divided.
            shrinking = of_factor * ctx.factor * ctx.inverse**2
            of_kernels = ctx.factor * of_folded - shrinking * (ctx.covariance @ ctx.kernels)
            of_scale = of_factor * ctx.inverse
            # What a bias adds is taken away again.
            of_bias = gradient.new_zeros(len(of_scale)) if ctx.needs_input_grad[1] else None
            of_kernels, of_scale, of_shift = _rounded(sums.dtype, of_kernels, of_scale, of_shift)
            of_norm = torch.from_numpy(of_scale), torch.from_numpy(of_shift)
            return _as_kernels(of_kernels), of_bias, *of_norm, None, None, None


def _statistics(images: np.ndarray, norm: SharedNorm) -> tuple[int, np.ndarray, np.ndarray]:
    """Return number, mean and covariance of what kernels see of the images of all threads."""
    from skcnn.neural._grey_block_kernel import products_of_pixels  # imports numba

    origin, products = float(images[:1].mean(dtype=np.float64)), np.empty((10, 10))
    products_of_pixels(images, origin, products)
    n, sums = products[9, 9], products[9, :9]
    own = n, origin + sums / n, products[:9, :9] - np.outer(sums, sums) / n
    found = norm.of_all(own)
    n_values = sum(n for n, *_ in found)
    mean = sum(n * its_mean for n, its_mean, _ in found) / n_values
    deviations = [(n, its_mean - mean, squares) for n, its_mean, squares in found]
    squares = sum(squares + n * np.outer(away, away) for n, away, squares in deviations)
    return int(n_values), mean, squares / n_values


def _computed(
    ctx: Any,
    images: np.ndarray,
    kernels: np.ndarray,
    biases: np.ndarray,
    floor: float,
    like: torch.Tensor,
) -> torch.Tensor:
    n, height, width = images.shape
    channels = len(biases)
    shape = n, (height - 2) // 2, (width - 2) // 2, channels
    ctx.images, ctx.where = images, np.empty(shape, np.uint8)
    numbers = widened(kernels, biases, images.dtype)
    return maxima_of(images, numbers, channels, floor, like, ctx.where)


def _sums(ctx: Any, gradient: torch.Tensor) -> np.ndarray:
    """Return the gradients of nine weights of each kernel, and of what is added."""
    from skcnn.neural._grey_block_kernel import gradients_of_kernels

    channels = gradient.shape[1]
    sums = np.empty((10, width_of(channels)), ctx.images.dtype)
    gradients_of_kernels(ctx.images, as_images(gradient), ctx.where, sums)
    return sums[:, :channels]


def _as_kernels(gradients: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(gradients.T.reshape(-1, 1, 3, 3))


def _without_warnings() -> np.errstate:
    # Training that diverges is an error with advice soon; torch does not warn before that.
    return np.errstate(over="ignore", invalid="ignore")


def _rounded(dtype: np.dtype, *values: np.ndarray) -> list[np.ndarray]:
    return [value.astype(dtype) for value in values]


def _doubles(values: torch.Tensor | np.ndarray) -> np.ndarray:
    array = values if isinstance(values, np.ndarray) else values.detach().numpy()
    return array.astype(np.float64)
