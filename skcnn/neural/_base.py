"""What every network classifier has in common: labels, statistics, training, plain state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from functools import partial
from math import prod
from numbers import Integral, Real
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skcnn._compat import Interval, Options, StrOptions, fit_context
from skcnn._devices import prediction_device, training_device
from skcnn._labels import encode_labels
from skcnn.images import ImageBatch, check_images
from skcnn.neural._batches import Standardizer, TrainingBatches, prediction_batches
from skcnn.neural._modules import (
    ACTIVATIONS,
    SeededDropout,
    count_parameters,
    initialise,
    load_arrays,
    to_arrays,
)
from skcnn.neural._summary import NetworkSummary, summarize
from skcnn.neural._training import LeanNet, train_network

# Images that are predicted at a time, and what the maps between two layers may take for them.
_PREDICT_BATCH = 128
_PREDICT_BYTES = 64 * 2**20

_TORCH_TYPES = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}

# Networks rebuilt for prediction, with the weights that they hold, by device and type. They live
# outside the estimators so that these stay plain data: a pickle, a clone and a comparison never see
# a torch object.
_rebuilt: WeakKeyDictionary[BaseEstimator, tuple[list, dict]] = WeakKeyDictionary()


class NeuralClassifier(ClassifierMixin, BaseEstimator, ABC):
    """A classifier that trains a torch module; the subclass says which module.

    A subclass has the parameters that are named in :attr:`_parameter_constraints`, adds its own and
    builds its module in :meth:`_layers`.
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "batch_norm": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "solver": [StrOptions({"adam", "sgd"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "device": [str],
        "verbose": ["verbose"],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
    }

    # Parameters that :meth:`_layers` reads. Their values in `fit` are remembered, so that changing
    # one afterwards changes the next fit, not the fitted network.
    _architecture: tuple[str, ...] = ("hidden_layer_sizes", "activation", "batch_norm", "dropout")

    @abstractmethod
    def _layers(self, image_shape: tuple[int, int, int], n_classes: int) -> nn.Sequential:
        """Return the untrained network for images (height, width, channels)."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> Self:
        """Train the network from scratch.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The training images.

        y : array-like of shape (n,)
            Their classes.

        Returns
        -------
        self : estimator
            The fitted classifier.

        Raises
        ------
        ValueError
            If `X` is no image batch, `y` does not hold one label of two or more classes an image,
            the network does not fit the images, the device is not there, or training diverges.
        """
        images = check_images(self, X, reset=True)
        classes, codes = encode_labels(self, y, len(images))
        device = training_device(self.device)
        images.ensure_finite()
        with torch.device("meta"):
            network = self._layers(images.shape[1:], len(classes))

        rng = check_random_state(self.random_state)
        train, valid = self._split(codes, rng)
        standardizer = Standardizer.learn(images, train)
        self._draw_weights(network, device, rng)
        batch_size = self._batch_size(len(train))
        batches = partial(
            TrainingBatches,
            images,
            codes,
            batch_size=batch_size,
            standardizer=standardizer,
            device=device,
        )
        net = self._train(
            network,
            batches(train, rng=rng if self.shuffle else None),
            batches(valid) if len(valid) else None,
            batch_size,
            device,
        )
        self._remember(net, classes, standardizer)
        return self

    def _train(
        self,
        network: nn.Module,
        batches: TrainingBatches,
        validation: TrainingBatches | None,
        batch_size: int,
        device: torch.device,
    ) -> LeanNet:
        # scikit-learn's penalty is alpha / 2 * |w|^2 for a batch, not for an image.
        optimizer_options: dict[str, Any] = {"weight_decay": float(self.alpha / batch_size)}
        if self.solver == "sgd":
            momentum = float(self.momentum)
            optimizer_options |= {"momentum": momentum, "nesterov": momentum > 0}
        if device.type in ("cpu", "cuda"):
            optimizer_options["fused"] = True
        return train_network(
            network,
            batches,
            validation,
            optimizer={"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.solver],
            lr=float(self.learning_rate_init),
            optimizer_options=optimizer_options,
            max_iter=self.max_iter,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            verbose=bool(self.verbose),
            device=device,
        )

    def _split(
        self, codes: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sorted indices of training and validation images."""
        everything = np.arange(len(codes))
        if not self.early_stopping:
            return everything, everything[:0]
        # In random order within the classes; the first image of each class stays in training.
        mixed = rng.permutation(everything)
        by_class = mixed[np.argsort(codes[mixed], kind="stable")]
        first = np.unique(codes[by_class], return_index=True)[1]
        candidates = np.delete(by_class, first)
        n_valid = min(round(self.validation_fraction * len(codes)), len(candidates))
        if n_valid == 0:
            raise ValueError(
                f"early_stopping=True with validation_fraction={self.validation_fraction} leaves "
                f"no validation image: X holds {len(codes)} images of {len(first)} classes."
            )
        # Evenly spaced along the classes, so that each gives its share.
        valid = candidates[np.linspace(0, len(candidates), n_valid, endpoint=False, dtype=int)]
        return np.setdiff1d(everything, valid), np.sort(valid)

    def _batch_size(self, n_images: int) -> int:
        """Return the batch size; "auto" makes about 50 steps an epoch of 16 to 128 images each."""
        if isinstance(self.batch_size, str):
            return min(int(np.clip(n_images // 50, 16, 128)), n_images)
        if self.batch_norm and self.batch_size == 1:
            raise ValueError(
                "batch_size=1 leaves batch normalisation without statistics: take batch_size >= 2 "
                "or batch_norm=False."
            )
        return min(int(self.batch_size), n_images)

    def _draw_weights(
        self, network: nn.Module, device: torch.device, rng: np.random.RandomState
    ) -> None:
        generator = torch.Generator().manual_seed(int(rng.randint(2**31)))
        network.to_empty(device="cpu")
        initialise(network, generator)
        network.to(memory_format=torch.channels_last).to(device)
        masks = torch.Generator(device).manual_seed(int(rng.randint(2**31)))
        for layer in network.modules():
            if isinstance(layer, SeededDropout):
                layer.generator = masks

    def _remember(self, net: LeanNet, classes: np.ndarray, standardizer: Standardizer) -> None:
        """Keep what was learnt as NumPy arrays, numbers and lists."""
        history = net.history
        self.classes_ = classes
        self.architecture_ = {name: deepcopy(getattr(self, name)) for name in self._architecture}
        self.input_mean_, self.input_scale_ = standardizer.mean, standardizer.scale
        self.weights_ = to_arrays(net.module_)
        self.n_parameters_ = count_parameters(net.module_)
        self.loss_curve_ = [row["train_loss"] for row in history if "train_loss" in row]
        self.n_iter_ = len(self.loss_curve_)
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else float("nan")
        self.best_loss_ = min(self.loss_curve_, default=float("nan"))
        self.validation_scores_ = None
        if self.early_stopping:
            self.validation_scores_ = [row["valid_acc"] for row in history if "valid_acc" in row]

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        labels : ndarray of shape (n,)
            Labels of `classes_`.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of every class for every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            Rows sum to 1; columns are in the order of `classes_`. On the CPU of the floating type
            that the images are read in, float32 for float32 and uint8, else float32.
        """
        return softmax(self._logits(X), axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of the probability of every class for every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes)
            Columns are in the order of `classes_`.
        """
        return log_softmax(self._logits(X), axis=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the network's output before the softmax.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        logits : ndarray of shape (n, n_classes), or (n,) for two classes
            With two classes: the second logit minus the first, positive for `classes_[1]`. The
            floating type is that of `predict_proba`.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def summary(self) -> NetworkSummary:
        """Return the layers of the fitted network with output shapes and numbers of weights.

        Returns
        -------
        summary : NetworkSummary
            A tuple of rows (layer, output_shape, n_weights) that prints as a table and has
            ``to_frame``.
        """
        check_is_fitted(self)
        return summarize(self._blank_network(), self._stored_shape())

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        images: ImageBatch = check_images(self, X, reset=False)
        device = prediction_device(self.device)
        # float64 is slow on most accelerators, and missing on some.
        dtype = images.dtype if device.type == "cpu" else np.dtype(np.float32)
        network, per_image = self._network(device, dtype)
        batch_size = int(np.clip(_PREDICT_BYTES // per_image, 1, _PREDICT_BATCH))
        standardizer = Standardizer(self.input_mean_, self.input_scale_)
        logits = np.empty((len(images), len(self.classes_)), dtype=dtype)
        batches = prediction_batches(images, batch_size, standardizer, device, _TORCH_TYPES[dtype])
        with torch.inference_mode():
            for rows, inputs in batches:
                logits[rows] = network(inputs).cpu().numpy()
        return logits

    def _network(self, device: torch.device, dtype: np.dtype) -> tuple[nn.Sequential, int]:
        """Return the fitted network and the bytes that its layers need for an image.

        It is rebuilt from `weights_` if this process does not have it, or has it of other weights.
        """
        weights = list(self.weights_.values())
        known, networks = _rebuilt.get(self, ([], {}))
        if len(known) != len(weights) or any(a is not b for a, b in zip(known, weights)):  # noqa: B905
            networks = {}
            _rebuilt[self] = (weights, networks)
        if (device, dtype) not in networks:
            network = self._blank_network()
            sizes = [prod(row.output_shape) for row in summarize(network, self._stored_shape())]
            network.to_empty(device="cpu")
            load_arrays(network, self.weights_)
            network.to(memory_format=torch.channels_last).to(device, _TORCH_TYPES[dtype]).eval()
            # A layer's input and output, and the layout that a convolution may want them in.
            networks[device, dtype] = network, 2 * dtype.itemsize * sum(sorted(sizes)[-2:])
        return networks[device, dtype]

    def _blank_network(self) -> nn.Sequential:
        """Return the layers of the fitted network, as shapes without memory."""
        with torch.device("meta"):
            as_fitted = type(self)(**self.architecture_)
            return as_fitted._layers(self._stored_shape(), len(self.classes_))

    def _stored_shape(self) -> tuple[int, int, int]:
        height, width, *channels = self.image_shape_
        return height, width, channels[0] if channels else 1

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
