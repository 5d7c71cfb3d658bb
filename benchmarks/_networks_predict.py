"""Predictions beside their peers: many images, and one image at a time."""

import importlib.util
import io
import statistics
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from _networks_data import cifar, mnist
from _networks_fit import Bench
from _networks_keras import KerasError
from _networks_nets import LECTURE, LECTURE_NORM, VGG
from _networks_peers import Task, skorch_net, tensors
from _networks_timing import (
    Run,
    first_runs,
    interleaved_runs,
    median_seconds,
    timed,
    times_skcnn,
)
from _networks_workers import Builder, workers
from _timing import print_table
from torch import nn

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")

Predict = Callable[[int], object]  # of the first so many images


def predict(bench: Bench) -> None:
    """Print the tables of predict_proba."""
    images = mnist(bench.data, 5000)
    for network, data in [
        (LECTURE, images),
        (LECTURE_NORM, images),
        (VGG, cifar(bench.data, 500)),
    ]:
        compare(bench, Task(network, data, batch_size=128, epochs=1))


def compare(bench: Bench, task: Task) -> None:
    """Time whole batches and single images; print one table with both."""
    missing = dict(bench.missing)
    builders = {name: partial(prediction, call) for name, call in callers(task, bench).items()}
    absent = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        missing["ONNX Runtime"] = f"no {', '.join(absent)}"
        builders = {name: build for name, build in builders.items() if "ONNX" not in name}
    many, one = measure(bench, task, builders, missing)
    rows: list[list[object]] = [
        [
            name,
            1e3 * median_seconds(many[name]),
            times_skcnn(many[name], many["skcnn"]),
            1e6 * median_seconds(one[name]),
            times_skcnn(one[name], one["skcnn"]),
        ]
        for name in many
    ]
    rows += [[name, f"missing: {reason}", "", "", ""] for name, reason in missing.items()]
    n_images = len(task.data.X)
    columns = ["candidate", f"{n_images} images ms", "times skcnn", "1 image us", "times skcnn"]
    title = f"Prediction of {task.network.name}, {n_images} images and one"
    print_table(bench.heading(title), columns, rows)


def callers(task: Task, bench: Bench) -> dict[str, Callable[[], Predict]]:
    """Return what makes the predictions that are compared."""
    return {
        "skcnn": partial(skcnn_predict, task),
        "torch, batches of 1000": partial(torch_predict, task, 1000),
        "torch, batches of 128": partial(torch_predict, task, 128),
        "skorch": partial(skorch_predict, task),
        "ONNX Runtime, batches of 1000": partial(onnx_predict, task, 1000, bench.n_threads),
        "ONNX Runtime, batches of 128": partial(onnx_predict, task, 128, bench.n_threads),
    }


def measure(
    bench: Bench, task: Task, builders: Mapping[str, Builder], missing: dict[str, str]
) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """Return the runs with all images and those with one."""
    n_images = len(task.data.X)
    with workers(builders, bench.n_threads) as processes:
        many = {name: partial(process, n_images, 1) for name, process in processes.items()}
        one = {name: partial(process, 1, 50) for name, process in processes.items()}
        for worker in bench.keras:
            try:
                worker.prepare(task)
                many[worker.name] = worker.predict(n_images, 1)
                one[worker.name] = worker.predict(1, 10)
            except KerasError as error:
                missing[worker.name] = str(error)
        for candidates in (many, one):
            first_runs(candidates)
        return interleaved_runs(many, bench.repeats), interleaved_runs(one, bench.repeats)


def prediction(make: Callable[[], Predict]) -> Callable[[int, int], Run]:
    """Return a candidate whose time is the median of some calls."""
    call = make()

    def run(n_images: int, n_calls: int) -> Run:
        return Run(statistics.median(timed(lambda: call(n_images)) for _ in range(n_calls)))

    return run


def skcnn_predict(task: Task) -> Predict:
    """Return skcnn's predict_proba, fitted briefly: its speed does not depend on the weights."""
    X, y = task.data
    estimator = task.network.estimator(max_iter=1, random_state=0, device="cpu")
    estimator.fit(X[:200], y[:200])
    return lambda n: estimator.predict_proba(X[:n])


def torch_predict(task: Task, size: int) -> Predict:
    """Return plain torch in batches of a size."""
    X = tensors(task)[0].numpy()
    module = task.network.module().eval()

    @torch.inference_mode()
    def predict(n: int) -> np.ndarray:
        batches = torch.from_numpy(X[:n]).split(size)
        return torch.cat([module(batch).softmax(1) for batch in batches]).numpy()

    return predict


def skorch_predict(task: Task) -> Predict:
    """Return skorch's predict_proba, fitted briefly too."""
    X, y = (tensor.numpy() for tensor in tensors(task))
    net = skorch_net(task.network, 128, epochs=1).fit(X[:200], y[:200])
    return lambda n: net.predict_proba(X[:n])


def onnx_predict(task: Task, size: int, n_threads: int) -> Predict:
    """Return ONNX Runtime in batches of a size, on the network as torch exports it."""
    import onnxruntime

    X = tensors(task)[0].numpy()
    module = nn.Sequential(task.network.module(), nn.Softmax(1)).eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(
        exported(module, X[:2]), options, providers=["CPUExecutionProvider"]
    )

    def predict(n: int) -> np.ndarray:
        starts = range(0, n, size)
        parts = [session.run(None, {"X": X[i : min(i + size, n)]})[0] for i in starts]
        return np.concatenate(parts)

    with torch.inference_mode():
        expected = module(torch.from_numpy(X[:100])).numpy()
    np.testing.assert_allclose(predict(100), expected, atol=1e-4)
    return predict


def exported(module: nn.Module, example: np.ndarray) -> bytes:
    """Return a module in ONNX's format, for batches of any size."""
    stream = io.BytesIO()
    torch.onnx.export(
        module,
        (torch.from_numpy(example),),
        stream,
        input_names=["X"],
        dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
        dynamo=True,
        verbose=False,
    )
    return stream.getvalue()
