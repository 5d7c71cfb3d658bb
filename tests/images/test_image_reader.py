"""From paths to images, as the first step of a Pipeline."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from skcnn import ImageReader
from skcnn.images import ImageFiles, UnreadableImageError


class Flatten(TransformerMixin, BaseEstimator):
    """The plainest extractor: all pixels."""

    def fit(self, X, y=None):
        self.n_values_ = int(np.prod(X.shape[1:]))
        return self

    def transform(self, X):
        return np.asarray(X).reshape(len(X), -1) / 255

    def get_feature_names_out(self, input_features=None):
        return [f"pixel{i}" for i in range(self.n_values_)]


FORMS = {
    "list": list,
    "array": np.array,
    "objects": lambda paths: np.array(paths, dtype=object),
    "column": lambda paths: np.array(paths)[:, None],
    "path objects": lambda paths: [Path(path) for path in paths],
    "series": lambda paths: pd.Series(paths, index=range(100, 100 + len(paths))),
    "frame": lambda paths: pd.DataFrame({"path": paths}),
    "files": lambda paths: ImageFiles(paths, size=(2, 2)),
}


@pytest.mark.parametrize("form", FORMS)
def test_paths_in_any_form_become_files(picture_files, decoded, form):
    X = FORMS[form](picture_files)
    reader = ImageReader().fit(X)
    images = reader.transform(X)
    assert isinstance(images, ImageFiles)
    assert reader.size_ == (6, 5)
    assert images.shape == (12, 6, 5, 3)
    assert images.paths.tolist() == picture_files
    assert decoded == []


def test_size_and_mode(picture_files):
    images = ImageReader(size=(3, 4), mode="grey").fit_transform(picture_files)
    np.testing.assert_array_equal(images[:], ImageFiles(picture_files, size=(3, 4), mode="grey")[:])


def test_size_none_learns_the_size_and_holds_others_to_it(picture_files, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "larger.png")
    reader = ImageReader().fit(picture_files)
    images = reader.transform([tmp_path / "larger.png"])
    assert images.shape == (1, 6, 5, 3)
    with pytest.raises(ValueError, match=r"larger.png.*\(9, 9\).*\(6, 5\)"):
        images[:]
    resized = ImageReader(size=(6, 5)).fit(picture_files).transform([tmp_path / "larger.png"])
    assert resized[:].shape == (1, 6, 5, 3)


def test_unfitted(picture_files):
    with pytest.raises(NotFittedError):
        ImageReader().transform(picture_files)
    with pytest.raises(NotFittedError):
        check_is_fitted(ImageReader())
    check_is_fitted(ImageReader().fit(picture_files))


@pytest.mark.parametrize(
    "X", ["a.png", [], np.empty((0, 1)), [["a.png", "b.png"]], np.zeros((3, 4, 4)), 5]
)
def test_wrong_shapes_are_an_error(X):
    with pytest.raises(ValueError, match=r"shape \(n,\) or \(n, 1\); got shape \("):
        ImageReader(size=(2, 2)).fit(X)


@pytest.mark.parametrize("X", [[1, 2], np.zeros((3, 1)), [None]])
def test_what_is_no_path_is_an_error(X):
    with pytest.raises(ValueError, match="paths must hold str or path-like"):
        ImageReader(size=(2, 2)).fit(X)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({"mode": "L"}, "mode"), ({"size": 5}, "size"), ({"size": "55"}, "size"),
     ({"size": (0, 5)}, "size"), ({"size": (1, 2, 3)}, "size")],
)  # fmt: skip
def test_wrong_parameters_are_an_error_in_fit(picture_files, parameters, name):
    with pytest.raises(ValueError, match=name):
        ImageReader(**parameters).fit(picture_files)


def test_unreadable_files_are_named(picture_files, tmp_path):
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(UnreadableImageError, match=r"text\.png"):
        ImageReader().fit([tmp_path / "text.png"])
    pipeline = make_pipeline(ImageReader(), Flatten()).fit(picture_files)
    with pytest.raises(UnreadableImageError, match=r"text\.png"):
        pipeline.transform([tmp_path / "text.png"])


def test_clone_and_pickle(picture_files):
    reader = ImageReader(size=(3, 4), mode="grey")
    assert clone(reader.fit(picture_files)).get_params() == reader.get_params()
    loaded = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(
        loaded.transform(picture_files)[:], reader.transform(picture_files)[:]
    )


@pytest.mark.parametrize("form", ["list", "array", "series", "frame"])
def test_pipelines_are_searched_over_the_readers_parameters(picture_files, form):
    y = np.where(np.arange(12) < 6, "dark", "bright")
    pipeline = make_pipeline(ImageReader(size=(2, 2)), Flatten(), LogisticRegression())
    grid = {"imagereader__size": [(2, 2), (4, 3)], "imagereader__mode": ["grey", "rgb"]}
    X = FORMS[form](picture_files)
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.score(X, y) > 0.9
    assert cross_val_score(search.best_estimator_, X, y, cv=3).mean() > 0.8
    loaded = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(loaded.predict(X), search.predict(X))


def test_set_output_of_a_pipeline_reaches_the_features_and_leaves_images_alone(picture_files):
    pipeline = make_pipeline(ImageReader(size=(2, 2)), Flatten()).set_output(transform="pandas")
    frame = pipeline.fit_transform(picture_files)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == [f"pixel{i}" for i in range(12)]
    assert isinstance(pipeline[0].transform(picture_files), ImageFiles)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(ImageReader().fit_transform(picture_files), ImageFiles)


def test_each_fold_decodes_its_own_files(picture_files, decoded):
    pipeline = make_pipeline(ImageReader(), Flatten(), LogisticRegression())
    cross_val_score(pipeline, picture_files, np.arange(12) % 2, cv=3)
    assert len(decoded) == 3 * 12
