"""What an estimator learns from its X, and what it refuses afterwards."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from skcnn.images import ImageBatch, ImageFiles, check_images
from tests.images.containers import SliceOnly


class Plain(BaseEstimator):
    pass


class Shaped(BaseEstimator):
    def __init__(self, image_shape=None, channel_axis=-1):
        self.image_shape = image_shape
        self.channel_axis = channel_axis


@pytest.mark.parametrize(
    ("shape", "parameters", "image_shape", "n_features"),
    [
        ((3, 28, 28), {}, (28, 28), 784),
        ((3, 8, 6, 3), {}, (8, 6, 3), 144),
        ((3, 3, 8, 6), {"channel_axis": 1}, (8, 6, 3), 144),
        ((3, 8, 6, 1), {}, (8, 6), 48),
        ((3, 64), {}, (8, 8), 64),
        ((3, 10), {}, (1, 10), 10),
        ((3, 10), {"image_shape": (2, 5)}, (2, 5), 10),
        ((3, 144), {"image_shape": (3, 8, 6), "channel_axis": 1}, (8, 6, 3), 144),
    ],
)
def test_fit_learns_shape_and_number_of_features(shape, parameters, image_shape, n_features):
    estimator = Shaped(**parameters)
    batch = check_images(estimator, np.zeros(shape), reset=True)
    assert isinstance(batch, ImageBatch)
    assert batch.image_shape == estimator.image_shape_ == image_shape
    assert estimator.n_features_in_ == n_features
    assert check_images(estimator, np.zeros((5, *shape[1:])), reset=False).shape[0] == 5


def test_another_image_shape_is_refused_with_both_named():
    estimator = Plain()
    check_images(estimator, np.zeros((3, 28, 28)), reset=True)
    for X, seen in [
        (np.zeros((3, 32, 32)), "(32, 32)"),
        (np.zeros((3, 28, 28, 3)), "(28, 28, 3)"),
        (np.zeros((3, 14, 56)), "(14, 56)"),
        (np.zeros((3, 100)), "(10, 10)"),
    ]:
        with pytest.raises(ValueError, match="Plain was fitted on") as caught:
            check_images(estimator, X, reset=False)
        assert seen in str(caught.value)
        assert "(28, 28)" in str(caught.value)
    assert estimator.image_shape_ == (28, 28)


def test_refusal_speaks_scikit_learns_words_too():
    estimator = Plain()
    check_images(estimator, np.zeros((3, 5)), reset=True)
    with pytest.raises(
        ValueError, match="X has 4 features, but Plain is expecting 5 features as input"
    ):
        check_images(estimator, np.zeros((3, 4)), reset=False)


@pytest.mark.parametrize("as_list", [False, True])
def test_flat_rows_take_the_grey_shape_seen_in_fit(as_list):
    estimator = Plain()
    X = np.arange(3 * 4 * 16.0).reshape(3, 4, 16)
    check_images(estimator, X, reset=True)
    flat = X.reshape(3, 64)
    batch = check_images(estimator, flat.tolist() if as_list else flat, reset=False)
    np.testing.assert_array_equal(batch.read(slice(None))[..., 0], X)


@pytest.mark.parametrize("channel_axis", [-1, 3, 2, 1, -2, -3])
def test_flat_rows_take_the_colour_shape_seen_in_fit(channel_axis):
    estimator = Shaped(channel_axis=channel_axis)
    X = np.arange(2 * 4 * 5 * 3.0).reshape(2, 4, 5, 3)
    stored = np.moveaxis(X, -1, channel_axis)
    check_images(estimator, stored, reset=True)
    batch = check_images(estimator, stored.reshape(2, -1), reset=False)
    np.testing.assert_array_equal(batch.read(slice(None)), X)


def test_refit_forgets_the_old_shape():
    estimator = Plain()
    check_images(estimator, np.zeros((3, 8, 8)), reset=True)
    check_images(estimator, np.zeros((3, 6, 6, 3)), reset=True)
    assert estimator.image_shape_ == (6, 6, 3)
    assert estimator.n_features_in_ == 108


def test_columns_of_a_data_frame_are_remembered():
    estimator = Plain()
    frame = pd.DataFrame(np.zeros((3, 4)), columns=list("abcd"))
    check_images(estimator, frame, reset=True)
    assert estimator.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        check_images(estimator, frame[list("dcba")], reset=False)


def test_nothing_is_read():
    source = SliceOnly(np.zeros((50, 4, 4)))
    estimator = Plain()
    check_images(estimator, source, reset=True)
    check_images(estimator, source, reset=False)
    assert source.reads == []


def test_files_are_checked_without_being_decoded(tmp_path):
    estimator = Plain()
    files = ImageFiles([tmp_path / "never_written.png"] * 4, size=(6, 7))
    check_images(estimator, files, reset=True)
    assert estimator.image_shape_ == (6, 7, 3)
    with pytest.raises(ValueError, match=r"\(9, 7, 3\).*\(6, 7, 3\)"):
        check_images(estimator, ImageFiles(files.paths, size=(9, 7)), reset=False)
