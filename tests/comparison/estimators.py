"""Classifiers that misbehave in known ways."""

from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier


class Failing(ClassifierMixin, BaseEstimator):
    """Raises when it is fitted."""

    def __init__(self, message="broken"):
        self.message = message

    def fit(self, X, y):
        raise RuntimeError(self.message)

    def predict(self, X):
        raise AssertionError("never reached")


class FailingOnce(DummyClassifier):
    """Fails to predict where a test fold is larger than `limit`."""

    def __init__(self, limit=0):
        super().__init__()
        self.limit = limit

    def predict(self, X):
        if len(X) > self.limit:
            raise ValueError(f"{len(X)} images are too many")
        return super().predict(X)


class Interrupting(DummyClassifier):
    """Behaves as if Ctrl-C was pressed while it is fitted on `n_images` images."""

    def __init__(self, n_images=0):
        super().__init__()
        self.n_images = n_images

    def fit(self, X, y):
        if len(X) == self.n_images:
            raise KeyboardInterrupt
        return super().fit(X, y)


class Noisy(DummyClassifier):
    """Warns when it is fitted."""

    def fit(self, X, y):
        import warnings

        warnings.warn("<u>slow</u>", UserWarning, stacklevel=2)
        return super().fit(X, y)


class Unpicklable(DummyClassifier):
    """Holds something that no pickle can, once it is fitted."""

    def fit(self, X, y):
        self.handle = lambda: None
        return super().fit(X, y)
