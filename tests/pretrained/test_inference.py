"""A network made fast computes what it computed before, and is itself left alone."""

import gc
import logging
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from skcnn.pretrained import _inference, _layer_steps
from skcnn.pretrained._inference import FastNetwork, optimized

SIZE = 64


def images(n, size=SIZE, channels=3):
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(n))


def with_statistics(network):
    """Return a network in evaluation mode whose normalisation has something to do."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.5, 0.5, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            if norm.affine:
                norm.weight.data.uniform_(0.5, 2, generator=generator)
                norm.bias.data.uniform_(-0.5, 0.5, generator=generator)
    return network.eval()


def network_of_timm(name, **parameters):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return with_statistics(timm.create_model(name, num_classes=10, **parameters))


def assert_same(compute, network, batch):
    with torch.no_grad():
        expected = network(batch)
    torch.testing.assert_close(
        compute(batch).clone(), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
    )


def functions_of(compute):
    assert isinstance(compute, FastNetwork)
    return [step.function for step, _ in compute._steps]


# One of each way to build a network: convolutions and sums, squeeze and excitation, separable
# convolutions with padding that depends on the size, concatenated branches, weights that are
# standardised when used, tokens, windows of tokens.
KINDS = {
    "test_resnet": {},
    "resnet26t": {},
    "resnetv2_50x1_bit": {},
    "test_efficientnet": {},
    "tf_efficientnet_lite0": {},
    "mobilenetv3_small_050": {},
    "densenet121": {},
    "inception_v3": {"size": 96},
    "test_nfnet": {},
    "test_convnext": {},
    "test_vit": {"img_size": SIZE},
    "swin_s3_tiny_224": {"img_size": SIZE, "window_size": 4},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_computes_the_same(name):
    size = KINDS[name].get("size", SIZE)
    network = network_of_timm(name, **{k: v for k, v in KINDS[name].items() if k != "size"})
    compute = optimized(network, images(2, size))
    assert isinstance(compute, FastNetwork)
    for n in (1, 2, 5):
        assert_same(compute, network, images(n, size))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "tf_efficientnet_lite0"])
def test_no_normalisation_activation_or_sum_is_left(name):
    functions = functions_of(optimized(network_of_timm(name), images(2)))
    names = {getattr(function, "__name__", "") for function in functions}
    assert not names & {"batch_norm.default", "conv2d.default", "add.Tensor", "add_.Tensor"}
    assert not [n for n in names if n.startswith(("relu", "silu", "hardtanh"))]


def test_borders_of_depthwise_convolutions_take_no_copy():
    names = [
        getattr(function, "__name__", "")
        for function in functions_of(optimized(network_of_timm("tf_efficientnet_lite0"), images(2)))
    ]
    assert names.count("pad.default") == 1  # of the first convolution, which is cheap


def test_any_number_of_images_goes_in(monkeypatch):
    monkeypatch.setattr(_inference, "_LARGEST_CHUNK", 4)
    network = network_of_timm("test_resnet")
    compute = optimized(network, images(1))
    for n in (1, 8, 9, 40):
        assert compute(images(n)).shape == (n, 10)
        assert_same(compute, network, images(n))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_chunks_are_shared_among_torchs_threads(name, two_threads):
    network = network_of_timm(name)
    size = network.pretrained_cfg["input_size"][-1]
    compute = optimized(network, images(2, size))
    for n in (1, 3, 4, 5, 40):
        assert_same(compute, network, images(n, size))
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2


def test_images_may_lie_either_way_in_memory():
    network = network_of_timm("test_efficientnet")
    compute = optimized(network, images(2))
    batch = images(3)
    last = batch.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(compute(batch), compute(last))


def test_network_and_images_are_left_as_they_were():
    network = network_of_timm("test_resnet")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tensors = {name: (id(p), p.stride()) for name, p in network.named_parameters()}
    batch = images(4)
    kept = batch.clone()
    optimized(network, batch)(batch)
    assert torch.equal(batch, kept)
    assert {name: (id(p), p.stride()) for name, p in network.named_parameters()} == tensors
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_torch_is_left_as_it_was():
    network = network_of_timm("test_resnet")
    state, grad, n_threads = torch.get_rng_state(), torch.is_grad_enabled(), torch.get_num_threads()
    compute = optimized(network, images(2))
    result = compute(images(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() == grad
    assert torch.get_num_threads() == n_threads
    assert not result.requires_grad


def test_weights_are_not_kept_twice():
    network = network_of_timm("test_resnet")
    convolutions = [weakref.ref(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d)]
    compute = optimized(network, images(2))
    expected = compute(images(2))
    del network
    gc.collect()
    assert not any(weight() is not None for weight in convolutions)
    assert torch.equal(compute(images(2)), expected)


def test_several_threads_may_compute_at_once():
    compute = optimized(network_of_timm("test_efficientnet"), images(2))
    batches = [images(n) for n in (3, 9, 1, 5)] * 4
    expected = [compute(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for result, wanted in zip(pool.map(compute, batches), expected, strict=True):
            torch.testing.assert_close(result, wanted)


def test_several_threads_may_optimize_at_once():
    networks = [network_of_timm(n) for n in ("test_resnet", "test_efficientnet")] * 2
    with ThreadPoolExecutor(4) as pool:
        computes = list(pool.map(lambda network: optimized(network, images(2)), networks))
    for compute, network in zip(computes, networks, strict=True):
        assert isinstance(compute, FastNetwork)
        assert_same(compute, network, images(3))
    assert not is_in_torch_dispatch_mode()  # torch's note for all threads


def test_a_network_may_make_another_one_fast_on_its_way():
    class Outer(nn.Module):
        def forward(self, batch):
            return optimized(inner, images(1))(batch) + 1

    inner, results = network_of_timm("test_resnet"), []
    compute = partial(optimized, Outer().eval(), images(1))
    thread = Thread(target=lambda: results.append(compute()(images(3))), daemon=True)
    thread.start()
    thread.join(60)
    with torch.inference_mode():
        torch.testing.assert_close(results[0], inner(images(3)) + 1)


class Block(nn.Module):
    """A convolution and a normalisation, used in the way that a test gives."""

    def __init__(self, use):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.norm2 = nn.BatchNorm2d(8, affine=False)
        self.use = use
        with_statistics(self)

    def forward(self, batch):
        return self.use(self, batch)


def normed_and_used(block, batch):
    maps = block.conv(batch)
    return block.norm(maps) + maps


def normed_twice(block, batch):
    maps = block.conv(batch)
    return block.norm(maps) * block.norm2(maps)


def shared_convolution(block, batch):
    maps = block.conv(batch)
    return block.norm(block.conv2(maps)) + block.norm2(block.conv2(maps.relu()))


def returned_before_norm(block, batch):
    maps = block.conv(batch)
    block.norm(maps)
    return maps


def view_is_written_to(block, batch):
    maps = block.conv(batch)
    half = maps[:, :4]
    half.mul_(2)
    return block.norm(maps)


def view_takes_the_sum(block, batch):
    maps = block.conv(batch).relu()
    left = maps[..., :32]
    left += block.norm(block.conv2(maps[..., 32:]))
    return maps


def input_changes_before_norm(block, batch):
    maps = block.norm(block.conv(batch))
    other = block.conv2(maps)
    maps.relu_()
    return block.norm2(other) + maps


def sum_is_read_again(block, batch):
    maps = block.norm(block.conv(batch))
    return functional.relu(block.norm2(block.conv2(maps)) + maps) * maps


def sum_with_itself(block, batch):
    maps = block.norm(block.conv(batch))
    return maps + maps


def sum_with_what_goes_in(block, batch):
    maps = block.norm(block.conv(batch))
    return block.norm2(block.conv2(maps)) + maps


def gelu_after_sum(block, batch):
    maps = block.norm(block.conv(batch))
    return functional.gelu(block.norm2(block.conv2(maps)) + maps)


def sum_that_broadcasts(block, batch):
    maps = block.norm(block.conv(batch))
    return block.conv2(maps.mean((2, 3), keepdim=True)) + maps


def gate(block, batch):
    maps = functional.silu(block.norm(block.conv(batch)))
    scaled = maps * block.conv2(maps.mean((2, 3), keepdim=True)).sigmoid()
    return scaled * 2 + block.norm2(scaled)


def borders(block, batch):
    maps = block.norm(block.conv(batch))
    kernels = block.conv.weight[:, :1]
    total = 0
    for sides in ((0, 1, 0, 1), (1, 2, 0, 2), (1, 1, 1, 1), (2, 1, 0, 1), (0, -1, 0, 1)):
        padded = functional.pad(maps, sides)
        total = total + functional.conv2d(padded, kernels, stride=2, groups=8).mean((2, 3))
    for how in ({"value": 1.0}, {"mode": "reflect"}):
        padded = functional.pad(maps, (0, 1, 0, 1), **how)
        total = total + functional.conv2d(padded, kernels, stride=2, groups=8).mean((2, 3))
    dilated = functional.pad(maps, (0, 2, 0, 1))
    total = total + functional.conv2d(dilated, kernels, dilation=2, groups=8).mean((2, 3))
    padded = functional.pad(maps, (0, 1, 0, 1))
    return total + functional.conv2d(padded, kernels, padding=1, groups=8).mean((2, 3))


def two_activations(block, batch):
    return functional.hardswish(functional.leaky_relu(block.norm(block.conv(batch)), 0.2))


def activation_before_norm(block, batch):
    return block.norm(functional.relu(block.conv(batch)))


def statistics_of_the_batch(block, batch):
    return functional.batch_norm(block.conv(batch), None, None, training=True)


def shapes_of_the_batch(block, batch):
    n, _, height, width = batch.shape
    tokens = block.norm(block.conv(batch)).reshape(n, 8, height * width).transpose(1, 2)
    start = torch.ones(1, 1, 8).expand(n, -1, -1)
    return torch.cat([start, tokens], dim=1).reshape(n * (height * width + 1), 8).view(n, -1)


USES = [
    normed_and_used,
    normed_twice,
    shared_convolution,
    returned_before_norm,
    view_is_written_to,
    view_takes_the_sum,
    input_changes_before_norm,
    sum_is_read_again,
    sum_with_itself,
    sum_with_what_goes_in,
    gelu_after_sum,
    sum_that_broadcasts,
    gate,
    borders,
    two_activations,
    activation_before_norm,
    shapes_of_the_batch,
]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_only_what_nobody_else_sees_is_merged(use):
    block = Block(use)
    compute = optimized(block, images(2))
    assert isinstance(compute, FastNetwork)
    for n in (1, 2, 11):
        assert_same(compute, block, images(n))


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_the_plain_form_is_the_same(use, monkeypatch):
    monkeypatch.setattr(_layer_steps, "_OPERATIONS", ("_gone_from_torch",))
    block = Block(use)
    compute = optimized(block, images(2))
    assert isinstance(compute, FastNetwork)
    assert_same(compute, block, images(5))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_networks_run_without_the_private_operations(name, monkeypatch):
    monkeypatch.setattr(_layer_steps, "_OPERATIONS", ("_gone_from_torch",))
    network = network_of_timm(name)
    size = network.pretrained_cfg["input_size"][-1]
    compute = optimized(network, images(2, size))
    assert isinstance(compute, FastNetwork)
    assert_same(compute, network, images(3, size))


def test_double_precision_has_a_plain_form():
    network = network_of_timm("test_resnet").double()
    compute = optimized(network, images(2).double())
    assert isinstance(compute, FastNetwork)
    assert compute(images(1).double()).dtype == torch.float64
    assert_same(compute, network, images(3).double())


def depends_on_values(block, batch):
    maps = block.norm(block.conv(batch))
    return maps if maps.mean() > 0 else -maps


def draws(block, batch):
    return block.conv(batch) + torch.rand(1) * 0


def counts_its_calls(block, batch):
    block.norm.num_batches_tracked.add_(1)
    return block.norm(block.conv(batch))


def behaves_otherwise_for_many(block, batch):
    maps = block.norm(block.conv(batch))
    return maps if len(batch) < 3 else maps.relu()


def goes_by_the_mean_of_the_batch(block, batch):
    return block.norm(block.conv(batch)) / len(batch)


UNSEEN = [
    depends_on_values,
    draws,
    counts_its_calls,
    behaves_otherwise_for_many,
    goes_by_the_mean_of_the_batch,
]


@pytest.mark.parametrize("use", UNSEEN, ids=lambda use: use.__name__)
def test_networks_that_cannot_be_watched_are_used_as_they_are(use, caplog):
    block = Block(use)
    with caplog.at_level(logging.INFO):
        compute = optimized(block, images(2))
    assert not isinstance(compute, FastNetwork)
    assert "Block is computed as it is" in caplog.text
    assert_same(compute, block, images(4))
    assert not compute(images(2)).requires_grad


def test_statistics_of_the_batch_are_not_folded():
    block = Block(statistics_of_the_batch)
    compute = optimized(block, images(2))
    assert_same(compute, block, images(8))


def test_a_wrong_result_is_noticed(monkeypatch, caplog):
    def wrong(program):
        program.steps[-1].options = {"alpha": 1.001}
        return program

    monkeypatch.setattr(_inference, "fused", wrong)
    block = Block(sum_with_itself)
    with caplog.at_level(logging.INFO):
        compute = optimized(block, images(2))
    assert "its fast form differs" in caplog.text
    assert_same(compute, block, images(3))


def test_an_error_on_the_way_is_noticed(monkeypatch, caplog):
    def broken(program):
        raise KeyError("no such step")

    monkeypatch.setattr(_inference, "fused", broken)
    block = Block(gate)
    with caplog.at_level(logging.INFO):
        compute = optimized(block, images(2))
    assert "no such step" in caplog.text
    assert_same(compute, block, images(3))


def test_the_networks_own_errors_are_raised():
    with pytest.raises(RuntimeError, match="channels"):
        optimized(Block(gate), images(2, channels=4))
