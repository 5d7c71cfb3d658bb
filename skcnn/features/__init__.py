"""Hand-crafted features and the classical baselines on them."""

from skcnn.features._descriptors import DescriptorSets
from skcnn.features._filters import ConvolutionFilter
from skcnn.features._hog import HOGExtractor
from skcnn.features._pixels import PixelExtractor
from skcnn.features._templates import TemplateMatcher

__all__ = [
    "ConvolutionFilter",
    "DescriptorSets",
    "HOGExtractor",
    "PixelExtractor",
    "TemplateMatcher",
]
