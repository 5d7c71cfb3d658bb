"""Descriptors on a grid as an array that is computed only where it is sliced."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import _safe_indexing

from skcnn.images import ImageBatch

if TYPE_CHECKING:
    from skcnn.features._sift import SIFTExtractor


class LazyDescriptors:
    """Descriptors on a grid that are computed only where they are sliced.

    What :class:`SIFTExtractor` with ``lazy=True`` returns. It has the shape, dtype and length of
    the array that it stands for, and holds nothing but the images and the fitted extractor. The
    descriptors take many times the memory of the images; an encoder reads them chunk by chunk and
    never has them all.

    * A slice or an int computes: ``descriptors[:32]`` is an ndarray of 32 images' descriptors.
    * An array of ints or bools selects images and computes nothing.
    * ``np.asarray(descriptors)`` computes everything.

    Parameters
    ----------
    extractor : SIFTExtractor
        Fitted, with ``keypoints="dense"``.

    X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
        The images, of the shape seen in `fit`.

    Attributes
    ----------
    shape : tuple of int
        (n, rows, columns, 128) or (n, n_scales, rows, columns, 128).

    dtype : numpy.dtype
        float32 or float64.

    Examples
    --------
    >>> from skcnn import SIFTExtractor, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> descriptors = SIFTExtractor(lazy=True).fit_transform(X)
    >>> descriptors
    <LazyDescriptors: shape (1797, 3, 3, 128), computed when sliced>
    >>> descriptors[:5].shape
    (5, 3, 3, 128)
    """

    def __init__(self, extractor: SIFTExtractor, X: Any) -> None:
        # A later fit of the extractor sets other attributes, on the original alone.
        self._extractor = copy(extractor)
        self._X = X
        self._images = ImageBatch(
            X, image_shape=extractor.image_shape, channel_axis=extractor.channel_axis
        )
        self.shape: tuple[int, ...] = (len(self._images), *extractor._result_shape)
        self.dtype = self._images.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions, 4 or 5."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<LazyDescriptors: shape {self.shape}, computed when sliced>"

    def __getitem__(self, key: Any) -> np.ndarray | LazyDescriptors:
        rows, *rest = (key or (Ellipsis,)) if isinstance(key, tuple) else (key,)
        if rows is Ellipsis:
            rows, rest = slice(None), [Ellipsis, *rest]
        if isinstance(rows, slice):
            computed = self._compute(rows)
            return computed[(slice(None), *rest)] if rest else computed
        rows = np.asarray(rows)
        if rows.ndim > 1 or (
            rows.size and rows.dtype.kind not in ("iu" if rows.ndim == 0 else "iub")
        ):
            raise IndexError(
                "LazyDescriptors takes an int, a slice, or a 1-D array of ints or bools as first "
                f"index, got {key!r}."
            )
        if rows.ndim == 0:
            row = range(len(self))[int(rows)]
            one = self._compute(slice(row, row + 1))[0]
            return one[tuple(rest)] if rest else one
        chosen = self._select(rows)
        if all(
            item is Ellipsis or (isinstance(item, slice) and item == slice(None)) for item in rest
        ):
            return chosen
        return np.asarray(chosen)[(np.arange(len(chosen)), *rest)]

    def _select(self, rows: np.ndarray) -> np.ndarray | LazyDescriptors:
        rows = np.arange(len(self))[rows if rows.size else []]
        if len(rows) == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return LazyDescriptors(self._extractor, _safe_indexing(self._X, rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("LazyDescriptors cannot be turned into an array without computing.")
        return self._compute(slice(None)).astype(dtype or self.dtype, copy=False)

    def _compute(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            return np.asarray(self[np.arange(len(self))[rows]])
        if stop <= start:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return self._extractor._extract(self._images.read(slice(start, stop)))
