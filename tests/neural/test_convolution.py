"""Convolutions of 1 x 1 with a stride, whose gradients in torch may write beyond their room."""

import numpy as np
import pytest
import torch
from torch import nn

from skcnn import CNNClassifier
from skcnn.neural._convolution import PointwiseConv2d, convolution
from skcnn.neural._prediction import rebuild


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("channels", [(1, 3), (3, 32), (7, 8), (16, 4)])
@pytest.mark.parametrize("stride", [(2, 2), (3, 1), (1, 2), (5, 4)])
def test_outputs_and_gradients_are_sums_over_channels(stride, channels, layout):
    layer = convolution(*channels, (1, 1), stride, bias=True)
    assert type(layer) is PointwiseConv2d
    maps = torch.randn(4, channels[0], 9, 14).contiguous(memory_format=layout).requires_grad_()
    outputs = layer(maps)
    gradient = torch.randn_like(outputs)
    outputs.backward(gradient)

    seen = maps.detach()[..., :: stride[0], :: stride[1]].double()
    weight, gradient = layer.weight.detach()[:, :, 0, 0].double(), gradient.double()
    expected = torch.einsum("oc,nchw->nohw", weight, seen) + layer.bias.view(-1, 1, 1)
    torch.testing.assert_close(outputs.double(), expected, rtol=1e-5, atol=1e-5)
    of_maps = torch.zeros_like(maps, dtype=torch.float64)
    of_maps[..., :: stride[0], :: stride[1]] = torch.einsum("oc,nohw->nchw", weight, gradient)
    torch.testing.assert_close(maps.grad.double(), of_maps, rtol=1e-5, atol=1e-5)
    of_weight = torch.einsum("nohw,nchw->oc", gradient, seen)
    torch.testing.assert_close(
        layer.weight.grad[:, :, 0, 0].double(), of_weight, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        layer.bias.grad.double(), gradient.sum((0, 2, 3)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "numbers",
    [
        {"stride": (1, 1)},
        {"kernel_size": (1, 2)},
        {"padding": (1, 0)},
    ],
    ids=str,
)
def test_other_layers_are_torchs_own(numbers):
    pointwise = {"kernel_size": (1, 1), "stride": (2, 2), "bias": False}
    assert type(convolution(3, 8, **pointwise)) is PointwiseConv2d
    assert type(convolution(3, 8, **pointwise | numbers)) is nn.Conv2d


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_networks_with_such_layers_predict_what_torchs_do(n_channels, batch_norm):
    rng = np.random.default_rng(0)
    X = rng.random((60, 12, 12, n_channels), np.float32)
    cnn = CNNClassifier(
        (4, 8), kernel_size=1, stride=2, pool=None, batch_norm=batch_norm, max_iter=3
    )
    cnn.set_params(ema_decay=None, dropout=0, random_state=0).fit(X, np.arange(60) % 3)
    network = rebuild(cnn, torch.float64)
    layers = [layer for layer in network.modules() if type(layer) is PointwiseConv2d]
    assert len(layers) == 2
    for layer in layers:
        layer.forward = lambda maps, layer=layer: nn.Conv2d.forward(layer, maps)
    maps = torch.tensor(X.astype(np.float64)).permute(0, 3, 1, 2)
    mean, scale = (torch.tensor(v).view(-1, 1, 1) for v in (cnn.input_mean_, cnn.input_scale_))
    with torch.no_grad():
        expected = network.eval()((maps - mean) / scale)
    np.testing.assert_allclose(cnn.decision_function(X), expected, atol=1e-4)
