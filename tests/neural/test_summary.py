"""The table of a network's layers: rows, shapes, and weights that add up."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from skcnn.neural._summary import LayerRow, summarize


def n_weights(network):
    return sum(weight.numel() for weight in network.parameters())


def total(summary):
    return sum(row.n_weights for row in summary)


def sequential():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4 * 3 * 4, 5),
    )


class Block(nn.Module):
    """Two convolutions, one ReLU that is used twice, and a factor that belongs to no layer."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.relu = nn.ReLU()
        self.factor = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, inputs):
        return self.relu(inputs + self.factor * self.conv2(self.relu(self.conv1(inputs))))


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.blocks = nn.ModuleList([Block(4), Block(4)])
        self.position = nn.Parameter(torch.zeros(4, 7, 9))
        self.head = nn.Linear(4, 5)

    def forward(self, images):
        values = self.stem(images) + self.position
        for block in self.blocks:
            values = block(values)
        return self.head(values.mean(dim=(2, 3)))


class Attention(nn.Module):
    """torch's attention reads the weights of a part of its own that it does not call."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, images):
        tokens = images.flatten(2).mT
        return self.attention(tokens, tokens, tokens)[0]


def test_rows_of_a_sequence():
    assert list(summarize(sequential(), (7, 9, 3))) == [
        LayerRow("input", (3, 7, 9), 0),
        LayerRow("0", (4, 3, 4), 3 * 3 * 3 * 4 + 4),
        LayerRow("1", (4, 3, 4), 2 * 4),
        LayerRow("2", (4, 3, 4), 0),
        LayerRow("3", (48,), 0),
        LayerRow("4", (5,), 48 * 5 + 5),
    ]


def test_rows_of_nested_modules():
    block = [("conv1", 9 * 16 + 4), ("relu", 0), ("conv2", 16), ("", 4)]
    assert list(summarize(Nested(), (7, 9, 3))) == [
        LayerRow("input", (3, 7, 9), 0),
        LayerRow("stem", (4, 7, 9), 3 * 4 + 4),
        *(LayerRow(f"blocks.0.{name}".rstrip("."), (4, 7, 9), size) for name, size in block),
        *(LayerRow(f"blocks.1.{name}".rstrip("."), (4, 7, 9), size) for name, size in block),
        LayerRow("head", (5,), 4 * 5 + 5),
        LayerRow("Nested", (5,), 4 * 7 * 9),
    ]


@pytest.mark.parametrize("make", [sequential, Nested, Attention, lambda: Block(3)])
def test_weights_add_up(make):
    network = make()
    assert total(summarize(network, (7, 9, 3))) == n_weights(network) > 0


def test_weights_of_parts_that_are_not_called_belong_to_the_module_around_them():
    network = Attention()
    assert list(summarize(network, (2, 2, 3)))[1:] == [
        LayerRow("attention", (4, 3), n_weights(network))
    ]


def test_an_idle_part_is_counted():
    network = nn.Sequential(nn.Flatten())
    network[0].idle = nn.Linear(2, 3)
    assert list(summarize(network, (2, 2, 1)))[1:] == [LayerRow("0", (4,), 2 * 3 + 3)]


def test_a_network_without_parts_goes_by_its_class():
    assert list(summarize(nn.Conv2d(1, 2, 3), (5, 6, 1)))[1:] == [LayerRow("Conv2d", (2, 3, 4), 20)]


def test_shared_modules_and_shared_weights_count_once():
    shared = nn.Conv2d(3, 3, 1)
    tied = nn.Conv2d(3, 3, 1)
    tied.weight = shared.weight
    network = nn.Sequential(shared, nn.ReLU(), shared, tied)
    summary = summarize(network, (4, 4, 3))
    assert [(row.layer, row.n_weights) for row in summary] == [
        ("input", 0),
        ("0", 9 + 3),
        ("1", 0),
        ("3", 3),
    ]
    assert total(summary) == n_weights(network)


def test_what_computes_a_weight_is_no_layer():
    network = nn.Sequential(
        weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), spectral_norm(nn.Linear(4 * 5 * 7, 2))
    )
    summary = summarize(network, (7, 9, 3))
    assert [(row.layer, row.n_weights) for row in summary] == [
        ("input", 0),
        ("0", 4 * 27 + 4 + 4),  # directions, their lengths, constants
        ("1", 0),
        ("2", 2 * 4 * 5 * 7 + 2),
    ]
    assert total(summary) == n_weights(network)


def test_frozen_weights_do_not_count():
    network = sequential()
    network[0].requires_grad_(False)
    assert [row.n_weights for row in summarize(network, (7, 9, 3))] == [0, 0, 8, 0, 0, 245]


def test_the_meta_device_and_memory_give_the_same_table():
    with torch.device("meta"):
        blank = Nested()
    assert summarize(blank, (7, 9, 3)) == summarize(Nested(), (7, 9, 3))
    assert summarize(Nested().double(), (7, 9, 3)) == summarize(blank, (7, 9, 3))


def test_a_network_without_weights():
    assert list(summarize(nn.Sequential(nn.MaxPool2d(2)), (4, 6, 2)))[1:] == [
        LayerRow("0", (2, 2, 3), 0)
    ]


def test_outputs_that_are_no_tensor():
    class Parts(nn.Module):
        def forward(self, images):
            return {"nothing": None, "values": (images[:, :1], images)}

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = Parts()
            self.nothing = nn.Identity()

        def forward(self, images):
            self.nothing(None)
            return self.parts(images)["values"][1]

    assert list(summarize(Network(), (2, 3, 4)))[1:] == [
        LayerRow("nothing", (), 0),
        LayerRow("parts", (1, 2, 3), 0),
    ]


def hooks_of(network):
    return [len(module._forward_hooks) for module in network.modules()]


def test_the_network_stays_as_it_is():
    network = sequential().train()
    network[1].eval()
    network[0].register_forward_hook(lambda *_: None)
    modes = [module.training for module in network.modules()]
    hooks = hooks_of(network)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    summarize(network, (7, 9, 3))
    assert [module.training for module in network.modules()] == modes
    assert hooks_of(network) == hooks
    assert all(weight.grad is None for weight in network.parameters())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_the_network_stays_as_it_is_when_it_does_not_fit_the_images():
    network = sequential().train()
    with pytest.raises(RuntimeError):
        summarize(network, (7, 9, 2))
    assert all(module.training for module in network.modules())
    assert sum(hooks_of(network)) == 0


def test_normalisation_without_moving_statistics():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4, track_running_stats=False))
    assert summarize(network, (2, 2, 1))[-1] == LayerRow("1", (4,), 8)


def test_the_table_in_print_and_as_a_frame():
    summary = summarize(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (2, 3, 2))
    assert str(summary).splitlines() == [
        "layer   output shape  weights",
        "input   2 x 2 x 3           0",
        "0       12                  0",
        "1       2                  26",
        "total                      26",
    ]
    frame = summary.to_frame()
    assert list(frame.columns) == ["layer", "output_shape", "n_weights"]
    assert frame["n_weights"].sum() == 26
