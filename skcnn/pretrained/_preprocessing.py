"""What a pretrained network wants to see: images resized, cropped and normalised as it knows them.

Networks are published with the transform that they were evaluated with, one image at a time with
Pillow. Here a batch goes through it at once, with Pillow's filters and its rounding of sizes,
offsets and values.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from skcnn._parameters import int_pair
from skcnn.pretrained._resizing_kernel import resize_bytes, taps

_INTERPOLATIONS = ("bilinear", "bicubic")
_CROP_MODES = ("center", "squash", "border")

# How far resized images may go beyond 0 and 1.
_OVERSHOOT = 0.2

# What timm takes where a configuration says nothing: ImageNet's statistics and its usual crop.
_DEFAULT_MEAN = (0.485, 0.456, 0.406)
_DEFAULT_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How images are brought to the size and the scale that a network was trained on.

    Parameters
    ----------
    size : tuple of int
        (height, width) in pixels of what the network sees. One int is both.

    interpolation : {"bicubic", "bilinear"}, default="bicubic"
        The filter that images are resized with; it is widened where they become smaller, so that
        no pixel is left out. "random", as some networks were trained, stands for "bilinear".

    crop : float, default=0.875
        Share of the resized image's side that the network sees: images are resized to
        ``size / crop``, and the middle is cut out.

    mean : tuple of 3 floats, default=(0.485, 0.456, 0.406)
        What is subtracted from red, green and blue, on the scale from 0 to 1.

    std : tuple of 3 floats, default=(0.229, 0.224, 0.225)
        What they are divided by then.

    crop_mode : {"center", "squash", "border"}, default="center"
        "center" resizes until the shorter side fits and cuts off the rest of the longer one,
        "squash" resizes both sides to fit and changes the proportions, "border" resizes until the
        longer side fits and fills the rest with the mean colour.

    Raises
    ------
    ValueError
        If a value is none of these.

    Examples
    --------
    >>> from skcnn.pretrained import Preprocessing
    >>> how = Preprocessing(size=224, crop=0.95)
    >>> how.size
    (224, 224)
    >>> how.resized((480, 640))
    (235, 313)
    """

    size: tuple[int, int]
    interpolation: str = "bicubic"
    crop: float = 0.875
    mean: tuple[float, ...] = _DEFAULT_MEAN
    std: tuple[float, ...] = _DEFAULT_STD
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        keep = object.__setattr__  # the only way to write to a frozen dataclass
        keep(self, "size", int_pair("size", self.size))
        interpolation = "bilinear" if self.interpolation == "random" else self.interpolation
        keep(self, "interpolation", _one_of("interpolation", interpolation, _INTERPOLATIONS))
        keep(self, "crop", _positive("crop", self.crop))
        keep(self, "mean", _three_floats("mean", self.mean))
        keep(self, "std", _three_floats("std", self.std))
        keep(self, "crop_mode", _one_of("crop_mode", self.crop_mode, _CROP_MODES))
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std!r}.")

    @classmethod
    def of_timm(cls, configuration: Mapping[str, Any]) -> Self:
        """Return what a network's configuration in timm asks for.

        Parameters
        ----------
        configuration : dict
            A timm network's `pretrained_cfg`, or what ``timm.data.resolve_data_config`` returns.

        Returns
        -------
        preprocessing : Preprocessing
            The same as timm's own evaluation; what the configuration does not say is timm's
            default.

        Raises
        ------
        ValueError
            If the network takes other than three channels, or a value is not known here.

        Examples
        --------
        >>> from skcnn.pretrained import Preprocessing
        >>> Preprocessing.of_timm({"input_size": (3, 299, 299), "interpolation": "bicubic"}).size
        (299, 299)
        """
        n_channels, *size = configuration.get("input_size") or (3, 224, 224)
        if n_channels != 3:
            raise ValueError(
                f"the configuration's input_size={configuration['input_size']!r} asks for "
                f"{n_channels} channels: only networks for three are supported."
            )
        return cls(
            size=(int(size[0]), int(size[1])),
            interpolation=configuration.get("interpolation") or "bicubic",
            crop=configuration.get("crop_pct") or 0.875,
            mean=tuple(configuration.get("mean") or _DEFAULT_MEAN),
            std=tuple(configuration.get("std") or _DEFAULT_STD),
            crop_mode=configuration.get("crop_mode") or "center",
        )

    def resized(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that an image of (height, width) has before it is cropped.

        Parameters
        ----------
        shape : tuple of int
            Height and width of the image in pixels.

        Returns
        -------
        resized : tuple of int
            Height and width after resizing.
        """
        height, width = (max(1, math.floor(side / self.crop)) for side in self.size)
        if self.crop_mode == "squash":
            return height, width
        if self.crop_mode == "center" and height == width:
            return _shorter_side_to(height, shape)
        ratios = shape[0] / height, shape[1] / width
        ratio = max(ratios) if self.crop_mode == "border" else min(ratios)
        # An image of one row of pixels would become one of none.
        return max(1, round(shape[0] / ratio)), max(1, round(shape[1] / ratio))


def preprocessed(images: np.ndarray, how: Preprocessing) -> torch.Tensor:
    """Return a batch of images as a network wants them.

    Parameters
    ----------
    images : ndarray of shape (m, h, w, c)
        ``uint8``, or floating point numbers in [0, 1]; c is 1 or 3. ``uint8`` images are
        resized bit by bit as by Pillow, which rounds after each pass of a filter; others are not
        rounded.

    how : Preprocessing
        What the network wants.

    Returns
    -------
    batch : torch.Tensor of shape (m, 3, height, width)
        float32, channels last in memory.
    """
    if images.dtype == np.uint8 and how.resized(images.shape[1:3]) != images.shape[1:3]:
        return _fitted_bytes(images, how)
    if images.dtype == np.uint8:
        return _normalised(_cropped(_unit_floats(images), how), how)
    # One map after the other, as they are resized: NumPy takes a fifth of torch's time.
    maps = np.empty((len(images), images.shape[3], *images.shape[1:3]), np.float32)
    maps[:] = images.transpose(0, 3, 1, 2)
    return _normalised(_fitted_floats(torch.from_numpy(maps), how), how)


def warn_of_scale(images: np.ndarray) -> None:
    """Warn of images that are not between 0 and 1: networks would see other brightnesses."""
    low, high = images.min(), images.max()
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        warnings.warn(
            f"X holds numbers from {low:.3g} to {high:.3g}, but images other than uint8 and uint16 "
            "are taken to be between 0 and 1: the network sees them too bright or too dark. Give "
            "uint8 images, or scale them, as in X / 255.",
            UserWarning,
            stacklevel=2,
        )


class PreprocessImages(nn.Module):
    """The layer before a pretrained network: images in [0, 1] as the network wants them.

    Parameters
    ----------
    how : Preprocessing
        What the network wants.
    """

    def __init__(self, how: Preprocessing) -> None:
        super().__init__()
        self.how = how

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images (n, 3, height, width) of images (n, c, h, w), c being 1 or 3."""
        return _normalised(_fitted_floats(images, self.how), self.how)

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        return repr(self.how)


def _fitted_bytes(images: np.ndarray, how: Preprocessing) -> torch.Tensor:
    """Return uint8 images (m, h, w, c) as the network wants them: as Pillow makes them."""
    before = images.shape[1], images.shape[2]
    after = how.resized(before)
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    mean, std = (np.array(values, np.float32)[:, None] for values in (how.mean, how.std))
    levels = (levels - mean) / std
    rows, down = _window(after[0], how.size[0])
    columns, across = _window(after[1], how.size[1])
    out = np.empty((len(images), *how.size, 3), np.float32)
    if (rows.stop - rows.start, columns.stop - columns.start) != how.size:
        out[:] = levels[range(3), _border_levels(how)]
    resize_bytes(
        images,
        taps(before[0], after[0], down, how.interpolation),
        taps(before[1], after[1], across, how.interpolation),
        levels,
        out[:, rows, columns],
    )
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def _unit_floats(images: np.ndarray) -> torch.Tensor:
    """Return uint8 images (m, h, w, c) as floats in [0, 1], as they lie in memory."""
    # torch warns of memory that it must not write to.
    images = images if images.flags.writeable else images.copy()
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)


