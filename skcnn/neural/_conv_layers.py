"""Blocks of convolutions, built from plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from skcnn.neural._convolution import convolution
from skcnn.neural._modules import NOT_MONOTONIC, SeededDropout, activation_layer
from skcnn.neural._pooling import TileMaxima


@dataclass(frozen=True)
class ConvBlock:
    """The numbers of one block: convolutions with their activations, then pooling."""

    channels: tuple[int, ...]
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: str | tuple[int, int]
    pool: str | None
    pool_size: tuple[int, int]


def conv_layers(
    image_shape: tuple[int, int, int],
    blocks: Sequence[ConvBlock],
    *,
    activation: str,
    batch_norm: bool,
    dropout: float,
) -> tuple[list[tuple[str, nn.Module]], tuple[int, int, int]]:
    """Return named convolution blocks and the shape (channels, height, width) of their output.

    An axis that is shorter than the pooling window is pooled as a whole, so small images keep
    working; a kernel that does not fit raises ValueError with the sizes after each layer.
    """
    height, width, channels = image_shape
    layers: list[tuple[str, nn.Module]] = []
    seen = [f"input {channels} x {height} x {width}"]
    for number, block in enumerate(blocks, start=1):
        last = len(block.channels) - 1
        for position, out_channels in enumerate(block.channels):
            name = f"{number}" if last == 0 else f"{number}_{position + 1}"
            convolving, (height, width) = _convolution(
                name, (channels, height, width), out_channels, block, batch_norm, seen
            )
            channels = out_channels
            layers += convolving
            activating = [(f"conv{name}_{activation}", activation_layer(activation))]
            if position < last:
                layers += activating
        window = min(block.pool_size[0], height), min(block.pool_size[1], width)
        pooling = []
        if block.pool is not None:
            pooling = [(f"pool{number}", _POOLS[block.pool](window))]
            height, width = height // window[0], width // window[1]
            seen.append(f"pooling {number} {channels} x {height} x {width}")
        # Where the activation grows monotonically the maximum may be taken first: same function and
        # gradients, and a quarter of the work for the activation.
        pool_first = block.pool == "max" and activation not in NOT_MONOTONIC
        layers += pooling + activating if pool_first else activating + pooling
        if dropout:
            layers.append((f"conv{number}_dropout", SeededDropout(dropout, spatial=True)))
    return layers, (channels, height, width)


_POOLS = {"max": TileMaxima, "average": nn.AvgPool2d}


def _margins(
    size: int, kernel: int, step: int, padding: str | tuple[int, int], axis: int
) -> tuple[int, int]:
    """Return how many zeros go before and after an axis."""
    if not isinstance(padding, str):
        return padding[axis], padding[axis]
    if padding == "valid":
        return 0, 0
    needed = max(0, (-(-size // step) - 1) * step + kernel - size)
    return needed // 2, needed - needed // 2


def _convolution(
    name: str,
    in_shape: tuple[int, int, int],
    out_channels: int,
    block: ConvBlock,
    batch_norm: bool,
    seen: list[str],
) -> tuple[list[tuple[str, nn.Module]], tuple[int, int]]:
    """Return the layers of one convolution and the size of their output, which `seen` gets too."""
    in_channels, *sizes = in_shape
    kernel, stride, padding = block.kernel_size, block.stride, block.padding
    margins = [
        _margins(sizes[axis], kernel[axis], stride[axis], padding, axis) for axis in range(2)
    ]
    padded = [size + sum(margin) for size, margin in zip(sizes, margins, strict=True)]
    if padded[0] < kernel[0] or padded[1] < kernel[1]:
        raise ValueError(
            f"the network is too deep for its images: a kernel of {kernel[0]} x {kernel[1]} does "
            f"not fit into convolution {name}. Sizes after each layer: {' -> '.join(seen)}. Take "
            "padding='same', fewer conv_channels, a smaller kernel_size, stride or pool_size, or "
            "larger images."
        )
    height, width = ((padded[i] - kernel[i]) // stride[i] + 1 for i in range(2))
    seen.append(f"convolution {name} {out_channels} x {height} x {width}")
    (top, bottom), (left, right) = margins
    even = top == bottom and left == right
    layers: list[tuple[str, nn.Module]] = []
    if not even:
        layers.append((f"pad{name}", nn.ZeroPad2d((left, right, top, bottom))))
    # Normalisation takes the mean away, so a bias before it would do nothing.
    layer = convolution(
        in_channels,
        out_channels,
        kernel,
        stride,
        padding=(top, left) if even else (0, 0),
        bias=not batch_norm,
    )
    layers.append((f"conv{name}", layer))
    if batch_norm:
        layers.append((f"conv{name}_norm", nn.BatchNorm2d(out_channels)))
    return layers, (height, width)
