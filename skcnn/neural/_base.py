"""What every network estimator has in common: one way from images to a trained network."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer_names
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skcnn._compat import (
    CallbackSupportMixin,
    Interval,
    Options,
    StrOptions,
    fit_context,
    validate_parameter_constraints,
    with_callbacks,
)
from skcnn._devices import prediction_device
from skcnn.images import check_images
from skcnn.neural._batches import Augmenter, Standardizer
from skcnn.neural._callbacks import storable
from skcnn.neural._fit import NetworkFit
from skcnn.neural._modules import ACTIVATIONS, SeededDropout, initialise
from skcnn.neural._optimizers import OPTIMIZERS
from skcnn.neural._prediction import Predictor, predictor
from skcnn.neural._schedules import PLANS, SKLEARN_SCHEDULES
from skcnn.neural._summary import NetworkSummary, summarize
from skcnn.neural._targets import Targets
from skcnn.neural._training import warn_if_interrupted

if TYPE_CHECKING:
    from skcnn.neural._features import NetworkFeatures

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}


class NeuralEstimator(CallbackSupportMixin, BaseEstimator, ABC):
    """An estimator that trains a torch module; subclasses say which, and what y means."""

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "batch_norm": ["boolean"],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "solver": [StrOptions(set(OPTIMIZERS))],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({*SKLEARN_SCHEDULES, *PLANS})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "ema_decay": [Interval(Real, 0, 1, closed="left"), None],
        "augment": [callable, None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "scoring": [StrOptions({"loss", *get_scorer_names()}), callable, None],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "warm_start": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "callbacks": ["array-like", None],
        "n_dropout_samples": [Interval(Integral, 0, None, closed="left")],
        "n_augmentations": [Interval(Integral, 0, None, closed="left")],
        "standardize": ["boolean"],
        "random_state": ["random_state"],
        "device": [str],
        "precision": [StrOptions({"auto", *_PRECISIONS})],
        "verbose": ["verbose"],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
    }

    # How images and labels become fitted attributes.
    _fit_type = NetworkFit
    # Parameters that :meth:`_layers` reads. Their values in `fit` are remembered, so that changing
    # one afterwards changes the next fit, not the fitted network.
    _architecture: tuple[str, ...] = (
        "hidden_layer_sizes",
        "activation",
        "batch_norm",
        "input_dropout",
        "dropout",
    )
    # Whether "auto" computes in the type of the images, as scikit-learn does; else in float32.
    _follows_dtype = False
    # Whether the last epoch without convergence is worth a warning, as in scikit-learn.
    _warns_of_last_epoch = False

    hidden_layer_sizes: int | Sequence[int]
    activation: str
    batch_norm: bool
    input_dropout: float
    dropout: float
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    tol: float
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    epsilon: float
    max_grad_norm: float | None
    ema_decay: float | None
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None
    early_stopping: bool
    validation_fraction: float
    scoring: str | Callable | None
    n_iter_no_change: float
    warm_start: bool
    checkpoint: str | os.PathLike | None
    callbacks: Sequence | None
    n_dropout_samples: int
    n_augmentations: int
    standardize: bool
    random_state: int | np.random.RandomState | None
    device: str
    precision: str
    verbose: bool | int
    image_shape: tuple[int, ...] | None
    channel_axis: int | None

    def _assign(self, parameters: dict[str, Any]) -> None:
        """Assign the arguments of ``__init__``, handed over as its ``locals()``."""
        for name in self._get_param_names():
            setattr(self, name, parameters[name])

    @abstractmethod
    def _layers(self, image_shape: tuple[int, int, int], n_outputs: int, seed: int) -> nn.Module:
        """Return the untrained network for images (height, width, channels).

        `seed` is for modules of the user's own, which draw their weights when they are built.
        """

    @abstractmethod
    def _auto_batch_size(self, n_images: int) -> int:
        """Return what batch_size="auto" means."""

    @abstractmethod
    def _first_targets(self, y: Any, n_images: int, classes: Any) -> Targets:
        """Return what the network learns to say, from the first y that it sees."""

    @abstractmethod
    def _known_targets(self, y: Any, n_images: int, *, in_stream: bool) -> Targets:
        """Return the targets of a later y, with what was learnt from the first."""

    def _weigh(self, weights: np.ndarray | None, targets: Targets) -> np.ndarray | None:
        """Return the weights of the images; a classifier multiplies those of the classes."""
        return weights

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train the network: from scratch, or with `warm_start` from where it stands.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The training images.

        y : array-like of shape (n,) or (n, n_outputs)
            What they show: a class or number an image; or several labels (0 or 1) or numbers.

        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images in the loss. Images of weight 0 are left out.

        X_val : array-like or None, default=None
            Images for validation, of the shape of those in `X`. They are scored after every epoch,
            and `early_stopping` watches them instead of a part of the training images.

        y_val : array-like or None, default=None
            What they show.

        sample_weight_val : array-like or None, default=None
            Their weights.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If `X` is no image batch, `y` does not fit it (a classifier wants two or more classes),
            weights are negative or of another number, the network does not fit the images, the
            device is not there, the checkpoint is of another training, or training diverges.
        """
        go_on = self.warm_start and self.__sklearn_is_fitted__()
        net = self._fit_type(self, go_on=go_on, in_stream=False).run(
            X, y, sample_weight, validation=(X_val, y_val, sample_weight_val)
        )
        warn_if_interrupted(net, stacklevel=5)  # the caller of fit
        if self._warns_of_last_epoch and self.n_iter_ == self.max_iter and not net.stop_training_:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _can_stream(self) -> bool:
        if self.solver not in OPTIMIZERS:
            raise AttributeError(f"partial_fit needs one of {sorted(OPTIMIZERS)} as solver.")
        if self.learning_rate in PLANS:
            raise AttributeError(
                f"partial_fit needs a learning_rate without a plan: {self.learning_rate!r} depends "
                "on the number of epochs to come."
            )
        return True

    def _stream_in(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """Train for one epoch on images that need not come again."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        fit = self._fit_type(self, go_on=self.__sklearn_is_fitted__(), in_stream=True)
        fit.run(X, y, sample_weight, classes=classes)
        return self

    def _refuse_another_network(self) -> None:
        now = self._architecture_now()
        changed = [
            name for name, value in self.architecture_.items() if not _is_same(now[name], value)
        ]
        if changed:
            raise ValueError(
                f"{type(self).__name__} can only go on with the network that it has: "
                f"{changed[0]} was {self.architecture_[changed[0]]!r}, now {now[changed[0]]!r}. "
                "Take a clone, or warm_start=False."
            )

    def _architecture_now(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self._architecture}
        # A copy of a factory would be another one.
        return {name: v if callable(v) else deepcopy(v) for name, v in values.items()}

    def _training_type(self, images: np.dtype, device: torch.device) -> torch.dtype:
        if self.precision != "auto":
            return _PRECISIONS[self.precision]
        # float64 is slow on most accelerators, and missing on some.
        double = self._follows_dtype and images == np.float64 and device.type == "cpu"
        return torch.float64 if double else torch.float32

    def _solver_options(self) -> dict[str, Any]:
        if self.solver == "sgd":
            momentum = float(self.momentum)
            return {"momentum": momentum, "nesterov": self.nesterovs_momentum and momentum > 0}
        return {"betas": (float(self.beta_1), float(self.beta_2)), "eps": float(self.epsilon)}

    def _adapts(self) -> bool:
        return self.learning_rate == "adaptive" and self.solver == "sgd"

    def _batch_size(self, n_images: int, *, several: bool = False) -> int:
        """Return the images of a step; batch normalisation needs `several`."""
        wanted = self.batch_size
        size = self._auto_batch_size(n_images) if isinstance(wanted, str) else int(wanted)
        if several and min(size, n_images) == 1:
            raise ValueError(
                f"batch_size={wanted} and {n_images} training images (n_samples={n_images}) leave "
                "batch normalisation without statistics: take two or more of both, or a network "
                "without it (batch_norm=False)."
            )
        return min(size, n_images)

    def _drawn_network(
        self, image_shape: tuple[int, int, int], n_outputs: int, seed: int
    ) -> nn.Module:
        """Return the network with weights drawn from `seed`."""
        network = self._blank_layers(image_shape, n_outputs)
        initialise(network, torch.Generator().manual_seed(seed))
        return network

    def _blank_layers(self, image_shape: tuple[int, int, int], n_outputs: int) -> nn.Module:
        """Return the network on the CPU, before there are weights."""
        with torch.device("meta"):  # torch shall not draw any
            network = self._layers(image_shape, n_outputs, 0)
        return network.to(torch.float32).to_empty(device="cpu")  # not torch's default type

    def _blank_network(self) -> nn.Module:
        """Return the fitted network on the CPU, without its weights."""
        as_fitted = type(self)(**self.architecture_)
        return as_fitted._blank_layers(self._stored_shape(), self.n_outputs_)

    def _draw_from(self, network: nn.Module, generator: torch.Generator) -> None:
        """Have everything that is random in training come from `generator`."""
        for layer in network.modules():
            if isinstance(layer, SeededDropout):
                layer.generator = generator

    def _stored_shape(self) -> tuple[int, int, int]:
        height, width, *channels = self.image_shape_
        return height, width, channels[0] if channels else 1

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

    def as_transformer(
        self, layer: str | None = None, *, pool: str | None = None
    ) -> NetworkFeatures:
        """Return a transformer from images to the output of a layer of this network.

        Parameters
        ----------
        layer : str or None, default=None
            Name of the layer, as in :meth:`summary`; None stands for what goes into the output
            layer.

        pool : {"average", "max"} or None, default=None
            What becomes of the pixels of each map. None keeps them.

        Returns
        -------
        features : NetworkFeatures
            Of a fitted network a fitted transformer, which keeps the network as it is now: neither
            its own `fit` nor a later one of the network trains it again. Otherwise one whose `fit`
            trains a clone of this estimator.

        Raises
        ------
        ValueError
            If the fitted network has no such layer.
        """
        from skcnn.neural._features import NetworkFeatures  # which is built on this class

        return NetworkFeatures._of(self, layer=layer, pool=pool)

    def _outputs(self, X: Any) -> np.ndarray:
        """Return the network's outputs, averaged over thinned networks and changed images."""
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)  # which takes its time to find out
        images = check_images(self, X, reset=False)
        device = prediction_device(self.device)
        predict = self._predictor(device, self._prediction_type(images.dtype, device))
        n_samples = self.n_dropout_samples if predict.can_thin else 0
        n_changes = self.n_augmentations if self.augment is not None else 0
        if not n_samples and not n_changes:
            return self._as_read(predict(images), images.dtype, device)
        self._refuse_wrong_counts()
        variations = list(self._variations(device, n_samples, n_changes))
        total: np.ndarray | float = 0.0
        for thinned_by, change in variations:
            total = total + self._activate(predict(images, change=change, thinned_by=thinned_by))
        outputs = self._deactivate(np.asarray(total) / len(variations))
        return self._as_read(outputs, images.dtype, device)

    def _predictor(self, device: torch.device, dtype: np.dtype) -> Predictor:
        """Return what computes the network's outputs."""
        return predictor(self, device, dtype)

    def _standardizer(self) -> Standardizer:
        """Return what is done to images before they enter the fitted network."""
        return Standardizer(self.input_mean_, self.input_scale_)

    @staticmethod
    def _as_read(outputs: np.ndarray, images: np.dtype, device: torch.device) -> np.ndarray:
        return outputs.astype(images, copy=False) if device.type == "cpu" else outputs

    def _prediction_type(self, images: np.dtype, device: torch.device) -> np.dtype:
        # float64 is slow on most accelerators, and missing on some.
        return images if device.type == "cpu" else np.dtype(np.float32)

    def _refuse_wrong_counts(self) -> None:
        """Check the parameters that may be set after `fit`, which checks all of them."""
        names = ("n_dropout_samples", "n_augmentations")
        validate_parameter_constraints(
            {name: self._parameter_constraints[name] for name in names},
            {name: getattr(self, name) for name in names},
            type(self).__name__,
        )

    def _variations(
        self, device: torch.device, n_samples: int, n_changes: int
    ) -> Iterator[tuple[torch.Generator | None, Augmenter | None]]:
        """Yield a generator of dropped units and a change of the images for each prediction."""
        seed = self.random_state if isinstance(self.random_state, Integral) else 0
        for view in range(1 + n_changes):
            for sample in range(max(1, n_samples)):
                masks = torch.Generator(device).manual_seed(int(seed) + sample)
                change = None
                if view and self.augment is not None:
                    change = Augmenter(self.augment, torch.Generator(), int(seed) + view)
                yield (masks if n_samples else None), change

    @abstractmethod
    def _activate(self, outputs: np.ndarray) -> np.ndarray:
        """Return what may be averaged: probabilities, rates or numbers."""

    @abstractmethod
    def _deactivate(self, values: np.ndarray) -> np.ndarray:
        """Return the outputs that :meth:`_activate` makes these values of."""

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {**state, "callbacks": storable(self.callbacks)}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two values of a parameter mean the same, as 16, [16] and (16,) do."""
    return _plain(one) == _plain(other)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        return value
    values = tuple(map(_plain, value))
    return values[0] if len(values) == 1 and not isinstance(values[0], tuple) else values
