"""Filters: convolution with kernels that have a name or that the user gives, and the median."""

from __future__ import annotations

import warnings
from math import prod
from numbers import Integral, Real
from typing import Any

import numpy as np

from skcnn._compat import Interval, StrOptions
from skcnn._parameters import int_pair
from skcnn.features._base import ImageExtractor
from skcnn.features._kernels import (
    KERNEL_NAMES,
    checked_kernel,
    named_kernels,
    normalised,
    summed_up,
    window_size,
)
from skcnn.features._windows import (
    Margins,
    correlate,
    gradient_magnitudes,
    medians,
    separated,
    windows_kept,
)
from skcnn.images import ImageBatch

# Images are filtered in blocks that stay in the processor's cache.
_BLOCK_BYTES = 2**19
# A kernel for a larger sigma than this or the image's side has more than 100 MB of weights.
_MOST_SMOOTHING = 512


class ConvolutionFilter(ImageExtractor):
    """Filter every image: smooth it, sharpen it, find its edges, or take any kernel.

    The result is images again, so that a pipeline can go on with
    :class:`~skcnn.HOGExtractor` or another filter; with ``flatten=True`` it is rows of features.
    Each channel of a colour image is filtered on its own.

    Parameters
    ----------
    kernel : str or array-like of shape (kh, kw) or (k,), default="gaussian"
        The kernel, by its name or by its weights:

        * "box": the mean of the window; "gaussian": its mean with Gaussian weights
        * "median": the median of the window, which removes single wrong pixels. It has no weights
          and is no convolution.
        * "sobel", "prewitt", "scharr": the gradient, along or across, see `direction`. A step from
          0 to 1 answers 1, as in scikit-image.
        * "laplacian": the sum of the second derivatives over 3 x 3 pixels; "log": that of the image
          smoothed by a Gaussian, called the Laplacian of Gaussian
        * "sharpen": the image minus its Laplacian

        An array of shape (k,) is a kernel of one row, for signals. Signals whose length is a
        square, as 100 is, need ``image_shape=(1, 100)``: they would be taken for images. On one-row
        images the kernels with a name have one row too: their sum over the rows.

    size : int, (int, int) or "auto", default="auto"
        Height and width of "box" and "median", where "auto" is 3, and of "gaussian" and "log",
        where it reaches 4 `sigma` to every side. The other kernels with a name are 3 x 3.

    sigma : float, default=1.0
        Standard deviation in pixels of "gaussian" and "log", at least 1e-6; not more than 512, or
        the longer side of the images, unless `size` is given.

    direction : {"magnitude", "horizontal", "vertical"}, default="magnitude"
        What "sobel", "prewitt" and "scharr" return: the derivative from left to right, that from
        top to bottom, or the root of their mean square, as in scikit-image. The horizontal
        derivative answers to vertical edges.

    normalize : bool, default=False
        Divide the weights of an array by their sum, so that the mean brightness stays. If they sum
        to 0, as those of a derivative do, they are divided by the sum of the positive weights. The
        kernels with a name have their scale already.

    flip : bool, default=True
        Turn an array by 180 degrees before it is laid over the image. True is the convolution of
        mathematics and of :func:`scipy.signal.convolve2d`, False the correlation, which is what a
        layer of a convolutional network computes. The kernels with a name are laid over the image
        as described above either way.

    mode : {"reflect", "constant", "nearest", "mirror", "wrap", "valid"}, default="reflect"
        What lies beyond the border, in the words of :mod:`scipy.ndimage`: the image reflected at
        the edge of its last pixel, `cval`, its last pixel repeated, the image reflected at the
        centre of its last pixel, or its other side. With "valid" nothing does: the result is
        smaller, because only windows that lie within the image count.

    cval : float, default=0.0
        The value beyond the border if ``mode="constant"``.

    stride : int or (int, int), default=1
        Distance in pixels from one window to the next, down and across. The first one stays.

    flatten : bool, default=False
        Return rows of features instead of images.

    image_shape : tuple of int or None, default=None
        Shape of one image when the rows of `X` are flat.

    channel_axis : int or None, default=-1
        Axis of a 4-D `X` that holds the channels, and of the images that are returned.

    chunk_mib : float, default=64
        Working memory in MiB of the chunk of images that each thread treats at a time.

    n_jobs : int or None, default=None
        Number of threads; None is 1 and -1 all processors.

    Attributes
    ----------
    kernel_ : ndarray of shape (kh, kw) or (2, kh, kw), or None
        The weights as they are laid over the image, normalised and flipped: the result is the sum
        of weight times pixel. Two kernels, horizontal and vertical, for the magnitude of a
        gradient; None for "median".

    image_shape_ : tuple of int
        Shape of the images seen in `fit`, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If an array is no kernel, a kernel is larger than the images with ``mode="valid"``, or
        `sigma` is too large.

    See Also
    --------
    TemplateMatcher : Finds patches whatever their brightness and contrast.

    Notes
    -----
    ``transform`` returns images of shape (n, h, w) for grey images and (n, h, w, c) for colour
    ones, or with the channels where `channel_axis` says that `X` has them; flat rows become images
    too. With ``flatten=True`` the values of a row are in the order (h, w, c).

    References
    ----------
    .. [1] R. C. Gonzalez and R. E. Woods, "Digital Image Processing", 4th edition, Pearson 2018,
       chapters 3 and 10.

    Examples
    --------
    Convolution turns the kernel, multiplies and sums up; on a signal:

    >>> from skcnn import ConvolutionFilter
    >>> ConvolutionFilter([1, 2, 1], mode="valid").fit_transform([[1, 1, 2]])
    array([[[5.]]])
    >>> ConvolutionFilter([1, 2, 1], mode="valid", normalize=True).fit_transform([[1, 1, 2]])
    array([[[1.25]]])

    The mean of 3 x 3 pixels:

    >>> rows = ["12013", "21422", "10101", "12102", "25312"]
    >>> image = [[int(pixel) for pixel in row] for row in rows]
    >>> box = ConvolutionFilter("box", mode="valid")
    >>> (box.fit_transform([image]) * 9).round()
    array([[[12., 11., 14.],
            [13., 11., 13.],
            [16., 13., 11.]]])

    Smoothing before the gradients of HOG:

    >>> from sklearn.pipeline import make_pipeline
    >>> from skcnn import HOGExtractor, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> smooth_hog = make_pipeline(ConvolutionFilter("gaussian", sigma=0.5), HOGExtractor())
    >>> smooth_hog.fit_transform(X).shape
    (1797, 324)
    """

    _parameter_constraints: dict = {
        "kernel": [StrOptions(KERNEL_NAMES), "array-like"],
        "size": [Interval(Integral, 1, None, closed="left"), "array-like", StrOptions({"auto"})],
        "sigma": [Interval(Real, 1e-6, None, closed="left")],
        "direction": [StrOptions({"magnitude", "horizontal", "vertical"})],
        "normalize": ["boolean"],
        "flip": ["boolean"],
        "mode": [StrOptions({"reflect", "constant", "nearest", "mirror", "wrap", "valid"})],
        "cval": [Interval(Real, None, None, closed="neither")],
        "stride": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "flatten": ["boolean"],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        kernel: Any = "gaussian",
        *,
        size: int | tuple[int, int] | str = "auto",
        sigma: float = 1.0,
        direction: str = "magnitude",
        normalize: bool = False,
        flip: bool = True,
        mode: str = "reflect",
        cval: float = 0.0,
        stride: int | tuple[int, int] = 1,
        flatten: bool = False,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
        chunk_mib: float = 64,
        n_jobs: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.size = size
        self.sigma = sigma
        self.direction = direction
        self.normalize = normalize
        self.flip = flip
        self.mode = mode
        self.cval = cval
        self.stride = stride
        self.flatten = flatten
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.chunk_mib = chunk_mib
        self.n_jobs = n_jobs

    def _returns_rows(self) -> bool:
        return self.flatten

    def _prepare(self, height: int, width: int, n_channels: int) -> tuple[int, ...]:
        stride = int_pair("stride", self.stride)
        if isinstance(self.kernel, str):
            self._set_named_kernel(height, width)
        else:
            self._set_given_kernel()
        if self.kernel_ is not None and self.kernel_.ndim == 2:
            self._pairs = separated(self.kernel_)
        if self.mode == "valid":
            self._ensure_window_fits(height, width)
            self._margins = (0, 0), (0, 0), "constant", 0.0
        else:
            self._margins = *self._reach, self.mode, float(self.cval)
        (above, below), (left, right), *_ = self._margins
        with_margins = height + above + below, width + left + right
        self._values_with_margins = prod(with_margins) * n_channels
        self._windows_kept = windows_kept(with_margins, self._window, stride)
        # Images of several channels have an axis for them.
        channel_axis = (
            None if self.channel_axis is None or n_channels == 1 else self.channel_axis % 4
        )
        self._as_fitted = stride, self.flatten, channel_axis
        if self.flatten:
            return (prod(self._windows_kept) * n_channels,)
        shape = list(self._windows_kept)
        if channel_axis is not None:
            shape.insert(channel_axis - 1, n_channels)
        return tuple(shape)

    def _warn_of(self, images: ImageBatch) -> None:
        if images.is_guessed and not isinstance(self.kernel, str) and np.ndim(self.kernel) == 1:
            n_values = prod(images.shape[1:])
            warnings.warn(
                f"The rows of X are taken for images of {images.shape[1]} x {images.shape[2]} "
                f"pixels, whose rows a kernel of one dimension filters. For signals of {n_values} "
                f"values set image_shape=(1, {n_values}), for images "
                f"image_shape={images.image_shape}.",
                UserWarning,
                stacklevel=4,
            )

    def _set_named_kernel(self, height: int, width: int) -> None:
        size = None if isinstance(self.size, str) else int_pair("size", self.size)
        most = max(height, width, _MOST_SMOOTHING)
        if size is None and self.kernel in {"gaussian", "log"} and self.sigma > most:
            raise ValueError(
                f"sigma={self.sigma:g} needs a kernel of {8 * self.sigma:.3g} x "
                f"{8 * self.sigma:.3g} weights for images of {height} x {width} pixels. Take one "
                f"of at most {most}, or give the size of the kernel."
            )
        size = window_size(self.kernel, size, self.sigma)
        self._window = rows, columns = (
            1 if height == 1 else size[0],
            1 if width == 1 else size[1],
        )
        self._reach = _before_and_after(rows, columns)
        if self.kernel == "median":
            self.kernel_ = None
            return
        kernels = [
            summed_up(kernel, self._window)
            for kernel in named_kernels(self.kernel, size, self.sigma, self.direction)
        ]
        self.kernel_ = kernels[0] if len(kernels) == 1 else np.stack(kernels)

    def _set_given_kernel(self) -> None:
        kernel = checked_kernel(self.kernel)
        if self.normalize:
            kernel = normalised(kernel)
        self.kernel_ = kernel[::-1, ::-1].copy() if self.flip else kernel
        self._window = rows, columns = kernel.shape[0], kernel.shape[1]
        down, across = _before_and_after(rows, columns)
        self._reach = (down[::-1], across[::-1]) if self.flip else (down, across)

    def _ensure_window_fits(self, height: int, width: int) -> None:
        rows, columns = self._window
        if rows > height or columns > width:
            raise ValueError(
                f"images of {height} x {width} pixels are too small for a kernel of {rows} x "
                f"{columns} with mode='valid'. Take a smaller kernel or a mode that says what lies "
                "beyond the border, 'reflect' for one."
            )

    def _bytes_per_image(self, images: ImageBatch) -> int:
        # The image, its copy with margins, the responses to two kernels and what lies between.
        return 8 * 6 * self._values_with_margins

    def _fill(self, results: np.ndarray, images: ImageBatch, rows: slice) -> None:
        chunk = images.read(rows)
        per_block = max(1, _BLOCK_BYTES // (chunk.itemsize * self._values_with_margins))
        for start in range(0, len(chunk), per_block):
            block = slice(start, start + per_block)
            results[block] = self._extract(chunk[block])

    def _extract(self, images: np.ndarray) -> np.ndarray:
        _, flatten, channel_axis = self._as_fitted
        filtered = self._filter(images)
        if flatten:
            return filtered.reshape(len(images), -1)
        return filtered[..., 0] if channel_axis is None else np.moveaxis(filtered, -1, channel_axis)

    def _filter(self, images: np.ndarray) -> np.ndarray:
        margins, stride = Margins(*self._margins), self._as_fitted[0]
        if self.kernel_ is None:
            return medians(images, self._window, margins, stride)
        if self.kernel_.ndim == 2:
            return correlate(images, self.kernel_, self._pairs, margins, stride)
        return gradient_magnitudes(images, self.kernel_, margins, stride)


def _before_and_after(rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return how far a window reaches from its centre, down and across.

    One of even size reaches further back, as in scipy.
    """
    return (rows // 2, (rows - 1) // 2), (columns // 2, (columns - 1) // 2)
