from . import comparison, datasets, features, images, inspection, neural, pretrained
from .comparison import Comparison, compare_pipelines, default_pipelines
from .datasets import load_digit_images
from .features import (
    BagOfVisualWords,
    ConvolutionFilter,
    DescriptorSets,
    FisherVectorEncoder,
    FourierExtractor,
    HOGExtractor,
    LazyDescriptors,
    PixelExtractor,
    SIFTExtractor,
    TemplateMatcher,
    VLADEncoder,
)
from .images import ImageFiles, ImageReader, load_image_folder
from .neural import (
    Augmentation,
    CNNClassifier,
    CNNRegressor,
    MLPClassifier,
    MLPRegressor,
    NetworkFeatures,
    ResidualNetwork,
)
from .pretrained import FineTunedClassifier, Preprocessing, PretrainedExtractor, list_backbones

__version__: str

__all__ = [
    "Augmentation",
    "BagOfVisualWords",
    "CNNClassifier",
    "CNNRegressor",
    "Comparison",
    "ConvolutionFilter",
    "DescriptorSets",
    "FineTunedClassifier",
    "FisherVectorEncoder",
    "FourierExtractor",
    "HOGExtractor",
    "ImageFiles",
    "ImageReader",
    "LazyDescriptors",
    "MLPClassifier",
    "MLPRegressor",
    "NetworkFeatures",
    "PixelExtractor",
    "Preprocessing",
    "PretrainedExtractor",
    "ResidualNetwork",
    "SIFTExtractor",
    "TemplateMatcher",
    "VLADEncoder",
    "compare_pipelines",
    "comparison",
    "datasets",
    "default_pipelines",
    "features",
    "images",
    "inspection",
    "list_backbones",
    "load_digit_images",
    "load_image_folder",
    "neural",
    "pretrained",
]
