"""From an image batch to the tensors of one training or prediction step."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import torch

from skcnn.images import ImageBatch

# Converted training images up to this size are kept; larger sets are converted batch by batch.
_CACHE_BYTES = 64 * 2**20
_CHUNK_MIB = 16


class Standardizer:
    """Bring each channel to mean 0 and variance 1, as seen on the training images.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_channels,), float64
        What is taken off each channel, and what it is then divided by.
    """

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        self.mean, self.scale = mean, scale

    @classmethod
    def learn(cls, images: ImageBatch, indices: np.ndarray) -> Standardizer:
        """Learn mean and scale from the images at `indices`, chunk by chunk."""
        n_channels = images.shape[3]
        count, mean, squares = 0, np.zeros(n_channels), np.zeros(n_channels)
        for rows in images.chunks(_CHUNK_MIB):
            chosen = indices[
                np.searchsorted(indices, rows.start) : np.searchsorted(indices, rows.stop)
            ]
            if len(chosen) == 0:
                continue
            pixels = images.take(chosen, np.float64).reshape(-1, n_channels)
            # Chan, Golub & LeVeque's update: no cancellation, however large the mean.
            difference, total = pixels.mean(axis=0) - mean, count + len(pixels)
            squares += (
                pixels.var(axis=0) * len(pixels) + difference**2 * count * len(pixels) / total
            )
            mean, count = mean + difference * len(pixels) / total, total
        scale = np.sqrt(squares / count)
        return cls(mean, np.where(scale > 1e-12 * (1 + np.abs(mean)), scale, 1.0))

    def __call__(self, images: np.ndarray) -> torch.Tensor:
        """Return images (m, h, w, c) standardised, as a tensor of their floating type.

        A float64 image with a large mean would lose itself if it were made float32 before.
        """
        images = images - self.mean.astype(images.dtype)  # a copy: they may be the user's own X
        images /= self.scale.astype(images.dtype)
        return torch.from_numpy(images)


def as_input(images: torch.Tensor) -> torch.Tensor:
    """Return images (m, h, w, c) as the view (m, c, h, w) that torch calls channels last."""
    return images.permute(0, 3, 1, 2)


class TrainingBatches:
    """The images and codes of a training or validation set, batch by batch.

    Every iteration is one epoch; the order is drawn from `rng` anew each time, or kept if it is
    None. A last batch of a single image goes with the one before it, because batch normalisation
    has no statistics of one image; with a batch size of one every batch is a single image.
    """

    def __init__(
        self,
        images: ImageBatch,
        codes: np.ndarray,
        indices: np.ndarray,
        *,
        batch_size: int,
        standardizer: Standardizer,
        device: torch.device,
        rng: np.random.RandomState | None = None,
    ) -> None:
        self._images, self._indices = images, indices
        self._batch_size, self._standardizer = batch_size, standardizer
        self._device, self._rng = device, rng
        self._codes = torch.from_numpy(codes[indices].astype(np.int64)).to(device)
        self._kept: torch.Tensor | None = None
        if 4 * len(indices) * prod(images.shape[1:]) <= _CACHE_BYTES:
            self._kept = torch.empty((len(indices), *images.shape[1:]), device=device)
            for rows in images.chunks(_CHUNK_MIB):
                positions = np.arange(rows.start, min(rows.stop, len(indices)))
                self._kept[rows.start : rows.stop] = self._read(positions)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._indices)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        n = len(self._indices)
        order = np.arange(n) if self._rng is None else self._rng.permutation(n)
        smallest = min(2, self._batch_size)
        stops = [*range(self._batch_size, n - smallest + 1, self._batch_size), n]
        for start, stop in zip([0, *stops[:-1]], stops, strict=True):
            chosen = order[start:stop]
            where = torch.from_numpy(chosen).to(self._device)
            inputs = self._read(chosen) if self._kept is None else self._kept[where]
            yield as_input(inputs), self._codes[where]

    def _read(self, positions: np.ndarray) -> torch.Tensor:
        images = self._images.take(self._indices[positions])
        return self._standardizer(images).to(self._device, torch.float32)


def prediction_batches(
    images: ImageBatch,
    batch_size: int,
    standardizer: Standardizer,
    device: torch.device,
    dtype: torch.dtype,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield slices of the batch and their images as tensors of type `dtype`."""
    for start in range(0, len(images), batch_size):
        rows = slice(start, min(start + batch_size, len(images)))
        yield rows, as_input(standardizer(images.read(rows)).to(device, dtype))
