"""Arrays that are no image batch."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skcnn.images import ImageBatch

WRONG_DIMENSIONS = [np.ones(()), np.ones(5), np.ones((2, 2, 2, 2, 2)), [1.0, 2.0], 3.0]


@pytest.mark.parametrize("X", WRONG_DIMENSIONS, ids=lambda X: f"{np.ndim(X)}-D")
def test_wrong_number_of_dimensions_names_the_shape_and_the_layouts(X):
    with pytest.raises(ValueError, match=f"{np.ndim(X)}-D array of shape") as caught:
        ImageBatch(X)
    assert str(np.shape(X)) in str(caught.value)
    assert "(n, height, width)" in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 4), (0, 4, 4, 3)])
def test_no_images_is_an_error(shape):
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        ImageBatch(np.ones(shape))


@pytest.mark.parametrize("shape", [(3, 0), (3, 0, 4), (3, 4, 0), (3, 4, 4, 0)])
def test_images_without_pixels_are_an_error(shape):
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        ImageBatch(np.ones(shape))


@pytest.mark.parametrize(
    "X",
    [
        ["a.png", "b.png"],
        np.array(["a.png", "b.png"]),
        np.array([b"a.png"]),
        np.array(["a.png"], dtype=object),
        pd.Series(["a.png", "b.png"]),
        pd.Series(["a.png", "b.png"], dtype=object, index=[7, 9]),
        np.array([["a.png"]]),
    ],
)
def test_text_is_an_error_that_leads_to_the_reader(X):
    with pytest.raises(ValueError, match=r"text or paths.*ImageReader"):
        ImageBatch(X)


def test_path_objects_are_an_error_that_leads_to_the_reader(tmp_path):
    with pytest.raises(ValueError, match=r"text or paths.*ImageReader"):
        ImageBatch([tmp_path / "a.png", tmp_path / "b.png"])


@pytest.mark.parametrize("dtype", ["datetime64[s]", "timedelta64[s]", [("r", "u1"), ("g", "u1")]])
def test_other_types_are_not_numeric(dtype):
    with pytest.raises(ValueError, match="not numeric"):
        ImageBatch(np.zeros((2, 3, 3), dtype))


def test_complex_numbers_are_an_error():
    with pytest.raises(ValueError, match="Complex data not supported"):
        ImageBatch(np.ones((2, 3, 3), complex))


@pytest.mark.parametrize(
    ("thing", "error"), [({"a": 1}, TypeError), (object(), TypeError), ("cat", ValueError)]
)
def test_objects_that_are_no_numbers_are_an_error_at_once(thing, error):
    X = np.ones((2, 3, 3), object)
    X[1, 2, 2] = thing
    with pytest.raises(error, match="dtype object and cannot be read as numbers"):
        ImageBatch(X)


def test_none_is_a_missing_value():
    X = np.ones((2, 3, 3), object)
    X[1, 2, 2] = None
    with pytest.raises(ValueError, match=r"NaN.*image 1"):
        ImageBatch(X).ensure_finite()


def test_sparse_matrices_are_an_error():
    for X in (sparse.csr_matrix(np.eye(4)), sparse.coo_array(np.eye(4))):
        with pytest.raises(TypeError, match=r"[Ss]parse"):
            ImageBatch(X)


def test_images_of_different_shapes_are_an_error_that_names_them():
    images = [np.ones((4, 4)), np.ones((4, 5)), np.ones((4, 4))]
    holder = np.empty(3, dtype=object)
    holder[:] = images
    for X in (images, holder, pd.Series(images)):
        with pytest.raises(ValueError, match=r"different shapes, \(4, 4\) and \(4, 5\)"):
            ImageBatch(X)


def test_grey_among_colour_images_is_an_error_that_names_the_shapes():
    with pytest.raises(ValueError, match=r"different shapes, \(4, 4\) and \(4, 4, 3\)"):
        ImageBatch([np.ones((4, 4)), np.ones((4, 4, 3))])


def test_ragged_lists_are_an_error():
    with pytest.raises(ValueError, match="cannot be read as an array of images"):
        ImageBatch([[[1, 2], [3]], [[1, 2], [3, 4]]])


def test_column_of_equal_images_is_a_batch():
    images = [np.full((2, 3), i, np.uint8) for i in range(4)]
    batch = ImageBatch(pd.Series(images, index=list("abcd")))
    assert batch.shape == (4, 2, 3, 1)
    np.testing.assert_array_equal(batch.read(slice(None), float)[..., 0], np.stack(images) / 255)


def test_data_frame_is_a_batch_of_flat_images():
    frame = pd.DataFrame(np.arange(12.0).reshape(3, 4), index=[5, 6, 7])
    batch = ImageBatch(frame)
    assert batch.shape == (3, 2, 2, 1)
    np.testing.assert_array_equal(batch.take([2, 0]).reshape(2, 4), frame.to_numpy()[[2, 0]])


@pytest.mark.parametrize("step", [2, -1])
def test_slices_with_another_step_are_an_error(step):
    with pytest.raises(ValueError, match="step 1"):
        ImageBatch(np.ones((4, 2, 2))).read(slice(None, None, step))
