from . import comparison, datasets, features, images, neural
from .comparison import Comparison, compare_pipelines, default_pipelines
from .datasets import load_digit_images
from .features import (
    ConvolutionFilter,
    DescriptorSets,
    HOGExtractor,
    PixelExtractor,
    TemplateMatcher,
)
from .images import ImageFiles, ImageReader, load_image_folder
from .neural import CNNClassifier, MLPClassifier

__version__: str

__all__ = [
    "CNNClassifier",
    "Comparison",
    "ConvolutionFilter",
    "DescriptorSets",
    "HOGExtractor",
    "ImageFiles",
    "ImageReader",
    "MLPClassifier",
    "PixelExtractor",
    "TemplateMatcher",
    "compare_pipelines",
    "comparison",
    "datasets",
    "default_pipelines",
    "features",
    "images",
    "load_digit_images",
    "load_image_folder",
    "neural",
]
