"""The facts of the lecture that the package makes runnable."""

import numpy as np
import pytest
import torch
from torch import nn

from skcnn import CNNClassifier, MLPClassifier
from skcnn.neural._modules import SeededDropout
from skcnn.neural._prediction import rebuild

IMAGE = [
    [1, 0, 0, 0, 0, 1],
    [0, 1, 0, 0, 1, 0],
    [0, 0, 1, 1, 0, 0],
    [1, 0, 0, 0, 1, 0],
    [0, 1, 0, 0, 1, 0],
    [0, 0, 1, 0, 1, 0],
]
KERNEL = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
CORRELATED = [[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]]


@pytest.fixture(scope="module")
def lecture_network():
    rng = np.random.RandomState(0)
    network = CNNClassifier(
        conv_channels=(25, 50),
        padding="valid",
        batch_norm=False,
        hidden_layer_sizes=(100,),
        max_iter=1,
        random_state=0,
    )
    return network.fit(rng.rand(20, 28, 28), np.arange(20) % 10)


def test_every_shape_of_the_lectures_network(lecture_network):
    shapes = {row.layer: row.output_shape for row in lecture_network.summary()}
    assert shapes["input"] == (1, 28, 28)
    assert shapes["conv1"] == (25, 26, 26)
    assert shapes["pool1"] == (25, 13, 13)
    assert shapes["conv2"] == (50, 11, 11)
    assert shapes["pool2"] == (50, 5, 5)
    assert shapes["flatten"] == (1250,)
    assert shapes["dense1"] == (100,)
    assert shapes["output"] == (10,)


def test_every_weight_count_of_the_lectures_network(lecture_network):
    weights = {row.layer: row.n_weights for row in lecture_network.summary() if row.n_weights}
    assert weights == {
        "conv1": 25 * 9 + 25,
        "conv2": 50 * 25 * 9 + 50,
        "dense1": 1250 * 100 + 100,
        "output": 100 * 10 + 10,
    }
    assert lecture_network.n_parameters_ == sum(weights.values())


def test_shared_filters_need_fewer_weights_than_fully_connected_neurons():
    images = np.random.RandomState(0).rand(6, 6, 6)
    y = [0, 1] * 3
    mlp = MLPClassifier((10,), max_iter=1).fit(images, y)
    assert mlp.weights_["dense1.weight"].size == 360
    cnn = CNNClassifier((10,), max_iter=1).fit(images, y)
    assert cnn.weights_["conv1.weight"].size == 90


@pytest.mark.parametrize(
    ("stride", "expected"),
    [(1, CORRELATED), (2, np.array(CORRELATED)[::2, ::2])],
)
def test_a_layer_correlates_and_does_not_flip_its_kernel(stride, expected):
    maps = first_maps(stride=stride, pool=None)
    np.testing.assert_array_equal(maps, expected)


def test_max_pooling_of_the_lectures_maps():
    np.testing.assert_array_equal(first_maps(stride=1, pool="max"), [[3, 0], [3, 1]])


def first_maps(stride, pool):
    """Feature maps of one block whose only kernel is the lecture's."""
    image = np.array([IMAGE, IMAGE], dtype=float)
    cnn = CNNClassifier(
        (1,),
        stride=stride,
        pool=pool,
        padding="valid",
        batch_norm=False,
        activation="identity",
        max_iter=1,
    ).fit(image, [0, 1])
    cnn.weights_ = cnn.weights_ | {
        "conv1.weight": np.array([[KERNEL]], dtype=np.float32),
        "conv1.bias": np.zeros(1, np.float32),
    }
    network = rebuild(cnn, torch.float64).eval()
    convolutions = network[: list(dict(network.named_children())).index("flatten")]
    with torch.no_grad():
        return convolutions(torch.tensor(image[:1, None])).numpy()[0, 0]


def test_batch_statistics_in_training_moving_averages_in_prediction():
    rng = np.random.RandomState(0)
    images = rng.rand(40, 6, 6)
    cnn = CNNClassifier((4,), max_iter=3, random_state=0).fit(images, np.arange(40) % 2)
    together = cnn.predict_proba(images)
    alone = np.vstack([cnn.predict_proba(image[None]) for image in images])
    # With the batch's own statistics an image's prediction would depend on its company.
    np.testing.assert_allclose(alone, together, atol=1e-12)
    assert not np.allclose(cnn.weights_["conv1_norm.running_mean"], 0)


def test_dropout_keeps_the_expectation_and_is_off_in_prediction():
    layer = SeededDropout(0.5)
    layer.generator = torch.Generator().manual_seed(0)
    ones = torch.ones(100_000)
    dropped = layer.train()(ones)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(layer.eval()(ones), ones)


def test_max_pooling_before_relu_is_the_same_function():
    maps = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pool, relu = nn.MaxPool2d(2), nn.ReLU()
    assert torch.equal(relu(pool(maps)), pool(relu(maps)))
