"""A process that holds one Keras backend and fits or predicts when it is told to.

Requests and answers are lines of JSON. This file needs Keras, its backend and NumPy only, so it can
run under another interpreter than the benchmark.
"""

import json
import os
import statistics
import sys
import time

import numpy as np

clock = time.process_time if os.environ.get("BENCHMARK_CLOCK") == "cpu" else time.perf_counter


def build(image_shape: list[int], layers: list[list], flat: bool):
    """Return the network as a compiled Keras model."""
    import keras

    shape = (int(np.prod(image_shape)),) if flat else tuple(image_shape)
    model = keras.Sequential([keras.Input(shape)])
    for kind, *sizes in layers:
        if kind == "conv":
            model.add(keras.layers.Conv2D(sizes[0], sizes[1], padding=sizes[2]))
        elif kind == "norm":
            model.add(keras.layers.BatchNormalization())
        elif kind == "relu":
            model.add(keras.layers.ReLU())
        elif kind == "maxpool":
            model.add(keras.layers.MaxPooling2D(sizes[0]))
        elif kind == "dense":
            model.add(keras.layers.Dense(sizes[0]))
        elif not flat:
            model.add(keras.layers.Flatten())
    return model


class Session:
    """The model and data of the last task."""

    def prepare(self, *, data: str, image_shape: list, layers: list, flat: bool) -> dict:
        """Build the model and read the images; every task starts from here."""
        import keras

        keras.utils.set_random_seed(0)
        with np.load(data) as archive:
            self._X, self._y = archive["X"], archive["y"]
        if flat:
            self._X = self._X.reshape(len(self._X), -1)
        self._model = build(image_shape, layers, flat)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._model.compile(keras.optimizers.Adam(1e-3), loss)
        self._model.optimizer.build(self._model.trainable_variables)
        self._blank = [np.array(v) for v in self._variables()]
        return {"n_parameters": int(sum(np.prod(w.shape) for w in self._model.trainable_weights))}

    def _variables(self) -> list:
        return [*self._model.variables, *self._model.optimizer.variables]

    def fit(self, *, batch_size: int, epochs: int) -> dict:
        """Train from the initial weights; putting them back is not timed."""
        for variable, value in zip(self._variables(), self._blank, strict=True):
            variable.assign(value)
        start = clock()
        history = self._model.fit(
            self._X, self._y, batch_size=batch_size, epochs=epochs, verbose=0, shuffle=True
        )
        return {"seconds": clock() - start, "loss": float(history.history["loss"][-1])}

    def predict(self, *, n_images: int, n_calls: int) -> dict:
        """Return the median time of calls of predict."""
        seconds = []
        for _ in range(n_calls):
            start = clock()
            self._model.predict(self._X[:n_images], verbose=0)
            seconds.append(clock() - start)
        return {"seconds": statistics.median(seconds)}


def load(backend: str) -> dict:
    """Import Keras with its backend; return its version."""
    import keras

    if backend == "torch":
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return {"version": f"Keras {keras.__version__}, {backend} {sys.modules[backend].__version__}"}


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")  # what libraries print must not get among the answers
    os.dup2(2, 1)
    session = Session()
    for line in sys.stdin:
        request = json.loads(line)
        action = request.pop("action")
        try:
            answer = load(**request) if action == "load" else getattr(session, action)(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
