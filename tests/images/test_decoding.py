"""Every kind of image file becomes the pixels that Pillow and scikit-image see."""

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, features
from skimage.color import rgba2rgb

from skcnn.images import ImageFiles

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (7, 9), dtype=np.uint8)


def read(path, mode="rgb", size=None):
    files = ImageFiles([path], size=size, mode=mode)
    image = files[0]
    assert image.dtype == np.uint8
    assert image.shape == files.shape[1:]  # what the header promised
    np.testing.assert_array_equal(np.asarray(files)[0], image)
    return image


def luma(rgb):
    """Return ITU-R 601-2 luma, Pillow's grey."""
    return np.asarray(rgb, float) @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "gif", "webp"])
def test_lossless_formats(suffix, tmp_path):
    path = tmp_path / f"image.{suffix}"
    few = COLOUR // 64 * 64  # a GIF holds 256 colours
    Image.fromarray(few).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read(path), few)
    np.testing.assert_allclose(read(path, "grey"), luma(few), atol=1)


@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_grey_and_colour_files_in_either_mode(mode, tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    Image.fromarray(COLOUR).save(tmp_path / "colour.png")
    if mode == "rgb":
        np.testing.assert_array_equal(read(tmp_path / "grey.png"), np.stack([GREY] * 3, -1))
        np.testing.assert_array_equal(read(tmp_path / "colour.png"), COLOUR)
    else:
        np.testing.assert_array_equal(read(tmp_path / "grey.png", "grey"), GREY)
        expected = np.asarray(Image.fromarray(COLOUR).convert("L"))
        np.testing.assert_array_equal(read(tmp_path / "colour.png", "grey"), expected)


def test_jpeg_is_what_pillow_decodes(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(COLOUR).save(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read(path), np.asarray(image))


# What an upright image looks like in a file that says so: EXIF's orientations, spelt with NumPy.
STORED_AS = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright.swapaxes(0, 1), 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_exif_orientation_is_honoured(orientation, suffix, mode, tmp_path):
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED_AS[orientation](COLOUR))
    lossless = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(stored).save(path, exif=exif, **lossless)
    if mode == "rgb":
        np.testing.assert_array_equal(read(path), COLOUR)
    else:
        np.testing.assert_allclose(read(path, "grey"), luma(COLOUR), atol=1)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_orientation_of_a_photo(orientation, tmp_path):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOUR).save(path, exif=exif)
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(read(path), np.asarray(expected))
    resized = expected.resize((4, 5), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read(path, size=(5, 4)), np.asarray(resized))


def chunks_of_png(content):
    start = 8
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        yield content[start + 4 : start + 8], content[start:end]
        start = end


@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_behind_the_pixels_of_a_png_counts_too(orientation, tmp_path):
    path = tmp_path / "late.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](COLOUR))).save(path, exif=exif)
    content = path.read_bytes()
    chunks = list(chunks_of_png(content))
    late = sorted(chunks, key=lambda chunk: (chunk[0] == b"eXIf") + 2 * (chunk[0] == b"IEND"))
    assert [kind for kind, _ in late] == [b"IHDR", b"IDAT", b"eXIf", b"IEND"]
    path.write_bytes(content[:8] + b"".join(chunk for _, chunk in late))
    np.testing.assert_array_equal(read(path), COLOUR)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "gif", "webp"])
