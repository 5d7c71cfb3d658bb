"""One image file in, one uint8 array out."""

from __future__ import annotations

import os
import struct

import numpy as np
from PIL import Image

PILLOW_MODES = {"grey": "L", "rgb": "RGB"}
_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BOMB = (Image.DecompressionBombWarning, Image.DecompressionBombError)


class UnreadableImageError(ValueError):
    """A file is not an image, is damaged, or is too large to be decoded; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> from skcnn.images import ImageFiles, UnreadableImageError
    >>> with tempfile.NamedTemporaryFile(suffix=".png") as file:
    ...     _ = file.write(b"not an image")
    ...     file.flush()
    ...     try:
    ...         ImageFiles([file.name], size=(8, 8))[0]
    ...     except UnreadableImageError as error:
    ...         print("cannot identify" in str(error))
    True
    """


def decode(path: str, mode: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return the first frame of an image file, upright, as uint8.

    Parameters
    ----------
    path : str
        The file.

    mode : {"grey", "rgb"}
        What to return; transparent pixels are laid over white.

    size : (int, int) or None
        Height and width to resize to, with antialiasing; None keeps the file's own size.

    Returns
    -------
    image : ndarray of shape (h, w) or (h, w, 3), uint8
        Not writeable: it may be Pillow's own memory.

    Raises
    ------
    UnreadableImageError
        If the file cannot be decoded.
    OSError
        If the file cannot be opened.
    """
    with _naming(path), _open(path) as image:
        image.load()  # a TIFF is upright, and says so, from here on
        turn = _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
        upright = image if turn is None else image.transpose(turn)
        plain = _flatten(upright, PILLOW_MODES[mode])
        if size is not None and plain.size != size[::-1]:
            plain = plain.resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(plain)


def upright_size(path: str) -> tuple[int, int]:
    """Return (height, width) of an image file as :func:`decode` would, reading its header only."""
    with _naming(path), _open(path) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow has swapped the sides already
            return height, width
        if image.format == "PNG" and not _has_late_metadata(path):
            # PngImageFile.getexif decodes the pixels to get to what might follow them.
            exif = Image.Image.getexif(image)
        else:
            exif = image.getexif()
        turned = exif.get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
        return (width, height) if turned else (height, width)


def _has_late_metadata(path: str) -> bool:
    """Whether a PNG file has chunks behind its pixels that may hold an orientation."""
    with open(path, "rb", buffering=0) as file:
        file.seek(8)  # the signature
        in_pixels = False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            in_pixels |= kind == b"IDAT"
            if in_pixels and kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            file.seek(length + 4, os.SEEK_CUR)  # the chunk and its checksum
    return False


def _open(path: str) -> Image.Image:
    image = Image.open(path)
    n_pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if limit is not None and n_pixels > limit:
        # Pillow only warns up to twice its limit; here its limit is the limit.
        image.close()
        raise Image.DecompressionBombError(
            f"Image size ({n_pixels} pixels) exceeds limit of {limit} pixels, could be a "
            "decompression bomb DOS attack."
        )
    return image


class _naming:  # noqa: N801 - a context manager, used like a function
    """Turn whatever a decoder raises into an error that names the file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        # Pillow's decoders raise SyntaxError, struct.error, IndexError and more for damaged files.
        if not isinstance(error, Exception) or isinstance(error, MemoryError):
            return
        if isinstance(error, OSError) and error.errno is not None:
            raise type(error)(error.errno, os.strerror(error.errno), self.path) from error
        reason = str(error) or type(error).__name__
        if isinstance(error, _BOMB):
            reason += " Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file."
        raise UnreadableImageError(f"{self.path} cannot be read as an image: {reason}") from error


def _flatten(image: Image.Image, pillow_mode: str) -> Image.Image:
    """Convert to grey or RGB without Pillow's silent losses (16 bit clipped, alpha dropped)."""
    if image.mode in _SIXTEEN_BIT:
        image = _to_eight_bit(image)
    elif image.mode == "F":
        raise ValueError("32-bit float pixels have no known range; save it as 8 or 16 bit")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if image.mode == "P":
        image = image.convert("RGB")
    return image if image.mode == pillow_mode else image.convert(pillow_mode)


def _to_eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"32-bit integers in [{values.min()}, {values.max()}], want 16 bit")
    grey = (values + 128) // 257
    if "transparency" in image.info:  # a PNG may declare one grey value transparent
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey.astype(np.uint8))
