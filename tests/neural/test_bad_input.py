"""What cannot be trained on is refused, with advice."""

import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skcnn import CNNClassifier, CNNRegressor, MLPClassifier, MLPRegressor
from skcnn.neural._training import LeanNet

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::RuntimeWarning"
)

rng = np.random.RandomState(0)
X, y = rng.rand(20, 6, 6), np.arange(20) % 2
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 2}


def mlp(**parameters):
    return MLPClassifier(**{**SMALL, "random_state": 0, **parameters})


def cnn(**parameters):
    return CNNClassifier(**{**SMALL, "conv_channels": (4,), "random_state": 0, **parameters})


classifiers = pytest.mark.parametrize("network", [mlp, cnn])
every_network = pytest.mark.parametrize(
    "network",
    [
        mlp(),
        cnn(),
        MLPRegressor(**SMALL),
        CNNRegressor((4,), **SMALL),
    ],
    ids=lambda network: type(network).__name__,
)


@classifiers
@pytest.mark.parametrize("label", [0, "cat", 2.0, True], ids=str)
def test_one_class_only(network, label):
    for method in ("fit", "partial_fit"):
        estimator = network()
        with pytest.raises(ValueError, match=f"2 classes, but y has only one class: {label!r}"):
            getattr(estimator, method)(X, [label] * 20)
        with pytest.raises(NotFittedError):
            estimator.predict(X)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "MLPClassifier requires y to be passed"),
        (np.zeros(20) + 0.5, "continuous"),
        (np.r_[np.nan, np.ones(19)], "NaN"),
        (np.stack([y, y + 1], axis=1), "1d array"),
        (np.eye(19, 3, dtype=int), "20 images, but y 19 rows"),
        (y[1:], "20 images, but y 19 labels"),
        ([], "20 images, but y 0 labels"),
        (np.zeros((20, 2, 2), dtype=int), "dim"),
    ],
    ids=["none", "continuous", "NaN", "two columns", "rows", "labels", "empty", "3-D"],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(ValueError, match=message):
        mlp().fit(X, labels)


@every_network
@pytest.mark.parametrize(
    ("images", "error"),
    [
        (X[:0], ValueError),
        (X[0, 0], ValueError),
        (np.full(X.shape, "a"), ValueError),
        (X + 1j, ValueError),
        (np.zeros((20, 0, 5)), ValueError),
        (np.zeros((20, 2, 2, 2, 2)), ValueError),
        (None, ValueError),
    ],
    ids=["empty", "1-D", "text", "complex", "no pixels", "5-D", "none"],
)
def test_images_that_are_none(network, images, error):
    network = clone(network)
    with pytest.raises(error):
        network.fit(images, y)
    assert not hasattr(network, "weights_")


@every_network
def test_training_that_diverges_stops_with_advice(network):
    network = clone(network).set_params(solver="sgd", learning_rate_init=1e30, max_iter=50)
    with pytest.raises(ValueError, match="training diverged") as caught:
        network.fit(X, y)
    said = str(caught.value)
    epoch = re.search(r"in epoch (\d+)", said)
    assert epoch is not None
    assert 1 <= int(epoch[1]) <= 50
    assert "scale of X" in said
    assert "learning_rate_init smaller than 1e+30" in said
    with pytest.raises(NotFittedError):
        network.predict(X)


def test_images_too_large_stop_with_advice():
    for factor in (1e160, 1e308):  # whose variance, whose sum is infinite
        with pytest.raises(ValueError, match=r"in epoch 1.*large values.*scale of X"):
            mlp().fit(X * factor, y)
    with pytest.raises(ValueError, match="y holds numbers too large to be standardised"):
        MLPRegressor(**SMALL).fit(X, y * 1e200)


@pytest.mark.parametrize("factor", [1e-20, 1e-13, 1e13, 1e100])
def test_images_and_numbers_of_any_usual_scale_are_standardised(factor):
    network = mlp(max_iter=20).fit(X * factor, y)
    expected = mlp(max_iter=20).fit(X, y)
    np.testing.assert_allclose(
        network.predict_proba(X * factor), expected.predict_proba(X), rtol=1e-6
    )
    regressor = MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0)
    numbers = rng.normal(size=20) + 3
    predicted = regressor.fit(X, numbers * factor).predict(X)
    np.testing.assert_allclose(predicted, factor * regressor.fit(X, numbers).predict(X), rtol=1e-6)


