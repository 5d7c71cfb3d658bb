"""An image beside the orientations of its gradients, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from skcnn.features import HOGExtractor
from skcnn.images import ImageBatch
from skcnn.inspection._panels import (
    ensure_fitted,
    ensure_image,
    limits_of_most,
    read_image,
    show_image,
    take_panels,
)

_REACH = 0.45  # of the shorter side of a cell, from its centre to the end of a line
_FAINTEST = 0.02  # lines that are no brighter are not drawn


class HOGDisplay:
    """An image beside its HOG glyphs.

    Make it with :meth:`from_estimator`. A glyph is a line for each orientation bin of a cell, at
    right angles to its gradients, which is along its edges, and the brighter the more gradient
    there is: what ``skimage.feature.hog(..., visualize=True)`` draws with pixels, in lines that are
    sharp in cells of any size. They show cells before they are normalised in blocks. The strongest
    hundredth of all lines is white. As in ``HOGExtractor.visualize``, lines show unsigned
    orientations, each pixel's in one bin, whatever `signed_gradient` and `interpolate` of the
    extractor say, since lines have no sign.

    Parameters
    ----------
    image : ndarray of shape (h, w) or (h, w, c)
        The image.

    histograms : ndarray of shape (rows, columns, orientations)
        Gradient magnitude of each cell and orientation bin.

    pixels_per_cell : (int, int)
        Height and width of a cell in pixels.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.

    axes_ : tuple of two matplotlib Axes
        That of the image and that of the glyphs.

    lines_ : matplotlib LineCollection
        The lines of all glyphs.

    See Also
    --------
    skcnn.HOGExtractor : Computes the features.

    Examples
    --------
    >>> from skcnn import HOGExtractor, load_digit_images
    >>> from skcnn.inspection import HOGDisplay
    >>> X, y = load_digit_images(return_X_y=True)
    >>> display = HOGDisplay.from_estimator(HOGExtractor().fit(X), X[0])
    >>> display.histograms.shape, display.axes_[1].get_title()
    ((4, 4, 9), '4 x 4 cells of 2 x 2 pixels')
    """

    def __init__(
        self, image: np.ndarray, histograms: np.ndarray, pixels_per_cell: tuple[int, int]
    ) -> None:
        self.image = image
        self.histograms = histograms
        self.pixels_per_cell = pixels_per_cell

    @classmethod
    def from_estimator(cls, extractor: HOGExtractor, image: Any, *, axes: Any = None) -> HOGDisplay:
        """Compute the cells of an image and draw them.

        Parameters
        ----------
        extractor : HOGExtractor
            A fitted extractor.

        image : array-like of shape (h, w), (h, w, c) or (n_values,)
            One image, of the shape seen in `fit`.

        axes : pair of matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        display : HOGDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `extractor` is no HOG extractor.

        ValueError
            If `image` is not of the shape seen in `fit`, or `axes` are no pair.
        """
        ensure_fitted("extractor", extractor, HOGExtractor)
        seen = read_image(extractor, image)
        histograms = extractor._cells_of(ImageBatch(seen[np.newaxis]))
        return cls(seen, histograms, extractor.pixels_per_cell_).plot(axes=axes)

    def plot(self, *, axes: Any = None) -> HOGDisplay:
        """Draw the image and the glyphs.

        Parameters
        ----------
        axes : pair of matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        self : HOGDisplay
            With ``figure_`` and ``axes_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If `axes` are no pair.
        """
        left, right = take_panels(axes, 2, 4.5, 4.8)
        self.figure_, self.axes_ = left.figure, (left, right)
        drawn = show_image(left, ensure_image(self.image), "image")
        self._draw_glyphs(right, drawn.axes.get_aspect())
        return self

    def _draw_glyphs(self, ax: Any, aspect: Any) -> None:
        from matplotlib.collections import LineCollection

        rows, columns, _ = self.histograms.shape
        (cell_height, cell_width), (height, width) = self.pixels_per_cell, self.image.shape[:2]
        lines, brightness = self._glyphs()
        colours = np.ones((len(lines), 4))
        colours[:, 3] = brightness
        points = 72 / ax.figure.dpi * ax.get_window_extent().width * cell_width / width
        thickness = float(np.clip(points / 9, 0.4, 3.0))
        self.lines_ = LineCollection(list(lines), colors=colours, linewidths=thickness)
        ax.add_collection(self.lines_, autolim=False)
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
        ax.set(facecolor="black", aspect=aspect)
        ax.set_title(f"{rows} x {columns} cells of {cell_height} x {cell_width} pixels")

    def _glyphs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lines that are bright enough to be seen, as x and y, and how bright they are.

        The brightest come last, over the others.
        """
        brightest = limits_of_most(self.histograms)[1]
        brightness = np.clip(self.histograms / brightest, 0, 1)
        seen = np.argwhere(brightness > _FAINTEST)
        brightness = brightness[tuple(seen.T)]
        order = np.argsort(brightness, kind="stable")
        cell, bins = seen[order, :2], seen[order, 2]
        centres = (cell + 0.5) * self.pixels_per_cell - 0.5
        angles = np.pi * (bins + 0.5) / self.histograms.shape[2]
        along = np.stack([-np.cos(angles), np.sin(angles)], axis=-1)
        ends = _REACH * min(self.pixels_per_cell) * along
        lines = np.stack([centres - ends, centres + ends], axis=1)
        return lines[..., ::-1], brightness[order]
