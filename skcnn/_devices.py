"""The torch device to work on, and the one that a model fitted elsewhere falls back to."""

from __future__ import annotations

import torch


def training_device(name: str) -> torch.device:
    """Return the device asked for; raise ValueError if it is unknown or not there."""
    if name == "auto":
        return _best_device()
    device = _parse_device(name)
    if not _is_available(device):
        raise ValueError(
            f"device={name!r} is not available here: torch {torch.__version__} finds no such "
            "device. Take device='cpu', or 'auto' for the best one there is."
        )
    return device


def prediction_device(name: str) -> torch.device:
    """Return the device asked for, or the CPU where a model fitted elsewhere does not find it."""
    if name == "auto":
        return _best_device()
    device = _parse_device(name)
    return device if _is_available(device) else torch.device("cpu")


def _parse_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda', 'cuda:1' and so on, or 'mps', got {name!r}."
        )
    return device


def _is_available(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or torch.backends.mps.is_available()


def _best_device() -> torch.device:
    for name in ("cuda", "mps"):
        if _is_available(torch.device(name)):
            return torch.device(name)
    return torch.device("cpu")


def out_of_memory(device: torch.device, tried: str, advice: str) -> MemoryError:
    """Return the error that says what was tried on a device, and what to do."""
    return MemoryError(f"{device} is out of memory with {tried}. Take {advice}device='cpu'.")
