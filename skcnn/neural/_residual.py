"""A ready-made residual network, shaped for accuracy per second of a CPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import inf
from numbers import Integral

import torch
from torch import nn

from skcnn._parameters import layer_sizes
from skcnn.neural._convolution import convolution
from skcnn.neural._modules import SeededDropout, named_sequence
from skcnn.neural._pooling import TileMaxima


class ResidualNetwork(nn.Module):
    """Residual network for small images, a torch module for ``CNNClassifier(module=...)``.

    A convolution to begin with (the stem), then stages. A stage widens the maps by a convolution,
    halves them by max pooling, and refines them by residual blocks, of two convolutions each, whose
    output is added to their input. Every convolution is 3 x 3, keeps the size of its maps and is
    followed by batch normalisation and ReLU, where there is a pooling layer after it. The maximum
    of each last map goes into the output layer.

    Blocks work at the reduced sizes only and the maps are wide there: a CPU is busy with products
    of large matrices then, not with moving the stem's large maps through memory. An image of
    32 x 32 x 3 takes 0.23 GFLOP forwards, and three times that in training.

    Parameters
    ----------
    in_channels : int
        Number of channels of an image.

    height, width : int
        Size of an image in pixels. Each stage halves both, rounding down; an axis that has come
        down to one pixel stays at that.

    n_classes : int
        Number of outputs.

    channels : int or sequence of int, default=(64, 128, 256)
        Number of maps of each stage. The stem has half as many as the first stage.

    blocks_per_stage : int or sequence of int, default=1
        Number of residual blocks of every stage, or of each; 0 is allowed.

    dropout : float, default=0.0
        Probability with which a value that goes into the output layer is dropped in training.

    output_scale : float, default=0.125
        What the outputs are multiplied by. A value below 1 keeps the network from being too sure of
        itself in the first epochs, so that it can learn at high rates.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or there are too many stages: one would have to halve
        maps of 1 x 1. An image of a single pixel has nothing to halve and is refused.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Deep Residual Learning for Image Recognition",
       CVPR 2016. :doi:`10.1109/CVPR.2016.90`

    .. [2] D. Page, "How to Train Your ResNet", Myrtle.ai, 2018 to 2019.

    .. [3] K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", :arxiv:`2404.00498`, 2024.

    Examples
    --------
    >>> import torch
    >>> from skcnn.neural import ResidualNetwork
    >>> network = ResidualNetwork(3, 32, 32, n_classes=10)
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    >>> sum(weight.numel() for weight in network.parameters())
    1941546

    A narrower one, as a factory for ``CNNClassifier(module=...)``:

    >>> from functools import partial
    >>> narrow = partial(ResidualNetwork, channels=(32, 64, 128))
    >>> sum(weight.numel() for weight in narrow(1, 28, 28, 10).parameters())
    486650
    """

    def __init__(
        self,
        in_channels: int,
        height: int,
        width: int,
        n_classes: int,
        *,
        channels: int | Sequence[int] = (64, 128, 256),
        blocks_per_stage: int | Sequence[int] = 1,
        dropout: float = 0.0,
        output_scale: float = 0.125,
    ) -> None:
        super().__init__()
        widths = layer_sizes("channels", channels)
        if not widths:
            raise ValueError("channels must hold at least one number, that of a stage's maps.")
        blocks = _blocks_of_stages(blocks_per_stage, len(widths))
        windows = _pooling_windows(in_channels, height, width, widths)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout!r}.")
        if not 0 < output_scale < inf:
            raise ValueError(f"output_scale must be positive and finite, got {output_scale!r}.")
        before = max(1, widths[0] // 2)
        self.stem = _convolution(in_channels, before)
        for number, after in enumerate(widths, start=1):
            stage = _stage(before, after, windows[number - 1], blocks[number - 1])
            self.add_module(f"stage{number}", stage)
            before = after
        self.global_pool = nn.AdaptiveMaxPool2d(1)
        self.flatten = nn.Flatten()
        if dropout:
            self.dropout = SeededDropout(dropout)
        self.output = nn.Linear(before, n_classes)
        self.scale = Scale(output_scale)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n, n_classes) of images (n, in_channels, height, width)."""
        values = images
        for layer in self.children():
            values = layer(values)
        return values


class ResidualBlock(nn.Sequential):
    """Two convolutions whose output is added to their input.

    Apart from that it is the sequence of its layers, and normalisation can be folded into the
    convolutions as in any.

    Parameters
    ----------
    channels : int
        Number of maps that come in and go out.
    """

    runs_in_order = True  # for what merges its layers

    def __init__(self, channels: int) -> None:
        layers = OrderedDict[str, nn.Module]()
        for number in (1, 2):
            layers[f"conv{number}"] = _conv3x3(channels, channels)
            layers[f"norm{number}"] = nn.BatchNorm2d(channels)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
        super().__init__(layers)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return maps of the shape of `inputs`."""
        *layers, last_relu = self.children()
        change = inputs
        for layer in layers:
            change = layer(change)
        return last_relu(change.add_(inputs))


class Scale(nn.Module):
    """Multiply by a fixed number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.factor

    def extra_repr(self) -> str:
        return str(self.factor)


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    # Normalisation takes the mean away, so a bias before it would do nothing.
    return convolution(in_channels, out_channels, (3, 3), padding=(1, 1), bias=False)


def _convolution(
    in_channels: int, out_channels: int, window: tuple[int, int] | None = None
) -> nn.Sequential:
    """Return convolution, pooling if there is a window, normalisation and activation.

    Pooling comes first, so that the other two have a quarter of the work.
    """
    layers: list[tuple[str, nn.Module]] = [("conv", _conv3x3(in_channels, out_channels))]
    if window is not None:
        layers.append(("pool", TileMaxima(window)))
    layers += [("norm", nn.BatchNorm2d(out_channels)), ("relu", nn.ReLU(inplace=True))]
    return named_sequence(layers)


def _stage(
    in_channels: int, out_channels: int, window: tuple[int, int], n_blocks: int
) -> nn.Sequential:
    stage = _convolution(in_channels, out_channels, window)
    for number in range(1, n_blocks + 1):
        stage.add_module(f"block{number}", ResidualBlock(out_channels))
    return stage


def _blocks_of_stages(blocks_per_stage: int | Sequence[int], n_stages: int) -> tuple[int, ...]:
    """Return the number of blocks of each stage."""
    if isinstance(blocks_per_stage, Sequence):
        blocks = tuple(blocks_per_stage)
    else:
        blocks = (blocks_per_stage,) * n_stages
    if len(blocks) != n_stages or not all(isinstance(n, Integral) and int(n) >= 0 for n in blocks):
        raise ValueError(
            "blocks_per_stage must be an int of at least 0, or one such int for each of the "
            f"{n_stages} numbers of channels, got {blocks_per_stage!r}."
        )
    return tuple(int(n) for n in blocks)


def _pooling_windows(
    in_channels: int, height: int, width: int, widths: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the pooling window of each stage; an axis of one pixel is not halved."""
    seen = [f"input {in_channels} x {height} x {width}"]
    windows = []
    for number, n_maps in enumerate(widths, start=1):
        if height == width == 1:
            raise ValueError(
                f"the network is too deep for its images: stage {number} has to halve maps of "
                f"1 x 1. Sizes after each stage: {' -> '.join(seen)}. Take fewer stages, that is "
                "fewer numbers in channels, or larger images."
            )
        window = min(2, height), min(2, width)
        windows.append(window)
        height, width = height // window[0], width // window[1]
        seen.append(f"stage {number} {n_maps} x {height} x {width}")
    return windows
