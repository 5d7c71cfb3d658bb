"""Random changes of training images that leave their classes as they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, radians
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skcnn._compat import Interval, StrOptions, validate_parameter_constraints
from skcnn.images import ImageBatch
from skcnn.neural._draws import Draws
from skcnn.neural._warping import (
    Border,
    cut_out,
    inverse_matrices,
    move,
    resample,
    smoothing_weights,
)

_CHUNK_MIB = 16


class Augmentation(BaseEstimator):
    """Draw a small random change for every image of a training batch.

    A network that sees each training image moved, turned, bent or darkened a little differently in
    every epoch learns what does not matter. By default nothing changes: each parameter switches one
    kind of change on, and every image gets its own draw.

    Brightness and contrast change first. Then the image is flipped, scaled, sheared, rotated and
    shifted about its centre, in this order, and bent by the elastic field; whatever of this is
    switched on is done in one bilinear resampling. At last the square is cut out.

    Parameters
    ----------
    shift : float or (float, float), default=0
        Largest shift in pixels, or the largest ones down and across. Whole numbers, where nothing
        else but flips moves the pixels, draw shifts by whole pixels, -shift to shift: nothing is
        interpolated then. Otherwise shifts are uniform between -shift and shift.

    rotation : float, default=0
        Largest rotation in degrees, to either side.

    scale : float or (float, float), default=0
        Factors are uniform between ``1 - scale`` and ``1 + scale``, or between the two that are
        given; 2 is twice as large.

    shear : float, default=0
        Largest horizontal shear in degrees, to either side.

    flip : {"horizontal", "vertical", "both"} or None, default=None
        Flip left and right, upside down, or each of the two on its own, with probability 1/2.

    elastic : float, default=0
        Standard deviation in pixels, down and across, of a smooth random displacement field [1]_.

    elastic_smoothness : float, default=4
        Standard deviation in pixels of the Gaussian filter that makes the displacement field of
        white noise. The larger it is, the more the displacements of neighbours agree.

    cutout : int, default=0
        Side in pixels of a square that is filled with `fill_value` [2]_. Its centre is any pixel of
        the image, so that it may stick out.

    brightness : float, default=0
        Largest number, on the scale of the images, that is added to all pixels or taken off; the
        result is not clipped. Images of ``uint8`` and ``uint16`` have the scale [0, 1].

    contrast : float, default=0
        Differences from the mean of the image are multiplied by a factor that is uniform between
        ``1 - contrast`` and ``1 + contrast``.

    fill : {"edge", "reflect", "constant"}, default="edge"
        What comes in from outside: the nearest pixel, the image mirrored at its border (the pixels
        at the border twice), or `fill_value`.

    fill_value : float, default=0.0
        Value, on the scale of the images, of cut-out squares and of what comes in from outside with
        ``fill="constant"``.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] P. Y. Simard, D. Steinkraus and J. C. Platt, "Best practices for convolutional neural
       networks applied to visual document analysis", ICDAR 2003.
       :doi:`10.1109/ICDAR.2003.1227801`

    .. [2] T. DeVries and G. W. Taylor, "Improved regularization of convolutional neural networks
       with cutout", 2017, arXiv:1708.04552.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import Augmentation
    >>> bar = np.zeros((1, 3, 5), dtype=np.uint8)
    >>> bar[:, :, 2] = 255
    >>> Augmentation(shift=(0, 2), fill="constant").augment(bar, random_state=0)[0]
    array([[0., 0., 0., 1., 0.],
           [0., 0., 0., 1., 0.],
           [0., 0., 0., 1., 0.]], dtype=float32)

    Digits that are a little turned, stretched and bent:

    >>> from skcnn import load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> handwriting = Augmentation(shift=0.5, rotation=10, scale=0.1, elastic=0.3)
    >>> handwriting.augment(X, random_state=0).shape
    (1797, 8, 8)

    In training, an augmentation is called with a batch of images and a generator of torch:

    >>> import torch
    >>> images = torch.rand(16, 3, 32, 32)
    >>> generator = torch.Generator().manual_seed(0)
    >>> Augmentation(shift=4, flip="horizontal")(images, generator).shape
    torch.Size([16, 3, 32, 32])
    """

    _parameter_constraints: dict = {
        "shift": ["array-like", Interval(Real, 0, np.inf, closed="left")],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "scale": ["array-like", Interval(Real, 0, 1, closed="left")],
        "shear": [Interval(Real, 0, 90, closed="left")],
        "flip": [StrOptions({"horizontal", "vertical", "both"}), None],
        "elastic": [Interval(Real, 0, np.inf, closed="left")],
        "elastic_smoothness": [Interval(Real, 0, np.inf, closed="neither")],
        "cutout": [Interval(Integral, 0, None, closed="left")],
        "brightness": [Interval(Real, 0, np.inf, closed="left")],
        "contrast": [Interval(Real, 0, 1, closed="both")],
        "fill": [StrOptions({"edge", "reflect", "constant"})],
        "fill_value": [Interval(Real, -np.inf, np.inf, closed="neither")],
    }

    def __init__(
        self,
        *,
        shift: float | Sequence[float] = 0,
        rotation: float = 0,
        scale: float | Sequence[float] = 0,
        shear: float = 0,
        flip: str | None = None,
        elastic: float = 0,
        elastic_smoothness: float = 4,
        cutout: int = 0,
        brightness: float = 0,
        contrast: float = 0,
        fill: str = "edge",
        fill_value: float = 0.0,
    ) -> None:
        self.shift = shift
        self.rotation = rotation
        self.scale = scale
        self.shear = shear
        self.flip = flip
        self.elastic = elastic
        self.elastic_smoothness = elastic_smoothness
        self.cutout = cutout
        self.brightness = brightness
        self.contrast = contrast
        self.fill = fill
        self.fill_value = fill_value

    def check(self) -> None:
        """Check the parameters.

        Raises
        ------
        ValueError
            If one is out of its range; the message names it.
        """
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )
        self._largest_shift()
        self._scale_range()

    def __call__(
        self, images: torch.Tensor, generator: torch.Generator, *, alike: bool = False
    ) -> torch.Tensor:
        """Return changed copies of the images.

        Parameters
        ----------
        images : torch.Tensor of shape (m, c, h, w), float32 or float64
            The images, on any device and in any memory layout. They are not written to.

        generator : torch.Generator
            Where all random numbers come from; its state moves on.

        alike : bool, default=False
            Whether all images are changed in the same way, that of a single one.

        Returns
        -------
        changed : torch.Tensor of shape (m, c, h, w)
            New images of the same type, on the same device; channels last if `images` are.

        Raises
        ------
        TypeError
            If `images` are no tensor.

        ValueError
            If a parameter is out of its range, or `images` have another shape or type.
        """
        self.check()
        _ensure_image_tensor(images)
        draws = Draws(generator, images, alike=alike)
        changed = self._cut(self._moved(self._lit(images, draws), draws), draws)
        return _laid_out_as(images, images.clone() if changed is images else changed)

    def augment(
        self,
        X: Any,
        random_state: int | np.random.RandomState | None = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
    ) -> np.ndarray:
        """Return changed copies of images as a NumPy array, to look at or to keep.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images.

        random_state : int, RandomState instance or None, default=None
            Seed of the changes; None takes a new one every time.

        image_shape : tuple of int or None, default=None
            Shape of one image when the rows of `X` are flat.

        channel_axis : int or None, default=-1
            Axis of a 4-D `X` that holds the channels.

        Returns
        -------
        changed : ndarray of shape (n, h, w) or (n, h, w, c)
            float32 for float32, float16, uint8, uint16 and bool images, float64 for all others.
            Images of ``uint8`` and ``uint16`` are scaled to [0, 1].

        Raises
        ------
        ValueError
            If a parameter is out of its range, `X` is no image batch or not finite.
        """
        self.check()
        batch = ImageBatch(X, image_shape=image_shape, channel_axis=channel_axis)
        generator = _seeded_generator(random_state)
        changed = np.empty(batch.shape, batch.dtype)
        for rows in batch.chunks(_CHUNK_MIB):
            # torch has no tensors that must not be written to, which images in X may be.
            images = torch.from_numpy(np.require(batch.read(rows), requirements="W"))
            result = self(images.permute(0, 3, 1, 2), generator)
            changed[rows] = result.permute(0, 2, 3, 1).numpy()
        return changed.reshape(len(batch), *batch.image_shape)

    def _largest_shift(self) -> tuple[float, float]:
        """Return the largest shifts down and across."""
        down, across = _two_numbers("shift", self.shift, "(down, across)")
        if min(down, across) < 0:
            raise ValueError(f"shift must be (down, across), both at least 0, got {self.shift!r}.")
        return down, across

    def _scale_range(self) -> tuple[float, float]:
        """Return the smallest and the largest factor."""
        if isinstance(self.scale, Real):
            return 1 - float(self.scale), 1 + float(self.scale)
        low, high = _two_numbers("scale", self.scale, "(low, high)")
        if not 0 < low <= high:
            raise ValueError(f"scale must be (low, high) with 0 < low <= high, got {self.scale!r}.")
        return low, high

    def _lit(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Return the images in another light."""
        if self.contrast:
            factor = draws.uniform(1 - self.contrast, 1 + self.contrast)[:, None, None, None]
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = images * factor + mean * (1 - factor)
        if self.brightness:
            images = images + draws.uniform_around_0(self.brightness)[:, None, None, None]
        return images

    def _moved(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Return the images with other geometry, without interpolation if that can be."""
        border = Border(self.fill, float(self.fill_value))
        down, across = self._largest_shift()
        turned = self.rotation or self.shear or self._scale_range() != (1, 1)
        if not (turned or self.elastic or self.flip or down or across):
            return images
        flipped = draws.flips(self.flip)
        if not (turned or self.elastic) and down.is_integer() and across.is_integer():
            shift = [draws.integers(-int(limit), int(limit)) for limit in (down, across)]
            return move(images, torch.stack(shift, dim=1), flipped, border)
        shift = [draws.uniform_around_0(limit) for limit in (down, across)]
        inverse = inverse_matrices(
            draws.uniform_around_0(radians(self.rotation)),
            draws.uniform(*self._scale_range()),
            draws.uniform_around_0(radians(self.shear)),
            flipped,
        )
        field = self._field(images.shape[2:], draws) if self.elastic else None
        return resample(images, inverse, torch.stack(shift, dim=1), field, border)

    def _field(self, size: Sequence[int], draws: Draws) -> torch.Tensor:
        """Return displacements (m, 2, h, w) in pixels."""
        down, across = (smoothing_weights(n, float(self.elastic_smoothness)) for n in size)
        noise = draws.normal(2, down.shape[1], across.shape[1])
        return (self.elastic * down).to(noise) @ noise @ across.T.to(noise)

    def _cut(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Return the images with the square cut out."""
        if not self.cutout:
            return images
        centres = [draws.integers(0, size - 1) for size in images.shape[2:]]
        return cut_out(images, torch.stack(centres, dim=1), self.cutout, float(self.fill_value))


def _two_numbers(name: str, value: Any, meaning: str) -> tuple[float, float]:
    """Return two numbers; one stands for both."""
    pair = (value, value) if isinstance(value, Real) else tuple(value)
    if len(pair) != 2 or not all(isinstance(n, Real) and isfinite(n) for n in pair):
        raise ValueError(f"{name} must be a number or {meaning}, got {value!r}.")
    return float(pair[0]), float(pair[1])


def _ensure_image_tensor(images: Any) -> None:
    if not isinstance(images, torch.Tensor):
        raise TypeError(
            f"images must be a torch.Tensor, got {type(images).__name__}. Augmentation.augment "
            "takes NumPy arrays and whatever else holds images."
        )
    if images.ndim != 4 or images.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            "images must be of shape (m, c, h, w) and type float32 or float64, got "
            f"{tuple(images.shape)} and {images.dtype}."
        )


def _laid_out_as(images: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """Return the result, channels last if the images are.

    The strides are written out, because torch tells a layout by them even where there is only one
    channel and every layout is the same.
    """
    if not images.permute(0, 2, 3, 1).is_contiguous():
        return result
    m, c, h, w = images.shape
    return result.permute(0, 2, 3, 1).reshape(-1).view(m, h, w, c).permute(0, 3, 1, 2)


def _seeded_generator(random_state: int | np.random.RandomState | None) -> torch.Generator:
    generator = torch.Generator()
    if random_state is None:
        generator.seed()  # check_random_state(None) would draw from NumPy's global generator
        return generator
    return generator.manual_seed(int(check_random_state(random_state).randint(2**31)))
