"""``skcnn predict``: a line for every image file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skcnn.cli._data import ImageFormat
from skcnn.cli._errors import CommandError, first_line
from skcnn.cli._model import load_model
from skcnn.comparison._format import printable

_BATCH = 256


def run(arguments: argparse.Namespace) -> int:
    """Classify the files; 1 if one of them could not be read."""
    model = load_model(arguments.model)
    for warning in model["warnings"]:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    if model["image_format"] is None:
        raise CommandError(
            f"{arguments.model} was trained on arrays that image files cannot be turned into."
        )
    image_format = ImageFormat(**model["image_format"])
    filenames = list(_expand(arguments.images))
    if not filenames:
        raise CommandError(f"No image files in {', '.join(arguments.images)}.")
    n_bad = sum(
        _predict_batch(model["estimator"], image_format, filenames[start : start + _BATCH])
        for start in range(0, len(filenames), _BATCH)
    )
    return 1 if n_bad else 0


def _expand(arguments: Sequence[str]) -> Iterator[str]:
    """The files themselves; of a folder, all files below it that look like images."""
    suffixes = Image.registered_extensions()
    for argument in arguments:
        if not os.path.isdir(argument):
            yield argument
            continue
        for folder, subfolders, names in os.walk(argument):
            subfolders.sort()
            for name in sorted(names):
                if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                    yield os.path.join(folder, name)


def _predict_batch(estimator: Any, image_format: ImageFormat, filenames: Sequence[str]) -> int:
    """Print the labels of some files, and return how many could not be read."""
    images = [_read(image_format, name) for name in filenames]
    good = [image for image in images if image is not None]
    if good:
        names = (name for name, image in zip(filenames, images, strict=True) if image is not None)
        labels, probabilities = _classify(estimator, np.stack(good))
        for name, label, probability in zip(names, labels, probabilities, strict=True):
            print(f"{printable(name)}\t{printable(str(label))}\t{probability:.4f}")
    return len(images) - len(good)


def _read(image_format: ImageFormat, filename: str) -> np.ndarray | None:
    try:
        return image_format.read(filename)
    except (OSError, ValueError) as error:
        message = getattr(error, "strerror", None) or first_line(error)
        named = message if filename in message else f"{filename}: {message}"
        print(f"skcnn predict: {printable(named)}", file=sys.stderr)
        return None


def _classify(estimator: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities = estimator.predict_proba(images)
    return estimator.classes_[probabilities.argmax(axis=1)], probabilities.max(axis=1)
