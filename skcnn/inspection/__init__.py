"""Displays that look inside: a filter's response, HOG's glyphs, SIFT's keypoints, visual words."""

from skcnn.inspection._filters import FilterDisplay
from skcnn.inspection._hog import HOGDisplay
from skcnn.inspection._keypoints import KeypointsDisplay
from skcnn.inspection._visual_words import VisualWordsDisplay

__all__ = ["FilterDisplay", "HOGDisplay", "KeypointsDisplay", "VisualWordsDisplay"]
