"""What hand-crafted features and an SVM reach on MNIST, Fashion-MNIST and CIFAR-10.

    pip install "skcnn[benchmark]"
    python benchmarks/accuracy_features.py --data FOLDER

The standard splits into training and test images. Parameters are chosen on training images alone:
each candidate learns from a part of them and is scored on another. The best one then learns from
all of them, and the test images are looked at once. FOLDER holds `mnist.npz` (X_train, y_train,
X_test, y_test), Fashion-MNIST's four IDX files (`train-images-idx3-ubyte.gz` and so on; Debian's
package dataset-fashion-mnist has them in /usr/share/datasets/fashion-mnist, see --fashion) and
CIFAR-10 as image files in class folders, `cifar10/train/<class>/` and `cifar10/test/<class>/`. Only
what the chosen recipes need has to be there.
"""

import argparse
import gzip
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import ParameterGrid, train_test_split
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC, LinearSVC

from skcnn import FisherVectorEncoder, HOGExtractor, SIFTExtractor, load_image_folder

# Training images that candidates learn from, and that they are scored on.
N_LEARN, N_SCORE = 10_000, 10_000


VOTES = {"signed_gradient": True, "interpolate": True}


@dataclass
class Recipe:
    """A pipeline, what is to be chosen of it, and what it is to reach."""

    data: str
    pipeline: Pipeline
    candidates: dict[str, list] = field(default_factory=dict)
    target: float = 0.0


def hog_svm() -> Pipeline:
    """HOG of two cell sizes, signed and interpolated, and an SVM with an RBF kernel.

    Roots of histograms, as Hellinger's kernel takes them; principal components for speed.
    """
    hogs = [("fine", HOGExtractor(9, (4, 4), (4, 4), **VOTES)), ("coarse", "drop")]
    return Pipeline(
        [
            ("hog", FeatureUnion(hogs)),
            ("root", FunctionTransformer(np.sqrt)),
            ("pca", PCA(300, svd_solver="covariance_eigh")),
            ("svm", SVC(C=10, cache_size=2000)),
        ]
    )


def sift_fisher_svm(n_modes: int) -> Pipeline:
    """Dense SIFT, Fisher vectors and a linear SVM.

    The descriptors are computed where they are read: those of MNIST alone take 2.5 GB.
    """
    return Pipeline(
        [
            ("sift", SIFTExtractor(step=2, bin_size=4, magnification=None, lazy=True)),
            ("fisher", FisherVectorEncoder(n_modes, random_state=0)),
            ("svm", LinearSVC(C=1.0, dual=True, tol=1e-2, random_state=0)),
        ]
    )


HOGS = {"hog__coarse": ["drop", HOGExtractor(9, (7, 7), (4, 4), **VOTES)]}
BINS = {"sift__bin_size": [4, (2, 4)]}
RECIPES = {
    "mnist-hog": Recipe("mnist", hog_svm(), HOGS, 0.9936),
    "fashion-hog": Recipe("fashion", hog_svm(), HOGS, 0.926),
    "mnist-sift": Recipe("mnist", sift_fisher_svm(32), BINS, 0.99),
    "fashion-sift": Recipe("fashion", sift_fisher_svm(32), BINS, 0.91),
    "cifar-sift": Recipe("cifar10", sift_fisher_svm(64), {"sift__bin_size": [3, (2, 3, 4)]}, 0.65),
}


def read_mnist(folder: Path) -> tuple[np.ndarray, ...]:
    """Return the images and labels of training and test."""
    with np.load(folder / "mnist.npz") as archive:
        return tuple(archive[name] for name in ("X_train", "y_train", "X_test", "y_test"))


def read_fashion(folder: Path) -> tuple[np.ndarray, ...]:
    """Return the images and labels of training and test."""
    arrays = []
    for part in ("train", "t10k"):
        images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
        arrays.append(np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28))
        arrays.append(np.frombuffer(labels, np.uint8, offset=8))
    return tuple(arrays)


def read_cifar(folder: Path) -> tuple[np.ndarray, ...]:
    """Return the images and labels of training and test."""
    arrays = []
    for part in ("train", "test"):
        folder_of_part = load_image_folder(folder / "cifar10" / part, verify=False)
        arrays += [np.asarray(folder_of_part.images), folder_of_part.target]
    return tuple(arrays)


def choose(recipe: Recipe, X: np.ndarray, y: np.ndarray) -> dict:
    """Return the parameters that score best on training images held back."""
    candidates = list(ParameterGrid(recipe.candidates))
    if len(candidates) == 1:
        return candidates[0]
    X_learn, X_score, y_learn, y_score = train_test_split(
        X, y, train_size=N_LEARN, test_size=N_SCORE, random_state=0, stratify=y
    )
    scores = []
    for parameters in candidates:
        pipeline = clone(recipe.pipeline).set_params(**parameters).fit(X_learn, y_learn)
        scores.append(pipeline.score(X_score, y_score))
        print(f"    {scores[-1]:.4f}  {parameters}", flush=True)
    return candidates[int(np.argmax(scores))]


def run(name: str, data: tuple[np.ndarray, ...]) -> list[object]:
    """Choose, learn and test one recipe; return its row of the table."""
    recipe, (X, y, X_test, y_test) = RECIPES[name], data
    print(f"{name}: {len(X)} training and {len(X_test)} test images", flush=True)
    parameters = choose(recipe, X, y)
    start = time.perf_counter()
    pipeline = clone(recipe.pipeline).set_params(**parameters).fit(X, y)
    fitted = time.perf_counter()
    accuracy = pipeline.score(X_test, y_test)
    predict_time = (time.perf_counter() - fitted) / len(X_test)
    print(f"    test {accuracy:.4f}, fit {fitted - start:.0f} s", flush=True)
    chosen = ", ".join(f"{key}={value}" for key, value in parameters.items())
    chosen = " ".join(chosen.split())  # an estimator is printed on several lines
    return [
        name,
        chosen,
        f"{100 * accuracy:.2f} %",
        f"{100 * recipe.target:.2f} %",
        f"{fitted - start:.0f} s",
        f"{1000 * predict_time:.2f} ms",
    ]


def main() -> None:
    """Print the table of the chosen recipes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data")
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST's IDX files")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    arguments = parser.parse_args()
    from _timing import print_machine, print_table, threads

    read = {
        "mnist": lambda: read_mnist(arguments.data),
        "fashion": lambda: read_fashion(arguments.fashion or arguments.data),
        "cifar10": lambda: read_cifar(arguments.data),
    }
    n_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    print_machine(n_threads)
    with threads(n_threads):
        rows = [run(name, read[RECIPES[name].data]()) for name in arguments.only]
    print_table(
        "Test accuracy",
        ["recipe", "chosen", "accuracy", "to reach", "fit", "predict an image"],
        rows,
    )


if __name__ == "__main__":
    main()
