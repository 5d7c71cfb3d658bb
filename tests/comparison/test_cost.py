import pickle

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skcnn import CNNClassifier, TemplateMatcher
from skcnn.comparison import count_parameters
from skcnn.comparison._cost import pickled_size

from .estimators import Unpicklable

X, y = load_iris(return_X_y=True)
LOGISTIC = 3 * 4 + 3


def logistic():
    return LogisticRegression(max_iter=500)


def test_logistic_regression():
    assert count_parameters(logistic().fit(X, y)) == LOGISTIC


def test_svm_counts_its_support_vectors():
    svm = SVC().fit(X, y)
    n_vectors = len(svm.support_)
    # 4 values and 2 coefficients each, one intercept for each of the 3 pairs of classes
    assert count_parameters(svm) == n_vectors * (4 + 2) + 3


def test_pipeline_adds_its_steps_up():
    # The scaler uses mean_ and scale_; var_ is the square of the latter.
    pipeline = make_pipeline(StandardScaler(), "passthrough", logistic()).fit(X, y)
    assert count_parameters(pipeline) == 2 * 4 + LOGISTIC


def test_search_counts_the_winner_once():
    search = GridSearchCV(make_pipeline(StandardScaler(), logistic()), {}, cv=2).fit(X, y)
    assert count_parameters(search) == 2 * 4 + LOGISTIC


def test_lists_of_weights():
    network = MLPClassifier((5,), max_iter=2, early_stopping=True, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        network.fit(X, y)
    assert count_parameters(network) == 4 * 5 + 5 + 5 * 3 + 3


def test_nested_estimators():
    voting = VotingClassifier([("a", logistic()), ("b", logistic())]).fit(X, y)
    assert count_parameters(voting) == 2 * LOGISTIC
    assert count_parameters(OneVsRestClassifier(logistic()).fit(X, y)) == 3 * (4 + 1)
    union = make_union(StandardScaler(), PCA(2)).fit(X)
    assert count_parameters(union) == 2 * 4 + (2 * 4 + 4)


def test_sparse_weights_count_what_is_stored():
    sparse = LogisticRegression(l1_ratio=1, solver="saga", C=0.05, max_iter=2000, tol=1e-3)
    sparse.fit(X, y).sparsify()
    assert count_parameters(sparse) == np.count_nonzero(sparse.coef_.toarray()) + 3


def test_own_count_comes_first():
    cnn = CNNClassifier((2,), hidden_layer_sizes=(), max_iter=1, batch_norm=False, pool=None)
    cnn.fit(np.zeros((10, 3, 3)) + np.arange(10)[:, None, None], [0, 1] * 5)
    assert count_parameters(cnn) == (2 * 9 + 2) + (2 * 9 * 2 + 2) == cnn.n_parameters_
    matcher = TemplateMatcher().fit(np.random.default_rng(0).random((6, 4, 5)), [0, 1] * 3)
    assert count_parameters(matcher) == 2 * 4 * 5


def test_unknown_is_not_zero():
    assert count_parameters(KNeighborsClassifier().fit(X, y)) is None


def test_pickled_size_is_that_of_the_pickle():
    svm = SVC().fit(X, y)
    assert pickled_size(svm) == len(pickle.dumps(svm, protocol=5))
    search = GridSearchCV(SVC(), {"C": [1.0]}, cv=2).fit(X, y)
    assert pickled_size(search) == len(pickle.dumps(search.best_estimator_, protocol=5))


def test_what_cannot_be_pickled_has_no_size():
    assert pickled_size(Unpicklable().fit(X, y)) is None
