"""The batch of descriptor sets: every X that the encoders accept, seen as one set an image."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skcnn.features._descriptors import DescriptorSets, says_nothing
from skcnn.features._lazy import LazyDescriptors
from skcnn.images._turns import Turns

LAYOUTS = (
    "(n, n_values) for one descriptor an image, (n, k, n_values) for k of them, "
    "(n, rows, columns, n_values) or (n, n_scales, rows, columns, n_values) for a grid of them, or "
    "DescriptorSets or a list of arrays (k_i, n_values) for sets of different sizes"
)


class SetBatch:
    """A read-only view of `X` as n sets of descriptors, read chunk by chunk.

    Nothing is copied when the view is made. :meth:`read` and :meth:`take` convert the descriptors
    that they return and no others. The descriptors of all sets are numbered through: those of set i
    are ``offsets[i]`` to ``offsets[i + 1]``.

    Parameters
    ----------
    X : array-like or DescriptorSets
        The sets, in one of the layouts that the encoders take.

    n_values : int or None, default=None
        Number of values of a descriptor where `X` is a list of images without any.

    Attributes
    ----------
    n_values : int
        Number of values of a descriptor.

    offsets : ndarray of int of shape (n + 1,)
        Where each set begins and ends.

    dtype : numpy.dtype
        Floating type in which descriptors are read: float32 for float32, float16, bool and integers
        of up to 16 bits, else float64.

    has_positions : bool
        Whether it is known where in the image each descriptor lies.

    Raises
    ------
    TypeError
        If `X` is sparse or holds something that is not a number.

    ValueError
        If `X` is in none of the layouts, empty, complex or text.
    """

    def __init__(self, X: Any, n_values: int | None = None) -> None:
        self._source = as_sets(X, n_values)
        self._turns = Turns()
        self._stored = np.dtype(self._source.dtype)
        _ensure_numeric(self._source, self._stored)
        if isinstance(self._source, DescriptorSets):
            _ensure_sets(len(self._source), self._source.shape)
            self.n_values = self._source.descriptors.shape[1]
            self.offsets = self._source.offsets
            self.has_positions = self._source.positions is not None
            self.set_shape: tuple[int, ...] | None = None
        else:
            shape = tuple(int(size) for size in self._source.shape)
            _ensure_layout(shape)
            self.n_values, self.set_shape = shape[-1], shape[1:-1]
            self.offsets = np.arange(shape[0] + 1) * prod(self.set_shape)
            self.has_positions = len(shape) >= 4
        _ensure_values(self.n_values, tuple(self._source.shape))
        kind, itemsize = self._stored.kind, self._stored.itemsize
        single = (kind in "ui" and itemsize <= 2) or (kind == "f" and itemsize <= 4) or kind == "b"
        self.dtype = np.dtype(np.float32 if single else np.float64)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_descriptors(self) -> int:
        """Number of descriptors of all sets."""
        return int(self.offsets[-1])

    def sizes(self, rows: slice) -> np.ndarray:
        """Return the number of descriptors of each set of a slice."""
        return np.diff(self.offsets[rows.start : rows.stop + 1])

    def read(self, rows: slice) -> np.ndarray:
        """Return the descriptors of the sets of a slice, one below the other.

        Raises
        ------
        ValueError
            If one holds NaN or infinity; the message says of which image.
        """
        start, stop = self.offsets[rows.start], self.offsets[rows.stop]
        if isinstance(self._source, DescriptorSets):
            raw = self._source.descriptors[start:stop]
        elif isinstance(self._source, np.ndarray | LazyDescriptors):
            raw = np.asarray(self._source[rows.start : rows.stop])
        else:
            with self._turns:
                raw = np.asarray(self._source[rows.start : rows.stop])
        return self._convert(raw.reshape(-1, self.n_values), range(start, stop))

    def positions(self, rows: slice) -> np.ndarray:
        """Return row and column, from 0 to 1, of each descriptor of the sets of a slice."""
        if isinstance(self._source, DescriptorSets):
            known: Any = self._source.positions
            return np.asarray(known[self.offsets[rows.start] : self.offsets[rows.stop]])
        assert self.set_shape is not None
        n_rows, n_columns = self.set_shape[-2:]
        centres = np.stack(
            np.meshgrid(
                (np.arange(n_rows) + 0.5) / n_rows,
                (np.arange(n_columns) + 0.5) / n_columns,
                indexing="ij",
            ),
            axis=-1,
        ).reshape(-1, 2)
        repeats = (rows.stop - rows.start) * prod(self.set_shape[:-2])
        return np.tile(centres, (repeats, 1))

    def take(self, indices: np.ndarray, chunk_mib: float) -> np.ndarray:
        """Return the descriptors of ascending numbers, reading at most `chunk_mib` MiB at a time.

        Raises
        ------
        ValueError
            If one holds NaN or infinity; the message says of which image.
        """
        if isinstance(self._source, DescriptorSets):
            return self._convert(self._source.descriptors[indices], indices)
        if isinstance(self._source, np.ndarray):
            within = prod(self.set_shape or ())
            # Not reshaped as a whole: an array that is not contiguous would be copied.
            places = np.unravel_index(indices % within, self.set_shape) if self.set_shape else ()
            return self._convert(self._source[(indices // within, *places)], indices)
        taken = [np.empty((0, self.n_values), self.dtype)]
        for rows in self.chunks(chunk_mib, self.n_values * self.dtype.itemsize, 0):
            first, last = np.searchsorted(indices, self.offsets[[rows.start, rows.stop]])
            for run in self._runs(indices[first:last]):
                sets = slice(self._set_of(run[0]), self._set_of(run[-1]) + 1)
                taken.append(self.read(sets)[run - self.offsets[sets.start]])
        return np.concatenate(taken)

    def _set_of(self, numbers: Any) -> Any:
        sets = np.searchsorted(self.offsets, numbers, side="right") - 1
        return int(sets) if np.ndim(sets) == 0 else sets

    def _runs(self, indices: np.ndarray) -> list[np.ndarray]:
        """Cut the descriptors' ascending numbers where a set lies between that has none of them."""
        if len(indices) == 0:
            return []
        return np.split(indices, np.flatnonzero(np.diff(self._set_of(indices)) > 1) + 1)

    def chunks(
        self, chunk_mib: float, bytes_per_descriptor: int, bytes_per_set: int
    ) -> Iterator[slice]:
        """Yield the slices that cover the sets in pieces of at most `chunk_mib` MiB each.

        A piece holds at least one set.
        """
        cost = self.offsets * bytes_per_descriptor + np.arange(len(self.offsets)) * bytes_per_set
        start = 0
        while start < len(self):
            bound = cost[start] + chunk_mib * 2**20
            stop = int(np.searchsorted(cost, bound, side="right")) - 1
            stop = max(start + 1, min(stop, len(self)))
            yield slice(start, stop)
            start = stop

    def _convert(self, raw: np.ndarray, numbers: range | np.ndarray) -> np.ndarray:
        raw = _as_numbers(raw)
        self._ensure_finite(raw, numbers)
        with np.errstate(over="ignore"):
            converted = np.ascontiguousarray(raw, dtype=self.dtype)
        if converted.dtype.itemsize < raw.dtype.itemsize:
            self._ensure_finite(converted, numbers)
        return converted

    def _ensure_finite(self, raw: np.ndarray, numbers: range | np.ndarray) -> None:
        if raw.dtype.kind != "f":
            return
        # A sum is finite unless a value is not (or it overflows): one cheap pass for good data.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(raw.sum()):
                return
        finite = np.isfinite(raw)
        if finite.all():
            return
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        value = raw[row, column]
        seen = "NaN" if np.isnan(value) else f"infinity or a value too large for {raw.dtype}"
        image = self._set_of(numbers[row])
        raise ValueError(
            f"Input X contains {seen}: the first one found is in a descriptor of image {image}. "
            "Descriptors must be finite."
        )


