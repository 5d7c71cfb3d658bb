"""The same features of the same images by skcnn, timm and ONNX Runtime."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import timm
import torch
from PIL import Image

from skcnn import PretrainedExtractor
from skcnn.pretrained._inference import optimized
from skcnn.pretrained._preprocessing import preprocessed


class Peers:
    """Candidates that compute pooled features of a network with random weights.

    Parameters
    ----------
    name : str
        timm's name of the network.

    side : int
        Height and width of the images.

    n_images, batch : int
        Number of images, and of those that the peers take at a time.

    n_threads : int
        Number of threads of ONNX Runtime; torch's are set before.
    """

    def __init__(self, name: str, side: int, n_images: int, batch: int, n_threads: int) -> None:
        shape = n_images, side, side, 3
        self.images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self._batch = batch
        self._network = timm.create_model(name, num_classes=0).eval()
        config = timm.data.resolve_model_data_config(self._network)
        self._transform = timm.data.create_transform(**config, is_training=False)
        self._extractor = PretrainedExtractor(name, weights=None, random_state=0, device="cpu")
        self._extractor.fit(self.images[:1])
        self._how = self._extractor.preprocessing_
        self._inputs = torch.cat(list(self._prepared()))
        self._fast = optimized(self._network, self._inputs[:2])
        self._session = session_of(self._network, self._inputs[:2], n_threads)
        self.operations = 2 * products_of(self._network, self._inputs[:1])

    def candidates(self) -> dict[str, Callable[[], object]]:
        """Return what goes from images to features."""
        return {
            "skcnn": lambda: self._extractor.transform(self.images),
            "timm": lambda: [self._plain(batch) for batch in self._prepared()],
            "ONNX Runtime, timm's transform": lambda: [
                self._onnx(batch) for batch in self._prepared()
            ],
        }

    def parts(self) -> dict[str, Callable[[], object]]:
        """Return what prepares images, and what computes features of prepared images."""
        batches = self._inputs.split(self._batch)
        return {
            "skcnn prepares": lambda: [
                preprocessed(self.images[i : i + self._batch], self._how)
                for i in range(0, len(self.images), self._batch)
            ],
            "timm prepares": lambda: list(self._prepared()),
            "skcnn computes": lambda: [self._fast(batch) for batch in batches],
            "timm computes": lambda: [self._plain(batch) for batch in batches],
            "ONNX computes": lambda: [self._onnx(batch) for batch in batches],
        }

    def _prepared(self) -> Iterator[torch.Tensor]:
        for start in range(0, len(self.images), self._batch):
            images = map(Image.fromarray, self.images[start : start + self._batch])
            yield torch.stack([self._transform(image) for image in images])

    def _plain(self, batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self._network(batch)

    def _onnx(self, batch: torch.Tensor) -> np.ndarray:
        return self._session.run(None, {"images": batch.numpy()})[0]


def session_of(
    network: torch.nn.Module, example: torch.Tensor, n_threads: int
) -> onnxruntime.InferenceSession:
    """Return the network in ONNX Runtime, with all its optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["images"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            dynamo=True,
            verbose=False,
        )
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def products_of(network: torch.nn.Module, image: torch.Tensor) -> int:
    """Return the number of multiplications of convolutions and linear layers for one image."""
    count = 0

    def add(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal count
        count += output.numel() * layer.weight[0].numel()

    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    with torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    return count
