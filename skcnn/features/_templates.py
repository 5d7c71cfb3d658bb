"""Template matching: the simplest classifier that looks at images as images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skcnn._compat import Interval, fit_context
from skcnn._labels import encode_labels
from skcnn.features._patches import checked_patches, classes_of_patches
from skcnn.features._refit import as_it_was_if_it_fails
from skcnn.features._sliding import best_matches, bytes_per_image
from skcnn.images import ImageBatch, check_images


def _tells_classes(matcher: TemplateMatcher) -> bool:
    if matcher.templates is None or matcher.template_labels is not None:
        return True
    raise AttributeError(
        "This TemplateMatcher knows no classes, because its templates came without labels. Give "
        "template_labels, one a template, or use it as a transformer before a classifier."
    )


class TemplateMatcher(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Compare every image with templates by normalised cross-correlation.

    The template of a class is its mean image; with more templates a class, they are the centres of
    its clusters. Or the templates are patches that the user gives: the picture of a beak, say. Each
    slides over the image, and where it correlates best counts.

    As a classifier it picks the class of the template that correlates best; as a transformer it
    returns the correlations. They lie in [-1, 1] and do not change with an image's brightness or
    contrast, so a constant image correlates 0 with everything.

    Parameters
    ----------
    n_templates : int, default=1
        Number of templates a class, unless `templates` are given. More than one are found by
        k-means, on at most as many of the class's images, drawn at random, as fit into `chunk_mib`.
        A class of fewer images has one template an image.

    templates : list or array of patches, or None, default=None
        Patches to find, each of shape (ph, pw) or, for colour images, with the channels where
        `channel_axis` says that the images have them. They may be of different sizes, but not
        larger than the images, and not constant.

    template_labels : array-like of shape (n_templates,) or None, default=None
        The class of each of `templates`. Several templates may stand for one class, and every class
        needs at least one. With None the matcher is a transformer and no classifier.

    return_positions : bool, default=False
        Let ``transform`` also return where in the image each template correlates best.

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

        Not there with `templates` that have no labels.

    templates_ : ndarray of shape (n_all_templates, h, w) or (n_all_templates, h, w, c), float64
        The templates, those of the first class first. With `templates`, which may be of different
        sizes, a tuple of them.

    template_classes_ : ndarray of shape (n_all_templates,), int
        The class of each template, an index of `classes_`. Not there without them.

    n_parameters_ : int
        Number of values of all templates.

    image_shape_ : tuple of int
        Shape of the images seen in `fit`, (h, w) or (h, w, c).

    n_features_in_ : int
        Number of values of an image.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If `X` is no image batch, `y` does not hold one label of two or more classes an image, or
        `templates` are no patches of the images.

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

    A detector of beaks: how well the patch matches at its best place, and where that is.

    >>> import numpy as np
    >>> beak = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 0]])
    >>> bird = np.zeros((8, 10))
    >>> bird[4:7, 2:5] = beak
    >>> detector = TemplateMatcher(templates=[beak], return_positions=True)
    >>> detector.fit_transform([bird]).round(3)
    array([[1., 4., 2.]])
    >>> detector.get_feature_names_out().tolist()
    ['templatematcher0', 'templatematcher0_row', 'templatematcher0_column']

    With a label for each patch it tells classes apart:

    >>> fin = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]])
    >>> fish = np.zeros((8, 10))
    >>> fish[1:4, 6:9] = fin
    >>> matcher = TemplateMatcher(templates=[beak, fin], template_labels=["bird", "fish"])
    >>> matcher.fit([bird, fish], ["bird", "fish"]).predict([fish, bird])
    array(['fish', 'bird'], dtype='<U4')
    """

    templates_: np.ndarray | tuple[np.ndarray, ...]

    _parameter_constraints: dict = {
        "n_templates": [Interval(Integral, 1, None, closed="left")],
        "templates": ["array-like", None],
        "template_labels": ["array-like", None],
        "return_positions": ["boolean"],
        "random_state": ["random_state"],
        "image_shape": ["array-like", None],
        "channel_axis": [Integral, None],
        "chunk_mib": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_templates: int = 1,
        *,
        templates: Sequence[Any] | np.ndarray | None = None,
        template_labels: Sequence[Any] | np.ndarray | None = None,
        return_positions: bool = False,
        random_state: int | np.random.RandomState | None = None,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: int | None = -1,
        chunk_mib: float = 64,
    ) -> None:
        self.n_templates = n_templates
        self.templates = templates
        self.template_labels = template_labels
        self.return_positions = return_positions
        self.random_state = random_state
        self.image_shape = image_shape
        self.channel_axis = channel_axis
        self.chunk_mib = chunk_mib

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the templates of each class, or take those that were given.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images.

        y : array-like of shape (n,) or None, default=None
            Their classes. Needed to learn templates; with `templates` and `template_labels` None
            takes the classes of the labels, and with `templates` alone it is not looked at.

        Returns
        -------
        self : TemplateMatcher
            The fitted estimator.
        """
        if self.templates is None and self.template_labels is not None:
            raise ValueError("template_labels are the classes of templates, which is None.")
        with as_it_was_if_it_fails(self):
            images = check_images(self, X, reset=True)
            if self.templates is None:
                self._learn_templates(images, y)
            else:
                images.ensure_finite()
                self._take_templates(self.templates, images, y)
            self.n_parameters_ = sum(template.size for template in self.templates_)
            self._n_features_out = len(self.templates_)
            self._positions_too = self.return_positions
        return self

    def _learn_templates(self, images: ImageBatch, y: Any) -> None:
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

    def _take_templates(self, templates: Iterable[Any], images: ImageBatch, y: Any) -> None:
        patches = checked_patches(templates, images.shape[1:], self.channel_axis)
        if self.template_labels is None:
            for of_an_earlier_fit in {"classes_", "template_classes_"} & vars(self).keys():
                delattr(self, of_an_earlier_fit)
        else:
            self.classes_, self.template_classes_ = classes_of_patches(
                self, self.template_labels, len(patches), y, len(images)
            )
        grey = images.shape[3] == 1
        self.templates_ = tuple(patch[..., 0] if grey else patch for patch in patches)

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
        correlations : ndarray of shape (n, n_all_templates) or (n, 3 * n_all_templates)
            Normalised cross-correlations, in [-1, 1]; float32 for float32, float16, uint8, uint16
            and bool images, float64 for all others. Of patches that slide, the best one in the
            image. With `return_positions`, two columns a template follow: row and column of the
            upper left pixel of the window that correlates best, of several the first one. A
            template as large as the image has one place only, (0, 0).
        """
        correlations, positions = self._match(X)
        if not self._positions_too:
            return correlations
        return np.hstack([correlations, positions.reshape(len(positions), -1)])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features: the estimator's name and the number of the template.

        Parameters
        ----------
        input_features : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        names : ndarray of str
            One a feature. Those of positions end with "_row" and "_column".
        """
        names = super().get_feature_names_out(input_features)
        if not self._positions_too:
            return names
        places = [f"{name}_{axis}" for name in names for axis in ("row", "column")]
        return np.array([*names, *places], dtype=object)

    @available_if(_tells_classes)
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

    @available_if(_tells_classes)
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

    @available_if(_tells_classes)
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of :meth:`predict`.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, n_values)
            The images, of the shape seen in `fit`.

        y : array-like of shape (n,)
            Their classes.

        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the images.

        Returns
        -------
        score : float
            The share of images, or of their weights, that get their class.
        """
        return super().score(X, y, sample_weight)

    def _match(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the correlations (n, k) and the positions (n, k, 2) of all templates."""
        check_is_fitted(self)
        images = check_images(self, X, reset=False)
        shape = len(images), len(self.templates_)
        correlations = np.empty(shape, dtype=images.dtype)
        positions = np.zeros((*shape, 2), dtype=images.dtype)
        if isinstance(self.templates_, tuple):
            patches = [patch.reshape(*patch.shape[:2], -1) for patch in self.templates_]
            n_sizes = len({patch.shape for patch in patches})
            for rows in images.chunks(self.chunk_mib, bytes_per_image(images.shape[1:], n_sizes)):
                chunk = images.read(rows, np.float64)
                correlations[rows], positions[rows] = best_matches(chunk, patches)
        else:
            templates = _unit_rows(self.templates_.reshape(len(self.templates_), -1))
            for rows in self._chunks(images):
                correlations[rows] = _unit_rows(_read_flat(images, rows)) @ templates.T
        return correlations, positions

    def _best_per_class(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        if not hasattr(self, "classes_"):
            raise ValueError(
                "This TemplateMatcher was fitted to templates without labels. Fit it again with "
                "template_labels, one a template."
            )
        correlations, _ = self._match(X)
        by_class = np.argsort(self.template_classes_, kind="stable")
        first_of_class = np.searchsorted(
            self.template_classes_[by_class], np.arange(len(self.classes_))
        )
        return np.maximum.reduceat(correlations[:, by_class], first_of_class, axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.target_tags.required = self.templates is None
        if not hasattr(self, "predict"):
            tags.estimator_type, tags.classifier_tags = "transformer", None
            return tags
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
