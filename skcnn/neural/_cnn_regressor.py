"""The convolutional network for numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from skcnn.neural._cnn import ConvolutionalNetwork
from skcnn.neural._parameter_docs import documented
from skcnn.neural._regressor import NeuralRegressor


@documented(
    "target_mean_, target_scale_",
    auto_batch_size="a hundredth of the training images, at least 8 and at most 128",
    auto_precision="float32",
    and_targets=" of `X`, and `y` (for counts: divided by its mean),",
    loss_unit="; of numbers brought to variance 1, or counts to mean 1, if `standardize`",
)
class CNNRegressor(ConvolutionalNetwork, NeuralRegressor):
    """Convolutional network on images that gives numbers: an age, a count, an angle.

    The network is that of :class:`CNNClassifier` without the softmax.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Raises
    ------
    ValueError
        If the images or numbers cannot be used, the network is too deep for the images, the device
        is not there, or training diverges.

    See Also
    --------
    MLPRegressor : A network without convolutions.
    CNNClassifier : The same network for classes.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
       document recognition", Proceedings of the IEEE 86, 1998. :doi:`10.1109/5.726791`

    {references}

    Examples
    --------
    The row that a digit's ink is centred on:

    >>> import numpy as np
    >>> from skcnn import CNNRegressor, load_digit_images
    >>> X, _ = load_digit_images(return_X_y=True)
    >>> row = (X.sum(axis=2) @ np.arange(8)) / X.sum(axis=(1, 2))
    >>> cnn = CNNRegressor((8,), max_iter=10, random_state=0).fit(X[:1000], row[:1000])
    >>> cnn.score(X[1000:], row[1000:]) > 0.7
    True
    """

    _parameter_constraints: dict = {
        **NeuralRegressor._parameter_constraints,
        **ConvolutionalNetwork._parameter_constraints,
    }

    def __init__(
        self,
        conv_channels: int | Sequence[int | tuple[int, ...]] = (32, 64, (64, 64)),
        *,
        kernel_size: int | tuple[int, int] | list = 3,
        stride: int | tuple[int, int] | list = 1,
        padding: str | int | tuple[int, int] | list = "same",
        pool: str | list | None = "max",
        pool_size: int | tuple[int, int] | list = 2,
        global_pool: bool = False,
        hidden_layer_sizes: int | Sequence[int] = (128,),
        activation: str = "relu",
        batch_norm: bool = True,
        input_dropout: float = 0.0,
        conv_dropout: float = 0.0,
        dropout: float = 0.0,
        module: Callable[..., nn.Module] | None = None,
        loss: str = "squared_error",
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
        max_grad_norm: float | None = None,
        ema_decay: float | None = 0.999,
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
