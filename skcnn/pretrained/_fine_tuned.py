"""A network that others trained, trained further on images of one's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import nn

from skcnn._compat import Interval, StrOptions
from skcnn._parameters import layer_sizes
from skcnn.neural._batches import TORCH_TYPES, Standardizer
from skcnn.neural._classifier import NeuralClassifier
from skcnn.neural._own_modules import GlobalDraws
from skcnn.neural._parameter_docs import documented
from skcnn.neural._prediction import Predictor, kept
from skcnn.pretrained._entry import PreprocessedImages
from skcnn.pretrained._fine_tuned_backbone import frozen_features, load_features, made_fast
from skcnn.pretrained._fine_tuned_network import (
    FeaturesAndHead,
    FineTunedNetwork,
    TrainedPart,
    blank_head,
    load_arrays_of,
    n_features,
    scaled,
)
from skcnn.pretrained._fine_tuning import FineTuning
from skcnn.pretrained._layers import computing_images_of
from skcnn.pretrained._preprocessing import Preprocessing
from skcnn.pretrained._sources import (
    KnowsOrigin,
    Origin,
    Weights,
    find_origin,
    origin_without_weights,
)

# What a large network needs for an image: batches of 16 are fast, and take little memory.
_BYTES_PER_IMAGE = 4 * 2**20

_PARAMETERS = {
    "backbone": (
        "str",
        'The network: "vgg16", "resnet50", "inception_v3", "efficientnet_b0", or any other name '
        "from :func:`list_backbones`. A name may end with the tag of certain weights, as in "
        '"resnet50.tv_in1k". Not looked at if `weights` is a network.',
    ),
    "weights": (
        '"default", path, torch.nn.Module or None',
        'Where training starts. "default" takes the published weights from the cache of the '
        "Hugging Face hub, and downloads them in `fit` if they are not there. A path names a file, "
        "``.safetensors`` or ``.pth``, of tensors as timm, torchvision or "
        "efficientnet_lite_pytorch name them; nothing in it is run. None draws random ones. A "
        "classifier of your own, in PyTorch, wants `preprocessing`; a copy of it is trained, and "
        "it is a part of a pickle.",
    ),
    "trainable": (
        '{"head", "last_block", "all"}',
        'What is trained besides the new head: nothing, the last stage of the network ("layer4" of '
        "a ResNet, the last block of convolutions of VGG-16) with what comes after it, or all of "
        "it. What is not trained stays in prediction mode, its batch normalisation too.",
    ),
    "backbone_learning_rate": (
        "float",
        "Learning rate of what is trained besides the head, whose rate is `learning_rate_init`; "
        "`learning_rate` plans both. What has been learnt already wants a smaller one.",
    ),
    "preprocessing": (
        "Preprocessing or None",
        "What is done to images; None stands for the network's own.",
    ),
    "input_size": (
        "int, (int, int) or None",
        "Size that images are brought to, instead of that of `preprocessing`. Smaller images take "
        "less time.",
    ),
    "embed_weights": (
        "bool",
        "Put the weights that are not trained into the fitted classifier, too, so that a pickle "
        "needs no file of weights. Otherwise it remembers where the file was, and its digest.",
    ),
    "hidden_layer_sizes": (
        "int or sequence of int",
        "Number of units of each hidden layer of the head. () is a linear classifier of the "
        "features.",
    ),
    "activation": (
        '{"relu", "tanh", "logistic", "identity", "leaky_relu", "elu", "silu", "gelu"}',
        "Activation function of the head's hidden layers.",
    ),
    "batch_norm": ("bool", "Normalise the inputs of the head's activations over the batch."),
    "dropout": (
        "float",
        "Probability with which a unit of the head's hidden layers is dropped in training, or a "
        "feature if there are none.",
    ),
    "augment": (
        "callable or None",
        "What changes each batch of training images, in their own size: "
        ":class:`~skcnn.Augmentation`, or a function of images (n, channels, height, width), a "
        "tensor on the CPU, and a :class:`torch.Generator` that returns as many of the same shape. "
        "Features are then computed anew in every epoch. Images for validation are never changed.",
    ),
    "precision": (
        '{"auto", "float32", "float64", "bfloat16"}',
        'Floating type of what is trained. "auto" is float32; "bfloat16" keeps the weights in '
        "float32 and multiplies in bfloat16, which only some processors do faster. Features that "
        "stay as they are are computed in float32.",
    ),
    "standardize": (
        "bool",
        "Whether each feature is brought to mean 0 and variance 1, as seen in training, where only "
        "the head is trained. Features that training changes are taken as they are.",
    ),
}

_ATTRIBUTES = {
    "backbone_": ("str", "Full name of the network and its weights."),
    "preprocessing_": ("Preprocessing", "What is done to every image."),
    "weights_source_": (
        "str or None",
        "Where the file of weights was found; None if there was none.",
    ),
    "weights_digest_": ("str or None", "SHA-256 of this file."),
    "backbone_weights_": (
        "dict of str to ndarray or None",
        "The weights that were not trained, with `embed_weights` or a network of your own.",
    ),
    "feature_mean_, feature_scale_": (
        "ndarray of shape (n_features,)",
        "Mean and standard deviation of the training images' features, by which they are "
        "standardised; 0 and 1 where they are not.",
    ),
    "weights_": (
        "dict of str to ndarray",
        "Weights and moving statistics of what was trained, by the name of their layer.",
    ),
    "input_mean_, input_scale_": None,
}


@documented(
    "classes_",
    parameters=_PARAMETERS,
    attributes=_ATTRIBUTES,
    auto_batch_size="a fiftieth of the training images, at least 8 and at most 128, or 32 where "
    "more than the head is trained",
    and_targets="",
    loss_unit="",
)
class FineTunedClassifier(KnowsOrigin, NeuralClassifier):
    """A network that was trained on ImageNet, with a new head for your classes.

    The last layer of the network is replaced by one that is drawn anew. Trained alone it is a
    linear classifier of the network's features, which are computed once; a backbone that is trained
    further, more slowly than the head, learns to see what your images differ in [1]_ [2]_. It is
    trained as :class:`CNNClassifier` is.

    Images of any size go in. They are resized, cropped and normalised as the network is used to;
    grey ones are repeated to three channels.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Raises
    ------
    ImportError
        If timm is not installed.

    OSError
        If the weights cannot be had: the file is missing, or the hub cannot be reached.

    ValueError
        If there is no such network, the weights do not fit it or are no longer those of `fit`, the
        images or labels cannot be used, the device is not there, or training diverges.

    See Also
    --------
    PretrainedExtractor : The features alone, for another classifier.
    CNNClassifier : A network trained from scratch.

    References
    ----------
    .. [1] J. Yosinski, J. Clune, Y. Bengio and H. Lipson, "How transferable are features in deep
       neural networks?", NeurIPS 2014. :arxiv:`1411.1792`

    .. [2] J. Howard and S. Ruder, "Universal language model fine-tuning for text classification",
       ACL 2018. :arxiv:`1801.06146`

    {references}

    Examples
    --------
    A small network, here with random weights, and a new head:

    >>> from skcnn import FineTunedClassifier, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> classifier = FineTunedClassifier("test_resnet", weights=None, input_size=64, random_state=0)
    >>> classifier.fit(X[:200], y[:200]).predict_proba(X[:3]).shape
    (3, 10)
    """

    _parameter_constraints: dict = {
        "backbone": [str],
        "weights": [str, os.PathLike, nn.Module, None],
        "trainable": [StrOptions({"head", "last_block", "all"})],
        "backbone_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "preprocessing": [Preprocessing, None],
        "input_size": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "embed_weights": ["boolean"],
        **{
            name: constraint
            for name, constraint in NeuralClassifier._parameter_constraints.items()
            if name != "input_dropout"
        },
    }

    _architecture: tuple[str, ...] = (
        "backbone",
        "weights",
        "trainable",
        "preprocessing",
        "input_size",
        "hidden_layer_sizes",
        "activation",
        "batch_norm",
        "dropout",
        "standardize",
    )
    _fit_type = FineTuning

    backbone: str
    weights: Weights
    trainable: str
    backbone_learning_rate: float
    preprocessing: Preprocessing | None
    input_size: int | tuple[int, int] | None
    embed_weights: bool
    architecture_: dict[str, Any]
    weights_: dict[str, np.ndarray]
    backbone_weights_: dict[str, np.ndarray] | None
    feature_mean_: np.ndarray
    feature_scale_: np.ndarray
    n_outputs_: int

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        weights: Weights = "default",
        trainable: str = "head",
        backbone_learning_rate: float = 0.0001,
        preprocessing: Preprocessing | None = None,
        input_size: int | tuple[int, int] | None = None,
        embed_weights: bool = False,
        hidden_layer_sizes: int | Sequence[int] = (),
        activation: str = "relu",
        batch_norm: bool = True,
        dropout: float = 0.0,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 20,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        scoring: str | Callable | None = None,
        class_weight: str | dict | None = None,
        label_smoothing: float = 0.0,
        max_grad_norm: float | None = None,
        ema_decay: float | None = None,
        augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
        n_dropout_samples: int = 0,
        n_augmentations: int = 0,
        checkpoint: str | os.PathLike | None = None,
        callbacks: Sequence | None = None,
        standardize: bool = True,
        device: str = "auto",
        precision: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
    ) -> None:
        self._assign(locals())

    def _own_module(self) -> nn.Module | None:
        return self.weights if isinstance(self.weights, nn.Module) else None

    def _find_origin(self, rng: np.random.RandomState) -> Origin:
        """Return where the parameters say that the network is from."""
        return find_origin(
            self.backbone,
            self.weights,
            preprocessing=self.preprocessing,
            input_size=self.input_size,
            rng=rng,
        )

    def _auto_batch_size(self, n_images: int) -> int:
        # About 50 steps an epoch; the maps of a large network take much memory.
        return min(max(n_images // 50, 8), 128 if self.trainable == "head" else 32)

    def _layers(self, image_shape: tuple[int, int, int], n_outputs: int, seed: int) -> nn.Module:
        height, width, channels = image_shape
        if channels not in (1, 3):
            raise ValueError(
                f"X must hold grey or RGB images, with 1 or 3 channels, got {channels} channels "
                f"(images of {height} x {width}). Drop an alpha channel: X[..., :3]."
            )
        origin = origin_without_weights(
            self.backbone,
            self.weights,
            preprocessing=self.preprocessing,
            input_size=self.input_size,
        )
        with computing_images_of(origin.preprocessing.size):
            features = load_features(origin, self._own_module(), {})
            n_inputs = n_features(features, origin.preprocessing.size)
        head = self._blank_head(n_inputs, n_outputs)
        head = self._scaled(head, Standardizer.nothing(n_inputs))
        return FineTunedNetwork(origin.preprocessing, features, head)

    def _blank_layers(self, image_shape: tuple[int, int, int], n_outputs: int) -> nn.Module:
        # Constants that are no part of a network's state have no values on the meta device.
        return self._layers(image_shape, n_outputs, 0)

    def _blank_head(self, n_inputs: int, n_outputs: int) -> nn.Sequential:
        return blank_head(
            n_inputs,
            layer_sizes("hidden_layer_sizes", self.hidden_layer_sizes),
            n_outputs,
            activation=self.activation,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
        )

    def _blank_network(self) -> nn.Module:
        return FineTunedNetwork(
            self._origin.preprocessing, self._fitted_features(), self._fitted_head()
        )

    def _fitted_features(self) -> nn.Module:
        """Return the fitted backbone on the CPU."""
        module = self._as_fitted()._own_module()
        trained = {k: v for k, v in self.weights_.items() if k.startswith("backbone.")}
        is_complete = self.architecture_["trainable"] == "all"
        if is_complete or self.backbone_weights_ is not None:
            return load_features(self._origin, module, (self.backbone_weights_ or {}) | trained)
        features = load_features(self._origin, module)
        load_arrays_of(features, trained, "backbone")
        return features

    def _fitted_head(self) -> nn.Sequential:
        """Return the fitted head on the CPU, in prediction mode."""
        as_fitted = self._as_fitted()
        head = as_fitted._blank_head(len(self.feature_mean_), self.n_outputs_)
        load_arrays_of(head, self.weights_, "head")
        scale = Standardizer(self.feature_mean_, self.feature_scale_)
        return as_fitted._scaled(head, scale).eval()  # type: ignore[return-value]

    def _scaled(self, head: nn.Sequential, scale: Standardizer) -> nn.Sequential:
        """Return the head with the layer before it that training has in its standardiser."""
        return scaled(head, scale) if self.standardize and self.trainable == "head" else head

    def _as_fitted(self) -> FineTunedClassifier:
        return type(self)(**self.architecture_)

    def _draw_from(self, network: nn.Module, generator: torch.Generator) -> None:
        super()._draw_from(network, generator)
        if isinstance(network, TrainedPart):
            GlobalDraws(network.backbone, generator)

    def _standardizer(self) -> Standardizer:
        return Standardizer.nothing(self._stored_shape()[2])

    def _predictor(self, device: torch.device, dtype: np.dtype) -> Predictor:
        return kept(self, self.weights_, (device, dtype), lambda: self._ready(device, dtype))

    def _ready(self, device: torch.device, dtype: np.dtype) -> Predictor:
        """Return the fitted network on a device; the head computes in the type of the images."""
        how, of_backbone = self._origin.preprocessing, torch.float32
        if self.architecture_["trainable"] == "head":
            module = self._as_fitted()._own_module()
            loaded = frozen_features(self, self._origin, device, module, self.backbone_weights_)
        else:
            trained = next(v.dtype for v in self.weights_.values() if v.dtype.kind == "f")
            of_backbone = TORCH_TYPES[trained]
            loaded = made_fast(self._fitted_features(), how, device, of_backbone)
        head = self._fitted_head().to(device, TORCH_TYPES[dtype])
        network = FeaturesAndHead(loaded.compute, head).eval()
        return Predictor(network, _BYTES_PER_IMAGE, PreprocessedImages(how), device, of_backbone)
