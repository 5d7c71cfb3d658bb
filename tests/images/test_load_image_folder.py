"""One sub-folder a class."""

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_files

from skcnn import load_image_folder
from skcnn.images import ImageFiles, UnreadableImageError
from tests.images.containers import forbid


def save(path, brightness=0, size=(5, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), brightness, np.uint8)).save(path)
    return str(path)


@pytest.fixture
def pets(tmp_path):
    """Return a folder of two classes: three cats (one nested) and two dogs."""
    root = tmp_path / "pets"
    for name, brightness in [("dog/1.png", 40), ("dog/0.png", 50), ("cat/n.png", 30),
                             ("cat/a.png", 10), ("cat/more/c.png", 20)]:  # fmt: skip
        save(root / name, brightness)
    return root


def test_images_labels_and_files_belong_together(pets):
    data = load_image_folder(pets)
    names = ["cat/a.png", "cat/more/c.png", "cat/n.png", "dog/0.png", "dog/1.png"]
    assert data.filenames.tolist() == [str(pets / name) for name in names]
    assert data.target.tolist() == [0, 0, 0, 1, 1]
    assert data.target_names.tolist() == ["cat", "dog"]
    assert isinstance(data.images, ImageFiles)
    assert data.images.shape == (5, 5, 6, 3)
    assert np.asarray(data.images)[:, 0, 0, 0].tolist() == [10, 20, 30, 50, 40]
    assert data.images.paths.tolist() == data.filenames.tolist()


def test_classes_are_those_of_scikit_learns_load_files(tmp_path):
    for name in ["b", "B", "a10", "a9", "Ärger", "日本", "c d", "ŝipo"]:
        save(tmp_path / name / "1.png")
    data = load_image_folder(tmp_path)
    peer = load_files(tmp_path, load_content=False, shuffle=False)
    assert data.target_names.tolist() == peer.target_names
    assert data.filenames.tolist() == peer.filenames.tolist()
    assert data.target.tolist() == peer.target.tolist()
    assert data.images[:].shape == (8, 5, 6, 3)


def test_size_and_mode_are_handed_on(pets):
    save(pets / "dog" / "large.png", size=(50, 40))
    data = load_image_folder(pets, size=(8, 9), mode="grey")
    assert data.images[:].shape == (6, 8, 9)


@pytest.mark.parametrize("kind", [str, Path, lambda path: path.relative_to(Path.cwd())])
def test_path_may_be_of_any_path_type(pets, monkeypatch, kind):
    monkeypatch.chdir(pets.parent)
    assert load_image_folder(kind(pets)).images[:].shape == (5, 5, 6, 3)


def test_hidden_files_and_clutter_are_passed_over(pets):
    for name in [".DS_Store", "cat/.hidden.png", "cat/.cache/x.txt", ".git/config", "dog/Thumbs.db",
                 "dog/desktop.ini", "__MACOSX/cat/._a.png", "readme.txt"]:  # fmt: skip
        (pets / name).parent.mkdir(parents=True, exist_ok=True)
        (pets / name).write_text("clutter")
    data = load_image_folder(pets)
    assert len(data.images) == 5
    assert data.target_names.tolist() == ["cat", "dog"]


def test_linked_folders_and_files_count(pets, tmp_path):
    elsewhere = save(tmp_path / "elsewhere" / "x.png", 99)
    os.symlink(tmp_path / "elsewhere", pets / "bird", target_is_directory=True)
    os.symlink(elsewhere, pets / "dog" / "2.png")
    data = load_image_folder(pets)
    assert data.target_names.tolist() == ["bird", "cat", "dog"]
    assert len(data.images) == 7


def damage(path, n_bytes=45):
    path.write_bytes(path.read_bytes()[:n_bytes])
    return str(path)


def test_a_damaged_file_is_an_error_that_names_it(pets):
    damage(pets / "dog" / "0.png")
    with pytest.raises(UnreadableImageError, match=r"0.png cannot be read as an image"):
        load_image_folder(pets)
    with pytest.raises(UnreadableImageError, match=r"0.png"):
        load_image_folder(pets, size=(4, 4))


def test_skip_drops_bad_files_and_counts_and_lists_them(pets):
    bad = [damage(pets / "dog" / "0.png"), str(pets / "cat" / "notes.txt")]
    Path(bad[1]).write_text("notes")
    dangling = pets / "cat" / "dangling.png"
    dangling.symlink_to(pets / "nowhere")
    with pytest.warns(UserWarning, match="3 of 7 files were dropped") as caught:
        data = load_image_folder(pets, on_error="skip")
    message = str(caught[0].message)
    assert all(path in message for path in [*bad, str(dangling)])
    assert caught[0].filename == __file__  # the warning points at its cause
    names = ["cat/a.png", "cat/more/c.png", "cat/n.png", "dog/1.png"]
    assert data.filenames.tolist() == [str(pets / name) for name in names]
    assert data.target.tolist() == [0, 0, 0, 1]
    assert np.asarray(data.images)[:, 0, 0, 0].tolist() == [10, 20, 30, 40]


def test_skip_says_nothing_when_all_is_well(pets):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_image_folder(pets, on_error="skip").images) == 5


