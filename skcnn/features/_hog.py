"""Histograms of oriented gradients for whole batches, equal to scikit-image's."""

from __future__ import annotations

from math import isqrt, prod
from numbers import Integral, Real

import numpy as np

from skcnn._compat import Interval, StrOptions
from skcnn._parameters import int_pair
from skcnn.features._base import ImageExtractor
from skcnn.images import ImageBatch

_EPS = 1e-5


class HOGExtractor(ImageExtractor):
    """Histogram of oriented gradients (HOG) of every image.

    The result of :func:`skimage.feature.hog` for batches, in the precision that it has for float64
    images: gradients by central differences, each
    pixel's gradient magnitude voted into the orientation histogram of its cell, and histograms
    normalised over overlapping blocks of cells. Of colour images each pixel takes the channel with
    the largest gradient.

    Parameters
    ----------
    orientations : int, default=9
        Number of orientation bins over 180 degrees.

    pixels_per_cell : (int, int) or "auto", default="auto"
        Height and width of a cell in pixels. "auto" takes square cells whose side is the largest
        power of two not above the square root of the image's shorter side: 2 pixels for 8x8 images,
        4 for 28x28, 8 for 64x128. It is valid for every image: blocks are made smaller where the
        image has fewer cells, and a one-row image has cells of one pixel in one block, because
        few cells of its one orientation would be alike after normalisation.

    cells_per_block : (int, int), default=(3, 3)
        Height and width of a block in cells.

    block_norm : {"L1", "L1-sqrt", "L2", "L2-Hys"}, default="L2-Hys"
        How blocks are normalised; L2-Hys clips the L2-normalised histogram at 0.2 and normalises
        again.

    transform_sqrt : bool, default=False
        Take the square root of all values first, which lessens the effect of shadows. Images must
        not be negative.

    image_shape : tuple of int or None, default=None
        Shape of one image when the rows of `X` are flat.

    channel_axis : int or None, default=-1
        Axis of a 4-D `X` that holds the channels.

    chunk_mib : float, default=64
        Working memory in MiB of the chunk of images that each thread treats at a time.

    n_jobs : int or None, default=None
        Number of threads; None is 1 and -1 all processors.

    Attributes
    ----------
    pixels_per_cell_ : (int, int)
        Height and width of a cell in pixels.

    cells_per_block_ : (int, int)
        Height and width of a block in cells.

    image_shape_ : tuple of int
        Shape of the images seen in `fit`, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If explicit cells or blocks do not fit into the images, or `transform_sqrt` meets a negative
        value.

    References
    ----------
    .. [1] N. Dalal and B. Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR
       2005. :doi:`10.1109/CVPR.2005.177`

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import SVC
    >>> from skcnn import HOGExtractor, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> HOGExtractor().fit_transform(X).shape
    (1797, 324)
    >>> make_pipeline(HOGExtractor(), SVC()).fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.9
    True
    """

    _parameter_constraints: dict = {
        "orientations": [Interval(Integral, 1, None, closed="left")],
        "pixels_per_cell": ["array-like", StrOptions({"auto"})],
        "cells_per_block": ["array-like"],
        "block_norm": [StrOptions({"L1", "L1-sqrt", "L2", "L2-Hys"})],
        "transform_sqrt": ["boolean"],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    # Gradients on the edge of two bins fall on scikit-image's side in float64 only.
    _working_dtype = np.float64

    def __init__(
        self,
        orientations: int = 9,
        pixels_per_cell: tuple[int, int] | str = "auto",
        cells_per_block: tuple[int, int] = (3, 3),
        block_norm: str = "L2-Hys",
        *,
        transform_sqrt: bool = False,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
        chunk_mib: float = 64,
        n_jobs: int | None = None,
    ) -> None:
        self.orientations = orientations
        self.pixels_per_cell = pixels_per_cell
        self.cells_per_block = cells_per_block
        self.block_norm = block_norm
        self.transform_sqrt = transform_sqrt
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.chunk_mib = chunk_mib
        self.n_jobs = n_jobs

    def _prepare(self, height: int, width: int, n_channels: int) -> int:
        block = int_pair("cells_per_block", self.cells_per_block)
        if isinstance(self.pixels_per_cell, str):
            cell, block = _auto_cell_and_block(height, width, block)
        else:
            cell = int_pair("pixels_per_cell", self.pixels_per_cell)
        n_cells = height // cell[0], width // cell[1]
        n_blocks = n_cells[0] - block[0] + 1, n_cells[1] - block[1] + 1
        if min(n_blocks) < 1:
            raise ValueError(
                f"images of {height} x {width} pixels are too small for pixels_per_cell={cell} and "
                f"cells_per_block={block}: a block needs {block[0] * cell[0]} x "
                f"{block[1] * cell[1]} pixels. Take smaller ones or pixels_per_cell='auto'."
            )
        self.pixels_per_cell_, self.cells_per_block_ = cell, block
        self._as_fitted = self.orientations, self.block_norm, self.transform_sqrt
        return prod(n_blocks) * prod(block) * self.orientations

    def _bytes_per_image(self, images: ImageBatch) -> int:
        # Gradients of every channel, then magnitude, angle, bin and sums; blocks, twice.
        _, height, width, n_channels = images.shape
        return 8 * (height * width * (4 * n_channels + 8) + 2 * self._n_features_out)

    def _extract(self, images: np.ndarray) -> np.ndarray:
        orientations, block_norm, transform_sqrt = self._as_fitted
        if transform_sqrt:
            if images.min() < 0:
                raise ValueError(
                    f"transform_sqrt=True needs images without negative values, but X holds "
                    f"{images.min():g}."
                )
            images = np.sqrt(images)
        magnitude, angle = _gradients(images)
        cells = _cell_histograms(magnitude, angle, self.pixels_per_cell_, orientations)
        windows = np.lib.stride_tricks.sliding_window_view(cells, self.cells_per_block_, (1, 2))
        blocks = np.moveaxis(windows, 3, -1)  # m, block row, block column, *block, orientation
        blocks = blocks.reshape(*blocks.shape[:3], -1)
        return _normalise(blocks, block_norm).reshape(len(images), -1)


def _auto_cell_and_block(
    height: int, width: int, block: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a cell that suits the image, and the block as far as it has cells for it."""
    if min(height, width) == 1:
        return (1, 1), (height, width)
    side = 1 << (isqrt(min(height, width)).bit_length() - 1)
    return (side, side), (min(block[0], height // side), min(block[1], width // side))


def _gradients(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitude and angle (degrees, modulo 180) of the gradients, each (m, h, w)."""
    by_row, by_column = np.zeros_like(images), np.zeros_like(images)
    by_row[:, 1:-1] = images[:, 2:] - images[:, :-2]
    by_column[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    magnitude = np.hypot(by_row, by_column)
    if images.shape[-1] > 1:
        strongest = magnitude.argmax(axis=-1)[..., np.newaxis]
        magnitude, by_row, by_column = (
            np.take_along_axis(values, strongest, axis=-1)
            for values in (magnitude, by_row, by_column)
        )
    angle = np.rad2deg(np.arctan2(by_row, by_column)) % 180
    return magnitude[..., 0], angle[..., 0]


def _cell_histograms(
    magnitude: np.ndarray, angle: np.ndarray, cell: tuple[int, int], orientations: int
) -> np.ndarray:
    """Return the mean magnitude per cell and orientation, shape (m, rows, columns, orientations).

    Pixels beyond the last whole cell do not count.
    """
    m, height, width = magnitude.shape
    rows, columns = height // cell[0], width // cell[1]
    inside = np.s_[:, : rows * cell[0], : columns * cell[1]]
    # scikit-image's bounds are float32. A tiny negative angle rounds to 180 degrees modulo 180, and
    # scikit-image drops it: it gets a bin of its own, which is cut off.
    bounds = (np.arange(1, orientations + 1, dtype=np.float32) * (180.0 / orientations)).astype(
        np.float32
    )
    bins = np.searchsorted(bounds.astype(np.float64), angle[inside].ravel(), side="right")
    row_of = np.arange(rows * cell[0]) // cell[0]
    column_of = np.arange(columns * cell[1]) // cell[1]
    cell_of = (np.arange(m)[:, None, None] * rows + row_of[:, None]) * columns + column_of
    flat = cell_of.ravel() * (orientations + 1) + bins
    sums = np.bincount(
        flat, magnitude[inside].ravel(), minlength=m * rows * columns * (orientations + 1)
    )
    return sums.reshape(m, rows, columns, orientations + 1)[..., :-1] / prod(cell)


def _normalise(blocks: np.ndarray, norm: str) -> np.ndarray:
    """Normalise histograms over the last axis."""
    if norm == "L1":
        return blocks / (blocks.sum(axis=-1, keepdims=True) + _EPS)
    if norm == "L1-sqrt":
        return np.sqrt(blocks / (blocks.sum(axis=-1, keepdims=True) + _EPS))
    blocks = _l2(blocks)
    return blocks if norm == "L2" else _l2(np.minimum(blocks, 0.2))


def _l2(blocks: np.ndarray) -> np.ndarray:
    squares = np.einsum("...i,...i->...", blocks, blocks)[..., np.newaxis]
    return blocks / np.sqrt(squares + _EPS**2)
