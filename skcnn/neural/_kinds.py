"""What is known of a network's layers: whether an image of a batch has an influence on others."""

from __future__ import annotations

from torch import nn

from skcnn.neural._modules import FlattenImages, GlobalAverage, SeededDropout
from skcnn.neural._pooling import TileMaxima
from skcnn.neural._residual import ResidualBlock, ResidualNetwork, Scale
from skcnn.neural._winograd import WinogradConv2d

# Layers that treat images apart, and draw from no generator but one of their own. A subclass may do
# anything.
_APART = {
    nn.Conv2d,
    WinogradConv2d,
    nn.Linear,
    TileMaxima,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.ZeroPad2d,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.SiLU,
    nn.GELU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Identity,
    nn.Sequential,
    ResidualNetwork,
    ResidualBlock,
    Scale,
    FlattenImages,
    GlobalAverage,
    SeededDropout,
}
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def treats_images_apart(network: nn.Module) -> bool:
    """Tell whether no image of a batch has an influence on the outputs of another."""
    return all(map(_is_apart, network.modules()))


def is_known(network: nn.Module) -> bool:
    """Tell whether images have an influence on each other through normalisation only.

    There is nothing in such a network that its layers do not show: no hook, no random number but
    those of its dropout layers.
    """
    return all(_is_apart(layer) or _is_plain_norm(layer) for layer in network.modules())


def has_hooks(module: nn.Module) -> bool:
    """Tell whether anything else happens when a module is called."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _is_apart(layer: nn.Module) -> bool:
    joins = type(layer) is nn.Flatten and layer.start_dim > 0
    return (type(layer) in _APART or bool(joins)) and not has_hooks(layer)


def _is_plain_norm(layer: nn.Module) -> bool:
    if type(layer) not in NORMS or has_hooks(layer):
        return False
    return bool(layer.affine and layer.track_running_stats and layer.momentum is not None)
