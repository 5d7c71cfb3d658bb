"""Where SIFT descriptors lie on an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from skcnn.features import SIFTExtractor
from skcnn.inspection._panels import (
    ensure_count,
    ensure_fitted,
    ensure_image,
    read_image,
    show_image,
    take_panels,
)

_COLOUR = "#E69F00"  # Okabe and Ito's orange, which stands out from black, white and most photos
_CORNERS = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) / 2


class KeypointsDisplay:
    """The keypoints or the grid of a SIFT extractor over the image.

    Make it with :meth:`from_estimator`. A keypoint is a circle around what was found, its radius
    the square root of 2 times the scale, with a line from the centre in the direction of its
    orientation. A grid is a dot for each point, and around its middle point the outline of the
    patch that is described, 4 bins wide, one for each scale.

    Parameters
    ----------
    image : ndarray of shape (h, w) or (h, w, c)
        The image.

    positions : ndarray of shape (n, 2)
        Row and column of each keypoint in pixels, or of each point of the grid at each scale.

    scales : ndarray of shape (n,)
        Standard deviations in pixels; a patch is 12 of them wide.

    orientations : ndarray of shape (n,)
        Angles in radians from down (rows grow) to the right (columns grow).

    on_grid : bool, default=False
        Whether they are points of a grid.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.

    ax_ : matplotlib Axes
        Where the image was drawn.

    markers_ : matplotlib EllipseCollection
        The circles or dots.

    lines_ : matplotlib PolyCollection
        The orientations of the keypoints, or the outlines of the grid's patches.

    See Also
    --------
    skcnn.SIFTExtractor : Finds and describes them.

    Examples
    --------
    >>> from skcnn import SIFTExtractor, load_digit_images
    >>> from skcnn.inspection import KeypointsDisplay
    >>> X, y = load_digit_images(return_X_y=True)
    >>> sift = SIFTExtractor(step=1, bin_size=(1, 2)).fit(X)
    >>> display = KeypointsDisplay.from_estimator(sift, X[0])
    >>> display.ax_.get_title()
    '6 x 6 points, patches of 4 and 8 pixels'
    """

    def __init__(
        self,
        image: np.ndarray,
        positions: np.ndarray,
        scales: np.ndarray,
        orientations: np.ndarray,
        *,
        on_grid: bool = False,
    ) -> None:
        self.image = image
        self.positions = positions
        self.scales = scales
        self.orientations = orientations
        self.on_grid = on_grid

    @classmethod
    def from_estimator(
        cls, extractor: SIFTExtractor, image: Any, *, max_keypoints: int = 200, ax: Any = None
    ) -> KeypointsDisplay:
        """Find the keypoints of an image and draw them.

        Parameters
        ----------
        extractor : SIFTExtractor
            A fitted extractor.

        image : array-like of shape (h, w), (h, w, c) or (n_values,)
            One image, of the shape seen in `fit`.

        max_keypoints : int, default=200
            Draw at most so many keypoints, those of the largest scales. A grid is drawn whole.

        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        display : KeypointsDisplay
            With ``figure_`` and ``ax_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `extractor` is no SIFT extractor.

        ValueError
            If `image` is not of the shape seen in `fit`.
        """
        ensure_fitted("extractor", extractor, SIFTExtractor)
        seen = read_image(extractor, image)
        on_grid = len(extractor.bin_sizes_) > 0
        display = cls(seen, *extractor.keypoints_of(image), on_grid=on_grid)
        return display.plot(max_keypoints=max_keypoints, ax=ax)

    def plot(self, *, max_keypoints: int = 200, ax: Any = None) -> KeypointsDisplay:
        """Draw the image and the keypoints over it.

        Parameters
        ----------
        max_keypoints : int, default=200
            Draw at most so many keypoints, those of the largest scales. A grid is drawn whole.

        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        self : KeypointsDisplay
            With ``figure_`` and ``ax_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If `max_keypoints` is no positive int.
        """
        ensure_count("max_keypoints", max_keypoints)
        (self.ax_,) = take_panels(ax, 1, 5.0, 5.3)
        self.figure_ = self.ax_.figure
        show_image(self.ax_, ensure_image(self.image))
        if self.on_grid:
            self._draw_grid()
        else:
            self._draw_keypoints(max_keypoints)
        return self

    def _draw_keypoints(self, max_keypoints: int) -> None:
        chosen = np.argsort(-self.scales, kind="stable")[:max_keypoints]
        centres, radii = self.positions[chosen], np.sqrt(2) * self.scales[chosen]
        self.markers_ = self._add_circles(centres, radii, filled=False)
        angles = self.orientations[chosen]
        ends = centres + radii[:, np.newaxis] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        self.lines_ = self._add_lines(np.stack([centres, ends], axis=1), closed=False)
        n, shown = len(self.positions), len(chosen)
        what = "1 keypoint" if n == 1 else f"{n} keypoints"
        self.ax_.set_title(what if shown == n else f"{what}, the {shown} largest shown")

    def _draw_grid(self) -> None:
        points = np.unique(self.positions, axis=0)
        radius = min(self._spacing(points) / 6, min(self.image.shape[:2]) / 60)
        self.markers_ = self._add_circles(points, np.full(len(points), radius), filled=True)
        widths = 12 * np.unique(self.scales)
        middle = points[self._middle(points)]
        outlines = middle + widths[:, np.newaxis, np.newaxis] * _CORNERS
        self.lines_ = self._add_lines(outlines, closed=True)
        self._make_room_for(outlines[-1])
        rows, columns = (len(np.unique(points[:, axis])) for axis in (0, 1))
        sides = " and ".join(f"{width:g}" for width in widths)
        patches = "patches" if len(points) > 1 else "a patch"
        count = f"{rows} x {columns} points" if len(points) > 1 else "1 point"
        self.ax_.set_title(f"{count}, {patches} of {sides} pixels")

    def _spacing(self, points: np.ndarray) -> float:
        """Return the step of the grid; of one point, the bin of its smallest patch."""
        steps = np.concatenate([np.diff(np.unique(points[:, axis])) for axis in (0, 1)])
        return float(steps.min()) if len(steps) else 3 * float(self.scales.min())

    def _middle(self, points: np.ndarray) -> int:
        """Return the number of the point nearest to the centre of the image."""
        centre = (np.array(self.image.shape[:2]) - 1) / 2
        return int(np.argmin(((points - centre) ** 2).sum(axis=1)))

    def _make_room_for(self, outline: np.ndarray) -> None:
        """Widen the axes where a patch reaches beyond the image."""
        height, width = self.image.shape[:2]
        corners = np.vstack([outline, [(-0.5, -0.5), (height - 0.5, width - 0.5)]])
        (top, left), (bottom, right) = corners.min(axis=0), corners.max(axis=0)
        self.ax_.set_xlim(left, right)
        self.ax_.set_ylim(bottom, top)

    def _add_circles(self, centres: np.ndarray, radii: np.ndarray, *, filled: bool) -> Any:
        from matplotlib.collections import EllipseCollection

        circles = EllipseCollection(
            2 * radii,
            2 * radii,
            np.zeros(len(radii)),
            units="xy",
            offsets=centres[:, ::-1],
            offset_transform=self.ax_.transData,
            facecolors=_COLOUR if filled else "none",
            edgecolors="none" if filled else _COLOUR,
            linewidths=1.2,
            path_effects=None if filled else self._dark_edges(1.2),
        )
        return self.ax_.add_collection(circles, autolim=False)

    def _add_lines(self, paths: np.ndarray, *, closed: bool) -> Any:
        from matplotlib.collections import PolyCollection

        width = 2.0 if closed else 1.2
        lines = PolyCollection(
            list(paths[..., ::-1]),
            closed=closed,
            facecolors="none",
            edgecolors=_COLOUR,
            linewidths=width,
            clip_on=not closed,  # an outline may run along the frame
            path_effects=self._dark_edges(width),
        )
        return self.ax_.add_collection(lines, autolim=False)

    def _dark_edges(self, width: float) -> list[Any]:
        """Return what makes lines stand out from an image of their own colour."""
        from matplotlib.patheffects import withStroke

        return [withStroke(linewidth=width + 1.2, foreground="black")]
