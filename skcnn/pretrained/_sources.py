"""Where the weights of a network are from: how they are fetched, and found again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from skcnn._parameters import int_pair
from skcnn.neural._modules import load_arrays
from skcnn.pretrained._backbones import blank_network, find_backbone, random_network
from skcnn.pretrained._preprocessing import Preprocessing
from skcnn.pretrained._weights import default_weights, found_again, load_weights, weights_from

Weights = str | os.PathLike | nn.Module | None


@dataclass(frozen=True)
class Origin:
    """What a fitted model remembers of the network that it uses, instead of the weights.

    Parameters
    ----------
    backbone : str
        Name of the network; that of its class if it is a module of the user's own.

    preprocessing : Preprocessing
        What is done to images.

    source : str or None, default=None
        Where the file of weights was found.

    digest : str or None, default=None
        SHA-256 of this file.

    seed : int or None, default=None
        What random weights were drawn from.
    """

    backbone: str
    preprocessing: Preprocessing
    source: str | None = None
    digest: str | None = None
    seed: int | None = None


class KnowsOrigin:
    """What a fitted estimator tells of its :class:`Origin`."""

    _origin: Origin

    @property
    def backbone_(self) -> str:
        """Full name of the network and its weights."""
        return self._origin.backbone

    @property
    def preprocessing_(self) -> Preprocessing:
        """What is done to every image."""
        return self._origin.preprocessing

    @property
    def weights_source_(self) -> str | None:
        """Where the file of weights was found."""
        return self._origin.source

    @property
    def weights_digest_(self) -> str | None:
        """SHA-256 of the file of weights."""
        return self._origin.digest


def find_origin(
    name: str,
    weights: Weights,
    *,
    preprocessing: Preprocessing | None,
    input_size: int | tuple[int, int] | None,
    rng: np.random.RandomState,
) -> Origin:
    """Return what the parameters of an estimator ask for; published weights may be downloaded.

    Parameters
    ----------
    name : str
        The network; not looked at if `weights` is one.

    weights : "default", path, torch.nn.Module or None
        Published weights; a file; a network with its weights; or random ones.

    preprocessing : Preprocessing or None
        What is done to images; None stands for the network's own.

    input_size : int, (int, int) or None
        Size that images get; None leaves it to `preprocessing`.

    rng : RandomState
        Source of the seed of random weights.

    Raises
    ------
    ImportError
        If timm is not installed and wanted.

    OSError
        If the weights cannot be had.

    ValueError
        If there is no such network, it takes no images of this size, or a module comes without its
        preprocessing.
    """
    planned = origin_without_weights(
        name, weights, preprocessing=preprocessing, input_size=input_size
    )
    if isinstance(weights, nn.Module):
        return planned
    if weights is None:
        return replace(planned, seed=int(rng.randint(np.iinfo(np.int32).max)))
    default = isinstance(weights, str) and weights == "default"
    file = default_weights(find_backbone(name)) if default else weights_from(weights)
    return replace(planned, source=file.source, digest=file.digest)


def origin_without_weights(
    name: str,
    weights: Weights,
    *,
    preprocessing: Preprocessing | None,
    input_size: int | tuple[int, int] | None,
) -> Origin:
    """Return what :func:`find_origin` does, but for the weights, which are not looked for."""
    if isinstance(weights, nn.Module):
        if preprocessing is None:
            raise ValueError(
                "preprocessing must say what the module given as weights wants done to images, "
                "such as skcnn.Preprocessing(224): nothing else knows it; got None."
            )
        return Origin(type(weights).__name__, _of_size(preprocessing, input_size))
    backbone = find_backbone(name)
    how = _of_size(preprocessing or backbone.preprocessing, input_size)
    if backbone.fixed_size and how.size != backbone.preprocessing.size:
        height, width = backbone.preprocessing.size
        raise ValueError(
            f"input_size and preprocessing must leave {backbone.name} its images of {height} x "
            f"{width}, to which its weights are tied; got {how.size[0]} x {how.size[1]}."
        )
    return Origin(backbone.name, how)


def network_of(
    origin: Origin,
    arrays: Mapping[str, np.ndarray] | None = None,
    *,
    without_classifier: bool = False,
) -> nn.Module:
    """Return a network on the CPU, in prediction mode, with its weights.

    Parameters
    ----------
    origin : Origin
        Where it is from; not that of a module of the user's own.

    arrays : mapping of str to ndarray or None, default=None
        The weights themselves, if they are at hand.

    without_classifier : bool, default=False
        Whether the file's classifier is left out; it may be one of other classes then.

    Raises
    ------
    OSError
        If the file of weights is not there.

    ValueError
        If it is another one now, or does not fit the network.
    """
    backbone = find_backbone(origin.backbone)
    if origin.seed is not None:
        return random_network(backbone, origin.seed)
    network = blank_network(backbone)
    if arrays is not None:
        load_arrays(network, dict(arrays))
    else:
        assert origin.source is not None
        assert origin.digest is not None
        file = found_again(origin.source, origin.digest)
        load_weights(network, file, backbone, without_classifier=without_classifier)
    return network


def _of_size(how: Preprocessing, input_size: int | tuple[int, int] | None) -> Preprocessing:
    return how if input_size is None else replace(how, size=int_pair("input_size", input_size))
