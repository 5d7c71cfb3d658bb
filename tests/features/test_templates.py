"""TemplateMatcher against skimage.feature.match_template."""

import numpy as np
import pytest
from skimage.feature import match_template

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


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6])
def test_constant_images_correlate_zero(value):
    X, y = load_digit_images(return_X_y=True)
    matcher = TemplateMatcher().fit(X, y)
    assert not matcher.transform(np.full((1, 8, 8), value)).any()
