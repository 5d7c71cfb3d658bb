"""Files that are no images: the error names the file."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from skcnn.images import ImageFiles, UnreadableImageError

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def encoded(suffix, pixels=NOISE):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, suffix)
    return buffer.getvalue()


def text():
    return b"not an image at all, only some text"


def empty():
    return b""


def zeros():
    return bytes(5000)


def damaged_png():
    content = bytearray(encoded("png"))
    content[len(content) // 2] ^= 0xFF  # a checksum is wrong now
    return bytes(content)


def png_without_pixels():
    return encoded("png")[:33]  # signature and header


UNREADABLE = [text, empty, zeros, damaged_png, png_without_pixels]


@pytest.mark.parametrize("content", UNREADABLE)
@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_a_file_that_is_not_an_image_is_named(content, mode, tmp_path):
    path = tmp_path / "bad file.png"
    path.write_bytes(content())
    with pytest.raises(UnreadableImageError, match=r"bad file.png cannot be read as an image"):
        ImageFiles([path], size=(8, 8), mode=mode)[0]


@pytest.mark.parametrize("suffix", ["jpeg", "png", "gif", "webp", "tiff", "bmp", "ppm"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_named(suffix, part, tmp_path):
    content = encoded(suffix)
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: int(len(content) * part)])
    for read in (lambda files: files[0], lambda files: files[:], np.asarray):
        with pytest.raises(UnreadableImageError, match=f"cut.{suffix} cannot be read as an image"):
            read(ImageFiles([path], size=(8, 8)))


def test_the_reason_is_kept(tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded("jpeg")[:2000])
    with pytest.raises(UnreadableImageError, match="truncated") as caught:
        ImageFiles([path])[0]
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value.__cause__, OSError)


def test_the_first_bad_file_among_good_ones_is_named(picture_files, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(text())
    files = ImageFiles([*picture_files[:3], bad, *picture_files[3:]])
    assert files[:3].shape == (3, 6, 5, 3)
    with pytest.raises(UnreadableImageError, match=r"bad.png"):
        files[2:]


@pytest.mark.parametrize("content", [text, empty])
def test_size_none_names_a_bad_first_file_at_once(content, tmp_path):
    path = tmp_path / "bad.png"
    path.write_bytes(content())
    with pytest.raises(UnreadableImageError, match=r"bad.png"):
        ImageFiles([path])


def test_missing_files_and_folders_keep_the_systems_error(tmp_path):
    folder = tmp_path / "folder.png"
    folder.mkdir()
    for size in (None, (4, 4)):
        with pytest.raises(FileNotFoundError, match=r"nowhere.png"):
            ImageFiles([tmp_path / "nowhere.png"], size=size)[0]
        with pytest.raises(IsADirectoryError, match=r"folder.png"):
            ImageFiles([folder], size=size)[0]
    with pytest.raises(FileNotFoundError) as caught:
        ImageFiles([tmp_path / "nowhere.png"])
    assert caught.value.filename == str(tmp_path / "nowhere.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [64 * 64 - 1, 64 * 64 // 2 - 1, 10])
@pytest.mark.parametrize("size", [None, (8, 8)])
def test_a_decompression_bomb_is_an_error_that_names_the_file(limit, size, tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    path.write_bytes(encoded("png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableImageError, match=r"bomb.png .*MAX_IMAGE_PIXELS"):
        ImageFiles([path], size=size)[0]


@pytest.mark.parametrize("limit", [64 * 64, None])
def test_an_image_of_just_the_limit_is_no_bomb(limit, tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    path.write_bytes(encoded("png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    np.testing.assert_array_equal(ImageFiles([path])[0], NOISE)


def test_pixels_without_a_known_range_are_an_error(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(UnreadableImageError, match=r"float.tiff.*float pixels"):
        ImageFiles([tmp_path / "float.tiff"])[0]
    for value in (-1, 65536):
        Image.fromarray(np.full((4, 4), value, np.int32)).save(tmp_path / "int.tiff")
        with pytest.raises(UnreadableImageError, match=f"int.tiff.*{value}"):
            ImageFiles([tmp_path / "int.tiff"])[0]


@pytest.mark.parametrize("content", [text, damaged_png, lambda: encoded("jpeg")[:2000]])
def test_no_file_stays_open(content, tmp_path):
    path = tmp_path / "bad"
    path.write_bytes(content())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(UnreadableImageError):
            ImageFiles([path], size=(8, 8))[0]
    assert len(os.listdir("/proc/self/fd")) == before


def test_programming_errors_and_exhausted_memory_are_not_blamed_on_the_file(
    picture_files, monkeypatch
):
    def exhausted(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", exhausted)
    with pytest.raises(MemoryError):
        ImageFiles(picture_files, size=(3, 3))[0]
