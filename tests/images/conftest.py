import numpy as np
import pytest
from PIL import Image

from skcnn.images import _files


@pytest.fixture
def picture_files(tmp_path):
    """Return the paths of twelve 6 x 5 colour images, lossless, image i of brightness 10 i."""
    paths = []
    for i in range(12):
        pixels = np.full((6, 5, 3), 10 * i, np.uint8)
        pixels[0, 0] = 255, 128, i
        path = tmp_path / f"{i:02}.png"
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture
def decoded(monkeypatch):
    """Return the list of all files decoded since, in order."""
    seen = []
    decode = _files.decode

    def counting(path, *args, **kwargs):
        seen.append(path)
        return decode(path, *args, **kwargs)

    monkeypatch.setattr(_files, "decode", counting)
    return seen
