"""How fast the networks are, beside torch loops, skorch, Keras, scikit-learn and ONNX Runtime.

    pip install "skcnn[benchmark]"
    python benchmarks/networks.py --data FOLDER

FOLDER holds mnist.npz and CIFAR-10 as files, cifar10/train/<class>/*.jpg or the same in
cifar10_jpg.zip. Candidates take turns; seconds are medians, ratios are medians of the rounds'
ratios. skcnn's time is that of `fit` as a whole; of the loops it is the loop, without the
preparation of their tensors. Every candidate runs in a process of its own, as in the script of
whoever uses it: what one leaves behind in memory changes the time of the next. `--keras-python`
names the interpreter that has Keras, if it is another one.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

# All fits end at a number of epochs, of which scikit-learn's and skcnn's networks warn.
NO_WARNINGS = "ignore:Stochastic Optimizer"

FITS_AND_PREDICTIONS = ("lecture", "vgg", "engine", "mlp", "predict")
SECTIONS = (*FITS_AND_PREDICTIONS, "grid", "memory")


def main() -> None:
    """Print the tables of the chosen sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keras-python", default=sys.executable, help="interpreter with Keras")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time, for one thread on a machine that others use",
    )
    arguments = parser.parse_args()
    if arguments.clock == "cpu" and max(arguments.threads) > 1:
        parser.error("--clock cpu adds the threads' times up: take --threads 1")
    os.environ["BENCHMARK_CLOCK"] = arguments.clock
    os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch are imported
    os.environ["PYTHONWARNINGS"] = NO_WARNINGS  # of the processes that are started
    warnings.filterwarnings("ignore", "Stochastic Optimizer")
    for n_threads in arguments.threads:
        chosen = [name for name in FITS_AND_PREDICTIONS if name in arguments.sections]
        if chosen:
            run_with_peers(chosen, n_threads, arguments)
    run_alone(arguments.sections, arguments.data)


def run_with_peers(sections: list[str], n_threads: int, arguments: argparse.Namespace) -> None:
    """Print the tables of the sections that compare fits and predictions."""
    import _networks_fit
    from _networks_keras import keras_workers
    from _networks_predict import predict
    from _networks_timing import cores
    from _timing import print_machine

    run: dict[str, Callable[[_networks_fit.Bench], None]] = {
        "lecture": _networks_fit.lecture,
        "vgg": _networks_fit.vgg,
        "engine": _networks_fit.engine,
        "mlp": _networks_fit.mlp,
        "predict": predict,
    }
    with (
        cores(n_threads),
        keras_workers(arguments.keras_python, n_threads) as (workers, missing),
    ):
        print_machine(n_threads)
        bench = _networks_fit.Bench(arguments.data, arguments.repeats, n_threads, workers, missing)
        for section in sections:
            run[section](bench)


def run_alone(sections: list[str], data: Path) -> None:
    """Print the tables of skcnn's search and memory, with one thread a fit."""
    from _networks_grid import print_grid_search
    from _networks_memory import print_memory
    from _timing import threads

    with threads(1):
        if "grid" in sections:
            print_grid_search(data)
        if "memory" in sections:
            print_memory(data)


if __name__ == "__main__":
    main()