def _window(side: int, wanted: int) -> tuple[slice, slice]:
    """Return where a resized side goes among the wanted pixels, and which part of it."""
    if side < wanted:
        start = (wanted - side) // 2
        return slice(start, start + side), slice(0, side)
    start = round((side - wanted) / 2)
    return slice(0, wanted), slice(start, start + wanted)


def _fitted_floats(images: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Return float images (m, c, h, w) resized and cropped."""
    before = _size_of(images)
    height, width = how.resized(before)
    if (height, width) != before:
        # Pillow's order: rows first, and overshoots of the filter are cut off before the columns.
        # torch is twice as fast on maps that lie one after the other.
        images = _resized_floats(images.contiguous(), (before[0], width), how)
        images = _resized_floats(images, (height, width), how)
    return _cropped(images, how)


def _resized_floats(
    images: torch.Tensor, size: tuple[int, int], how: Preprocessing
) -> torch.Tensor:
    if size == _size_of(images):
        return images
    resized = functional.interpolate(images, size, mode=how.interpolation, antialias=True)
    return resized.clamp_(0, 1) if how.interpolation == "bicubic" else resized


def _cropped(images: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Return the middle of images, in a border where they are smaller than it."""
    if _size_of(images) == how.size:
        return images
    images = _in_border(images, how)
    top, left = (
        round((side - wanted) / 2) for side, wanted in zip(_size_of(images), how.size, strict=True)
    )
    return images[:, :, top : top + how.size[0], left : left + how.size[1]]


def _in_border(images: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Return images that are at least as large as what the network sees."""
    height, width = _size_of(images)
    missing_rows, missing_columns = max(0, how.size[0] - height), max(0, how.size[1] - width)
    if not missing_rows and not missing_columns:
        return images
    shape = len(images), 3, height + missing_rows, width + missing_columns
    framed = images.new_empty(shape)
    framed.copy_(_border_colour(images, how))
    top, left = missing_rows // 2, missing_columns // 2
    framed[:, :, top : top + height, left : left + width] = images
    return framed


def _border_colour(images: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    colour = torch.tensor(_border_levels(how), device=images.device)
    return colour.view(1, 3, 1, 1) / 255


def _border_levels(how: Preprocessing) -> list[int]:
    return [round(255 * mean) if how.crop_mode == "border" else 0 for mean in how.mean]


def _normalised(images: torch.Tensor, how: Preprocessing) -> torch.Tensor:
    """Return images in [0, 1] with mean and scale as the network wants them, in three channels."""
    n_images, _, height, width = images.shape
    # Operations on whole rows take a tenth of the time of those on three values a pixel.
    pixels = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    rows = pixels.reshape(n_images, height, width * 3)
    mean, std = (
        torch.tensor(values, dtype=images.dtype, device=images.device).repeat(width)
        for values in (how.mean, how.std)
    )
    normalised = rows.sub(mean).div_(std)
    return normalised.view(n_images, height, width, 3).permute(0, 3, 1, 2)


def _size_of(images: torch.Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _shorter_side_to(side: int, shape: tuple[int, int]) -> tuple[int, int]:
    height, width = shape
    if width <= height:
        return int(side * height / width), side
    return side, int(side * width / height)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    return value


def _positive(name: str, value: Any) -> float:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a positive number, got {value!r}.")
    return float(value)


def _three_floats(name: str, values: Any) -> tuple[float, ...]:
    try:
        numbers_ = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers_ = ()
    if len(numbers_) != 3 or not all(map(math.isfinite, numbers_)):
        raise ValueError(
            f"{name} must be three numbers, one for each of red, green and blue, got {values!r}."
        )
    return numbers_
