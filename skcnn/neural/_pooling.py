"""Max pooling by tiles, faster than torch's where it matters."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import nn

from skcnn.neural._maps import as_images, empty_maps

# One core of the compiled kernel keeps up with so many of torch's.
_MOST_THREADS = 4
# Values of so few maps that one call of torch's own is the shortest way.
_FEW = 100_000


class TileMaxima(nn.MaxPool2d):
    """Max pooling whose windows do not overlap: the numbers and gradients of torch's, sooner.

    Parameters
    ----------
    tile : (int, int)
        Height and width of the windows. Rows and columns that do not fill one are left out.
    """

    def __init__(self, tile: tuple[int, int]) -> None:
        super().__init__(tile)
        self.tile = tile

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the maxima of (n, channels, height, width)."""
        if inputs.device.type == "cpu":
            if not inputs.requires_grad and inputs.numel() >= _FEW:
                return maxima_of_slices(inputs, *self.tile)
            if (
                inputs.requires_grad
                and self.tile == (2, 2)
                and inputs.dtype != torch.bfloat16  # NumPy has no such type
                and torch.get_num_threads() <= _MOST_THREADS
            ):
                return _CompiledMaxima.apply(inputs)
        return torch.max_pool2d(inputs, self.tile)


def maxima_of_slices(values: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the maximum of each tile of the maps (n, c, h, w).

    Maxima of whole rows and columns of tiles are several times faster than torch's pooling, which
    notes for the gradient where each maximum was.
    """
    rows = values.shape[2] // height * height
    columns = values.shape[3] // width * width
    values = reduce(torch.maximum, [values[:, :, top:rows:height] for top in range(height)])
    return reduce(torch.maximum, [values[..., left:columns:width] for left in range(width)])


class _CompiledMaxima(torch.autograd.Function):
    """Pooling by tiles of 2 x 2 on the CPU."""

    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor) -> torch.Tensor:
        from skcnn.neural._pooling_kernel import tile_maxima  # imports numba

        n, channels, height, width = ctx.shape = maps.shape
        maxima = empty_maps((n, channels, height // 2, width // 2), maps)
        ctx.where = np.empty((n, height // 2, width // 2, channels), np.uint8)
        tile_maxima(as_images(maps), as_images(maxima), ctx.where)
        return maxima

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        from skcnn.neural._pooling_kernel import spread_gradient

        spread = empty_maps(ctx.shape, gradient)
        spread_gradient(as_images(gradient), ctx.where, as_images(spread))
        return spread