def test_what_diverges_leaves_the_network_of_the_last_fit():
    network = mlp(warm_start=True).fit(X, y)
    before = network.predict_proba(X)
    network.set_params(solver="sgd", learning_rate_init=1e30, max_iter=50)
    with pytest.raises(ValueError, match="diverged"):
        network.fit(X, y)
    np.testing.assert_array_equal(network.predict_proba(X), before)
    assert len(network.loss_curve_) == 2


@every_network
def test_out_of_memory_names_the_batch_size_that_was_tried(network, monkeypatch):
    def run_out(self, batches):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(LeanNet, "_train_epoch", run_out)
    network = clone(network).set_params(batch_size=16)
    advice = r"out of memory with batches of 16 images of \(6, 6\)\. Take a batch_size below 16"
    for method in (network.fit, network.partial_fit):
        with pytest.raises(MemoryError, match=advice) as caught:
            method(X, y)
        assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert not hasattr(network, "weights_")


@every_network
def test_out_of_memory_before_training_and_in_prediction(network, monkeypatch):
    def run_out(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    fitted = clone(network).fit(X, y)
    advice = r"out of memory with 20 images of \(6, 6\) at a time\. Take device='cpu'"
    with monkeypatch.context() as patched:
        patched.setattr("skcnn.neural._prediction.as_input", run_out)
        with pytest.raises(MemoryError, match=advice):
            fitted.predict(X)
    advice = (
        r"out of memory with a network of \d+ weights\. Take a smaller network, or device='cpu'"
    )
    move = torch.nn.Module.to

    def to(module, *where):
        return run_out() if len(where) == 2 else move(module, *where)  # device and type

    monkeypatch.setattr(torch.nn.Module, "to", to)
    with pytest.raises(MemoryError, match=advice):
        clone(network).fit(X, y)


@every_network
@pytest.mark.parametrize(
    ("augment", "seen"),
    [
        (lambda images, generator: images[:, :, 1:], r"Tensor \(20, 1, 5, 6\)"),
        (lambda images, generator: images[1:], r"Tensor \(19, 1, 6, 6\)"),
        (lambda images, generator: images.repeat(1, 3, 1, 1), r"Tensor \(20, 3, 6, 6\)"),
        (lambda images, generator: images.numpy(), r"ndarray \(20, 1, 6, 6\)"),
        (lambda images, generator: None, "NoneType"),
    ],
    ids=["smaller", "fewer", "coloured", "NumPy", "nothing"],
)
def test_an_augmentation_that_returns_something_else(network, augment, seen):
    network = clone(network).set_params(batch_size=20, augment=augment)
    with pytest.raises(ValueError, match=rf"augment must .*\(20, 1, 6, 6\); got {seen}"):
        network.fit(X, y)
    fitted = clone(network).set_params(augment=None).fit(X, y)
    fitted.set_params(augment=augment, n_augmentations=1)
    with pytest.raises(ValueError, match="augment must return a tensor of the shape"):
        fitted.predict(X)


def test_an_augmentation_may_return_another_type_and_a_graph():
    def halve(images, generator):
        return (images.double() / 2).requires_grad_()

    halved = cnn(augment=halve, standardize=False).fit(X, y)
    expected = cnn(standardize=False).fit(X / 2, y)
    np.testing.assert_allclose(halved.loss_curve_, expected.loss_curve_, rtol=1e-5)


def test_an_augmentation_that_makes_nan_is_noticed():
    with pytest.raises(ValueError, match="train_loss became nan in epoch 1"):
        cnn(augment=lambda images, generator: images * torch.nan).fit(X, y)


@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "pool", "pool_size"])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_lists_that_do_not_fit_the_blocks(name, n):
    value = ["max"] * n if name == "pool" else [2] * n
    with pytest.raises(ValueError, match=f"{name} must have one entry for each of the 2 blocks"):
        cnn(conv_channels=(4, 4), **{name: value}).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kernel_size": [3, (1, 2, 3)]}, r"kernel_size must be \(height, width\).*\(1, 2, 3\)"),
        ({"stride": [1, 0]}, "stride must be .*got 0"),
        ({"pool": ["max", "min"]}, "pool must be 'max', 'average' or None, got 'min'"),
        ({"pool": ["max", ["max"]]}, r"pool must be .*got \['max'\]"),
        ({"padding": ["same", "full"]}, "padding must be 'same', 'valid'.*got 'full'"),
        ({"padding": [1, -1]}, "padding must be .*got -1"),
        ({"pool_size": [2, (2, 0)]}, r"pool_size must be .*got \(2, 0\)"),
        (
            {"conv_channels": ((),)},
            r"conv_channels must hold ints or tuples of ints, got \(\(\),\)",
        ),
        ({"conv_channels": (4, ())}, r"conv_channels must hold .*got \(4, \(\)\)"),
        ({"conv_channels": (4.0,)}, "conv_channels must be positive ints"),
        ({"conv_channels": "44"}, "conv_channels"),
        ({"conv_channels": None}, "conv_channels"),
        ({"hidden_layer_sizes": ((4,),)}, "hidden_layer_sizes must be positive ints"),
        ({"hidden_layer_sizes": np.array([[4]])}, "hidden_layer_sizes must be positive ints"),
        ({"hidden_layer_sizes": "44"}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": None}, "hidden_layer_sizes"),
    ],
    ids=str,
)
def test_layers_that_cannot_be_built(parameters, message):
    network = cnn(**{"conv_channels": (4, 4), **parameters})
    with pytest.raises(ValueError, match=message):
        network.fit(X, y)
    assert not hasattr(network, "weights_")


