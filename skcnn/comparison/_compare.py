"""The main job: several pipelines, the same folds, scores and costs side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.parallel import delayed

from skcnn.comparison._checks import (
    Split,
    check_images_and_labels,
    check_n_jobs,
    check_pipelines,
    check_scoring,
    check_searches,
    make_splits,
)
from skcnn.comparison._environment import describe_machine, library_versions
from skcnn.comparison._fold import FoldError, FoldResult, run_fold
from skcnn.comparison._progress import ProgressReport
from skcnn.comparison._result import Comparison
from skcnn.comparison._workers import find_unsendable, make_parallel, start_workers


def compare_pipelines(
    pipelines: Mapping[str, Any],
    X: Any,
    y: ArrayLike,
    *,
    cv: Any = 5,
    scoring: str | Callable = "accuracy",
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Comparison:
    """Compare image classification pipelines on the same folds: scores and costs.

    Every pipeline is cloned, fitted and measured on every fold. A `GridSearchCV` among the
    pipelines searches inside each training fold, which makes the comparison a nested
    cross-validation: no test image takes part in the choice of a parameter.

    Parameters
    ----------
    pipelines : mapping of str to estimator
        Name to classifier: an estimator, a `Pipeline` or a search such as `GridSearchCV`.
    X : image batch of length n_images
        Images in any layout that all the pipelines accept: ``(n, h, w)`` grey, ``(n, h, w, c)``
        colour, ``(n, n_pixels)`` flat, `ImageFiles`, a memory-mapped array. It is only ever
        indexed, never converted as a whole.
    y : array-like of shape (n_images,)
        Class labels.
    cv : int, splitter or iterable of (train, test), default=5
        As in `cross_validate`; a number means stratified folds without shuffling. The folds are
        drawn once.
    scoring : str or callable, default="accuracy"
        One metric: the name of a scikit-learn scorer or a callable ``scorer(estimator, X, y)``.
        Greater is better.
    n_jobs : int or None, default=None
        Number of (pipeline, fold) pairs that run at a time, -1 for as many as there are cores.
        None means 1 unless in a `joblib.parallel_config` context. With more than one, each works
        with its share of the cores, so times are comparable within a comparison, not between
        comparisons with different `n_jobs`.
    verbose : int, default=0
        1 shows progress on stderr: a bar on a terminal, plain lines otherwise.

    Returns
    -------
    comparison : Comparison
        Scores, times, sizes and chosen parameters per fold. A pipeline that raises is kept there
        with its error while the others finish. After Ctrl-C it holds the folds that had finished
        and ``comparison.interrupted`` is true.

    Raises
    ------
    TypeError, ValueError
        Before any work, if the input does not fit together: no pipelines, names that are not
        text, no fit or predict, lengths that differ, fewer images in a class than folds (of cv, or
        of a search among the pipelines), an unknown metric.

    See Also
    --------
    default_pipelines : The pipelines to begin with.

    References
    ----------
    .. [1] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52,
       239-281, 2003. https://doi.org/10.1023/A:1024068626366

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skcnn import compare_pipelines
    >>> X, y = load_iris(return_X_y=True)
    >>> comparison = compare_pipelines({"Bayes": GaussianNB(), "chance": DummyClassifier()}, X, y)
    >>> comparison
    <Comparison: 2 pipelines, 5 folds, accuracy; best: Bayes 0.953 ± 0.030>
    >>> comparison.ranking()[["pipeline", "mean_score"]].round(3)
      pipeline  mean_score
    0    Bayes       0.953
    1   chance       0.333
    """
    estimators = check_pipelines(pipelines)
    y = check_images_and_labels(X, y)
    check_scoring(scoring)
    check_n_jobs(n_jobs)
    splits = make_splits(cv, X, y)
    check_searches(estimators, splits, y)

    started, clock = datetime.now(UTC), perf_counter()
    folds, interrupted = _run(estimators, X, y, splits, scoring, n_jobs, verbose)
    setting = {
        "scoring": _name(scoring),
        "cv": _describe_cv(cv, len(splits)),
        "n_jobs": n_jobs,
        "started": started.isoformat(timespec="seconds"),
        "seconds": perf_counter() - clock,
        **_describe_data(X, y),
        "machine": describe_machine(),
        "versions": library_versions(),
    }
    if interrupted:
        warnings.warn(
            f"The comparison was interrupted: {len(folds)} of {len(estimators) * len(splits)} "
            "folds had finished and are kept.",
            UserWarning,
            stacklevel=2,
        )
    return Comparison(list(estimators), len(splits), folds, setting, interrupted=interrupted)


def _run(
    estimators: dict[str, Any],
    X: Any,
    y: np.ndarray,
    splits: list[Split],
    scoring: str | Callable,
    n_jobs: int | None,
    verbose: int,
) -> tuple[list[FoldResult], bool]:
    """Results of the folds that ran, and whether Ctrl-C ended the run early."""
    tasks = [(name, fold) for name in estimators for fold in range(len(splits))]
    unsendable = find_unsendable(estimators, n_jobs)
    done: dict[tuple[str, int], FoldResult] = {
        (name, fold): _lost_fold(name, fold, splits[fold], unsendable[name])
        for name, fold in tasks
        if name in unsendable
    }
    jobs = (
        delayed(run_fold)(name, fold, estimators[name], X, y, splits[fold], scoring)
        for name, fold in tasks
        if name not in unsendable
    )
    parallel = make_parallel(n_jobs)
    interrupted = False
    with ProgressReport(verbose, len(tasks), _name(scoring)) as progress:
        for result in done.values():
            progress.report(result)
        try:
            start_workers(n_jobs)
            for result in parallel(jobs):
                done[result.pipeline, result.fold] = result
                progress.report(result)
        except KeyboardInterrupt:
            interrupted = True
        except Exception as error:
            # run_fold catches what pipelines raise; this is a worker that died or could not be
            # reached, and what other workers finished is worth keeping.
            for name, fold in tasks:
                if (name, fold) not in done:
                    done[name, fold] = _lost_fold(name, fold, splits[fold], error)
    return [done[task] for task in tasks if task in done], interrupted


def _lost_fold(name: str, fold: int, split: Split, error: Exception) -> FoldResult:
    train, test = split
    lost = FoldError.from_exception(error)
    return FoldResult(name, fold, n_train=len(train), n_test=len(test), error=lost)


def _name(scoring: str | Callable) -> str:
    if isinstance(scoring, str):
        return scoring
    return getattr(scoring, "__name__", None) or repr(scoring)


def _describe_cv(cv: Any, n_folds: int) -> str:
    if isinstance(cv, int | np.integer):
        return f"{cv} stratified folds, not shuffled"
    return repr(cv) if hasattr(cv, "split") else f"{n_folds} given folds"


def _describe_data(X: Any, y: np.ndarray) -> dict[str, Any]:
    classes, counts = np.unique(y, return_counts=True)
    shape = getattr(X, "shape", None)
    return {
        "n_images": len(y),
        "image_shape": tuple(int(size) for size in shape[1:]) if shape is not None else None,
        "dtype": str(X.dtype) if hasattr(X, "dtype") else None,
        "class_counts": {
            str(name): int(count) for name, count in zip(classes, counts, strict=True)
        },
    }
