"""Labels beside points that neither overlap one another nor leave the picture."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether two rectangles share area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def contains(self, other: Box) -> bool:
        """Whether `other` lies inside."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def distance(self, x: float, y: float) -> float:
        """Distance of the point (x, y); 0 if it lies inside."""
        return math.dist((x, y), self.nearest(x, y))

    def nearest(self, x: float, y: float) -> Point:
        """The point of the rectangle that is nearest to (x, y)."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


def place_labels(
    points: Sequence[Point],
    sizes: Sequence[tuple[float, float]],
    bounds: Box,
    *,
    marker: float = 7.0,
) -> list[Box | None]:
    """Find room for one label per point, near it.

    Points are served in the order given. A label's place is inside the bounds and free of markers
    and earlier labels: of those places the nearest to its point, unless it is nearer to another
    point or its leader line crosses something. None where no free place exists.
    """
    markers = [Box(x - marker, y - marker, x + marker, y + marker) for x, y in points]
    placed: list[Box | None] = []
    for index, (point, size) in enumerate(zip(points, sizes, strict=True)):
        labels = [box for box in placed if box is not None]
        others = [*points[:index], *points[index + 1 :]]
        free = [
            box
            for box in _candidates(point, size, marker, bounds)
            if not any(box.overlaps(other) for other in (*markers, *labels))
        ]
        placed.append(_best_place(point, free, labels, others))
    return placed


def _best_place(
    point: Point, free: Sequence[Box], labels: Sequence[Box], others: Sequence[Point]
) -> Box | None:
    best, least = None, math.inf
    for box in sorted(free, key=lambda box: box.distance(*point)):
        if box.distance(*point) >= least:
            break
        badness = _badness(point, box, labels, others)
        if badness < least:
            best, least = box, badness
    return best


def _candidates(
    point: Point, size: tuple[float, float], marker: float, bounds: Box
) -> Iterator[Box]:
    """Places around a point at growing distance, moved inside the bounds."""
    (x, y), (width, height) = point, size
    reach = math.hypot(bounds.right - bounds.left, bounds.bottom - bounds.top)
    distance = marker + 2
    while distance < reach:
        for turn in range(24):
            dx, dy = math.cos(turn * math.pi / 12), math.sin(turn * math.pi / 12)
            # The label hangs on the side of its point that faces the point.
            left = x + distance * dx - width * (1 - dx) / 2
            top = y + distance * dy - height * (1 - dy) / 2
            left = min(max(left, bounds.left), bounds.right - width)
            top = min(max(top, bounds.top), bounds.bottom - height)
            box = Box(left, top, left + width, top + height)
            if bounds.contains(box):
                yield box
        distance *= 1.3


def _badness(point: Point, box: Box, labels: Sequence[Box], others: Sequence[Point]) -> float:
    """Distance, worse where the label seems to belong to another point or its leader crosses."""
    length = box.distance(*point)
    mistakable = sum(box.distance(*other) < length + 5 for other in others)
    end = box.nearest(*point)
    line = [
        (point[0] + (end[0] - point[0]) * share, point[1] + (end[1] - point[1]) * share)
        for share in (step / (length / 4 + 2) for step in range(1, int(length / 4) + 2))
    ]
    crossed = sum(any(label.distance(*spot) < 1 for spot in line) for label in labels)
    crossed += sum(any(math.dist(other, spot) < 7 for spot in line) for other in others)
    return length + 25 * mistakable + 60 * crossed


def text_width(text: str, font_size: float, *, bold: bool = False) -> float:
    """A generous estimate of a text's width in a sans-serif font."""
    if bold:
        font_size *= 1.15
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    capital = sum(char.isupper() or char in "mwMW@%&" for char in text)
    return font_size * (0.56 * len(text) + 0.2 * capital + 0.5 * wide)


def shorten(text: str, width: float, font_size: float) -> str:
    """Cut a text to a width; an ellipsis marks the cut."""
    if text_width(text, font_size) <= width:
        return text
    while text and text_width(text + "…", font_size) > width:
        text = text[:-1]
    return text.rstrip() + "…"
