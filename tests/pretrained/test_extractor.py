"""Features of pre-trained networks: what timm itself computes, and how they are kept."""

import copy
import os
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pytest
import skops.io
import timm
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from torch import nn

import skcnn
from skcnn import Preprocessing, PretrainedExtractor
from skcnn.pretrained import _extractor, _sharing
from skcnn.pretrained._backbones import find_backbone, random_network

FAMILIES = {"vgg16": 512, "resnet50": 2048, "inception_v3": 2048, "efficientnet_b0": 1280}


def photos(n=3, size=(50, 70), channels=3, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 5, 7, channels), dtype=np.uint8)
    rows, columns = (np.arange(s) * small.shape[i + 1] // s for i, s in enumerate(size))
    return small[:, rows][:, :, columns]


def weights_of_timm(name, folder, seed=0, **options):
    """Write a file of weights as people do who use timm; return its path and the network."""
    torch.manual_seed(seed)
    network = timm.create_model(name, **options).eval()
    # Statistics that do something: those of a new network are 0 and 1.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    path = folder / f"{name}.pth"
    torch.save(network.state_dict(), path)
    return path, network


def as_timm_sees_them(network, X):
    """Return images after timm's own transform, one by one."""
    options = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**options, is_training=False)
    return torch.stack([transform(Image.fromarray(image)) for image in X])


