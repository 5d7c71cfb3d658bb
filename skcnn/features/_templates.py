"""Template matching: the simplest classifier that looks at images as images."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skcnn._compat import Interval, fit_context
from skcnn._labels import encode_labels
from skcnn.images import ImageBatch, check_images


class TemplateMatcher(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Compare every image with templates of each class by normalised cross-correlation.

    The template of a class is its mean image; with more templates a class, they are the centres of
    its clusters. As a classifier it picks the class of the template that correlates best; as a
    transformer it returns the correlations. They lie in [-1, 1] and do not change with an image's
    brightness or contrast, so a constant image correlates 0 with everything.

    Parameters
    ----------
    n_templates : int, default=1
        Number of templates a class. More than one are found by k-means, on at most as many of the
        class's images, drawn at random, as fit into `chunk_mib`. A class of fewer images has one
        template an image.

    random_state : int, RandomState instance or None, default=None
        Seed of k-means. One template a class needs none.

    image_shape : tuple of int or None, default=None
        Shape of one image when the rows of `X` are flat.

    channel_axis : int or None, default=-1
        Axis of a 4-D `X` that holds the channels.

    chunk_mib : float, default=64
        Working memory in MiB of the chunk of images that is treated at a time.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.

    templates_ : ndarray of shape (n_all_templates, h, w) or (n_all_templates, h, w, c), float64
        The templates, those of the first class first.

    template_classes_ : ndarray of shape (n_all_templates,), int
        The class of each template, an index of `classes_`.

    n_parameters_ : int
        Number of values that were learnt: those of the templates.

    image_shape_ : tuple of int
        Shape of the images seen in `fit`, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If `X` is no image batch or `y` does not hold one label of two or more classes an image.

    References
    ----------
    .. [1] J. P. Lewis, "Fast Normalized Cross-Correlation", Vision Interface 1995.

    Examples
    --------
    >>> from skcnn import TemplateMatcher, load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> matcher = TemplateMatcher().fit(X[:1000], y[:1000])
    >>> matcher.templates_.shape
    (10, 8, 8)
    >>> matcher.score(X[1000:], y[1000:]) > 0.8
    True
    """

    _parameter_constraints: dict = {
        "n_templates": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_templates: int = 1,
        *,
        random_state: int | np.random.RandomState | None = None,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
        chunk_mib: float = 64,
    ) -> None:
        self.n_templates = n_templates
        self.random_state = random_state
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.chunk_mib = chunk_mib

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> Self:
        """Learn the templates of each class.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images.

        y : array-like of shape (n,)
            Their classes.

        Returns
        -------
        self : TemplateMatcher
            The fitted estimator.
        """
        images = check_images(self, X, reset=True)
        self.classes_, codes = encode_labels(self, y, len(images))
        if self.n_templates == 1:
            templates = self._class_means(images, codes)
            self.template_classes_ = np.arange(len(self.classes_))
        else:
            images.ensure_finite()
            centres = self._cluster_centres(images, codes)
            templates = np.concatenate(centres)
            self.template_classes_ = np.repeat(np.arange(len(centres)), [len(c) for c in centres])
        self.templates_ = templates.reshape(-1, *self.image_shape_)
        self.n_parameters_ = self.templates_.size
        self._n_features_out = len(self.templates_)
        return self

    def _bytes_per_image(self) -> int:
        # float64 images, centred and scaled, or k-means' copies of them.
        return 4 * 8 * self.n_features_in_

    def _chunks(self, images: ImageBatch) -> Iterator[slice]:
        return images.chunks(self.chunk_mib, self._bytes_per_image())

    def _class_means(self, images: ImageBatch, codes: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(self.classes_), self.n_features_in_))
        for rows in self._chunks(images):
            members = np.eye(len(self.classes_))[codes[rows]]
            sums += members.T @ _read_flat(images, rows)
        return sums / np.bincount(codes)[:, np.newaxis]

    def _cluster_centres(self, images: ImageBatch, codes: np.ndarray) -> list[np.ndarray]:
        rng = check_random_state(self.random_state)
        at_most = max(self.n_templates, int(self.chunk_mib * 2**20 / self._bytes_per_image()))
        centres = []
        for code in range(len(self.classes_)):
            members = np.flatnonzero(codes == code)
            if len(members) > at_most:
                members = np.sort(rng.choice(members, at_most, replace=False))
            flat = images.take(members, np.float64).reshape(len(members), -1)
            n_clusters = min(self.n_templates, len(np.unique(flat, axis=0)))
            k_means = KMeans(n_clusters, n_init=1, random_state=rng.randint(2**31))
            centres.append(k_means.fit(flat).cluster_centers_)
        return centres

    def transform(self, X: Any) -> np.ndarray:
        """Return the correlation of every image with every template.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        correlations : ndarray of shape (n, n_all_templates)
            Normalised cross-correlations, in [-1, 1]; float32 for float32, float16, uint8, uint16
            and bool images, float64 for all others.
        """
        # Not called by predict: set_output would hand it a data frame.
        return self._correlations(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the best correlation of every class, or with two classes the difference.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        scores : ndarray of shape (n, n_classes), or (n,) for two classes
            With two classes: the correlation with the second minus that with the first.
        """
        best = self._best_per_class(X)
        return best[:, 1] - best[:, 0] if len(self.classes_) == 2 else best

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of the template that correlates best with each image.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        Returns
        -------
        labels : ndarray of shape (n,)
            Labels of `classes_`.
        """
        best = self._best_per_class(X)
        return self.classes_[best.argmax(axis=1)]

    def _correlations(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        images = check_images(self, X, reset=False)
        templates = _unit_rows(self.templates_.reshape(len(self.templates_), -1))
        correlations = np.empty((len(images), len(templates)), dtype=images.dtype)
        for rows in self._chunks(images):
            correlations[rows] = _unit_rows(_read_flat(images, rows)) @ templates.T
        return correlations

    def _best_per_class(self, X: Any) -> np.ndarray:
        correlations = self._correlations(X)
        first_of_class = np.searchsorted(self.template_classes_, np.arange(len(self.classes_)))
        return np.maximum.reduceat(correlations, first_of_class, axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        # Two features are an image of two pixels, of which a correlation sees the sign of the
        # difference only: not enough for the three blobs that scikit-learn's check draws.
        tags.classifier_tags.poor_score = True
        return tags


def _read_flat(images: ImageBatch, rows: slice) -> np.ndarray:
    return images.read(rows, np.float64).reshape(rows.stop - rows.start, -1)


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    """Take the mean off each row and bring it to length 1; constant rows become zero."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    rounding = np.finfo(np.float64).eps * np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 4 * rounding)
