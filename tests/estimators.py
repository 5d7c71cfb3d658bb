"""All public estimators, found by themselves, and small labelled images that suit each of them."""

import importlib
import inspect
import pkgutil

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.utils import get_tags

import skcnn
from skcnn.features._encoder import DescriptorEncoder

N_IMAGES = 30
# Published weights would have to be downloaded.
OFFLINE = {"backbone": "test_resnet", "weights": None, "input_size": 64}
# Enough training for a separable problem of 30 images, so that tests stay quick.
QUICK = {
    "max_iter": 12,
    "batch_size": 8,
    "learning_rate_init": 0.01,
    "conv_channels": (32, 64),
    "n_modes": 4,
    "n_words": 8,
    "random_state": 0,
    **OFFLINE,
}


def public_rooms():
    """Yield the sub-packages of skcnn that anybody may import."""
    for module in pkgutil.iter_modules(skcnn.__path__, "skcnn."):
        if module.ispkg and not module.name.rpartition(".")[2].startswith("_"):
            yield importlib.import_module(module.name)


def all_modules():
    """Yield every module of skcnn but the one that is run by ``python -m``."""
    for module in pkgutil.walk_packages(skcnn.__path__, "skcnn."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def is_estimator(thing):
    # What has parameters but nothing to fit, such as an augmentation, is a part of estimators.
    return inspect.isclass(thing) and issubclass(thing, BaseEstimator) and hasattr(thing, "fit")


def find_estimators():
    """Return the classes of all estimators that skcnn's rooms make public, by name."""
    found = {
        thing
        for room in public_rooms()
        for thing in (getattr(room, name) for name in getattr(room, "__all__", ()))
        if is_estimator(thing) and not inspect.isabstract(thing)
    }
    return sorted(found, key=lambda estimator: estimator.__name__)


def with_defaults(estimator):
    """Return an instance with the defaults of all parameters, but for those that need a network."""
    known = inspect.signature(estimator).parameters
    return estimator(**{name: value for name, value in OFFLINE.items() if name in known})


def make(estimator, **parameters):
    """Return an instance that fits within a moment; a network in it gets what it does not know."""
    known = inspect.signature(estimator).parameters
    quick = {name: value for name, value in QUICK.items() if name in known}
    if is_around_a_network(estimator):
        inner = {name: parameters.pop(name) for name in parameters.keys() - known.keys()}
        quick["estimator"] = make(skcnn.CNNClassifier, **inner)
    return estimator(**{**quick, **parameters})


def is_around_a_network(estimator):
    """Tell whether the parameters that say how images are stored are those of a network inside."""
    return "estimator" in inspect.signature(estimator).parameters


def reads_paths(estimator):
    """Tell whether X is paths of files: such an estimator has no use for numbers."""
    tags = get_tags(make(estimator)).input_tags
    return tags.string and not tags.two_d_array


def takes_descriptors(estimator):
    """Tell whether X is sets of descriptors, which may stand in an array of three dimensions."""
    return issubclass(estimator, DescriptorEncoder)


ESTIMATORS = find_estimators()
OF_NUMBERS = [estimator for estimator in ESTIMATORS if not reads_paths(estimator)]
ENCODERS = [estimator for estimator in OF_NUMBERS if takes_descriptors(estimator)]
OF_IMAGES = [estimator for estimator in OF_NUMBERS if not takes_descriptors(estimator)]
CLASSIFIERS = [estimator for estimator in OF_IMAGES if is_classifier(make(estimator))]
REGRESSORS = [estimator for estimator in OF_IMAGES if is_regressor(make(estimator))]
TRANSFORMERS = [estimator for estimator in OF_NUMBERS if hasattr(estimator, "transform")]


def labelled_images(*, channels=None, dtype=np.float64, size=(8, 8)):
    """Return noisy images with a bright upper or left half, and which of the two it is."""
    rng = np.random.default_rng(0)
    y = np.arange(N_IMAGES) % 2
    height, width = size
    X = rng.uniform(0, 0.3, (N_IMAGES, height, width))
    X[y == 0, : height // 2] += 0.6
    X[y == 1, :, : width // 2] += 0.6
    if channels is not None:
        X = X[..., np.newaxis] * np.linspace(1, 0.6, channels)
    if np.dtype(dtype).kind == "u":
        X = np.round(X * np.iinfo(dtype).max)
    return X.astype(dtype), y


def decisions(estimator, X):
    """Return what a fitted predictor decides between the two kinds of labelled images."""
    predicted = estimator.predict(X)
    return predicted if is_classifier(estimator) else predicted > 0.5


def outputs(estimator, X):
    """Return all that a fitted estimator says about X, by method."""
    methods = ("transform", "predict", "predict_proba", "predict_log_proba", "decision_function")
    return {name: getattr(estimator, name)(X) for name in methods if hasattr(estimator, name)}


def assert_same_outputs(actual, expected, **tolerance):
    assert actual.keys() == expected.keys()
    assert actual
    for name, value in expected.items():
        if tolerance and np.asarray(value).dtype.kind == "f":
            np.testing.assert_allclose(actual[name], value, err_msg=name, **tolerance)
        else:
            np.testing.assert_array_equal(actual[name], value, err_msg=name)
