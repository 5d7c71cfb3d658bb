"""Maps of the layers, (n, channels, height, width), as compiled kernels take and give them."""

from __future__ import annotations

import numpy as np
import torch


def empty_maps(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Return maps of that shape, laid out channels last, whose values are to be written."""
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def as_images(maps: torch.Tensor) -> np.ndarray:
    """Return maps as an array (n, h, w, c) in C order, a view if they lie so."""
    return maps.detach().resolve_neg().permute(0, 2, 3, 1).contiguous().numpy()
