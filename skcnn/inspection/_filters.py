"""A filter, what it is laid over, and its response."""

from __future__ import annotations

from typing import Any

import numpy as np

from skcnn.features import ConvolutionFilter
from skcnn.inspection._panels import (
    SIGNED_COLOURS,
    brightness_limits,
    ensure_fitted,
    ensure_image,
    limits_of_most,
    read_image,
    show_image,
    show_values,
    take_panels,
)

# Kernels of at most so many rows and columns have their weights written in.
_MOST_WRITTEN = 5
# Ends of a colour bar that are pointed: there are values below, or above.
_ENDS = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}


class FilterDisplay:
    """The kernel of a filter, an image, and the filter's response to it.

    Make it with :meth:`from_estimator`.

    Parameters
    ----------
    kernels : sequence of ndarray of shape (kh, kw)
        The weights as they are laid over the image: none for the median, two for the magnitude of
        a gradient.

    image : ndarray of shape (h, w) or (h, w, c)
        The image.

    response : ndarray of shape (h', w') or (h', w', c)
        What the filter makes of it.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.

    axes_ : tuple of matplotlib Axes
        One for each kernel, that of the image and that of the response.

    colorbars_ : tuple of matplotlib Colorbar
        That of the response, if it has one, after those of kernels that are too large to have their
        weights written in.

    See Also
    --------
    skcnn.ConvolutionFilter : The filter.

    Notes
    -----
    The median, and a kernel whose weights sum to 1, make an image of an image: the response is
    drawn as the image is, in colour too, and what is beyond its black and white is cut off. Other
    responses are means over the channels, with a colour bar: of a kernel that has negative weights
    in colours that are white at 0, of others and of magnitudes in grey. The strongest hundredth of
    the values may be beyond the end of the colour bar, which is pointed then.

    Examples
    --------
    >>> from skcnn import ConvolutionFilter, load_digit_images
    >>> from skcnn.inspection import FilterDisplay
    >>> X, y = load_digit_images(return_X_y=True)
    >>> edges = ConvolutionFilter("sobel", direction="horizontal").fit(X)
    >>> display = FilterDisplay.from_estimator(edges, X[0])
    >>> [ax.get_title() for ax in display.axes_]
    ['kernel', 'image', 'response']
    """

    def __init__(self, kernels: list[np.ndarray], image: np.ndarray, response: np.ndarray) -> None:
        self.kernels = kernels
        self.image = image
        self.response = response

    @classmethod
    def from_estimator(
        cls, extractor: ConvolutionFilter, image: Any, *, axes: Any = None
    ) -> FilterDisplay:
        """Filter an image and draw it.

        Parameters
        ----------
        extractor : ConvolutionFilter
            A fitted filter.

        image : array-like of shape (h, w), (h, w, c) or (n_values,)
            One image, of the shape seen in `fit`.

        axes : sequence of matplotlib Axes, optional
            Where to draw: one for each kernel and two more. A new figure by default.

        Returns
        -------
        display : FilterDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `extractor` is no filter.

        ValueError
            If `image` is not of the shape seen in `fit`, or `axes` are too few or too many.
        """
        ensure_fitted("extractor", extractor, ConvolutionFilter)
        seen = read_image(extractor, image)
        response = extractor._filter(seen[np.newaxis])[0]
        kernel = extractor.kernel_
        kernels = [] if kernel is None else list(kernel) if kernel.ndim == 3 else [kernel]
        return cls(kernels, seen, response).plot(axes=axes)

    def plot(self, *, axes: Any = None) -> FilterDisplay:
        """Draw the kernels, the image and the response.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, optional
            Where to draw: one for each kernel and two more. A new figure by default.

        Returns
        -------
        self : FilterDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If `axes` are too few or too many.
        """
        panels = take_panels(axes, len(self.kernels) + 2)
        *kernel_panels, left, right = panels
        self.figure_, self.axes_ = left.figure, tuple(panels)
        self.colorbars_: tuple[Any, ...] = ()
        titles = (
            ["kernel, horizontal", "kernel, vertical"] if len(self.kernels) == 2 else ["kernel"]
        )
        for ax, kernel, title in zip(kernel_panels, self.kernels, titles, strict=False):
            self._draw_kernel(ax, kernel, title)
        show_image(left, ensure_image(self.image), "image")
        self._draw_response(right, ensure_image(self.response))
        return self

    def _draw_kernel(self, ax: Any, kernel: np.ndarray, title: str) -> None:
        largest = np.abs(kernel).max()
        drawn = show_values(ax, kernel, title, SIGNED_COLOURS, (-largest, largest))
        if max(kernel.shape) > _MOST_WRITTEN:
            self._add_colorbar(ax, drawn)
            return
        small = max(kernel.shape) <= 3
        for (row, column), weight in np.ndenumerate(kernel):
            dark = abs(weight) > 0.6 * largest
            ax.text(
                column,
                row,
                f"{weight:.{3 if small else 2}g}".replace("-", "\N{MINUS SIGN}"),
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=11 if small else 8,
            )

    def _draw_response(self, ax: Any, response: np.ndarray) -> None:
        if self._makes_images():
            show_image(ax, response, "response", brightness_limits(self.image))
            return
        values = response.mean(axis=-1)
        signed = len(self.kernels) == 1 and self.kernels[0].min() < 0
        low, high = limits_of_most(np.abs(values) if signed else values)
        low = -high if signed else low
        colours = SIGNED_COLOURS if signed else "gray"
        drawn = show_values(ax, values, "response", colours, (low, high))
        beyond = bool(values.min() < low), bool(values.max() > high)
        self._add_colorbar(ax, drawn, _ENDS[beyond])

    def _makes_images(self) -> bool:
        """Tell whether the filter is one that keeps the mean brightness, or the median."""
        if len(self.kernels) == 1:
            return bool(np.isclose(self.kernels[0].sum(), 1))
        return len(self.kernels) == 0

    def _add_colorbar(self, ax: Any, drawn: Any, ends: str = "neither") -> None:
        beside = ax.inset_axes([1.03, 0, 0.05, 1])  # as high as the panel, whatever its shape
        bar = self.figure_.colorbar(drawn, cax=beside, extend=ends)
        self.colorbars_ = (*self.colorbars_, bar)
