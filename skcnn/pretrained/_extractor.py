"""Features of networks that others trained on millions of images."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from math import prod
from numbers import Integral

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.utils import check_random_state
from torch import nn

from skcnn._compat import Interval, StrOptions
from skcnn._devices import prediction_device, training_device
from skcnn._torch_threads import thread_count
from skcnn.features._base import ImageExtractor
from skcnn.features._threads import in_threads, one_ahead
from skcnn.images import ImageBatch
from skcnn.neural._modules import to_arrays
from skcnn.pretrained._inference import optimized
from skcnn.pretrained._layers import POOLINGS, computing_images_of, layer_network
from skcnn.pretrained._preprocessing import Preprocessing, preprocessed, warn_of_scale
from skcnn.pretrained._sharing import LoadedNetwork, forget, shared
from skcnn.pretrained._sources import KnowsOrigin, Weights, find_origin, network_of

_AUTO_BATCH = 32
_SECONDS_BETWEEN_REPORTS = 5


class PretrainedExtractor(KnowsOrigin, ImageExtractor):
    """Features of a network that was trained on ImageNet, such as ResNet-50.

    A network that has learnt to tell a thousand kinds of things apart looks for what most pictures
    are made of. What its last layers say of an image is a good description of images that it has
    never seen: a linear classifier on top often beats a network trained on few images [1]_.

    Images of any size go in. They are resized, cropped and normalised as the network is used to;
    grey ones are repeated to three channels. Features are computed batch by batch.

    Parameters
    ----------
    backbone : str, default="resnet50"
        The network: "vgg16" [2]_, "resnet50" [3]_, "inception_v3" [4]_, "efficientnet_b0" [5]_, or
        any other name from :func:`list_backbones`. A name may end with the tag of certain weights,
        as in "resnet50.tv_in1k": preprocessing is that of these weights. Not looked at if
        `weights` is a network.

    weights : "default", path, torch.nn.Module or None, default="default"
        "default" takes the published weights from the cache of the Hugging Face hub, and downloads
        them in `fit` if they are not there. A path names a file, ``.safetensors`` or ``.pth``, of
        tensors as timm, torchvision or efficientnet_lite_pytorch name them; nothing in it is run.
        None draws random ones. A network of your own, in PyTorch, wants `preprocessing`; it is
        used as it is in `transform`.

    layer : str, default="pooled"
        What the features are. "pooled": the maps of the last convolution, averaged, or what else
        goes into the layer that decides. "logits": what this layer says of each of the classes.
        Else the name of a module inside, such as "layer3" of a ResNet.

    pool : {"average", "max"} or None, default="average"
        What becomes of the pixels of each map of a module inside: their mean or maximum, so that
        there is one feature a map. None keeps them all. "pooled" and "logits" have none.

    preprocessing : Preprocessing or None, default=None
        What is done to images; None stands for the network's own.

    input_size : int, (int, int) or None, default=None
        Height and width of the images that the network sees; None leaves it to `preprocessing`.
        Smaller ones take less time.

    batch_size : int or "auto", default="auto"
        Images that go through the network at a time; "auto" takes 32.

    embed_weights : bool, default=False
        Put the weights into the fitted extractor, so that a pickle needs no file of weights.
        Otherwise it remembers where the file was, and its digest.

    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps", or "auto" for the best there is. A model fitted on a
        device that is not there any more works on the CPU.

    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What is computed in; "auto" is float32. "bfloat16" is faster on recent GPUs, and less exact.

    n_jobs : int or None, default=None
        Number of threads that take a batch each. PyTorch itself uses several cores for a batch, so
        more than one thread pays only where it is told to use one core.

    verbose : bool, default=False
        Print every few seconds how many images are done.

    random_state : int, RandomState instance or None, default=None
        Seed of random weights (``weights=None``).

    image_shape : tuple of int or None, default=None
        Shape of one image, (h, w) or (h, w, c), when the rows of `X` are flat. None takes a row
        whose length is a perfect square as a square grey image.

    channel_axis : int or None, default=-1
        Axis of a 4-D `X` that holds the channels.

    Attributes
    ----------
    backbone_ : str
        Full name of the network and its weights.

    preprocessing_ : Preprocessing
        What is done to every image.

    weights_source_ : str or None
        Where the file of weights was found; None if there was none.

    weights_digest_ : str or None
        SHA-256 of this file.

    weights_ : dict of str to ndarray or None
        The weights, with `embed_weights`.

    output_shape_ : tuple of int
        Shape of the layer's output for one image: (width,), or (height, width, channels) of maps.

    image_shape_ : tuple of int
        Shape of one image, (h, w) or (h, w, 3).

    n_features_in_ : int
        Number of values of one image.

    feature_names_in_ : ndarray of str
        Column names of `X` in `fit`, if it was a data frame.

    Raises
    ------
    ImportError
        If timm is not installed.

    OSError
        If the weights cannot be had: the file is missing, or the hub cannot be reached.

    ValueError
        If there is no such network or layer, the weights do not fit the network, or the images
        have neither one nor three channels.

    See Also
    --------
    FineTunedClassifier : Trains such a network further.
    NetworkFeatures : The same of a network that is trained on your images.

    References
    ----------
    .. [1] A. S. Razavian, H. Azizpour, J. Sullivan and S. Carlsson, "CNN features off-the-shelf: an
       astounding baseline for recognition", CVPR Workshops 2014. :arxiv:`1403.6382`

    .. [2] K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image
       recognition", ICLR 2015. :arxiv:`1409.1556`

    .. [3] K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition",
       CVPR 2016. :arxiv:`1512.03385`

    .. [4] C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception
       architecture for computer vision", CVPR 2016. :arxiv:`1512.00567`

    .. [5] M. Tan and Q. Le, "EfficientNet: rethinking model scaling for convolutional neural
       networks", ICML 2019. :arxiv:`1905.11946`

    Examples
    --------
    A small network, here with random weights, as features of a linear classifier:

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skcnn import PretrainedExtractor, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> features = PretrainedExtractor("test_resnet", weights=None, random_state=0)
    >>> features.fit_transform(X[:20]).shape
    (20, 96)
    >>> classifier = make_pipeline(features, LogisticRegression()).fit(X[:20], y[:20])
    """

    _parameter_constraints: dict = {
        "backbone": [str],
        "weights": [str, os.PathLike, nn.Module, None],
        "layer": [str],
        "pool": [StrOptions(set(POOLINGS)), None],
        "preprocessing": [Preprocessing, None],
        "input_size": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "embed_weights": ["boolean"],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
    }

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        weights: Weights = "default",
        layer: str = "pooled",
        pool: str | None = "average",
        preprocessing: Preprocessing | None = None,
        input_size: int | tuple[int, int] | None = None,
        batch_size: int | str = "auto",
        embed_weights: bool = False,
        device: str = "auto",
        precision: str = "auto",
        n_jobs: int | None = None,
        verbose: bool | int = False,
        random_state: int | np.random.RandomState | None = None,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.pool = pool
        self.preprocessing = preprocessing
        self.input_size = input_size
        self.batch_size = batch_size
        self.embed_weights = embed_weights
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state
        self.image_shape = image_shape
        self.channel_axis = channel_axis

    def _prepare(self, height: int, width: int, n_channels: int) -> int:
        if n_channels not in (1, 3):
            raise ValueError(
                f"X must hold grey or RGB images, with 1 or 3 channels, got {n_channels} channels "
                f"(images of {height} x {width}). Drop an alpha channel: X[..., :3]."
            )
        training_device(self.device)  # one that is not there is refused now
        self._origin = find_origin(
            self.backbone,
            self.weights,
            preprocessing=self.preprocessing,
            input_size=self.input_size,
            rng=check_random_state(self.random_state),
        )
        self._as_fitted = self.layer, self.pool
        self._module = self.weights if isinstance(self.weights, nn.Module) else None
        if self._module is not None:
            # It may have changed in ways that leave no trace: other layers, parameters' `data`.
            forget(self._sharing_key())
        self.weights_ = None
        if self.embed_weights and self._module is None:
            self.weights_ = to_arrays(self._named_network())
        self.output_shape_ = self._loaded().output_shape
        return prod(self.output_shape_)

    def _loaded(self) -> LoadedNetwork:
        """Return the network; equal extractors share it."""
        device = prediction_device(self.device)
        return shared(self, self._sharing_key(), lambda: self._load(device))

    def _sharing_key(self) -> tuple:
        """Return all that makes the network what it is."""
        device, module = prediction_device(self.device), self._module
        # Weights and statistics that have been trained on are other ones.
        state = () if module is None else map(_version, (*module.parameters(), *module.buffers()))
        return (self._origin, self._as_fitted, str(device), self.precision, id(module), *state)

    def _load(self, device: torch.device) -> LoadedNetwork:
        if self._module is None:
            network = self._named_network()
        else:
            network = copy.deepcopy(self._module).cpu().float().eval()
        size = self.preprocessing_.size
        example = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
        with computing_images_of(size):
            network = layer_network(network, *self._as_fitted, size).to(device)
            if self.precision == "bfloat16":
                compute = _in_bfloat16(network, device)
            else:
                compute = optimized(network, example)
            with torch.inference_mode():
                return LoadedNetwork(compute, tuple(compute(example).shape[1:]))

    def _named_network(self) -> nn.Module:
        layer, _ = self._as_fitted
        return network_of(self._origin, self.weights_, without_classifier=layer != "logits")

    def _fill_all(self, results: np.ndarray, images: ImageBatch) -> None:
        loaded, device, how = self._loaded(), prediction_device(self.device), self.preprocessing_
        size = _AUTO_BATCH if isinstance(self.batch_size, str) else int(self.batch_size)
        starts = range(0, len(images), size)
        batches = [slice(start, min(start + size, len(images))) for start in starts]
        report = _Report(len(images)) if self.verbose else None

        def prepare(rows: slice) -> torch.Tensor:
            return preprocessed(_pixels(images, rows), how)

        def compute(rows: slice, inputs: torch.Tensor) -> None:
            with torch.inference_mode():
                values = loaded.compute(inputs.to(device)).cpu().numpy()
            results[rows] = values.reshape(len(values), -1)
            if report is not None:
                report(rows)

        n_threads = effective_n_jobs(self.n_jobs)
        if n_threads > 1:
            in_threads(n_threads, lambda rows: compute(rows, prepare(rows)), batches)
        elif device.type == "cpu" and thread_count() == 1:
            for rows in batches:
                compute(rows, prepare(rows))
        else:
            # The network computes on several cores, or elsewhere: one is free for the next batch.
            for rows, inputs in one_ahead(prepare, batches):
                compute(rows, inputs)

    def _extract(self, images: np.ndarray) -> np.ndarray:
        results = np.empty((len(images), prod(self.output_shape_)), np.float32)
        self._fill_all(results, ImageBatch(images))
        return results


class _Report:
    """Tells how many images are done, every few seconds and at the end."""

    def __init__(self, n_images: int) -> None:
        self._n_images, self._n_done = n_images, 0
        self._started = self._told = time.perf_counter()

    def __call__(self, rows: slice) -> None:
        self._n_done += rows.stop - rows.start
        now = time.perf_counter()
        if self._n_done == self._n_images or now - self._told > _SECONDS_BETWEEN_REPORTS:
            self._told = now
            seconds = now - self._started
            print(f"{self._n_done} of {self._n_images} images ({seconds:.0f} s)", flush=True)


def _pixels(images: ImageBatch, rows: slice) -> np.ndarray:
    """Return images as bytes if they are stored so, else as floats."""
    stored, divisor = images.read_stored(rows)
    if stored.dtype == np.uint8:
        return stored
    values = (stored / divisor).astype(np.float32, copy=False)
    if rows.start == 0:
        warn_of_scale(values)
    return values


def _version(tensor: torch.Tensor) -> tuple[int, int]:
    """Return what changes when a tensor is written to; those of inference mode do not count it."""
    return id(tensor), 0 if tensor.is_inference() else tensor._version


def _in_bfloat16(network: nn.Module, device: torch.device) -> Callable:
    network = network.to(memory_format=torch.channels_last)

    def compute(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return network(images).float()

    return compute
