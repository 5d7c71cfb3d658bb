"""The networks that are compared, as plain lists of layers that every library can be given."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import nn

from skcnn import CNNClassifier, MLPClassifier

N_CLASSES = 10


@dataclass(frozen=True)
class Network:
    """Layers for images (height, width, channels), and the estimator that has the same ones.

    A layer is a tuple: ("conv", channels, kernel, "same" or "valid"), ("norm",), ("relu",),
    ("maxpool", size), ("flatten",) or ("dense", units).
    """

    name: str
    image_shape: tuple[int, int, int]
    layers: tuple[tuple, ...]
    estimator: Callable[..., CNNClassifier | MLPClassifier]

    def module(self) -> nn.Sequential:
        """Return the torch module that everybody would write, with Glorot's initial weights."""
        network = nn.Sequential(*_torch_layers(self.layers, self.image_shape))
        for layer in network:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        return network

    def training_flops(self) -> float:
        """Return the multiplications and additions of one training step, for one image.

        Forward, gradient of the weights and gradient of the inputs take the same; the first layer
        needs no gradient of its input.
        """
        products = multiply_adds(self.module(), self.image_shape)
        return 2.0 * (3 * sum(products) - products[0])


def multiply_adds(module: nn.Sequential, image_shape: tuple[int, int, int]) -> list[int]:
    """Return the multiply-adds of every layer that has a matrix product, for one image."""
    height, width, channels = image_shape
    values, products = torch.zeros(1, channels, height, width), []
    with torch.inference_mode():
        for layer in module.eval():
            values = layer(values)
            if isinstance(layer, nn.Conv2d):
                products.append(prod(values.shape[2:]) * layer.weight.numel())
            elif isinstance(layer, nn.Linear):
                products.append(layer.weight.numel())
    return products


def _torch_layers(layers: tuple[tuple, ...], image_shape: tuple[int, int, int]) -> list[nn.Module]:
    height, width, channels = image_shape
    modules: list[nn.Module] = []
    for kind, *sizes in layers:
        if kind == "conv":
            out, kernel, padding = sizes
            modules.append(nn.Conv2d(channels, out, kernel, padding=padding))
            lost = kernel - 1 if padding == "valid" else 0
            channels, height, width = out, height - lost, width - lost
        elif kind == "norm":
            modules.append(nn.BatchNorm2d(channels) if height else nn.BatchNorm1d(channels))
        elif kind == "relu":
            modules.append(nn.ReLU())
        elif kind == "maxpool":
            modules.append(nn.MaxPool2d(sizes[0]))
            height, width = height // sizes[0], width // sizes[0]
        elif kind == "flatten":
            modules.append(nn.Flatten())
            channels, height, width = channels * height * width, 0, 0
        else:
            modules.append(nn.Linear(channels, sizes[0]))
            channels = sizes[0]
    return modules


def _lecture_layers(*norm: tuple) -> tuple[tuple, ...]:
    return (
        *(("conv", 25, 3, "valid"), *norm, ("relu",), ("maxpool", 2)),
        *(("conv", 50, 3, "valid"), *norm, ("relu",), ("maxpool", 2)),
        *(("flatten",), ("dense", 100), *norm, ("relu",), ("dense", N_CLASSES)),
    )


def _lecture_estimator(batch_norm: bool = False, **parameters) -> CNNClassifier:
    return CNNClassifier(
        (25, 50),
        padding="valid",
        hidden_layer_sizes=(100,),
        batch_norm=batch_norm,
        dropout=0.0,
        ema_decay=None,
        **parameters,
    )


LECTURE = Network("lecture CNN", (28, 28, 1), _lecture_layers(), _lecture_estimator)
LECTURE_NORM = Network(
    "lecture CNN with batch normalisation",
    (28, 28, 1),
    _lecture_layers(("norm",)),
    partial(_lecture_estimator, True),
)

_VGG_BLOCKS = ((64, 64), (128, 128), (256, 256))


def _vgg_layers() -> tuple[tuple, ...]:
    layers: list[tuple] = []
    for block in _VGG_BLOCKS:
        for channels in block:
            layers += [("conv", channels, 3, "same"), ("relu",)]
        layers.append(("maxpool", 2))
    return (*layers, ("flatten",), ("dense", N_CLASSES))


def _vgg_estimator(**parameters) -> CNNClassifier:
    return CNNClassifier(
        _VGG_BLOCKS,
        hidden_layer_sizes=(),
        batch_norm=False,
        dropout=0.0,
        ema_decay=None,
        **parameters,
    )


VGG = Network("VGG-like CNN", (32, 32, 3), _vgg_layers(), _vgg_estimator)


def perceptron(side: int, n_hidden: int) -> Network:
    """Return a perceptron with one hidden layer for grey images of side x side pixels."""
    return Network(
        f"MLP {side * side}-{n_hidden}-{N_CLASSES}",
        (side, side, 1),
        (("flatten",), ("dense", n_hidden), ("relu",), ("dense", N_CLASSES)),
        partial(MLPClassifier, (n_hidden,)),
    )
