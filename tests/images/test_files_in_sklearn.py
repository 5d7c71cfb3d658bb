"""scikit-learn's splitters and searches index ImageFiles without loading them."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import resample, shuffle

from skcnn.images import ImageFiles

Y = np.arange(12) % 2


class Witness(ClassifierMixin, BaseEstimator):
    """Remember what fit and predict were given, and decode nothing."""

    given = []

    def __init__(self, alpha=0):
        self.alpha = alpha

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.given.append(X)
        return self

    def predict(self, X):
        self.given.append(X)
        return np.full(len(X), self.classes_[0])


@pytest.fixture
def given(monkeypatch):
    seen = []
    monkeypatch.setattr(Witness, "given", seen)
    return seen


@pytest.mark.parametrize(
    "splitter",
    [KFold(3, shuffle=True, random_state=0), StratifiedKFold(3), ShuffleSplit(2), GroupKFold(3)],
    ids=lambda splitter: type(splitter).__name__,
)
def test_splitters_decode_nothing(picture_files, decoded, splitter):
    files = ImageFiles(picture_files)
    groups = np.arange(12) // 3 if isinstance(splitter, GroupKFold) else None
    for train, test in splitter.split(files, Y, groups):
        assert files[train].paths.tolist() == [picture_files[i] for i in train]
        assert not set(files[train].paths) & set(files[test].paths)
    assert decoded == []


@pytest.mark.parametrize("options", [{"stratify": Y}, {"shuffle": False}, {"random_state": 3}])
def test_train_test_split_decodes_nothing(picture_files, decoded, options):
    train, test, *_ = train_test_split(ImageFiles(picture_files), Y, test_size=4, **options)
    assert (train.shape, test.shape) == ((8, 6, 5, 3), (4, 6, 5, 3))
    assert sorted([*train.paths, *test.paths]) == picture_files
    assert decoded == []


def test_shuffle_and_resample_decode_nothing(picture_files, decoded):
    files = ImageFiles(picture_files)
    assert sorted(shuffle(files, random_state=0).paths) == picture_files
    assert len(resample(files, n_samples=30, random_state=0)) == 30
    assert decoded == []


def test_cross_validation_and_searches_hand_on_files(picture_files, decoded, given):
    files = ImageFiles(picture_files, size=(4, 4), mode="grey")
    cross_validate(Witness(), files, Y, cv=3)
    cross_val_predict(Witness(), files, Y, cv=3)
    learning_curve(Witness(), files, Y, cv=3, train_sizes=[0.5, 1.0])
    GridSearchCV(Witness(), {"alpha": [0, 1]}, cv=3).fit(files, Y).predict(files[[2, 3]])
    assert all(isinstance(X, ImageFiles) and X.shape[1:] == (4, 4) for X in given)
    assert {len(X) for X in given} == {12, 8, 4, 2}
    assert decoded == []


def test_estimators_without_a_look_at_x_decode_nothing(picture_files, decoded):
    scores = cross_validate(DummyClassifier(), ImageFiles(picture_files), Y, cv=2)["test_score"]
    assert scores.tolist() == [0.5, 0.5]
    assert decoded == []


def test_each_fold_decodes_its_own_files(picture_files, decoded):
    def flat(X):
        return np.asarray(X).reshape(len(X), -1) / 255

    pipeline = make_pipeline(FunctionTransformer(flat), LogisticRegression())
    y = np.arange(12) >= 6
    result = cross_validate(pipeline, ImageFiles(picture_files), y, cv=StratifiedKFold(3))
    assert result["test_score"].mean() > 0.8
    assert len(decoded) == 3 * 12  # 8 to fit and 4 to score in each of 3 folds
