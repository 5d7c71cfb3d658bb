"""Encoders of descriptor sets: speed beside scikit-image and scikit-learn, compilation."""

import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from _images import crops, mnist_images, photos
from _timing import interleaved, print_table
from skimage.feature import fisher_vector
from sklearn.cluster import MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from skcnn import BagOfVisualWords, FisherVectorEncoder, SIFTExtractor, VLADEncoder

# Enough to learn from for a comparison of speed.
LEARNING = {"max_descriptors": 20_000, "random_state": 0}
# Run in a fresh process: how long the first calls take with nothing compiled yet, and the second.
FIRST_CALLS = """
import time, numpy as np
from skcnn import BagOfVisualWords, FisherVectorEncoder, VLADEncoder
X = np.random.default_rng(0).random((20, 50, 32), dtype=np.float32)
encoders = [
    encoder(4, random_state=0).fit(X)
    for encoder in (BagOfVisualWords, VLADEncoder, FisherVectorEncoder)
]
for _ in range(2):
    start = time.perf_counter()
    for encoder in encoders:
        encoder.transform(X)
    print(time.perf_counter() - start)
"""


def run(data_folder: Path, repeats: int) -> None:
    """Print the tables."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    sets = descriptor_sets(data_folder)
    compare_fisher_vectors(sets, repeats)
    compare_words(sets, repeats)
    print_other_costs(sets, repeats)
    print_first_calls()


def descriptor_sets(data_folder: Path) -> list[tuple[str, np.ndarray]]:
    """Return names and float32 SIFT descriptors, (n, k, 128), of real images."""
    return [
        (name, SIFTExtractor(step=step).fit_transform(images).reshape(len(images), -1, 128))
        for name, images, step in [
            ("MNIST 28x28", mnist_images(data_folder, 1000), 4),
            ("crops 64x64", crops(300, 64, 64), 4),
            ("crops 128x128", crops(100, 128, 128), 4),
            ("photos 512x512", np.stack(photos(512)), 8),
        ]
    ]


def compare_fisher_vectors(sets: list[tuple[str, np.ndarray]], repeats: int) -> None:
    rows = []
    for name, X in sets:
        for n_modes in (16, 64):
            encoder = FisherVectorEncoder(n_modes, **LEARNING).fit(X)
            seconds = interleaved(
                {
                    "skcnn": partial(encoder.transform, X),
                    "float32": partial(scikit_image, encoder, X),
                    "float64": partial(scikit_image, encoder, X.astype(np.float64)),
                    "products": partial(products, encoder, X),
                },
                repeats,
            )
            ours, least = seconds.pop("skcnn"), seconds.pop("products")
            ratios = [theirs / ours for theirs in seconds.values()]
            ratios.append(seconds["float32"] / least)
            rows.append([f"{name} ({len(X)})", X.shape[1], n_modes, 1e6 * ours / len(X), *ratios])
    columns = ["images", "descriptors", "modes", "skcnn, us an image"]
    columns += [f"scikit-image / skcnn, {dtype} descriptors" for dtype in ("float32", "float64")]
    columns.append("scikit-image / the matrix products alone, float32")
    title = "Improved Fisher vectors of float32 SIFT, PCA to 64 values included, one thread"
    print_table(title, columns, rows)


def scikit_image(encoder: FisherVectorEncoder, X: np.ndarray) -> list[np.ndarray]:
    """Return scikit-image's vectors, by the mixture and the PCA of an encoder in X's type."""
    mixture = GaussianMixture(len(encoder.weights_), covariance_type="diag")
    mixture.weights_ = encoder.weights_.astype(X.dtype)
    mixture.means_ = encoder.means_.astype(X.dtype)
    mixture.covariances_ = encoder.covariances_.astype(X.dtype)
    mixture.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances_)
    mean = encoder.pca_mean_.astype(X.dtype)
    components = encoder.pca_components_.T.astype(X.dtype)
    return [fisher_vector((one - mean) @ components, mixture, improved=True) for one in X]


def products(encoder: FisherVectorEncoder, X: np.ndarray) -> None:
    """Multiply by the matrices of projection and densities, block by block, and do nothing else."""
    descriptors = X.reshape(-1, X.shape[-1])
    components = np.ascontiguousarray(encoder.pca_components_.T, X.dtype)
    n_values = 2 * components.shape[1]  # of a density: those of a descriptor, and their squares
    factors = np.ones((n_values, len(encoder.weights_)), X.dtype)
    points = np.ones((512, n_values), X.dtype)
    for start in range(0, len(descriptors), len(points)):
        projected = descriptors[start : start + len(points)] @ components
        points[: len(projected)] @ factors


def compare_words(sets: list[tuple[str, np.ndarray]], repeats: int) -> None:
    rows = []
    for name, X in sets:
        flat = X.reshape(-1, X.shape[-1])
        for n_words in (200, 1000):
            encoder = BagOfVisualWords(n_words, **LEARNING).fit(X)
            k_means = MiniBatchKMeans(n_words, max_iter=1, random_state=0).fit(flat[: 2 * n_words])
            k_means.cluster_centers_ = encoder.vocabulary_.astype(np.float32)
            seconds = interleaved(
                {
                    "skcnn": partial(encoder.assign, flat),
                    "histograms": partial(encoder.transform, X),
                    "scikit-learn": partial(k_means.predict, flat),
                },
                repeats,
            )
            same = np.mean(encoder.assign(flat) == k_means.predict(flat))
            theirs, ours = seconds["scikit-learn"], seconds["skcnn"]
            each = 1e9 * ours / len(flat)
            ratios = [theirs / ours, theirs / seconds["histograms"]]
            rows.append([f"{name} ({len(X)})", n_words, each, *ratios, 100 * same])
    columns = ["images", "words", "assign, ns a descriptor", "MiniBatchKMeans.predict / assign"]
    columns += ["MiniBatchKMeans.predict / transform", "same words, %"]
    print_table("Visual words of float32 SIFT, one thread", columns, rows)


def print_other_costs(sets: list[tuple[str, np.ndarray]], repeats: int) -> None:
    _, X = sets[2]
    side = int(np.sqrt(X.shape[1]))
    X = X.reshape(len(X), side, side, -1)
    rows = []
    for encoder in (
        BagOfVisualWords(1000, random_state=0),
        VLADEncoder(64, random_state=0),
        FisherVectorEncoder(64, random_state=0),
    ):
        start = time.perf_counter()
        encoder.fit(X)
        seconds = time.perf_counter() - start
        pyramid = type(encoder)(
            **{**encoder.get_params(), "spatial_pyramid": (1, 2, 4), **LEARNING}
        )
        medians = interleaved(
            {
                "flat": partial(encoder.transform, X),
                "pyramid": partial(pyramid.fit(X).transform, X),
            },
            repeats,
        )
        each = [1e6 * median / len(X) for median in medians.values()]
        rows.append([type(encoder).__name__, seconds, *each])
    title = "Learning from 100 000 descriptors, and encoding 128x128 images, one thread"
    print_table(title, ["encoder", "fit, s", "us an image", "with pyramid (1, 2, 4)"], rows)


def print_first_calls() -> None:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-c", FIRST_CALLS]
        lines = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
    rows = [[f"{float(line):.3f}" for line in lines]]
    print_table("Compilation of all encoders", ["first calls, s", "next calls, s"], rows)
