import numpy as np
from sklearn.datasets import load_digits

from skcnn import load_digit_images


def test_digits_are_scikit_learns_as_images_in_the_unit_interval():
    data, peer = load_digit_images(), load_digits()
    assert data.images.shape == (1797, 8, 8)
    assert (data.images.min(), data.images.max()) == (0, 1)
    np.testing.assert_array_equal(data.images * 16, peer.images)
    np.testing.assert_array_equal(data.images.reshape(1797, 64) * 16, peer.data)
    np.testing.assert_array_equal(data.target, peer.target)
    np.testing.assert_array_equal(data.target_names, peer.target_names)


def test_return_X_y_gives_the_same_images_and_labels():  # noqa: N802
    data = load_digit_images()
    X, y = load_digit_images(return_X_y=True)
    np.testing.assert_array_equal(X, data.images)
    np.testing.assert_array_equal(y, data.target)
