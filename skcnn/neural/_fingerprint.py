"""What two fits must agree in for one to go on where the other was killed."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from skcnn.images import ImageBatch
from skcnn.neural._batches import Standardizer
from skcnn.neural._schedules import PLANS

# These change no weight.
_OF_NO_CONSEQUENCE = {"verbose", "checkpoint", "callbacks", "n_dropout_samples", "n_augmentations"}


def fingerprint(fit: Any) -> dict[str, str]:
    """Return parameters and digests of the data by name."""
    data = {"X": _of_images(fit.images), "y": digest(fit.targets.values)}
    data["sample_weight"] = _of_weights(fit.weights)
    if fit.validation is not None and fit.validation[0] is not fit.images:
        images, _, values, weights = fit.validation
        data |= {"X_val": _of_images(images), "y_val": digest(values)}
        data["sample_weight_val"] = _of_weights(weights)
    return {
        **_of_parameters(fit),
        "trained on": fit.device.type,
        **data,
        "first weights": fit.first_weights(),
    }


def _of_parameters(fit: Any) -> dict[str, str]:
    parameters = fit.estimator.get_params(deep=False)
    if fit.estimator.learning_rate not in PLANS:
        del parameters["max_iter"]  # more epochs are the same epochs and some more
    texts = {
        # The address of a function is another one in every process.
        name: re.sub(r" at 0x[0-9a-fA-F]+", "", f"{value!r} {_contents(value)}".rstrip())
        for name, value in parameters.items()
        if name not in _OF_NO_CONSEQUENCE
    }
    if isinstance(fit.estimator.random_state, np.random.RandomState):
        texts["random_state"] = f"RandomState that draws {fit.weights_seed}"
    return texts


def _contents(value: Any) -> str:
    """Return what an object holds whose text may be no more than its address."""
    plain = value is None or isinstance(value, (type, str, int, float, list, tuple, dict))
    return "" if plain else repr(getattr(value, "__dict__", ""))


def _of_images(images: ImageBatch) -> str:
    # Some are looked at closely; of all of them what another number of threads does not change.
    some = np.unique(np.linspace(0, len(images) - 1, 64, dtype=int))
    pixels = digest(images.take(some))
    learnt = Standardizer.learn(images, np.arange(len(images)))
    means = ", ".join(f"{value:.10g}" for value in [*learnt.mean, *learnt.scale])
    return f"{len(images)} images of {images.image_shape}, {pixels} ({means})"


def _of_weights(weights: np.ndarray | None) -> str:
    return "None" if weights is None else digest(weights)


def digest(*arrays: np.ndarray) -> str:
    """Return a text that arrays have in common only if they are equal."""
    sha = hashlib.sha256()
    for values in arrays:
        sha.update(np.ascontiguousarray(values).tobytes())
    return sha.hexdigest()[:16]
