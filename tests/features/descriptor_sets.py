"""Descriptors to encode, and what the encoders are made of, written down plainly."""

import numpy as np
from sklearn.mixture import GaussianMixture

from skcnn import BagOfVisualWords, DescriptorSets, FisherVectorEncoder, VLADEncoder

# Every encoder, and every way in which it makes features, with few words.
WAYS = [
    *(
        (BagOfVisualWords, {"n_words": 6, "assignment": assignment, "normalize": normalize})
        for assignment in ("hard", "soft")
        for normalize in ("tf-idf", "l2", "power", "hellinger", None)
    ),
    *((VLADEncoder, {"n_words": 6, "normalize": way}) for way in ("power", "intra", "l2", None)),
    *(
        (FisherVectorEncoder, {"n_modes": 4, "pca_components": n, "improved": improved})
        for n in (3, None)
        for improved in (True, False)
    ),
]


def ids(value):
    return value.__name__ if isinstance(value, type) else "-".join(map(str, value.values()))


def grid(n=12, n_rows=5, n_columns=4, n_values=5, seed=0):
    """Return descriptors around a few centres, on a grid, shape (n, rows, columns, values)."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(7, n_values))
    chosen = rng.integers(7, size=(n, n_rows, n_columns))
    return centres[chosen] + rng.normal(size=(n, n_rows, n_columns, n_values))


def ragged(sizes=(7, 0, 12, 1, 30), n_values=5):
    """Return sets of different sizes, one of them empty, with positions."""
    rng = np.random.default_rng(1)
    descriptors = grid(1, 1, sum(sizes), n_values)[0, 0]
    return DescriptorSets(descriptors, sizes, positions=rng.uniform(size=(sum(sizes), 2)))


def centres_of(n_rows, n_columns):
    """Return the positions of the descriptors of a grid."""
    return np.array(
        [
            ((row + 0.5) / n_rows, (column + 0.5) / n_columns)
            for row in range(n_rows)
            for column in range(n_columns)
        ]
    )


def cells_of(descriptors, positions, levels):
    """Return the descriptors of every cell of a pyramid, grid by grid, row by row."""
    cells = []
    for level in levels:
        n_rows, n_columns = (level, level) if isinstance(level, int) else level
        place = np.floor(positions * (n_rows, n_columns)).astype(int)
        cells += [
            descriptors[(place == (row, column)).all(axis=1)]
            for row in range(n_rows)
            for column in range(n_columns)
        ]
    return cells


def unit(values):
    length = np.linalg.norm(values)
    return values / length if length > 0 else values


def mixture_of(encoder):
    """Return the encoder's mixture as scikit-learn's."""
    mixture = GaussianMixture(len(encoder.weights_), covariance_type="diag")
    mixture.weights_, mixture.means_ = encoder.weights_, encoder.means_
    mixture.covariances_ = encoder.covariances_
    mixture.precisions_cholesky_ = 1 / np.sqrt(encoder.covariances_)
    return mixture
