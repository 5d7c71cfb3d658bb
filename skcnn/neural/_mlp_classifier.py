"""The multi-layer perceptron: the baseline that sees pixels as features."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch

from skcnn.neural._classifier import NeuralClassifier
from skcnn.neural._mlp import Perceptron
from skcnn.neural._parameter_docs import documented


@documented(
    "classes_",
    "coefs_, intercepts_",
    "n_layers_",
    auto_batch_size="200, as in scikit-learn",
    auto_precision="that of the images on the CPU, and float32 for integers and elsewhere",
    and_targets="",
    loss_unit="",
)
class MLPClassifier(Perceptron, NeuralClassifier):
    """Multi-layer perceptron on the pixels of images.

    The parameters have the names and meanings of :class:`sklearn.neural_network.MLPClassifier`;
    images of any layout and storage come in, and training runs on torch. `y` may also hold several
    labels an image, 0 or 1 each, which do not exclude each other.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Raises
    ------
    ValueError
        If the images or labels cannot be used, the device is not there, or training diverges.

    See Also
    --------
    CNNClassifier : A network that uses which pixels are neighbours.
    MLPRegressor : The same network for numbers.

    References
    ----------
    .. [1] D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning representations by
       back-propagating errors", Nature 323, 1986. :doi:`10.1038/323533a0`

    .. [2] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    .. [3] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout",
       Journal of Machine Learning Research 15, 2014.

    {references}

    Examples
    --------
    >>> from skcnn import MLPClassifier, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> mlp = MLPClassifier((50,), max_iter=40, random_state=0, early_stopping=True)
    >>> mlp = mlp.fit(X[:1000], y[:1000])
    >>> mlp.score(X[1000:], y[1000:]) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **NeuralClassifier._parameter_constraints,
        **Perceptron._parameter_constraints,
    }

    def __init__(
        self,
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
