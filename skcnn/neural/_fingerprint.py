"""What two fits must agree in for one to go on where the other was killed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from skcnn.images import ImageBatch
from skcnn.neural._code import description, of_network
from skcnn.neural._schedules import PLANS

_CHUNK_MIB = 16

# These change no weight.
_OF_NO_CONSEQUENCE = {"verbose", "checkpoint", "callbacks", "n_dropout_samples", "n_augmentations"}


def fingerprint(fit: Any) -> dict[str, str]:
    """Return parameters and digests of the data by name."""
    data = {"X": _of_images(fit.images), "y": digest([fit.targets.values])}
    data["sample_weight"] = _of_weights(fit.weights)
    data |= dict.fromkeys(("X_val", "y_val", "sample_weight_val"), "None")
    if fit.validation is not None and fit.validation[0] is not fit.images:
        images, _, values, weights = fit.validation
        data |= {"X_val": _of_images(images), "y_val": digest([values])}
        data["sample_weight_val"] = _of_weights(weights)
    return {
        "estimator": type(fit.estimator).__name__,
        **_of_parameters(fit),
        "trained on": fit.device.type,
        **data,
        "network": of_network(fit.network),
        "first weights": fit.first_weights(),
    }


def _of_parameters(fit: Any) -> dict[str, str]:
    parameters = fit.estimator.get_params(deep=False)
    if fit.estimator.learning_rate not in PLANS:
        del parameters["max_iter"]  # more epochs are the same epochs and some more
    texts = {
        name: description(value)
        for name, value in parameters.items()
        if name not in _OF_NO_CONSEQUENCE
    }
    if isinstance(fit.estimator.random_state, np.random.RandomState):
        texts["random_state"] = f"RandomState that draws {fit.weights_seed}"
    return texts


def _of_images(images: ImageBatch) -> str:
    pixels = digest(images.read_stored(rows)[0] for rows in images.chunks(_CHUNK_MIB))
    return f"{len(images)} images of {images.image_shape}, {pixels}"


def _of_weights(weights: np.ndarray | None) -> str:
    return "None" if weights is None else digest([weights])


def digest(arrays: Iterable[np.ndarray]) -> str:
    """Return a text that arrays have in common only if they are equal."""
    sha = hashlib.sha256()
    for values in arrays:
        sha.update(np.ascontiguousarray(values).data)
    return sha.hexdigest()[:16]
