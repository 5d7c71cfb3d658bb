"""What the parameters of the networks mean: written once, shown by each estimator's docstring."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_Class = TypeVar("_Class", bound=type)

# Name -> type and meaning. The default comes from the signature.
_PARAMETERS = {
    "conv_channels": (
        "int or sequence of int or of tuples of int",
        "Number of kernels of each block's convolution; a tuple for a block of several "
        "convolutions, as in ``((64, 64), (128, 128))``.",
    ),
    "kernel_size": (
        "int, (int, int) or list of these",
        "Height and width of the kernels; a list has one entry for each block.",
    ),
    "stride": (
        "int, (int, int) or list of these",
        "Step of the kernels in pixels, down and across; a list has one entry for each block.",
    ),
    "padding": (
        '{"same", "valid"}, int, (int, int) or list of these',
        "Zeros around the maps: as many as make the output ``ceil(size / stride)`` large, none, or "
        "so many on each side; a list has one entry for each block.",
    ),
    "pool": (
        '{"max", "average"}, None or list of these',
        "Pooling at the end of each block; a list has one entry for each block.",
    ),
    "pool_size": (
        "int, (int, int) or list of these",
        "Height and width of the pooling windows, which do not overlap. An axis that has become "
        "shorter than that is pooled as a whole. A list has one entry for each block.",
    ),
    "global_pool": (
        "bool",
        "Replace each map of the last block by its mean, so that the fully connected layers see "
        "one number a map, wherever in the image the pattern was.",
    ),
    "module": (
        "class, callable or None",
        "A network of one's own: called with (in_channels, height, width, n_outputs), it returns "
        "a :class:`torch.nn.Module` that turns (n, channels, height, width) into (n, n_outputs), "
        "logits for classes. :class:`~skcnn.neural.ResidualNetwork` is ready-made. Then no "
        "parameter from `conv_channels` to `dropout` is used. Its weights, and what is random in "
        "its training, such as dropout, come from `random_state`. `n_dropout_samples` knows its "
        "dropout layers, but not what functions drop.",
    ),
    "hidden_layer_sizes": (
        "int or sequence of int",
        "Number of units of each fully connected hidden layer.",
    ),
    "activation": (
        '{"relu", "tanh", "logistic", "identity", "leaky_relu", "elu", "silu", "gelu"}',
        "Activation function of all layers but the last.",
    ),
    "batch_norm": (
        "bool",
        "Normalise the inputs of every activation over the batch in training, and by their moving "
        "averages in prediction.",
    ),
    "input_dropout": (
        "float",
        "Probability with which an input value is dropped in training; 0.2 is the classic setting.",
    ),
    "conv_dropout": (
        "float",
        "Probability with which a whole map is dropped after each block in training.",
    ),
    "dropout": (
        "float",
        "Probability with which a unit of a fully connected hidden layer is dropped in training; "
        "0.5 is the classic setting. Nothing is dropped in prediction.",
    ),
    "loss": (
        '{"squared_error", "poisson"}',
        'What training makes small; "poisson" is for counts: the network then gives the logarithm '
        "of the expected count, as a multiple of the mean count if `standardize`.",
    ),
    "solver": (
        '{"adam", "adamw", "sgd"}',
        'Optimiser; "sgd" has momentum, "adamw" is Adam with decoupled weight decay.',
    ),
    "alpha": (
        "float",
        "Strength of the L2 penalty on the weights, of ``alpha / 2 * ||w||^2`` a batch as in "
        'scikit-learn; for "adamw" the share of the learning rate by which a step shrinks the '
        "weights. Biases and normalisation are not penalised, and `loss_curve_` is without it.",
    ),
    "batch_size": (
        'int or "auto"',
        'Images per training step. "auto" is {auto_batch_size}. What is left over at the end of an '
        "epoch is a smaller batch; with batch normalisation, which needs several images to learn "
        "from, less than half a batch goes with the one before.",
    ),
    "learning_rate": (
        '{"constant", "invscaling", "adaptive", "step", "cosine", "one_cycle"}',
        'The plan of the learning rate. As in scikit-learn and for "sgd" only, "invscaling" '
        'divides it by ``(n_images_seen + 1) ** power_t`` and "adaptive" by five whenever patience '
        'ends. Over `max_iter` epochs and for every solver, "step" divides it by ten after a half '
        'and three quarters, "cosine" lets it fall to zero [S1]_, and "one_cycle" lets it rise for '
        "three tenths before that [S2]_.",
    ),
    "learning_rate_init": ("float", 'Learning rate; the highest one of "one_cycle".'),
    "power_t": ("float", 'Exponent of "invscaling".'),
    "max_iter": ("int", "Number of epochs at most."),
    "shuffle": ("bool", "Whether the images are put in a new order every epoch."),
    "tol": (
        "float",
        "An epoch counts as an improvement if the training loss falls, or with `early_stopping` "
        "the validation score rises, by more than this.",
    ),
    "momentum": ("float", 'Momentum of "sgd".'),
    "nesterovs_momentum": ("bool", "Whether momentum is Nesterov's."),
    "beta_1": ("float", "Decay of Adam's mean of the gradient."),
    "beta_2": ("float", "Decay of Adam's mean of the squared gradient."),
    "epsilon": ("float", "What Adam adds to the denominator."),
    "class_weight": (
        'dict, "balanced" or None',
        'Weights of the classes in the loss by label; "balanced" weighs them by the inverse of '
        "their frequency.",
    ),
    "label_smoothing": (
        "float",
        "Share of the target that is spread evenly over all classes.",
    ),
    "max_grad_norm": (
        "float or None",
        "Longest gradient of a step; a longer one is shortened to this.",
    ),
    "ema_decay": (
        "float or None",
        "Predict with an exponential moving average of the weights, of which a step keeps this "
        "share, such as 0.999, once there have been many; early ones keep less.",
    ),
    "augment": (
        "callable or None",
        "What changes each batch of training images, before they are standardised: "
        ":class:`~skcnn.Augmentation`, or a function of images (n, channels, height, width), a "
        "tensor on the CPU, and a :class:`torch.Generator` that returns as many of the same shape. "
        "Images for validation are never changed.",
    ),
    "early_stopping": (
        "bool",
        "Whether to set `validation_fraction` of the training images aside (unless `fit` gets "
        "`X_val`), watch the score on them instead of the training loss, and keep the weights of "
        "the best epoch.",
    ),
    "validation_fraction": (
        "float",
        "Part of the training images that `early_stopping` sets aside, of every class its share; "
        "one image of each class always stays in training.",
    ),
    "scoring": (
        "str, callable or None",
        'The score of validation: None for that of ``score``, "loss" for the loss, or a scorer of '
        "scikit-learn. A callable gets an estimator that knows its predictions, and no images.",
    ),
    "n_iter_no_change": (
        "int or inf",
        "Stop when more than so many epochs in a row were no improvement.",
    ),
    "warm_start": (
        "bool",
        "Whether `fit` goes on with the weights of the last one instead of drawing new ones.",
    ),
    "checkpoint": (
        "path or None",
        "File to which the state of training is written after every epoch. A `fit` that finds it, "
        "because the one before was killed or stopped by Ctrl-C, goes on from there to the same "
        "weights, and a `fit` that reaches its end removes it. A file of other data or parameters "
        "is an error. Each fit under way needs a file of its own. The callbacks of `callbacks` "
        "start anew.",
    ),
    "callbacks": (
        "list of skorch callbacks or None",
        "What is called during training: callbacks, or pairs of a name and a callback. They are "
        "not copied, so that what they have collected can be read from them; each `fit` "
        "initialises them anew, and a clone makes them anew from their parameters, which are all "
        "attributes that do not end with an underscore. The `y` that they see, and the net's "
        "predictions, are positions in `classes_`, labels, or standardised numbers. A pickle is "
        "without what they keep of torch in attributes that end with an underscore.",
    ),
    "n_dropout_samples": (
        "int",
        "If not 0, predictions are averaged over so many networks with units dropped at random, "
        "the same for every image, instead of taking the whole network.",
    ),
    "n_augmentations": (
        "int",
        "Predictions are averaged over the images and so many versions of them that `augment` "
        "has changed; :class:`~skcnn.Augmentation` changes all images of a version alike.",
    ),
    "standardize": (
        "bool",
        "Whether each channel{and_targets} is brought to mean 0 and variance 1, as seen in "
        "training.",
    ),
    "random_state": (
        "int, RandomState instance or None",
        "Seed of weights, order, dropout, augmentation and split. On the CPU the same seed gives "
        "bit-identical weights on one machine with one number of threads; torch's global "
        "generator is neither read nor changed.",
    ),
    "device": (
        "str",
        '"cpu", "cuda", "cuda:1", "mps", or "auto" for the best there is. A fitted estimator that '
        "does not find its device predicts on the CPU.",
    ),
    "precision": (
        '{"auto", "float32", "float64", "bfloat16"}',
        'Floating type of training. "auto" is {auto_precision}; "bfloat16" keeps the weights in '
        "float32 and multiplies in bfloat16, which only some processors do faster.",
    ),
    "verbose": ("bool or int", "Print one line an epoch."),
    "image_shape": ("tuple of int or None", "Shape of one image when the rows of `X` are flat."),
    "channel_axis": ("int or None", "Axis of a 4-D `X` that holds the channels."),
}

_ATTRIBUTES = {
    "classes_": (
        "ndarray of shape (n_classes,)",
        "The class labels; for labels that do not exclude each other, their numbers.",
    ),
    "target_mean_, target_scale_": (
        "ndarray of shape (n_outputs,)",
        "What is taken off `y` in training, and what it is then divided by.",
    ),
    "n_iter_": ("int", "Number of epochs; with `partial_fit` of all calls."),
    "loss_": ("float", "Mean loss of the last epoch."),
    "best_loss_": (
        "float or None",
        "Smallest value of `loss_curve_`; None with `early_stopping`.",
    ),
    "loss_curve_": (
        "list of float",
        "Mean loss of each epoch, taken while training went on{loss_unit}.",
    ),
    "validation_scores_": (
        "list of float or None",
        "Score of the validation images after each epoch, if there are any.",
    ),
    "best_validation_score_": (
        "float or None",
        "Largest validation score of the last fit; with `early_stopping` that of the network kept.",
    ),
    "t_": ("int", "Number of images that training has seen, each as often as it came."),
    "coefs_, intercepts_": (
        "tuple of ndarray",
        "Weights (n_in, n_out) and biases of each layer. They act on standardised images.",
    ),
    "n_layers_": ("int", "Number of layers, that of the inputs included."),
    "n_outputs_": ("int", "Number of outputs."),
    "out_activation_": ("str", "Function that is applied to the outputs."),
    "n_parameters_": ("int", "Number of weights that were learnt."),
    "architecture_": (
        "dict of str to object",
        "The parameters that the fitted network was built with.",
    ),
    "weights_": (
        "dict of str to ndarray",
        "Weights and moving statistics by the name of their layer.",
    ),
    "input_mean_, input_scale_": (
        "ndarray of shape (n_channels,)",
        "Mean and standard deviation of the training images, by which inputs are standardised.",
    ),
    "image_shape_": ("tuple of int", "Shape of the images seen in `fit`, (h, w) or (h, w, c)."),
    "n_features_in_": ("int", "Number of values of an image."),
    "feature_names_in_": (
        "ndarray of str",
        "Names of the columns, if `fit` was given a data frame.",
    ),
}

# Attributes that not every network has.
_SPECIAL = ("classes_", "target_mean_, target_scale_", "coefs_, intercepts_", "n_layers_")

_REFERENCES = """\
    .. [S1] I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
       ICLR 2017.

    .. [S2] L. N. Smith and N. Topin, "Super-convergence: very fast training of neural networks
       using large learning rates", 2018. :arxiv:`1708.07120`
