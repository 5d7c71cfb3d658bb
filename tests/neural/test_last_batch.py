"""The images that are left for an epoch's last batch."""

import numpy as np
import pytest
from skorch.callbacks import Callback
from torch import nn

from skcnn import CNNClassifier, MLPClassifier, load_digit_images

pytestmark = pytest.mark.filterwarnings("ignore:.*Maximum iterations:UserWarning")


class Sizes(Callback):
    """Collects the sizes of training batches."""

    def initialize(self):
        self.seen_ = []
        return self

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if training:
            self.seen_.append(len(batch[1]))


@pytest.fixture(scope="module")
def digits():
    return load_digit_images(return_X_y=True)


def small_network(in_channels, height, width, n_outputs):
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(n_outputs)
    )


NORMALISED = [
    MLPClassifier((8,), batch_norm=True),
    CNNClassifier((4,)),
    CNNClassifier(module=small_network),
]
PLAIN = [MLPClassifier((8,)), CNNClassifier((4,), batch_norm=False)]


def batch_sizes(network, X, y):
    sizes = Sizes()
    network.set_params(max_iter=1, batch_size=20, callbacks=[sizes], random_state=0).fit(X, y)
    return sizes.seen_


@pytest.mark.parametrize("network", NORMALISED)
@pytest.mark.parametrize(("n", "sizes"), [(100, [20] * 5), (109, [20] * 4 + [29]), (12, [12])])
def test_too_few_for_batch_normalisation_go_with_the_batch_before(network, n, sizes, digits):
    X, y = digits
    assert batch_sizes(network, X[:n], y[:n]) == sizes


@pytest.mark.parametrize("network", NORMALISED)
def test_half_a_batch_is_a_batch_for_batch_normalisation(network, digits):
    X, y = digits
    assert batch_sizes(network, X[:110], y[:110]) == [20] * 5 + [10]


@pytest.mark.parametrize("network", PLAIN)
def test_without_it_two_images_are_a_batch_as_in_scikit_learn(network, digits):
    X, y = digits
    assert batch_sizes(network, X[:102], y[:102]) == [20] * 5 + [2]


def test_two_images_left_do_not_undo_what_an_epoch_has_learnt(digits):
    X, y = digits
    cnn = CNNClassifier((16, 32, 32), hidden_layer_sizes=(64,), batch_size=32, max_iter=6)
    cnn.set_params(solver="sgd", learning_rate_init=0.01, random_state=0)
    cnn.fit(X[:898], y[:898], X_val=X[898:], y_val=y[898:])
    assert np.min(cnn.validation_scores_[2:]) > 0.9