def test_skip_shortens_a_long_list(pets):
    for i in range(25):
        (pets / "dog" / f"bad{i:02}.png").write_text("no")
    with pytest.warns(UserWarning, match="25 of 30 files were dropped") as caught:
        load_image_folder(pets, on_error="skip")
    message = str(caught[0].message)
    assert message.count("bad") < 25
    assert "and 15 more" in message


def test_skip_names_a_class_that_is_left_without_files(pets):
    for name in ("0.png", "1.png"):
        damage(pets / "dog" / name)
    with pytest.warns(UserWarning, match="No file is left of the classes dog"):
        data = load_image_folder(pets, on_error="skip")
    assert data.target_names.tolist() == ["cat"]
    assert data.target.tolist() == [0, 0, 0]


def test_skip_with_nothing_left_is_an_error(pets):
    for path in pets.rglob("*.png"):
        damage(path)
    with pytest.raises(ValueError, match="none of 5 files is a readable image"):
        load_image_folder(pets, on_error="skip")


@pytest.mark.parametrize("verify", [True, False])
def test_files_of_another_size_need_a_size(pets, verify):
    odd = save(pets / "dog" / "2.png", size=(9, 9))
    with pytest.raises(UnreadableImageError, match=r"2.png has .*\(9, 9\).*\(5, 6\).*size="):
        load_image_folder(pets, verify=verify)
    with pytest.warns(UserWarning, match="1 of 6 files were dropped") as caught:
        data = load_image_folder(pets, on_error="skip", verify=verify)
    assert odd in str(caught[0].message)
    assert data.images[:].shape == (5, 5, 6, 3)


def test_verify_false_reads_headers_only(pets):
    (pets / "dog" / "0.png").write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"0.png"):
        load_image_folder(pets, verify=False)
    save(pets / "dog" / "0.png", size=(5, 6))
    damage(pets / "dog" / "1.png")  # signature and header are left
    data = load_image_folder(pets, verify=False)
    assert data.images[:4].shape == (4, 5, 6, 3)
    with pytest.raises(UnreadableImageError, match=r"1.png"):
        data.images[:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("verify", [True, False])
def test_a_decompression_bomb_is_named_or_dropped(pets, verify, monkeypatch):
    bomb = save(pets / "dog" / "bomb.png", size=(30, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UnreadableImageError, match=r"bomb.png"):
        load_image_folder(pets, size=(4, 4), verify=verify)
    with pytest.warns(UserWarning, match="1 of 6") as caught:
        data = load_image_folder(pets, size=(4, 4), on_error="skip", verify=verify)
    dropped = [str(warning.message) for warning in caught if "dropped" in str(warning.message)]
    assert bomb in dropped[0]
    assert len(data.images) == 5


def test_orientation_counts_for_the_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 8)).save(tmp_path / "a" / "0.jpg")
    Image.new("RGB", (8, 4)).save(tmp_path / "a" / "1.jpg", exif=exif)
    for verify in (True, False):
        assert load_image_folder(tmp_path, verify=verify).images[:].shape == (2, 8, 4, 3)


def test_a_folder_without_classes_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no sub-folders"):
        load_image_folder(tmp_path)
    save(tmp_path / "1.png")
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(ValueError, match="holds no sub-folders"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_empty_class_folders_are_named(pets, on_error):
    (pets / "bird").mkdir()
    (pets / "fish" / "deep").mkdir(parents=True)
    with pytest.raises(ValueError, match="without any file: bird, fish"):
        load_image_folder(pets, on_error=on_error)


def test_what_is_no_folder_is_an_error_that_names_it(pets):
    for path in (pets / "nowhere", pets / "cat" / "a.png"):
        with pytest.raises(NotADirectoryError, match=path.name):
            load_image_folder(path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', got 'ignore'"),
        ({"mode": "gray"}, "mode must be one of"),
        ({"size": 32}, "size must be"),
        ({"size": ()}, "size must be"),
        ({"size": 0}, "size must be"),
    ],
)
def test_wrong_parameters_are_refused_before_any_file_is_looked_at(tmp_path, parameters, message):
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path / "nowhere", **parameters)


def test_size_may_be_an_array(pets):
    assert load_image_folder(pets, size=np.array([3, 4])).images.shape == (5, 3, 4, 3)


def test_the_bunch_can_be_pickled(pets):
    data = pickle.loads(pickle.dumps(load_image_folder(pets)))
    assert data.images[:].shape == (5, 5, 6, 3)


def test_folders_that_cannot_be_read(pets, monkeypatch):
    forbid(monkeypatch, pets / "cat" / "more")
    with pytest.raises(PermissionError, match="more"):
        load_image_folder(pets)
    with pytest.warns(UserWarning, match=r"1 folders cannot be read and are passed over, .*more"):
        data = load_image_folder(pets, on_error="skip")
    assert len(data.images) == 4


def test_links_to_folders_are_followed_but_not_round_and_round(pets, tmp_path):
    save(tmp_path / "elsewhere" / "d.png", 60)
    os.symlink(tmp_path / "elsewhere", pets / "cat" / "linked", target_is_directory=True)
    os.symlink(pets / "cat", pets / "cat" / "round", target_is_directory=True)
    data = load_image_folder(pets)
    names = [os.path.relpath(name, pets) for name in data.filenames]
    assert names == ["cat/a.png", "cat/linked/d.png", "cat/more/c.png", "cat/n.png",
                     "dog/0.png", "dog/1.png"]  # fmt: skip