def check_sets(estimator: BaseEstimator, X: Any, *, reset: bool) -> SetBatch:
    """Return `X` as a :class:`SetBatch` that suits `estimator`.

    With `reset`, in `fit`, the estimator gets `n_features_in_` and, for data frames,
    `feature_names_in_`; otherwise `X` must agree with them.

    Raises
    ------
    ValueError
        If `X` is no batch of sets, or its descriptors differ in length from those of `fit`.
    """
    # Feature names only: scikit-learn's other checks would convert the whole of X.
    validate_data(estimator, X, reset=reset, skip_check_array=True, ensure_2d=False)
    sets = SetBatch(X, None if reset else estimator.n_features_in_)
    if reset:
        estimator.n_features_in_ = sets.n_values
    elif sets.n_values != estimator.n_features_in_:
        raise ValueError(
            f"X has {sets.n_values} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input: descriptors must have as many values "
            "as in fit."
        )
    return sets


def as_sets(X: Any, n_values: int | None = None) -> Any:
    """Return `X` itself if it can be read in slices, else an array or DescriptorSets of it.

    Its descriptors have `n_values` values if there are none.
    """
    if issparse(X):
        check_array(X)  # scikit-learn's own TypeError
    if isinstance(X, np.matrix):
        return np.asarray(X)
    if isinstance(X, DescriptorSets) or _is_sliceable(X):
        return X
    if _is_list_of_sets(X):
        # Sets of one size keep their layout, with what it tells of positions.
        if len({np.shape(one) for one in X}) == 1 and not says_nothing(X[0]):
            return np.stack([np.asarray(one) for one in X])
        return DescriptorSets.from_list(X, n_values)
    try:
        return np.asarray(X)
    except ValueError as error:  # lists within X have different lengths
        raise ValueError(f"X cannot be read as sets of descriptors: {LAYOUTS}. {error}") from error


