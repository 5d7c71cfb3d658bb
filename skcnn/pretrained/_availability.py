"""Whether a pre-trained network can be used here and now, without any download."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec

from skcnn.pretrained._backbones import find_backbone
from skcnn.pretrained._weights import cached_weights, weights_from


def is_cached(name: str) -> bool:
    """Tell whether timm is installed, and the published weights of a network are on this machine.

    Raises
    ------
    ValueError
        If timm knows no such network.
    """
    if find_spec("timm") is None:
        return False
    backbone = find_backbone(name)
    try:
        return cached_weights(backbone) is not None
    except OSError as error:  # damaged, and the message says what to do
        warnings.warn(str(error), stacklevel=4)  # at the caller of default_pipelines
        return False


def ensure_usable(name: str, weights: str | os.PathLike) -> None:
    """Raise an error if there is no such network, or no such file."""
    find_backbone(name)
    weights_from(weights)


def how_to_get(name: str) -> str:
    """Return the line that says what is missing for the published weights of a network."""
    if find_spec("timm") is None:
        return 'pip install "skcnn[pretrained]"'
    backbone = find_backbone(name)
    if backbone.hub_id is None:
        return "give --weights FILE; none are published"
    return f"hf download {backbone.hub_id} (or give --weights FILE)"
