import h5py
import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from skcnn import ImageFiles, ImageReader, PixelExtractor, compare_pipelines

from .estimators import Failing, FailingOnce, Noisy, Unpicklable


def bayes():
    return make_pipeline(PixelExtractor(), GaussianNB())


@pytest.mark.filterwarnings("ignore:.*zero standard deviation")
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_scores_are_those_of_scikit_learn(pipelines, images, labels, n_jobs):
    cv = StratifiedKFold(4, shuffle=True, random_state=0)
    comparison = compare_pipelines(pipelines, images, labels, cv=cv, n_jobs=n_jobs)
    for name, pipeline in pipelines.items():
        reference = cross_validate(pipeline, images, labels, cv=cv, return_estimator=True)
        np.testing.assert_array_equal(comparison.scores[name], reference["test_score"])
        if isinstance(pipeline, GridSearchCV):
            chosen = [fitted.best_params_ for fitted in reference["estimator"]]
            assert comparison.best_params[name] == chosen
    assert list(comparison.scores) == comparison.names == list(pipelines)


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "neg_log_loss", "matthews_corrcoef"])
def test_metrics_of_other_outputs(images, labels, scoring):
    comparison = compare_pipelines({"a": bayes()}, images, labels, cv=3, scoring=scoring)
    reference = cross_validate(bayes(), images, labels, cv=3, scoring=scoring)["test_score"]
    np.testing.assert_array_equal(comparison.scores["a"], reference)


def test_every_test_image_is_predicted_once(images, labels):
    class Counting(DummyClassifier):
        def predict(self, X):
            predicted.append(len(X))
            return super().predict(X)

    predicted = []
    compare_pipelines({"a": Counting()}, images, labels, cv=2, scoring="f1_macro")
    assert sum(predicted) == len(images)


def test_random_folds_are_drawn_once(images, labels):
    # Without a seed every split() differs: equal classifiers get equal scores only on equal folds.
    cv = StratifiedKFold(3, shuffle=True)
    comparison = compare_pipelines({"a": bayes(), "b": bayes()}, images, labels, cv=cv)
    np.testing.assert_array_equal(comparison.scores["a"], comparison.scores["b"])


def test_measurements(images, labels):
    search = GridSearchCV(bayes(), {"gaussiannb__var_smoothing": [1e-3, 1e-2]}, cv=2)
    comparison = compare_pipelines({"search": search, "plain": bayes()}, images, labels, cv=4)
    assert [(r.pipeline, r.fold) for r in comparison.folds] == [
        (name, fold) for name in ("search", "plain") for fold in range(4)
    ]
    for result in comparison.folds:
        assert (result.n_train, result.n_test) == (150, 50)
        assert result.fit_time > 0
        assert result.predict_time > 0
        assert result.size > 0
        assert result.n_parameters == 2 * 4 * 64 + 4  # means, variances, shares of the classes
        if result.pipeline == "search":
            assert 0 < result.refit_time < result.fit_time
            assert set(result.best_params) == {"gaussiannb__var_smoothing"}
        else:
            assert np.isnan(result.refit_time)
            assert result.best_params is None


def test_pipelines_are_not_fitted_themselves(images, labels):
    pipeline = bayes()
    compare_pipelines({"a": pipeline}, images, labels, cv=2)
    assert not hasattr(pipeline[-1], "theta_")


def test_failures_are_kept_while_others_finish(images, labels):
    comparison = compare_pipelines(
        {"broken": Failing("no luck"), "works": bayes()}, images, labels, cv=3, n_jobs=2
    )
    assert set(comparison.errors) == {"broken"}
    assert sorted(comparison.errors["broken"]) == [0, 1, 2]
    error = comparison.errors["broken"][0]
    assert (error.type, error.message) == ("RuntimeError", "no luck")
    assert "estimators.py" in error.traceback
    assert np.isnan(comparison.scores["broken"]).all()
    assert not np.isnan(comparison.scores["works"]).any()
    assert comparison.best_name == "works"
    assert not comparison.interrupted


def test_failure_in_one_fold(images, labels):
    splits = [(np.arange(150), np.arange(150, 200)), (np.arange(60, 200), np.arange(60))]
    comparison = compare_pipelines(
        {"a": FailingOnce(limit=50), "b": bayes()}, images, labels, cv=splits
    )
    assert list(comparison.errors["a"]) == [1]
    assert not np.isnan(comparison.scores["a"][0])
    ranking = comparison.ranking()
    assert ranking["pipeline"].tolist() == ["b", "a"]
    assert ranking["error"][1] == "fold 2: ValueError: 60 images are too many"