def _is_sliceable(X: Any) -> bool:
    try:
        dtype = np.dtype(X.dtype)
    except (AttributeError, TypeError):  # no array, or an extension type of pandas or torch
        return False
    return dtype.kind != "O" and hasattr(X, "__getitem__") and hasattr(X, "shape")


def _is_list_of_sets(X: Any) -> bool:
    """Tell whether it is a list of arrays, some or all of which may be None or empty lists."""
    is_list = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.ndim == 1)
    if not is_list or len(X) == 0:
        return False
    return all(getattr(one, "ndim", 0) >= 2 or says_nothing(one) for one in X)


def _ensure_numeric(source: Any, dtype: np.dtype) -> None:
    if dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X has dtype {dtype}.")
    if dtype.kind not in "buifO":
        raise ValueError(f"X must hold descriptors, which are numbers; got dtype {dtype}.")
    if dtype.kind == "O" and not isinstance(source, DescriptorSets):
        _as_numbers(source)


def _ensure_layout(shape: tuple[int, ...]) -> None:
    if not 2 <= len(shape) <= 5:
        raise ValueError(
            f"X must hold sets of descriptors, one an image: {LAYOUTS}. Got a {len(shape)}-D array "
            f"of shape {shape}. Reshape your data: X[None] makes a batch of one set, "
            "X.reshape(1, -1) a batch of one descriptor."
        )
    _ensure_sets(shape[0], shape)


def _ensure_sets(n_sets: int, shape: tuple[int, ...]) -> None:
    if n_sets == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required."
        )


def _ensure_values(n_values: int, shape: tuple[int, ...]) -> None:
    if n_values == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required."
        )


def _as_numbers(raw: np.ndarray) -> np.ndarray:
    if raw.dtype.kind != "O":
        return raw
    try:
        return raw.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X has dtype object and cannot be read as numbers: {error}") from error