"""


def documented(
    *special: str,
    parameters: Mapping[str, tuple[str, str]] | None = None,
    attributes: Mapping[str, tuple[str, str] | None] | None = None,
    **words: str,
) -> Callable[[_Class], _Class]:
    """Return a decorator that fills in a docstring's parameters, attributes and references.

    `special` names attributes that not every network has, `words` are put into the texts.
    `parameters` and `attributes` are those of one estimator, or mean something else there; None
    leaves an attribute out.
    """
    of_parameters = {**_PARAMETERS, **(parameters or {})}
    of_attributes = {
        name: text
        for name, text in {**(attributes or {}), **_ATTRIBUTES, **(attributes or {})}.items()
        if text is not None and (name in special or name not in _SPECIAL)
    }

    def fill(cls: _Class) -> _Class:
        described = [
            _entry(f"{name} : {of_parameters[name][0]}, default={_shown(p.default)}", name)
            for name, p in inspect.signature(cls).parameters.items()
        ]
        learnt = [
            _entry(f"{name} : {of_attributes[name][0]}", name, of_attributes)
            for name in of_attributes
        ]
        assert cls.__doc__ is not None
        cls.__doc__ = (
            cls.__doc__.replace("    {parameters}", "\n\n".join(described))
            .replace("    {attributes}", "\n\n".join(learnt))
            .replace("    {references}", _REFERENCES.rstrip())
        )
        return cls

    def _entry(head: str, name: str, texts: dict = of_parameters) -> str:
        meaning = texts[name][1]
        for word, text in words.items():
            meaning = meaning.replace("{" + word + "}", text)
        lines = textwrap.wrap(meaning, 92, break_on_hyphens=False)
        return textwrap.indent("\n".join([head, *(f"    {line}" for line in lines)]), "    ")

    return fill


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
