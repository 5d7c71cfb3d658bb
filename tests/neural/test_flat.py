"""Parameters in one piece of memory: what stays as it was, and what is refused."""

import pytest
import torch
from torch import nn

from skcnn.neural._flat import FlatParameters


def conv_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, (3, 2)),
        nn.Flatten(),
        nn.Linear(5 * 2 * 3, 3),
    )


def copies(module):
    return {name: value.detach().clone() for name, value in module.named_parameters()}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_shapes_strides_and_layout_stay(memory_format):
    module = conv_net().to(memory_format=memory_format)
    before = {name: (p.detach().clone(), p.stride()) for name, p in module.named_parameters()}
    objects = list(module.parameters())
    FlatParameters(module)
    assert all(a is b for a, b in zip(objects, module.parameters(), strict=True))
    for name, parameter in module.named_parameters():
        value, strides = before[name]
        torch.testing.assert_close(parameter.detach(), value, rtol=0, atol=0)
        assert parameter.stride() == parameter.grad.stride() == strides
        assert isinstance(parameter, nn.Parameter)
        assert parameter.is_leaf
    assert module[0].weight.is_contiguous(memory_format=memory_format)
    assert module[0].weight.grad.is_contiguous(memory_format=memory_format)


def test_every_value_has_its_own_place():
    module = conv_net().to(memory_format=torch.channels_last)
    flat = FlatParameters(module)
    with torch.no_grad():
        flat.values.copy_(torch.arange(len(flat.values)))
        flat.gradient.copy_(-torch.arange(len(flat.values)))
    places = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert places.sort().values.tolist() == list(range(len(flat.values)))
    for parameter in module.parameters():
        torch.testing.assert_close(parameter.grad, -parameter.detach(), rtol=0, atol=0)


def test_weights_come_first():
    module = conv_net()
    flat = FlatParameters(module)
    with torch.no_grad():
        flat.values[: flat.penalised] = 1
        flat.values[flat.penalised :] = 2
    for parameter in module.parameters():
        assert parameter.unique().tolist() == ([1] if parameter.ndim > 1 else [2])


@pytest.mark.parametrize("slow", [(), (0,), (1, 3), (5,), (0, 1, 3, 5)], ids=str)
def test_slow_parameters_lie_side_by_side_and_weights_still_come_first(slow):
    module = conv_net()
    flat = FlatParameters(module, [p for layer in slow for p in module[layer].parameters()])
    with torch.no_grad():
        flat.values.zero_()
        flat.values[flat.penalised :] = 2
        flat.values[flat.slow] += 1
    for layer in (0, 1, 3, 5):
        for parameter in module[layer].parameters():
            expected = 2 * (parameter.ndim == 1) + (layer in slow)
            assert parameter.unique().tolist() == [expected]


def test_what_is_written_on_one_side_is_read_on_the_other():
    module = conv_net()
    flat = FlatParameters(module)
    state = {name: torch.randn_like(value) for name, value in conv_net().named_parameters()}
    module.load_state_dict(state, strict=False)
    values = torch.cat([p.flatten() for p in state.values()])
    torch.testing.assert_close(flat.values.sort().values, values.sort().values, rtol=0, atol=0)
    with torch.no_grad():
        flat.values.mul_(2)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.detach(), 2 * state[name], rtol=0, atol=0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_autograd_accumulates_into_the_flat_gradient(memory_format):
    module, plain = (conv_net().to(memory_format=memory_format).double() for _ in range(2))
    flat = FlatParameters(module)
    memory = flat.gradient.data_ptr()
    for seed in range(2):
        images = torch.randn(6, 3, 6, 6, generator=torch.Generator().manual_seed(seed)).double()
        images = images.to(memory_format=memory_format)
        for network in (module, plain):
            network(images).square().mean().backward()
    for ours, theirs in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-15)
        assert ours.grad.untyped_storage().data_ptr() == memory
    norm = torch.cat([p.grad.flatten() for p in plain.parameters()]).norm()
    torch.testing.assert_close(flat.gradient.norm(), norm)
    flat.gradient.zero_()
    assert all(not p.grad.any() for p in module.parameters())


def test_frozen_parameters_stay_out():
    module = conv_net()
    module[0].requires_grad_(False)
    before = copies(module)
    memory = [p.data_ptr() for p in module[0].parameters()]
    flat = FlatParameters(module)
    assert len(flat.values) == sum(p.numel() for p in module.parameters() if p.requires_grad)
    with torch.no_grad():
        flat.values.zero_()
    assert [p.data_ptr() for p in module[0].parameters()] == memory
    assert all(p.grad is None for p in module[0].parameters())
    for name, parameter in module.named_parameters():
        expected = before[name] if name.startswith("0.") else torch.zeros_like(before[name])
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=0)


def test_shared_parameters_have_one_place():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    module = nn.Sequential(first, nn.Tanh(), second)
    reference = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    reference.load_state_dict(module.state_dict())
    flat = FlatParameters(module)
    assert len(flat.values) == 16 + 4 + 4
    assert second.weight is first.weight
    images = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    module(images).square().sum().backward()
    reference(images).square().sum().backward()
    torch.testing.assert_close(
        first.weight.grad, reference[0].weight.grad + reference[2].weight.grad
    )


@pytest.mark.parametrize(
    "strided",
    [
        lambda: torch.randn(3, 5).t(),
        lambda: torch.randn(6, 8)[::2, ::2],
        lambda: torch.randn(1, 4).expand(3, 4),
        lambda: torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2),
        lambda: torch.randn(2, 3, 4, 5, 2).to(memory_format=torch.channels_last_3d),
        lambda: torch.randn(()),
        lambda: torch.randn(0, 3),
    ],
)
def test_layouts_that_are_neither(strided):
    torch.manual_seed(0)
    module = nn.Linear(2, 2)
    module.odd = nn.Parameter(strided())
    before = copies(module)
    flat = FlatParameters(module)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name], rtol=0, atol=0)
        assert parameter.grad.shape == parameter.shape
    with torch.no_grad():
        flat.values.add_(1)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] + 1, rtol=0, atol=0)


def test_no_parameter_to_train_is_refused():
    with pytest.raises(ValueError, match="no parameter that could be trained"):
        FlatParameters(nn.Sequential(nn.Flatten(), nn.ReLU()))
    with pytest.raises(ValueError, match="no parameter that could be trained"):
        FlatParameters(conv_net().requires_grad_(False))


def test_mixed_types_are_refused():
    module = conv_net()
    module[5].double()
    with pytest.raises(ValueError, match=r"different types.*float(32|64).*float(32|64)"):
        FlatParameters(module)
    module[5].requires_grad_(False)
    FlatParameters(module)
