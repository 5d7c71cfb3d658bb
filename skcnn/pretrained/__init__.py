"""Networks that others trained: their features, and training them further."""

from skcnn.pretrained._backbones import list_backbones
from skcnn.pretrained._extractor import PretrainedExtractor
from skcnn.pretrained._fine_tuned import FineTunedClassifier
from skcnn.pretrained._preprocessing import Preprocessing

__all__ = ["FineTunedClassifier", "Preprocessing", "PretrainedExtractor", "list_backbones"]
