"""The pipelines to begin with: from raw pixels to pre-trained networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from skcnn.features import (
    BagOfVisualWords,
    FisherVectorEncoder,
    FourierExtractor,
    HOGExtractor,
    PixelExtractor,
    SIFTExtractor,
    TemplateMatcher,
)

PRETRAINED = "pretrained + logistic regression"


def default_pipelines(
    *,
    quick: bool = False,
    cv: Any = 2,
    random_state: int | None = None,
    backbone: str = "resnet50",
    weights: str | os.PathLike | None = "cached",
) -> dict[str, Any]:
    """Pipelines that show what each step from filters to end-to-end networks buys.

    Raw pixels with a linear and a kernel classifier, template matching, Fourier features,
    histograms of oriented gradients with a linear and a kernel classifier, dense SIFT descriptors
    as visual words and as Fisher vectors, a multi-layer perceptron, and two convolutional networks:
    the one of introductory lectures (two layers of 25 and 50 filters, a hidden layer of 100 units)
    and a modern variant with batch normalisation and dropout. At last a linear classifier on
    features of a pre-trained network, if its weights are on this machine. Each is tuned by a small
    `GridSearchCV`. All take images of any size, grey or colour, as arrays or as `ImageFiles`.

    Parameters
    ----------
    quick : bool, default=False
        Leave out the searches, and train the networks for fewer epochs: a first look that is
        several times faster.

    cv : int or splitter, default=2
        Folds of the searches. Two tell candidates apart that differ as much as these, at the least
        cost; every further fold adds one more training of every candidate.

    random_state : int or None, default=None
        Seed of the networks, of the linear SVMs, of the templates and of the vocabularies.

    backbone : str, default="resnet50"
        The pre-trained network, as :class:`~skcnn.PretrainedExtractor` names it.

    weights : "cached", path or None, default="cached"
        Its weights. "cached" stands for the published ones if the cache of the Hugging Face hub
        holds them already, and timm is installed; otherwise there is no pre-trained network among
        the pipelines. Nothing is downloaded. A path names a file of weights; None leaves the
        network out.

    Returns
    -------
    pipelines : dict of str to estimator
        Unfitted, for `compare_pipelines`. Change it like any dict.

    Raises
    ------
    ImportError
        If a file of weights is given, but timm is not installed.

    FileNotFoundError
        If that file does not exist.

    ValueError
        If timm knows no such network, or the file's name is that of no file of weights.

    References
    ----------
    .. [1] N. Dalal and B. Triggs, "Histograms of oriented gradients for human detection", CVPR
       2005. https://doi.org/10.1109/CVPR.2005.177

    .. [2] S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by
       reducing internal covariate shift", ICML 2015. https://arxiv.org/abs/1502.03167

    .. [3] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
       overfitting", Journal of Machine Learning Research 15, 1929-1958, 2014.

    .. [4] F. Perronnin, J. Sánchez and T. Mensink, "Improving the Fisher kernel for large-scale
       image classification", ECCV 2010. https://doi.org/10.1007/978-3-642-15561-1_11

    Examples
    --------
    >>> from skcnn import default_pipelines
    >>> for name in default_pipelines(weights=None):
    ...     print(name)
    pixels + logistic regression
    pixels + RBF SVM
    template matching
    Fourier + RBF SVM
    HOG + linear SVM
    HOG + RBF SVM
    SIFT words + linear SVM
    SIFT Fisher + linear SVM
    MLP
    CNN
    CNN + batch norm + dropout
    """
    candidates = {**_pixel_pipelines(random_state), **_hog_pipelines(random_state)}
    candidates |= _sift_pipelines(random_state) | _networks(quick, random_state)
    if quick:
        pipelines = {name: estimator for name, (estimator, _) in candidates.items()}
    else:
        pipelines = {n: _tuned(estimator, grid, cv) for n, (estimator, grid) in candidates.items()}
    return pipelines | _pretrained(backbone, weights, None if quick else cv)


Candidate = tuple[Any, Mapping[str, list]]


def _pixel_pipelines(random_state: int | None) -> dict[str, Candidate]:
    logistic = Pipeline(
        [
            ("pixels", PixelExtractor()),
            ("scale", StandardScaler()),
            # Looser than scikit-learn's default: far below what a fold can tell, in half the time.
            ("logistic", LogisticRegression(C=0.1, tol=1e-3, max_iter=200)),
        ]
    )
    svm = Pipeline([("pixels", PixelExtractor()), ("svm", SVC(C=10))])
    return {
        "pixels + logistic regression": (logistic, {"logistic__C": [0.001, 0.01, 0.1, 1.0]}),
        "pixels + RBF SVM": (svm, {"svm__C": [1.0, 10.0]}),
        "template matching": (
            TemplateMatcher(random_state=random_state),
            {"n_templates": [1, 3, 10]},
        ),
        "Fourier + RBF SVM": (
            Pipeline([("fourier", FourierExtractor()), ("svm", SVC(C=10))]),
            {"fourier__layout": ["block", "polar"]},
        ),
    }


def _linear_svm(random_state: int | None, C: float) -> LinearSVC:
    # The dual solver takes seconds where the primal one takes minutes on thousands of features.
    return LinearSVC(C=C, dual=True, tol=1e-2, random_state=random_state)


def _hog_pipelines(random_state: int | None) -> dict[str, Candidate]:
    # Signed and interpolated votes lower the error of both by a fifth or more.
    hog = HOGExtractor(signed_gradient=True, interpolate=True)
    # How far contrast is evened out matters more to the kernel SVM than its C does.
    blocks: list = [(2, 2), (4, 4)]
    return {
        "HOG + linear SVM": (
            Pipeline([("hog", hog), ("svm", _linear_svm(random_state, C=0.1))]),
            {"svm__C": [0.1, 1.0]},
        ),
        "HOG + RBF SVM": (
            Pipeline([("hog", hog), ("svm", SVC(C=10))]),
            {"hog__cells_per_block": blocks},
        ),
    }


def _sift_pipelines(random_state: int | None) -> dict[str, Candidate]:
    # Small images have no detail to lose, so they are not smoothed. The descriptors, many times as
    # large as the images, are computed where an encoder reads them.
    sift = SIFTExtractor(magnification=None, lazy=True)
    learning: dict[str, Any] = {"max_descriptors": 20_000, "random_state": random_state}
    words = BagOfVisualWords(200, spatial_pyramid=(1, 2), **learning)
    fisher = FisherVectorEncoder(16, **learning)
    return {
        f"SIFT {name} + linear SVM": (
            Pipeline(
                [("sift", sift), (name.lower(), encoder), ("svm", _linear_svm(random_state, 1.0))]
            ),
            {"svm__C": [0.1, 1.0]},
        )
        for name, encoder in [("words", words), ("Fisher", fisher)]
    }


def _networks(quick: bool, random_state: int | None) -> dict[str, Candidate]:
    from skcnn.neural import CNNClassifier, MLPClassifier  # imports torch

    training: dict[str, Any] = {"max_iter": 8 if quick else 15, "random_state": random_state}
    lecture = CNNClassifier(
        conv_channels=(25, 50),
        padding="valid",
        batch_norm=False,
        dropout=0.0,
        ema_decay=None,
        hidden_layer_sizes=(100,),
        **training,
    )
    modern = CNNClassifier(
        conv_channels=(32, 64),
        padding="same",
        batch_norm=True,
        dropout=0.5,
        hidden_layer_sizes=(128,),
        **training,
    )
    rates: dict[str, list] = {"learning_rate_init": [0.001, 0.003]}
    return {
        "MLP": (
            # Its epochs cost little, and hold few steps where there are few images.
            MLPClassifier((256,), max_iter=30 if quick else 60, random_state=random_state),
            {"learning_rate_init": [0.001, 0.003]},
        ),
        "CNN": (lecture, rates),
        "CNN + batch norm + dropout": (modern, rates),
    }


def _pretrained(backbone: str, weights: str | os.PathLike | None, cv: Any) -> dict[str, Pipeline]:
    if weights is None:
        return {}
    from skcnn.pretrained import PretrainedExtractor  # imports torch
    from skcnn.pretrained._availability import ensure_usable, is_cached

    if weights == "cached":
        if not is_cached(backbone):
            return {}
        weights = "default"
    else:
        ensure_usable(backbone, weights)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    if cv is not None:
        # Searched behind the features, which no candidate changes and which cost the most.
        logistic = _tuned(logistic, {"logisticregression__C": [0.0001, 0.001, 0.01, 0.1]}, cv)
    features = PretrainedExtractor(backbone, weights=weights)
    return {PRETRAINED: Pipeline([("features", features), ("logistic", logistic)])}


def _tuned(estimator: Any, grid: Mapping[str, list], cv: Any) -> Any:
    return GridSearchCV(estimator, dict(grid), cv=cv, error_score="raise")
