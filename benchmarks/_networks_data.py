"""Images for the benchmarks of networks: standardised float32 (n, height, width, channels)."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


class Data(NamedTuple):
    """Images (n, height, width, channels), float32 of mean 0 and variance 1, and their classes."""

    X: np.ndarray
    y: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The images as flat rows."""
        return self.X.reshape(len(self.X), -1)


def mnist_bytes(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's training images as they are stored, (60000, 28, 28) uint8, and labels."""
    with np.load(folder / "mnist.npz") as archive:
        return archive["X_train"], archive["y_train"].astype(np.int64)


def mnist(folder: Path, n_images: int) -> Data:
    """Return digits of MNIST in random order."""
    images, labels = mnist_bytes(folder)
    order = np.random.default_rng(0).permutation(len(images))[:n_images]
    return _standardised(images[order][..., None], labels[order])


def digits() -> Data:
    """Return scikit-learn's 1797 digits of 8 x 8 pixels."""
    images, labels = load_digits(return_X_y=True)
    return _standardised(images.reshape(-1, 8, 8, 1), labels)


def cifar(folder: Path, n_images: int) -> Data:
    """Return training images of CIFAR-10, of every class as many.

    They are files cifar10/train/<class>/*.jpg in `folder`, or train/<class>/*.jpg in its
    cifar10_jpg.zip.
    """
    archive = folder / "cifar10_jpg.zip"
    root = folder / "cifar10"
    if not root.is_dir():
        if not archive.is_file():
            raise FileNotFoundError(f"there is neither {root} nor {archive}")
        root = zipfile.Path(archive)
    images, labels = [], []
    classes = sorted((root / "train").iterdir(), key=lambda path: path.name)
    for code, folder_of_class in enumerate(classes):
        files = sorted(folder_of_class.iterdir(), key=lambda path: path.name)
        for file in files[: -(-n_images // len(classes))]:
            with file.open("rb") as stream:
                images.append(np.asarray(Image.open(stream).convert("RGB")))
            labels.append(code)
    order = np.random.default_rng(0).permutation(len(images))[:n_images]
    return _standardised(np.stack(images)[order], np.array(labels)[order])


def _standardised(images: np.ndarray, labels: np.ndarray) -> Data:
    images = images.astype(np.float32)
    axes = (0, 1, 2)
    return Data((images - images.mean(axes)) / images.std(axes), labels)
