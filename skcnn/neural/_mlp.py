"""The multi-layer perceptron: the baseline that sees pixels as features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from skcnn._parameters import layer_sizes
from skcnn.neural._base import NeuralClassifier
from skcnn.neural._modules import FlattenImages, dense_layers, named_sequence


class MLPClassifier(NeuralClassifier):
    """Multi-layer perceptron on the pixels of images.

    The parameters have the names and meanings of :class:`sklearn.neural_network.MLPClassifier`;
    images of any layout and storage come in, and training runs on torch.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Number of units of each hidden layer.

    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Activation function of all layers but the last.

    batch_norm : bool, default=False
        Normalise the inputs of every activation over the batch in training, and by their moving
        averages in prediction.

    dropout : float, default=0.0
        Probability with which a hidden unit is dropped in training; 0.5 is the
        classic setting. Nothing is dropped in prediction.

    solver : {"adam", "sgd"}, default="adam"
        Optimiser; "sgd" uses Nesterov's momentum.

    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights, of ``alpha / 2 * ||w||^2`` a batch as in
        scikit-learn. Biases and normalisation are not penalised.

    batch_size : int or "auto", default="auto"
        Images per training step. "auto" is a fiftieth of the training images, at least 16 and at
        most 128.

    learning_rate_init : float, default=0.001
        Learning rate.

    momentum : float, default=0.9
        Momentum of "sgd".

    max_iter : int, default=200
        Number of epochs at most.

    shuffle : bool, default=True
        Whether the images are put in a new order every epoch.

    tol : float, default=0.0001
        An epoch counts as an improvement if the training loss falls, or with `early_stopping` the
        validation accuracy rises, by more than this.

    n_iter_no_change : int or inf, default=10
        Stop when more than so many epochs in a row were no improvement.

    early_stopping : bool, default=False
        Whether to set `validation_fraction` of the training images aside, watch the accuracy on
        them instead of the training loss, and keep the weights of the best epoch.

    validation_fraction : float, default=0.1
        Part of the training images that `early_stopping` sets aside, of every class its share; one
        image of each class always stays in training.

    random_state : int, RandomState instance or None, default=None
        Seed of weights, order, dropout and split. On the CPU the same seed gives bit-identical
        weights on one machine with one number of threads; torch's global generator is neither read
        nor changed.

    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps", or "auto" for the best there is. A fitted classifier that
        does not find its device predicts on the CPU.

    verbose : bool or int, default=False
        Print one line an epoch.

    image_shape : tuple of int or None, default=None
        Shape of one image when the rows of `X` are flat.

    channel_axis : int or None, default=-1
        Axis of a 4-D `X` that holds the channels.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.

    n_iter_ : int
        Number of epochs.

    loss_ : float
        Mean cross-entropy of the last epoch.

    best_loss_ : float
        Smallest value of `loss_curve_`.

    loss_curve_ : list of float
        Mean cross-entropy of each epoch, taken while training went on.

    validation_scores_ : list of float or None
        Validation accuracy after each epoch, if `early_stopping`.

    n_parameters_ : int
        Number of weights that were learnt.

    architecture_ : dict of str to object
        The parameters that the fitted network was built with.

    weights_ : dict of str to ndarray
        Weights and moving statistics by the name of their layer.

    input_mean_, input_scale_ : ndarray of shape (n_channels,)
        Mean and standard deviation of the training images, by which inputs are standardised.

    image_shape_ : tuple of int
        Shape of the images seen in `fit`, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If the images or labels cannot be used, the device is not there, or training diverges.

    See Also
    --------
    CNNClassifier : A network that knows which pixels are neighbours.

    References
    ----------
    .. [1] D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning representations by
       back-propagating errors", Nature 323, 1986. :doi:`10.1038/323533a0`

    Examples
    --------
    >>> from skcnn import MLPClassifier, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> mlp = MLPClassifier((50,), max_iter=30, random_state=0).fit(X[:1000], y[:1000])
    >>> mlp.n_parameters_
    3760
    >>> mlp.score(X[1000:], y[1000:]) > 0.9
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        *,
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        momentum: float = 0.9,
        max_iter: int = 200,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: float = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: bool | int = False,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device
        self.verbose = verbose
        self.image_shape = image_shape
        self.channel_axis = channel_axis

    def _layers(self, image_shape: tuple[int, int, int], n_classes: int) -> nn.Sequential:
        height, width, channels = image_shape
        dense = dense_layers(
            height * width * channels,
            layer_sizes("hidden_layer_sizes", self.hidden_layer_sizes),
            n_classes,
            activation=self.activation,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
        )
        return named_sequence([("flatten", FlattenImages()), *dense])
