"""What the layers of a pre-trained network say of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from skcnn.neural._layer_output import up_to_layer
from skcnn.neural._summary import tensors

_POOLED: dict[str, Callable[..., torch.Tensor]] = {"average": torch.mean, "max": torch.amax}
POOLINGS = tuple(_POOLED)


def layer_network(
    network: nn.Module, layer: str, pool: str | None, size: tuple[int, int]
) -> nn.Module:
    """Return a network whose output is that of a layer.

    Parameters
    ----------
    network : torch.nn.Module
        In prediction mode, on the CPU. It must not be used any more.

    layer : str
        "pooled", "logits", or the name of a module.

    pool : {"average", "max"} or None
        What becomes of the pixels, or tokens, of an inner module's output.

    size : (int, int)
        Height and width of the images.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    if layer == "logits":
        return _logits(network)
    if layer == "pooled" and _is_of_timm(network):
        return PooledFeatures(network)
    inner = None if layer == "pooled" else layer
    end = up_to_layer(network, (*size, 3), inner)
    channels_last = getattr(network, "output_fmt", "") == "NHWC"
    return InnerFeatures(end, "average" if inner is None else pool, channels_last=channels_last)


@contextmanager
def computing_images_of(size: tuple[int, int]) -> Iterator[None]:
    """Say what to change where torch finds that a network does not take images of a size."""
    try:
        yield
    except RuntimeError as error:
        if type(error) is not RuntimeError:  # no memory, say
            raise
        raise ValueError(
            f"The network cannot compute images of {size[0]} x {size[1]} in three channels: "
            f"{error}. If they are too small for it, take a larger input_size."
        ) from error


def _logits(network: nn.Module) -> nn.Module:
    if _is_of_timm(network):
        if network.num_classes == 0:
            raise ValueError(
                "layer='logits' wants a network that decides on classes; this one was trained "
                "without any. Take layer='pooled'."
            )
        return network
    return InnerFeatures(network, None, channels_last=False)  # it may return several tensors


def _is_of_timm(network: nn.Module) -> bool:
    return hasattr(network, "forward_features") and hasattr(network, "forward_head")


class PooledFeatures(nn.Module):
    """What a network of timm knows of an image before it decides on a class.

    Parameters
    ----------
    network : torch.nn.Module
        Of timm.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        # Some lay hidden layers between the pooled maps and the logits: VGG-16 has 4096 units.
        width = network.num_features
        self._has_hidden_head = getattr(network, "head_hidden_size", width) != width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, (n, width), of preprocessed images."""
        maps = self.network.forward_features(images)  # type: ignore[operator]
        if self._has_hidden_head and maps.ndim == 4:
            return maps.mean(dim=(2, 3))
        return self.network.forward_head(maps, pre_logits=True)  # type: ignore[operator]


class InnerFeatures(nn.Module):
    """The output of an inner module: maps as (n, height, width, channels), tokens, or rows.

    Parameters
    ----------
    network : torch.nn.Module
        What ends with the module.

    pool : {"average", "max"} or None
        What becomes of the pixels of each map, or of the tokens: one number remains for each
        channel. None keeps them.

    channels_last : bool
        Whether maps come as (n, height, width, channels).
    """

    def __init__(self, network: nn.Module, pool: str | None, *, channels_last: bool) -> None:
        super().__init__()
        self.network, self._pool, self._channels_last = network, pool, channels_last

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output for preprocessed images."""
        values = next(tensors(self.network(images)), None)
        if values is None or values.ndim < 2 or len(values) != len(images):
            seen = "no tensor" if values is None else f"shape {tuple(values.shape)}"
            raise ValueError(
                "layer must name one whose output has a row for each image; got "
                f"{seen} for {len(images)} images."
            )
        if values.ndim == 4 and not self._channels_last:
            values = values.movedim(1, -1)
        if values.ndim > 2 and self._pool is not None:
            return _POOLED[self._pool](values, dim=tuple(range(1, values.ndim - 1)))
        return values
