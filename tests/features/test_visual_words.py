"""Bags of visual words and VLAD, against scikit-learn and the published formulas."""

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.text import TfidfTransformer

from skcnn import BagOfVisualWords, VLADEncoder
from tests.features.descriptor_sets import grid, ragged, unit


def distances(descriptors, words):
    return np.linalg.norm(descriptors[:, np.newaxis] - words, axis=-1)


def counts_of(encoder, X):
    """Return counts of nearest words, or sums of shares."""
    counts = []
    for descriptors in X:
        squared = distances(descriptors, encoder.vocabulary_) ** 2
        if encoder.assignment == "hard":
            counts.append(np.bincount(squared.argmin(axis=1), minlength=squared.shape[1]))
        else:
            kernel = np.exp(-squared / (2 * encoder.bandwidth_**2))
            counts.append((kernel / kernel.sum(axis=1, keepdims=True)).sum(axis=0))
    return np.array(counts, float)


@pytest.fixture(params=["hard", "soft"])
def counted(request):
    """Return sets, one of them empty, and an encoder that was fitted on them."""
    X = ragged()
    encoder = BagOfVisualWords(6, assignment=request.param, normalize=None, random_state=0)
    return X, encoder.fit(X)


def test_words_are_those_of_mini_batch_k_means():
    X = grid()
    fitted = BagOfVisualWords(6, random_state=0).fit(X)
    k_means = MiniBatchKMeans(6).fit(X.reshape(-1, 5))
    k_means.cluster_centers_ = fitted.vocabulary_
    np.testing.assert_array_equal(fitted.assign(X).ravel(), k_means.predict(X.reshape(-1, 5)))
    inertia = -k_means.score(X.reshape(-1, 5))
    best = MiniBatchKMeans(6, n_init=10, random_state=0).fit(X.reshape(-1, 5)).inertia_
    assert inertia < 2 * best


def test_nearest_words_far_from_the_origin():
    X = grid() + 1000
    fitted = BagOfVisualWords(20, random_state=0).fit(X)
    nearest = distances(X.reshape(-1, 5), fitted.vocabulary_).argmin(axis=1)
    np.testing.assert_array_equal(fitted.assign(X).ravel(), nearest)
    single = fitted.assign(X.astype(np.float32)).ravel()
    assert (single == nearest).mean() > 0.99


def test_counts(counted):
    X, encoder = counted
    np.testing.assert_allclose(encoder.transform(X), counts_of(encoder, X), atol=1e-12)
    np.testing.assert_allclose(encoder.transform(X).sum(axis=1), X.sizes)


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        ("l2", lambda counts: unit(counts)),
        ("power", lambda counts: unit(np.sqrt(counts))),
        ("hellinger", lambda counts: np.sqrt(counts / max(counts.sum(), 1))),
    ],
)
def test_normalisation(counted, normalize, expected):
    X, encoder = counted
    counts = counts_of(encoder, X)
    actual = encoder.set_params(normalize=normalize).fit_transform(X)
    np.testing.assert_allclose(actual, [expected(one) for one in counts], atol=1e-12)


def test_tf_idf_is_that_of_scikit_learn():
    X, unseen = ragged(), grid(seed=3).reshape(12, 20, 5)
    encoder = BagOfVisualWords(6, normalize="tf-idf", random_state=0).fit(X)
    reference = TfidfTransformer().fit(counts_of(encoder, X))
    np.testing.assert_allclose(encoder.idf_, reference.idf_)
    assert len(np.unique(encoder.idf_)) > 1
    for sets in (X, unseen):
        expected = reference.transform(counts_of(encoder, sets)).toarray()
        np.testing.assert_allclose(encoder.transform(sets), expected, atol=1e-12)
    # A word occurs where it is the nearest, whatever shares it has; cells change nothing.
    others = {"assignment": "soft", "chunk_mib": 1e-6}
    np.testing.assert_allclose(encoder.set_params(**others).fit(X).idf_, reference.idf_)
    np.testing.assert_allclose(
        encoder.set_params(spatial_pyramid=(2, 3)).fit(X).idf_, reference.idf_
    )


def test_bandwidth_in_units_of_the_descriptors():
    X = grid()
    fitted = BagOfVisualWords(6, assignment="soft", random_state=0).fit(X)
    nearest = distances(X.reshape(-1, 5), fitted.vocabulary_).min(axis=1)
    np.testing.assert_allclose(fitted.bandwidth_, np.sqrt((nearest**2).mean()) / 4)
    scaled = BagOfVisualWords(6, assignment="soft", random_state=0).fit(1024 * X)
    np.testing.assert_allclose(scaled.transform(1024 * X), fitted.transform(X), 1e-6, 1e-9)
    given = BagOfVisualWords(6, assignment="soft", bandwidth=1e-3, random_state=0).fit(X)
    hard = BagOfVisualWords(6, random_state=0).fit(X)
    np.testing.assert_allclose(given.transform(X), hard.transform(X), atol=1e-12)


def residuals_of(encoder, descriptors):
    """Return the sums of differences from each word, shape (n_words, n_values)."""
    words = encoder.vocabulary_
    nearest = distances(descriptors, words).argmin(axis=1)
    return np.array([(descriptors[nearest == k] - words[k]).sum(axis=0) for k in range(len(words))])


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        (None, lambda sums: sums.ravel()),
        ("l2", lambda sums: unit(sums.ravel())),
        ("power", lambda sums: unit((np.sign(sums) * np.sqrt(np.abs(sums))).ravel())),
        ("intra", lambda sums: unit(np.ravel([unit(one) for one in sums]))),
    ],
)
def test_vlad(normalize, expected):
    X = ragged()
    encoder = VLADEncoder(6, normalize=normalize, random_state=0).fit(X)
    reference = [expected(residuals_of(encoder, one)) for one in X]
    np.testing.assert_allclose(encoder.transform(X), reference, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("scale", "bandwidth"), [(1, 1e-200), (1, 1e-20), (1e-20, "auto")])
def test_soft_words_of_the_least_bandwidths(scale, bandwidth):
    sets = np.random.default_rng(0).normal(scale=scale, size=(10, 20, 6)).astype(np.float32)
    words = BagOfVisualWords(
        4, assignment="soft", bandwidth=bandwidth, normalize=None, random_state=0
    )
    np.testing.assert_allclose(words.fit_transform(sets).sum(axis=1), 20, rtol=1e-5)


@pytest.mark.parametrize("encoder", [BagOfVisualWords, VLADEncoder])
@pytest.mark.parametrize("size", [1e15, 1e30, 3e38])
def test_words_of_huge_descriptors_are_the_nearest(encoder, size):
    rng = np.random.default_rng(0)
    fitted = encoder(20, random_state=0).fit(rng.normal(size=(40, 30, 8)))
    directions = rng.normal(size=(5, 30, 8))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    words = fitted.assign((size * directions).astype(np.float32))
    # So far away it counts only how far words reach in that direction.
    centred = fitted.vocabulary_ - fitted.vocabulary_.mean(axis=0)
    np.testing.assert_array_equal(words, (directions @ centred.T).argmax(axis=-1))
