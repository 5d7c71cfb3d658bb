"""The image batch: every X that skcnn accepts, seen as n images of (height, width, channels)."""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Iterator
from math import isfinite, isqrt, prod
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from skcnn.images._files import ImageFiles
from skcnn.images._turns import Turns

LAYOUTS = (
    "(n, height, width) for grey images, (n, height, width, channels) for colour images, "
    "or flat rows (n, n_values) with image_shape"
)

_HELD_CHUNK_MIB = 16


class ImageBatch:
    """A read-only view of `X` as images of shape (height, width, channels), read chunk by chunk.

    Nothing is copied when the view is made. :meth:`read` and :meth:`take` convert the images that
    they return and no others, so `X` may be a memory-mapped array, an h5py or zarr data set or
    :class:`ImageFiles` larger than the memory.

    Parameters
    ----------
    X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
        The images. Anything with ``shape``, ``dtype``, a length and slices is read in place; lists
        and data frames are converted. ``uint8`` and ``uint16`` are scaled to [0, 1], other numbers
        are taken as they are.

    image_shape : tuple of int or None, default=None
        Shape of one image, (h, w) or with a channel axis (h, w, c), when the rows of `X` are flat.
        None takes a row whose length is a perfect square as a square grey image and any other
        row as a one-row image.

    channel_axis : int or None, default=-1
        Axis of a 4-D `X` that holds the channels, as in scikit-image. Grey batches have none.

    Attributes
    ----------
    shape : tuple of int
        (n, height, width, channels); channels is 1 for grey images.

    is_guessed : bool
        Whether flat rows were taken for square images because no `image_shape` was given.

    dtype : numpy.dtype
        Floating type in which the images are read: float32 for float32, float16, uint8, uint16 and
        bool sources, else float64.

    Raises
    ------
    TypeError
        If `X` is sparse or holds something that is not a number.

    ValueError
        If `X` is empty, complex, text, of a wrong number of dimensions, or does not fit
        `image_shape`.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn.images import ImageBatch
    >>> batch = ImageBatch(np.full((5, 28, 28), 51, dtype=np.uint8))
    >>> batch.shape
    (5, 28, 28, 1)
    >>> batch.read(slice(0, 2)).max()
    np.float32(0.2)
    """

    def __init__(
        self,
        X: Any,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
    ) -> None:
        self._source = as_container(X)
        self._turns = Turns()
        self._stored = np.dtype(self._source.dtype)
        _ensure_numeric(self._source, self._stored)
        _ensure_not_empty(self._source)
        self._one_image, self._channel_axis = _layout(self._source, image_shape, channel_axis)
        is_flat = len(self._source.shape) == 2
        self.is_guessed = is_flat and image_shape is None and self._one_image[0] > 1
        self.shape = (self._source.shape[0], *_channels_last(self._one_image, self._channel_axis))
        kind, itemsize = self._stored.kind, self._stored.itemsize
        single = (kind == "u" and itemsize <= 2) or (kind == "f" and itemsize <= 4) or kind == "b"
        self.dtype = np.dtype(np.float32 if single else np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: (h, w) if it has one channel, else (h, w, c)."""
        return self.shape[1:3] if self.shape[3] == 1 else self.shape[1:]

    def read(self, rows: slice, dtype: np.dtype | type | None = None) -> np.ndarray:
        """Return the images of a slice.

        Parameters
        ----------
        rows : slice
            Which images, with step 1.

        dtype : numpy floating type or None, default=None
            Type of the result, :attr:`dtype` if None.

        Returns
        -------
        images : ndarray of shape (m, h, w, c)
            The images, scaled to [0, 1] if they are stored as ``uint8`` or ``uint16``. They may
            share memory with `X`: not to be written to.

        Raises
        ------
        ValueError
            If an image holds NaN or infinity (the message says which), or the step is not 1.
        """
        start, stop = self._bounds(rows)
        return self._convert(self._raw(start, stop), range(start, stop), dtype)

    def _raw(self, start: int, stop: int) -> np.ndarray:
        if isinstance(self._source, np.ndarray | ImageFiles):
            return np.asarray(self._source[start:stop])
        with self._turns:
            return np.asarray(self._source[start:stop])

    def _bounds(self, rows: slice) -> tuple[int, int]:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"rows must be a slice with step 1, got {rows}.")
        return start, max(start, stop)

    def read_stored(self, rows: slice, *, checked: bool = True) -> tuple[np.ndarray, float]:
        """Return the images of a slice as they are stored where that spares a conversion.

        Parameters
        ----------
        rows : slice
            Which images, with step 1.

        checked : bool, default=True
            Raise an error if an image is not finite. Who reads unchecked passes the images to
            :meth:`refuse_infinite` piece by piece, each while it is in the cache.

        Returns
        -------
        images : ndarray of shape (m, h, w, c)
            The images as ``uint8``, ``uint16``, ``float32`` or ``float64``, in C order. They may
            share memory with `X`: not to be written to.

        divisor : float
            What brings them to the scale of :meth:`read`: 1 but for unsigned integers.

        Raises
        ------
        ValueError
            If an image holds NaN or infinity (the message says which), or the step is not 1.
        """
        native = self._stored.newbyteorder("=")
        unsigned = native.kind == "u" and native.itemsize <= 2
        if not unsigned and (checked or native != self.dtype):
            return self.read(rows), 1.0
        start, stop = self._bounds(rows)
        images = self._as_images(self._raw(start, stop))
        divisor = float(np.iinfo(native).max) if unsigned else 1.0
        return np.ascontiguousarray(images, native), divisor

    def refuse_infinite(self, images: np.ndarray, first: int) -> None:
        """Raise ValueError if one of some images that were read unchecked is not finite.

        `first` is the number of the first of them.
        """
        if images.dtype.kind == "f":
            _ensure_finite(images, range(first, first + len(images)))

    def take(
        self,
        indices: np.ndarray,
        dtype: np.dtype | type | None = None,
        *,
        checked: bool = True,
    ) -> np.ndarray:
        """Return the images at `indices` (ints, in any order, or a mask) as :meth:`read` does.

        The array is new and may be written to. Whoever has called :meth:`ensure_finite` need not
        have the images `checked` again.
        """
        indices = self._as_positions(indices)
        if isinstance(self._source, np.ndarray):
            # The faster way, but one that copies all of an array that is not contiguous.
            contiguous = self._source.flags.c_contiguous
            raw = self._source.take(indices, axis=0) if contiguous else self._source[indices]
        elif isinstance(self._source, ImageFiles):
            raw = np.asarray(self._source[indices])
        else:
            raw = _take_by_slices(self._source, indices)
        return self._convert(raw, indices, dtype, checked=checked)

    def _as_positions(self, indices: np.ndarray) -> np.ndarray:
        # NumPy applies its own rules: negative numbers, masks, out of range.
        indices = np.asarray(indices)
        return np.arange(len(self))[indices.astype(np.intp) if indices.size == 0 else indices]

    def chunks(self, chunk_mib: float, bytes_per_image: int | None = None) -> Iterator[slice]:
        """Yield the slices that cover the batch in pieces of at most `chunk_mib` MiB each.

        `bytes_per_image` is the working memory that one image needs; None counts the converted
        image itself. A piece holds at least one image.
        """
        if bytes_per_image is None:
            bytes_per_image = prod(self.shape[1:]) * self.dtype.itemsize
        rows = max(1, int(chunk_mib * 2**20 / bytes_per_image))
        for start in range(0, len(self), rows):
            yield slice(start, min(start + rows, len(self)))

    def ensure_finite(self, chunk_mib: float = 16) -> None:
        """Raise ValueError if any image holds NaN or infinity; integers are not read at all."""
        if self._stored.kind not in "fO":
            return
        for rows in self.chunks(chunk_mib):
            raw = np.asarray(self._source[rows])
            _ensure_finite(_as_numbers(raw), range(rows.start, rows.stop))

    def held(self, most_bytes: int) -> ImageBatch:
        """Return the batch with its images in memory, as they are stored, if that is not too much.

        For whoever reads them again and again: files are then decoded once. A batch that is in
        memory, or mapped to it, or would take more than `most_bytes`, is returned itself.
        """
        shape = (len(self), *self._source.shape[1:])
        if isinstance(self._source, np.ndarray) or prod(shape) * self._stored.itemsize > most_bytes:
            return self
        stored = np.empty(shape, self._stored)
        for rows in self.chunks(_HELD_CHUNK_MIB):
            stored[rows] = self._source[rows.start : rows.stop]
        batch = copy.copy(self)
        batch._source = stored
        return batch

    def _as_images(self, raw: np.ndarray) -> np.ndarray:
        images = raw.reshape(len(raw), *self._one_image)
        if self._channel_axis is None:
            return images[..., np.newaxis]
        if self._channel_axis == images.ndim - 1:
            return images
        return np.moveaxis(images, self._channel_axis, -1)

    def _convert(
        self,
        raw: np.ndarray,
        positions: range | np.ndarray,
        dtype: np.dtype | type | None,
        *,
        checked: bool = True,
    ) -> np.ndarray:
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        raw = _as_numbers(raw)
        if raw.dtype.kind == "f" and checked:
            _ensure_finite(raw, positions)
        images = self._as_images(raw)
        if raw.dtype.kind == "u" and raw.dtype.itemsize <= 2:
            return np.divide(images, np.iinfo(raw.dtype).max, dtype=dtype, order="C")
        if raw.dtype.kind != "f" or dtype.itemsize >= raw.dtype.itemsize:
            return np.ascontiguousarray(images, dtype=dtype)
        with np.errstate(over="ignore"):
            converted = np.ascontiguousarray(images, dtype=dtype)
        _ensure_finite(converted, positions)
        return converted


def _ensure_numeric(source: Any, dtype: np.dtype) -> None:
    if dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X has dtype {dtype}.")
    if dtype.kind in "US" or (dtype.kind == "O" and _holds(source, (str, os.PathLike))):
        raise ValueError(
            f"X holds text or paths (dtype {dtype}), not numbers. For the paths of image files put "
            "skcnn.ImageReader first in the pipeline, or pass skcnn.ImageFiles(paths)."
        )
    if dtype.kind not in "buifO":
        raise ValueError(f"X has dtype {dtype}, which is not numeric.")
    if dtype.kind == "O":
        _as_numbers(source)


def _holds(source: Any, kinds: type | tuple[type, ...]) -> bool:
    return len(source.shape) == 1 and len(source) > 0 and isinstance(source[0], kinds)


def _ensure_not_empty(source: Any) -> None:
    shape = tuple(source.shape)
    if len(shape) not in (2, 3, 4):
        raise ValueError(
            f"X must hold a batch of images: {LAYOUTS}. Got a {len(shape)}-D array of shape "
            f"{shape}. Reshape your data: X.reshape(1, -1) makes a batch of one flat image, "
            "X[None] a batch of one 2-D image."
        )
    if shape[0] == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required."
        )
    if prod(shape[1:]) == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required."
        )


def as_container(X: Any) -> Any:
    """Return `X` itself if it can be sliced like an array, else a NumPy array of it."""
    if type(X) is np.ndarray and X.dtype.kind != "O":
        return X  # the way of most, and the others are longer
    if issparse(X):
        check_array(X)  # scikit-learn's own TypeError
    if isinstance(X, np.matrix):
        return np.asarray(X)
    if _is_sliceable(X):
        return X
    try:
        images = np.asarray(X)
        # Objects are in memory as they are, so looking at all of them costs no more.
        return np.stack(list(images)) if _holds(images, np.ndarray) else images
    except ValueError as error:
        raise ValueError(_mixed_shapes(X, error)) from error


def _is_sliceable(X: Any) -> bool:
    try:
        dtype = np.dtype(X.dtype)
    except (AttributeError, TypeError):  # no array, or an extension type of pandas or torch
        return False
    return dtype.kind != "O" and hasattr(X, "__getitem__") and hasattr(X, "shape")


def _mixed_shapes(images: Any, error: ValueError) -> str:
    try:
        shapes = sorted({np.shape(image) for image in images})
    except ValueError:  # an image whose own rows differ in length
        shapes = []
    if len(shapes) < 2:
        return f"X cannot be read as an array of images: {error}"
    return (
        f"X holds images of different shapes, {shapes[0]} and {shapes[-1]} among them: a batch "
        "needs one shape. Resize them first; skcnn.ImageFiles(paths, size=(height, width)) "
        "does it for image files."
    )


def _layout(
    source: Any, image_shape: tuple[int, ...] | None, channel_axis: int | None
) -> tuple[tuple[int, ...], int | None]:
    """Return the stored shape of one image and the axis of its channels in a batch (or None)."""
    stored = tuple(int(size) for size in source.shape[1:])
    if image_shape is not None:
        image_shape = _checked_shape(image_shape)
    if len(stored) > 1:
        if image_shape is not None and image_shape != stored:
            raise ValueError(f"X holds images of shape {stored}, but image_shape is {image_shape}.")
        one_image = stored
    elif image_shape is not None:
        one_image = image_shape
        if prod(one_image) != stored[0]:
            raise ValueError(
                f"image_shape={image_shape} does not fit X, whose rows hold {stored[0]} values "
                f"(shape {tuple(source.shape)}): it must be (height, width) or (height, width, "
                "channels) with that product."
            )
    else:
        side = isqrt(stored[0])
        one_image = (side, side) if side * side == stored[0] else (1, stored[0])
    if len(one_image) == 2:
        return one_image, None
    if channel_axis is None or channel_axis % 4 == 0 or not -4 < channel_axis < 4:
        raise ValueError(
            f"channel_axis={channel_axis} names no axis of the images in X: for a 4-D X it must "
            "be -1 for (n, h, w, c), 1 for (n, c, h, w), or 2."
        )
    return one_image, channel_axis % 4


def _checked_shape(image_shape: Any) -> tuple[int, ...]:
    try:
        shape = tuple(operator.index(size) for size in image_shape)
    except TypeError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), positive ints; "
            f"got {image_shape!r}."
        )
    return shape


def _channels_last(one_image: tuple[int, ...], channel_axis: int | None) -> tuple[int, ...]:
    if channel_axis is None:
        return (*one_image, 1)
    spatial = [size for axis, size in enumerate(one_image, start=1) if axis != channel_axis]
    return (*spatial, one_image[channel_axis - 1])


def _take_by_slices(source: Any, indices: np.ndarray) -> np.ndarray:
    """Index a container that knows slices only: one read per run of neighbours, then reordered."""
    if len(indices) == 0:
        return np.asarray(source[0:0])
    wanted, positions = np.unique(indices, return_inverse=True)
    runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
    pieces = [np.asarray(source[int(run[0]) : int(run[-1]) + 1]) for run in runs]
    return np.concatenate(pieces)[positions]


def _as_numbers(raw: np.ndarray) -> np.ndarray:
    if raw.dtype.kind != "O":
        return raw
    try:
        return raw.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X has dtype object and cannot be read as numbers: {error}") from error


def _ensure_finite(raw: np.ndarray, positions: range | np.ndarray) -> None:
    # A sum is finite unless a value is not (or it overflows): one cheap pass for good data.
    with np.errstate(over="ignore", invalid="ignore"):
        if isfinite(raw.sum()):
            return
    finite = np.isfinite(raw)
    if finite.all():
        return
    first = tuple(int(i) for i in np.argwhere(~finite)[0])
    seen = "NaN" if np.isnan(raw[first]) else f"infinity or a value too large for {raw.dtype}"
    raise ValueError(
        f"Input X contains {seen}: the first one found is in image {int(positions[first[0]])}. "
        "Images must be finite."
    )
