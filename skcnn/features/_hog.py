"""Histograms of oriented gradients for whole batches, equal to scikit-image's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isqrt, prod
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skcnn._compat import Interval, StrOptions
from skcnn._parameters import int_pair
from skcnn.features._base import ImageExtractor
from skcnn.features._hog_blocks import NORMS, normalise_blocks, normalise_large
from skcnn.features._hog_cells import cell_sums
from skcnn.features._hog_glyphs import draw_glyphs
from skcnn.features._hog_votes_kernel import cell_votes
from skcnn.images import ImageBatch, check_images

# Called with some images of a chunk, and the number of the first, before they are used.
_Check = Callable[[np.ndarray, int], None]
# Keeps sums of gradients finite.
_TO_SMALLER = 2.0**-64
_SIZE = Interval(Integral, 1, None, closed="left")


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
        Number of orientation bins over 180 degrees, or over 360 with `signed_gradient`.

    pixels_per_cell : (int, int), int or "auto", default="auto"
        Height and width of a cell in pixels; an int is both. "auto" takes square cells whose side
        is the largest power of two not above the square root of the image's shorter side: 2 pixels
        for 8x8 images, 4 for 28x28, 8 for 64x128. It is valid for every image: blocks are made
        smaller where the image has fewer cells, and a one-row image has cells of one pixel in one
        block, because few cells of its one orientation would be alike after normalisation.

    cells_per_block : (int, int) or int, default=(3, 3)
        Height and width of a block in cells; an int is both.

    block_norm : {"L1", "L1-sqrt", "L2", "L2-Hys"}, default="L2-Hys"
        How blocks are normalised; L2-Hys clips the L2-normalised histogram at 0.2 and normalises
        again.

    transform_sqrt : bool, default=False
        Take the square root of all values first, which lessens the effect of shadows. Images must
        not be negative.

    signed_gradient : bool, default=False
        Let the bins share 360 degrees, so that a gradient and its opposite are not the same, as in
        OpenCV. Helps where dark and light do not change places from image to image.

    interpolate : bool, default=False
        Share each pixel's magnitude between the two bins whose middles are nearest, as Dalal and
        Triggs do [1]_, instead of giving it to one of them as scikit-image does.

    image_shape : tuple of int or None, default=None
        Shape of one image when the rows of `X` are flat.

    channel_axis : int or None, default=-1
        Axis of a 4-D `X` that holds the channels.

    chunk_mib : float, default=64
        Working memory in MiB of the chunk of images that each thread treats at a time.

    n_jobs : int or None, default=None
        Number of threads; None is 1 and -1 all processors.

    device : str, default="cpu"
        "cpu" runs compiled code on the CPU, "cuda", "cuda:1" and so on or "mps" torch on that
        device, in float32 where it has no float64. "auto" takes the best device that is there. A
        device that is not there is an error in `fit`; a fitted extractor works on the CPU then.

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
        If explicit cells or blocks do not fit into the images, `transform_sqrt` meets a negative
        value, or `device` is not there in `fit`.

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
        "pixels_per_cell": [_SIZE, "array-like", StrOptions({"auto"})],
        "cells_per_block": [_SIZE, "array-like"],
        "block_norm": [StrOptions({"L1", "L1-sqrt", "L2", "L2-Hys"})],
        "transform_sqrt": ["boolean"],
        "signed_gradient": ["boolean"],
        "interpolate": ["boolean"],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
        "device": [str],
    }

    def __init__(
        self,
        orientations: int = 9,
        pixels_per_cell: tuple[int, int] | int | str = "auto",
        cells_per_block: tuple[int, int] | int = (3, 3),
        block_norm: str = "L2-Hys",
        *,
        transform_sqrt: bool = False,
        signed_gradient: bool = False,
        interpolate: bool = False,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
        chunk_mib: float = 64,
        n_jobs: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.orientations = orientations
        self.pixels_per_cell = pixels_per_cell
        self.cells_per_block = cells_per_block
        self.block_norm = block_norm
        self.transform_sqrt = transform_sqrt
        self.signed_gradient = signed_gradient
        self.interpolate = interpolate
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.chunk_mib = chunk_mib
        self.n_jobs = n_jobs
        self.device = device

    def _ensure_values(self, images: ImageBatch) -> None:
        super()._ensure_values(images)
        if self.transform_sqrt:
            _refuse_negative_batch(images, self.chunk_mib)

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
        if self.device != "cpu":
            from skcnn._devices import training_device

            training_device(self.device)
        self.pixels_per_cell_, self.cells_per_block_ = cell, block
        self._as_fitted = self.orientations, self.block_norm, self.transform_sqrt
        self._voting = bool(self.signed_gradient), bool(self.interpolate)
        return prod(n_blocks) * prod(block) * self.orientations

    def _bytes_per_image(self, images: ImageBatch) -> int:
        _, height, width, n_channels = images.shape
        if self.device == "cpu":
            # As stored and as read; what the kernel needs does not grow with their number.
            return 2 * images.dtype.itemsize * height * width * n_channels
        # Gradients of every channel, then magnitude, angle, bin and so on; blocks, twice.
        return 8 * (height * width * (4 * n_channels + 8) + 2 * self._n_features_out)

    def _extract(self, images: np.ndarray) -> np.ndarray:
        features = np.empty((len(images), self._n_features_out), images.dtype)
        self._fill(features, ImageBatch(images), slice(0, len(images)))
        return features

    def _fill(self, results: np.ndarray, images: ImageBatch, rows: slice) -> None:
        orientations, norm, take_sqrt = self._as_fitted
        cell, block = self.pixels_per_cell_, self.cells_per_block_
        device = self._torch_device()
        chunk, divisor = images.read_stored(rows, checked=device is not None)
        if take_sqrt:
            _refuse_negative(chunk)

        def check(some: np.ndarray, first: int) -> None:
            images.refuse_infinite(some, rows.start + first)

        if device is None:
            self._fill_on_cpu(results, chunk, divisor, check)
            return
        from skcnn.features._hog_torch import hog_features

        results[:] = hog_features(
            chunk, divisor, take_sqrt, cell, block, orientations, *self._voting, norm, device
        )
        for i in np.flatnonzero(~np.isfinite(results).all(axis=1)):  # gradients overflow
            one = slice(i, i + 1)
            self._fill_on_cpu(results[one], chunk[one], divisor, check)

    def _fill_on_cpu(
        self, results: np.ndarray, chunk: np.ndarray, divisor: float, check: _Check
    ) -> None:
        orientations, norm, _ = self._as_fitted
        cell, block = self.pixels_per_cell_, self.cells_per_block_
        n_cells = chunk.shape[1] // cell[0], chunk.shape[2] // cell[1]
        n_blocks = n_cells[0] - block[0] + 1, n_cells[1] - block[1] + 1
        blocks = results.reshape(len(chunk), *n_blocks, *block, orientations)
        number = NORMS.index(norm)
        for done, sums, scale in self._histograms(chunk, divisor, check):
            overflowed = normalise_blocks(sums, scale, number, blocks[done])
            for i in [] if overflowed is None else overflowed + done.start:
                # Of values near the largest of float64; there are none after square roots.
                smaller = chunk[i : i + 1] * _TO_SMALLER
                for _, its_sums, its_scale in self._histograms(smaller, divisor, check):
                    normalise_large(its_sums[0], its_scale / _TO_SMALLER, number, blocks[i])

    def _histograms(
        self, images: np.ndarray, divisor: float, check: _Check
    ) -> Iterator[tuple[slice, np.ndarray, float]]:
        """Yield the histograms of the cells, some images at a time, with their scale."""
        orientations, _, take_sqrt = self._as_fitted
        cell = self.pixels_per_cell_
        if any(self._voting):
            return cell_votes(images, divisor, take_sqrt, cell, orientations, *self._voting, check)
        return cell_sums(images, divisor, take_sqrt, cell, orientations, check)

    def _torch_device(self) -> Any:
        """Return the torch device to work on, None for the CPU, which needs no torch."""
        if self.device == "cpu":
            return None
        from skcnn._devices import prediction_device

        device = prediction_device(self.device)
        return None if device.type == "cpu" else device

    def visualize(self, image: Any) -> np.ndarray:
        """Draw the histograms of an image's cells.

        Parameters
        ----------
        image : array-like of shape (h, w) or (h, w, c)
            One image, of the shape seen in `fit` and laid out like the images there: with another
            `channel_axis`, or flat where `image_shape` is set.

        Returns
        -------
        picture : ndarray of shape (h, w)
            For each cell and orientation a line through the middle of the cell, along the edges
            that have this orientation and as bright as the mean gradient magnitude: what
            :func:`skimage.feature.hog` returns for ``visualize=True``, whatever
            `signed_gradient` and `interpolate` say, since lines have no sign. float32 for float32,
            float16, uint8, uint16 and bool images, float64 for all others.

        Raises
        ------
        ValueError
            If the image is not of the shape seen in `fit`, or holds NaN or infinity.

        Examples
        --------
        >>> from skcnn import HOGExtractor, load_digit_images
        >>> X, y = load_digit_images(return_X_y=True)
        >>> HOGExtractor().fit(X).visualize(X[0]).shape
        (8, 8)
        """
        check_is_fitted(self)
        batch = check_images(self, np.asarray(image)[np.newaxis], reset=False)
        picture = draw_glyphs(self._cells_of(batch), self.pixels_per_cell_, batch.shape[1:3])
        return picture.astype(batch.dtype)

    def _cells_of(self, batch: ImageBatch) -> np.ndarray:
        """Return the mean gradient magnitudes of an image's cells by row, column, orientation."""
        pixels, divisor = batch.read_stored(slice(0, 1), checked=False)
        orientations, _, take_sqrt = self._as_fitted
        if take_sqrt:
            _refuse_negative(pixels)
        ((_, sums, scale),) = cell_sums(
            pixels, divisor, take_sqrt, self.pixels_per_cell_, orientations, batch.refuse_infinite
        )
        return scale * sums[0, :, :-1].reshape(len(sums[0]), -1, orientations)


def _auto_cell_and_block(
    height: int, width: int, block: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a cell that suits the image, and the block as far as it has cells for it."""
    if min(height, width) == 1:
        return (1, 1), (height, width)
    side = 1 << (isqrt(min(height, width)).bit_length() - 1)
    return (side, side), (min(block[0], height // side), min(block[1], width // side))


def _refuse_negative_batch(images: ImageBatch, chunk_mib: float) -> None:
    if images.read_stored(slice(0, 0))[1] != 1:  # unsigned, so that no file need be read
        return
    for rows in images.chunks(chunk_mib):
        _refuse_negative(images.read_stored(rows, checked=False)[0])


def _refuse_negative(images: np.ndarray) -> None:
    if images.min() < 0:
        raise ValueError(
            f"transform_sqrt=True needs images without negative values, but X holds "
            f"{images.min():g}."
        )
