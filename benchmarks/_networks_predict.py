"""Predictions beside their peers: many images, and one image at a time."""

import importlib.util
import io
import statistics
from collections.abc import Callable, Mapping

import numpy as np
import torch
from _networks_data import cifar, mnist
from _networks_fit import Bench
from _networks_keras import KerasError
from _networks_nets import LECTURE, LECTURE_NORM, VGG
from _networks_peers import Task, skorch_net, tensors
from _networks_timing import (
    Candidate,
    Run,
    first_runs,
    interleaved_runs,
    median_seconds,
    timed,
    times_skcnn,
)
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
    calls = {"skcnn": skcnn_predict(task), **torch_predicts(task)}
    absent = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        missing["ONNX Runtime"] = f"no {', '.join(absent)}"
    else:
        calls |= onnx_predicts(task, bench.n_threads)
    many, one = measure(bench, task, calls, missing)
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


def measure(
    bench: Bench, task: Task, calls: Mapping[str, Predict], missing: dict[str, str]
) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """Return the runs with all images and those with one."""
    n_images = len(task.data.X)
    many = {name: repeated(call, n_images, 1) for name, call in calls.items()}
    one = {name: repeated(call, 1, 50) for name, call in calls.items()}
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


def repeated(call: Predict, n_images: int, n_calls: int) -> Candidate:
    """Return a candidate whose time is the median of some calls."""
    return lambda: Run(statistics.median(timed(lambda: call(n_images)) for _ in range(n_calls)))


def skcnn_predict(task: Task) -> Predict:
    """Return skcnn's predict_proba, fitted briefly: its speed does not depend on the weights."""
    X, y = task.data
    estimator = task.network.estimator(max_iter=1, random_state=0, device="cpu")
    estimator.fit(X[:200], y[:200])
    return lambda n: estimator.predict_proba(X[:n])


def torch_predicts(task: Task) -> dict[str, Predict]:
    """Return plain torch in large and in small batches, and skorch."""
    X, y = (tensor.numpy() for tensor in tensors(task))
    module = task.network.module().eval()

    def in_batches(size: int) -> Predict:
        @torch.inference_mode()
        def predict(n: int) -> np.ndarray:
            batches = torch.from_numpy(X[:n]).split(size)
            return torch.cat([module(batch).softmax(1) for batch in batches]).numpy()

        return predict

    net = skorch_net(task.network, 128, epochs=1).fit(X[:200], y[:200])
    return {
        "torch, batches of 1000": in_batches(1000),
        "torch, batches of 128": in_batches(128),
        "skorch": lambda n: net.predict_proba(X[:n]),
    }


def onnx_predicts(task: Task, n_threads: int) -> dict[str, Predict]:
    """Return ONNX Runtime in large and in small batches, on the network as torch exports it."""
    import onnxruntime

    X = tensors(task)[0].numpy()
    module = nn.Sequential(task.network.module(), nn.Softmax(1)).eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(
        exported(module, X[:2]), options, providers=["CPUExecutionProvider"]
    )

    def in_batches(size: int) -> Callable[[int], np.ndarray]:
        def predict(n: int) -> np.ndarray:
            starts = range(0, n, size)
            parts = [session.run(None, {"X": X[i : min(i + size, n)]})[0] for i in starts]
            return np.concatenate(parts)

        return predict

    with torch.inference_mode():
        expected = module(torch.from_numpy(X[:100])).numpy()
    np.testing.assert_allclose(in_batches(1000)(100), expected, atol=1e-4)
    return {
        "ONNX Runtime, batches of 1000": in_batches(1000),
        "ONNX Runtime, batches of 128": in_batches(128),
    }


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
