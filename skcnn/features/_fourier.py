"""The log magnitude of the Fourier transform, which cyclic shifts of an image leave as it is."""

from __future__ import annotations

from math import prod
from numbers import Integral, Real

import numpy as np
from scipy import fft

from skcnn._compat import Interval, StrOptions
from skcnn._parameters import int_pair
from skcnn.features._base import ImageExtractor
from skcnn.images import ImageBatch


class FourierExtractor(ImageExtractor):
    """Log magnitude of the two-dimensional Fourier transform of every image.

    The features are ``log(1 + |F|)`` of the lowest frequencies, or its means over rings and wedges
    of frequencies: rings tell fine from coarse, wedges tell directions. They do not change when the
    image is shifted cyclically. The spectrum of a real image is symmetric: one half of it is used,
    so that no feature is there twice. Channels are treated one by one.

    Parameters
    ----------
    layout : {"block", "polar"}, default="block"
        "block" returns the magnitudes of the lowest frequencies as they are, "polar" their means
        over the cells of a polar grid, the frequency 0 by itself first.

    size : int, (int, int) or "auto", default="auto"
        For "block": number of frequencies down and across, from 0 up; that is, all those with less
        than `size` cycles an image. An image of h rows has ``h // 2 + 1`` of them. "auto" takes 8,
        or all where the image has fewer.

    n_rings : int or "auto", default="auto"
        For "polar": number of rings, of equal widths up to half a cycle a pixel. The corners beyond
        belong to the last one. "auto" takes half the image's longer side, at
        most 8.

    n_wedges : int or "auto", default="auto"
        For "polar": number of wedges of equal angles in the half plane. The first one lies around
        the frequencies of vertical stripes, and the next ones follow towards those of horizontal
        stripes. "auto" takes 8.

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
    frequencies_ : ndarray of shape (n_frequencies, 2), int
        The frequencies that are used, in cycles an image down and across.

    feature_of_frequency_ : ndarray of shape (n_frequencies,), int
        The feature of each of them: its number among those of one channel. The features of the
        first channel come first.

    image_shape_ : tuple of int
        Shape of the images seen in `fit`, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If the images have fewer frequencies than `size`.

    Notes
    -----
    A cell of the polar grid that holds no frequency of the image, as happens near the centre and in
    small images, gives no feature.

    References
    ----------
    .. [1] R. C. Gonzalez and R. E. Woods, "Digital Image Processing", 4th edition, Pearson 2018,
       sections 4.6 (the log spectrum) and 11.4 (texture by rings and wedges).

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import FourierExtractor, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> features = FourierExtractor().fit_transform(X)
    >>> features.shape
    (1797, 34)

    It does not matter where in the image something is:

    >>> shifted = np.roll(X, (2, 3), axis=(1, 2))
    >>> np.allclose(FourierExtractor().fit_transform(shifted), features)
    True

    Stripes have one direction, and so one wedge:

    >>> stripes = np.tile([0.0, 1.0, 0.0, 0.0], (1, 16, 4))
    >>> FourierExtractor("polar", n_rings=1, n_wedges=4).fit_transform(stripes).round(1)
    array([[4.2, 0.3, 0. , 0. , 0. ]])
    """

    _parameter_constraints: dict = {
        "layout": [StrOptions({"block", "polar"})],
        "size": [Interval(Integral, 1, None, closed="left"), "array-like", StrOptions({"auto"})],
        "n_rings": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_wedges": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        layout: str = "block",
        *,
        size: int | tuple[int, int] | str = "auto",
        n_rings: int | str = "auto",
        n_wedges: int | str = "auto",
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
        chunk_mib: float = 64,
        n_jobs: int | None = None,
    ) -> None:
        self.layout = layout
        self.size = size
        self.n_rings = n_rings
        self.n_wedges = n_wedges
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.chunk_mib = chunk_mib
        self.n_jobs = n_jobs

    def _prepare(self, height: int, width: int, n_channels: int) -> int:
        frequencies = _half_plane(height, width)
        if self.layout == "block":
            inside = (np.abs(frequencies) < self._block_size(height, width)).all(axis=1)
            self.frequencies_ = frequencies[inside]
            self.feature_of_frequency_ = np.arange(len(self.frequencies_))
        else:
            auto_rings = max(1, min(8, max(height, width) // 2))
            n_rings = auto_rings if isinstance(self.n_rings, str) else self.n_rings
            n_wedges = 8 if isinstance(self.n_wedges, str) else self.n_wedges
            cells = _polar_cells(frequencies / (height, width), n_rings, n_wedges)
            order = np.argsort(cells, kind="stable")
            self.frequencies_ = frequencies[order]
            self.feature_of_frequency_ = np.unique(cells[order], return_inverse=True)[1]
        return n_channels * (int(self.feature_of_frequency_[-1]) + 1)

    def _block_size(self, height: int, width: int) -> tuple[int, int]:
        most = height // 2 + 1, width // 2 + 1
        if isinstance(self.size, str):
            return min(8, most[0]), min(8, most[1])
        size = int_pair("size", self.size)
        if size[0] > most[0] or size[1] > most[1]:
            raise ValueError(
                f"images of {height} x {width} pixels have {most[0]} x {most[1]} frequencies, too "
                f"few for size={size}. Take a smaller size, or size='auto'."
            )
        return size

    def _bytes_per_image(self, images: ImageBatch) -> int:
        # The image and complex spectra of a half plane, between and after the two passes.
        n_values = prod(images.shape[1:]) + 2 * images.shape[1] * images.shape[3]
        return 8 * 4 * n_values

    def _extract(self, images: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            logarithms = np.log1p(self._magnitudes(images))
        too_large = ~np.isfinite(logarithms).all(axis=(1, 2))
        if too_large.any():
            logarithms[too_large] = self._scaled_logarithms(images[too_large])
        first = np.flatnonzero(np.diff(self.feature_of_frequency_, prepend=-1))
        if len(first) < len(self.frequencies_):
            n_used = np.bincount(self.feature_of_frequency_).astype(logarithms.dtype)
            logarithms = np.add.reduceat(logarithms, first, axis=2) / n_used
        return logarithms.reshape(len(images), -1)

    def _magnitudes(self, images: np.ndarray) -> np.ndarray:
        """Return |F| of the frequencies that are used, shape (m, channels, frequencies)."""
        down, across = self.frequencies_.T
        # One axis after the other: columns that no feature uses are not transformed.
        half = fft.rfft(images, axis=2)[:, :, : across.max() + 1]
        spectrum = fft.fft(half, axis=1, overwrite_x=True)[:, down, across]
        return np.abs(spectrum).transpose(0, 2, 1)

    def _scaled_logarithms(self, images: np.ndarray) -> np.ndarray:
        """Return log(1 + |F|) of images whose |F| is beyond the largest number."""
        exponents = np.frexp(np.abs(images).max(axis=(1, 2, 3), keepdims=True))[1]
        magnitudes = self._magnitudes(np.ldexp(images, -exponents))
        with np.errstate(divide="ignore"):  # the logarithm of 0, which leaves that of 1
            logarithms = np.log(magnitudes)
        logarithms += exponents[..., 0] * logarithms.dtype.type(np.log(2))
        return np.logaddexp(0, logarithms, dtype=logarithms.dtype)


def _half_plane(height: int, width: int) -> np.ndarray:
    """Return the frequencies (down, across) of a real image, each pair of equal ones once."""
    down = np.fft.fftfreq(height, 1 / height).round().astype(int)
    down[height // 2] = abs(down[height // 2])  # half a cycle a pixel has no sign
    across = np.arange(width // 2 + 1)
    grid = np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2)
    # In the columns that are their own mirror image, (-u, v) is the conjugate of (u, v).
    own_mirror = (grid[:, 1] == 0) | (2 * grid[:, 1] == width)
    return grid[~(own_mirror & (grid[:, 0] < 0))]


def _polar_cells(frequencies: np.ndarray, n_rings: int, n_wedges: int) -> np.ndarray:
    """Return the number of the cell of each frequency in cycles a pixel; frequency 0 has cell 0."""
    down, across = frequencies.T
    # Rounded, so that what lies on a border lies there on every machine: in the inner ring.
    radius = np.hypot(down, across)
    ring = np.minimum(np.ceil((2 * radius * n_rings).round(9)), n_rings).astype(int) - 1
    turns = np.arctan2(down, across) / np.pi  # from -1/2 to 1/2, both of which are one direction
    wedge = np.floor((turns * n_wedges + 0.5).round(9)).astype(int) % n_wedges
    return np.where(radius == 0, 0, 1 + ring * n_wedges + wedge)
