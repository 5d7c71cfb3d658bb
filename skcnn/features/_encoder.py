"""The one path that every encoder of descriptor sets walks: sample, learn, pool over cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, Protocol, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from skcnn._compat import Interval, fit_context
from skcnn.features._pyramid import SpatialPyramid
from skcnn.features._refit import as_it_was_if_it_fails
from skcnn.features._set_batch import SetBatch, check_sets
from skcnn.features._threads import in_threads

# Bytes of a block of intermediate results that stays in the second level cache.
_BLOCK_BYTES = 2**19
# Learning sums squared differences in float32, which ends at 3e38.
_LARGEST_VALUE = 1e14


class Coder(Protocol):
    """What an encoder has learnt, in the floating type of the descriptors that it meets.

    `n_sums` is the number of values that are summed over each cell and become its features,
    `n_working` that of the values of a descriptor that are needed on the way.
    """

    n_sums: int
    n_working: int

    def nearest(self, descriptors: np.ndarray) -> np.ndarray:
        """Return the word or mode that each descriptor belongs to."""

    def add(self, descriptors: np.ndarray, targets: np.ndarray, sums: np.ndarray) -> None:
        """Add what each descriptor says to the row of `sums` that is its target."""

    def finish(self, sums: np.ndarray, counts: np.ndarray) -> None:
        """Make features of the sums over the cells of each set, in place.

        `sums` are of shape (m, n_cells, n_sums), `counts` are the numbers of descriptors in cells.
        """


class DescriptorEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """A transformer from sets of descriptors to rows of features of one length.

    A subclass says in :meth:`_learn` what it learns of a sample of descriptors and gives in
    :meth:`_coder` what encodes with it.
    """

    _parameter_constraints: dict = {
        "spatial_pyramid": "no_validation",  # SpatialPyramid says what it should be
        "max_descriptors": [Interval(Integral, 1, None, closed="left")],
        "ignore_zeros": ["boolean"],
        "random_state": ["random_state"],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    @abstractmethod
    def _learn(self, descriptors: np.ndarray, rng: np.random.RandomState) -> None:
        """Learn from a float64 sample of descriptors."""

    @abstractmethod
    def _coder(self, dtype: np.dtype) -> Coder:
        """Return what was learnt, ready for descriptors of a floating type."""

    def _learn_from_sets(self, sets: SetBatch) -> None:
        """Learn what the sample of descriptors does not tell."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from a sample of the descriptors of all images.

        Parameters
        ----------
        X : array-like or DescriptorSets
            The descriptors: (n, k, n_values) for k of each image, (n, rows, columns, n_values) or
            (n, n_scales, rows, columns, n_values) for those on a grid, (n, n_values) for one of
            each image; :class:`DescriptorSets` or a list of arrays of shape (k_i, n_values) where
            images have different numbers of them.

        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        self : estimator
            The fitted encoder.

        Raises
        ------
        ValueError
            If there is no descriptor at all, one of the sample is not finite or beyond 1e14, or
            `spatial_pyramid` needs positions that `X` does not tell.
        """
        with as_it_was_if_it_fails(self):
            sets = check_sets(self, X, reset=True)
            self._pyramid = SpatialPyramid(self.spatial_pyramid)
            self._skips_zeros = self.ignore_zeros
            self._ensure_positions(sets)
            rng = check_random_state(self.random_state)
            self._learn(self._sample(sets, rng), rng)
            self._learn_from_sets(sets)
            self._n_features_out = self._pyramid.n_cells * self._coder(sets.dtype).n_sums
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return one row of features for every set.

        Parameters
        ----------
        X : array-like or DescriptorSets
            The descriptors, in a layout that `fit` takes.

        Returns
        -------
        features : ndarray of shape (n, n_features_out)
            float32 for descriptors of float32, float16, bool and integers of up to 16 bits, float64
            for all others. Zeros for a set without descriptors.

        Raises
        ------
        ValueError
            If descriptors have another number of values than in `fit`, one is not finite or so
            large that the features are not, or `spatial_pyramid` needs positions that `X` does not
            tell.
        """
        check_is_fitted(self)
        sets = check_sets(self, X, reset=False)
        self._ensure_positions(sets)
        coder = self._coder(sets.dtype)
        features = np.zeros((len(sets), self._n_features_out), sets.dtype)

        def fill(rows: slice) -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # which is seen afterwards
                self._encode(sets, rows, coder, features[rows])
                _ensure_finite(features[rows], rows.start)

        # Sums over parts and over rows of cells; features and, on the way to them, their squares.
        per_set = coder.n_sums * 2 * (self._pyramid.n_parts + self._pyramid.n_cells)
        self._in_chunks(sets, fill, per_set * sets.dtype.itemsize)
        return features

    def assign(self, X: Any) -> np.ndarray:
        """Return the visual word, or the mode, that each descriptor belongs to.

        Parameters
        ----------
        X : array-like or DescriptorSets
            The descriptors, in a layout that `fit` takes.

        Returns
        -------
        words : ndarray of int
            Numbers of words, in the shape of `X` without its last axis; (n_descriptors,) for sets
            of different sizes: those of all sets, in order.

        Raises
        ------
        ValueError
            If descriptors have another number of values than in `fit`, or one is not finite or so
            large that its distances from the words are not.
        """
        check_is_fitted(self)
        sets = check_sets(self, X, reset=False)
        words = np.empty(sets.n_descriptors, np.intp)
        coder = self._coder(sets.dtype)

        def fill(rows: slice) -> None:
            descriptors, start = sets.read(rows), sets.offsets[rows.start]
            with np.errstate(over="ignore", invalid="ignore"):  # which coders see to
                for block in blocks(descriptors, coder):
                    found = words[start + block.start : start + block.stop]
                    found[:] = coder.nearest(descriptors[block])

        self._in_chunks(sets, fill)
        return words if sets.set_shape is None else words.reshape(len(sets), *sets.set_shape)

    def _ensure_positions(self, sets: SetBatch) -> None:
        if self._pyramid.needs_positions and not sets.has_positions:
            raise ValueError(
                f"spatial_pyramid={self._pyramid.grids}, as fitted, needs to know where each "
                "descriptor lies: X must be of shape (n, rows, columns, n_values), (n, n_scales, "
                "rows, columns, n_values) or DescriptorSets with positions. An encoder fitted with "
                "spatial_pyramid=(1,) needs none."
            )

    def _sample(self, sets: SetBatch, rng: np.random.RandomState) -> np.ndarray:
        """Return at most `max_descriptors` descriptors, drawn from those of all sets alike."""
        n = sets.n_descriptors
        if n == 0:
            raise ValueError(
                f"X holds no descriptors: all of its {len(sets)} sets are empty, and "
                f"{type(self).__name__} learns from descriptors."
            )
        if n > self.max_descriptors:
            indices = np.sort(sample_without_replacement(n, self.max_descriptors, random_state=rng))
        else:
            indices = np.arange(n)
        sample = sets.take(indices, self.chunk_mib).astype(np.float64, copy=False)
        _ensure_squares_fit(sample)
        if self.ignore_zeros:
            says_something = sample.any(axis=1)
            if says_something.any() and not says_something.all():
                sample = sample[says_something]
        return sample

    def _encode(self, sets: SetBatch, rows: slice, coder: Coder, features: np.ndarray) -> None:
        """Write the features of some sets over zeros."""
        pyramid, n_sets = self._pyramid, len(features)
        by_cell = features.reshape(n_sets, pyramid.n_cells, coder.n_sums)
        if pyramid.n_cells == 1:
            sums = features
        else:
            sums = np.zeros((n_sets * pyramid.n_parts, coder.n_sums), sets.dtype)
        counted = [np.empty(0, np.intp)]
        for descriptors, targets in self._blocks(sets, rows, coder):
            coder.add(descriptors, targets, sums)
            counted.append(targets)
        counts = np.bincount(np.concatenate(counted), minlength=n_sets * pyramid.n_parts)
        if pyramid.n_cells > 1:
            by_cell[:] = pyramid.cell_sums(sums.reshape(n_sets, pyramid.n_parts, -1))
        coder.finish(by_cell, pyramid.cell_sums(counts.reshape(n_sets, pyramid.n_parts)))

    def _blocks(
        self, sets: SetBatch, rows: slice, coder: Coder
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, block by block, the descriptors that count, and the part of which set each is in.

        Zeros are taken out of blocks, which stay in the cache, not out of all that was read.
        """
        from skcnn.features._encoder_kernels import nonzero_rows

        descriptors, sizes = sets.read(rows), sets.sizes(rows)
        targets = np.repeat(np.arange(len(sizes)) * self._pyramid.n_parts, sizes)
        if self._pyramid.needs_positions:
            targets += self._pyramid.part_of(sets.positions(rows))
        for block in blocks(descriptors, coder):
            says_something = nonzero_rows(descriptors[block]) if self._skips_zeros else None
            if says_something is None or says_something.all():
                yield descriptors[block], targets[block]
            elif says_something.any():
                yield descriptors[block][says_something], targets[block][says_something]

    def _in_chunks(self, sets: SetBatch, work: Any, bytes_per_set: int = 0) -> list[Any]:
        """Return what `work` makes of each chunk of sets, in order; `n_jobs` threads share them."""
        n_threads = effective_n_jobs(self.n_jobs)
        # The descriptors as they are read, and converted; where each is added.
        bytes_per_descriptor = 2 * sets.n_values * sets.dtype.itemsize + 16
        # The same chunks for any number of threads: matrix products round alike.
        chunks = list(sets.chunks(self.chunk_mib, bytes_per_descriptor, bytes_per_set))
        if n_threads == 1 or len(chunks) == 1:
            return in_threads(1, work, chunks)
        with threadpool_limits(1, "blas"):
            return in_threads(n_threads, work, chunks)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _ensure_finite(features: np.ndarray, first: int) -> None:
    # The sum of squares is finite unless a value is not (or it overflows): fast for good features.
    if np.isfinite(np.vdot(features, features)):
        return
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"X holds descriptors that are too large, or too small, those of image "
            f"{first + finite.argmin()} first: what is computed of their squares is beyond what "
            f"{features.dtype} can hold. Divide X by its largest value, in fit and transform alike."
        )


def _ensure_squares_fit(sample: np.ndarray) -> None:
    largest = max(sample.max(), -sample.min())
    if largest > _LARGEST_VALUE:
        raise ValueError(
            f"X holds descriptors with values up to {largest:.3g} in size; what is learnt of them "
            f"sums their squares, so they must not exceed {_LARGEST_VALUE:g}. Divide X by its "
            "largest value, in fit and transform alike."
        )


def blocks(descriptors: np.ndarray, coder: Coder) -> Iterator[slice]:
    """Yield slices of descriptors whose working values stay in the cache."""
    n_rows = max(128, _BLOCK_BYTES // (coder.n_working * descriptors.dtype.itemsize))
    for start in range(0, len(descriptors), n_rows):
        yield slice(start, min(start + n_rows, len(descriptors)))


def unit_length(values: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """Bring `values` to length 1 along the axes, in place; zeros stay zeros."""
    with np.errstate(over="ignore"):
        lengths = np.sqrt(np.square(values).sum(axis=axis, keepdims=True))
    if not np.isfinite(lengths).all():  # of values whose squares are beyond the largest number
        largest = np.abs(values).max(axis=axis, keepdims=True)
        values /= np.where(np.isfinite(lengths), 1, largest)
        lengths = np.sqrt(np.square(values).sum(axis=axis, keepdims=True))
    lengths[lengths == 0] = 1
    values /= lengths
    return values


def signed_power(values: np.ndarray, power: float) -> np.ndarray:
    """Take the absolute values to a power, in place, and keep their signs."""
    size = np.abs(values)
    size = np.sqrt(size, out=size) if power == 0.5 else np.power(size, power, out=size)
    return np.copysign(size, values, out=values)
