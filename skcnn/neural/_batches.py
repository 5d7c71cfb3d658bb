"""From an image batch to the tensors of one training or prediction step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import prod
from typing import NamedTuple, Protocol

import numpy as np
import torch
from skorch.dataset import Dataset

from skcnn.images import ImageBatch
from skcnn.neural._augmentation import Augmentation

# Images are read and converted in groups of whole batches of about this size: few calls for small
# images, little memory for large ones.
_GROUP_BYTES = 2**20
_CHUNK_MIB = 1

NUMPY_TYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
TORCH_TYPES = {numpy_type: torch_type for torch_type, numpy_type in NUMPY_TYPES.items()}


class Entry(Protocol):
    """What is done to images before they enter a network."""

    def __call__(self, images: np.ndarray, out: np.ndarray | None = None) -> torch.Tensor:
        """Return images (m, h, w, c) changed, as a tensor (m, height, width, channels).

        `out` may be the images themselves, unless they are the user's own X: they may be lost.
        """

    def most_values(self, image_shape: tuple[int, ...]) -> int:
        """Return how many numbers there are of an image of a shape (h, w, c) on the way."""


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
    def learn(
        cls, images: ImageBatch, indices: np.ndarray, weights: np.ndarray | None = None
    ) -> Standardizer:
        """Learn mean and scale from the images at `indices`, which are sorted, chunk by chunk.

        `weights` are those of all images; None weighs them alike.
        """
        n_channels = images.shape[3]
        total, mean, squares = 0.0, np.zeros(n_channels), np.zeros(n_channels)
        for rows in images.chunks(_CHUNK_MIB):
            first, last = np.searchsorted(indices, [rows.start, rows.stop])
            chosen = indices[first:last]
            if len(chosen) == 0:
                continue
            pixels = images.take(chosen, np.float64).reshape(len(chosen), -1, n_channels)
            shares = np.ones(len(chosen)) if weights is None else weights[chosen]
            added = shares.sum() * pixels.shape[1]
            if added == 0:
                continue
            chunk_mean = _weighted_mean(pixels, shares)
            pixels -= chunk_mean
            variance = _weighted_mean(np.square(pixels, out=pixels), shares)
            # Chan, Golub & LeVeque's update: no cancellation, however large the mean.
            difference, total = chunk_mean - mean, total + added
            squares += variance * added + difference**2 * (total - added) * added / total
            mean = mean + difference * added / total
        return cls(mean, divisor(mean, np.sqrt(squares / total)))

    @classmethod
    def nothing(cls, n_channels: int) -> Standardizer:
        """Return the standardiser that leaves images as they are."""
        return cls(np.zeros(n_channels), np.ones(n_channels))

    def __call__(self, images: np.ndarray, out: np.ndarray | None = None) -> torch.Tensor:
        """Return images (m, h, w, c) standardised, as a tensor of their floating type.

        A float64 image with a large mean would lose itself if it were made float32 before. `out`
        may be the images themselves, unless they are the user's own X.
        """
        out = np.subtract(images, self.mean.astype(images.dtype), out=out)
        out /= self.scale.astype(images.dtype)
        return torch.from_numpy(out)

    def most_values(self, image_shape: tuple[int, ...]) -> int:
        """Return how many values an image has."""
        return prod(image_shape)


def divisor(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return what numbers are divided by: their standard deviation, or 1 if it is only rounding.

    Numbers too large for a variance have none, NaN: training then says so, instead of seeing zeros.
    """
    known = np.where(np.isfinite(deviation), deviation, np.nan)
    return np.where(known <= 1e-12 * np.abs(mean), 1.0, known)


