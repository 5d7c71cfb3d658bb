"""Bags of visual words: how often each word of a learnt vocabulary occurs in an image."""

from __future__ import annotations

from math import sqrt
from numbers import Integral, Real
from typing import Any

import numpy as np

from skcnn._compat import Interval, StrOptions
from skcnn.features._encoder import DescriptorEncoder, unit_length
from skcnn.features._set_batch import SetBatch
from skcnn.features._vocabulary import NearestWords, learn_vocabulary


class BagOfVisualWords(DescriptorEncoder):
    """Histograms of visual words: how often each word occurs among an image's descriptors.

    The vocabulary is the centres that mini-batch k-means finds in a sample of the training images'
    descriptors. Every descriptor counts for the word nearest to it, or with soft assignment for all
    words by how near they are.

    Parameters
    ----------
    n_words : int, default=200
        Number of visual words. Where there are fewer different descriptors to learn from, there are
        as many words as those, and a warning.

    assignment : {"hard", "soft"}, default="hard"
        "hard" counts 1 for the nearest word. "soft" shares this 1 among all words in proportion to
        ``exp(-distance**2 / (2 * bandwidth**2))``, which is the codeword uncertainty of [2]_.

    bandwidth : float or "auto", default="auto"
        Standard deviation of the Gaussian of soft assignment, in units of the descriptors. "auto"
        takes a quarter of the root mean square distance of the learnt-from descriptors to their
        words.

    normalize : {"tf-idf", "l2", "power", "hellinger"} or None, default="hellinger"
        What becomes of the counts of one image:

        - "hellinger": the counts of each cell are divided by their sum, and roots are taken. The
          scalar product of two such rows is the Bhattacharyya coefficient of the histograms.
        - "l2": those of each cell are brought to length 1.
        - "tf-idf": counts are multiplied by ``log((1 + n) / (1 + df)) + 1``, where df of n training
          images have a descriptor whose nearest word it is, then brought to length 1 cell by cell;
          the default of scikit-learn's ``TfidfTransformer``.
        - "power": roots are taken of all counts. A cell then weighs as much as it has descriptors,
          where all others give each cell of a pyramid the same weight; without a pyramid it is the
          same as "hellinger".
        - None: they stay counts.

        With all but None the whole row is brought to length 1 at last.

    spatial_pyramid : sequence of int or (int, int), default=(1,)
        Grids over the image, each with its rows and columns of cells (an int is a square grid);
        each cell has a histogram of its own. ``(1, 2, 4)`` pools over the whole image, its quarters
        and its sixteenths, ``(1, (3, 1))`` over the whole and three strips. All but ``(1,)`` needs
        `X` to tell where descriptors lie. Of those on a grid the grid is cut, as if it had no
        margin.

    max_descriptors : int, default=100000
        The vocabulary is learnt from so many descriptors at most, drawn at random from those of all
        images alike.

    ignore_zeros : bool, default=True
        Leave out descriptors that are all zero, as those of flat patches are: they are neither
        learnt from nor counted.

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

    bandwidth_ : float or None
        Standard deviation of the Gaussian of soft assignment; None with hard assignment.

    idf_ : ndarray of shape (n_words,) or None
        Inverse document frequency of each word, if `normalize` is "tf-idf".

    n_parameters_ : int
        Number of values that were learnt: those of the words, and of their frequencies.

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
    VLADEncoder : What the descriptors of each word have in common beside their number.
    FisherVectorEncoder : Mean and spread of them too.

    References
    ----------
    .. [1] G. Csurka et al., "Visual Categorization with Bags of Keypoints", ECCV Workshop on
       Statistical Learning in Computer Vision 2004.
    .. [2] J. C. van Gemert et al., "Kernel Codebooks for Scene Categorization", ECCV 2008.
       :doi:`10.1007/978-3-540-88690-7_52`
    .. [3] S. Lazebnik, C. Schmid and J. Ponce, "Beyond Bags of Features: Spatial Pyramid Matching
       for Recognizing Natural Scene Categories", CVPR 2006. :doi:`10.1109/CVPR.2006.68`

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import BagOfVisualWords
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(20, 6, 6, 8))  # 20 images, descriptors of 8 values on a 6 x 6 grid
    >>> words = BagOfVisualWords(n_words=10, spatial_pyramid=(1, 2), random_state=0)
    >>> words.fit_transform(X).shape  # 10 words in 1 + 4 cells
    (20, 50)
    >>> words.assign(X).shape
    (20, 6, 6)
    """

    _parameter_constraints: dict = {
        "n_words": [Interval(Integral, 1, None, closed="left")],
        "assignment": [StrOptions({"hard", "soft"})],
        "bandwidth": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "normalize": [StrOptions({"tf-idf", "l2", "power", "hellinger"}), None],
        **DescriptorEncoder._parameter_constraints,
    }

    def __init__(
        self,
        n_words: int = 200,
        *,
        assignment: str = "hard",
        bandwidth: float | str = "auto",
        normalize: str | None = "hellinger",
        spatial_pyramid: Any = (1,),
        max_descriptors: int = 100_000,
        ignore_zeros: bool = True,
        random_state: int | np.random.RandomState | None = None,
        chunk_mib: float = 8,
        n_jobs: int | None = None,
    ) -> None:
        self.n_words = n_words
        self.assignment = assignment
        self.bandwidth = bandwidth
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
        self._normalize = self.normalize
        self.bandwidth_ = self._bandwidth(descriptors) if self.assignment == "soft" else None

    def _bandwidth(self, descriptors: np.ndarray) -> float:
        if not isinstance(self.bandwidth, str):
            return float(self.bandwidth)
        words = NearestWords(self.vocabulary_, descriptors.dtype)
        squared = 0.0
        for start in range(0, len(descriptors), 1024):
            block = descriptors[start : start + 1024]
            squared += float(np.square(block - self.vocabulary_[words.nearest(block)]).sum())
        # Where every descriptor is a word, any width that is above 0 finds it.
        return 0.25 * sqrt(squared / len(descriptors)) or 1.0

    def _learn_from_sets(self, sets: SetBatch) -> None:
        self.idf_ = None
        if self.normalize != "tf-idf":
            return
        coder = self._coder(sets.dtype)

        def count(rows: slice) -> np.ndarray:
            occurs = np.zeros((rows.stop - rows.start, len(self.vocabulary_)), bool)
            for descriptors, targets in self._blocks(sets, rows, coder):
                occurs[targets // self._pyramid.n_parts, coder.nearest(descriptors)] = True
            return occurs.sum(axis=0)

        frequency = sum(self._in_chunks(sets, count, len(self.vocabulary_)))
        self.idf_ = np.log((1 + len(sets)) / (1 + frequency)) + 1
        self.n_parameters_ += self.idf_.size

    def _coder(self, dtype: np.dtype) -> _Hard:
        normalize = self._normalize
        words = NearestWords(self.vocabulary_, dtype)
        idf = None if self.idf_ is None else self.idf_.astype(dtype)
        if self.bandwidth_ is None:
            return _Hard(words, normalize, idf)
        return _Soft(words, normalize, idf, self.bandwidth_)


class _Hard:
    """Counts of nearest words."""

    def __init__(self, words: NearestWords, normalize: str | None, idf: np.ndarray | None) -> None:
        self.words, self.normalize, self.idf = words, normalize, idf
        self.n_sums, self.n_working = words.n_words, words.n_words + words.n_values
        self.nearest = words.nearest

    def add(self, descriptors: np.ndarray, targets: np.ndarray, sums: np.ndarray) -> None:
        # Descriptors stand set by set, so a block reaches few of the targets.
        first, last = targets.min(), targets.max() + 1
        flat = (targets - first) * self.n_sums + self.nearest(descriptors)
        counts = np.bincount(flat, minlength=(last - first) * self.n_sums)
        sums[first:last] += counts.reshape(last - first, self.n_sums)

    def finish(self, sums: np.ndarray, counts: np.ndarray) -> None:
        if self.idf is not None:
            sums *= self.idf
        if self.normalize in ("hellinger", "power"):
            np.sqrt(sums, out=sums)
        if self.normalize not in ("power", None):
            unit_length(sums)  # of roots too: their squares sum to the sum of the counts
        if self.normalize is not None:
            unit_length(sums.reshape(len(sums), -1))


class _Soft(_Hard):
    """Sums of shares in all words."""

    def __init__(
        self,
        words: NearestWords,
        normalize: str | None,
        idf: np.ndarray | None,
        bandwidth: float,
    ) -> None:
        super().__init__(words, normalize, idf)
        dtype = words.words.dtype
        # Of the least bandwidths it is infinite, and nothing times that is not a number.
        self.factor = dtype.type(-min(0.5 / bandwidth / bandwidth, float(np.finfo(dtype).max)))

    def add(self, descriptors: np.ndarray, targets: np.ndarray, sums: np.ndarray) -> None:
        from skcnn.features._encoder_kernels import add_rows

        shares = self.words.scores(descriptors)
        shares -= shares.min(axis=1, keepdims=True)
        shares *= self.factor  # may overflow, and the share is 0
        np.exp(shares, out=shares)
        shares /= shares.sum(axis=1, keepdims=True)
        add_rows(shares, targets, sums)
