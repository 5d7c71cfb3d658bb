"""Image files as an array that is decoded only where it is sliced."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from skcnn.images._decoding import PILLOW_MODES, decode, upright_size


class ImageFiles:
    """Image files as one batch that is decoded only where it is sliced.

    It has the shape, dtype and length of the array that it stands for, so scikit-learn's
    splitters, ``cross_validate`` and ``GridSearchCV`` take it as `X`.

    * A slice or an int decodes: ``files[:32]`` is an ndarray of 32 images, ``files[0]`` one image.
    * An array of ints or bools selects without decoding: ``files[train]`` is an
      :class:`ImageFiles` again. That is how a cross-validation passes on its folds.
    * ``np.asarray(files)`` decodes everything.

    EXIF orientation is applied, palettes are resolved, 16-bit greys are scaled to 8 bits,
    transparent pixels are laid over white, and animated files give their first frame.

    Parameters
    ----------
    paths : iterable of str or path-like
        The files, one an image.

    size : (int, int) or None, default=None
        Height and width of every image; other sizes are resized, with antialiasing. None takes the
        size of the first file, and a file of another size is an error.

    mode : {"rgb", "grey"}, default="rgb"
        Whether images have three channels or none.

    Attributes
    ----------
    paths : ndarray of str
        The files.

    shape : tuple of int
        (n, height, width) or (n, height, width, 3).

    dtype : numpy.dtype
        uint8.

    Raises
    ------
    UnreadableImageError
        When a file that is not an image, or is damaged, is decoded; the message names it.

    ValueError
        If a parameter is wrong, or files differ in size and `size` is None.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skcnn import ImageFiles
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [os.path.join(folder, f"{i}.png") for i in range(3)]
    ...     for i, path in enumerate(paths):
    ...         Image.fromarray(np.full((20, 30), 10 * i, np.uint8)).save(path)
    ...     files = ImageFiles(paths, mode="grey")
    ...     print(files.shape, files[1:].shape, files[[0, 2]].shape, files[2].max())
    (3, 20, 30) (2, 20, 30) (2, 20, 30) 20
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        paths: Iterable[str | os.PathLike],
        size: tuple[int, int] | None = None,
        mode: str = "rgb",
    ) -> None:
        self.paths = _as_path_array(paths)
        if mode not in PILLOW_MODES:
            raise ValueError(f"mode must be one of {sorted(PILLOW_MODES)}, got {mode!r}.")
        if size is not None:
            size = _checked_size(size)
        elif len(self.paths) == 0:
            raise ValueError("paths is empty: pass at least one image file, or a size.")
        self._resize = size is not None
        self.size = size or upright_size(self.paths[0])
        self.mode = mode

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, height, width) or (n, height, width, 3)."""
        return (len(self.paths), *self.size, *((3,) if self.mode == "rgb" else ()))

    @property
    def ndim(self) -> int:
        """Number of dimensions, 3 for grey and 4 for RGB."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        sizes = f"size={self.size}, mode={self.mode!r}"
        return f"<ImageFiles: {len(self)} files, {sizes}, decoded when sliced>"

    def __getitem__(self, key: Any) -> np.ndarray | ImageFiles:
        rows, *rest = (key or (Ellipsis,)) if isinstance(key, tuple) else (key,)
        if rows is Ellipsis:
            rows, rest = slice(None), [Ellipsis, *rest]
        if isinstance(rows, slice):
            images = self._decode_all(self.paths[rows])
            return images[(slice(None), *rest)] if rest else images
        if isinstance(rows, (int, np.integer)) and not isinstance(rows, bool):
            image = self._decode(self.paths[rows]).copy()
            return image[tuple(rest)] if rest else image
        if all(_takes_all(item) for item in rest):
            return self.select(rows)
        return np.asarray(self.select(rows))[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("ImageFiles cannot be turned into an array without decoding a copy.")
        return self._decode_all(self.paths).astype(dtype or self.dtype, copy=False)

    def select(self, rows: Any) -> ImageFiles:
        """Return the :class:`ImageFiles` of some rows, nothing decoded.

        Parameters
        ----------
        rows : array-like of int or bool
            Which files.

        Returns
        -------
        files : ImageFiles
            The selected files, of the same size and mode.
        """
        rows = np.asarray(rows)
        if rows.size == 0 and rows.dtype.kind == "f":
            rows = rows.astype(np.intp)  # an empty list
        if rows.ndim != 1 or rows.dtype.kind not in "bui":
            raise IndexError(
                "ImageFiles takes an int, a slice, or a 1-D array of ints or bools as index; got "
                f"an array of dtype {rows.dtype} and shape {rows.shape}."
            )
        chosen = object.__new__(type(self))
        chosen.__dict__.update(self.__dict__, paths=self.paths[rows])
        return chosen

    def _decode_all(self, paths: np.ndarray) -> np.ndarray:
        images = np.empty((len(paths), *self.shape[1:]), self.dtype)
        for image, path in zip(images, paths, strict=True):
            image[...] = self._decode(path)
        return images

    def _decode(self, path: str) -> np.ndarray:
        image = decode(path, self.mode, self.size if self._resize else None)
        if image.shape[:2] != self.size:
            raise ValueError(
                f"{path} has height and width {image.shape[:2]}, the first file had {self.size}: "
                "pass size=(height, width) to bring all files to one size."
            )
        return image


def _takes_all(item: Any) -> bool:
    return item is Ellipsis or (isinstance(item, slice) and item == slice(None))


def _as_path_array(paths: Iterable[str | os.PathLike]) -> np.ndarray:
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise ValueError(f"paths must be a sequence of files, got the single path {paths!r}.")
    try:
        return np.array([os.fsdecode(path) for path in paths], dtype=object)
    except TypeError as error:
        raise ValueError(f"paths must hold str or path-like objects: {error}.") from error


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ValueError(f"size must be (height, width), two positive ints, got {size!r}.")
    return height, width
