"""The transformer from paths to images."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skcnn._compat import StrOptions, fit_context
from skcnn.images._files import ImageFiles


class ImageReader(TransformerMixin, BaseEstimator):
    """Turn paths of image files into images: the first step of a Pipeline.

    The result is an :class:`ImageFiles`, so files are decoded by the steps that follow, chunk by
    chunk, and not here.

    Parameters
    ----------
    size : (int, int) or None, default=None
        Height and width of the images. None takes the size of the first file seen in `fit`, and a
        file of another size is an error.

    mode : {"rgb", "grey"}, default="rgb"
        Whether images have three channels or none.

    Attributes
    ----------
    size_ : (int, int)
        Height and width of the images.

    Raises
    ------
    UnreadableImageError
        When a file that is not an image is decoded; the message names it.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from PIL import Image
    >>> from sklearn.pipeline import make_pipeline
    >>> from skcnn import HOGExtractor, ImageReader
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "photo.png")
    ...     Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(path)
    ...     make_pipeline(ImageReader(mode="grey"), HOGExtractor()).fit_transform([path]).shape
    (1, 324)
    """

    _parameter_constraints: dict = {
        "size": ["array-like", None],
        "mode": [StrOptions({"rgb", "grey"})],
    }

    def __init__(self, size: tuple[int, int] | None = None, mode: str = "rgb") -> None:
        self.size = size
        self.mode = mode

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> ImageReader:
        """Learn the size of the images, if `size` does not give it.

        Parameters
        ----------
        X : array-like of str or path-like, shape (n,) or (n, 1)
            The files.

        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        self : ImageReader
            The fitted transformer.
        """
        self.size_ = ImageFiles(_one_column(X), size=self.size, mode=self.mode).size
        return self

    def transform(self, X: Any) -> ImageFiles:
        """Return the files as images, decoded when they are sliced.

        Parameters
        ----------
        X : array-like of str or path-like, shape (n,) or (n, 1)
            The files.

        Returns
        -------
        images : ImageFiles
            Of shape (n, height, width) or (n, height, width, 3).
        """
        check_is_fitted(self)
        files = ImageFiles(_one_column(X), size=self.size_, mode=self.mode)
        files._resize = self.size is not None
        return files

    def set_output(self, *, transform: str | None = None) -> ImageReader:
        """Do nothing: images stay images, whatever container a Pipeline's features go to."""
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _one_column(X: Any) -> np.ndarray:
    if isinstance(X, ImageFiles):
        return X.paths
    shape = np.shape(X)
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or shape[0] == 0:
        raise ValueError(
            f"X must hold the paths of image files, shape (n,) or (n, 1); got shape {shape}."
        )
    return np.asarray(X, dtype=object).reshape(-1)
