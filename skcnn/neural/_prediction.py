"""Networks rebuilt from plain state for prediction, and what they say of images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from math import prod
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from skcnn._devices import out_of_memory
from skcnn._torch_threads import one_thread_here, thread_count
from skcnn.features._threads import in_threads
from skcnn.images import ImageBatch
from skcnn.neural._batches import TORCH_TYPES, Augmenter, Entry, as_input
from skcnn.neural._inference import as_function
from skcnn.neural._kinds import is_known, torch_is_altered
from skcnn.neural._modules import (
    SeededDropout,
    count_parameters,
    fold_batch_norm,
    lay_out,
    load_arrays,
)
from skcnn.neural._summary import summarize
from skcnn.neural._team import MOST_THREADS

# Images that are predicted at a time, and what the maps between two layers may take for them.
_PREDICT_BATCH = 128
_PREDICT_BYTES = 64 * 2**20
# What a thread's share of such maps must come to, at least, to be worth a thread.
_SHARE_BYTES = 8 * 2**20

# Networks rebuilt for prediction, with the weights that they hold, by device and type. They live
# outside the estimators so that these stay plain data: a pickle, a clone and a comparison never see
# a torch object.
_rebuilt: WeakKeyDictionary[Any, tuple[list, dict]] = WeakKeyDictionary()


class Predictor:
    """A fitted network on a device, ready to predict.

    Parameters
    ----------
    network : torch.nn.Module
        The network, in prediction mode.

    bytes_per_image : int
        What its layers need for an image.

    entry : Entry
        What is done to every image.

    device, dtype : torch.device, torch.dtype
        Where it lies, and its floating type.
    """

    def __init__(
        self,
        network: nn.Module,
        bytes_per_image: int,
        entry: Entry,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._compute, self._entry = as_function(network), entry
        self._device, self._dtype = device, dtype
        self._dropouts = [m for m in network.modules() if isinstance(m, SeededDropout)]
        self._lock = Lock()  # of the masks, which are the layers'
        self._bytes_per_image = bytes_per_image
        self._batch_size = int(np.clip(_PREDICT_BYTES // bytes_per_image, 1, _PREDICT_BATCH))
        self._can_share = device.type == "cpu" and is_known(network)

    def __call__(
        self,
        images: ImageBatch,
        *,
        change: Augmenter | None = None,
        thinned_by: torch.Generator | None = None,
    ) -> np.ndarray:
        """Return the outputs for all images, batch by batch.

        `change` is applied to the images as they are read; with `thinned_by` units are dropped, the
        same for every image.
        """
        with self._lock if self._dropouts else nullcontext():
            for layer in self._dropouts:
                layer.thin(thinned_by)
            if len(images) <= self._batch_size:
                return self._outputs(images, slice(0, len(images)), change)
            plain = change is None and thinned_by is None  # these draw as they go
            return self._predict(images, change, self._n_threads(len(images)) if plain else 1)

    @property
    def can_thin(self) -> bool:
        """Whether there are units that could be dropped."""
        return bool(self._dropouts)

    def _predict(self, images: ImageBatch, change: Augmenter | None, n_threads: int) -> np.ndarray:
        edges = [*range(0, len(images), self._batch_size), len(images)]
        outputs: list[np.ndarray] = []
        beginning = Lock()

        def predict(rows: slice) -> None:
            values = self._outputs(images, rows, change)
            with beginning:
                if not outputs:
                    outputs.append(np.empty((len(images), *values.shape[1:]), values.dtype))
            outputs[0][rows] = values

        batches = [slice(*rows) for rows in pairwise(edges)]
        in_threads(n_threads, predict, batches, within=one_thread_here)
        return outputs[0]

    def _outputs(self, images: ImageBatch, rows: slice, change: Augmenter | None) -> np.ndarray:
        with torch.inference_mode():
            pixels = images.read(rows)
            if change is not None:
                # A copy: it may write to them, and they may be the user's own X.
                pixels = change(pixels.copy())
            tensor = self._entry(pixels)
            try:
                inputs = as_input(tensor.to(self._device, self._dtype))
                return self._compute(inputs).cpu().numpy()
            except torch.OutOfMemoryError as error:
                tried = f"{len(tensor)} images of {images.image_shape} at a time"
                raise out_of_memory(self._device, tried, "") from error

    def _n_threads(self, n_images: int) -> int:
        """Return how many threads should have batches of their own; 1 if torch's share each."""
        n_threads = thread_count()
        enough = n_images * self._bytes_per_image >= n_threads * _SHARE_BYTES
        if not (self._can_share and enough and n_threads <= MOST_THREADS):
            return 1
        return 1 if torch_is_altered() else n_threads


def predictor(estimator: Any, device: torch.device, dtype: np.dtype) -> Predictor:
    """Return the fitted network of an estimator."""

    def build() -> Predictor:
        network = rebuild(estimator, TORCH_TYPES[dtype]).eval()
        fold_batch_norm(network)
        lay_out(network)
        return ready(network, estimator, device, dtype)

    return kept(estimator, estimator.weights_, (device, dtype), build)


def kept(
    owner: Any, weights: dict[str, np.ndarray], kind: tuple, build: Callable[[], Predictor]
) -> Predictor:
    """Return the owner's predictor of a kind.

    It is built if this process does not have it, or has it of other weights.
    """
    arrays = list(weights.values())
    known, built = _rebuilt.get(owner, ([], {}))
    if len(known) != len(arrays) or any(a is not b for a, b in zip(known, arrays)):  # noqa: B905
        built = {}
        _rebuilt[owner] = (arrays, built)
    if kind not in built:
        built[kind] = build()
    return built[kind]


def ready(network: nn.Module, estimator: Any, device: torch.device, dtype: np.dtype) -> Predictor:
    """Return what predicts with a network that was made of an estimator's."""
    sizes = [prod(row.output_shape) for row in summarize(network, estimator._stored_shape())]
    # A layer's input and output, and the layout that a convolution may want them in.
    bytes_per_image = 2 * dtype.itemsize * sum(sorted(sizes)[-2:])
    try:
        network = network.to(device)
    except torch.OutOfMemoryError as error:
        tried = f"a network of {count_parameters(network)} weights"
        raise out_of_memory(device, tried, "") from error
    return Predictor(
        network, bytes_per_image, estimator._standardizer(), device, TORCH_TYPES[dtype]
    )


def rebuild(estimator: Any, dtype: torch.dtype) -> nn.Module:
    """Return the fitted network of an estimator as it was trained, of a floating type."""
    network = estimator._blank_network().to(dtype)
    load_arrays(network, estimator.weights_)
    return network
