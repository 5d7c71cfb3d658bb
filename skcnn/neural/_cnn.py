"""The layers of convolutional networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import nn

from skcnn._compat import Interval, StrOptions
from skcnn._parameters import block_channels, int_pair, layer_sizes, per_block
from skcnn.neural._base import NeuralEstimator
from skcnn.neural._conv_layers import ConvBlock, conv_layers
from skcnn.neural._kinds import is_known
from skcnn.neural._modules import (
    FlattenImages,
    GlobalAverage,
    SeededDropout,
    dense_layers,
    named_sequence,
)
from skcnn.neural._own_modules import GlobalDraws, build_module


class ConvolutionalNetwork:
    """Blocks of convolutions, then fully connected layers; or a module of the user's own."""

    _parameter_constraints: dict = {
        "conv_channels": ["array-like", Interval(Integral, 1, None, closed="left")],
        "kernel_size": ["array-like", Interval(Integral, 1, None, closed="left")],
        "stride": ["array-like", Interval(Integral, 1, None, closed="left")],
        "padding": [
            StrOptions({"same", "valid"}),
            "array-like",
            Interval(Integral, 0, None, closed="left"),
        ],
        "pool": [StrOptions({"max", "average"}), list, None],
        "pool_size": ["array-like", Interval(Integral, 1, None, closed="left")],
        "global_pool": ["boolean"],
        "conv_dropout": [Interval(Real, 0, 1, closed="left")],
        "module": [callable, None],
    }

    _architecture: tuple[str, ...] = (
        *NeuralEstimator._architecture,
        "conv_channels",
        "kernel_size",
        "stride",
        "padding",
        "pool",
        "pool_size",
        "global_pool",
        "conv_dropout",
        "module",
    )

    conv_channels: int | Sequence[int | tuple[int, ...]]
    kernel_size: int | tuple[int, int] | list
    stride: int | tuple[int, int] | list
    padding: str | int | tuple[int, int] | list
    pool: str | list | None
    pool_size: int | tuple[int, int] | list
    global_pool: bool
    hidden_layer_sizes: int | Sequence[int]
    activation: str
    batch_norm: bool
    input_dropout: float
    conv_dropout: float
    dropout: float
    module: Callable[..., nn.Module] | None
    architecture_: dict[str, Any]
    weights_: dict[str, np.ndarray]

    def _layers(self, image_shape: tuple[int, int, int], n_outputs: int, seed: int) -> nn.Module:
        if self.module is not None:
            return build_module(self.module, image_shape, n_outputs, seed)
        convolutions, (channels, height, width) = conv_layers(
            image_shape,
            self._blocks(),
            activation=self.activation,
            batch_norm=self.batch_norm,
            dropout=self.conv_dropout,
        )
        if self.input_dropout:
            convolutions.insert(0, ("input_dropout", SeededDropout(self.input_dropout)))
        n_values = channels if self.global_pool else channels * height * width
        dense = dense_layers(
            n_values,
            layer_sizes("hidden_layer_sizes", self.hidden_layer_sizes),
            n_outputs,
            activation=self.activation,
            batch_norm=self.batch_norm,
            input_dropout=0.0,
            dropout=self.dropout,
        )
        joint: tuple[str, nn.Module] = ("flatten", FlattenImages())
        if self.global_pool:
            joint = ("global_pool", GlobalAverage())
        return named_sequence([*convolutions, joint, *dense])

    def _prediction_type(self, images: np.dtype, device: torch.device) -> np.dtype:
        if self.architecture_["module"] is None:
            return super()._prediction_type(images, device)  # type: ignore[misc]
        # What a module of the user's own computes besides its layers has the type of its training.
        return next(v.dtype for v in self.weights_.values() if v.dtype.kind == "f")

    def _drawn_network(
        self, image_shape: tuple[int, int, int], n_outputs: int, seed: int
    ) -> nn.Module:
        if self.module is None:
            return super()._drawn_network(image_shape, n_outputs, seed)  # type: ignore[misc]
        return self._layers(image_shape, n_outputs, seed)

    def _blank_layers(self, image_shape: tuple[int, int, int], n_outputs: int) -> nn.Module:
        if self.module is None:
            return super()._blank_layers(image_shape, n_outputs)  # type: ignore[misc]
        # Built as it is: constants that are no part of its state are nowhere else.
        return self._layers(image_shape, n_outputs, 0)

    def _draw_from(self, network: nn.Module, generator: torch.Generator) -> None:
        super()._draw_from(network, generator)  # type: ignore[misc]
        if self.module is not None and not is_known(network):
            GlobalDraws(network, generator)

    def _blocks(self) -> list[ConvBlock]:
        channels = block_channels(self.conv_channels)
        n = len(channels)
        columns = (
            channels,
            per_block("kernel_size", self.kernel_size, n, int_pair),
            per_block("stride", self.stride, n, int_pair),
            per_block("padding", self.padding, n, _padding),
            per_block("pool", self.pool, n, _pooling),
            per_block("pool_size", self.pool_size, n, int_pair),
        )
        return [ConvBlock(*numbers) for numbers in zip(*columns, strict=True)]

    def _auto_batch_size(self, n_images: int) -> int:
        # About 100 steps an epoch, of 8 to 128 images each.
        return min(max(n_images // 100, 8), 128)


def _padding(name: str, value: Any) -> str | tuple[int, int]:
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise ValueError(f"{name} must be 'same', 'valid', an int or two ints, got {value!r}.")
        return value
    return int_pair(name, value, least=0)


def _pooling(name: str, value: Any) -> str | None:
    if value not in ("max", "average", None):
        raise ValueError(f"{name} must be 'max', 'average' or None, got {value!r}.")
    return value
