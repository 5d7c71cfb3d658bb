"""ImageFiles is an array that decodes what is sliced, and no more."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skcnn.images import ImageBatch, ImageFiles


def as_array(paths, mode="RGB"):
    return np.stack([np.asarray(Image.open(path).convert(mode)) for path in paths])


@pytest.mark.parametrize(("mode", "pillow_mode"), [("rgb", "RGB"), ("grey", "L")])
def test_it_describes_the_array_it_stands_for(picture_files, decoded, mode, pillow_mode):
    files = ImageFiles(picture_files, mode=mode)
    array = as_array(picture_files, pillow_mode)
    assert files.shape == array.shape
    assert files.ndim == np.ndim(files) == array.ndim
    assert files.dtype == array.dtype
    assert len(files) == len(array)
    assert files.paths.tolist() == picture_files
    assert "12 files" in repr(files)
    assert decoded == []
    np.testing.assert_array_equal(np.asarray(files), array)


SLICES = [slice(None), slice(2, 5), slice(-3, None), slice(None, None, 5), slice(8, 2, -2),
          slice(4, 4), slice(10, 99)]  # fmt: skip


@pytest.mark.parametrize("rows", SLICES)
def test_a_slice_decodes_its_files(picture_files, decoded, rows):
    part = ImageFiles(picture_files)[rows]
    assert isinstance(part, np.ndarray)
    assert decoded == picture_files[rows]
    np.testing.assert_array_equal(part, as_array(picture_files)[rows])


@pytest.mark.parametrize("row", [0, 5, -1, -12, np.int64(3), np.uint8(2)])
def test_an_int_decodes_one_file(picture_files, decoded, row):
    image = ImageFiles(picture_files)[row]
    assert decoded == [picture_files[row]]
    np.testing.assert_array_equal(image, as_array(picture_files)[row])
    image[0, 0] = 0  # the caller's own


SELECTIONS = [
    [3, 1, 1],
    np.array([0, 11, -1]),
    np.array([2], np.uint8),
    np.arange(12) % 5 == 0,
    (np.arange(12) > 8).tolist(),
    pd.Series([4, 2]),
    [],
    np.array([], int),
    np.zeros(12, bool),
]


@pytest.mark.parametrize("rows", SELECTIONS, ids=str)
def test_an_index_array_or_mask_selects_without_decoding(picture_files, decoded, rows):
    files = ImageFiles(picture_files)
    # As scikit-learn writes it (array[key, ...]), and as people do.
    for part in (files[rows, ...], files[rows], files[rows, :], files[rows, ..., :]):
        assert isinstance(part, ImageFiles)
        assert part.shape[1:] == files.shape[1:]
    assert decoded == []
    expected = as_array(picture_files)[np.asarray(rows, bool if len(rows) == 12 else int)]
    np.testing.assert_array_equal(np.asarray(part), expected)
    assert len(decoded) == len(expected)


KEYS = [
    (...,),
    (),
    (slice(1, 4), ...),
    (2, ...),
    (3, 1, 2),
    (slice(3, 5), slice(1, 3), slice(None), 0),
    (..., 0),
    (slice(2), ..., [2, 0]),
    ([4, 2], slice(1, 3)),
    ([4, 2], ..., 1),
    (np.array([1, 5]), slice(None), 0),
    (-1, slice(None), slice(None), 2),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_keys_of_several_axes_index_as_numpy_does(picture_files, key):
    part = np.asarray(ImageFiles(picture_files)[key])
    np.testing.assert_array_equal(part, as_array(picture_files)[key])


def test_several_axes_decode_the_wanted_rows_only(picture_files, decoded):
    files = ImageFiles(picture_files)
    files[2:4, 0]
    files[[7, 5], 1]
    assert decoded == [picture_files[i] for i in (2, 3, 7, 5)]


@pytest.mark.parametrize("key", [12, -13, [12], np.zeros(5, bool)])
def test_rows_that_do_not_exist_are_an_index_error(picture_files, key):
    with pytest.raises(IndexError):
        ImageFiles(picture_files)[key]


@pytest.mark.parametrize("key", ["a", [1.5], None, True, [[1, 2]], np.zeros((12, 2), bool), 1.0])
def test_keys_of_a_wrong_kind_are_an_index_error_that_says_what_is_right(picture_files, key):
    with pytest.raises(IndexError, match="int, a slice, or a 1-D array"):
        ImageFiles(picture_files)[key]


def test_iteration_yields_the_images(picture_files, decoded):
    for image, expected in zip(ImageFiles(picture_files), as_array(picture_files), strict=True):
        np.testing.assert_array_equal(image, expected)
    assert decoded == picture_files


def test_array_protocol(picture_files):
    files = ImageFiles(picture_files)
    assert np.asarray(files, dtype=np.float32).dtype == np.float32
    assert np.array(files, copy=True).flags.writeable
    with pytest.raises(ValueError, match="without decoding"):
        np.array(files, copy=False)


def test_selections_keep_size_mode_and_strictness(picture_files, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "larger.png")
    paths = [*picture_files, str(tmp_path / "larger.png")]
    assert ImageFiles(paths, size=(3, 4), mode="grey")[[12, 0]].shape == (2, 3, 4)
    assert np.asarray(ImageFiles(paths, size=(3, 4), mode="grey")[[12, 0]]).shape == (2, 3, 4)
    strict = ImageFiles(paths)[[0, 12]]
    assert strict.shape == (2, 6, 5, 3)
    with pytest.raises(ValueError, match=r"larger.png has height and width \(9, 9\).*\(6, 5\)"):
        strict[:]


def test_files_of_different_sizes_need_a_size(tmp_path):
    for name, size in [("a", (4, 6)), ("b", (6, 4))]:
        Image.new("L", size).save(tmp_path / f"{name}.png")
    files = ImageFiles([tmp_path / "a.png", tmp_path / "b.png"], mode="grey")
    assert files[:1].shape == (1, 6, 4)
    with pytest.raises(ValueError, match=r"b.png has height and width \(4, 6\).*size="):
        files[:]


def test_size_none_reads_one_header(picture_files, decoded, tmp_path):
    files = ImageFiles([picture_files[0], tmp_path / "missing.png"])
    assert files.size == (6, 5)
    assert decoded == []


@pytest.mark.parametrize("kind", [str, Path, str.encode, np.str_])
def test_paths_may_be_of_any_path_type(picture_files, kind):
    files = ImageFiles(kind(path) for path in picture_files)
    assert files.paths.tolist() == picture_files
    np.testing.assert_array_equal(files[:], as_array(picture_files))


def test_paths_may_be_a_column_or_an_array(picture_files):
    for paths in (np.array(picture_files), pd.Series(picture_files, index=range(50, 62))):
        assert ImageFiles(paths).paths.tolist() == picture_files


@pytest.mark.parametrize("paths", ["a.png", b"a.png", Path("a.png")])
def test_a_single_path_is_an_error(paths):
    with pytest.raises(ValueError, match="paths must be a sequence of files"):
        ImageFiles(paths, size=(2, 2))


@pytest.mark.parametrize("paths", [[1, 2], [None], [["a.png"]], [np.nan]])
def test_paths_of_a_wrong_type_are_an_error(paths):
    with pytest.raises(ValueError, match="paths must hold str or path-like"):
        ImageFiles(paths, size=(2, 2))


def test_no_paths_need_a_size():
    with pytest.raises(ValueError, match="paths is empty"):
        ImageFiles([])
    empty = ImageFiles([], size=(3, 4))
    assert np.asarray(empty).shape == empty.shape == (0, 3, 4, 3)


@pytest.mark.parametrize(
    "size", [5, (5,), (5, 5, 3), (0, 5), (5, -1), (2.5, 5), (5.0, 5), "55", ("5", "5"), ()]
)
def test_a_wrong_size_is_an_error(picture_files, size):
    with pytest.raises(ValueError, match="size must be"):
        ImageFiles(picture_files, size=size)


@pytest.mark.parametrize("size", [(3, 4), [3, 4], np.array([3, 4])])
def test_size_may_be_any_pair_of_ints(picture_files, size):
    assert ImageFiles(picture_files, size=size).shape == (12, 3, 4, 3)


@pytest.mark.parametrize("mode", ["RGB", "gray", "L", None])
def test_a_wrong_mode_is_an_error(picture_files, mode):
    with pytest.raises(ValueError, match=r"mode must be one of \['grey', 'rgb'\]"):
        ImageFiles(picture_files, mode=mode)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_holds_paths_not_pixels(picture_files, decoded, protocol):
    files = ImageFiles(picture_files, size=(600, 500), mode="grey")
    stored = pickle.dumps(files, protocol)
    assert decoded == []
    assert len(stored) < 5000
    loaded = pickle.loads(stored)
    assert (loaded.shape, loaded.mode) == (files.shape, files.mode)
    np.testing.assert_array_equal(loaded[3:5], files[3:5])


def test_threads_decode_at_the_same_time(picture_files):
    files = ImageFiles(picture_files, size=(40, 30))
    expected = np.asarray(files)
    rows = np.random.default_rng(0).integers(0, 12, 200)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(files.__getitem__, rows))
    np.testing.assert_array_equal(np.stack(images), expected[rows])


def test_image_batch_scales_files_and_decodes_what_it_reads(picture_files, decoded):
    batch = ImageBatch(ImageFiles(picture_files))
    assert batch.shape == (12, 6, 5, 3)
    batch.ensure_finite()
    assert decoded == []
    array = as_array(picture_files)
    np.testing.assert_array_equal(batch.read(slice(2, 4), float), array[2:4] / 255)
    np.testing.assert_array_equal(batch.take([9, -12, 9], float), array[[9, 0, 9]] / 255)
    assert decoded == [picture_files[i] for i in (2, 3, 9, 0, 9)]
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        ImageBatch(ImageFiles([], size=(3, 3)))
