"""What DATA on the command line stands for: images, labels, and how files become such images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skcnn.cli._errors import CommandError, first_line
from skcnn.cli._messages import say
from skcnn.datasets import load_digit_images
from skcnn.images import ImageBatch, ImageFiles, load_image_folder

# Up to here a folder is decoded once and kept; beyond, files are decoded whenever they are needed.
_DECODED_BYTES = 2**30
_LARGEST_OWN_SIDE = 128
_FALLBACK_SIZE = (64, 64)


@dataclass(frozen=True)
class ImageFormat:
    """How an image file becomes an image like those a model was trained on.

    A file's pixels are uint8, which skcnn scales to [0, 1]. A model of other numbers, which are
    taken as they are, gets them on the range `low` to `high` of its training images.
    """

    size: tuple[int, int]
    mode: str
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None

    def read(self, path: str) -> np.ndarray:
        """Decode one file to an array of `shape`."""
        image = np.asarray(ImageFiles([path], size=self.size, mode=self.mode)[0])
        if self.low is not None and self.high is not None:
            image = self.low + image / 255 * (self.high - self.low)
        return image.reshape(self.shape)


@dataclass(frozen=True)
class Data:
    """Labelled images; `image_format` is None if files cannot be turned into such images."""

    images: Any
    labels: np.ndarray
    image_format: ImageFormat | None


def load_data(path: str | None, size: tuple[int, int] | None, mode: str | None) -> Data:
    """Load the digits, a folder of class folders or an .npz file."""
    if path == "":
        raise CommandError("DATA is an empty text; leave it out for the digits.")
    if path is not None and Path(path).is_dir():
        return _load_folder(path, size, mode)
    if size is not None or mode is not None:
        raise CommandError("--size and --mode are for folders of image files only.")
    if path is None:
        images, labels = load_digit_images(return_X_y=True)
        return Data(images, labels, _format_of_array(images))
    if not Path(path).exists():
        raise CommandError(f"{path} does not exist.")
    if Path(path).suffix.lower() != ".npz":
        raise CommandError(f"{path} is neither a folder of class folders nor an .npz file.")
    return _load_npz(path)


def _load_npz(path: str) -> Data:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [key for key in ("X", "y") if key not in arrays.files]
            if missing:
                seen = ", ".join(arrays.files) or "nothing"
                raise CommandError(f"{path} must hold the arrays X and y, it holds: {seen}.")
            images, labels = arrays["X"], arrays["y"]
    except CommandError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything, MemoryError included
        raise CommandError(f"{path} cannot be read: {_why_unreadable(error)}") from error
    _check_arrays(path, images, labels)
    return Data(images, labels, _format_of_array(images))


def _why_unreadable(error: Exception) -> str:
    text = first_line(error)
    # NumPy's own messages advise to load pickles, which is never done here.
    if "Object arrays" in text:
        return "it holds Python objects; save labels as text or numbers, y.astype(str)."
    if "pickle" in text or "context manager" in text:
        return "it is not an .npz file of plain arrays."
    return text


def _check_arrays(path: str, images: Any, labels: Any) -> None:
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
        raise CommandError(f"{path} cannot be read: X and y are not NumPy arrays.")
    if images.ndim not in (2, 3, 4) or images.dtype.kind not in "buif":
        raise CommandError(
            f"X of {path} must hold numbers of shape (n, h, w), (n, h, w, c) or (n, n_pixels), "
            f"it holds {images.dtype} of shape {images.shape}."
        )
    if 0 in images.shape:
        raise CommandError(f"X of {path} is empty: its shape is {images.shape}.")
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        raise CommandError(
            f"X of {path} has shape {images.shape}, which looks like channels first; "
            "channels come last: np.moveaxis(X, 1, -1)."
        )
    if labels.shape != images.shape[:1]:
        raise CommandError(
            f"y of {path} must hold one label an image, shape {images.shape[:1]}, "
            f"it has shape {labels.shape}."
        )
    try:
        ImageBatch(images).ensure_finite()
    except ValueError as error:
        raise CommandError(f"X of {path} cannot be used: {first_line(error)}") from error


def _format_of_array(images: np.ndarray) -> ImageFormat | None:
    shape = images.shape[1:]
    height, width, n_channels = _image_shape(shape)
    if n_channels not in (1, 3) or height == 1:
        return None
    mode = "grey" if n_channels == 1 else "rgb"
    low, high = _value_range(images)
    return ImageFormat((height, width), mode, shape, low, high)


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels; a flat row is a square grey image or else one line."""
    if len(shape) == 1:
        side = round(shape[0] ** 0.5)
        return (side, side, 1) if side * side == shape[0] else (1, shape[0], 1)
    height, width, *channels = shape
    return height, width, channels[0] if channels else 1


def _value_range(images: np.ndarray) -> tuple[float | None, float | None]:
    if images.dtype in (np.uint8, np.uint16):  # skcnn scales both to [0, 1], as it does files
        most, full = int(images.max()), np.iinfo(images.dtype).max
        # Zeros and ones, or ten bits of sixteen: their white is not that of files.
        return (None, None) if 2 * most > full else (0.0, most / full)
    low, high = float(images.min()), float(images.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (min(low, 0.0), high)


def _load_folder(path: str, size: tuple[int, int] | None, mode: str | None) -> Data:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            if size is None or mode is None:
                own_size, own_mode = _inspect_folder(path)
                size, mode = size or own_size, mode or own_mode
                say(f"Reading the images as {size[0]}x{size[1]} {mode} (--size, --mode).")
                caught.clear()
            loaded = load_image_folder(path, size=size, mode=mode, on_error="skip")
        except (OSError, ValueError) as error:
            raise CommandError(first_line(error)) from error
    for warning in caught:
        say(f"warning: {warning.message}")
    images = loaded.images
    if np.prod(images.shape, dtype=np.int64) <= _DECODED_BYTES:
        images = images[:]
    shape = images.shape[1:]
    return Data(images, loaded.target_names[loaded.target], ImageFormat(size, mode, shape))


def _inspect_folder(path: str) -> tuple[tuple[int, int], str]:
    """A size and a mode that suit the images, from the headers of the files."""
    filenames = load_image_folder(path, size=(1, 1), verify=False, on_error="skip").filenames
    sizes = {ImageFiles([name]).size for name in filenames}
    colours = {"grey" if _is_grey(name) else "rgb" for name in filenames}
    size = sizes.pop() if len(sizes) == 1 else _FALLBACK_SIZE
    size = size if max(size) <= _LARGEST_OWN_SIDE else _FALLBACK_SIZE
    return size, "rgb" if "rgb" in colours else "grey"


def _is_grey(filename: str) -> bool:
    with Image.open(filename) as image:
        return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
