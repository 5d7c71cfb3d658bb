"""A fit that fails leaves an estimator as it was."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skcnn import (
    BagOfVisualWords,
    ConvolutionFilter,
    FisherVectorEncoder,
    FourierExtractor,
    HOGExtractor,
    SIFTExtractor,
    TemplateMatcher,
    VLADEncoder,
)
from skcnn.features._set_batch import SetBatch
from skcnn.images import ImageBatch

X = np.random.default_rng(0).uniform(size=(6, 16, 16))
Y = [0, 1, 2, 0, 1, 2]
DESCRIPTORS = X.reshape(6, 4, 8, 8)


def spoilt(images):
    images = images.copy()
    images[1, 2, 3] = np.nan
    return images


def negative(images):
    return np.repeat(images, 2, axis=1) - 0.5


def others(images):
    return np.repeat(spoilt(images), 2, axis=-1)


def interrupt(*arguments):
    raise KeyboardInterrupt


# An estimator, what it is fitted on first, what is then set, and what it cannot be fitted on.
REFITS = [
    (HOGExtractor(pixels_per_cell=(4, 4)), X, {"orientations": 5}, others(X)),
    (HOGExtractor(), X, {"transform_sqrt": True}, negative(X)),
    (ConvolutionFilter("box"), X, {"kernel": "sobel", "flatten": True}, others(X)),
    (SIFTExtractor(), X, {"bin_size": 2, "root_sift": True}, others(X)),
    (FourierExtractor(), X, {"layout": "polar"}, others(X)),
    (TemplateMatcher(), X, {"n_templates": 2}, others(X)),
    (TemplateMatcher(), X, {"return_positions": True}, others(X)),
    (TemplateMatcher(), X, {"templates": [X[0, :3, :3]], "template_labels": [5]}, X[:, :9]),
    *(
        (encoder, DESCRIPTORS, parameters, wrong)
        for encoder in (
            BagOfVisualWords(3, random_state=0),
            VLADEncoder(3, random_state=0),
            FisherVectorEncoder(3, random_state=0),
        )
        for parameters, wrong in [
            ({"spatial_pyramid": (1, 2)}, spoilt(DESCRIPTORS)),
            ({"ignore_zeros": False}, others(DESCRIPTORS)),
            ({"spatial_pyramid": (1, 2)}, DESCRIPTORS.reshape(6, 32, 8)),
        ]
    ),
]


@pytest.mark.parametrize(("estimator", "fitted_on", "parameters", "wrong"), REFITS)
def test_the_first_fit(estimator, fitted_on, parameters, wrong):
    estimator = clone(estimator).set_params(**parameters)
    with pytest.raises(ValueError, match=r"NaN|negative|spatial_pyramid|template_labels"):
        estimator.fit(wrong, Y)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


@pytest.mark.parametrize(("estimator", "fitted_on", "parameters", "wrong"), REFITS)
def test_a_later_fit(estimator, fitted_on, parameters, wrong):
    estimator = clone(estimator).fit(fitted_on, Y)
    expected = estimator.transform(fitted_on)
    with pytest.raises(ValueError, match=r"NaN|negative|spatial_pyramid|template_labels"):
        estimator.set_params(**parameters).fit(wrong, Y)
    for name, value in parameters.items():
        assert getattr(estimator, name) is value
    np.testing.assert_array_equal(estimator.transform(fitted_on), expected)


@pytest.mark.parametrize(("estimator", "fitted_on", "parameters", "wrong"), REFITS)
def test_a_fit_that_is_interrupted(estimator, fitted_on, parameters, wrong, monkeypatch):
    estimator = clone(estimator).fit(fitted_on, Y)
    expected = estimator.transform(fitted_on)
    estimator.set_params(**parameters)
    with monkeypatch.context() as patch:
        patch.setattr(ImageBatch, "ensure_finite", interrupt)
        patch.setattr(ImageBatch, "read", interrupt)
        patch.setattr(SetBatch, "take", interrupt)
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(np.repeat(fitted_on, 2, axis=1), Y)
    np.testing.assert_array_equal(estimator.transform(fitted_on), expected)