def _weighted_mean(pixels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.tensordot(shares, pixels, 1).mean(axis=0) / shares.sum()


def as_input(images: torch.Tensor) -> torch.Tensor:
    """Return images (m, h, w, c) as the view (m, c, h, w) that torch calls channels last."""
    images = images.permute(0, 3, 1, 2)
    _, channels, height, width = images.shape
    if channels > 1:
        return images
    # With one channel its stride is arbitrary; torch takes the layout for channels last if it is 1.
    return images.as_strided(images.shape, (height * width, 1, width, 1))


class Batch(NamedTuple):
    """One training step's images, targets and weights (None: all alike)."""

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor | None

    def of(self, rows: slice) -> Batch:
        """Return some of the images."""
        return Batch(*(None if values is None else values[rows] for values in self))  # type: ignore


class Augmenter(NamedTuple):
    """What changes training images before they are standardised, and its random generator.

    With a `seed` every batch begins with it, and skcnn's own augmentation changes all images alike:
    what is predicted for one then does not depend on its company.
    """

    augment: Callable[..., torch.Tensor]
    generator: torch.Generator
    seed: int | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return images (m, h, w, c) changed."""
        options = {}
        if self.seed is not None:
            self.generator.manual_seed(self.seed)
            options = {"alike": True} if isinstance(self.augment, Augmentation) else {}
        inputs = as_input(torch.from_numpy(images))
        changed = self.augment(inputs, self.generator, **options)
        expected = (len(images), images.shape[3], *images.shape[1:3])
        if not isinstance(changed, torch.Tensor) or tuple(changed.shape) != expected:
            kind, shape = type(changed).__name__, tuple(getattr(changed, "shape", ()))
            raise ValueError(
                "augment must return a tensor of the shape of its images (n, channels, height, "
                f"width), {expected}; got {kind}{f' {shape}' if shape else ''}."
            )
        rows = changed.detach().cpu().permute(0, 2, 3, 1).numpy()
        return np.ascontiguousarray(rows, dtype=images.dtype)


class TrainingBatches(Dataset):
    """The images and targets of a training or validation set, batch by batch.

    Every iteration is one epoch; the order is drawn from `rng` anew each time, or kept if it is
    None. With a batch size of one every batch is a single image.

    It is a data set of skorch, whose callbacks look for `X` and `y`: itself and the targets.

    Parameters
    ----------
    images : ImageBatch
        All images.

    indices : ndarray of int
        Which of them belong to the set.

    targets : ndarray of shape (n_images,) or (n_images, n_outputs)
        Codes of classes, or numbers, of all images.

    weights : ndarray of shape (n_images,) or None
        Weights of all images.

    batch_size : int
        Images of a step.

    entry : Entry
        What is done to every image.

    device, dtype : torch.device, torch.dtype
        Where the tensors lie, and their type.

    rng : RandomState or None
        Source of the order.

    augmenter : Augmenter or None
        What changes the images of each batch.

    least : int, default=2
        If fewer images are left for the last batch, they go with the one before it. Batch
        normalisation has no statistics of one image and bad ones of a few: an epoch that ends with
        a batch of two may undo much of what it has learnt.
    """

    def __init__(
        self,
        images: ImageBatch,
        indices: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        batch_size: int,
        entry: Entry,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        rng: np.random.RandomState | None = None,
        augmenter: Augmenter | None = None,
        least: int = 2,
    ) -> None:
        self._images, self._indices = images, indices
        self._batch_size, self._entry = batch_size, entry
        self._least = min(least, batch_size)
        self._device, self._dtype, self._rng = device, dtype, rng
        self._augmenter = augmenter
        numbers = targets.dtype.kind == "f"
        self._targets = torch.from_numpy(targets[indices]).to(
            device, dtype if numbers else torch.int64
        )
        self._weights, self.mean_weight = None, 1.0
        if weights is not None:
            # Mean 1 over the set, not over each batch: a batch of unimportant images is a small
            # step.
            self.mean_weight = float(weights[indices].mean())
            shares = weights[indices] / self.mean_weight
            self._weights = torch.from_numpy(shares).to(device, dtype)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._indices)

    @property
    def bounds(self) -> list[int]:
        """Where batches begin, and where the last one ends."""
        smallest = min(self._least, len(self))
        return [*range(0, len(self) - smallest + 1, self._batch_size), len(self)]

    def in_order(self) -> TrainingBatches:
        """Return the same images, neither shuffled nor augmented, for predictions on them."""
        plain = copy.copy(self)
        plain._rng = plain._augmenter = None
        return plain

    @property
    def X(self) -> TrainingBatches:  # noqa: N802 - skorch's name
        """What skorch's callbacks predict on."""
        return self

    @property
    def y(self) -> torch.Tensor:
        """What they compare the predictions with, in the order of the set."""
        return self._targets

    @property
    def targets(self) -> torch.Tensor:
        """The targets in the order of the set."""
        return self._targets

    @property
    def weights(self) -> torch.Tensor | None:
        """The weights in the order of the set, of mean 1."""
        return self._weights

    def __iter__(self) -> Iterator[Batch]:
        n, bounds = len(self), self.bounds
        order = np.arange(n) if self._rng is None else self._rng.permutation(n)
        image_bytes = self._entry.most_values(self._images.shape[1:]) * self._dtype.itemsize
        in_group = max(1, _GROUP_BYTES // (image_bytes * self._batch_size))
        for first in range(0, len(bounds) - 1, in_group):
            group = bounds[first : first + in_group + 1]
            yield from self._group(order[group[0] : group[-1]], np.subtract(group, group[0]))

    def _group(self, positions: np.ndarray, bounds: np.ndarray) -> Iterator[Batch]:
        """Yield the batches of some images that are read together."""
        inputs = self._read(positions, bounds)
        where = torch.from_numpy(positions).to(self._device)
        targets = self._targets[where]
        weights = None if self._weights is None else self._weights[where]
        edges = bounds.tolist()
        for start, stop in pairwise(edges):
            rows = slice(start, stop)
            yield Batch(inputs[rows], targets[rows], None if weights is None else weights[rows])

    def _read(self, positions: np.ndarray, bounds: np.ndarray) -> torch.Tensor:
        images = self._images.take(self._indices[positions], checked=False)
        if self._augmenter is not None:
            # One batch at a time, so that the draws do not depend on how many are read together.
            images = np.concatenate(
                [self._augmenter(images[start:stop]) for start, stop in pairwise(bounds)]
            )
        inputs = self._entry(images, out=images)
        return as_input(inputs.to(self._device, self._dtype))
