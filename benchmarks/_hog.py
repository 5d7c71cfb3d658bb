"""HOG beside OpenCV and scikit-image, by image size; threads; the first call of a fresh process."""

import os
import subprocess
import sys
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from _images import crops, mnist_images, photos
from _timing import interleaved, print_table
from skimage.feature import hog

from skcnn import HOGExtractor

ORIENTATIONS = 9
BLOCK = (2, 2)

FIRST_CALL = """
import time
import numpy as np
from skcnn import HOGExtractor
images = np.random.default_rng(0).random((4, 64, 64), dtype=np.float32)
seconds = []
for _ in range(2):
    start = time.perf_counter()
    HOGExtractor().fit_transform(images)
    seconds.append(time.perf_counter() - start)
print(seconds[0] - seconds[1])
"""


def run(data_folder: Path, repeats: int) -> None:
    """Print the tables of HOG."""
    sets = image_sets(data_folder)
    compare_with_peers(sets, repeats)
    compare_threads(sets, repeats)
    print_memory()
    print_first_call()


def image_sets(data_folder: Path) -> list[tuple[str, np.ndarray, int]]:
    """Return name, float32 images and side of a cell of what is compared."""
    return [
        ("MNIST 28x28", mnist_images(data_folder, 4000), 4),
        ("crops 64x64", crops(400, 64, 64), 8),
        ("photos 512x512", np.stack(photos(512)), 8),
        ("colour 128x64", crops(200, 128, 64, grey=False), 8),
    ]


def compare_with_peers(sets: list[tuple[str, np.ndarray, int]], repeats: int) -> None:
    """Time whole batches: one call of skcnn, a loop over the images with the others."""
    rows = []
    for name, images, cell in sets:
        few = images[: max(8, len(images) // 40)]  # scikit-image is slow
        seconds = interleaved(
            {
                "skcnn": transform(images, cell),
                "cv2": opencv(images, cell),
                "skimage": scikit_image(few, cell),
            },
            repeats,
        )
        each = {
            "skcnn": seconds["skcnn"] / len(images),
            "cv2": seconds["cv2"] / len(images),
            "skimage": seconds["skimage"] / len(few),
        }
        rows.append(
            [
                name,
                f"{cell}x{cell}",
                *(1e6 * value for value in each.values()),
                each["cv2"] / each["skcnn"],
                each["skimage"] / each["skcnn"],
            ]
        )
    columns = ["float32 images", "cell", "skcnn us", "OpenCV us", "scikit-image us"]
    columns += ["times OpenCV", "times scikit-image"]
    print_table("HOG, microseconds an image, one thread", columns, rows)


def compare_threads(sets: list[tuple[str, np.ndarray, int]], repeats: int) -> None:
    """Time one thread beside two, of HOG and of filling new arrays of the features' size.

    The operating system clears each page of new memory when it is first written to: how fast two
    threads get such pages is a part of HOG's time that is not HOG's.
    """
    rows = []
    for name, images, cell in sets:
        images = np.concatenate([images] * 8)
        candidates = {f"{n}": transform(images, cell, n_jobs=n) for n in (1, 2)}
        shape = candidates["1"]().shape
        candidates |= {f"fill {n}": partial(fill, shape, n) for n in (1, 2)}
        ms = {name: 1e3 * s for name, s in interleaved(candidates, repeats).items()}
        rows.append([name, len(images), ms["1"], ms["2"], ms["1"] / ms["2"]])
        rows[-1] += [ms["fill 1"], ms["fill 2"]]
    columns = ["float32 images", "n", "n_jobs=1 ms", "n_jobs=2 ms", "ratio"]
    columns += ["new array filled, ms", "by two threads, ms"]
    print_table("HOG with two threads", columns, rows)


def fill(shape: tuple[int, int], n_threads: int) -> None:
    """Write a number everywhere into a new array."""
    features = np.empty(shape, np.float32)
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda part: part.fill(1), np.array_split(features, n_threads)))


def print_memory() -> None:
    """Trace what a transform allocates beyond its result."""
    rows = []
    for n_images in (1000, 4000, 16000):
        images = np.random.default_rng(0).integers(0, 256, (n_images, 64, 64), dtype=np.uint8)
        extractor = HOGExtractor(chunk_mib=16).fit(images[:1])
        tracemalloc.start()
        size = extractor.transform(images).nbytes
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        rows.append([n_images, images.nbytes / 2**20, (peak - size) / 2**20])
    columns = ["uint8 images 64x64", "MiB of X", "peak MiB beyond the result"]
    print_table("HOG, memory with chunk_mib=16", columns, rows)


def print_first_call() -> None:
    """Start fresh processes: one with an empty cache of compiled code, one that finds it filled."""
    with tempfile.TemporaryDirectory() as cache:
        rows = [[state, first_call(cache)] for state in ("empty", "filled")]
    print_table("HOG, first call in a fresh process", ["cache", "extra seconds"], rows)


def first_call(cache: str) -> float:
    """Return the seconds by which the first call is slower than the second."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", FIRST_CALL]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def transform(images: np.ndarray, cell: int, **parameters):
    """Return a call of skcnn on the whole batch."""
    extractor = HOGExtractor(ORIENTATIONS, (cell, cell), BLOCK, **parameters).fit(images[:1])
    return lambda: extractor.transform(images)


def opencv(images: np.ndarray, cell: int):
    """Return a loop of OpenCV over the images, converted to the uint8 that it takes before."""
    images = np.ascontiguousarray((images * 255).round().astype(np.uint8))
    size = images.shape[2], images.shape[1]
    block = cell * BLOCK[1], cell * BLOCK[0]
    descriptor = cv2.HOGDescriptor(size, block, (cell, cell), (cell, cell), ORIENTATIONS)
    return lambda: [descriptor.compute(image) for image in images]


def scikit_image(images: np.ndarray, cell: int):
    """Return a loop of scikit-image over the images."""
    parameters = {
        "orientations": ORIENTATIONS,
        "pixels_per_cell": (cell, cell),
        "cells_per_block": BLOCK,
        "channel_axis": -1 if images.ndim == 4 else None,
    }
    return lambda: [hog(image, **parameters) for image in images]