def test_everything_fails(images, labels):
    comparison = compare_pipelines({"a": Failing()}, images, labels, cv=2)
    assert comparison.best_name is None
    assert "Every pipeline failed" in comparison.conclusion


@pytest.mark.parametrize("score", [np.nan, [0.5, 0.5], {"a": 1.0}, "good", None])
def test_scores_that_are_no_number_fail(images, labels, score):
    comparison = compare_pipelines(
        {"a": bayes()}, images, labels, cv=2, scoring=lambda estimator, X, y: score
    )
    assert "one finite number" in comparison.errors["a"][0].message


def test_a_dead_worker_does_not_take_the_results_along(images, labels):
    class Deadly(DummyClassifier):
        def fit(self, X, y):
            import os

            os._exit(3)

    comparison = compare_pipelines(
        {"works": bayes(), "deadly": Deadly()}, images, labels, cv=2, n_jobs=2
    )
    assert set(comparison.errors["deadly"]) == {0, 1}
    assert comparison.errors["deadly"][0].type == "TerminatedWorkerError"


def test_unpicklable_models_have_no_size(images, labels):
    comparison = compare_pipelines({"a": Unpicklable()}, images, labels, cv=2)
    assert comparison.folds[0].size is None
    assert not comparison.errors


def test_warnings_are_kept_not_shown(images, labels, recwarn):
    comparison = compare_pipelines({"a": Noisy()}, images, labels, cv=2)
    assert comparison.folds[0].warnings == ("UserWarning: <u>slow</u>",)
    assert not recwarn.list


@pytest.mark.parametrize("scoring", ["f1_macro", make_scorer(f1_score, average="macro")])
def test_scoring(images, labels, scoring):
    comparison = compare_pipelines({"a": bayes()}, images, labels, cv=3, scoring=scoring)
    reference = cross_validate(bayes(), images, labels, cv=3, scoring=scoring)["test_score"]
    np.testing.assert_array_equal(comparison.scores["a"], reference)


def test_losses_rank_the_right_way_round(images, labels):
    comparison = compare_pipelines(
        {"chance": DummyClassifier(), "good": make_pipeline(PixelExtractor(), SVC(C=10))},
        images,
        labels,
        cv=3,
        scoring=lambda estimator, X, y: -np.mean(estimator.predict(X) != y),
    )
    assert comparison.best_name == "good"
    assert comparison.setting["scoring"] == "<lambda>"


@pytest.mark.parametrize(
    ("cv", "n_folds"),
    [
        (KFold(3), 3),
        (RepeatedStratifiedKFold(n_splits=2, n_repeats=3, random_state=0), 6),
        ([(np.arange(100), np.arange(100, 200))], 1),
        (iter([(np.arange(200) < 100, np.arange(200) >= 100)]), 1),
    ],
)
def test_kinds_of_cv(images, labels, cv, n_folds):
    comparison = compare_pipelines({"a": bayes(), "b": bayes()}, images, labels, cv=cv)
    assert comparison.n_folds == n_folds
    assert comparison.scores["a"].shape == (n_folds,)
    assert not comparison.errors


class LazyImages:
    """Images that can be indexed and must never be converted as a whole."""

    def __init__(self, images):
        self.images = images
        self.shape, self.dtype, self.ndim = images.shape, images.dtype, images.ndim
        self.largest = 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        part = self.images[index]
        self.largest = max(self.largest, len(part))
        return part

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("converted as a whole")


def test_images_are_only_indexed(images, labels):
    lazy = LazyImages(images)
    comparison = compare_pipelines({"a": bayes()}, lazy, labels, cv=4)
    assert not comparison.errors
    assert lazy.largest == 150


