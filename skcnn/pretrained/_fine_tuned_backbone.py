"""The network that fine-tuning starts from: loaded, found again, shared."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from skcnn.neural._modules import lay_out
from skcnn.pretrained._backbones import blank_network, find_backbone
from skcnn.pretrained._fine_tuned_network import load_arrays_of, n_features, pooled_features
from skcnn.pretrained._inference import optimized
from skcnn.pretrained._preprocessing import Preprocessing
from skcnn.pretrained._sharing import LoadedNetwork, shared
from skcnn.pretrained._sources import Origin, network_of


def load_features(
    origin: Origin, module: nn.Module | None, arrays: Mapping[str, np.ndarray] | None = None
) -> nn.Module:
    """Return what makes features of preprocessed images, on the CPU, in prediction mode.

    Parameters
    ----------
    origin : Origin
        Where the network is from.

    module : torch.nn.Module or None
        The user's own network, if it is one.

    arrays : mapping of str to ndarray or None, default=None
        Weights of a fitted network, "backbone." before their names, that take the place of those
        in the file. None reads the file.
    """
    if module is not None:
        network = copy.deepcopy(module).cpu().float().eval().requires_grad_(True)
    elif arrays is None:
        network = network_of(origin)
    else:
        network = blank_network(find_backbone(origin.backbone))
    features = pooled_features(network, origin.preprocessing.size)
    lay_out(features)
    if arrays is not None:
        load_arrays_of(features, arrays, "backbone")
    return features


def frozen_features(
    user: object,
    origin: Origin,
    device: torch.device,
    module: nn.Module | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> LoadedNetwork:
    """Return what computes the features of a network that is not trained.

    Parameters
    ----------
    user : estimator
        Who uses it. Equal networks are shared, but for modules of the user's own.

    origin, module, arrays : Origin, torch.nn.Module or None, mapping or None
        As for :func:`load_features`.

    device : torch.device
        Where it computes.
    """

    def build() -> LoadedNetwork:
        features = load_features(origin, module, arrays)
        return made_fast(features, origin.preprocessing, device)

    if module is not None:
        return build()
    return shared(user, (origin, "features of fine-tuning", str(device)), build)


def made_fast(
    features: nn.Module,
    how: Preprocessing,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> LoadedNetwork:
    """Return a network that only computes features from now on, on the device."""
    width = n_features(features, how.size)
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(2, 3, *how.size, generator=generator).to(device, dtype)
    return LoadedNetwork(optimized(features.to(device, dtype), example), (width,))
