"""Hand-crafted features and the classical baselines on them."""

from skcnn.features._bag_of_words import BagOfVisualWords
from skcnn.features._descriptors import DescriptorSets
from skcnn.features._filters import ConvolutionFilter
from skcnn.features._fisher import FisherVectorEncoder
from skcnn.features._fourier import FourierExtractor
from skcnn.features._hog import HOGExtractor
from skcnn.features._lazy import LazyDescriptors
from skcnn.features._pixels import PixelExtractor
from skcnn.features._sift import SIFTExtractor
from skcnn.features._templates import TemplateMatcher
from skcnn.features._vlad import VLADEncoder

__all__ = [
    "BagOfVisualWords",
    "ConvolutionFilter",
    "DescriptorSets",
    "FisherVectorEncoder",
    "FourierExtractor",
    "HOGExtractor",
    "LazyDescriptors",
    "PixelExtractor",
    "SIFTExtractor",
    "TemplateMatcher",
    "VLADEncoder",
]
