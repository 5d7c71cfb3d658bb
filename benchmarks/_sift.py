"""SIFT descriptors: speed and agreement beside OpenCV and kornia, compilation, threads."""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from _images import PHOTOS, crops, mnist_images, photos
from _timing import interleaved, print_table
from kornia.feature import DenseSIFTDescriptor

from skcnn import SIFTExtractor

STEP, BIN_SIZE = 4, 4
# OpenCV's bins are 1.5 times as wide as a keypoint's size, and what it describes in its first
# octave is blurred to 1.6 pixels.
KEYPOINT_SIZE = BIN_SIZE / 1.5
OPENCV_BLUR = 1.6
# Run in a fresh process: how long the first call takes with nothing compiled yet, and the second.
FIRST_CALLS = """
import time, numpy as np
from skcnn import SIFTExtractor
images = np.random.default_rng(0).random((2, 28, 28), dtype=np.float32)
for _ in range(2):
    start = time.perf_counter()
    SIFTExtractor().fit(images).transform(images)
    print(time.perf_counter() - start)
"""


def run(data_folder: Path, repeats: int) -> None:
    """Print the tables."""
    sets = image_sets(data_folder)
    compare_with_peers(sets, repeats)
    compare_threads(sets, repeats)
    print_agreement()
    print_first_call()


def image_sets(data_folder: Path) -> list[tuple[str, np.ndarray]]:
    """Return names and batches of float32 images."""
    return [
        ("MNIST 28x28", mnist_images(data_folder, 1000)),
        ("crops 64x64", crops(1000, 64, 64)),
        ("crops 128x128", crops(1000, 128, 128)),
        ("crops 256x256", crops(100, 256, 256)),
    ]


def compare_with_peers(sets: list[tuple[str, np.ndarray]], repeats: int) -> None:
    rows = []
    for name, images in sets:
        extractor = SIFTExtractor(step=STEP, bin_size=BIN_SIZE).fit(images)
        seconds = interleaved(
            {
                "skcnn": skcnn(extractor, images),
                "OpenCV": opencv(images, extractor.positions_),
                "kornia": kornia(images),
            },
            repeats,
        )
        ours = seconds.pop("skcnn")
        ratios = [theirs / ours for theirs in seconds.values()]
        each = 1e6 * ours / len(images)
        rows.append([f"{name} ({len(images)})", len(extractor.positions_), each, *ratios])
    columns = ["images", "descriptors", "skcnn, us an image", "OpenCV / skcnn", "kornia / skcnn"]
    print_table(f"Dense SIFT, step {STEP}, bins of {BIN_SIZE} pixels, one thread", columns, rows)


def compare_threads(sets: list[tuple[str, np.ndarray]], repeats: int) -> None:
    rows = []
    for name, images in sets:
        extractors = {
            str(n_jobs): SIFTExtractor(step=STEP, bin_size=BIN_SIZE, n_jobs=n_jobs).fit(images)
            for n_jobs in (1, 2)
        }
        # Whole batches: joblib takes some 10 ms a call to start and end its threads.
        seconds = interleaved(
            {name: partial(one.transform, images) for name, one in extractors.items()}, repeats
        )
        rows.append([name, seconds["1"] / seconds["2"]])
    print_table("Dense SIFT, two threads against one", ["images", "times as fast"], rows)


# All three drop the descriptors of a piece before they describe the next, so that the memory is
# used again: how long the system takes to hand out fresh memory depends on what ran before.


def skcnn(extractor: SIFTExtractor, images: np.ndarray):
    """Return a function that describes the images in pieces of about 16 MiB of descriptors."""
    bytes_per_image = 512 * len(extractor.positions_)
    pieces = np.array_split(images, len(images) * bytes_per_image // 2**24 + 1)

    def describe():
        for piece in pieces:
            extractor.transform(piece)

    return describe


def opencv(images: np.ndarray, positions: np.ndarray):
    """Return a function that describes the images at the positions, as OpenCV has it."""
    as_bytes = [np.round(255 * image).astype(np.uint8) for image in images]
    keypoints = [cv2.KeyPoint(x, y, KEYPOINT_SIZE, 0) for y, x in positions.tolist()]
    sift = cv2.SIFT_create()

    def describe():
        for image in as_bytes:
            _, descriptors = sift.compute(image, keypoints)
        return descriptors

    return describe


def kornia(images: np.ndarray):
    """Return a function that describes the images at the same positions, as kornia has it."""
    model = DenseSIFTDescriptor(
        spatial_bin_size=BIN_SIZE, stride=STEP, padding=0, rootsift=False
    ).to(torch.from_numpy(images).dtype)
    # The size of batch at which it is fastest, for its maps of 8 and 128 values stay in the cache.
    size = max(1, 2**16 // images[0].size)
    batches = torch.from_numpy(images)[:, None].split(size)

    def describe():
        with torch.inference_mode():
            for batch in batches:
                descriptors = model(batch)
        return descriptors

    return describe


def print_agreement() -> None:
    rows = []
    for name, image in zip(PHOTOS, photos(512), strict=True):
        # OpenCV rounds positions to whole pixels, where a grid on an odd side lies anyway.
        rows.append([name, opencv_cosine(image[:511, :511]), kornia_difference(image)])
    cosines, differences = np.array([row[1:] for row in rows]).T
    rows.append(["all", cosines.mean(), differences.max()])
    columns = ["photograph", "OpenCV: mean cosine", "kornia: largest difference"]
    print_table("Agreement at the same positions and scale (kornia: flat window)", columns, rows)


def opencv_cosine(image: np.ndarray) -> float:
    """Return the mean cosine similarity of our descriptors and OpenCV's."""
    extractor = SIFTExtractor(step=STEP, bin_size=BIN_SIZE, magnification=BIN_SIZE / OPENCV_BLUR)
    ours = extractor.fit_transform(image[np.newaxis]).reshape(-1, 16, 8)
    theirs = opencv(image[np.newaxis], extractor.positions_)().reshape(-1, 16, 8)
    # Their orientations go from right to up, ours from down to right.
    theirs = np.roll(theirs, 2, axis=-1)
    products = (ours * theirs).sum(axis=(1, 2))
    norms = np.linalg.norm(ours, axis=(1, 2)) * np.linalg.norm(theirs, axis=(1, 2))
    return float((products[norms > 0] / norms[norms > 0]).mean())


def kornia_difference(image: np.ndarray) -> float:
    """Return the largest difference of our descriptors and kornia's in float64.

    kornia adds 1e-10 to squared gradients, which matters little for images of large values.
    """
    batch = image[np.newaxis].astype(np.float64)
    extractor = SIFTExtractor(step=STEP, bin_size=BIN_SIZE, window="flat", magnification=None)
    ours = extractor.fit_transform(batch)[0]
    theirs = kornia(1e6 * batch)()[0].permute(1, 2, 0).numpy()
    # Orientation, row and column of the bin; from right to down, where ours go from down to right.
    theirs = theirs.reshape(*theirs.shape[:2], 8, 16)[:, :, (2 - np.arange(8)) % 8]
    return float(np.abs(ours - theirs.swapaxes(2, 3).reshape(ours.shape)).max())


def print_first_call() -> None:
    with tempfile.TemporaryDirectory() as cache:
        cold = first_calls(cache)
        warm = first_calls(cache)
    columns = ["first call", "second call", "first call of the next process"]
    print_table("Seconds of a call in a fresh process", columns, [[*cold, warm[0]]])


def first_calls(cache: str) -> list[float]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", FIRST_CALLS]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [float(line) for line in result.stdout.split()]
