"""scikit-learn's digits, as the images that they are."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch


def load_digit_images(*, return_X_y: bool = False) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load scikit-learn's 1797 handwritten digits as images of 8 x 8 pixels in [0, 1].

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (1797, 8, 8), float64
            The images, 0 for paper and 1 for ink.
        target : ndarray of shape (1797,), int
            The digits.
        target_names : ndarray of shape (10,), int
            0 to 9.

    References
    ----------
    .. [1] E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
       Learning Repository, 1998. :doi:`10.24432/C50P49`

    Examples
    --------
    >>> from skcnn import load_digit_images
    >>> X, y = load_digit_images(return_X_y=True)
    >>> X.shape, X.max()
    ((1797, 8, 8), np.float64(1.0))
    """
    digits = load_digits()
    images = digits.images / 16
    if return_X_y:
        return images, digits.target
    return Bunch(images=images, target=digits.target, target_names=digits.target_names)
