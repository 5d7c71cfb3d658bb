"""Files of weights that the user names: what is refused, and what is remembered of them."""

import builtins
import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from skcnn.pretrained._digests import digest_of
from skcnn.pretrained._weights import (
    cached_weights,
    default_weights,
    found_again,
    load_weights,
    weights_from,
)

CONTENT = b"tensors, or so"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
RESNET = SimpleNamespace(name="resnet50.a1_in1k", hub_id="timm/resnet50.a1_in1k", classifier="fc")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(CONTENT)
    return path


class TestFromPath:
    @pytest.mark.parametrize(
        "name", ["w.safetensors", "w.pth", "w.pt", "w.bin", "model_best.pth.tar", "W.PTH"]
    )
    def test_known_types(self, name, tmp_path):
        path = tmp_path / name
        path.write_bytes(CONTENT)
        for given in (path, str(path)):
            file = weights_from(given)
            assert file.path == path
            assert file.source == str(path)
            assert file.digest == DIGEST

    def test_the_source_holds_wherever_the_process_goes(self, path, monkeypatch):
        monkeypatch.chdir(path.parent)
        file = weights_from(path.name)
        monkeypatch.chdir("/")
        assert found_again(file.source, file.digest) == file

    def test_the_home_folder(self, path, monkeypatch):
        monkeypatch.setenv("HOME", str(path.parent))
        assert weights_from("~/weights.pth").path == path

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"weights='.*none.pth' does not exist"):
            weights_from(tmp_path / "none.pth")
        with pytest.raises(FileNotFoundError, match="It may be 'default'"):
            weights_from("defualt")

    def test_a_folder(self, tmp_path):
        with pytest.raises(ValueError, match="is a folder; give the path of a file in it"):
            weights_from(tmp_path)

    @pytest.mark.parametrize("name", ["weights.h5", "weights.npz", "weights", "weights.tar"])
    def test_unknown_type(self, name, tmp_path):
        (tmp_path / name).write_bytes(CONTENT)
        with pytest.raises(ValueError, match=rf"{name}' is of an unknown type: .*\.safetensors"):
            weights_from(tmp_path / name)

    def test_empty(self, tmp_path):
        (tmp_path / "weights.pth").touch()
        with pytest.raises(ValueError, match=r"weights.pth' is an empty file"):
            weights_from(tmp_path / "weights.pth")


class TestFoundAgain:
    def test_moved_away(self, path):
        file = weights_from(path)
        path.unlink()
        with pytest.raises(FileNotFoundError, match="Put the file back at this path") as info:
            found_again(file.source, file.digest)
        assert str(path) in str(info.value)
        assert DIGEST in str(info.value)
        assert "embed_weights=True" in str(info.value)

    def test_another_file(self, path):
        file = weights_from(path)
        path.write_bytes(b"others")
        with pytest.raises(ValueError, match="is another file now") as info:
            found_again(file.source, file.digest)
        assert DIGEST in str(info.value)
        assert hashlib.sha256(b"others").hexdigest() in str(info.value)


class TestDigest:
    def test_is_computed_once(self, path, monkeypatch):
        opened, really = [], Path.open
        monkeypatch.setattr(Path, "open", lambda *args: opened.append(args[0]) or really(*args))
        assert [digest_of(path), digest_of(path)] == [DIGEST, DIGEST]
        assert opened == [path]

    def test_follows_changes(self, path):
        assert digest_of(path) == DIGEST
        path.write_bytes(CONTENT[::-1])
        os.utime(path, ns=(0, 12345))
        assert digest_of(path) == hashlib.sha256(CONTENT[::-1]).hexdigest()
        replacement = path.with_name("new")
        replacement.write_bytes(CONTENT)
        os.utime(replacement, ns=(0, 12345))
        replacement.replace(path)
        assert digest_of(path) == DIGEST


@pytest.fixture
def without(monkeypatch):
    """Make imports of a library fail as if it were not installed."""

    def hide(library):
        really = builtins.__import__

        def fake(name, *args, **kwargs):
            if name.partition(".")[0] == library:
                raise ImportError(name)
            return really(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", fake)

    return hide


class TestWithoutTheExtra:
    def test_huggingface_hub(self, without):
        without("huggingface_hub")
        for function in (default_weights, cached_weights):
            with pytest.raises(ImportError, match=r'pip install "skcnn\[pretrained\]"'):
                function(RESNET)
        with pytest.raises(ImportError, match=r'pip install "skcnn\[pretrained\]"'):
            found_again("hub:timm/resnet50.a1_in1k/model.safetensors", DIGEST)

    def test_a_path_needs_none_of_it(self, without, path):
        without("huggingface_hub")
        file = weights_from(path)
        assert found_again(file.source, file.digest) == file

    def test_safetensors(self, without, tmp_path):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(CONTENT)
        without("safetensors")
        with pytest.raises(ImportError, match=r'pip install "skcnn\[pretrained\]"'):
            load_weights(None, weights_from(path), RESNET)
