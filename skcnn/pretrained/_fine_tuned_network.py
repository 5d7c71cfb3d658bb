"""The torch modules of a network that is trained further: features, a new head, and what learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from skcnn.neural._batches import Standardizer
from skcnn.neural._layer_output import up_to_layer
from skcnn.neural._modules import dense_layers, named_sequence
from skcnn.pretrained._layers import InnerFeatures, PooledFeatures
from skcnn.pretrained._preprocessing import PreprocessImages, Preprocessing
from skcnn.pretrained._trained_part import trained_modules, used_parameters

_Function = Callable[[torch.Tensor], torch.Tensor]


def pooled_features(network: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Return what makes features of preprocessed images, without the layer that decides.

    Parameters
    ----------
    network : torch.nn.Module
        A classifier of timm, or a module of the user's own, on the CPU. It is taken apart, and must
        not be used any more.

    size : (int, int)
        Height and width of the images.
    """
    if not (hasattr(network, "forward_features") and hasattr(network, "reset_classifier")):
        end = up_to_layer(network, (*size, 3), None, fold=False)
        return InnerFeatures(end, "average", channels_last=False)
    network.reset_classifier(0)  # type: ignore[operator]
    if _is_before_hidden_layers(network) and hasattr(network, "pre_logits"):
        network.pre_logits = nn.Identity()  # VGG's hidden layers: most of its weights
    return PooledFeatures(network)


@torch.no_grad()
def n_features(features: nn.Module, size: tuple[int, int]) -> int:
    """Return how many features there are of an image."""
    network = features.get_submodule("network")
    if isinstance(features, PooledFeatures) and not _is_before_hidden_layers(network):
        return network.num_features  # type: ignore[return-value]
    values = features(torch.zeros(1, 3, *size))
    if values.ndim != 2:
        raise ValueError(
            "weights must be a network whose last layer takes a row of features of each image, "
            f"but what it takes is of shape {tuple(values.shape[1:])}."
        )
    return values.shape[1]


def _is_before_hidden_layers(network: nn.Module) -> bool:
    width = network.num_features
    return getattr(network, "head_hidden_size", width) != width


def blank_head(
    width: int,
    hidden_layer_sizes: Sequence[int],
    n_outputs: int,
    *,
    activation: str,
    batch_norm: bool,
    dropout: float,
) -> nn.Sequential:
    """Return the layers that decide, before there are weights."""
    with torch.device("meta"):  # torch shall not draw any
        layers = dense_layers(
            width,
            hidden_layer_sizes,
            n_outputs,
            activation=activation,
            batch_norm=batch_norm,
            input_dropout=0.0,
            dropout=dropout,
        )
    return named_sequence(layers).to(torch.float32).to_empty(device="cpu")


def scaled(head: nn.Sequential, scale: Standardizer) -> nn.Sequential:
    """Return the layers that decide, after one that scales the features."""
    return named_sequence([("scale", FeatureScale(scale)), *head.named_children()])


class FeatureScale(nn.Module):
    """Features brought to mean 0 and variance 1, as seen on the training images.

    Parameters
    ----------
    scale : Standardizer
        What is taken off each, and what it is then divided by.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, scale: Standardizer) -> None:
        super().__init__()
        for name, values in (("mean", scale.mean), ("scale", scale.scale)):
            constants = torch.from_numpy(values.astype(np.float32))
            self.register_buffer(name, constants, persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features (n, n_features) scaled."""
        return (features - self.mean) / self.scale


class FineTunedNetwork(nn.Module):
    """The whole network: from images in [0, 1] to the outputs of the new head.

    Parameters
    ----------
    how : Preprocessing
        What is done to images.

    backbone : torch.nn.Module
        From preprocessed images to features.

    head : torch.nn.Module
        From features to outputs.
    """

    def __init__(self, how: Preprocessing, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.preprocess = PreprocessImages(how)
        self.backbone, self.head = backbone, head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs for images (n, c, h, w)."""
        return self.head(self.backbone(self.preprocess(images)))

    def load_state_dict(self, state_dict: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        """Take the weights of what was trained; the others are there."""
        return load_part(super(), state_dict)


class TrainedPart(nn.Module):
    """Backbone and head in training: some of it learns, the rest stays as it is.

    What stays is always in prediction mode, so that statistics of its normalisation do not move,
    and is no part of the state. Where it comes first it is computed without recording a gradient.

    Parameters
    ----------
    backbone, head : torch.nn.Module
        From preprocessed images to features, and from there to outputs.

    trainable : {"last_block", "all"}
        What learns of the backbone.

    size : (int, int)
        Height and width of the images.

    Attributes
    ----------
    kept : set of str
        Names of the weights and statistics that training changes.
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, trainable: str, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        learning = trained_modules(backbone.eval(), trainable, size)
        used = used_parameters(backbone, size)
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(name in used and _is_inside(name, learning))
        self._learning = [m for name, m in backbone.named_modules() if _is_inside(name, learning)]
        self.kept = {f"head.{name}" for name in head.state_dict()}
        for name, value in backbone.state_dict(keep_vars=True).items():
            learns = value.requires_grad or not isinstance(value, nn.Parameter)
            if learns and _is_inside(name, learning):
                self.kept.add(f"backbone.{name}")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs for preprocessed images."""
        return self.head(self.backbone(images))

    def train(self, mode: bool = True) -> TrainedPart:
        """Put what learns in training mode."""
        super().train(False)
        self.training = mode
        self.head.train(mode)
        for module in self._learning:
            module.training = mode
        return self

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the state of what learns."""
        state = super().state_dict(*args, **options)
        return {name: value for name, value in state.items() if name in self.kept}

    def load_state_dict(self, state_dict: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        """Take the state of what learns."""
        return load_part(super(), state_dict)


class FeaturesAndHead(nn.Module):
    """A fitted network for prediction: features by whatever computes them fast, then the head."""

    def __init__(self, features: _Function, head: nn.Module) -> None:
        super().__init__()
        self._features, self.head = features, head
        self._dtype = next(head.parameters()).dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs for preprocessed images."""
        return self.head(self._features(images).to(self._dtype))


def named_below(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a network's part under their names in the whole."""
    return {f"{name}.{key}": value for key, value in arrays.items()}


def load_part(network: Any, state: Mapping[str, Any]) -> Any:
    """Load the state of a part of a network; all of it must belong there."""
    result = network.load_state_dict(state, strict=False)
    if result.unexpected_keys:
        raise ValueError(f"the network has no weights {result.unexpected_keys}.")
    return result


def load_arrays_of(network: nn.Module, arrays: Mapping[str, np.ndarray], name: str) -> None:
    """Load those arrays of a whole network that belong to its part of this name."""
    start = f"{name}."
    load_part(
        network,
        {
            key.removeprefix(start): torch.tensor(value, device="cpu")
            for key, value in arrays.items()
            if key.startswith(start)
        },
    )


def _is_inside(name: str, modules: set[str]) -> bool:
    """Tell whether a name is that of a module, or of something inside it."""
    parts = name.split(".")
    return "" in modules or any(".".join(parts[:i]) in modules for i in range(1, len(parts) + 1))
