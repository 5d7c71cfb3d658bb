"""A network made fast for prediction: the same function, computed with less work."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn


def optimized(network: nn.Module, example: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what computes the outputs of a network in evaluation mode, faster.

    Parameters
    ----------
    network : nn.Module
        The network, in evaluation mode. It is left as it is.

    example : torch.Tensor of shape (m, 3, height, width)
        Images as they will come, on the network's device.

    Returns
    -------
    compute : callable
        Takes a batch of images, returns the network's outputs, without gradients.
    """
    fast = copy.deepcopy(network).to(memory_format=torch.channels_last)

    def compute(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return fast(images.contiguous(memory_format=torch.channels_last))

    return compute
