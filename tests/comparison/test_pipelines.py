import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid

from skcnn import ImageFiles, default_pipelines
from skcnn.pretrained import _availability
from skcnn.pretrained._weights import weights_from
from tests.estimators import labelled_images

NAMES = [
    "pixels + logistic regression",
    "pixels + RBF SVM",
    "template matching",
    "Fourier + RBF SVM",
    "HOG + linear SVM",
    "HOG + RBF SVM",
    "SIFT words + linear SVM",
    "SIFT Fisher + linear SVM",
    "MLP",
    "CNN",
    "CNN + batch norm + dropout",
]


def quick_pipelines():
    pipelines = default_pipelines(quick=True, random_state=0)
    for pipeline in pipelines.values():
        if "conv_channels" in pipeline.get_params() or "alpha" in pipeline.get_params():
            pipeline.set_params(max_iter=2)
    return pipelines


@pytest.mark.parametrize("quick", [False, True])
def test_names(quick):
    assert list(default_pipelines(quick=quick)) == NAMES


def test_each_is_tuned_by_a_small_search():
    for pipeline in default_pipelines(cv=3).values():
        assert isinstance(pipeline, GridSearchCV)
        assert pipeline.cv == 3
        assert 2 <= len(ParameterGrid(pipeline.param_grid)) <= 4
        for candidate in ParameterGrid(pipeline.param_grid):
            clone(pipeline.estimator).set_params(**candidate)


def test_quick_searches_nothing():
    pipelines = default_pipelines(quick=True).values()
    assert not any(isinstance(pipeline, GridSearchCV) for pipeline in pipelines)


def test_the_cnn_is_the_lecture_s():
    cnn = default_pipelines()["CNN"].estimator
    assert cnn.conv_channels == (25, 50)
    assert cnn.padding == "valid"
    assert cnn.batch_norm is False
    assert cnn.hidden_layer_sizes == (100,)


def test_seed_reaches_whatever_takes_one():
    seeded = set()
    for name, pipeline in default_pipelines(random_state=7).items():
        seeds = {k: v for k, v in pipeline.get_params().items() if k.endswith("random_state")}
        # Scikit-learn's SVC and logistic regression draw nothing with these parameters.
        drawing = {k: v for k, v in seeds.items() if "svm" not in k and "logistic" not in k}
        assert set(drawing.values()) <= {7}, name
        seeded |= {name} if drawing else set()
    assert seeded == {
        "template matching",
        "SIFT words + linear SVM",
        "SIFT Fisher + linear SVM",
        "MLP",
        "CNN",
        "CNN + batch norm + dropout",
    }


@pytest.fixture(scope="module")
def problem():
    """Three classes of 9 x 12 colour images that differ in the place of a bright bar."""
    rng = np.random.default_rng(0)
    y = np.repeat(["left", "middle", "right"], 10)
    X = rng.integers(0, 60, (30, 9, 12, 3), dtype=np.uint8)
    for image, label in zip(X, y, strict=True):
        start = {"left": 0, "middle": 4, "right": 8}[label]
        image[:, start : start + 4] += 150
    return X, y


@pytest.fixture(scope="module")
def layouts(problem, tmp_path_factory):
    X, _ = problem
    folder = tmp_path_factory.mktemp("bars")
    for index, image in enumerate(X):
        Image.fromarray(image).save(folder / f"{index:02}.png")
    return {
        "colour": X,
        "grey": X[..., 0],
        "float": X / 255,
        "flat": X[:, :, :9, 0].reshape(30, -1),
        "files": ImageFiles(sorted(folder.iterdir())),
    }


@pytest.mark.parametrize("layout", ["colour", "grey", "float", "flat", "files"])
@pytest.mark.parametrize("name", NAMES)
def test_every_pipeline_takes_every_layout(layouts, problem, layout, name):
    X, y = layouts[layout], problem[1]
    pipeline = quick_pipelines()[name].fit(X[np.arange(30)], y)
    assert pipeline.predict(X[np.arange(5)]).shape == (5,)
    if layout == "colour" and "CNN" not in name:
        assert pipeline.score(X, y) > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_predictions(problem, name):
    X, y = problem
    first, second = (quick_pipelines()[name].fit(X[::2], y[::2]).predict(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("side", [2, 5, 8, 13])
def test_the_lecture_s_cnn_fits_small_images(side):
    X = np.random.default_rng(0).random((12, side, side))
    y = [0, 1, 2] * 4
    cnn = default_pipelines(quick=True)["CNN"].set_params(max_iter=1)
    if side < 8:
        with pytest.raises(ValueError, match="too deep"):
            cnn.fit(X, y)
    else:
        assert cnn.fit(X, y).predict(X).shape == (12,)


def test_the_room_imports_no_torch_before_it_is_needed():
    code = "import sys, skcnn.comparison; print({'torch', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


class TestPretrained:
    """The suite's cache of the hub is empty, and stays so."""

    NAME = "pretrained + logistic regression"

    @pytest.fixture
    def weights(self, tmp_path):
        path = tmp_path / "test_resnet.pth"
        torch.save(timm.create_model("test_resnet").state_dict(), path)
        return path

    def test_a_file_of_weights_adds_a_pipeline(self, weights):
        pipelines = default_pipelines(backbone="test_resnet", weights=weights)
        assert list(pipelines) == [*NAMES, self.NAME]
        X, y = labelled_images(dtype=np.uint8)
        fitted = pipelines[self.NAME].fit(X, y)
        assert fitted.score(X, y) > 0.9
        assert fitted["features"].weights_source_ == str(weights)
        # The search is behind the features, so they are computed once.
        assert len(ParameterGrid(fitted["logistic"].param_grid)) == 4

    def test_quick_searches_nothing(self, weights):
        pipelines = default_pipelines(quick=True, backbone="test_resnet", weights=weights)
        assert not isinstance(pipelines[self.NAME]["logistic"], GridSearchCV)

    def test_cached_weights_are_offered(self, weights, monkeypatch):
        file = weights_from(weights)
        monkeypatch.setattr(_availability, "cached_weights", lambda backbone: file)
        pipelines = default_pipelines()
        assert list(pipelines) == [*NAMES, self.NAME]
        extractor = pipelines[self.NAME]["features"]
        assert (extractor.backbone, extractor.weights) == ("resnet50", "default")
        assert list(default_pipelines(weights=None)) == NAMES

    def test_damaged_ones_are_not(self, monkeypatch):
        def damaged(backbone):
            raise OSError("the weights are damaged")

        monkeypatch.setattr(_availability, "cached_weights", damaged)
        with pytest.warns(UserWarning, match="the weights are damaged"):
            assert list(default_pipelines()) == NAMES

    @pytest.mark.parametrize(
        ("backbone", "weights", "error", "message"),
        [
            ("resnet50", "none.pth", FileNotFoundError, "weights='none.pth' does not exist"),
            ("resnet51", "none.pth", ValueError, "backbone='resnet51' is no network of timm"),
            ("resnet51", "cached", ValueError, "backbone='resnet51' is no network of timm"),
        ],
    )
    def test_what_cannot_be_had_is_an_error_at_once(self, backbone, weights, error, message):
        with pytest.raises(error, match=message):
            default_pipelines(backbone=backbone, weights=weights)
