"""SIFT descriptors of whole batches: on a grid, or at the keypoints that scikit-image finds."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skcnn._compat import Interval, Options, StrOptions
from skcnn.features._base import ImageExtractor
from skcnn.features._lazy import LazyDescriptors
from skcnn.features._sift_grid import N_BINS, N_VALUES, grid_points, make_grid
from skcnn.features._sift_keypoints import Keypoints, detect_and_describe, join
from skcnn.images import ImageBatch, check_images

_LUMINANCE = [[0.2125, 0.7154, 0.0721]]  # of skimage.color.rgb2gray
_OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])


class SIFTExtractor(ImageExtractor):
    """SIFT descriptors of every image, on a regular grid or at keypoints.

    A descriptor says how the gradients of a square patch are oriented: the patch is cut into 4 x 4
    bins, and each bin holds a histogram of 8 orientations [1]_. Every pixel is shared among the
    nearest bins and orientations and weighted by a Gaussian around the patch's centre. The 128
    values are brought to length 1, clipped at 0.2 and brought to length 1 again, so brightness and
    contrast do not matter; a patch without any gradient has zeros.

    They are in scikit-image's order: rows of bins, columns of bins, orientations from 0 in steps of
    pi/4, measured from down (rows grow) to the right (columns grow).

    Parameters
    ----------
    keypoints : {"dense", "dog"}, default="dense"
        Where descriptors are computed. "dense": upright, on one grid for all images; the result is
        an ndarray. "dog": where the difference of Gaussians has an extremum, in that scale and
        orientation, by :class:`skimage.feature.SIFT`; the result is a :class:`DescriptorSets`,
        with an empty set for an image without keypoints.

    step : int or "auto", default="auto"
        Pixels between neighbouring points of the grid. "auto" takes half the smallest bin, but at
        least 1.

    bin_size : float, sequence of float or "auto", default="auto"
        Side of a bin in pixels; a patch is four bins wide. Several of them are the scales at which
        every point of the grid is described. "auto" is 4, or less where the image has no room for
        a patch of 16 x 16 pixels, and never less than 1.

    magnification : float or None, default=3.0
        Images are smoothed before they are described, as if a patch had been found at a scale of
        `bin_size` / `magnification` pixels: by a Gaussian that takes the blur of 0.5 pixels that
        a photograph has to that scale. 3 is Lowe's. None does not smooth.

    window : {"gaussian", "flat"}, default="gaussian"
        How the pixels of a patch count. "gaussian": as Lowe has it, shared linearly among the
        nearest bins, under a Gaussian whose standard deviation is half the patch's width. "flat":
        each bin pools a triangular window of its own size and all bins count alike, as in kornia's
        ``DenseSIFTDescriptor``.

    margin : float or "auto", default="auto"
        Pixels between the border and the outermost points of the grid, at least; the grid is
        centred. "auto" keeps the centres of the smallest bins inside the image. Parts of a patch
        beyond the image count nothing.

    color : {"grey", "channels", "opponent"}, default="grey"
        What is described of colour images: the luminance as in :func:`skimage.color.rgb2gray` (the
        mean of the channels if there are not three), every channel, or, of three channels, the
        opponent colours [3]_ (intensity, red against green, yellow against blue). The channels'
        descriptors are joined to one of 128 values a channel. Keypoints are of grey images only.

    root_sift : bool, default=False
        Divide each descriptor by its sum and take square roots, so that the Euclidean distance
        compares histograms as Hellinger's does [2]_.

    lazy : bool, default=False
        Return :class:`LazyDescriptors` instead of an array: the descriptors on the grid, computed
        where an encoder reads them. That saves their memory, many times that of the images, and
        costs computing them anew wherever they are read, in the threads of whoever reads them.
        Not for keypoints.

    upsampling : {1, 2}, default=2
        Factor by which keypoints enlarge the image first.

    n_octaves : int, default=8
        Largest number of octaves in which keypoints are looked for.

    n_scales : int, default=3
        Scales an octave in which keypoints are looked for.

    c_dog : float, default=0.04 / 3
        Least contrast of a keypoint, for values from 0 to 1.

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
    bin_sizes_ : tuple of float
        Side of a bin in pixels at each scale; empty for keypoints.

    step_ : int
        Pixels between neighbouring points of the grid; 0 for keypoints.

    positions_ : ndarray of shape (rows * columns, 2)
        Row and column of the grid's points in pixels, those of the first row first; empty for
        keypoints.

    image_shape_ : tuple of int
        Shape of the images seen in `fit`, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If images are smaller than a patch of an explicit `bin_size`, or too small for `margin`, or
        do not have the channels that `color` needs.

    References
    ----------
    .. [1] D. G. Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", International
       Journal of Computer Vision 60, 2004. :doi:`10.1023/B:VISI.0000029664.99615.94`
    .. [2] R. Arandjelovic and A. Zisserman, "Three things everyone should know to improve object
       retrieval", CVPR 2012. :doi:`10.1109/CVPR.2012.6248018`
    .. [3] K. van de Sande, T. Gevers and C. Snoek, "Evaluating Color Descriptors for Object and
       Scene Recognition", IEEE Transactions on Pattern Analysis and Machine Intelligence 32, 2010.
       :doi:`10.1109/TPAMI.2009.154`

    Examples
    --------
    >>> from skcnn import SIFTExtractor, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> SIFTExtractor().fit_transform(X[:100]).shape
    (100, 3, 3, 128)
    >>> SIFTExtractor(bin_size=(1, 2)).fit_transform(X[:100]).shape
    (100, 2, 6, 6, 128)
    >>> SIFTExtractor("dog").fit_transform(X[:100])
    <DescriptorSets: 100 sets of ... descriptors with 128 values>
    """

    _parameter_constraints: dict = {
        "keypoints": [StrOptions({"dense", "dog"})],
        "step": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "bin_size": [Interval(Real, 1, None, closed="left"), "array-like", StrOptions({"auto"})],
        "magnification": [Interval(Real, 0, None, closed="neither"), None],
        "window": [StrOptions({"gaussian", "flat"})],
        "margin": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "color": [StrOptions({"grey", "channels", "opponent"})],
        "root_sift": ["boolean"],
        "lazy": ["boolean"],
        "upsampling": [Options(Integral, {1, 2})],
        "n_octaves": [Interval(Integral, 1, None, closed="left")],
        "n_scales": [Interval(Integral, 1, None, closed="left")],
        "c_dog": [Interval(Real, 0, None, closed="left")],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        keypoints: str = "dense",
        *,
        step: int | str = "auto",
        bin_size: float | Sequence[float] | str = "auto",
        magnification: float | None = 3.0,
        window: str = "gaussian",
        margin: float | str = "auto",
        color: str = "grey",
        root_sift: bool = False,
        lazy: bool = False,
        upsampling: int = 2,
        n_octaves: int = 8,
        n_scales: int = 3,
        c_dog: float = 0.04 / 3,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
        chunk_mib: float = 64,
        n_jobs: int | None = None,
    ) -> None:
        self.keypoints = keypoints
        self.step = step
        self.bin_size = bin_size
        self.magnification = magnification
        self.window = window
        self.margin = margin
        self.color = color
        self.root_sift = root_sift
        self.lazy = lazy
        self.upsampling = upsampling
        self.n_octaves = n_octaves
        self.n_scales = n_scales
        self.c_dog = c_dog
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.chunk_mib = chunk_mib
        self.n_jobs = n_jobs

    def transform(self, X: Any) -> Any:
        """Return the descriptors of every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        descriptors : ndarray of shape (n, rows, columns, 128), LazyDescriptors or DescriptorSets
            Those of the grid; with several scales the shape is (n, n_scales, rows, columns, 128),
            with several channels the last axis is as many times longer. Of keypoints, one set an
            image, with the keypoints' positions, scales and orientations. float32 for float32,
            float16, uint8, uint16 and bool images, float64 for all others.

        Raises
        ------
        ValueError
            If the images are not of the shape seen in `fit`, or hold NaN or infinity.
        """
        check_is_fitted(self)
        images = check_images(self, X, reset=False)
        if self._on_keypoints:
            found = self._in_chunks(images, lambda rows: self._find(images.read(rows)))
            return join([one for chunk in found for one in chunk], *images.shape[1:3])
        if self._is_lazy:
            return LazyDescriptors(self, X)
        results = np.empty((len(images), *self._result_shape), dtype=images.dtype)
        self._in_chunks(images, lambda rows: self._extract(images.read(rows), results[rows]))
        return results

    def keypoints_of(self, image: Any) -> Keypoints:
        """Return where the descriptors of one image lie, in pixels.

        Parameters
        ----------
        image : array-like of shape (h, w), (h, w, c) or (n_values,)
            One image, of the shape seen in `fit`.

        Returns
        -------
        keypoints : named tuple of positions, scales and orientations
            `positions`, shape (n, 2), are rows and columns; `scales` are standard deviations (a
            patch is 12 of them wide), `orientations` are radians from down to the right. In the
            order of the descriptors, that of a grid those of the first scale first.

        Raises
        ------
        ValueError
            If the image is not of the shape seen in `fit`.
        """
        check_is_fitted(self)
        images = check_images(self, np.asarray(image)[np.newaxis], reset=False)
        if self._on_keypoints:
            return self._find(images.read(slice(0, 1)))[0][0]
        n_points, n_scales = len(self.positions_), len(self.bin_sizes_)
        return Keypoints(
            np.tile(self.positions_, (n_scales, 1)),
            np.repeat(np.array(self.bin_sizes_) / 3, n_points),
            np.zeros(n_scales * n_points),
        )

    def _returns_rows(self) -> bool:
        return False

    def _prepare(self, height: int, width: int, n_channels: int) -> tuple[int, ...]:
        self.bin_sizes_: tuple[float, ...] = ()
        self.step_, self.positions_ = 0, np.empty((0, 2))
        self._on_keypoints, self._root = self.keypoints == "dog", bool(self.root_sift)
        self._is_lazy = bool(self.lazy)
        self._detector = self.upsampling, self.n_octaves, self.n_scales, self.c_dog
        self._mixture = _mixture(self.color, n_channels)
        if self._on_keypoints:
            if self.color != "grey":
                raise ValueError(f"color={self.color!r} needs keypoints='dense'; 'dog' has 'grey'.")
            if self.lazy:
                raise ValueError("lazy=True needs keypoints='dense'; 'dog' finds sets of any size.")
            return (N_VALUES,)
        self.bin_sizes_ = self._bin_sizes(height, width)
        self._refuse_too_much_smoothing(height, width)
        smallest = min(self.bin_sizes_)
        self.step_ = max(1, int(smallest / 2)) if isinstance(self.step, str) else int(self.step)
        rows, columns = (
            grid_points(size, self.step_, self._margin_within(size, smallest))
            for size in (height, width)
        )
        self.positions_ = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        self._grids = [
            make_grid(rows, columns, size, self.magnification, self.window)
            for size in self.bin_sizes_
        ]
        scales = () if len(self.bin_sizes_) == 1 else (len(self.bin_sizes_),)
        return *scales, len(rows), len(columns), N_VALUES * len(self._mixture)

    def _bin_sizes(self, height: int, width: int) -> tuple[float, ...]:
        if isinstance(self.bin_size, str):
            side = min(height, width) if min(height, width) > 1 else max(height, width)
            return (float(max(1, min(4, side // N_BINS))),)
        sizes = np.atleast_1d(np.asarray(self.bin_size))
        are_numbers = sizes.ndim == 1 and sizes.size > 0 and sizes.dtype.kind in "iuf"
        if not are_numbers or not (np.isfinite(sizes) & (sizes >= 1)).all():
            raise ValueError(
                f"bin_size must be a number of at least 1 or some of them, got {self.bin_size!r}."
            )
        patch = N_BINS * sizes.max()
        if patch > min(height, width):
            raise ValueError(
                f"images of {height} x {width} pixels are too small for bin_size={sizes.max():g}: "
                f"a patch, four bins wide, has {patch:g} x {patch:g} pixels. Take smaller bins or "
                "bin_size='auto'."
            )
        return tuple(float(size) for size in sizes)

    def _refuse_too_much_smoothing(self, height: int, width: int) -> None:
        largest = max(self.bin_sizes_)
        if self.magnification is not None and largest / self.magnification > max(height, width):
            raise ValueError(
                f"magnification={self.magnification:g} with bins of {largest:g} pixels would smooth"
                f" images of {height} x {width} pixels by {largest / self.magnification:g} pixels. "
                "Take a larger one, or None not to smooth."
            )

    def _margin_within(self, size: int, bin_size: float) -> float:
        if isinstance(self.margin, str):
            return ((N_BINS - 1) * bin_size - 1) / 2
        if 2 * self.margin > size - 1:
            raise ValueError(
                f"margin={self.margin:g} leaves no point in images with a side of {size} pixels: "
                "it must not "
                f"be above {(size - 1) / 2:g}. Take a smaller one or margin='auto'."
            )
        return self.margin

    def _bytes_per_image(self, images: ImageBatch) -> int:
        # The image as it is read and its planes; the result, or the scale space of keypoints.
        _, height, width, n_channels = images.shape
        pixels = height * width
        if self._on_keypoints:
            return 8 * pixels * (n_channels + 40 * self._detector[0] ** 2)
        return 8 * (pixels * (n_channels + len(self._mixture)) + self._n_features_out)

    def _planes(self, images: np.ndarray) -> np.ndarray:
        """Return what is to be described of images of shape (m, h, w, c): (k, m, h, w)."""
        if len(self._mixture) == images.shape[-1] == 1:
            return images[np.newaxis, ..., 0]
        return np.einsum("mhwc,kc->kmhw", images, self._mixture.astype(images.dtype), order="C")

    def _extract(self, images: np.ndarray, results: np.ndarray | None = None) -> np.ndarray:
        """Return the descriptors of the grid, written to `results` if there are any to fill."""
        from skcnn.features._sift_kernel import describe  # numba takes a while to import

        if results is None:
            results = np.empty((len(images), *self._result_shape), images.dtype)
        n_scales, n_planes = len(self.bin_sizes_), len(self._mixture)
        planes = self._planes(images)
        rows, columns = results.shape[-3:-1]
        by_plane = results.reshape(len(images), n_scales, rows, columns, n_planes, N_VALUES)
        for scale, grid in enumerate(self._grids):
            for plane in range(n_planes):
                describe(planes[plane], grid, self._root, by_plane, scale, plane)
        return results

    def _find(self, images: np.ndarray) -> list[tuple[Keypoints, np.ndarray]]:
        """Return the keypoints of every image and their descriptors."""
        return [
            detect_and_describe(image, self._root, *self._detector)
            for image in self._planes(images)[0]
        ]


def _mixture(color: str, n_channels: int) -> np.ndarray:
    """Return the weights of the channels in each plane that is described, shape (k, c)."""
    if color == "opponent":
        if n_channels != 3:
            raise ValueError(f"color='opponent' needs images of 3 channels, got {n_channels}.")
        return _OPPONENT
    if color == "channels":
        return np.eye(n_channels)
    return np.array(_LUMINANCE) if n_channels == 3 else np.full((1, n_channels), 1 / n_channels)
