"""Shapes, layers and parameters of the networks, against torch's own."""

import numpy as np
import pytest
import torch
from torch import nn

from skcnn import CNNClassifier, MLPClassifier
from skcnn.neural._prediction import rebuild


def shapes_of(image_shape, **parameters):
    images = np.random.RandomState(0).rand(4, *image_shape)
    cnn = CNNClassifier(max_iter=1, random_state=0, **parameters).fit(images, [0, 1, 0, 1])
    return {row.layer: row.output_shape for row in cnn.summary()}


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, (3, 5), (2, 3)])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(8, 8), (9, 13)])
def test_padding_at_stride_one_is_torchs(kernel_size, padding, size):
    shapes = shapes_of(
        size, conv_channels=(3,), kernel_size=kernel_size, padding=padding, pool=None
    )
    expected = nn.Conv2d(1, 3, kernel_size, padding=padding)(torch.zeros(1, 1, *size)).shape[1:]
    assert shapes["conv1"] == tuple(expected)


@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
def test_same_padding_gives_the_size_over_the_stride(stride, kernel_size):
    shapes = shapes_of(
        (9, 14), conv_channels=(3,), kernel_size=kernel_size, stride=stride, pool=None
    )
    down, across = (stride, stride) if isinstance(stride, int) else stride
    assert shapes["conv1"][1:] == (-(-9 // down), -(-14 // across))


def test_numbers_as_padding_are_torchs():
    shapes = shapes_of((8, 9), conv_channels=(3,), padding=(2, 1), pool=None)
    expected = nn.Conv2d(1, 3, 3, padding=(2, 1))(torch.zeros(1, 1, 8, 9)).shape[1:]
    assert shapes["conv1"] == tuple(expected)


def compute(cnn, images):
    """Output of the named layers of a fitted network, in float64."""
    network = rebuild(cnn, torch.float64).eval()
    values, outputs = torch.tensor(images)[:, None], {}
    with torch.no_grad():
        for name, layer in network.named_children():
            values = layer(values)
            outputs[name] = values.clone()  # relu works in place
    return outputs


@pytest.mark.parametrize("kernel_size", [2, 3, 4, (3, 2)])
def test_same_padding_computes_what_torchs_does(kernel_size):
    images = np.random.RandomState(0).rand(4, 7, 8)
    cnn = CNNClassifier((3,), kernel_size=kernel_size, batch_norm=False, max_iter=1, random_state=0)
    outputs = compute(cnn.fit(images, [0, 1, 0, 1]), images)
    weight, bias = (torch.tensor(cnn.weights_[f"conv1.{n}"]).double() for n in ("weight", "bias"))
    expected = nn.functional.conv2d(torch.tensor(images)[:, None], weight, bias, padding="same")
    np.testing.assert_allclose(outputs["conv1"], expected, atol=1e-12)


@pytest.mark.parametrize(("pool", "layer"), [("max", nn.MaxPool2d), ("average", nn.AvgPool2d)])
def test_a_block_computes_activation_and_pooling(pool, layer):
    images = np.random.RandomState(0).rand(4, 8, 8)
    cnn = CNNClassifier((3,), pool=pool, batch_norm=False, max_iter=1, random_state=0)
    outputs = compute(cnn.fit(images, [0, 1, 0, 1]), images)
    np.testing.assert_allclose(
        outputs["flatten"],
        layer(2)(outputs["conv1"].relu()).permute(0, 2, 3, 1).flatten(1),
        atol=1e-12,
    )


@pytest.mark.parametrize(("pool", "layer"), [("max", nn.MaxPool2d), ("average", nn.AvgPool2d)])
def test_pooling_is_torchs(pool, layer):
    shapes = shapes_of((11, 8), conv_channels=(3,), pool=pool, pool_size=(3, 2))
    assert shapes["pool1"] == tuple(layer((3, 2))(torch.zeros(1, 3, 11, 8)).shape[1:])


def test_short_axes_are_pooled_as_a_whole():
    assert shapes_of((1, 9), conv_channels=(3, 3, 3))["pool3"] == (3, 1, 1)


def test_no_convolution_is_a_perceptron():
    assert list(shapes_of((5, 5), conv_channels=(), batch_norm=False, dropout=0.0)) == [
        "input",
        "flatten",
        "dense1",
        "dense1_relu",
        "output",
    ]


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_mlp_computes_what_its_weights_say(activation):
    X = np.random.RandomState(0).rand(30, 7)
    mlp = MLPClassifier((5, 4), activation=activation, max_iter=2, random_state=0)
    mlp.fit(X, np.arange(30) % 3)
    functions = {
        "identity": lambda v: v,
        "logistic": lambda v: 1 / (1 + np.exp(-v)),
        "tanh": np.tanh,
        "relu": lambda v: np.maximum(v, 0),
    }
    values = (X - mlp.input_mean_) / mlp.input_scale_
    for name in ("dense1", "dense2"):
        values = functions[activation](
            values @ mlp.weights_[f"{name}.weight"].T + mlp.weights_[f"{name}.bias"]
        )
    logits = values @ mlp.weights_["output.weight"].T + mlp.weights_["output.bias"]
    np.testing.assert_allclose(mlp.decision_function(X), logits, rtol=1e-9, atol=1e-9)


def test_cnn_computes_what_its_weights_say():
    X = np.random.RandomState(0).rand(30, 9, 8, 3)
    cnn = CNNClassifier((4,), hidden_layer_sizes=(), max_iter=2, random_state=0)
    cnn.fit(X, np.arange(30) % 3)
    w = {name: torch.tensor(value).double() for name, value in cnn.weights_.items()}
    values = torch.tensor((X - cnn.input_mean_) / cnn.input_scale_).permute(0, 3, 1, 2)
    values = nn.functional.conv2d(values, w["conv1.weight"], padding=1)
    values = nn.functional.batch_norm(
        values,
        w["conv1_norm.running_mean"],
        w["conv1_norm.running_var"],
        w["conv1_norm.weight"],
        w["conv1_norm.bias"],
    )
    values = nn.functional.max_pool2d(values.relu(), 2).permute(0, 2, 3, 1).flatten(1)
    logits = values @ w["output.weight"].T + w["output.bias"]
    np.testing.assert_allclose(cnn.decision_function(X), logits.numpy(), rtol=1e-9, atol=1e-9)


def test_dropout_and_normalisation_layers():
    names = list(shapes_of((8, 8), conv_channels=(3,), hidden_layer_sizes=(5, 4), dropout=0.5))
    assert names[1:5] == ["conv1", "conv1_norm", "pool1", "conv1_relu"]
    assert names[5:10] == ["flatten", "dense1", "dense1_norm", "dense1_relu", "dense1_dropout"]
    assert "dropout" in shapes_of((8, 8), conv_channels=(3,), hidden_layer_sizes=(), dropout=0.5)


def test_summary_prints_and_becomes_a_frame():
    images = np.random.RandomState(0).rand(4, 6, 6)
    mlp = MLPClassifier((3,), max_iter=1).fit(images, [0, 1, 0, 1])
    frame = mlp.summary().to_frame()
    assert list(frame.columns) == ["layer", "output_shape", "n_weights"]
    assert frame["n_weights"].sum() == mlp.n_parameters_ == 36 * 3 + 3 + 3 * 2 + 2
    assert str(mlp.summary()).splitlines()[-1].split() == ["total", str(mlp.n_parameters_)]


def test_too_deep_a_network_names_the_sizes_after_each_layer():
    with pytest.raises(ValueError, match=r"too deep .* pooling 2 8 x 1 x 1\. Take padding='same'"):
        shapes_of((8, 8), conv_channels=(8, 8, 8), padding="valid")


@pytest.mark.parametrize(
    "parameters",
    [
        {"conv_channels": (8, 0)},
        {"conv_channels": True},
        {"kernel_size": True},
        {"kernel_size": np.array(3)},
        {"padding": True},
        {"kernel_size": (3, 3, 3)},
        {"stride": (1, 0)},
        {"padding": (-1, 0)},
        {"padding": "full"},
        {"pool": "median"},
        {"pool_size": 0},
        {"hidden_layer_sizes": (10, -1)},
        {"activation": "swish"},
        {"dropout": 1.0},
        {"solver": "rmsprop"},
        {"batch_size": "large"},
        {"validation_fraction": 1.5},
        {"device": "tpu"},
    ],
)
def test_wrong_parameters_are_named(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        shapes_of((8, 8), **parameters)


def test_batch_of_one_and_batch_normalisation_do_not_go_together():
    with pytest.raises(ValueError, match="batch_size=1"):
        shapes_of((8, 8), batch_size=1)


def test_numpy_numbers_are_numbers():
    X, y = np.random.RandomState(0).rand(20, 6, 6), np.arange(20) % 2
    cnn = CNNClassifier(
        np.array([3, 4]),
        kernel_size=np.int64(3),
        pool_size=np.array([2, 1]),
        dropout=np.float64(0.5),
        solver="sgd",
        alpha=np.float32(0.1),
        batch_size=np.int32(8),
        learning_rate_init=np.float64(0.01),
        momentum=np.float64(0.9),
        max_iter=np.int64(2),
    )
    assert cnn.fit(X, y).n_iter_ == 2
