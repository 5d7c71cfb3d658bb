"""Fisher vectors, against scikit-image and scikit-learn."""

import numpy as np
import pytest
from skimage.feature import fisher_vector
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from skcnn import FisherVectorEncoder
from tests.features.descriptor_sets import grid, mixture_of, ragged


def reference(encoder, sets, improved):
    """Return what scikit-image makes of sets, with the encoder's mixture and PCA."""
    mixture = mixture_of(encoder)
    vectors = []
    for descriptors in sets:
        if encoder.pca_components_ is not None:
            descriptors = (descriptors - encoder.pca_mean_) @ encoder.pca_components_.T
        vectors.append(fisher_vector(descriptors, mixture, improved=improved))
    return np.array(vectors)


@pytest.mark.parametrize("improved", [True, False])
@pytest.mark.parametrize("pca_components", [None, 3, 64])
def test_equal_to_scikit_image(pca_components, improved):
    sets = [one for one in ragged() if len(one)]
    encoder = FisherVectorEncoder(
        7, pca_components=pca_components, improved=improved, random_state=0
    ).fit(sets)
    expected = reference(encoder, sets, improved)
    np.testing.assert_allclose(encoder.transform(sets), expected, rtol=1e-9, atol=1e-9)
    single = encoder.transform([one.astype(np.float32) for one in sets])
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=2e-4 if improved else 2e-6)


@pytest.mark.parametrize("improved", [True, False])
@pytest.mark.parametrize("n_modes", [2, 37, 40])
def test_equal_to_scikit_image_on_many_overlapping_modes(n_modes, improved):
    rng = np.random.default_rng(0)
    sets = rng.gamma(1.0, size=(5, 300, 20))
    encoder = FisherVectorEncoder(n_modes, improved=improved, random_state=0).fit(sets)
    expected = reference(encoder, sets, improved)
    np.testing.assert_allclose(encoder.transform(sets), expected, rtol=1e-7, atol=1e-9)
    single = encoder.transform(sets.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-3, atol=1e-4)


def test_far_from_the_origin_and_from_every_mode():
    X = grid().reshape(12, 20, 5)
    encoder = FisherVectorEncoder(7, pca_components=None, improved=False, random_state=0).fit(X)
    far = X.copy()
    far[0, 0] = 1e4
    np.testing.assert_allclose(
        encoder.transform(far), reference(encoder, far, False), rtol=1e-7, atol=1e-9
    )
    shifted = FisherVectorEncoder(7, pca_components=None, improved=False, random_state=0)
    single = shifted.fit(X + 100).transform((X + 100).astype(np.float32))
    np.testing.assert_allclose(single, reference(shifted, X + 100, False), rtol=1e-2, atol=1e-4)


def test_descriptors_beyond_the_densities_of_all_modes_are_not_lost():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 30, 8)).astype(np.float32)
    encoder = FisherVectorEncoder(64, pca_components=None, random_state=0, max_iter=5).fit(X)
    for column in range(8):
        for value in (2.5e38, -2.5e38):  # log densities are infinite or, as differences, NaN
            far = X[:2].copy()
            far[1, 3] = value * np.eye(8)[column]
            with pytest.raises(ValueError, match="too large, or too small, those of image 1 first"):
                encoder.transform(far)


@pytest.mark.parametrize("exponent", np.arange(17.5, 18.6, 0.05).round(2).tolist())
def test_large_vectors_are_right_or_refused(exponent):
    X = np.random.default_rng(0).normal(size=(40, 8, 8, 8)).astype(np.float32)
    encoder = FisherVectorEncoder(
        16, pca_components=None, spatial_pyramid=(1, 2, 4), random_state=0, max_iter=5
    ).fit(X)
    large = np.full((1, 8, 8, 8), 10.0**exponent)
    try:
        vectors = encoder.transform(large.astype(np.float32))
    except ValueError as error:
        assert "too large" in str(error)  # noqa: PT017 - either is right
    else:
        np.testing.assert_allclose(vectors, encoder.transform(large), atol=1e-4)


@pytest.mark.parametrize("exponent", [-30, -20, -19, 0, 15, 19, 20, 30])
@pytest.mark.parametrize("fitted_at", [None, 0])
def test_modes_of_huge_and_tiny_descriptors_are_those_of_double_precision(exponent, fitted_at):
    X = np.random.default_rng(0).normal(size=(40, 30, 8))
    scaled = X * 10.0**exponent
    encoder = FisherVectorEncoder(16, pca_components=None, random_state=0, max_iter=5)
    # What is learnt from must not exceed 1e14.
    encoder.fit(scaled if fitted_at is None and exponent < 0 else X)
    modes = encoder.assign(scaled.astype(np.float32))
    assert (modes == encoder.assign(scaled)).mean() > 0.999


def test_descriptors_without_a_density_have_no_mode():
    X = np.random.default_rng(0).normal(size=(40, 30, 8))
    encoder = FisherVectorEncoder(4, pca_components=None, random_state=0).fit(X)
    with pytest.raises(ValueError, match="too large: their densities are beyond what float64"):
        encoder.assign(X * 1e200)


def test_mixture_is_that_of_scikit_learn():
    X = grid().reshape(-1, 5)
    encoder = FisherVectorEncoder(7, pca_components=None, random_state=0).fit(X)
    score = mixture_of(encoder).score(X)
    scores = [
        GaussianMixture(7, covariance_type="diag", random_state=seed).fit(X).score(X)
        for seed in range(5)
    ]
    assert min(scores) - 0.2 < score < max(scores) + 0.2
    assert encoder.n_iter_ >= 1
    np.testing.assert_array_equal(encoder.assign(X), mixture_of(encoder).predict(X))


@pytest.mark.parametrize("n_descriptors", [240, 4])
def test_pca_is_that_of_scikit_learn(n_descriptors):
    X = grid().reshape(-1, 5)[:n_descriptors]
    encoder = FisherVectorEncoder(2, pca_components=3, random_state=0).fit(X)
    pca = PCA(3).fit(X)
    np.testing.assert_allclose(encoder.pca_mean_, pca.mean_)
    signs = np.sign((encoder.pca_components_ * pca.components_).sum(axis=1))
    np.testing.assert_allclose(
        encoder.pca_components_, signs[:, np.newaxis] * pca.components_, atol=1e-9
    )


def test_a_single_descriptor_is_not_enough():
    with pytest.raises(ValueError, match="two or more descriptors; X has 1 sample"):
        FisherVectorEncoder().fit(np.ones((1, 5)))


def test_equal_descriptors_have_no_spread_to_divide_by():
    flat = np.full((3, 50, 5), 0.7)
    for pca_components in (None, 3):
        encoder = FisherVectorEncoder(1, pca_components=pca_components, random_state=0).fit(flat)
        assert np.isfinite(encoder.transform(grid().astype(np.float32))).all()
        np.testing.assert_allclose(encoder.covariances_, 1e-3, rtol=1e-3)


def test_iterations_are_bounded():
    X = np.random.default_rng(0).normal(size=(40, 30, 8))
    encoder = FisherVectorEncoder(8, pca_components=None, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning):
        assert encoder.fit(X).n_iter_ == 2
    assert encoder.set_params(max_iter=500).fit(X).n_iter_ > 2


def test_too_few_descriptors_to_learn_from_name_what_bounds_them():
    X = np.random.default_rng(0).normal(size=(40, 30, 8))
    with pytest.raises(ValueError, match=r"two or more descriptors.*max_descriptors=1\."):
        FisherVectorEncoder(max_descriptors=1).fit(X)
