"""Vectors of locally aggregated descriptors: how an image's descriptors differ from the words."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from skcnn._compat import Interval, StrOptions
from skcnn.features._encoder import DescriptorEncoder, signed_power, unit_length
from skcnn.features._vocabulary import NearestWords, learn_vocabulary


class VLADEncoder(DescriptorEncoder):
    """Vectors of locally aggregated descriptors (VLAD).

    For every visual word the differences from it of those descriptors to which it is the nearest
    are summed up. The words are the centres that mini-batch k-means finds in a sample of the
    training images' descriptors.

    Parameters
    ----------
    n_words : int, default=64
        Number of visual words. Where there are fewer different descriptors to learn from, there are
        as many words as those, and a warning.

    normalize : {"power", "intra", "l2"} or None, default="power"
        What becomes of the sums:

        - "power": of each value the root is taken, its sign kept, and each cell is brought to
          length 1.
        - "intra": each word's sum is brought to length 1, so that none that occurs in bursts
          outweighs the others [2]_, then each cell.
        - "l2": each cell is brought to length 1, as in [1]_.
        - None: they stay sums.

        With all but None the whole row is brought to length 1 at last.

    spatial_pyramid : sequence of int or (int, int), default=(1,)
        Grids over the image, each with its rows and columns of cells (an int is a square grid);
        each cell has sums of its own. ``(1, 2)`` pools over the whole image and its quarters,
        ``(1, (3, 1))`` over the whole and three strips. All but ``(1,)`` needs `X` to tell where
        descriptors lie. Of those on a grid the grid is cut, as if it had no margin.

    max_descriptors : int, default=100000
        The vocabulary is learnt from so many descriptors at most, drawn at random from those of all
        images alike.

    ignore_zeros : bool, default=True
        Leave out descriptors that are all zero, as those of flat patches are: they are neither
        learnt from nor summed.

    random_state : int, RandomState instance or None, default=None
        Seed of the sample and of k-means.

    chunk_mib : float, default=8
        Working memory in MiB of the chunk of sets that each thread treats at a time.

    n_jobs : int or None, default=None
        Number of threads; None is 1 and -1 all processors.

    Attributes
    ----------
    vocabulary_ : ndarray of shape (n_words, n_values)
        The visual words.

    n_parameters_ : int
        Number of values that were learnt: those of the words.

    n_features_in_ : int
        Number of values of a descriptor.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If there is no descriptor to learn from, or a spatial pyramid has no positions to go by.

    See Also
    --------
    BagOfVisualWords : How many descriptors each word has, no more.
    FisherVectorEncoder : The spread of each word's descriptors too, with soft assignment.

    References
    ----------
    .. [1] H. Jégou et al., "Aggregating Local Descriptors into a Compact Image Representation",
       CVPR 2010. :doi:`10.1109/CVPR.2010.5540039`
    .. [2] R. Arandjelović and A. Zisserman, "All About VLAD", CVPR 2013.
       :doi:`10.1109/CVPR.2013.207`

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import VLADEncoder
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(k, 8)) for k in (40, 0, 25)]  # three images' descriptors
    >>> features = VLADEncoder(n_words=5, random_state=0).fit_transform(X)
    >>> features.shape  # 5 words of 8 values
    (3, 40)
    >>> features[1].any()
    np.False_
    """

    _parameter_constraints: dict = {
        "n_words": [Interval(Integral, 1, None, closed="left")],
        "normalize": [StrOptions({"power", "intra", "l2"}), None],
        **DescriptorEncoder._parameter_constraints,
    }

    def __init__(
        self,
        n_words: int = 64,
        *,
        normalize: str | None = "power",
        spatial_pyramid: Any = (1,),
        max_descriptors: int = 100_000,
        ignore_zeros: bool = True,
        random_state: int | np.random.RandomState | None = None,
        chunk_mib: float = 8,
        n_jobs: int | None = None,
    ) -> None:
        self.n_words = n_words
        self.normalize = normalize
        self.spatial_pyramid = spatial_pyramid
        self.max_descriptors = max_descriptors
        self.ignore_zeros = ignore_zeros
        self.random_state = random_state
        self.chunk_mib = chunk_mib
        self.n_jobs = n_jobs

    def _learn(self, descriptors: np.ndarray, rng: np.random.RandomState) -> None:
        self.vocabulary_ = learn_vocabulary(descriptors, self.n_words, rng)
        self.n_parameters_ = self.vocabulary_.size
        self._as_fitted = self.normalize

    def _coder(self, dtype: np.dtype) -> _Residuals:
        return _Residuals(NearestWords(self.vocabulary_, dtype), self._as_fitted)


class _Residuals:
    """Sums of differences from the nearest word."""

    def __init__(self, words: NearestWords, normalize: str | None) -> None:
        self.words, self.normalize = words, normalize
        self.n_sums, self.n_working = words.words.size, words.n_words + 2 * words.n_values
        self.nearest = words.nearest

    def add(self, descriptors: np.ndarray, targets: np.ndarray, sums: np.ndarray) -> None:
        from skcnn.features._encoder_kernels import add_rows

        nearest = self.nearest(descriptors)
        by_word = sums.reshape(-1, descriptors.shape[1])
        add_rows(
            descriptors - self.words.words[nearest], targets * self.words.n_words + nearest, by_word
        )

    def finish(self, sums: np.ndarray, counts: np.ndarray) -> None:
        if self.normalize == "power":
            signed_power(sums, 0.5)
        elif self.normalize == "intra":
            unit_length(sums.reshape(*sums.shape[:2], *self.words.words.shape))
        if self.normalize is not None:
            unit_length(sums)
            unit_length(sums.reshape(len(sums), -1))
