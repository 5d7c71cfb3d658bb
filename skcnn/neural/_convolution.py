"""The convolutions of skcnn's own networks: torch's layers, and those that go another way."""

from __future__ import annotations

import torch
from torch import nn

from skcnn.neural._winograd import WinogradConv2d, may_pay

_WINOGRAD_PADDINGS = ((0, 0), (1, 1), (2, 2))


class PointwiseConv2d(nn.Conv2d):
    """A convolution of 1 x 1 with a stride: the pixels that it sees are taken out first.

    torch does so too, but where there are few channels, 7 with AVX2, its gradient of the weights
    writes beyond the room that it has (https://github.com/uxlfoundation/oneDNN/issues/6035), and
    most processes crash.

    Made by :func:`convolution`; its settings stay as they are.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the maps, torch's but for rounding."""
        down, across = self.stride
        return torch.conv2d(inputs[..., ::down, ::across], self.weight, self.bias)


# All of them compute what torch's own layer computes.
CONVOLUTIONS = (nn.Conv2d, WinogradConv2d, PointwiseConv2d)


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    *,
    bias: bool,
) -> nn.Conv2d:
    """Return a layer, one that goes another way than torch's if its numbers ask for it."""
    kind = nn.Conv2d
    if kernel_size == (1, 1) and stride != (1, 1) and padding == (0, 0):
        kind = PointwiseConv2d
    elif kernel_size == (3, 3) and stride == (1, 1) and padding in _WINOGRAD_PADDINGS:
        kind = WinogradConv2d if may_pay(in_channels, out_channels) else nn.Conv2d
    return kind(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
