"""Fisher vectors: how an image's descriptors would change a mixture of Gaussians."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.mixture import GaussianMixture

from skcnn._compat import Interval
from skcnn.features._encoder import DescriptorEncoder
from skcnn.features._vocabulary import count_distinct, warn_if_fewer

# Share of the mean variance that is added to all variances of the mixture.
_LEAST_VARIANCE = 1e-3


class FisherVectorEncoder(DescriptorEncoder):
    """Fisher vectors: the gradient of a Gaussian mixture's likelihood by its parameters.

    A mixture of Gaussians with diagonal covariances is learnt from a sample of the training images'
    descriptors. An image is described by how its descriptors would have weights, means and
    covariances of the mixture changed: the result of :func:`skimage.feature.fisher_vector`, for
    whole batches. A principal component analysis (PCA) comes first, because diagonal covariances
    suit values that are not correlated, and because fewer values make shorter vectors.

    Parameters
    ----------
    n_modes : int, default=64
        Number of Gaussians. Where there are fewer different descriptors to learn from, there are as
        many as those, and a warning.

    pca_components : int or None, default=64
        Descriptors are reduced to so many principal components first, not whitened; to all where
        they have fewer values. None leaves them as they are.

    improved : bool, default=True
        Take of each value the root, its sign kept, and bring each cell of the pyramid to length 1,
        then the whole row [2]_.

    spatial_pyramid : sequence of int or (int, int), default=(1,)
        Grids over the image, each with its rows and columns of cells (an int is a square grid);
        each cell has a Fisher vector of its own. ``(1, 2)`` pools over the whole image and its
        quarters, ``(1, (3, 1))`` over the whole and three strips. All but ``(1,)`` needs `X` to
        tell where descriptors lie. Of those on a grid the grid is cut, as if it had no margin.

    max_descriptors : int, default=100000
        PCA and mixture are learnt from so many descriptors at most, drawn at random from those of
        all images alike.

    max_iter : int, default=100
        Number of iterations at most in which the mixture is learnt.

    ignore_zeros : bool, default=True
        Leave out descriptors that are all zero, as those of flat patches are: they are neither
        learnt from nor encoded.

    random_state : int, RandomState instance or None, default=None
        Seed of the sample and of the mixture's start.

    chunk_mib : float, default=8
        Working memory in MiB of the chunk of sets that each thread treats at a time.

    n_jobs : int or None, default=None
        Number of threads; None is 1 and -1 all processors.

    Attributes
    ----------
    weights_ : ndarray of shape (n_modes,)
        Weights of the Gaussians.

    means_ : ndarray of shape (n_modes, n_components)
        Their means, in principal components.

    covariances_ : ndarray of shape (n_modes, n_components)
        Their variances. A thousandth of the mean variance of all descriptors has been added to
        each, so that none is zero.

    pca_mean_ : ndarray of shape (n_values,) or None
        What is taken off descriptors before they are projected; None without PCA.

    pca_components_ : ndarray of shape (n_components, n_values) or None
        The principal components; None without PCA.

    n_iter_ : int
        Number of iterations in which the mixture was learnt.

    n_parameters_ : int
        Number of values that were learnt: those of mixture and PCA.

    n_features_in_ : int
        Number of values of a descriptor.

    feature_names_in_ : ndarray of str
        Names of the columns, if `fit` was given a data frame.

    Raises
    ------
    ValueError
        If there are fewer than two descriptors to learn from, or a spatial pyramid has no
        positions to go by.

    See Also
    --------
    VLADEncoder : Hard assignment and means only: half as long.
    BagOfVisualWords : How many descriptors each word has, no more.

    References
    ----------
    .. [1] F. Perronnin and C. Dance, "Fisher Kernels on Visual Vocabularies for Image
       Categorization", CVPR 2007. :doi:`10.1109/CVPR.2007.383266`
    .. [2] F. Perronnin, J. Sánchez and T. Mensink, "Improving the Fisher Kernel for Large-Scale
       Image Classification", ECCV 2010. :doi:`10.1007/978-3-642-15561-1_11`

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import FisherVectorEncoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(20, 6, 6, 8))  # 20 images, descriptors of 8 values on a 6 x 6 grid
    >>> encoder = FisherVectorEncoder(n_modes=5, pca_components=4, random_state=0)
    >>> encoder.fit_transform(X).shape  # 5 weights, 5 x 4 means, 5 x 4 variances
    (20, 45)
    """

    _parameter_constraints: dict = {
        "n_modes": [Interval(Integral, 1, None, closed="left")],
        "pca_components": [Interval(Integral, 1, None, closed="left"), None],
        "improved": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        **DescriptorEncoder._parameter_constraints,
    }

    def __init__(
        self,
        n_modes: int = 64,
        *,
        pca_components: int | None = 64,
        improved: bool = True,
        spatial_pyramid: Any = (1,),
        max_descriptors: int = 100_000,
        max_iter: int = 100,
        ignore_zeros: bool = True,
        random_state: int | np.random.RandomState | None = None,
        chunk_mib: float = 8,
        n_jobs: int | None = None,
    ) -> None:
        self.n_modes = n_modes
        self.pca_components = pca_components
        self.improved = improved
        self.spatial_pyramid = spatial_pyramid
        self.max_descriptors = max_descriptors
        self.max_iter = max_iter
        self.ignore_zeros = ignore_zeros
        self.random_state = random_state
        self.chunk_mib = chunk_mib
        self.n_jobs = n_jobs

    def _learn(self, descriptors: np.ndarray, rng: np.random.RandomState) -> None:
        if len(descriptors) < 2:
            raise ValueError(
                "A mixture of Gaussians is learnt from two or more descriptors; X has 1 sample to "
                "learn from, a single descriptor that counts, with "
                f"max_descriptors={self.max_descriptors}."
            )
        n_modes = count_distinct(descriptors, self.n_modes)
        warn_if_fewer("n_modes", self.n_modes, n_modes, stacklevel=5)
        points = self._learn_pca(descriptors)
        # What rounding leaves of equal descriptors is no variance.
        scale = np.sqrt(points.var(axis=0).mean())
        scale = scale if scale > 1e-7 * np.abs(descriptors).max() else 1.0
        self._learn_mixture(points, scale, n_modes, rng.randint(2**31))
        self.n_parameters_ += self.weights_.size + 2 * self.means_.size
        self._improved = self.improved

    def _learn_mixture(self, points: np.ndarray, scale: float, n_modes: int, seed: int) -> None:
        # Around 0 and of variance 1 float32 is enough, and takes less than half the time.
        mean = points.mean(axis=0)
        mixture = GaussianMixture(
            n_modes,
            covariance_type="diag",
            reg_covar=_LEAST_VARIANCE,
            max_iter=self.max_iter,
            random_state=seed,
        )
        # NumPy goes in: without it scikit-learn would refuse to start from k-means.
        with config_context(array_api_dispatch=False):
            mixture.fit(((points - mean) / scale).astype(np.float32))
        self.n_iter_ = mixture.n_iter_
        weights = mixture.weights_.astype(np.float64)
        self.weights_ = weights / weights.sum()
        self.means_ = mixture.means_ * scale + mean
        self.covariances_ = mixture.covariances_ * scale**2

    def _learn_pca(self, descriptors: np.ndarray) -> np.ndarray:
        """Learn the PCA, if there is to be one, and return what becomes of the descriptors."""
        if self.pca_components is None:
            self.pca_mean_ = self.pca_components_ = None
            self.n_parameters_ = 0
            return descriptors
        self.pca_mean_ = descriptors.mean(axis=0)
        centred = descriptors - self.pca_mean_
        # Not scikit-learn's PCA, which divides by the variance, that of equal descriptors too.
        _, vectors = np.linalg.eigh(centred.T @ centred)  # by ascending variance
        components = vectors.T[::-1][: min(self.pca_components, *descriptors.shape)]
        largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, np.newaxis], 1)
        self.pca_components_ = components * np.sign(largest)
        self.n_parameters_ = self.pca_mean_.size + self.pca_components_.size
        return centred @ self.pca_components_.T

    def _coder(self, dtype: np.dtype) -> _Gradients:
        if self.pca_components_ is not None:
            projection, shift = self.pca_components_, self.pca_components_ @ self.pca_mean_
        else:
            projection, shift = None, self.weights_ @ self.means_
        return _Gradients(self, projection, shift, dtype)


class _Gradients:
    """Sums of the gradients of the mixture's likelihood."""

    def __init__(
        self,
        fitted: FisherVectorEncoder,
        projection: np.ndarray | None,
        shift: np.ndarray,
        dtype: np.dtype,
    ) -> None:
        weights, covariances = fitted.weights_, fitted.covariances_
        means = fitted.means_ if projection is not None else fitted.means_ - shift
        self.fitted, self.improved = fitted, fitted._improved
        n_modes, self.n_values = means.shape
        self.n_sums = n_modes * (1 + 2 * self.n_values)
        self.n_working = n_modes + 2 * self.n_values
        self.projection = None if projection is None else projection.T.astype(dtype, order="C")
        self.shift = shift.astype(dtype)
        self.scales = (1 / np.sqrt(covariances)).astype(dtype)
        self.scaled_means = (means / np.sqrt(covariances)).astype(dtype)
        # The logarithm of weight times density is [x, x^2] @ factors + offsets.
        constants = np.log(weights) - 0.5 * np.log(covariances).sum(axis=1)
        self.log_constants = constants.astype(dtype)
        self.offsets = (constants - 0.5 * (means**2 / covariances).sum(axis=1)).astype(dtype)
        factors = np.vstack([(means / covariances).T, (-0.5 / covariances).T])
        with np.errstate(over="ignore"):  # of tiny descriptors, whose log densities tell nothing
            self.factors = factors.astype(dtype, order="C")
        # Posteriors below the last digit of 1 are left out.
        self.cutoff = dtype.type(-np.log(np.finfo(dtype).eps))
        roots = np.sqrt(weights)
        self.expected = roots.astype(dtype)
        self.normalizers = np.concatenate(
            [
                1 / roots,
                np.repeat(1 / roots, self.n_values),
                np.repeat(-1 / (2**0.5 * roots), self.n_values),
            ]
        ).astype(dtype)

    def nearest(self, descriptors: np.ndarray) -> np.ndarray:
        log_joint = self._points(descriptors) @ self.factors
        log_joint += self.offsets
        modes = log_joint.argmax(axis=1)  # the first NaN, if there is one
        unknown = ~np.isfinite(log_joint[np.arange(len(modes)), modes])
        if unknown.any():  # beyond the largest number, as descriptors or mixture may be in float32
            modes[unknown] = self._nearest_in_double(descriptors[unknown])
        return modes

    def _nearest_in_double(self, descriptors: np.ndarray) -> np.ndarray:
        if descriptors.dtype == np.float64:
            raise ValueError(
                "X holds descriptors that are too large: their densities are beyond what float64 "
                "can hold. Divide X by its largest value, in fit and transform alike."
            )
        return self.fitted._coder(np.dtype(np.float64)).nearest(descriptors.astype(np.float64))

    def add(self, descriptors: np.ndarray, targets: np.ndarray, sums: np.ndarray) -> None:
        from skcnn.features._encoder_kernels import add_fisher_sums

        points = self._points(descriptors)
        add_fisher_sums(
            points,
            points @ self.factors,
            self.offsets,
            self.scaled_means,
            self.scales,
            self.log_constants,
            self.cutoff,
            targets,
            sums,
        )

    def finish(self, sums: np.ndarray, counts: np.ndarray) -> None:
        from skcnn.features._encoder_kernels import finish_fisher_vectors

        finish_fisher_vectors(sums, counts, self.normalizers, self.expected, self.improved)

    def _points(self, descriptors: np.ndarray) -> np.ndarray:
        """Return the descriptors as the mixture sees them, and next to them their squares."""
        from skcnn.features._encoder_kernels import append_squares

        if self.projection is not None:
            descriptors = descriptors @ self.projection
        return append_squares(descriptors, self.shift)
