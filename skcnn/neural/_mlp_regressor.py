"""The multi-layer perceptron for numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch

from skcnn.neural._mlp import Perceptron
from skcnn.neural._parameter_docs import documented
from skcnn.neural._regressor import NeuralRegressor


@documented(
    "target_mean_, target_scale_",
    "coefs_, intercepts_",
    "n_layers_",
    auto_batch_size="200, as in scikit-learn",
    auto_precision="that of the images on the CPU, and float32 for integers and elsewhere",
    and_targets=" of `X`, and `y` (for counts: divided by its mean),",
    loss_unit="; of numbers brought to variance 1, or counts to mean 1, if `standardize`",
)
class MLPRegressor(Perceptron, NeuralRegressor):
    """Multi-layer perceptron on the pixels of images that gives numbers.

    The parameters have the names and meanings of :class:`sklearn.neural_network.MLPRegressor`;
    images of any layout and storage come in, and training runs on torch.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Raises
    ------
    ValueError
        If the images or numbers cannot be used, the device is not there, or training diverges.

    See Also
    --------
    CNNRegressor : A network that uses which pixels are neighbours.
    MLPClassifier : The same network for classes.

    References
    ----------
    .. [1] D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning representations by
       back-propagating errors", Nature 323, 1986. :doi:`10.1038/323533a0`

    .. [2] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    {references}

    Examples
    --------
    How much ink there is:

    >>> from skcnn import MLPRegressor, load_digit_images
    >>> X, _ = load_digit_images(return_X_y=True)
    >>> ink = X.mean(axis=(1, 2))
    >>> mlp = MLPRegressor(hidden_layer_sizes=(20,), max_iter=100, random_state=0)
    >>> mlp.fit(X[:1000], ink[:1000]).score(X[1000:], ink[1000:]) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **NeuralRegressor._parameter_constraints,
        **Perceptron._parameter_constraints,
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        batch_norm: bool = False,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
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
