"""How fast features of pretrained networks are, beside a plain loop over timm and ONNX Runtime.

    pip install "skcnn[benchmark,pretrained]"
    python benchmarks/pretrained.py

Images of random bytes go in, rows of pooled features come out. timm's loop prepares one PIL image
after the other with its own transform and computes batches of 32; ONNX Runtime gets its batches
from the same loop. Weights are random, which changes no time. Candidates take turns; ratios are
medians of the rounds' ratios.
"""

import argparse
import os
import statistics
from collections.abc import Callable

NETWORKS = ("resnet50", "efficientnet_b0", "tf_efficientnet_lite0")
BATCH = 32


def main() -> None:
    """Print the tables for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="names of timm")
    parser.add_argument("--sides", nargs="+", type=int, default=(256, 32), help="of the images")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch are imported

    from _networks_timing import cores
    from _timing import print_machine

    for n_threads in arguments.threads:
        with cores(n_threads):
            print_machine(n_threads)
            rate = peak()
            print(f"matrix products: {rate:.0f} billion operations a second")
            compare(arguments, n_threads, rate)


def compare(arguments: argparse.Namespace, n_threads: int, rate: float) -> None:
    """Print images a second of each candidate, and where the time goes."""
    from _pretrained_peers import Peers
    from _timing import print_table

    speeds, shares = [], []
    for name in arguments.networks:
        for side in arguments.sides:
            peers = Peers(name, side, arguments.images, BATCH, n_threads)
            rounds = in_turns(peers.candidates(), arguments.repeats)
            speeds += speed_rows(f"{name}, {side} px", rounds, len(peers.images))
            parts = in_turns(peers.parts(), arguments.repeats)
            shares.append([f"{name}, {side} px", *part_cells(parts, peers, rate)])
    columns = ["network and images", "", "images/s", "skcnn is faster by"]
    print_table(f"Features of {arguments.images} images, {n_threads} thread(s)", columns, speeds)
    print_table(
        "Milliseconds an image: preparing it, the network, and the network's share of the peak",
        ["network and images", *PARTS, "skcnn of peak", "timm of peak"],
        shares,
    )


def in_turns(candidates: dict[str, Callable], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each candidate in each round, after one that is not timed."""
    from _networks_timing import timed

    for run in candidates.values():
        run()
    rounds = [{name: timed(run) for name, run in candidates.items()} for _ in range(repeats)]
    return {name: [seconds[name] for seconds in rounds] for name in candidates}


def speed_rows(title: str, rounds: dict[str, list[float]], n_images: int) -> list[list]:
    """Return a row for each candidate; the first is skcnn."""
    ours, *_ = rounds.values()
    return [
        [title, name, n_images / statistics.median(seconds), ratio(seconds, ours)]
        for name, seconds in rounds.items()
    ]


def ratio(seconds: list[float], ours: list[float]) -> float:
    """Return how much longer than ours, round by round."""
    return statistics.median(a / b for a, b in zip(seconds, ours, strict=True))


PARTS = ("skcnn prepares", "timm prepares", "skcnn computes", "timm computes", "ONNX computes")


def part_cells(parts: dict[str, list[float]], peers, rate: float) -> list[float]:
    """Return milliseconds an image of each part, and the shares of the peak."""
    seconds = {name: statistics.median(parts[name]) / len(peers.images) for name in PARTS}
    reached = [
        f"{peers.operations / seconds[name] / 1e9 / rate:.0%}"
        for name in ("skcnn computes", "timm computes")
    ]
    return [1000 * value for value in seconds.values()] + reached


def peak(size: int = 2048, repeats: int = 10) -> float:
    """Return billions of operations a second of oneDNN's matrix product, the best of some.

    It multiplies by packed weights, which is what the networks do: the product of the BLAS that
    torch comes with reaches half of it on some processors.
    """
    import torch
    from _networks_timing import timed

    rows, matrix = torch.randn(size, size), torch.randn(size, size)
    with torch.inference_mode():
        weight = torch.ops.mkldnn._reorder_linear_weight(matrix, size)
        product = torch.ops.mkldnn._linear_pointwise
        seconds = min(
            timed(lambda: product(rows, weight, None, "none", [], "")) for _ in range(repeats)
        )
    return 2 * size**3 / seconds / 1e9


if __name__ == "__main__":
    main()
