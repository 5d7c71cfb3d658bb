"""What is known of a network's layers: whether an image of a batch has an influence on others."""

from __future__ import annotations

import torch
from torch import nn

from skcnn.neural._convolution import CONVOLUTIONS
from skcnn.neural._dispatch import in_dispatch_mode
from skcnn.neural._modules import FlattenImages, GlobalAverage, SeededDropout
from skcnn.neural._pooling import TileMaxima
from skcnn.neural._residual import ResidualBlock, ResidualNetwork, Scale

# Layers that treat images apart, and draw from no generator but one of their own. A subclass may do
# anything.
_APART = {
    *CONVOLUTIONS,
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
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OWN_METHODS = {"forward", "train", "_conv_forward"}


def treats_images_apart(network: nn.Module) -> bool:
    """Tell whether no image of a batch has an influence on the outputs of another."""
    return all(map(_is_apart, network.modules())) and not _has_gradient_hooks(network)


def is_known(network: nn.Module) -> bool:
    """Tell whether images have an influence on each other through normalisation only.

    There is nothing in such a network that its layers do not show: no hook, no random number but
    those of its dropout layers.
    """
    layers = all(_is_apart(layer) or is_plain_norm(layer) for layer in network.modules())
    return layers and not _has_gradient_hooks(network)


def is_altered(module: nn.Module) -> bool:
    """Tell whether a call of a module does anything else than the module's class says."""
    if _OWN_METHODS & vars(module).keys() or module._compiled_call_impl is not None:
        return True
    return any(getattr(module, hooks) for hooks in _HOOKS)


def torch_is_altered() -> bool:
    """Tell whether operations do anything else in the calling thread than in new ones."""
    if in_dispatch_mode() or torch.is_autocast_enabled("cpu"):
        return True
    return any(getattr(nn.modules.module, f"_global{hooks}") for hooks in _HOOKS)


def _has_gradient_hooks(network: nn.Module) -> bool:
    return any(p._backward_hooks or p._post_accumulate_grad_hooks for p in network.parameters())


def _is_apart(layer: nn.Module) -> bool:
    flattens = type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1)
    return (type(layer) in _APART or flattens) and not is_altered(layer)


def is_plain_norm(layer: nn.Module) -> bool:
    if type(layer) not in NORMS or is_altered(layer):
        return False
    return bool(layer.affine and layer.track_running_stats and layer.momentum is not None)