@pytest.fixture(scope="module")
def files(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    for index, image in enumerate(images):
        Image.fromarray((image * 255).astype(np.uint8)).save(folder / f"{index:03}.png")
    return sorted(folder.iterdir())


def test_image_files(files, images, labels):
    X = ImageFiles(files, mode="grey")
    on_files = compare_pipelines({"a": bayes()}, X, labels, cv=3)
    on_arrays = compare_pipelines({"a": bayes()}, X[:], labels, cv=3)
    assert on_files.setting["image_shape"] == (8, 8)
    np.testing.assert_array_equal(on_files.scores["a"], on_arrays.scores["a"])


def test_lists_of_paths(files, labels):
    reader = make_pipeline(ImageReader(size=(8, 8), mode="grey"), PixelExtractor(), GaussianNB())
    paths = [str(path) for path in files]
    comparison = compare_pipelines({"a": reader}, paths, labels, cv=3)
    assert not comparison.errors
    assert comparison.scores["a"].mean() > 0.8


def test_data_frames(images, labels):
    frame = pd.DataFrame(images.reshape(len(images), -1)).add_prefix("pixel")
    comparison = compare_pipelines({"a": GaussianNB()}, frame, pd.Series(labels), cv=3)
    assert not comparison.errors


def test_setting_tells_what_was_done(images, labels):
    comparison = compare_pipelines({"a": bayes()}, images, labels, cv=3)
    setting = comparison.setting
    assert setting["n_images"] == 200
    assert setting["image_shape"] == (8, 8)
    assert sum(setting["class_counts"].values()) == 200
    assert setting["cv"] == "3 stratified folds, not shuffled"
    assert {"Python", "skcnn", "scikit-learn", "numpy", "torch"} <= set(setting["versions"])


class TestBadInput:
    """All of it is refused before any pipeline is fitted: Failing would be recorded otherwise."""

    def compare(self, pipelines=None, X=None, y=None, **options):
        X = np.zeros((20, 4, 4)) if X is None else X
        y = [0, 1] * 10 if y is None else y
        return compare_pipelines(
            {"a": Failing()} if pipelines is None else pipelines, X, y, **options
        )

    @pytest.mark.parametrize(
        ("pipelines", "error", "message"),
        [
            ([SVC()], TypeError, "must map names to estimators.*got list"),
            ({}, ValueError, "pipelines is empty"),
            ({1: SVC()}, TypeError, "must be str, got 1"),
            ({" ": SVC()}, ValueError, "must not be blank"),
            ({"a": SVC}, TypeError, "is the class SVC; pass an instance"),
            ({"a": PixelExtractor()}, TypeError, "without predict"),
            ({"a": "SVC"}, TypeError, "str without fit and predict"),
        ],
    )
    def test_pipelines(self, pipelines, error, message):
        with pytest.raises(error, match=message):
            self.compare(pipelines)

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            ([0, 1] * 9, "X holds 20 images, y holds 18 labels"),
            (np.zeros((20, 1)), "one label per image in one dimension, got shape"),
            (np.linspace(0, 1, 20), "class labels, got a continuous target"),
            ([0] * 20, "one class only"),
            ([0] * 18 + [1] * 2, "class '1' has 2"),
        ],
    )
    def test_labels(self, y, message):
        with pytest.raises(ValueError, match=message):
            self.compare(y=y)

    def test_no_images(self):
        with pytest.raises(ValueError, match="no images"):
            self.compare(X=np.zeros((0, 4, 4)), y=[])

    def test_images_that_cannot_be_indexed(self):
        with pytest.raises(TypeError, match="got generator"):
            self.compare(X=(image for image in np.zeros((20, 4, 4))))

    @pytest.mark.parametrize(
        ("scoring", "error", "message"),
        [
            ("acuracy", ValueError, "did you mean 'accuracy'"),
            (["accuracy", "f1"], TypeError, "one metric"),
            (None, TypeError, "one metric"),
        ],
    )
    def test_scoring(self, scoring, error, message):
        with pytest.raises(error, match=message):
            self.compare(scoring=scoring)

    @pytest.mark.parametrize(
        ("cv", "message"),
        [
            (1, "at least 2 folds, got 1"),
            (True, "at least 2 folds, got True"),
            ([], "no folds"),
            ([(np.arange(10), np.arange(0))], "Fold 0 of cv has 10 training and 0 test"),
            ([(np.arange(10), np.arange(10, 21))], "beyond the 20"),
            ([(np.arange(0, 20, 2), np.arange(1, 20, 2))], "all of one class"),
            (StratifiedKFold(11), "needs at least 11 images in every class"),
        ],
    )
    def test_cv(self, cv, message):
        with pytest.raises(ValueError, match=message):
            self.compare(cv=cv)

    @pytest.mark.parametrize("n_jobs", [0, 1.5, "2"])
    def test_n_jobs(self, n_jobs):
        with pytest.raises(ValueError, match="n_jobs must be"):
            self.compare(n_jobs=n_jobs)


