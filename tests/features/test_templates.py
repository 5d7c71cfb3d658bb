"""TemplateMatcher against skimage.feature.match_template."""

import numpy as np
import pytest
from skimage.feature import match_template
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcnn import TemplateMatcher, load_digit_images


@pytest.mark.parametrize("shape", [(9, 9), (7, 12), (8, 6, 3)])
def test_correlations_equal_scikit_image(shape):
    rng = np.random.RandomState(0)
    images, y = rng.rand(6, *shape), [0, 1, 2, 0, 1, 2]
    matcher = TemplateMatcher().fit(images, y)
    expected = [[match_template(i, t).item() for t in matcher.templates_] for i in images]
    np.testing.assert_allclose(matcher.transform(images), expected, atol=1e-6)


def test_templates_are_the_mean_images_of_the_classes():
    X, y = load_digit_images(return_X_y=True)
    matcher = TemplateMatcher().fit(X, y)
    np.testing.assert_allclose(matcher.templates_, [X[y == k].mean(axis=0) for k in range(10)])
    assert matcher.n_parameters_ == 640


def test_picks_the_class_of_the_best_correlation():
    X, y = load_digit_images(return_X_y=True)
    names = np.array(list("abcdefghij"))
    matcher = TemplateMatcher().fit(X[:900], names[y[:900]])
    best = matcher.transform(X[900:]).argmax(axis=1)
    np.testing.assert_array_equal(matcher.predict(X[900:]), names[best])
    assert matcher.score(X[900:], names[y[900:]]) > 0.8


def test_brightness_and_contrast_do_not_matter():
    X, y = load_digit_images(return_X_y=True)
    matcher = TemplateMatcher().fit(X, y)
    np.testing.assert_allclose(matcher.transform(3 * X + 7), matcher.transform(X), atol=1e-9)


def test_two_classes_have_one_decision_value():
    X, y = load_digit_images(return_X_y=True)
    X, y = X[y < 2], y[y < 2]
    matcher = TemplateMatcher().fit(X, y)
    scores = matcher.decision_function(X)
    assert scores.shape == (len(X),)
    np.testing.assert_array_equal(matcher.predict(X), (scores > 0).astype(int))


@pytest.mark.parametrize("factor", [1e-250, 1e250])
def test_contrast_does_not_matter_however_small_or_large(factor):
    X, y = load_digit_images(return_X_y=True)
    matcher = TemplateMatcher().fit(X, y)
    np.testing.assert_allclose(matcher.transform(X * factor), matcher.transform(X), atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6])
def test_constant_images_correlate_zero(value):
    X, y = load_digit_images(return_X_y=True)
    matcher = TemplateMatcher().fit(X, y)
    assert not matcher.transform(np.full((1, 8, 8), value)).any()


def test_templates_of_a_class_are_its_cluster_centres():
    rng = np.random.RandomState(0)
    blobs = rng.rand(4, 6, 6)  # two kinds of image in each of two classes
    kinds = np.arange(80) % 4
    images = blobs[kinds] + rng.normal(0, 0.001, size=(80, 6, 6))
    matcher = TemplateMatcher(n_templates=2, random_state=0).fit(images, kinds // 2)
    assert matcher.template_classes_.tolist() == [0, 0, 1, 1]
    means = [images[kinds == kind].mean(axis=0) for kind in range(4)]
    for mean, code in zip(means, [0, 0, 1, 1], strict=True):
        distances = np.abs(matcher.templates_ - mean).max(axis=(1, 2))
        assert distances.min() < 1e-9
        assert matcher.template_classes_[distances.argmin()] == code


def test_the_best_template_of_a_class_counts():
    X, y = load_digit_images(return_X_y=True)
    matcher = TemplateMatcher(n_templates=5, random_state=0).fit(X[:900], y[:900])
    correlations = matcher.transform(X[900:])
    assert correlations.shape == (897, 50)
    best = correlations.reshape(897, 10, 5).max(axis=2)
    np.testing.assert_array_equal(matcher.decision_function(X[900:]), best)
    np.testing.assert_array_equal(matcher.predict(X[900:]), best.argmax(axis=1))
    single = TemplateMatcher().fit(X[:900], y[:900])
    assert matcher.score(X[900:], y[900:]) > single.score(X[900:], y[900:]) + 0.02


def test_a_class_of_few_images_has_a_template_for_each():
    images = np.random.RandomState(0).rand(7, 5, 5)
    matcher = TemplateMatcher(n_templates=4, random_state=0).fit(images, [0, 0, 1, 1, 1, 1, 1])
    assert matcher.template_classes_.tolist() == [0, 0, 1, 1, 1, 1]


def test_clusters_come_from_a_bounded_sample(monkeypatch):
    from skcnn.images import ImageBatch

    longest, take = [], ImageBatch.take
    monkeypatch.setattr(
        ImageBatch,
        "take",
        lambda self, i, dtype=None: (longest.append(len(i)), take(self, i, dtype))[1],
    )
    X, y = load_digit_images(return_X_y=True)
    TemplateMatcher(n_templates=3, chunk_mib=0.02, random_state=0).fit(X, y)
    assert len(longest) == 10
    assert max(longest) == int(0.02 * 2**20 / (4 * 8 * 64))


@parametrize_with_checks(
    [
        TemplateMatcher(n_templates=3, random_state=0),
        TemplateMatcher(return_positions=True),
        TemplateMatcher(templates=[[[0, 1]]]),
    ]
)
def test_scikit_learns_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it the check of array API input is skipped
    check(estimator)


def test_images_that_are_constant_but_for_rounding_correlate_zero():
    X, y = load_digit_images(return_X_y=True)
    matcher = TemplateMatcher().fit(X, y)
    X = np.full((1, 8, 8), 0.3)
    X[:, ::2, 1:] = 0.1 + 0.2
    assert np.unique(X).size == 2
    assert not matcher.transform(X).any()


def test_the_sample_of_clusters_is_of_all_images_of_a_class():
    rng = np.random.default_rng(0)
    first, last, other = rng.random((3, 5, 5))
    images = np.concatenate([[first] * 60, [last] * 60, [other] * 60])
    images += rng.normal(scale=1e-3, size=images.shape)
    chunk_mib = 20 * 4 * 8 * 25 / 2**20  # of 120 images k-means sees 20
    matcher = TemplateMatcher(n_templates=2, chunk_mib=chunk_mib, random_state=0)
    matcher.fit(images, [0] * 120 + [1] * 60)
    of_first_class = matcher.templates_[matcher.template_classes_ == 0]
    for kind in (first, last):
        assert np.abs(of_first_class - kind).max(axis=(1, 2)).min() < 0.01
