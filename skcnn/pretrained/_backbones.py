"""The registry of networks: their names, and what timm's configuration says of each."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import filter as matching
from typing import Any

import torch
from torch import nn

from skcnn.neural._own_modules import global_draws_from
from skcnn.pretrained._preprocessing import Preprocessing

# Names that people write for the classic families, as timm writes them.
_PLAIN_NAMES = {
    "vgg": "vgg16",
    "vgg_16": "vgg16",
    "resnet": "resnet50",
    "resnet_50": "resnet50",
    "inception": "inception_v3",
    "inceptionv3": "inception_v3",
    "efficientnet": "efficientnet_b0",
    "efficientnetb0": "efficientnet_b0",
}


@dataclass(frozen=True)
class Backbone:
    """A network of timm, as its configuration describes it.

    Parameters
    ----------
    name : str
        timm's name, with the tag of the published weights: "resnet50.a1_in1k".

    hub_id : str or None
        Repository of these weights on the Hugging Face hub; None if none are published.

    preprocessing : Preprocessing
        What it wants done to images.

    n_classes : int
        Number of classes that it was trained to tell apart.

    classifier : str or tuple of str
        Name of the module that gives the logits, or names if there are several.

    fixed_size : bool
        Whether it takes images of no other size.
    """

    name: str
    hub_id: str | None
    preprocessing: Preprocessing
    n_classes: int
    classifier: str | tuple[str, ...]
    fixed_size: bool


def find_backbone(name: str) -> Backbone:
    """Return what is known of a network.

    Parameters
    ----------
    name : str
        "vgg16", "resnet50", "inception_v3", "efficientnet_b0", or any other name of timm.

    Returns
    -------
    backbone : Backbone
        Its description.

    Raises
    ------
    ImportError
        If timm is not installed.

    ValueError
        If timm has no such network, or no such weights of it.
    """
    models = import_timm().models
    plain = name.strip().lower().replace("-", "_")
    wanted = _PLAIN_NAMES.get(plain, plain if models.is_model(plain) else name)
    config = None
    if models.is_model(wanted):
        try:
            config = models.get_pretrained_cfg(wanted)
        except RuntimeError:  # a tag that the network does not have
            config = None
    if config is None:
        raise ValueError(f"backbone={name!r} is no network of timm. {_suggestion(wanted)}")
    tag = f".{config.tag}" if config.tag else ""
    return Backbone(
        name=f"{config.architecture or models.split_model_name_tag(wanted)[0]}{tag}",
        hub_id=config.hf_hub_id,
        preprocessing=Preprocessing.of_timm(config.to_dict()),
        n_classes=config.num_classes,
        classifier=config.classifier,
        fixed_size=config.fixed_input_size,
    )


def list_backbones(pattern: str = "*") -> list[str]:
    """Return the names of the networks that there are published weights of.

    Parameters
    ----------
    pattern : str, default="*"
        Shell pattern that the names are to match: "resnet*". A name may be followed by a dot and
        the name of certain weights: "resnet50.*" lists those of one network.

    Returns
    -------
    names : list of str
        What ``backbone`` may be, sorted.

    Raises
    ------
    ImportError
        If timm is not installed.

    Examples
    --------
    >>> from skcnn import list_backbones
    >>> list_backbones("vgg1?")
    ['vgg11', 'vgg13', 'vgg16', 'vgg19']
    """
    models = import_timm().models
    with_weights = models.list_models(pretrained=True)
    names = set(with_weights) if "." in pattern else {n.partition(".")[0] for n in with_weights}
    return sorted(matching(names, pattern))


def blank_network(backbone: Backbone, n_classes: int | None = None) -> nn.Module:
    """Return the network in prediction mode on the CPU; its weights are yet to be loaded.

    Parameters
    ----------
    backbone : Backbone
        Which one.

    n_classes : int or None, default=None
        Number of classes; None stands for those of its published weights, 0 leaves the
        classifier out.

    Returns
    -------
    network : torch.nn.Module
        Of timm.
    """
    # Drawing the weights of a large network takes longer than reading them.
    with torch.device("meta"):
        network = _create(backbone, n_classes)
    if _has_constants(network):
        return random_network(backbone, 0, n_classes)
    network = network.to(torch.float32).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()  # a file need not hold the classifier
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()  # files may not say how many batches there were
    return network


def random_network(backbone: Backbone, seed: int, n_classes: int | None = None) -> nn.Module:
    """Return the network in prediction mode on the CPU, with weights drawn from a seed."""
    with global_draws_from(seed), torch.device("cpu"):
        return _create(backbone, n_classes).to(torch.float32)


def _create(backbone: Backbone, n_classes: int | None) -> nn.Module:
    n_classes = backbone.n_classes if n_classes is None else n_classes
    return import_timm().create_model(backbone.name, num_classes=n_classes).eval()


def _has_constants(network: nn.Module) -> bool:
    """Tell whether a network computes with tensors that are no part of its weights."""
    state = network.state_dict(keep_vars=True).values()
    kept = {id(value) for value in state}
    return any(
        isinstance(value, torch.Tensor) and id(value) not in kept
        for module in network.modules()
        for value in (*vars(module).values(), *module._buffers.values())
    )


def import_timm() -> Any:
    """Return :mod:`timm`.

    Raises
    ------
    ImportError
        If timm is not installed; the message says what to install.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            "Pre-trained networks need timm, which is not installed: "
            'pip install "skcnn[pretrained]"'
        ) from error
    return timm


def _suggestion(name: str) -> str:
    models = import_timm().models
    known = [*models.list_models(), *models.list_models(pretrained=True)]
    classic = get_close_matches(name, _PLAIN_NAMES.values(), n=1)
    similar = [*classic, *get_close_matches(name, known, n=2)]
    hint = f"Did you mean {' or '.join(map(repr, dict.fromkeys(similar)))}? " if similar else ""
    return f"{hint}skcnn.list_backbones('*part*') lists the names that hold a part."
