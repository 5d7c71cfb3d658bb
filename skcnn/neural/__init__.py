"""Networks learned end to end: a multi-layer perceptron and a convolutional network."""

from skcnn.neural._augmentation import Augmentation
from skcnn.neural._cnn import CNNClassifier
from skcnn.neural._mlp import MLPClassifier
from skcnn.neural._residual import ResidualNetwork

__all__ = ["Augmentation", "CNNClassifier", "MLPClassifier", "ResidualNetwork"]
