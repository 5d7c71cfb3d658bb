"""What `compare_pipelines` asks of its input, said before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    check_cv,
)
from sklearn.pipeline import Pipeline
from sklearn.utils.multiclass import type_of_target

Split = tuple[np.ndarray, np.ndarray]


def check_pipelines(pipelines: Any) -> dict[str, Any]:
    """Return the pipelines as a dict of name to estimator, or say what is wrong with them."""
    if not isinstance(pipelines, Mapping):
        raise TypeError(
            "pipelines must map names to estimators, for example "
            f"{{'SVM': SVC()}}, got {type(pipelines).__name__}."
        )
    if not pipelines:
        raise ValueError("pipelines is empty: give at least one named estimator.")
    for name, estimator in pipelines.items():
        _check_pipeline(name, estimator)
    return dict(pipelines)


def _check_pipeline(name: Any, estimator: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"The names in pipelines must be str, got {name!r}.")
    if not name.strip():
        raise ValueError("The names in pipelines must not be blank.")
    if isinstance(estimator, type):
        raise TypeError(
            f"pipelines[{name!r}] is the class {estimator.__name__}; "
            f"pass an instance, {estimator.__name__}()."
        )
    missing = [method for method in ("fit", "predict") if not _has_method(estimator, method)]
    if missing:
        raise TypeError(
            f"pipelines[{name!r}] must be a classifier with fit and predict, got "
            f"{type(estimator).__name__} without {' and '.join(missing)}."
        )


def _has_method(estimator: Any, method: str) -> bool:
    # A search or a pipeline has predict only if what it wraps has: hasattr asks exactly that.
    return callable(getattr(estimator, method, None))


def check_images_and_labels(X: Any, y: Any) -> np.ndarray:
    """Return the labels as an array that fits the images; the images are only counted."""
    if not hasattr(X, "__len__") or not hasattr(X, "__getitem__"):
        raise TypeError(
            "X must hold images that can be counted and indexed (an array, a list of files, "
            f"ImageFiles, ...), got {type(X).__name__}."
        )
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"y must hold one label per image in one dimension, got shape {y.shape}.")
    if len(X) != len(y):
        raise ValueError(f"X holds {len(X)} images, y holds {len(y)} labels: they must match.")
    if len(y) == 0:
        raise ValueError("X holds no images.")
    kind = type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass"):
        raise ValueError(f"y must hold class labels, got a {kind} target of dtype {y.dtype}.")
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class only, {str(classes[0])!r}: there is nothing to tell apart."
        )
    return y


def check_scoring(scoring: Any) -> None:
    """Say what is wrong with a metric."""
    if callable(scoring):
        return
    if not isinstance(scoring, str):
        raise TypeError(
            "scoring must be the name of one metric or a callable scorer(estimator, X, y), "
            f"got {scoring!r}."
        )
    names = get_scorer_names()
    if scoring not in names:
        close = get_close_matches(scoring, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "see sklearn.metrics.get_scorer_names()."
        raise ValueError(f"scoring={scoring!r} is not a metric that scikit-learn knows: {hint}")


def check_n_jobs(n_jobs: Any) -> None:
    """Say what is wrong with a number of jobs."""
    if n_jobs is not None and (not isinstance(n_jobs, Integral) or n_jobs == 0):
        raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}.")


def make_splits(cv: Any, X: Any, y: np.ndarray) -> list[Split]:
    """Draw the folds once, so that every pipeline sees the same ones."""
    if isinstance(cv, Integral):
        _check_fold_count(cv, y)
    splitter = check_cv(cv, y, classifier=True)
    if isinstance(splitter, StratifiedKFold):
        _check_fold_count(splitter.n_splits, y)
    splits = [(_indices(train), _indices(test)) for train, test in splitter.split(X, y)]
    if not splits:
        raise ValueError(f"cv={cv!r} gives no folds.")
    for fold, split in enumerate(splits):
        _check_split(fold, split, y)
    return splits


def _check_fold_count(n_folds: Any, y: np.ndarray) -> None:
    if isinstance(n_folds, bool) or n_folds < 2:
        raise ValueError(f"cv must be at least 2 folds, got {n_folds!r}.")
    classes, counts = np.unique(y, return_counts=True)
    smallest = counts.argmin()
    if counts[smallest] < n_folds:
        raise ValueError(
            f"cv={n_folds} needs at least {n_folds} images in every class, but class "
            f"{str(classes[smallest])!r} has {counts[smallest]}: lower cv or add images."
        )


def check_searches(estimators: Mapping[str, Any], splits: list[Split], y: np.ndarray) -> None:
    """Say which searches would find too few images in each class to fold them again."""
    counts = [np.unique_counts(y[train]).counts.max() for train, _ in splits]
    fewest = int(np.argmin(counts))
    for name, estimator in estimators.items():
        n_folds = _n_search_folds(estimator)
        if n_folds > counts[fewest]:
            raise ValueError(
                f"pipelines[{name!r}] searches with {n_folds} folds of the training images, but in "
                f"fold {fewest} of cv no class has more than {counts[fewest]} of them: give more "
                "images, or a pipeline without a search."
            )


def _n_search_folds(estimator: Any) -> int:
    """Return into how many stratified folds a search, alone or at the end of a pipeline, divides.

    0 of whatever else: it may see other labels or images, and what is wrong with it says itself.
    """
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, GridSearchCV | RandomizedSearchCV) or not is_classifier(last.estimator):
        return 0
    n_folds = 5 if last.cv is None else getattr(last.cv, "n_splits", last.cv)
    stratified = last.cv is None or isinstance(last.cv, Integral | StratifiedKFold)
    return int(n_folds) if stratified else 0


def _indices(part: Any) -> np.ndarray:
    part = np.asarray(part)
    return np.flatnonzero(part) if part.dtype == bool else part


def _check_split(fold: int, split: Split, y: np.ndarray) -> None:
    train, test = split
    if len(train) == 0 or len(test) == 0:
        raise ValueError(
            f"Fold {fold} of cv has {len(train)} training and {len(test)} test images: "
            "both are needed."
        )
    if train.dtype.kind not in "iu" or test.dtype.kind not in "iu":
        raise ValueError(
            f"Fold {fold} of cv must hold integer indices or masks, got {train.dtype} and "
            f"{test.dtype}."
        )
    if min(train.min(), test.min()) < 0 or max(train.max(), test.max()) >= len(y):
        raise ValueError(f"Fold {fold} of cv names images beyond the {len(y)} of X.")
    n_shared = len(np.intersect1d(train, test))
    if n_shared:
        raise ValueError(
            f"Fold {fold} of cv has {n_shared} images in training and in test: a score on them "
            "would say nothing about new images."
        )
    if len(np.unique(y[train])) < 2:
        raise ValueError(f"The training images of fold {fold} of cv are all of one class.")