def test_estimators_without_get_params_are_copied(images, labels):
    class Duck:
        def fit(self, X, y):
            self.label = y[0]
            return self

        def predict(self, X):
            return np.full(len(X), self.label)

    def share(estimator, X, y):
        return float(np.mean(estimator.predict(X) == y))

    duck = Duck()
    comparison = compare_pipelines({"duck": duck}, images, labels, cv=2, scoring=share)
    assert not comparison.errors
    assert not hasattr(duck, "label")


def test_clone_is_what_is_fitted(images, labels):
    logistic = make_pipeline(PixelExtractor(), LogisticRegression(max_iter=200))
    comparison = compare_pipelines({"a": clone(logistic)}, images, labels, cv=2)
    assert comparison.folds[0].n_parameters == 4 * 64 + 4


class Unsendable(GaussianNB):
    """A classifier that no other process can be given."""

    def __init__(self, generator=None):
        super().__init__()
        self.generator = generator

    def __sklearn_clone__(self):
        return self


def test_a_pipeline_that_cannot_be_sent_to_a_worker_fails_alone(images, labels):
    pipelines = {"a": bayes(), "b": Unsendable(i for i in range(3)), "c": bayes()}
    comparison = compare_pipelines(pipelines, images, labels, cv=2, n_jobs=2)
    assert set(comparison.errors) == {"b"}
    assert "generator" in str(comparison.errors["b"][0])
    assert not np.isnan([*comparison.scores["a"], *comparison.scores["c"]]).any()


def test_hdf5_with_folds_in_any_order(images, labels, tmp_path):
    cv = ShuffleSplit(2, random_state=0)
    expected = compare_pipelines({"a": bayes()}, images, labels, cv=cv)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        stored = file.create_dataset("X", data=images)
        comparison = compare_pipelines({"a": bayes()}, stored, labels, cv=cv)
    assert not comparison.errors
    np.testing.assert_array_equal(comparison.scores["a"], expected.scores["a"])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ((np.arange(100), np.arange(90, 120)), "10 images in training and in test"),
        (([-1, *range(100)], [150]), "beyond the 200"),
        (([0.5, 1.5], [150]), "integer indices"),
    ],
)
def test_folds_that_are_none(split, message, images, labels):
    with pytest.raises(ValueError, match=message):
        compare_pipelines({"a": bayes()}, images, labels, cv=[split, split])


def test_searches_that_find_too_few_images_are_refused_before(images, labels):
    search = GridSearchCV(bayes(), {"gaussiannb__var_smoothing": [1e-3, 1e-2]}, cv=3)
    few = np.concatenate([np.flatnonzero(labels == label)[:4] for label in np.unique(labels)])
    message = r"'inner'\] searches with 3 folds .* in fold 0 of cv no class has more than 2 of them"
    for inner in (search, make_pipeline(PixelExtractor(), search)):
        pipelines = {"plain": bayes(), "inner": inner}
        with pytest.raises(ValueError, match=message):
            compare_pipelines(pipelines, images[few], labels[few], cv=2)
        assert not compare_pipelines(pipelines, images[few], labels[few], cv=4).errors


def test_searches_that_see_other_labels_or_fold_otherwise_are_not_refused(images, labels):
    few = np.concatenate([np.flatnonzero(labels == label)[:4] for label in np.unique(labels)])
    grid, variances = {"C": [1, 2]}, {"n_components": [2, 3]}
    folds = KFold(3, shuffle=True, random_state=0)
    pipelines = {
        "of two classes": OneVsRestClassifier(GridSearchCV(SVC(), grid, cv=3)),
        "of no classes": make_pipeline(GridSearchCV(PCA(), variances, cv=5), SVC()),
        "splitter": GridSearchCV(SVC(), grid, cv=folds),
        "iterator": GridSearchCV(SVC(), grid, cv=iter(list(folds.split(few[::2])))),
    }
    rows = images[few].reshape(len(few), -1)
    assert not compare_pipelines(pipelines, rows, labels[few], cv=2).errors
    wrong = {"wrong": GridSearchCV(SVC(), grid, cv="three"), "right": SVC()}
    assert list(compare_pipelines(wrong, rows, labels[few], cv=2).errors) == ["wrong"]


def test_a_backend_that_returns_everything_at_once(images, labels):
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        comparison = compare_pipelines({"a": bayes()}, images, labels, cv=2)
    assert not comparison.errors
