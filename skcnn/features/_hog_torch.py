"""HOG on any torch device, with the bins and channels of doubtful pixels found by NumPy."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import pad

from skcnn.features._hog_cells import exact_bins, exact_gradients

_EPS = 1e-5
# What rounding may do to an angle, in half turns, and to magnitudes, relative to the largest value.
_ROUNDING = 4.0


def hog_features(
    images: np.ndarray,
    divisor: float,
    take_sqrt: bool,
    cell: tuple[int, int],
    block: tuple[int, int],
    orientations: int,
    signed: bool,
    interpolate: bool,
    norm: str,
    device: torch.device,
) -> np.ndarray:
    """Return the features of a chunk of images, computed on a torch device.

    Parameters
    ----------
    images : ndarray of shape (m, h, w, c)
        ``uint8``, ``uint16``, ``float32`` or ``float64`` images.

    divisor : float
        What they are to be divided by.

    take_sqrt : bool
        Take the square root of all values first.

    cell : (int, int)
        Height and width of a cell in pixels.

    block : (int, int)
        Height and width of a block in cells.

    orientations : int
        Number of bins.

    signed : bool
        Whether they share 360 degrees instead of 180.

    interpolate : bool
        Whether a magnitude is shared by the two bins whose middles are nearest.

    norm : {"L1", "L1-sqrt", "L2", "L2-Hys"}
        How blocks are normalised.

    device : torch.device
        Where to compute; in float64 for ``float64`` images where the device has it, else in
        float32. So are shares of votes of which roots are taken, which would show what rounding
        does to a share of nothing.

    Returns
    -------
    features : ndarray of shape (m, n_features)
        The features, float64 for ``float64`` images where the device has it; NaN where gradients
        overflow.
    """
    roots_of_shares = interpolate and norm == "L1-sqrt"
    has_double = device.type != "mps"
    returned = torch.float64 if images.dtype == np.float64 and has_double else torch.float32
    double = returned == torch.float64 or (roots_of_shares and has_double)
    stored = images.astype(np.float64 if double else np.float32)
    pixels = torch.from_numpy(stored).to(device).permute(0, 3, 1, 2) / divisor
    if take_sqrt:
        pixels = pixels.sqrt()
    voting = orientations, signed, interpolate
    magnitude, place, doubtful = _magnitudes_and_places(pixels, *voting)
    _settle(magnitude, place, doubtful, images, divisor, take_sqrt, *voting)
    cells = _cell_means(magnitude, place, cell, orientations, interpolate)
    windows = cells.unfold(1, block[0], 1).unfold(2, block[1], 1)  # m, rows, columns, k, *block
    blocks = windows.permute(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)
    features = _normalise(blocks.to(pixels.dtype), norm).reshape(len(images), -1)
    return features.to(returned).cpu().numpy()


def _magnitudes_and_places(
    pixels: torch.Tensor, orientations: int, signed: bool, interpolate: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return magnitude, place in the histogram and whether either is in doubt, each (m, h, w).

    The place is a number of bins, bin k reaching from k to k + 1. It is in doubt where rounding may
    have changed the channel, or the bin if it alone counts.
    """
    by_row = pad(pixels[:, :, 2:] - pixels[:, :, :-2], (0, 0, 1, 1))
    by_column = pad(pixels[..., 2:] - pixels[..., :-2], (1, 1))
    magnitudes = torch.hypot(by_row, by_column)
    magnitude, channel = magnitudes.max(dim=1)
    rounding = _ROUNDING * torch.finfo(pixels.dtype).eps * pixels.abs().amax(dim=(1, 2, 3))
    rounding = rounding[:, None, None]
    doubtful = (magnitudes >= (magnitude - rounding)[:, None]).sum(dim=1) > 1
    channel = channel[:, None]
    angle = torch.atan2(by_row.gather(1, channel), by_column.gather(1, channel))[:, 0]
    place = (angle / (2 * torch.pi if signed else torch.pi)) % 1 * orientations
    if not interpolate:
        bins = place.floor()
        from_edge = torch.minimum(place - bins, bins + 1 - place)
        # Rounding of the gradient, and that of the angle.
        doubtful |= from_edge * magnitude <= orientations * (rounding + 1e-6 * magnitude)
    return magnitude, place, doubtful & (magnitude > 0)


