"""Pooling by tiles, against torch's max pooling."""

import numpy as np
import pytest
import torch
from torch import nn

from skcnn.neural import _pooling
from skcnn.neural._batches import as_input
from skcnn.neural._inference import as_function
from skcnn.neural._pooling import TileMaxima, maxima_of_slices


def maps(shape, dtype=torch.float32, *, channels_last=True, rounded=False):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    if rounded:  # many equal neighbours: the first of them gets the gradient
        values = values.round()
    return values.to(memory_format=torch.channels_last) if channels_last else values


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 5, 8, 8), (1, 1, 2, 2), (2, 7, 9, 5), (2, 16, 3, 12)])
def test_maxima_and_gradients_are_torchs(shape, dtype, channels_last, rounded):
    inputs = maps(shape, dtype, channels_last=channels_last, rounded=rounded).requires_grad_()
    ours = TileMaxima((2, 2))(inputs)
    theirs = nn.functional.max_pool2d(inputs, 2)
    assert torch.equal(ours, theirs)
    gradient = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    (of_ours,) = torch.autograd.grad(ours, inputs, gradient, retain_graph=True)
    (of_theirs,) = torch.autograd.grad(theirs, inputs, gradient)
    assert torch.equal(of_ours, of_theirs)


@pytest.mark.parametrize("tile", [(2, 2), (1, 3), (3, 2), (4, 4), (1, 1)])
@pytest.mark.parametrize("shape", [(2, 3, 9, 10), (1, 1, 4, 4)])
def test_maxima_of_slices_are_torchs(tile, shape, monkeypatch):
    inputs = maps(shape)
    monkeypatch.setattr(_pooling, "_FEW", 0)
    expected = nn.functional.max_pool2d(inputs, tile)
    assert torch.equal(maxima_of_slices(inputs, *tile), expected)
    assert torch.equal(TileMaxima(tile)(inputs), expected)


def test_other_tiles_train_as_with_torch():
    inputs = maps((2, 3, 9, 9)).requires_grad_()
    (ours,) = torch.autograd.grad(TileMaxima((3, 2))(inputs).square().sum(), inputs)
    expected = nn.functional.max_pool2d(inputs, (3, 2)).square().sum()
    (theirs,) = torch.autograd.grad(expected, inputs)
    assert torch.equal(ours, theirs)


def test_many_threads_are_left_to_torch_with_the_same_result(monkeypatch):
    inputs = maps((2, 3, 8, 8)).requires_grad_()
    compiled = TileMaxima((2, 2))(inputs)
    monkeypatch.setattr(_pooling, "_MOST_THREADS", 0)
    assert torch.equal(TileMaxima((2, 2))(inputs), compiled)


@pytest.mark.parametrize("few", [0, 10**6])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_not_a_number_stays(needs_gradient, few, monkeypatch):
    monkeypatch.setattr(_pooling, "_FEW", few)
    inputs = torch.zeros(1, 1, 2, 8)
    for tile, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        inputs[0, 0, row, 2 * tile + column] = torch.nan
    assert TileMaxima((2, 2))(inputs.requires_grad_(needs_gradient)).isnan().all()


def test_functions_of_layers_compute_what_the_modules_do():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=1, groups=1, bias=False),
        nn.Identity(),
        TileMaxima((2, 2)),
        nn.ReLU(),
        nn.Conv2d(4, 8, (1, 2), padding="same", groups=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 5),
    ).eval()
    images = maps((2, 3, 16, 16))
    with torch.inference_mode():
        np.testing.assert_array_equal(as_function(network)(images), network(images))


def test_one_grey_image_keeps_the_layout_that_it_came_in():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()).eval()
    for image in (torch.rand(1, 1, 8, 8), as_input(torch.rand(1, 8, 8, 1))):
        convolved = as_function(network[:1])(image)
        assert convolved.stride() == network[0](image).stride()
        torch.testing.assert_close(as_function(network)(image), network(image))
