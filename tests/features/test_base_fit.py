"""A fit that fails leaves an extractor as it was."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skcnn import HOGExtractor

X = np.random.default_rng(0).uniform(size=(3, 16, 16))


def spoilt(images):
    images = images.copy()
    images[1, 2, 3] = np.nan
    return images


def test_the_first_fit():
    extractor = HOGExtractor()
    with pytest.raises(ValueError, match="NaN"):
        extractor.fit(spoilt(X))
    with pytest.raises(NotFittedError):
        check_is_fitted(extractor)


def test_a_later_fit():
    extractor = HOGExtractor(pixels_per_cell=(4, 4)).fit(X)
    expected = extractor.transform(X)
    with pytest.raises(ValueError, match="NaN"):
        extractor.set_params(orientations=5).fit(spoilt(np.repeat(X, 2, axis=1)))
    assert extractor.orientations == 5
    assert extractor.image_shape_ == (16, 16)
    np.testing.assert_array_equal(extractor.transform(X), expected)
