"""``skcnn predict``: a line for every image file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import StubImageFile

from skcnn.cli._data import ImageFormat
from skcnn.cli._errors import CommandError, first_line
from skcnn.cli._model import load_model
from skcnn.comparison._format import printable
from skcnn.images._folder import files_below

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
    unreadable: list[OSError] = []
    filenames = list(_expand(arguments.images, unreadable))
    for error in unreadable:
        _complain(str(error.filename), error)
    if not filenames:
        raise CommandError(f"No image files in {', '.join(arguments.images)}.")
    n_bad = sum(
        _predict_batch(model["estimator"], image_format, filenames[start : start + _BATCH])
        for start in range(0, len(filenames), _BATCH)
    )
    return 1 if n_bad or unreadable else 0


def _expand(arguments: Sequence[str], unreadable: list[OSError]) -> Iterator[str]:
    """The files themselves; of a folder, all files below it that are called images."""
    suffixes = {name for name, kind in Image.registered_extensions().items() if _is_read(kind)}
    for argument in arguments:
        if not os.path.isdir(argument):
            yield argument
            continue
        for file in files_below(argument, unreadable):
            if file.suffix.lower() in suffixes:
                yield str(file)


def _is_read(kind: str) -> bool:
    """Tell whether Pillow reads a format, and does not only write it or know its name."""
    factory, _ = Image.OPEN.get(kind, (StubImageFile, None))
    return not (isinstance(factory, type) and issubclass(factory, StubImageFile))


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
        _complain(filename, error)
        return None


def _complain(path: str, error: Exception) -> None:
    message = getattr(error, "strerror", None) or first_line(error)
    named = message if path in message else f"{path}: {message}"
    print(f"skcnn predict: {printable(named)}", file=sys.stderr)


def _classify(estimator: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities = estimator.predict_proba(images)
    return estimator.classes_[probabilities.argmax(axis=1)], probabilities.max(axis=1)
