"""Real images for the benchmarks: MNIST's digits, and crops of scikit-image's photographs."""

from pathlib import Path

import numpy as np
from skimage import data
from skimage.color import rgb2gray
from skimage.transform import resize

PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "rocket", "brick", "grass", "gravel")


def mnist_images(data_folder: Path, n_images: int) -> np.ndarray:
    """Return MNIST digits in random order, (n, 28, 28) float32 in [0, 1]."""
    with np.load(Path(data_folder) / "mnist.npz") as archive:
        images = archive["X_train"]
    order = np.random.default_rng(0).permutation(len(images))[:n_images]
    return images[order].astype(np.float32) / 255


def photos(side: int | None = 512, *, grey: bool = True) -> list[np.ndarray]:
    """Return photographs, float32 in [0, 1], square with `side` pixels or as they are."""
    images = []
    for name in PHOTOS:
        image = getattr(data, name)()
        if image.ndim == 2 and not grey:
            continue
        image = rgb2gray(image) if grey and image.ndim == 3 else image / 255
        if side is not None:
            square = image[: min(image.shape[:2]), : min(image.shape[:2])]
            image = resize(square, (side, side, *image.shape[2:]), anti_aliasing=True)
        images.append(image.astype(np.float32))
    return images


def crops(n_images: int, height: int, width: int, *, grey: bool = True) -> np.ndarray:
    """Return random crops of the photographs, (n, h, w) or (n, h, w, 3) float32 in [0, 1]."""
    rng = np.random.default_rng(0)
    sources = photos(None, grey=grey)
    chosen = []
    for i in range(n_images):
        source = sources[i % len(sources)]
        top = rng.integers(source.shape[0] - height + 1)
        left = rng.integers(source.shape[1] - width + 1)
        chosen.append(source[top : top + height, left : left + width])
    return np.stack(chosen)
