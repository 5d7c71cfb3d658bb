"""Published weights come over a network, out of the cache, or not at all: never damaged."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save

from tests.pretrained.hub_server import COMMIT, Client, Hub

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def hub():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture(scope="module", autouse=True)
def clients(home, hub):
    """All processes that the tests need, started at once."""
    gone = Hub()
    gone.close()
    clients = {
        "online": Client(home, HF_ENDPOINT=hub.url),
        "offline": Client(home / "elsewhere", HF_HUB_CACHE=home / "hub", HF_HUB_OFFLINE=1),
        "without links": Client(home / "copies", HF_ENDPOINT=hub.url, HF_HUB_DISABLE_SYMLINKS=1),
        "without network": Client(home, HF_ENDPOINT=gone.url),
    }
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(scope="module")
def online(clients):
    return clients["online"]


@pytest.fixture(scope="module")
def offline(clients):
    return clients["offline"]


@pytest.fixture
def published(hub, request):
    """The id of a repository with one good file, new for every test."""
    hub_id = f"timm/{request.node.name.replace('[', '-').rstrip(']').replace(' ', '-')}"
    hub.files[f"{hub_id}/model.safetensors"] = CONTENT
    return hub_id


def blobs(home, hub_id):
    """The files with content that the cache has of a repository."""
    folder = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    files = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return [path for path in files if ".no_exist" not in path.parts and path.parent.name != "refs"]


class TestDownload:
    def test_comes_once(self, hub, online, published, home):
        assert online("cached_weights", published) is None
        file = online("default_weights", published)
        assert file.digest == DIGEST
        assert file.source == f"hub:{published}/model.safetensors"
        assert Path(file.path).read_bytes() == CONTENT
        assert Path(file.path).is_relative_to(home / "hub")
        assert hub.asked(f"GET /stored/{published}/")
        before = len(hub.requests)
        assert online("default_weights", published) == file
        assert online("cached_weights", published) == file
        assert online("found_again", file.source, file.digest) == file
        assert len(hub.requests) == before

    def test_older_repositories_have_another_file(self, hub, online, published):
        content = hub.files.pop(f"{published}/model.safetensors")
        hub.files[f"{published}/pytorch_model.bin"] = content
        for _ in range(2):
            file = online("default_weights", published)
            assert file.source == f"hub:{published}/pytorch_model.bin"
            assert file.digest == DIGEST

    def test_of_a_certain_revision(self, hub, online, published):
        file = online("default_weights", f"{published}@{COMMIT}")
        assert file.source == f"hub:{published}@{COMMIT}/model.safetensors"
        assert hub.asked(f"HEAD /{published}/resolve/{COMMIT}/")
        assert online("found_again", file.source, file.digest) == file

    def test_goes_on_where_it_was_cut(self, hub, online, published):
        hub.faults[f"{published}/model.safetensors"] = "cut"
        assert online("default_weights", published).digest == DIGEST
        assert len(hub.asked(f"GET /stored/{published}/")) == 2

    @pytest.mark.parametrize("fault", ["cut for good", "short", "damaged"])
    def test_nothing_stays_of_what_did_not_come_whole(self, fault, hub, online, published, home):
        hub.faults[f"{published}/model.safetensors"] = fault
        kinds, message = online("default_weights", published)
        assert "OSError" in kinds
        assert published in message
        assert "weights= the path of the file" in message
        assert "damaged" in message or "could not be downloaded" in message
        assert blobs(home, published) == []
        assert online("cached_weights", published) is None
        del hub.faults[f"{published}/model.safetensors"]
        assert online("default_weights", published).digest == DIGEST

    def test_damaged_copies_without_links_are_removed_too(self, hub, clients, published, home):
        hub.faults[f"{published}/model.safetensors"] = "damaged"
        client = clients["without links"]
        kinds, message = client("default_weights", published)
        assert "OSError" in kinds
        assert DIGEST in message
        assert blobs(home / "copies", published) == []
        del hub.faults[f"{published}/model.safetensors"]
        file = client("default_weights", published)
        assert not Path(file.path).is_symlink()
        assert file.digest == DIGEST

    def test_what_a_killed_download_left_is_not_taken(self, online, published, home):
        folder = home / "hub" / f"models--{published.replace('/', '--')}" / "blobs"
        folder.mkdir(parents=True)
        (folder / f"{DIGEST}.incomplete").write_bytes(CONTENT[:1000])
        assert online("cached_weights", published) is None
        assert Path(online("default_weights", published).path).read_bytes() == CONTENT

    def test_neither_file(self, hub, online, published):
        hub.files[f"{published}/config.json"] = hub.files.pop(f"{published}/model.safetensors")
        kinds, message = online("default_weights", published)
        assert "OSError" in kinds
        assert "neither model.safetensors nor pytorch_model.bin" in message

    def test_no_such_repository(self, hub, online):
        kinds, message = online("default_weights", "timm/none")
        assert "OSError" in kinds
        assert hub.url in message
        assert "timm/none" in message

    def test_a_hub_that_does_not_answer_is_asked_once(self, hub, online, published):
        hub.faults[f"{published}/model.safetensors"] = (
            "busy"  # and waited for, by the hub's own way
        )
        kinds, message = online("default_weights", published)
        assert "OSError" in kinds
        assert "503" in message
        assert len(hub.asked(published)) == 1

    def test_no_network(self, clients):
        kinds, message = clients["without network"]("default_weights", "timm/any")
        assert "OSError" in kinds
        assert "could not be downloaded from http://127.0.0.1:" in message
        assert "/timm/any/resolve/main/model.safetensors elsewhere and give weights=" in message


class TestFit:
    def test_downloads_once(self, hub, online):
        network = timm.create_model("test_resnet").eval()
        published = "timm/test_resnet.r160_in1k"
        assert network.pretrained_cfg["hf_hub_id"] == published
        hub.files[f"{published}/model.safetensors"] = save(network.state_dict())
        images = np.random.default_rng(0).integers(256, size=(2, 160, 160, 3), dtype=np.uint8)
        found = online("features", "test_resnet", images.tolist())
        assert isinstance(found[0][0], float), found  # else an error
        transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
        with torch.inference_mode():
            batch = torch.stack([transform(Image.fromarray(image)) for image in images])
            expected = network.forward_head(network.forward_features(batch), pre_logits=True)
        assert expected.std() > 0.01
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert len(hub.asked(f"GET /stored/{published}/")) == 1
        before = len(hub.requests)
        assert online("features", "test_resnet", images.tolist()) == found
        assert len(hub.requests) == before


class TestCache:
    def test_offline_from_the_cache(self, hub, online, offline, published):
        file = online("default_weights", published)
        before = len(hub.requests)
        assert offline("default_weights", published) == file
        assert offline("found_again", file.source, file.digest) == file
        assert len(hub.requests) == before

    def test_offline_without_it(self, offline, home):
        kinds, message = offline("default_weights", "timm/unknown")
        assert "FileNotFoundError" in kinds
        assert "HF_HUB_OFFLINE" in message
        assert "weights= the path of the file" in message
        assert str(home / "hub") in message
        assert offline("cached_weights", "timm/unknown") is None

    def test_offline_may_be_set_late(self, hub, online, published):
        kinds, message = online("default_weights", published, HF_HUB_OFFLINE="1")
        assert "FileNotFoundError" in kinds
        assert "HF_HUB_OFFLINE" in message
        assert not hub.asked(published)

    def test_damaged_files_are_refused_and_stay(self, hub, online, offline, published):
        file = online("default_weights", published)
        blob = Path(file.path).resolve()
        blob.write_bytes(CONTENT[:-1])
        for client in (online, offline):
            for function in ("default_weights", "cached_weights"):
                kinds, message = client(function, published)
                assert "OSError" in kinds
                assert f"{str(blob)!r} is " in message
                assert f"not {DIGEST}. Delete this file" in message
        assert blob.exists()
        blob.unlink()
        assert online("default_weights", published) == file

    def test_a_model_finds_the_version_that_it_was_fitted_with(self, online, published):
        file = online("default_weights", published)
        repository = Path(file.path).parents[2]
        later = repository / "snapshots" / COMMIT[::-1]
        later.mkdir()
        (later / "model.safetensors").write_bytes(b"newer")
        (repository / "refs" / "main").write_text(later.name)
        assert online("cached_weights", published).digest == hashlib.sha256(b"newer").hexdigest()
        found = online("found_again", file.source, file.digest)
        assert found.path == file.path
        kinds, message = online("found_again", file.source, "0" * 64)
        assert "ValueError" in kinds
        assert "is another file now" in message
        shutil.rmtree(repository)

    def test_a_model_does_not_download(self, hub, online, published, home):
        kinds, message = online("found_again", f"hub:{published}/model.safetensors", DIGEST)
        assert "FileNotFoundError" in kinds
        assert f"hf download {published} model.safetensors" in message
        assert str(home / "hub") in message
        assert "embed_weights=True" in message
        assert not hub.asked(published)

    def test_no_published_weights(self, online):
        kinds, message = online("default_weights", None)
        assert "ValueError" in kinds
        assert "There are no published weights of 'test_resnet.r160_in1k'" in message
        assert online("cached_weights", None) is None
