"""What the layers of a network say of images, as features for other estimators."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skcnn._compat import CallbackSupportMixin, StrOptions, fit_context, with_callbacks
from skcnn._devices import prediction_device
from skcnn.images import check_images
from skcnn.neural._base import NeuralEstimator
from skcnn.neural._batches import TORCH_TYPES
from skcnn.neural._cnn_classifier import CNNClassifier
from skcnn.neural._layer_output import POOLINGS, LayerOutput, up_to_layer
from skcnn.neural._prediction import Predictor, kept, ready, rebuild


class NetworkFeatures(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """The output of one layer of a network, as features for another estimator.

    `fit` trains a clone of the network on images and labels; `transform` returns what one of its
    layers says of every image. A support vector machine on top of that often does better than the
    network's own output layer, and features learnt for one task serve another one [1]_. A network
    that is fitted already and wrapped in :class:`sklearn.frozen.FrozenEstimator` is used as it is:
    then nothing is trained, and no labels are needed.

    Features are computed as predictions are: chunk by chunk, without dropout and augmentation, and
    with the moving averages of batch normalisation.

    Parameters
    ----------
    estimator : MLPClassifier, CNNClassifier, MLPRegressor, CNNRegressor, FrozenEstimator or None, \
default=None
        The network. None stands for ``CNNClassifier()``.

    layer : str or None, default=None
        Name of the layer, as in the network's ``summary()``: "conv1", "pool2" or "dense1_relu";
        "input" for the standardised images. Modules around others, such as "stage1" of a
        :class:`~skcnn.neural.ResidualNetwork`, are layers too. None stands for what goes into the
        output layer. A layer that is called several times gives its first output.

    pool : {"average", "max"} or None, default=None
        What becomes of the pixels of each map: their mean or maximum, so that there is one feature
        a map. None keeps them all. Layers without maps stay as they are.

    random_state : int, RandomState instance or None, default=None
        Seed of the training. None leaves it to the `random_state` of `estimator`.

    Attributes
    ----------
    estimator_ : estimator
        The fitted network; `estimator` itself if it is frozen.

    output_shape_ : tuple of int
        Shape of the layer's output for one image: (height, width, channels) of maps, (channels,) of
        pooled ones, (units,) of a fully connected layer.

    image_shape_ : tuple of int
        Shape of one image, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of one image.

    feature_names_in_ : ndarray of str
        Column names of `X` in `fit`, if it was a data frame.

    Raises
    ------
    ValueError
        If the network has no such layer (the message says which it has), or it cannot be trained
        on the images and labels.

    See Also
    --------
    CNNClassifier.as_transformer : The same for a network that is at hand.
    HOGExtractor : Features that need no training.

    References
    ----------
    .. [1] J. Yosinski, J. Clune, Y. Bengio and H. Lipson, "How transferable are features in deep
       neural networks?", NeurIPS 2014. :arxiv:`1411.1792`

    Examples
    --------
    A support vector machine on what a convolutional network has learnt, in one pipeline:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import SVC
    >>> from skcnn import CNNClassifier, NetworkFeatures, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> cnn = CNNClassifier((8, 16), max_iter=5, random_state=0)
    >>> pipeline = make_pipeline(NetworkFeatures(cnn), SVC()).fit(X[:1000], y[:1000])
    >>> pipeline.score(X[1000:], y[1000:]) > 0.9
    True

    Of a fitted network, with nothing trained again:

    >>> features = cnn.fit(X[:1000], y[:1000]).as_transformer("pool1", pool="average")
    >>> features.transform(X[:3]).shape
    (3, 8)
    """

    _parameter_constraints: dict = {
        "estimator": [NeuralEstimator, FrozenEstimator, None],
        "layer": [str, None],
        "pool": [StrOptions(set(POOLINGS)), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: NeuralEstimator | FrozenEstimator | None = None,
        *,
        layer: str | None = None,
        pool: str | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.layer = layer
        self.pool = pool
        self.random_state = random_state

    @classmethod
    def _of(cls, network: NeuralEstimator, *, layer: str | None, pool: str | None) -> Self:
        """Return the features of a network: fitted ones if it is fitted."""
        if not network.__sklearn_is_fitted__():
            return cls(clone(network), layer=layer, pool=pool)
        # A fit replaces what was learnt and changes none of it, so a shallow copy stays as it is.
        frozen = FrozenEstimator(copy.copy(network))
        features = cls(frozen, layer=layer, pool=pool)
        features._validate_params()
        features._take(frozen)
        return features

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """Train the network, unless it is frozen.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The training images.

        y : array-like of shape (n,) or (n, n_outputs)
            What they show, as the network wants it. A frozen network wants none.

        **fit_params : dict
            Arguments for the `fit` of the network, as `sample_weight`, `X_val` and `y_val`. With
            scikit-learn's metadata routing those that it requests.

        Returns
        -------
        self : NetworkFeatures
            The fitted transformer.

        Raises
        ------
        ValueError
            If the network has no such layer, found before it is trained, or if it cannot be trained
            on the images and labels.
        """
        estimator = clone(self._chosen())  # which leaves a frozen one as it is
        frozen = isinstance(estimator, FrozenEstimator)
        context = self._init_callback_context(max_subtasks=0 if frozen else 1)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        if frozen:
            self._take(estimator)
            check_images(self, X, reset=False)
        else:
            with _subtask(context, estimator, {"estimator": self, "X": X, "y": y}):
                self._train(estimator, X, y, fit_params)
        context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})
        return self

    def _train(self, estimator: NeuralEstimator, X: Any, y: Any, fit_params: dict) -> None:
        """Fit the network, once it is known that it has the layer."""
        if get_config()["enable_metadata_routing"]:
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        if self.random_state is not None:
            estimator.set_params(random_state=self.random_state)
        output_shape = self._find_layer(*_untrained(estimator, X, y))
        self._remember(estimator.fit(X, y, **fit_params), output_shape)

    def _take(self, frozen: FrozenEstimator) -> None:
        """Use a network as it is."""
        network = _network_of(frozen)
        check_is_fitted(network)
        output_shape = self._find_layer(network._blank_network(), network._stored_shape())
        self._remember(frozen, output_shape)

    def _find_layer(self, network: nn.Module, image_shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the shape of the layer's output; raise ValueError if there is no such layer."""
        part = LayerOutput(up_to_layer(network, image_shape, self.layer), self.pool)
        return part.shape_of(image_shape)

    def _remember(self, estimator: Any, output_shape: tuple[int, ...]) -> None:
        self.estimator_ = estimator
        self.output_shape_ = output_shape
        self._as_fitted = self.layer, self.pool

    def transform(self, X: Any) -> np.ndarray:
        """Return the output of the layer for every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        features : ndarray of shape (n, n_features_out)
            Maps as rows in the order (height, width, channels). On the CPU of the floating type
            that the images are read in, float32 for float32 and uint8, else float32.

        Raises
        ------
        ValueError
            If the images are not of the shape seen in `fit`, or hold NaN or infinity.
        """
        check_is_fitted(self)
        images = check_images(self, X, reset=False)
        return self._predictor(images.dtype)(images).reshape(len(images), -1)

    def _predictor(self, images: np.dtype) -> Predictor:
        """Return what computes the features of images of a type."""
        network, (layer, pool) = _network_of(self.estimator_), self._as_fitted
        device = prediction_device(network.device)
        # float64 is slow on most accelerators, and missing on some.
        dtype = images if device.type == "cpu" else np.dtype(np.float32)

        def build() -> Predictor:
            whole = rebuild(network, TORCH_TYPES[dtype])
            part = LayerOutput(up_to_layer(whole, network._stored_shape(), layer), pool)
            return ready(part, network, device, dtype)

        return kept(self, network.weights_, (device, dtype, layer, pool), build)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features: the layer and the place in its output.

        Parameters
        ----------
        input_features : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        names : ndarray of str
            One a feature: "conv1_0_0_3" for row 0, column 0 of map 3, "dense1_17" for unit 17;
            "networkfeatures_17" where no `layer` was named.
        """
        check_is_fitted(self)
        prefix = self._as_fitted[0] or type(self).__name__.lower()
        places = np.ndindex(*self.output_shape_)
        return np.array(["_".join(map(str, (prefix, *place))) for place in places], dtype=object)

    @property
    def image_shape_(self) -> tuple[int, ...]:
        """Shape of one image, (h, w) or (h, w, c)."""
        return self._learnt("image_shape_")

    @property
    def n_features_in_(self) -> int:
        """Number of values of one image."""
        return self._learnt("n_features_in_")

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Column names of `X` in `fit`, if it was a data frame."""
        return self._learnt("feature_names_in_")

    @property
    def channel_axis(self) -> int | None:
        """Axis of a 4-D `X` that holds the channels, a parameter of the network."""
        return self._learnt("channel_axis")

    def _learnt(self, name: str) -> Any:
        return getattr(_network_of(self.estimator_), name)

    def _chosen(self) -> NeuralEstimator | FrozenEstimator:
        return CNNClassifier() if self.estimator is None else self.estimator

    def get_metadata_routing(self) -> MetadataRouter:
        """Return who gets which argument of `fit`.

        Returns
        -------
        routing : MetadataRouter
            The network gets those that it requests.
        """
        fitting = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(estimator=self._chosen(), method_mapping=fitting)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        network = get_tags(self._chosen())
        tags.input_tags, tags.target_tags = network.input_tags, network.target_tags
        tags.target_tags.required = not isinstance(self.estimator, FrozenEstimator)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _network_of(estimator: Any) -> NeuralEstimator:
    network = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
    if not isinstance(network, NeuralEstimator):
        raise TypeError(
            "estimator must be one of skcnn's networks, or one in a FrozenEstimator; got "
            f"{type(network).__name__} in a FrozenEstimator."
        )
    return network


def _untrained(
    estimator: NeuralEstimator, X: Any, y: Any
) -> tuple[nn.Module, tuple[int, int, int]]:
    """Return the network that a fit would train, and the shape of its images."""
    estimator = clone(estimator)
    estimator._validate_params()
    images = check_images(estimator, X, reset=True)
    n_outputs = estimator._first_targets(y, len(images), None).n_outputs
    height, width, channels = images.shape[1:]
    return estimator._blank_layers((height, width, channels), n_outputs), (height, width, channels)


@contextmanager
def _subtask(context: Any, estimator: NeuralEstimator, task: dict[str, Any]) -> Iterator[None]:
    """Tell scikit-learn's callbacks that `estimator` is fitted as a part of another fit."""
    part = context.subcontext(task_name="fit-network")
    with part.propagate_callback_context(estimator):
        part.call_on_fit_task_begin(**task)
        yield
        part.call_on_fit_task_end(**task)
