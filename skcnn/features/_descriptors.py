"""Sets of local descriptors, one set an image, of different sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


class DescriptorSets:
    """Sets of local descriptors, one set an image, that need not be of one size.

    It has a length, a shape and scikit-learn's ways of indexing, so it passes through pipelines,
    splitters and searches like any `X`: an int gives one set as an ndarray, a slice or an array of
    ints or bools gives :class:`DescriptorSets` again.

    Parameters
    ----------
    descriptors : ndarray of shape (n_descriptors, n_values)
        The descriptors of all images, those of the first image first.

    sizes : array-like of int of shape (n,)
        How many of them each image has; 0 for an image without any.

    positions : array-like of shape (n_descriptors, 2) or None, default=None
        Row and column of each as a fraction of the image's height and width, from 0 to 1. Without
        them nothing is known of where a descriptor lies, and a spatial pyramid is not possible.

    scales : array-like of shape (n_descriptors,) or None, default=None
        Scale of each in pixels: the standard deviation of the Gaussian at which it was found.

    orientations : array-like of shape (n_descriptors,) or None, default=None
        Orientation of each in radians.

    Attributes
    ----------
    offsets : ndarray of int of shape (n + 1,)
        The set of image i is ``descriptors[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, sizes are no integers, or positions no fractions.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import DescriptorSets
    >>> sets = DescriptorSets(np.arange(10.0).reshape(5, 2), sizes=[3, 0, 2])
    >>> sets
    <DescriptorSets: 3 sets of 5 descriptors with 2 values>
    >>> sets[2]
    array([[6., 7.],
           [8., 9.]])
    >>> len(sets[[2, 1]]), sets[[2, 1]].descriptors.shape
    (2, (2, 2))
    """

    ndim = 1

    def __init__(
        self,
        descriptors: np.ndarray,
        sizes: Any,
        *,
        positions: Any = None,
        scales: Any = None,
        orientations: Any = None,
    ) -> None:
        self._hold(
            np.asarray(descriptors),
            _counts(sizes),
            *(
                None if values is None else np.asarray(values)
                for values in (positions, scales, orientations)
            ),
        )
        self._check()

    def _hold(
        self,
        descriptors: np.ndarray,
        sizes: np.ndarray,
        positions: np.ndarray | None,
        scales: np.ndarray | None,
        orientations: np.ndarray | None,
    ) -> None:
        self.descriptors, self.sizes = descriptors, sizes
        self.positions, self.scales, self.orientations = positions, scales, orientations
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])

    def _check(self) -> None:
        shape = self.descriptors.shape
        if len(shape) != 2:
            raise ValueError(
                f"descriptors must be of shape (n_descriptors, n_values), got {shape}."
            )
        if (self.sizes < 0).any() or self.offsets[-1] != shape[0]:
            raise ValueError(
                f"sizes must be one count an image, {shape[0]} in all as there are descriptors, "
                f"got {len(self.sizes)} counts with a sum of {self.offsets[-1]}."
            )
        for name, expected in [
            ("positions", (shape[0], 2)),
            ("scales", (shape[0],)),
            ("orientations", (shape[0],)),
        ]:
            values = getattr(self, name)
            if values is not None and values.shape != expected:
                raise ValueError(f"{name} must be of shape {expected}, got {values.shape}.")
        if self.positions is not None:
            _ensure_fractions(self.positions)

    @classmethod
    def from_list(cls, sets: Iterable[Any], n_values: int | None = None) -> DescriptorSets:
        """Return the sets of a list of arrays.

        Parameters
        ----------
        sets : iterable of array-like of shape (n_descriptors, n_values)
            One an image, all with as many values. None and empty lists are images without
            descriptors, as OpenCV returns them.

        n_values : int or None, default=None
            Number of values of a descriptor where no set tells it.

        Returns
        -------
        sets : DescriptorSets
            The same descriptors, without positions.

        Raises
        ------
        ValueError
            If no set tells how many values a descriptor has, or the arrays do not fit each other.
        """
        arrays = [None if says_nothing(one) else np.asarray(one) for one in sets]
        known = {i: one for i, one in enumerate(arrays) if one is not None}
        if known:
            n_values = _number_of_values(known)
        elif n_values is None:
            raise ValueError(
                f"the sets of {len(arrays)} images hold no array of shape (n_descriptors, "
                "n_values), so they do not tell how many values a descriptor has. An image without "
                "descriptors is an array of shape (0, n_values)."
            )
        none = np.empty((0, n_values), np.result_type(*known.values()) if known else np.float64)
        filled = [none if one is None else one for one in arrays]
        return cls(np.concatenate([none, *filled]), [len(one) for one in filled])

    @property
    def shape(self) -> tuple[int]:
        """(n,): the number of sets."""
        return (len(self.sizes),)

    @property
    def dtype(self) -> np.dtype:
        """Type of the descriptors' values."""
        return self.descriptors.dtype

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[np.ndarray]:
        bounds = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        return (self.descriptors[start:stop] for start, stop in bounds)

    def __repr__(self) -> str:
        n_descriptors, n_values = self.descriptors.shape
        what = f"{n_descriptors} descriptors with {n_values} values"
        return f"<DescriptorSets: {len(self)} sets of {what}>"

    def __getitem__(self, key: Any) -> np.ndarray | DescriptorSets:
        if isinstance(key, tuple):  # scikit-learn indexes with [rows, ...]
            rows, *rest = key
            if any(item is not Ellipsis for item in rest):
                raise IndexError(f"DescriptorSets takes one index, for the sets; got {key}.")
            key = rows
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(len(self))
            return self._of(slice(start, max(start, stop)))
        chosen = np.arange(len(self))[key]
        if chosen.ndim == 0:
            return self.descriptors[self.offsets[chosen] : self.offsets[chosen + 1]]
        return self._of(chosen)

    def _of(self, rows: slice | np.ndarray) -> DescriptorSets:
        sizes = self.sizes[rows]
        if isinstance(rows, slice):
            members: Any = slice(self.offsets[rows.start], self.offsets[rows.stop])
        else:
            within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            members = np.repeat(self.offsets[rows], sizes) + within
        known = (
            None if values is None else values[members]
            for values in (self.positions, self.scales, self.orientations)
        )
        chosen = DescriptorSets.__new__(DescriptorSets)  # what was checked is not checked again
        chosen._hold(self.descriptors[members], sizes, *known)
        return chosen


def says_nothing(one: Any) -> bool:
    """Tell whether an entry of a list stands for an image without descriptors."""
    is_flat = isinstance(one, list | tuple) or getattr(one, "ndim", 0) == 1
    return one is None or (is_flat and len(one) == 0)


def _number_of_values(sets: dict[int, np.ndarray]) -> int:
    for i, one in sets.items():
        if one.ndim != 2:
            raise ValueError(
                f"each set must be of shape (n_descriptors, n_values); set {i} has shape "
                f"{one.shape}."
            )
    first, n_values = next((i, one.shape[1]) for i, one in sets.items())
    for i, one in sets.items():
        if one.shape[1] != n_values:
            raise ValueError(
                "descriptors of all sets must have the same number of values; those of set "
                f"{first} have {n_values}, those of set {i} have {one.shape[1]}."
            )
    return n_values


def _counts(sizes: Any) -> np.ndarray:
    counts = np.asarray(sizes)
    if counts.ndim != 1:
        raise ValueError(f"sizes must be one count an image, got shape {counts.shape}.")
    if len(counts) > 0 and counts.dtype.kind not in "iu":
        raise ValueError(
            f"sizes must be integers, one count of descriptors an image; got dtype {counts.dtype}, "
            f"the first one being {counts[0]!r}."
        )
    return counts.astype(np.intp)


def _ensure_fractions(positions: np.ndarray) -> None:
    if positions.dtype.kind not in "fiub":
        raise ValueError(f"positions must be numbers, got dtype {positions.dtype}.")
    inside = (positions >= 0) & (positions <= 1)  # NaN is not
    if not inside.all():
        first = np.flatnonzero(~inside.all(axis=1))[0]
        row, column = positions[first].tolist()
        raise ValueError(
            "positions must be finite fractions of the image's height and width, from 0 to 1; that "
            f"of descriptor {first} is ({row:g}, {column:g}). Divide rows in pixels by the height "
            "and columns by the width."
        )
