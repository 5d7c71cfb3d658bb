"""The Hugging Face hub: files in its cache on this machine, and files that it has to send.

The functions look only at names and bytes. What is in a file is for others to say.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from skcnn.pretrained._digests import digest_of

# What timm's repositories call their weights, the better format first.
FILE_NAMES = ("model.safetensors", "pytorch_model.bin")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DEFAULT_REVISION = "main"


def import_hub() -> Any:
    """Return :mod:`huggingface_hub`.

    It reads its settings (``HF_HOME``, ``HF_HUB_CACHE``, ``HF_ENDPOINT``, ...) when it is first
    imported in a process, here or by another library, and all of them share its cache. They are
    therefore left as it has read them.

    Raises
    ------
    ImportError
        If it is not installed; the message says what to install.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            "Published weights need huggingface_hub, which is not installed: "
            'pip install "skcnn[pretrained]"'
        ) from error
    return huggingface_hub


def is_offline() -> bool:
    """Tell whether the user does not want the network to be used.

    Other than the rest of the settings, this one also counts when it is set later: whoever sets
    it, wants it.
    """
    later = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    return later or bool(import_hub().constants.HF_HUB_OFFLINE)


def cache_folder() -> Path:
    """Return the folder that the hub's files are kept in."""
    return Path(import_hub().constants.HF_HUB_CACHE)


def cached_file(hub_id: str) -> Path | None:
    """Return the file of weights of a repository that is on this machine; None if there is none.

    Only whole files have a name in the cache: a download that was cut leaves none.
    """
    repository, revision = _split(hub_id)
    for name in FILE_NAMES:
        found = import_hub().try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(found, str):  # else None, or a mark that the repository has no such file
            return Path(found)
    return None


def cached_versions(hub_id: str, name: str) -> list[Path]:
    """Return all versions of a file of a repository that are on this machine, the latest first."""
    repository, revision = _split(hub_id)
    folder = cache_folder() / f"models--{repository.replace('/', '--')}"
    current = import_hub().try_to_load_from_cache(repository, name, revision=revision)
    versions = [Path(current)] if isinstance(current, str) else []
    others = [path for path in folder.glob(f"snapshots/*/{name}") if path.is_file()]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return list(dict.fromkeys([*versions, *others]))


def download(hub_id: str) -> Path:
    """Fetch a repository's file of weights into the cache and return its place there.

    Raises
    ------
    OSError
        If it does not come, or other bytes come than the hub announces. Nothing of it stays then.
    """
    hub = import_hub()
    repository, revision = _split(hub_id)
    try:
        name, announced = _announced(repository, revision)
        path = Path(hub.hf_hub_download(repository, name, revision=revision, library_name="skcnn"))
    # The errors of the hub, of its HTTP library and of the system have no base in common, and their
    # names change with the versions. All of them mean that the file did not come.
    except Exception as error:
        raise OSError(
            f"The weights {hub_id!r} could not be downloaded from {_endpoint()}: "
            f"{_first_line(error)}. {how_to_do_without(hub_id)}"
        ) from error
    expected = expected_digest(path) or announced
    if expected is not None and (digest := digest_of(path)) != expected:
        _remove(path)
        raise OSError(
            f"The weights {hub_id!r} have come damaged from {_endpoint()}: their SHA-256 is "
            f"{digest}, but the hub announces {expected}. They have been removed; try again, or "
            f"elsewhere. {how_to_do_without(hub_id)}"
        )
    return path


def expected_digest(path: Path) -> str | None:
    """Return the SHA-256 that a file in the cache should have, if the cache knows it.

    Large files are known to the hub by it: their names in the cache are links to files called so.
    Where links are not to be had the cache holds plain copies, and nothing is known of them.
    """
    target = Path(os.readlink(path)).name if path.is_symlink() else ""
    return target if _SHA256.fullmatch(target) else None


def how_to_do_without(hub_id: str) -> str:
    """Return the sentence that says how to get the weights without a network."""
    repository, revision = _split(hub_id)
    revision = revision or _DEFAULT_REVISION
    return (
        f"Without network here, download {_endpoint()}/{repository}/resolve/{revision}/"
        f"{FILE_NAMES[0]} elsewhere and give weights= the path of the file, or bring the hub's "
        f"cache along: {cache_folder()} (HF_HOME and HF_HUB_CACHE say where it is, HF_ENDPOINT "
        "names another server)."
    )


def _announced(repository: str, revision: str | None) -> tuple[str, str | None]:
    """Return the name of the weights' file, and its SHA-256 if the hub tells.

    Asking first also fails at once where there is no network; the download itself would wait and
    try again for half a minute.
    """
    hub = import_hub()
    for name in FILE_NAMES:
        try:
            answer = hub.get_hf_file_metadata(hub.hf_hub_url(repository, name, revision=revision))
        except hub.errors.EntryNotFoundError:
            continue
        return name, answer.etag if _SHA256.fullmatch(answer.etag or "") else None
    raise FileNotFoundError(f"the repository has neither {' nor '.join(FILE_NAMES)}")


def _remove(path: Path) -> None:
    """Delete a file of the cache with the links that lead to it."""
    while path.is_symlink():
        target = path.parent / os.readlink(path)
        path.unlink()
        path = target
    path.unlink(missing_ok=True)


def _split(hub_id: str) -> tuple[str, str | None]:
    repository, _, revision = hub_id.partition("@")
    return repository, revision or None


def _endpoint() -> str:
    return import_hub().constants.ENDPOINT


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
