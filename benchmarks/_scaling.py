"""Cost against the number and size of images, peak memory, and the first call after installing."""

import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
from _images import crops
from _timing import interleaved, print_table

from skcnn import (
    BagOfVisualWords,
    ConvolutionFilter,
    FisherVectorEncoder,
    FourierExtractor,
    HOGExtractor,
    SIFTExtractor,
    VLADEncoder,
)

EXTRACTORS = {
    "ConvolutionFilter": ConvolutionFilter("gaussian"),
    "FourierExtractor": FourierExtractor("block", size=16),
    "HOGExtractor": HOGExtractor(pixels_per_cell=(8, 8), cells_per_block=(2, 2)),
    "SIFTExtractor": SIFTExtractor(step=4, bin_size=4),
}
ENCODERS = {
    "BagOfVisualWords": BagOfVisualWords(200, random_state=0),
    "VLADEncoder": VLADEncoder(64, random_state=0),
    "FisherVectorEncoder": FisherVectorEncoder(64, random_state=0),
}
# A factor of 64 in the number of images, and in that of their pixels.
NUMBERS, SIDES = (64, 512, 4096), (32, 64, 128, 256)


def run(data_folder: Path, repeats: int) -> None:
    """Print the tables."""
    _images_and_memory(repeats)
    _pixels(repeats)
    _descriptors(repeats)
    _first_calls()


def _transforms(extractors: dict, images: np.ndarray) -> dict:
    fitted = {name: extractor.fit(images[:2]) for name, extractor in extractors.items()}
    # A small chunk, so that there are many of them.
    for extractor in fitted.values():
        extractor.set_params(chunk_mib=4)
    return {name: lambda one=one: one.transform(images) for name, one in fitted.items()}


def _images_and_memory(repeats: int) -> None:
    rows = []
    all_images = crops(NUMBERS[-1], 64, 64)
    for number in NUMBERS:
        images = all_images[:number]
        transforms = _transforms(EXTRACTORS, images)
        for name, seconds in interleaved(transforms, repeats).items():
            extra = _peak_beyond_result(transforms[name])
            rows.append([name, number, 1e6 * seconds / number, extra / 2**20])
    rows.sort(key=lambda row: row[0])
    print_table(
        "64 x 64 grey images, chunk_mib=4",
        ["", "images", "µs an image", "peak memory beyond the result, MiB"],
        rows,
    )


def _peak_beyond_result(transform) -> int:
    tracemalloc.start()
    result = transform()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - result.nbytes


def _pixels(repeats: int) -> None:
    rows = []
    for side in SIDES:
        images = crops(64, side, side)
        for name, seconds in interleaved(_transforms(EXTRACTORS, images), repeats).items():
            rows.append([name, f"{side} x {side}", 1e9 * seconds / images.size])
    rows.sort(key=lambda row: row[0])
    print_table("64 grey images", ["", "pixels", "ns a pixel"], rows)


def _descriptors(repeats: int) -> None:
    rows = []
    images = crops(NUMBERS[-1], 64, 64)
    sift = SIFTExtractor(step=4, bin_size=4).fit(images[:1])
    all_descriptors = sift.transform(images)
    fitted = {name: encoder.fit(all_descriptors[:64]) for name, encoder in ENCODERS.items()}
    for number in NUMBERS:
        descriptors = all_descriptors[:number]
        encode = {
            name: lambda one=one, D=descriptors: one.transform(D) for name, one in fitted.items()
        }
        for name, seconds in interleaved(encode, repeats).items():
            extra = _peak_beyond_result(encode[name])
            rows.append([name, number, 1e6 * seconds / number, extra / 2**20])
    rows.sort(key=lambda row: row[0])
    print_table(
        f"{all_descriptors[0, ..., 0].size} SIFT descriptors an image",
        ["", "images", "µs an image", "peak memory beyond the result, MiB"],
        rows,
    )


FIRST_CALLS = {
    "ConvolutionFilter": "ConvolutionFilter('gaussian').fit_transform(X)",
    "HOGExtractor": "HOGExtractor().fit_transform(X)",
    "SIFTExtractor": "SIFTExtractor().fit_transform(X)",
    "BagOfVisualWords": "BagOfVisualWords(4, random_state=0).fit_transform(D)",
    "VLADEncoder": "VLADEncoder(4, random_state=0).fit_transform(D)",
    "FisherVectorEncoder": "FisherVectorEncoder(4, random_state=0).fit_transform(D)",
}
FRESH_PROCESS = """
import time
import numpy as np
from skcnn import *
import scipy.ndimage, sklearn.cluster, sklearn.mixture, sklearn.decomposition, numba
rng = np.random.default_rng(0)
X = rng.uniform(size=(20, 28, 28)).astype(np.float32)
D = rng.uniform(size=(20, 30, 128)).astype(np.float32)
for name, call in {calls!r}.items():
    start = time.perf_counter()
    eval(call)
    print(name, time.perf_counter() - start)
"""


def _first_calls() -> None:
    """Time first calls in float32 in a new process, without compiled code on the disk and with."""
    with tempfile.TemporaryDirectory() as cache:
        compiling, cached = (_seconds_of_calls(cache) for _ in range(2))
    rows = [[name, compiling[name], cached[name]] for name in FIRST_CALLS]
    rows.append(["all", sum(compiling.values()), sum(cached.values())])
    print_table(
        "First call in a process, seconds",
        ["", "the first process: compiles", "later processes"],
        rows,
    )


def _seconds_of_calls(cache: str) -> dict[str, float]:
    code = FRESH_PROCESS.format(calls=FIRST_CALLS)
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.split() for line in result.stdout.splitlines())
    return {name: float(seconds) for name, seconds in lines}