@pytest.mark.parametrize(
    "parameters",
    [
        {"learning_rate_init": np.nan},
        {"learning_rate_init": 0},
        {"alpha": np.inf},
        {"max_iter": 3.0},
        {"dropout": 1.0},
        {"label_smoothing": 1.0},
        {"ema_decay": 1.0},
        {"max_grad_norm": 0},
        {"n_dropout_samples": -1},
        {"n_augmentations": 1.5},
        {"n_iter_no_change": 0},
        {"augment": "flip"},
        {"scoring": "best"},
        {"class_weight": "inverse"},
        {"learning_rate": "falling"},
        {"precision": "float16"},
        {"verbose": -1},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_named(parameters):
    name = next(iter(parameters))
    with pytest.raises(ValueError, match=f"'{name}' parameter of MLPClassifier must be"):
        mlp(**parameters).fit(X, y)
    with pytest.raises(ValueError, match=f"'{name}' parameter of CNNClassifier must be"):
        cnn(**parameters).fit(X, y)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({5: 2.0}, "not in class_weight"),
        ({0: -1.0, 1: 1.0}, "class_weight: Negative"),
        ({0: 0.0, 1: 0.0}, "class_weight: .*zero"),
        ({0: np.nan, 1: 1.0}, "class_weight: .*NaN"),
        ({0: "heavy", 1: 1.0}, "class_weight: .*heavy"),
    ],
    ids=["unknown", "negative", "zero", "NaN", "text"],
)
@classifiers
def test_weights_of_classes_that_are_none(network, class_weight, message):
    with pytest.raises(ValueError, match=message):
        network(class_weight=class_weight).fit(X, y)


@classifiers
def test_normalisation_needs_two_images(network):
    network = network(batch_norm=True)
    with pytest.raises(ValueError, match=r"batch_size=1 and 20 training images.*batch_norm=False"):
        clone(network).set_params(batch_size=1).fit(X, y)
    with pytest.raises(ValueError, match="and 1 training images"):
        network.fit(X, y, np.r_[1.0, np.zeros(19)])
    with pytest.raises(ValueError, match="and 1 training images"):
        network.partial_fit(X[:1], y[:1], classes=[0, 1])
    assert clone(network).set_params(batch_size=1, batch_norm=False).fit(X, y).n_iter_ == 2
    # The last image goes with the batch before it.
    assert clone(network).set_params(batch_size=19).fit(X, y).n_iter_ == 2


@every_network
def test_one_image_is_enough_for_validation(network):
    network = clone(network).set_params(scoring="loss")
    scores = network.fit(X, y, X_val=X[:1], y_val=y[:1]).validation_scores_
    assert np.isfinite(scores).all()
    assert len(scores) == 2


def test_one_image_may_be_set_aside():
    network = cnn(early_stopping=True, validation_fraction=0.5).fit(X[:3], y[:3])
    assert network.validation_scores_[0] in (0, 1)


@every_network
def test_validation_images_and_labels_belong_together(network):
    with pytest.raises(ValueError, match=r"y_val.*None"):
        clone(network).fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="y_val and sample_weight_val need X_val"):
        clone(network).fit(X, y, y_val=y)
