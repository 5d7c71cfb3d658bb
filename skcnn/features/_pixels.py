"""The simplest features: the pixels themselves."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np

from skcnn._compat import Interval
from skcnn.features._base import ImageExtractor


class PixelExtractor(ImageExtractor):
    """Flatten images to rows of pixel values, for classifiers that know rows only.

    It is the first step of a raw-pixel baseline: ``make_pipeline(PixelExtractor(), SVC())`` takes
    images of any layout and storage, :class:`~skcnn.ImageFiles` included.

    Parameters
    ----------
    image_shape : tuple of int or None, default=None
        Shape of one image when the rows of `X` are flat.

    channel_axis : int or None, default=-1
        Axis of a 4-D `X` that holds the channels.

    chunk_mib : float, default=64
        Working memory in MiB of the chunk of images that is converted at a time.

    Attributes
    ----------
    image_shape_ : tuple of int
        Shape of the images seen in `fit`, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If `X` is no image batch.

    See Also
    --------
    HOGExtractor : Features that forgive small shifts and changes of light.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import PixelExtractor
    >>> images = np.array([[[0, 51], [102, 255]]], dtype=np.uint8)
    >>> PixelExtractor().fit_transform(images)
    array([[0. , 0.2, 0.4, 1. ]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
        chunk_mib: float = 64,
    ) -> None:
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.chunk_mib = chunk_mib

    def _prepare(self, height: int, width: int, n_channels: int) -> int:
        return height * width * n_channels

    def _extract(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1)
