"""What images go through before the part of a network that is trained."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import torch

from skcnn.images import ImageBatch
from skcnn.neural._batches import Standardizer
from skcnn.pretrained._preprocessing import Preprocessing, preprocessed

# Images that a frozen network sees at a time.
BATCH = 16


class PreprocessedImages:
    """Images as a network wants them.

    Parameters
    ----------
    how : Preprocessing
        What it wants.
    """

    def __init__(self, how: Preprocessing) -> None:
        self._how = how

    def __call__(self, images: np.ndarray, out: np.ndarray | None = None) -> torch.Tensor:
        """Return images (m, height, width, 3) of images (m, h, w, c)."""
        return preprocessed(images, self._how).permute(0, 2, 3, 1)

    def most_values(self, image_shape: tuple[int, ...]) -> int:
        """Return how many values an image has when it is largest."""
        return max(prod(image_shape), 3 * prod(self._how.size))


class FrozenFeatures(PreprocessedImages):
    """Features of images, as images of one pixel.

    Parameters
    ----------
    how : Preprocessing
        What is done to images.

    compute : callable
        From preprocessed images to features.

    device : torch.device
        Where it computes.

    scale : Standardizer or None, default=None
        What is done to the features.
    """

    def __init__(
        self,
        how: Preprocessing,
        compute: Callable[[torch.Tensor], torch.Tensor],
        device: torch.device,
        scale: Standardizer | None = None,
    ) -> None:
        super().__init__(how)
        self._compute, self._device, self._scale = compute, device, scale

    def __call__(self, images: np.ndarray, out: np.ndarray | None = None) -> torch.Tensor:
        """Return features (m, 1, 1, n_features) of images (m, h, w, c)."""
        rows = np.concatenate(
            [self._rows(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        )[:, np.newaxis, np.newaxis]
        return torch.from_numpy(rows) if self._scale is None else self._scale(rows, out=rows)

    def of_batch(self, images: ImageBatch, indices: np.ndarray) -> ImageBatch:
        """Return the features of the images at `indices`, as a batch of images of one pixel."""
        features = None
        for start in range(0, len(indices), BATCH):
            rows = self._rows(images.take(indices[start : start + BATCH], checked=False))
            if features is None:
                features = np.empty((len(indices), rows.shape[1]), rows.dtype)
            features[start : start + BATCH] = rows
        assert features is not None  # nobody trains on nothing
        return ImageBatch(features[:, np.newaxis, np.newaxis])

    @torch.no_grad()
    def _rows(self, images: np.ndarray) -> np.ndarray:
        inputs = preprocessed(images, self._how).to(self._device)
        return self._compute(inputs).float().cpu().numpy()


def learn_scale(rows: ImageBatch, weights: np.ndarray | None) -> Standardizer:
    """Return what brings features to mean 0 and variance 1."""
    learnt = Standardizer.learn(rows, np.arange(len(rows)), weights)
    # Features are in single precision: a constant one varies by its rounding.
    constant = learnt.scale <= 1e-6 * np.abs(learnt.mean)
    return Standardizer(learnt.mean, np.where(constant, 1.0, learnt.scale))
