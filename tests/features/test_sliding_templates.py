"""TemplateMatcher with patches that slide, against skimage.feature.match_template."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from skimage import data
from skimage.feature import match_template
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skcnn import TemplateMatcher

BEAK = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 0]])
FIN = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]])


def images(*shape, seed=0):
    return np.random.RandomState(seed).rand(*shape)


def animals(n=40, size=(12, 14), noise=0.1, seed=0):
    """Return noisy images with a beak or a fin, which of them it is, and where."""
    rng = np.random.RandomState(seed)
    X, y = noise * rng.rand(n, *size), np.array(["bird", "fish"])[np.arange(n) % 2]
    places = rng.randint(0, (size[0] - 3, size[1] - 4), (n, 2))
    for image, label, (row, column) in zip(X, y, places, strict=True):
        patch = BEAK if label == "bird" else FIN
        image[row : row + len(patch), column : column + len(patch.T)] += patch
    return X, y, places


def references(X, patches):
    return [[match_template(image, patch) for patch in patches] for image in X]


class TestEqualsScikitImage:
    def check(self, X, patches, **parameters):
        matcher = TemplateMatcher(templates=patches, return_positions=True, **parameters)
        found = matcher.fit_transform(X)
        responses = references(X, patches)
        expected = np.array([[response.max() for response in row] for row in responses])
        np.testing.assert_allclose(found[:, : len(patches)], expected, atol=1e-6, rtol=0)
        places = found[:, len(patches) :].reshape(*expected.shape, 2)
        for row, at in zip(responses, places.astype(int), strict=True):
            for response, (top, left) in zip(row, at, strict=True):
                assert response[top, left].item() >= response.max() - 1e-6

    @pytest.mark.parametrize("shape", [(20, 20), (17, 31), (1, 40)])
    def test_grey(self, shape):
        sizes = [(1, 2), (1, 5), (3, 3), (4, 7), (11, 2), shape]
        sizes = [size for size in sizes if size[0] <= shape[0]]
        self.check(images(4, *shape), [images(*size, seed=i) for i, size in enumerate(sizes)])

    @pytest.mark.parametrize("channels", [2, 3])
    def test_colour(self, channels):
        sizes = [(1, 1), (3, 3), (4, 7), (13, 16)]
        patches = [images(*size, channels, seed=i) for i, size in enumerate(sizes)]
        self.check(images(4, 13, 16, channels), patches)

    def test_photos(self):
        astronaut = data.astronaut()
        X = np.array([astronaut[:128, 150:300], astronaut[60:188, 180:330]]) / 255
        patches = [X[0, 40:60, 50:80], X[1, 100:117, 5:26], X[0, :3, :3]]
        self.check(X, patches)
        self.check(X.mean(axis=-1), [patch.mean(axis=-1) for patch in patches])

    @pytest.mark.parametrize("offset", [0, 1000])
    def test_values_of_any_size(self, offset):
        X = 50 * images(3, 20, 20) + offset
        self.check(X, [X[0, 3:9, 4:8], images(5, 5, seed=1)])


def test_a_patch_is_found_where_it_was_cut_out():
    X = images(5, 30, 40)
    patches = [X[i, i : i + 7, 2 * i : 2 * i + 9] for i in range(5)]
    matcher = TemplateMatcher(templates=patches, return_positions=True)
    found = matcher.fit_transform(X)
    places = found[:, 5:].reshape(5, 5, 2)
    for i in range(5):
        assert found[i, i] == pytest.approx(1, abs=1e-12)
        assert places[i, i].tolist() == [i, 2 * i]
        assert (np.delete(found[i, :5], i) < 0.9).all()


def test_of_equal_places_the_first_is_returned():
    image = np.zeros((20, 20))
    for row, column in [(2, 9), (2, 14), (11, 1)]:
        image[row : row + 3, column : column + 3] = BEAK
    matcher = TemplateMatcher(templates=[BEAK], return_positions=True)
    np.testing.assert_allclose(matcher.fit_transform([image]), [[1, 2, 9]], rtol=1e-12)


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 1e9, 1e200])
def test_brightness_and_contrast_do_not_matter(factor):
    X, patches = images(3, 15, 15), [images(4, 4, seed=1), images(5, 3, seed=2)]
    expected = TemplateMatcher(templates=patches, return_positions=True).fit_transform(X)
    scaled = TemplateMatcher(
        templates=[patch * factor for patch in patches], return_positions=True
    ).fit_transform((3 * X + 7) * factor)
    np.testing.assert_allclose(scaled, expected, atol=1e-10)


@pytest.mark.parametrize("value", [0, 0.1, 1 / 3, 1e6, 1e300])
def test_constant_images_correlate_zero(value):
    X = np.full((2, 15, 15), value)
    found = TemplateMatcher(templates=[BEAK, FIN], return_positions=True).fit_transform(X)
    assert not found.any()


@pytest.mark.parametrize("value", [0.1, 0.7, 1])
def test_constant_windows_of_other_images_correlate_zero(value):
    X = np.full((1, 15, 40), value)
    X[:, :, 30:] = images(1, 15, 10)
    matcher = TemplateMatcher(templates=[BEAK], return_positions=True)
    best, _, column = matcher.fit_transform(X)[0]
    assert best == pytest.approx(match_template(X[0, :, 28:], BEAK).max(), abs=1e-6)
    assert column >= 28


@pytest.mark.parametrize("contrast", [1e-5, 1e-7])
def test_faint_windows_beside_bright_ones(contrast):
    rng = np.random.default_rng(0)
    image = rng.random((24, 24))
    image[:12] *= contrast
    patch = image[3:8, 4:9] / contrast
    correlation = TemplateMatcher(templates=[patch]).fit_transform([image])
    np.testing.assert_allclose(correlation, match_template(image, patch).max(), atol=1e-6)
    np.testing.assert_allclose(correlation, 1, atol=1e-6)


def test_faint_patterns_in_bright_images_are_found():
    X = np.ones((1, 60, 60))
    X[0, :30] = images(30, 60)
    X[0, 40:43, 20:23] += BEAK * 1e-5
    matcher = TemplateMatcher(templates=[BEAK], return_positions=True)
    np.testing.assert_allclose(matcher.fit_transform(X), [[1, 40, 20]], atol=1e-5)


class TestLayouts:
    X, patches = images(4, 12, 14, 3), [images(4, 5, 3, seed=1), images(2, 3, 3, seed=2)]

    @pytest.mark.parametrize("axis", [1, 2])
    def test_channels_of_patches_are_where_those_of_images_are(self, axis):
        expected = TemplateMatcher(templates=self.patches, return_positions=True)
        expected = expected.fit_transform(self.X)
        patches = [np.moveaxis(patch, -1, axis - 1) for patch in self.patches]
        matcher = TemplateMatcher(templates=patches, return_positions=True, channel_axis=axis)
        found = matcher.fit_transform(np.moveaxis(self.X, -1, axis))
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert [patch.shape for patch in matcher.templates_] == [(4, 5, 3), (2, 3, 3)]

    def test_flat_rows(self):
        expected = TemplateMatcher(templates=self.patches).fit_transform(self.X)
        matcher = TemplateMatcher(templates=self.patches, image_shape=(12, 14, 3))
        found = matcher.fit_transform(self.X.reshape(4, -1))
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_an_array_of_patches_is_a_list_of_them(self):
        X, patches = images(4, 12, 14), images(3, 4, 5, seed=1)
        expected = TemplateMatcher(templates=list(patches)).fit_transform(X)
        np.testing.assert_array_equal(TemplateMatcher(templates=patches).fit_transform(X), expected)

    def test_unsigned_images_and_patches_are_scaled(self):
        X = (images(4, 12, 14) * 255).astype(np.uint8)
        matcher = TemplateMatcher(templates=[X[0, 2:5, 3:7]]).fit(X)
        np.testing.assert_allclose(matcher.templates_[0], X[0, 2:5, 3:7] / 255, rtol=1e-15)
        found = matcher.transform(X)
        assert found.dtype == np.float32
        expected = TemplateMatcher(templates=[X[0, 2:5, 3:7] / 255]).fit_transform(X / 255)
        assert expected.dtype == np.float64
        np.testing.assert_allclose(found, expected, atol=1e-6)


class TestAsClassifier:
    X, y, _ = animals()

    def test_picks_the_class_of_the_best_patch(self):
        matcher = TemplateMatcher(templates=[FIN, BEAK], template_labels=["fish", "bird"])
        assert matcher.fit(self.X, self.y).score(self.X, self.y) == 1
        assert matcher.classes_.tolist() == ["bird", "fish"]
        assert matcher.template_classes_.tolist() == [1, 0]
        found = matcher.transform(self.X)
        np.testing.assert_array_equal(matcher.decision_function(self.X), found[:, 0] - found[:, 1])
        without_y = clone(matcher).fit(self.X)
        np.testing.assert_array_equal(without_y.predict(self.X), matcher.predict(self.X))

    def test_several_patches_may_stand_for_a_class(self):
        patches, labels = [BEAK, FIN, BEAK[:, ::-1], FIN.T], [7, 3, 7, 5]
        y = np.array([3, 5, 7])[np.arange(40) % 3]
        matcher = TemplateMatcher(templates=patches, template_labels=labels).fit(self.X, y)
        found = matcher.transform(self.X)
        best = np.stack([found[:, 1], found[:, 3], found[:, [0, 2]].max(axis=1)], axis=1)
        np.testing.assert_array_equal(matcher.decision_function(self.X), best)
        np.testing.assert_array_equal(matcher.predict(self.X), matcher.classes_[best.argmax(1)])

    def test_positions_change_no_prediction(self):
        parameters = {"templates": [BEAK, FIN], "template_labels": ["bird", "fish"]}
        matcher = TemplateMatcher(**parameters, return_positions=True).fit(self.X, self.y)
        assert matcher.transform(self.X).shape == (40, 6)
        expected = TemplateMatcher(**parameters).fit(self.X, self.y).decision_function(self.X)
        np.testing.assert_array_equal(matcher.decision_function(self.X), expected)

    def test_in_cross_validation_and_search(self):
        matcher = TemplateMatcher(templates=[BEAK, FIN], template_labels=["bird", "fish"])
        assert cross_val_score(matcher, self.X, self.y, cv=4).tolist() == [1, 1, 1, 1]
        grid = {"templates": [[BEAK, FIN], [FIN, BEAK]]}
        search = GridSearchCV(matcher, grid, cv=2, error_score="raise").fit(self.X, self.y)
        assert search.cv_results_["mean_test_score"].tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("labels", "y", "message"),
        [
            (["bird"], None, r"one label a template: 2, got shape \(1,\)"),
            (["bird", "cow"], ["bird", "fish"], "'cow', which is not among y"),
            (["bird", "bird"], ["bird", "fish"], "no template for 'fish'"),
            (["bird", "bird"], None, "at least 2 classes"),
            (["bird", "fish"], ["bird"], "40 images, but y 1"),
        ],
    )
    def test_labels_that_do_not_fit_are_refused(self, labels, y, message):
        matcher = TemplateMatcher(templates=[BEAK, FIN], template_labels=labels)
        y = y and (y * 20 if len(y) == 2 else y)
        with pytest.raises(ValueError, match=message):
            matcher.fit(self.X, y)

    def test_labels_without_templates_are_refused(self):
        with pytest.raises(ValueError, match="templates, which is None"):
            TemplateMatcher(template_labels=["bird"]).fit(self.X, self.y)


class TestAsTransformer:
    X, y, places = animals()

    @pytest.mark.parametrize("method", ["predict", "decision_function", "score"])
    def test_knows_no_classes(self, method):
        matcher = TemplateMatcher().fit(self.X, self.y)
        assert is_classifier(matcher)
        matcher.set_params(templates=[BEAK]).fit(self.X)
        assert not is_classifier(matcher)
        with pytest.raises(AttributeError, match=f"has no attribute '{method}'") as error:
            getattr(matcher, method)
        assert "Give template_labels" in str(error.value.__cause__)
        # Labels come too late.
        matcher.set_params(template_labels=["bird"])
        with pytest.raises(ValueError, match="Fit it again with template_labels"):
            matcher.predict(self.X)

    def test_before_a_classifier(self):
        detector = TemplateMatcher(templates=[BEAK])
        pipeline = make_pipeline(detector, LogisticRegression(C=100))
        assert pipeline.fit(self.X, self.y).score(self.X, self.y) == 1

    def test_says_where(self):
        detector = TemplateMatcher(templates=[BEAK, FIN], return_positions=True)
        frame = detector.set_output(transform="pandas").fit_transform(self.X)
        assert isinstance(frame, pd.DataFrame)
        name = "templatematcher"
        assert frame.columns.tolist() == [
            *(f"{name}{i}" for i in range(2)),
            *(f"{name}{i}_{axis}" for i in range(2) for axis in ("row", "column")),
        ]
        for template, label in enumerate(["bird", "fish"]):
            at = frame.loc[self.y == label, [f"{name}{template}_{a}" for a in ("row", "column")]]
            np.testing.assert_array_equal(at, self.places[self.y == label])

    def test_class_templates_have_one_place(self):
        matcher = TemplateMatcher(return_positions=True).fit(self.X, self.y)
        found = matcher.transform(self.X)
        np.testing.assert_array_equal(found[:, :2], TemplateMatcher().fit_transform(self.X, self.y))
        assert not found[:, 2:].any()
        assert len(matcher.get_feature_names_out()) == 6


@pytest.mark.parametrize("chunk_mib", [1e-6, 0.1])
def test_chunks_change_nothing(chunk_mib):
    X, _, _ = animals()
    parameters = {"templates": [BEAK, FIN], "return_positions": True}
    whole = TemplateMatcher(**parameters).fit_transform(X)
    chunked = TemplateMatcher(**parameters, chunk_mib=chunk_mib).fit_transform(X)
    np.testing.assert_allclose(chunked, whole, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_memory_is_about_a_chunk(channels):
    X = np.random.RandomState(0).randint(0, 256, (200, 64, 64, channels), dtype=np.uint8)
    patches = [images(size, size, channels, seed=size) for size in (3, 8, 17, 40)]
    matcher = TemplateMatcher(templates=patches, chunk_mib=2).fit(X)
    tracemalloc.start()
    matcher.transform(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1 < peak / 2**20 < 2.5  # in float64 the images alone would be 6 MiB a channel


def test_clones_pickles_and_changed_parameters():
    X, y, _ = animals()
    matcher = TemplateMatcher(templates=[BEAK, FIN], template_labels=["bird", "fish"]).fit(X, y)
    expected = matcher.transform(X)
    for same in (clone(matcher).fit(X, y), pickle.loads(pickle.dumps(matcher))):
        np.testing.assert_array_equal(same.transform(X), expected)
        np.testing.assert_array_equal(same.predict(X), matcher.predict(X))
    matcher.set_params(templates=[FIN], template_labels=None, return_positions=True)
    np.testing.assert_array_equal(matcher.transform(X), expected)
    assert matcher.fit(X).transform(X).shape == (40, 3)
    assert matcher.n_parameters_ == FIN.size
    assert "templates=[array" in repr(matcher)


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ([np.eye(3), np.eye(13, 4)], r"templates\[1\] of 13 x 4 .* images of 12 x 14 pixels"),
        ([np.eye(4, 15)], r"templates\[0\] of 4 x 15 .* images of 12 x 14 pixels"),
        ([np.full((3, 3), 0.1)], r"templates\[0\] is constant"),
        ([np.array([[0, np.nan]])], r"templates\[0\] holds NaN"),
        ([np.ones((3, 3, 3))], r"templates\[0\] .* 3 channels, but the images have 1"),
        (np.eye(3), r"templates\[0\] .* A single template goes into a list"),
        ([[["a", "b"]]], r"templates\[0\] must hold numbers"),
        ([[[1, 2], [3]]], r"templates\[0\] cannot be read"),
        ([], "templates holds no template"),
        ("beak", "templates"),
    ],
)
def test_templates_that_are_no_patches_are_refused(templates, message):
    with pytest.raises(ValueError, match=message):
        TemplateMatcher(templates=templates).fit(images(2, 12, 14))


def test_of_places_that_are_equal_but_for_rounding_the_first_is_returned():
    for seed in range(40):
        image = images(20, 24, seed=seed)
        patch = images(5, 4, seed=100 + seed)
        image[2:7, 15:19] = image[9:14, 3:7] = image[14:19, 19:23] = patch
        matcher = TemplateMatcher(templates=[patch], return_positions=True)
        assert matcher.fit_transform([image])[0, 1:].tolist() == [2, 15]


@pytest.mark.parametrize("value", [0.1, 0.7])
def test_constant_windows_in_colour_correlate_zero(value):
    X = np.full((1, 12, 30, 3), value)
    X[:, 8:, 20:] = images(1, 4, 10, 3)
    patch = np.stack([BEAK, 2 * BEAK, 1 - BEAK], axis=-1)
    best, row, column = TemplateMatcher(templates=[patch], return_positions=True).fit_transform(X)[
        0
    ]
    assert best == pytest.approx(match_template(X[0], patch).max(), abs=1e-6)
    assert row > 5
    assert column > 17
