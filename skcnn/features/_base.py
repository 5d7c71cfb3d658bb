"""The one path that every extractor walks: validate, cut into chunks, extract, assemble."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import ceil, prod
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skcnn._compat import choose_output, fit_context
from skcnn.features._refit import as_it_was_if_it_fails
from skcnn.features._threads import in_threads
from skcnn.images import ImageBatch, check_images

# Threads are never equally fast, so each has several chunks, but none that is done in no time.
_CHUNKS_PER_THREAD = 4
_LEAST_CHUNK = 4 * 2**20


class ImageExtractor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """A transformer that treats each image on its own.

    A subclass has the parameters `image_shape`, `channel_axis`, `chunk_mib` and, if it pays,
    `n_jobs`; it says in :meth:`_prepare` what it makes of an image shape and in :meth:`_extract`
    how a chunk of images becomes rows of features, or whatever else of one shape an image.
    """

    # Floating type that _extract wants its images in; None takes that of the batch.
    _working_dtype: type | None = None

    @abstractmethod
    def _prepare(self, height: int, width: int, n_channels: int) -> int | tuple[int, ...]:
        """Check the parameters against the image shape; return the shape of one image's result.

        An int is a number of features.
        """

    @abstractmethod
    def _extract(self, images: np.ndarray) -> np.ndarray:
        """Return the results, shape (m, *result shape), of images of shape (m, h, w, c)."""

    def _returns_rows(self) -> bool:
        """Tell whether an image's result is a row of features, as its parameters stand."""
        return True

    def _ensure_values(self, images: ImageBatch) -> None:
        """Raise ValueError if one of the images holds values that are no good."""
        images.ensure_finite()

    def _warn_of(self, images: ImageBatch) -> None:
        """Warn of images that are hardly what the user means."""

    def _bytes_per_image(self, images: ImageBatch) -> int:
        """Return the working memory that one image takes."""
        return 8 * (prod(images.shape[1:]) + self._n_features_out)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the shape of the images and check the parameters against it.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images.

        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        self : estimator
            The fitted extractor.

        Raises
        ------
        ValueError
            If `X` is no image batch or a parameter does not fit its images.
        """
        with as_it_was_if_it_fails(self):
            images = check_images(self, X, reset=True)
            self._warn_of(images)
            result = self._prepare(*images.shape[1:])
            self._result_shape = (result,) if isinstance(result, int) else tuple(result)
            self._n_features_out = prod(self._result_shape)
            self._ensure_values(images)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of every image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        features : ndarray of shape (n, n_features_out)
            float32 for float32, float16, uint8, uint16 and bool images, float64 for all others.

        Raises
        ------
        ValueError
            If the images are not of the shape seen in `fit`, or hold NaN or infinity.
        """
        check_is_fitted(self)
        images = check_images(self, X, reset=False)
        results = np.empty((len(images), *self._result_shape), dtype=images.dtype)

        self._fill_all(results, images)
        return results

    def _fill_all(self, results: np.ndarray, images: ImageBatch) -> None:
        """Write the results of all images, chunk by chunk."""
        self._in_chunks(images, lambda rows: self._fill(results[rows], images, rows))

    def _fill(self, results: np.ndarray, images: ImageBatch, rows: slice) -> None:
        """Write the results of the images `rows`; for subclasses that need no array between."""
        results[:] = self._extract(images.read(rows, self._working_dtype))

    def _in_chunks(self, images: ImageBatch, work: Callable[[slice], Any]) -> list[Any]:
        """Return what `work` makes of each chunk of rows, in order; `n_jobs` threads share them."""
        n_threads = effective_n_jobs(getattr(self, "n_jobs", None))
        per_image = self._bytes_per_image(images)
        each = per_image * len(images) / n_threads
        n_chunks = np.clip(each // _LEAST_CHUNK, 1, 1 if n_threads == 1 else _CHUNKS_PER_THREAD)
        chunk = each / n_chunks
        # Rounded up, so that nothing is left over; no more memory than was asked for.
        chunk_mib = min(self.chunk_mib, per_image * ceil(chunk / per_image) / 2**20)
        chunks = images.chunks(chunk_mib, per_image)
        return in_threads(n_threads, work, chunks)

    @available_if(lambda self: self._returns_rows())
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features: the estimator's name and a number.

        Parameters
        ----------
        input_features : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        names : ndarray of str
            One a feature.
        """
        return super().get_feature_names_out(input_features)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose the container of rows of features, for this estimator or a whole ``Pipeline``.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            "default" is an array, None leaves what was chosen before. Images and descriptors, which
            are no rows of features, stay what they are.

        Returns
        -------
        self : estimator
            The estimator.
        """
        return choose_output(self, transform)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
