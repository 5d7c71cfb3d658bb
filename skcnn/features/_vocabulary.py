"""Vocabularies of visual words: learning them by k-means, finding the nearest word."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import MiniBatchKMeans


def learn_vocabulary(
    descriptors: np.ndarray, n_words: int, rng: np.random.RandomState
) -> np.ndarray:
    """Return the centres that mini-batch k-means finds, shape (n_words, n_values).

    Where there are no more different descriptors than words, each of them is a word.
    """
    n_distinct = count_distinct(descriptors, n_words + 1)
    if n_distinct <= n_words:
        warn_if_fewer("n_words", n_words, n_distinct, stacklevel=6)
        return np.unique(descriptors, axis=0)
    k_means = MiniBatchKMeans(
        n_words, batch_size=max(2048, 2 * n_words), n_init=1, random_state=rng.randint(2**31)
    )
    # Around 0 float32 is enough, and takes half the time.
    mean = descriptors.mean(axis=0)
    return k_means.fit((descriptors - mean).astype(np.float32)).cluster_centers_ + mean


def count_distinct(descriptors: np.ndarray, enough: int) -> int:
    """Return the number of different descriptors; counting stops at `enough`."""
    seen: set[int] = set()
    for descriptor in descriptors:
        seen.add(hash((descriptor + 0.0).tobytes()))  # -0.0 becomes 0.0, which has other bytes
        if len(seen) == enough:
            break
    return len(seen)


def warn_if_fewer(name: str, wanted: int, n_distinct: int, stacklevel: int) -> None:
    """Warn of a size that is more than there are different descriptors."""
    if n_distinct < wanted:
        warnings.warn(
            f"{name}={wanted} is more than the {n_distinct} different descriptors to learn from: "
            f"{n_distinct} are learnt.",
            UserWarning,
            stacklevel=stacklevel,
        )


class NearestWords:
    """Words that descriptors of one floating type are compared with.

    The word with the least ``|word|^2 - 2 descriptor @ word`` is the nearest: a matrix product. The
    words are taken relative to their mean, which changes no comparison and saves digits.
    """

    def __init__(self, vocabulary: np.ndarray, dtype: np.dtype) -> None:
        self.words = vocabulary.astype(dtype)
        mean = vocabulary.mean(axis=0)
        centred = vocabulary - mean
        self._factors = np.ascontiguousarray(-2 * centred.T, dtype)
        self._offsets = (np.square(centred).sum(axis=1) + 2 * centred @ mean).astype(dtype)
        self.n_words, self.n_values = vocabulary.shape

    def scores(self, descriptors: np.ndarray) -> np.ndarray:
        """Return squared distances to all words, each less a number of the descriptor's own."""
        scores = descriptors @ self._factors
        scores += self._offsets
        return scores

    def nearest(self, descriptors: np.ndarray) -> np.ndarray:
        """Return the number of the nearest word of each descriptor."""
        scores = self.scores(descriptors)
        words = scores.argmin(axis=1)  # the first NaN, if there is one
        unknown = ~np.isfinite(scores[np.arange(len(words)), words])
        if unknown.any():  # beyond the largest number, but for a factor that all words share
            large = descriptors[unknown]
            size = np.abs(large).max(axis=1, keepdims=True)
            relative = (large / size) @ self._factors + self._offsets / size
            words[unknown] = relative.argmin(axis=1)
        return words
