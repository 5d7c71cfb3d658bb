"""Keras on each of its backends, in a process of its own that is idle when it is not its turn."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from _networks_data import Data
from _networks_peers import Task
from _networks_timing import Candidate, Run

BACKENDS = ("torch", "jax", "tensorflow")
WORKER = Path(__file__).with_name("_networks_keras_worker.py")


class KerasError(RuntimeError):
    """A worker could not do what it was asked."""


class KerasWorker:
    """The benchmark's end of a worker process."""

    def __init__(self, python: str, backend: str, n_threads: int, scratch: Path) -> None:
        self.name = f"Keras ({backend})"
        self._data = scratch / f"{backend}.npz"
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "OMP_NUM_THREADS": str(n_threads),
            "TF_NUM_INTRAOP_THREADS": str(n_threads),
            "TF_NUM_INTEROP_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
        }
        self._process = subprocess.Popen(
            [python, str(WORKER)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, action: str, **arguments: object) -> dict:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"action": action, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise KerasError(f"the process ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise KerasError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def prepare(self, task: Task) -> int:
        """Give the worker a task; return the number of weights of its model."""
        write(self._data, task.data)
        answer = self.ask(
            "prepare",
            data=str(self._data),
            image_shape=task.network.image_shape,
            layers=task.network.layers,
            flat=task.flat,
        )
        return answer["n_parameters"]

    def fit(self, task: Task) -> Candidate:
        """Return a fit of the task that the worker was prepared for."""
        n_parameters = self.prepare(task)

        def run() -> Run:
            answer = self.ask("fit", batch_size=task.batch_size, epochs=task.epochs)
            return Run(answer["seconds"], answer["loss"], n_parameters)

        return run

    def predict(self, n_images: int, n_calls: int) -> Candidate:
        """Return a prediction of the first images of the last task."""
        return lambda: Run(self.ask("predict", n_images=n_images, n_calls=n_calls)["seconds"])


def write(path: Path, data: Data) -> None:
    """Put the images where the worker reads them."""
    np.savez(path, X=data.X, y=data.y)


@contextmanager
def keras_workers(
    python: str, n_threads: int
) -> Iterator[tuple[list[KerasWorker], dict[str, str]]]:
    """Start a worker for each backend; yield those that work and why the others do not."""
    with tempfile.TemporaryDirectory() as scratch:
        started = [KerasWorker(python, name, n_threads, Path(scratch)) for name in BACKENDS]
        working, missing = [], {}
        try:
            for worker, backend in zip(started, BACKENDS, strict=True):
                try:
                    print(worker.ask("load", backend=backend)["version"])
                    working.append(worker)
                except KerasError as error:
                    missing[worker.name] = str(error)
            yield working, missing
        finally:
            for worker in started:
                worker.close()
