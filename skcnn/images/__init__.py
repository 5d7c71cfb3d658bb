"""What an image batch is, however it is stored; image files, read only where they are sliced."""

from skcnn.images._batch import ImageBatch
from skcnn.images._decoding import UnreadableImageError
from skcnn.images._files import ImageFiles
from skcnn.images._folder import load_image_folder
from skcnn.images._reader import ImageReader
from skcnn.images._validation import check_images

__all__ = [
    "ImageBatch",
    "ImageFiles",
    "ImageReader",
    "UnreadableImageError",
    "check_images",
    "load_image_folder",
]