def test_headers_are_read_without_the_pixels(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(COLOUR).save(path)

    def load(*args):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert ImageFiles([path]).shape == (1, 7, 9, 3)


@pytest.mark.parametrize("orientation", [0, 9, 90])
def test_orientations_that_mean_nothing_are_passed_over(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOUR).save(tmp_path / "odd.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "odd.png"), COLOUR)


def test_transparent_colours_are_laid_over_white(tmp_path):
    rgba = np.dstack([COLOUR, ALPHA])
    rgba[0, 0] = 10, 20, 30, 0
    rgba[0, 1] = 10, 20, 30, 255
    expected = rgba2rgb(rgba) * 255
    for suffix in ("png", "tiff"):
        path = tmp_path / f"rgba.{suffix}"
        Image.fromarray(rgba).save(path)
        np.testing.assert_allclose(read(path), expected, atol=1)
        np.testing.assert_allclose(read(path, "grey"), luma(expected), atol=1.5)
        assert read(path)[0, :2].tolist() == [[255, 255, 255], [10, 20, 30]]


def test_transparent_greys_are_laid_over_white(tmp_path):
    path = tmp_path / "la.png"
    Image.fromarray(np.dstack([GREY, ALPHA])).save(path)
    with Image.open(path) as image:
        assert image.mode == "LA"
    expected = GREY * (ALPHA / 255) + 255 - ALPHA
    np.testing.assert_allclose(read(path, "grey"), expected, atol=1)
    np.testing.assert_allclose(read(path), np.dstack([expected] * 3), atol=1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_colour_declared_transparent_becomes_white(mode, tmp_path):
    pixels = np.array([[0, 80], [160, 240]], np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "key.png", transparency=80 if mode == "L" else (80, 80, 80))
    assert read(tmp_path / "key.png", "grey").tolist() == [[0, 255], [160, 240]]


def palette_image():
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp"])
def test_palettes_are_resolved(suffix, tmp_path):
    path = tmp_path / f"palette.{suffix}"
    palette_image().save(path)
    assert read(path).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    np.testing.assert_allclose(read(path, "grey"), [[76, 150, 29]], atol=1)


@pytest.mark.parametrize(("suffix", "transparency"), [("png", 1), ("gif", 1), ("png", b"\xff\x00")])
def test_transparent_palette_entries_become_white(suffix, transparency, tmp_path):
    path = tmp_path / f"palette.{suffix}"
    palette_image().save(path, transparency=transparency)
    assert read(path).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    assert read(path, "grey")[0, 1] == 255


def test_half_transparent_palette_entries_are_mixed_with_white(tmp_path):
    path = tmp_path / "palette.png"
    palette_image().save(path, transparency=bytes([255, 128, 255]))
    np.testing.assert_allclose(read(path)[0, 1], [127, 255, 127], atol=1)


def test_one_bit_images_are_black_and_white(tmp_path):
    bits = GREY > 127
    for suffix in ("png", "tiff", "pbm"):
        path = tmp_path / f"bits.{suffix}"
        Image.fromarray(bits).save(path)
        with Image.open(path) as image:
            assert image.mode == "1"
        np.testing.assert_array_equal(read(path, "grey"), bits * 255)
        np.testing.assert_array_equal(read(path)[..., 2], bits * 255)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_greys_are_scaled_not_clipped(suffix, tmp_path):
    deep = np.linspace(0, 65535, 63).astype(np.uint16).reshape(7, 9)
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(deep).save(path)
    np.testing.assert_array_equal(read(path, "grey"), np.round(deep / 257))
    np.testing.assert_array_equal(read(path), np.stack([np.round(deep / 257)] * 3, -1))


def test_16_bit_netpbm_and_big_endian_tiff(tmp_path):
    deep = np.linspace(0, 65535, 63).astype(np.uint16).reshape(7, 9)
    (tmp_path / "deep.pgm").write_bytes(b"P5 9 7 65535\n" + deep.astype(">u2").tobytes())
    Image.frombytes("I;16B", (9, 7), deep.astype(">u2").tobytes()).save(tmp_path / "deep.tiff")
    for name in ("deep.pgm", "deep.tiff"):
        np.testing.assert_array_equal(read(tmp_path / name, "grey"), np.round(deep / 257))


def test_transparent_16_bit_grey_becomes_white(tmp_path):
    deep = np.array([[0, 257 * 50, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png", transparency=257 * 50)
    assert read(tmp_path / "deep.png", "grey").tolist() == [[0, 255, 255]]


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_cmyk_files(suffix, tmp_path):
    path = tmp_path / f"print.{suffix}"
    Image.new("CMYK", (9, 7), (255, 0, 0, 0)).save(path)  # cyan ink
    np.testing.assert_allclose(read(path)[3, 4], [0, 255, 255], atol=4)
    np.testing.assert_allclose(read(path, "grey")[3, 4], luma([0, 255, 255]), atol=4)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_animated_files_give_their_first_frame(suffix, tmp_path):
    path = tmp_path / f"animated.{suffix}"
    first, *others = (Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue"))
    lossless = {"lossless": True} if suffix == "webp" else {}
    first.save(path, save_all=True, append_images=others, **lossless)
    with Image.open(path) as image:
        assert image.n_frames == 3
    assert (read(path) == [255, 0, 0]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_tiny_images(size, tmp_path):
    pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "tiny.png")
    np.testing.assert_array_equal(read(tmp_path / "tiny.png"), pixels)
    assert read(tmp_path / "tiny.png", size=(6, 8)).shape == (6, 8, 3)
    assert read(tmp_path / "tiny.png", "grey", size=(1, 1)).shape == (1, 1)


@pytest.mark.parametrize("size", [(7, 9), (3, 4), (14, 18), (9, 7), (1, 1), (40, 2)])
@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_resized_images_are_pillows_bilinear_ones(size, mode, tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "image.png")
    plain = Image.fromarray(COLOUR).convert("RGB" if mode == "rgb" else "L")
    expected = plain.resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read(tmp_path / "image.png", mode, size), np.asarray(expected))


def test_resize_averages_and_does_not_alias(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    np.testing.assert_allclose(read(tmp_path / "stripes.png", "grey", (8, 8)), 127.5, atol=8)


def test_pillow_here_reads_the_formats_of_these_tests():
    assert features.check("webp")
    assert features.check("libtiff")