@np.errstate(over="ignore")  # features that are not finite are known to the caller
def _settle(
    magnitude: torch.Tensor,
    place: torch.Tensor,
    doubtful: torch.Tensor,
    images: np.ndarray,
    divisor: float,
    take_sqrt: bool,
    orientations: int,
    signed: bool,
    interpolate: bool,
) -> None:
    where = doubtful.nonzero(as_tuple=True)
    if len(where[0]) == 0:
        return
    by_row, by_column = exact_gradients(
        images, divisor, take_sqrt, *(positions.cpu().numpy() for positions in where)
    )
    sizes = np.hypot(by_row, by_column)
    if signed or interpolate:
        turns = np.arctan2(by_row, by_column) / (2 * np.pi if signed else np.pi)
        places = (turns - np.floor(turns)) * orientations
        if not interpolate:  # the middle of the bin, which float32 does not move to the next
            places = np.floor(places) % orientations + 0.5
    else:
        bins = exact_bins(by_row, by_column, orientations)
        sizes, places = np.where(bins < orientations, sizes, 0), bins + 0.5
    dtype = _numpy_type(magnitude)
    magnitude[where] = torch.from_numpy(sizes.astype(dtype)).to(magnitude.device)
    place[where] = torch.from_numpy(places.astype(dtype)).to(place.device)


def _numpy_type(values: torch.Tensor) -> type:
    return np.float64 if values.dtype == torch.float64 else np.float32


def _cell_means(
    magnitude: torch.Tensor,
    place: torch.Tensor,
    cell: tuple[int, int],
    orientations: int,
    interpolate: bool,
) -> torch.Tensor:
    """Return the mean magnitude per cell and orientation, (m, rows, columns, orientations)."""
    m, h, w = magnitude.shape
    rows, columns = h // cell[0], w // cell[1]
    inside = slice(None), slice(rows * cell[0]), slice(columns * cell[1])
    magnitude, place = magnitude[inside], place[inside]
    if interpolate:
        below = (place - 0.5).floor()
        above_share = (place - 0.5 - below) * magnitude
        votes = [
            (below % orientations, magnitude - above_share),
            ((below + 1) % orientations, above_share),
        ]
    else:
        votes = [(place.floor().clamp(0, orientations - 1), magnitude)]
    # One orientation at a time: sums in a fixed order, which adding at random would not be.
    means = [
        torch.stack([torch.where(bins == k, share, 0) for bins, share in votes])
        .sum(dim=0)
        .reshape(m, rows, cell[0], columns, cell[1])
        .mean(dim=(2, 4))
        for k in range(orientations)
    ]
    return torch.stack(means, dim=-1)


def _normalise(blocks: torch.Tensor, norm: str) -> torch.Tensor:
    """Normalise histograms over the last axis."""
    # Neither sums nor squares of what is not above one overflow.
    unit = blocks.amax(dim=-1, keepdim=True).clamp(min=1)
    blocks, eps = blocks / unit, _EPS / unit
    if norm in ("L1", "L1-sqrt"):
        blocks = blocks / (blocks.sum(dim=-1, keepdim=True) + eps)
        return blocks if norm == "L1" else blocks.sqrt()
    blocks = _l2(blocks, eps)
    return blocks if norm == "L2" else _l2(blocks.clamp(max=0.2), _EPS)


def _l2(blocks: torch.Tensor, eps: torch.Tensor | float) -> torch.Tensor:
    return blocks / (blocks.square().sum(dim=-1, keepdim=True) + eps**2).sqrt()
