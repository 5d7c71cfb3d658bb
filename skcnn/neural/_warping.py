"""Images flipped, moved, turned and bent, each in its own way.

Places are (down, across) in pixels. ``m`` images have parameters of length m, on the images' device
and of their type.
"""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

import torch
from torch.nn.functional import grid_sample

_PADDING_MODES = {"edge": "border", "reflect": "reflection", "constant": "zeros"}


class Border(NamedTuple):
    """What lies outside an image: "edge", "reflect" or "constant", and the constant."""

    fill: str
    value: float


def move(
    images: torch.Tensor, shift: torch.Tensor, flipped: torch.Tensor, border: Border
) -> torch.Tensor:
    """Flip the images, then shift them by whole pixels; no value changes.

    `shift` is of shape (m, 2) and integer; `flipped`, also (m, 2), is upside down and left to
    right.
    """
    m, c, h, w = images.shape
    rows, rows_inside = _places_along(h, shift[:, 0], flipped[:, 0], border.fill)
    columns, columns_inside = _places_along(w, shift[:, 1], flipped[:, 1], border.fill)
    places = (rows[:, :, None] * w + columns[:, None, :]).view(m, 1, h * w)
    moved = images.contiguous().flatten(2).gather(2, places.expand(m, c, h * w)).view(m, c, h, w)
    if border.fill != "constant":
        return moved
    # Weights of 0 and 1 pick exactly, in a fifth of the time that a boolean mask takes.
    inside = rows_inside.to(moved)[:, None, :, None] * columns_inside.to(moved)[:, None, None, :]
    return torch.lerp(moved.new_tensor(border.value), moved, inside)


def _places_along(
    size: int, shift: torch.Tensor, flipped: torch.Tensor, fill: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return from which row or column each one is taken, and whether it came from inside."""
    places = torch.arange(size, device=shift.device) - shift[:, None]
    inside = (places >= 0) & (places < size)
    if fill == "reflect":
        places = places.remainder(2 * size)
        places = torch.minimum(places, 2 * size - 1 - places)
    else:
        places = places.clamp(0, size - 1)
    return torch.where(flipped[:, None], size - 1 - places, places), inside


def resample(
    images: torch.Tensor,
    inverse: torch.Tensor,
    shift: torch.Tensor,
    field: torch.Tensor | None,
    border: Border,
) -> torch.Tensor:
    """Take each pixel from where it comes from, bilinearly.

    The pixel at `p` comes from ``inverse @ (p - shift) + field[:, p]``; p is counted from the
    centre of the image. `inverse` is of shape (m, 2, 2), `shift` (m, 2), `field` (m, 2, h, w).
    """
    h, w = images.shape[2:]
    down = _from_centre(h, images) - shift[:, :1]
    across = _from_centre(w, images) - shift[:, 1:]
    # grid_sample takes (across, down) in halves of the image.
    units = inverse.new_tensor([2 / w, 2 / h])
    to_units = inverse.flip(1) * units[:, None]
    by_row = to_units[:, :, :1] * down[:, None]
    by_column = to_units[:, :, 1:] * across[:, None]
    places = by_row[:, :, :, None] + by_column[:, :, None, :]
    if field is not None:
        places += field.flip(1) * units[:, None, None]
    # Zeros become any other constant if it is taken off before.
    value = border.value if border.fill == "constant" else 0.0
    resampled = grid_sample(
        images - value if value else images,
        places.permute(0, 2, 3, 1),
        padding_mode=_PADDING_MODES[border.fill],
        align_corners=False,
    )
    return resampled + value if value else resampled


def _from_centre(size: int, like: torch.Tensor) -> torch.Tensor:
    return torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2


def inverse_matrices(
    angle: torch.Tensor, factor: torch.Tensor, shear: torch.Tensor, flipped: torch.Tensor
) -> torch.Tensor:
    """Return the matrices, shape (m, 2, 2), that undo: flip, scale, shear, rotate, in this order.

    Angles are in radians. A rotation is counter-clockwise as one sees the image; a shear moves each
    pixel to the right by ``tan(shear)`` times its distance below the centre.
    """
    cos, sin, slope = torch.cos(angle), torch.sin(angle), torch.tan(shear)
    rows = [cos, sin, -sin - slope * cos, cos - slope * sin]
    matrices = torch.stack(rows, dim=1).view(-1, 2, 2) / factor[:, None, None]
    return torch.where(flipped[:, :, None], -matrices, matrices)


def smoothing_weights(size: int, smoothness: float) -> torch.Tensor:
    """Return the weights, shape (size, n), that make smooth noise of n independent normal numbers.

    The result has variance 1 everywhere and the autocorrelation of white noise behind a Gaussian
    filter with a standard deviation of `smoothness` pixels. Filtering noise that is drawn once in
    `smoothness` pixels suffices for that: the sum of such Gaussians has no visible ripple.
    """
    spacing = max(1.0, smoothness)
    first = -ceil(3 * smoothness / spacing)
    last = ceil((size - 1 + 3 * smoothness) / spacing)
    options: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
    centres = torch.arange(first, last + 1, **options) * spacing
    distances = torch.arange(size, **options)[:, None] - centres
    weights = torch.exp(-0.5 * (distances / smoothness) ** 2)
    return weights / weights.norm(dim=1, keepdim=True)


def cut_out(images: torch.Tensor, centres: torch.Tensor, side: int, value: float) -> torch.Tensor:
    """Fill a square in a copy of each image; `centres`, inside it, are of shape (m, 2)."""
    m, _, h, w = images.shape
    square = torch.arange(side, device=images.device) - side // 2
    # What sticks out is put on the border, which such a square covers anyway.
    rows = (centres[:, :1] + square).clamp(0, h - 1)
    columns = (centres[:, 1:] + square).clamp(0, w - 1)
    which = torch.arange(m, device=images.device)
    cut = images.clone()
    cut.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]] = value
    return cut
