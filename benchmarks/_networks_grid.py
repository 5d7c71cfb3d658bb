"""GridSearchCV with one worker and with two."""

import time
from pathlib import Path

import numpy as np
from _networks_data import mnist
from _networks_nets import LECTURE
from _networks_timing import Run, interleaved_runs, median_seconds, times_skcnn
from _timing import print_table
from sklearn.model_selection import GridSearchCV

N_IMAGES = 9000
EPOCHS = 11
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
FOLDS = 3
REPEATS = 2  # a search takes a minute


def print_grid_search(data_folder: Path) -> None:
    """Print the table of a search whose fits take seconds."""
    X, y = mnist(data_folder, N_IMAGES)
    estimator = LECTURE.estimator(
        batch_size=128, max_iter=EPOCHS, n_iter_no_change=np.inf, random_state=0, device="cpu"
    )
    fit_seconds: dict[str, float] = {}

    def search(n_jobs: str) -> Run:
        candidate = GridSearchCV(
            estimator,
            {"learning_rate_init": list(RATES)},
            cv=FOLDS,
            refit=False,
            n_jobs=int(n_jobs),
        )
        start = (
            time.perf_counter()
        )  # workers are processes: their time is no processor time of ours
        candidate.fit(X, y)
        seconds = time.perf_counter() - start
        fit_seconds[n_jobs] = float(candidate.cv_results_["mean_fit_time"].mean())
        return Run(seconds, 1 - candidate.best_score_)

    candidates = {n_jobs: lambda n=n_jobs: search(n) for n_jobs in ("1", "2")}
    runs = interleaved_runs(candidates, REPEATS)
    rows: list[list[object]] = [
        [
            n_jobs,
            median_seconds(searches),
            times_skcnn(searches, runs["1"]),
            fit_seconds[n_jobs],
            searches[-1].loss,
        ]
        for n_jobs, searches in runs.items()
    ]
    title = f"GridSearchCV, {len(RATES) * FOLDS} fits of {LECTURE.name}, one thread each"
    columns = ["n_jobs", "seconds", "times n_jobs=1", "seconds a fit", "best error"]
    print_table(title, columns, rows)
