"""Files of weights: found, checked, downloaded if that was asked for, and found again.

Nothing is ever unpickled but tensors, and only :func:`default_weights` may use the network.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from skcnn.pretrained import _hub
from skcnn.pretrained._digests import digest_of
from skcnn.pretrained._state_dicts import fit_to_network, read_tensors

if TYPE_CHECKING:
    from skcnn.pretrained._backbones import Backbone

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".pth.tar")

_HUB = "hub:"


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights on this machine.

    Parameters
    ----------
    source : str
        Where it can be found again: an absolute path, or "hub:timm/resnet50.a1_in1k/" and the
        name of the file there.

    path : Path
        The file.

    digest : str
        SHA-256 of its bytes, in hexadecimal digits.
    """

    source: str
    path: Path
    digest: str


def default_weights(backbone: Backbone) -> WeightsFile:
    """Return the published weights of a network, from the hub's cache or downloaded into it.

    What is in the cache is taken without asking the network whether there is anything newer.

    Parameters
    ----------
    backbone : Backbone
        The network.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.

    OSError
        If the weights are not in the cache and cannot be downloaded, or are damaged.

    ValueError
        If none have been published.
    """
    if backbone.hub_id is None:
        raise ValueError(
            f"There are no published weights of {backbone.name!r}. Give weights= the path of a "
            "file of them, or take a network that skcnn.list_backbones() lists."
        )
    cached = cached_weights(backbone)
    if cached is not None:
        return cached
    if _hub.is_offline():
        raise FileNotFoundError(
            f"The weights {backbone.hub_id!r} are not in the hub's cache, and HF_HUB_OFFLINE keeps "
            f"them from being downloaded. {_hub.how_to_do_without(backbone.hub_id)}"
        )
    path = _hub.download(backbone.hub_id)
    return WeightsFile(_hub_source(backbone.hub_id, path), path, digest_of(path))


def cached_weights(backbone: Backbone) -> WeightsFile | None:
    """Return the published weights of a network if they are in the hub's cache, else None.

    Parameters
    ----------
    backbone : Backbone
        The network.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.

    OSError
        If the file in the cache is damaged.
    """
    path = None if backbone.hub_id is None else _hub.cached_file(backbone.hub_id)
    if path is None or backbone.hub_id is None:
        return None
    digest, expected = digest_of(path), _hub.expected_digest(path)
    if expected is not None and digest != expected:
        # It stays where it is. The cache belongs to all programs of this user, or of a whole
        # cluster; a file that was there before is not ours to delete.
        raise OSError(
            f"The weights {backbone.hub_id!r} in the hub's cache are damaged: the SHA-256 of "
            f"{str(path.resolve())!r} is {digest}, not {expected}. Delete this file, and they are "
            "downloaded anew."
        )
    return WeightsFile(_hub_source(backbone.hub_id, path), path, digest)


def weights_from(path: str | os.PathLike) -> WeightsFile:
    """Return a file of weights that the user names.

    Parameters
    ----------
    path : str or path-like
        A file of safetensors, or one that torch has saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    ValueError
        If it is a folder, empty, or called as no file of weights is.
    """
    file = Path(path).expanduser().absolute()
    if file.is_dir():
        raise ValueError(f"weights={str(path)!r} is a folder; give the path of a file in it.")
    if not file.exists():
        raise FileNotFoundError(
            f"weights={str(path)!r} does not exist. It may be 'default', which stands for the "
            f"published weights, or the path of a file: {_suffixes()}."
        )
    if not file.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"weights={str(path)!r} is of an unknown type: the name of a file of weights ends in "
            f"{_suffixes()}."
        )
    if not file.stat().st_size:
        raise ValueError(f"weights={str(path)!r} is an empty file.")
    return WeightsFile(str(file), file, digest_of(file))


def found_again(source: str, digest: str) -> WeightsFile:
    """Return the file that a model was fitted with; nothing is downloaded.

    Parameters
    ----------
    source : str
        What the :class:`WeightsFile` said then.

    digest : str
        The same.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed, and the file came from the hub.

    FileNotFoundError
        If it is not there.

    ValueError
        If its content is another one now.
    """
    from_hub = source.startswith(_HUB)
    hub_id, _, name = source.removeprefix(_HUB).rpartition("/")
    versions = _hub.cached_versions(hub_id, name) if from_hub else [Path(source)]
    found = [path for path in versions if path.is_file()]
    for path in found:
        if digest_of(path) == digest:
            return WeightsFile(source, path, digest)
    what = f"The model was fitted with the weights {source!r} (SHA-256 {digest})"
    instead = "A model that is pickled with embed_weights=True brings its weights along."
    if found:
        raise ValueError(
            f"{what}, but {str(found[0])!r} is another file now (SHA-256 {digest_of(found[0])}). "
            f"Put the old one back, or fit again. {instead}"
        )
    if from_hub:
        raise FileNotFoundError(
            f"{what}, which are not in the hub's cache, {str(_hub.cache_folder())!r}. Nothing is "
            f"downloaded when a model is loaded: run `hf download {hub_id} {name}`, or copy the "
            f"cache from where it was fitted. {instead}"
        )
    raise FileNotFoundError(
        f"{what}, which are not there. Put the file back at this path, or fit again. {instead}"
    )


def load_weights(
    network: nn.Module,
    file: WeightsFile,
    backbone: Backbone,
    *,
    without_classifier: bool = False,
) -> None:
    """Load a file of weights into a network: all of them or, if they do not fit, none.

    Parameters
    ----------
    network : torch.nn.Module
        The network, of timm.

    file : WeightsFile
        The weights, under timm's names, torchvision's, or those of efficientnet_lite_pytorch.

    backbone : Backbone
        What the network is.

    without_classifier : bool, default=False
        Leave the classifier as it is. The file may be of another number of classes then, or
        without a classifier.

    Raises
    ------
    ValueError
        If the file cannot be read, holds anything but tensors, has changed since it was found, or
        does not fit the network.
    """
    if digest_of(file.path) != file.digest:
        raise ValueError(f"weights={str(file.path)!r} has been changed since it was found.")
    try:
        tensors = read_tensors(file.path)
        fitting = fit_to_network(tensors, network, backbone, without_classifier=without_classifier)
    except ValueError as error:
        raise ValueError(f"weights={str(file.path)!r} {error}") from error
    # Names and shapes have been compared; what may be absent keeps its value.
    network.load_state_dict(fitting, strict=False)


def _hub_source(hub_id: str, path: Path) -> str:
    return f"{_HUB}{hub_id}/{path.name}"


def _suffixes() -> str:
    return f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
