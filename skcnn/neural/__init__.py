"""Networks learned end to end: multi-layer perceptrons and convolutional networks."""

from skcnn.neural._augmentation import Augmentation
from skcnn.neural._cnn_classifier import CNNClassifier
from skcnn.neural._cnn_regressor import CNNRegressor
from skcnn.neural._features import NetworkFeatures
from skcnn.neural._mlp_classifier import MLPClassifier
from skcnn.neural._mlp_regressor import MLPRegressor
from skcnn.neural._residual import ResidualNetwork

__all__ = [
    "Augmentation",
    "CNNClassifier",
    "CNNRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "NetworkFeatures",
    "ResidualNetwork",
]