class TestAgainstTimm:
    @pytest.mark.parametrize("name", FAMILIES)
    def test_the_families(self, name):
        """Pooled features are timm's maps, averaged, of images as timm sees them."""
        X = photos(2)
        extractor = PretrainedExtractor(name, weights=None, random_state=0)
        features = extractor.fit_transform(X)
        assert features.shape == (2, FAMILIES[name])
        assert features.dtype == np.float32
        assert extractor.output_shape_ == (FAMILIES[name],)
        network = random_network(find_backbone(name), extractor._origin.seed)
        with torch.inference_mode():
            maps = network.forward_features(as_timm_sees_them(network, X))
        expected = maps.mean(dim=(2, 3)).numpy()
        assert expected.std(axis=0).max() > 0
        np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())

    @pytest.mark.parametrize(
        "name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_nfnet"]
    )
    def test_pooled_features_and_logits_of_other_networks(self, name, tmp_path):
        path, network = weights_of_timm(name, tmp_path)
        X = photos()
        inputs = as_timm_sees_them(network, X)
        with torch.inference_mode():
            expected = network.forward_head(network.forward_features(inputs), pre_logits=True)
            logits = network(inputs).numpy()
        pooled = PretrainedExtractor(name, weights=path).fit_transform(X)
        np.testing.assert_allclose(pooled, expected, rtol=1e-3, atol=1e-4)
        said = PretrainedExtractor(name, weights=path, layer="logits").fit_transform(X)
        assert said.shape == (3, 1000)
        np.testing.assert_allclose(said, logits, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize(
        ("name", "layer", "n_channels"),
        [("test_resnet", "layer3", 64), ("test_efficientnet", "blocks.2", None)],
    )
    def test_maps_inside(self, name, layer, n_channels, tmp_path):
        path, network = weights_of_timm(name, tmp_path)
        X = photos()
        seen = {}
        network.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.update(maps=o))
        with torch.inference_mode():
            network(as_timm_sees_them(network, X))
        maps = seen["maps"].permute(0, 2, 3, 1).numpy()
        for pool, expected in [
            (None, maps.reshape(3, -1)),
            ("average", maps.mean(axis=(1, 2))),
            ("max", maps.max(axis=(1, 2))),
        ]:
            extractor = PretrainedExtractor(name, weights=path, layer=layer, pool=pool)
            features = extractor.fit_transform(X)
            np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
            assert extractor.output_shape_ == (maps.shape[1:] if pool is None else maps.shape[3:])

    def test_tokens_inside(self, tmp_path):
        path, network = weights_of_timm("test_vit", tmp_path)
        X = photos()
        with torch.inference_mode():
            inner = network.forward_intermediates(
                as_timm_sees_them(network, X), [1], return_prefix_tokens=True, output_fmt="NLC",
                intermediates_only=True,
            )  # fmt: skip
        expected = torch.cat([inner[0][1], inner[0][0]], dim=1).numpy()
        extractor = PretrainedExtractor("test_vit", weights=path, layer="blocks.1", pool=None)
        features = extractor.fit_transform(X)
        assert extractor.output_shape_ == expected.shape[1:]
        np.testing.assert_allclose(features, expected.reshape(3, -1), rtol=1e-3, atol=1e-4)
        pooled = PretrainedExtractor("test_vit", weights=path, layer="blocks.1").fit_transform(X)
        np.testing.assert_allclose(pooled, expected.mean(axis=1), rtol=1e-3, atol=1e-4)

    def test_grey_images_are_repeated(self, tmp_path):
        path, _ = weights_of_timm("test_resnet", tmp_path)
        X = photos(channels=1)
        extractor = PretrainedExtractor("test_resnet", weights=path)
        grey = extractor.fit_transform(X[..., 0])
        colour = extractor.fit_transform(np.repeat(X, 3, axis=3))
        np.testing.assert_allclose(grey, colour, rtol=1e-5, atol=1e-6)

    def test_a_module_of_one_s_own(self):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 4))
        how = Preprocessing(8, crop=1.0, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        X = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)
        inputs = torch.tensor((X - 0.5) / 0.25).permute(0, 3, 1, 2)
        parameters = {"weights": module, "preprocessing": how}
        with torch.no_grad():
            logits, hidden = module(inputs).numpy(), module[:3](inputs).numpy()
        said = PretrainedExtractor(layer="logits", **parameters).fit_transform(X)
        np.testing.assert_allclose(said, logits, rtol=1e-5, atol=1e-6)
        pooled = PretrainedExtractor(**parameters).fit_transform(X)
        np.testing.assert_allclose(pooled, hidden, rtol=1e-5, atol=1e-6)
        # It is used as it is when images come: trained further, it says something else.
        extractor = PretrainedExtractor(layer="logits", **parameters).fit(X)
        with torch.no_grad():
            module[3].bias += 1
        np.testing.assert_allclose(extractor.transform(X), logits + 1, rtol=1e-5, atol=1e-5)
        assert module[0].weight.is_contiguous()

    def test_a_module_that_has_changed(self):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
        )
        X = photos()

        def make():
            parameters = {"preprocessing": Preprocessing(8), "layer": "logits"}
            return PretrainedExtractor(weights=module, **parameters)

        def expected():
            return clone(make()).fit_transform(X)  # of a copy of the module

        extractor = make().fit(X)
        module.train()(torch.randn(8, 3, 8, 8))  # moves the statistics of the normalisation
        np.testing.assert_array_equal(extractor.transform(X), expected())
        module[0].weight.data *= 2
        np.testing.assert_array_equal(make().fit_transform(X), expected())
        module[2] = nn.Tanh()
        np.testing.assert_array_equal(make().fit_transform(X), expected())

    def test_a_module_from_inference_mode(self):
        with torch.inference_mode():
            module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
        extractor = PretrainedExtractor(weights=module, preprocessing=Preprocessing(8))
        assert extractor.fit_transform(photos()).shape == (len(photos()), 4 * 36)

    def test_the_first_of_several_outputs(self):
        class Several(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(48, 4)

            def forward(self, images):
                logits = self.layer(images.flatten(1))
                return {"logits": logits, "twice": 2 * logits}

        module, how = Several(), Preprocessing(4, crop=1.0, mean=(0, 0, 0), std=(1, 1, 1))
        X = np.random.default_rng(0).uniform(size=(3, 4, 4, 3)).astype(np.float32)
        extractor = PretrainedExtractor(weights=module, preprocessing=how, layer="logits")
        expected = module(torch.tensor(X).permute(0, 3, 1, 2))["logits"].detach()
        np.testing.assert_allclose(extractor.fit_transform(X), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    path, _ = weights_of_timm("test_resnet", tmp_path_factory.mktemp("weights"))
    return PretrainedExtractor("test_resnet", weights=path)


class TestShape:
    def test_the_batch_an_image_is_in_does_not_matter(self, extractor):
        X = photos(11)
        expected = extractor.fit_transform(X)
        for parameters in ({"batch_size": 1}, {"batch_size": 4}, {"batch_size": 4, "n_jobs": 3}):
            other = clone(extractor).set_params(**parameters).fit_transform(X)
            np.testing.assert_allclose(other, expected, rtol=1e-4, atol=1e-6)

    def test_batches_prepared_ahead_come_in_their_order(self, extractor):
        X = photos(11)
        expected = extractor.fit_transform(X)
        torch.set_num_threads(2)
        try:
            features = clone(extractor).set_params(batch_size=2).fit_transform(X)
        finally:
            torch.set_num_threads(1)
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)

    def test_progress(self, extractor, capsys, monkeypatch):
        clone(extractor).fit_transform(photos(5))
        assert capsys.readouterr().out == ""
        loud = clone(extractor).set_params(batch_size=2, verbose=True).fit(photos(5))
        loud.transform(photos(5))
        assert re.fullmatch(r"5 of 5 images \(\d+ s\)\n", capsys.readouterr().out)
        monkeypatch.setattr(_extractor, "_SECONDS_BETWEEN_REPORTS", 0)
        loud.transform(photos(5))
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["2", "4", "5"]

    def test_input_size(self, extractor):
        X = photos()
        smaller = clone(extractor).set_params(input_size=64).fit(X)
        assert smaller.preprocessing_.size == (64, 64)
        assert extractor.fit(X).preprocessing_.size == (160, 160)
        same = clone(extractor).set_params(
            preprocessing=Preprocessing(64, "bilinear", 0.95, (0.5,) * 3, (0.5,) * 3)
        )
        np.testing.assert_array_equal(same.fit_transform(X), smaller.transform(X))
        assert not np.allclose(extractor.transform(X), smaller.transform(X))

    def test_names(self, extractor):
        names = extractor.fit(photos()).get_feature_names_out()
        assert names[0] == "pretrainedextractor0"
        assert len(names) == len(extractor.transform(photos(1))[0])

    def test_changing_parameters_changes_the_next_fit(self, extractor):
        X = photos()
        fitted = clone(extractor).fit(X)
        expected = fitted.transform(X)
        fitted.set_params(layer="logits", backbone="test_vit", weights=None, input_size=32)
        np.testing.assert_array_equal(fitted.transform(X), expected)

    def test_bfloat16_is_about_the_same(self, extractor):
        X = photos()
        low = clone(extractor).set_params(precision="bfloat16").fit_transform(X)
        expected = extractor.fit_transform(X)
        assert low.dtype == np.float32
        assert 0 < abs(low - expected).max() < 0.05 * abs(expected).max()


class TestState:
    @pytest.fixture
    def path(self, tmp_path):
        return weights_of_timm("test_resnet", tmp_path)[0]

    def test_nothing_is_loaded_before_fit(self, path, monkeypatch):
        monkeypatch.setattr(_extractor, "network_of", None)
        extractor = clone(PretrainedExtractor("test_resnet", weights=path))
        assert extractor.get_params()["weights"] == path
        assert PretrainedExtractor("no such network").backbone == "no such network"

    def test_equal_extractors_share_one_network(self, path, monkeypatch):
        built = []
        original = _extractor.network_of
        monkeypatch.setattr(
            _extractor, "network_of", lambda *a, **k: built.append(a) or original(*a, **k)
        )
        X, y = photos(12), np.arange(12) % 2
        pipeline = make_pipeline(
            PretrainedExtractor("test_resnet", weights=path), LogisticRegression()
        )
        cross_validate(pipeline, X, y, cv=3, error_score="raise")
        assert len(built) == 1
        extractors = [PretrainedExtractor("test_resnet", weights=path).fit(X) for _ in range(3)]
        for extractor in (*extractors, pickle.loads(pickle.dumps(extractors[0]))):
            extractor.transform(X)
        assert len(built) == 1
        PretrainedExtractor("test_resnet", weights=path, layer="layer3").fit(X)
        assert len(built) == 2

    def test_threads_share_it_too(self, path):
        X = photos(6)
        extractor = PretrainedExtractor("test_resnet", weights=path).fit(X)
        expected = extractor.transform(X)
        results = {}
        threads = [
            threading.Thread(target=lambda i=i: results.update({i: extractor.transform(X)}))
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 4
        for result in results.values():
            np.testing.assert_array_equal(result, expected)

    def test_a_pickle_holds_a_digest_and_no_weights(self, path):
        X = photos()
        extractor = PretrainedExtractor("test_resnet", weights=path).fit(X)
        dumped = pickle.dumps(extractor)
        assert len(dumped) < 3000
        assert b"torch" not in dumped
        assert extractor.weights_ is None
        assert extractor.weights_source_ == str(path)
        np.testing.assert_array_equal(pickle.loads(dumped).transform(X), extractor.transform(X))
        np.testing.assert_array_equal(copy.deepcopy(extractor).transform(X), extractor.transform(X))

    def test_another_process_finds_the_weights_again(self, path, tmp_path):
        X = photos()
        extractor = PretrainedExtractor("test_resnet", weights=path).fit(X)
        (tmp_path / "model.pkl").write_bytes(pickle.dumps(extractor))
        np.save(tmp_path / "X.npy", X)
        code = (
            "import pickle, numpy as np\n"
            "model = pickle.load(open('model.pkl', 'rb'))\n"
            "np.save('features.npy', model.transform(np.load('X.npy')))\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(skcnn.__file__).parents[1])}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
        found = np.load(tmp_path / "features.npy")
        np.testing.assert_array_equal(found, extractor.transform(X))

    @pytest.mark.parametrize("embed", [False, True])
    def test_weights_that_have_changed_or_gone(self, path, embed, monkeypatch):
        X = photos()
        extractor = PretrainedExtractor("test_resnet", weights=path, embed_weights=embed).fit(X)
        expected = extractor.transform(X)
        dumped = pickle.dumps(extractor)
        assert (len(dumped) > 100_000) == embed

        def transform_elsewhere():
            monkeypatch.setattr(_sharing, "_networks", WeakValueDictionary())
            return pickle.loads(dumped).transform(X)

        weights_of_timm("test_resnet", path.parent, seed=1)  # another file at the same path
        if embed:
            np.testing.assert_array_equal(transform_elsewhere(), expected)
        else:
            with pytest.raises(ValueError, match="is another file now"):
                transform_elsewhere()
        path.unlink()
        if embed:
            np.testing.assert_array_equal(transform_elsewhere(), expected)
        else:
            with pytest.raises(FileNotFoundError, match="embed_weights=True"):
                transform_elsewhere()

    def test_pooled_features_want_no_classifier(self, tmp_path):
        X = photos()
        path, network = weights_of_timm("test_resnet", tmp_path, num_classes=7)
        with torch.inference_mode():
            maps = network.forward_features(as_timm_sees_them(network, X))
        features = PretrainedExtractor("test_resnet", weights=path).fit_transform(X)
        np.testing.assert_allclose(features, maps.mean(dim=(2, 3)), rtol=1e-3, atol=1e-4)
        with pytest.raises(ValueError, match=r"fc\.weight"):
            PretrainedExtractor("test_resnet", weights=path, layer="logits").fit(X)

    def test_random_weights_need_no_file(self):
        X = photos()
        first = PretrainedExtractor("test_resnet", weights=None, random_state=1).fit(X)
        features = first.transform(X)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).transform(X), features)
        np.testing.assert_array_equal(clone(first).fit_transform(X), features)
        other = clone(first).set_params(random_state=2).fit_transform(X)
        assert not np.allclose(other, features)
        assert first.weights_source_ is None
        assert first.weights_digest_ is None

    @pytest.mark.parametrize("embed", [False, True])
    def test_skops_needs_to_trust_skcnn_only(self, path, embed):
        X = photos()
        extractor = PretrainedExtractor("test_resnet", weights=str(path), embed_weights=embed).fit(
            X
        )
        dumped = skops.io.dumps(extractor)
        unknown = skops.io.get_untrusted_types(data=dumped)
        assert all(name.startswith("skcnn.") for name in unknown)
        loaded = skops.io.loads(dumped, trusted=unknown)
        np.testing.assert_array_equal(loaded.transform(X), extractor.transform(X))

    def test_a_device_that_is_gone(self, path, monkeypatch):
        X = photos()
        extractor = PretrainedExtractor("test_resnet", weights=path).fit(X)
        expected = extractor.transform(X)
        extractor.set_params(device="cuda")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        np.testing.assert_array_equal(extractor.transform(X), expected)
        with pytest.raises(ValueError, match="device='cuda' is not available here"):
            extractor.fit(X)


class TestBadInput:
    def test_no_module_without_its_preprocessing(self):
        with pytest.raises(ValueError, match="preprocessing must say what the module"):
            PretrainedExtractor(weights=nn.Conv2d(3, 4, 3)).fit(photos())

    def test_no_such_layer(self):
        extractor = PretrainedExtractor("test_resnet", weights=None, layer="layer9")
        with pytest.raises(ValueError, match=r"layer='layer9' is no layer.*Did you mean 'layer"):
            extractor.fit(photos())

    def test_a_layer_that_says_nothing_of_single_images(self):
        class Mean(nn.Module):
            def forward(self, images):
                return images.mean(dim=0)

        module = nn.Sequential(nn.Conv2d(3, 4, 3), Mean(), nn.Flatten(0), nn.Linear(4 * 36, 2))
        extractor = PretrainedExtractor(weights=module, preprocessing=Preprocessing(8), layer="1")
        with pytest.raises(ValueError, match="layer must name one whose output has a row"):
            extractor.fit(photos())

    def test_no_logits_of_a_network_without_classes(self, tmp_path):
        network = timm.create_model("test_resnet", num_classes=0)
        how = Preprocessing(32)
        with pytest.raises(ValueError, match=r"trained without any.*layer='pooled'"):
            PretrainedExtractor(weights=network, preprocessing=how, layer="logits").fit(photos())

    def test_no_other_size_for_networks_of_fixed_size(self):
        extractor = PretrainedExtractor("test_vit", weights=None, input_size=96)
        with pytest.raises(ValueError, match=r"test_vit.* 160 x 160.*got 96 x 96"):
            extractor.fit(photos())

    @pytest.mark.parametrize("dtype", [np.float32, np.int64])
    def test_a_warning_of_images_up_to_255(self, dtype, recwarn):
        extractor = PretrainedExtractor("test_resnet", weights=None)
        extractor.fit_transform(photos() / 255)
        assert not recwarn
        with pytest.warns(UserWarning, match=r"X holds numbers from .* to 2.., but .* X / 255"):
            extractor.fit_transform(photos().astype(dtype))

    def test_images_that_are_too_small_for_the_network(self):
        extractor = PretrainedExtractor("vgg11", weights=None, input_size=16)
        with pytest.raises(ValueError, match=r"cannot compute images of 16 x 16.*input_size"):
            extractor.fit(photos())

    @pytest.mark.parametrize("channels", [2, 4])
    def test_grey_or_rgb(self, channels):
        with pytest.raises(ValueError, match=f"1 or 3 channels, got {channels} channels"):
            PretrainedExtractor("test_resnet", weights=None).fit(photos(channels=channels))

    def test_a_file_that_does_not_exist(self):
        with pytest.raises(FileNotFoundError, match=r"weights='none.pth' does not exist"):
            PretrainedExtractor("test_resnet", weights="none.pth").fit(photos())

    def test_weights_of_another_network(self, tmp_path):
        path, _ = weights_of_timm("test_efficientnet", tmp_path)
        with pytest.raises(ValueError, match=r"weights=.*missing"):
            PretrainedExtractor("test_resnet", weights=path).fit(photos())

    def test_default_weights_without_a_network_or_a_cache(self):
        with pytest.raises(FileNotFoundError, match=r"timm/test_resnet.r160_in1k.*HF_HUB_OFFLINE"):
            PretrainedExtractor("test_resnet").fit(photos())
