"""A folder of images and a model that was made from it."""

import numpy as np
import pytest
from PIL import Image

from skcnn import load_digit_images
from skcnn.cli import main
from tests.cli.helpers import FAST


@pytest.fixture(autouse=True)
def _work_in_a_scratch_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory):
    """A folder of class folders: 3 classes of 12 grey PNG files of 8 x 8 pixels."""
    images, labels = load_digit_images(return_X_y=True)
    root = tmp_path_factory.mktemp("digits")
    for name, digit in (("<b>null", 0), ("one [1]", 1), ("zwei \N{SNOWMAN}", 2)):
        (root / name).mkdir()
        for index, image in enumerate(images[labels == digit][:12]):
            Image.fromarray((255 * image).astype(np.uint8)).save(root / name / f"{index:02}.png")
    return root


@pytest.fixture(scope="session")
def model(digit_folder, tmp_path_factory):
    """best.joblib of a comparison on `digit_folder`."""
    output = tmp_path_factory.mktemp("model") / "out"
    assert main(["compare", str(digit_folder), "--output", str(output), "--quiet", *FAST]) == 0
    return output / "best.joblib"
