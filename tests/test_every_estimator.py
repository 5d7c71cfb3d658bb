"""What every public estimator of images promises, tested for each that there is."""

import pickle

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

from skcnn import ImageFiles
from tests.estimators import (
    CLASSIFIERS,
    N_IMAGES,
    OF_IMAGES,
    OF_NUMBERS,
    REGRESSORS,
    TRANSFORMERS,
    assert_same_outputs,
    decisions,
    is_around_a_network,
    labelled_images,
    make,
    outputs,
)
from tests.images.containers import SliceOnly


def each(estimators):
    return pytest.mark.parametrize("estimator", estimators, ids=lambda one: one.__name__)


def has(estimator, parameter):
    return parameter in estimator().get_params()


def names_features(estimator):
    return hasattr(make(estimator), "get_feature_names_out")


def test_there_is_something_to_test():
    assert len(CLASSIFIERS) >= 3
    assert len(TRANSFORMERS) >= 2


@each(OF_NUMBERS)
def test_pickle_keeps_what_was_learnt(estimator):
    X, y = labelled_images()
    fitted = make(estimator).fit(X, y)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(fitted, protocol))
        assert_same_outputs(outputs(loaded, X), outputs(fitted, X))
    unfitted = pickle.loads(pickle.dumps(make(estimator)))
    assert_same_outputs(outputs(unfitted.fit(X, y), X), outputs(fitted, X))


@each(OF_NUMBERS)
def test_clone_after_fit_learns_the_same(estimator):
    X, y = labelled_images(channels=3)
    fitted = make(estimator).fit(X, y)
    assert_same_outputs(outputs(clone(fitted).fit(X, y), X), outputs(fitted, X))


# A root enlarges what rounding leaves of a zero: the square root of 1e-8 is 1e-4.
WITHOUT_ROOTS = {"FisherVectorEncoder": {"improved": False}, "VLADEncoder": {"normalize": "l2"}}


@each(OF_NUMBERS)
@pytest.mark.parametrize("channels", [None, 3])
def test_float32_and_float64_agree(estimator, channels):
    single, y = labelled_images(channels=channels, dtype=np.float32)
    double = single.astype(np.float64)
    smooth = WITHOUT_ROOTS.get(estimator.__name__, {})
    fitted = make(estimator, **smooth).fit(double, y)
    assert_same_outputs(outputs(fitted, single), outputs(fitted, double), rtol=1e-4, atol=1e-5)
    again = make(estimator, **smooth).fit(single, y)
    if hasattr(again, "predict"):
        np.testing.assert_array_equal(decisions(again, single), decisions(fitted, double))
    if hasattr(again, "transform"):
        assert again.transform(single).dtype == np.float32
        assert fitted.transform(double).dtype == np.float64
    if is_around_a_network(estimator):  # Training enlarges what rounding changes.
        again, fitted = again.estimator_, fitted.estimator_
        np.testing.assert_array_equal(decisions(again, single), decisions(fitted, double))
    elif hasattr(again, "transform"):
        np.testing.assert_allclose(again.transform(single), fitted.transform(double), 1e-4, 1e-5)


# Bytes are resized as Pillow does it: rounded to bytes again.
ROUNDS_TO_BYTES = {"PretrainedExtractor": {"rtol": 0.0, "atol": 1e-3}}


@each(OF_IMAGES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unsigned_images_are_scaled_ones(estimator, dtype):
    X, y = labelled_images(dtype=dtype)
    scaled = X.astype(np.float32) / np.float32(np.iinfo(dtype).max)
    fitted = make(estimator).fit(scaled, y)
    expected = outputs(fitted, scaled)
    tolerance = ROUNDS_TO_BYTES.get(estimator.__name__, {"rtol": 1e-4, "atol": 1e-5})
    assert_same_outputs(outputs(fitted, X), expected, **tolerance)
    from_unsigned = make(estimator).fit(X, y)
    # Training enlarges what rounding changes, so what was learnt is compared by its decisions.
    assert_same_outputs(outputs(from_unsigned, scaled), outputs(from_unsigned, X), **tolerance)
    if "predict" in expected:
        np.testing.assert_array_equal(decisions(from_unsigned, X), decisions(fitted, scaled))


# What they return are images again, with the channels where X has them.
RETURN_IMAGES = {"ConvolutionFilter"}


def _channels_last(estimator, said, channel_axis=-1):
    if estimator.__name__ not in RETURN_IMAGES:
        return said
    return {name: np.moveaxis(images, channel_axis, -1) for name, images in said.items()}


@each(OF_IMAGES)
def test_layouts_of_the_same_images_give_the_same(estimator):
    X, y = labelled_images(channels=3, size=(8, 6))
    expected = outputs(make(estimator).fit(X, y), X)
    first = np.moveaxis(X, -1, 1)
    for stored, parameters in [
        (X.reshape(N_IMAGES, -1), {"image_shape": (8, 6, 3)}),
        (first, {"channel_axis": 1}),
        (first.reshape(N_IMAGES, -1), {"channel_axis": 1, "image_shape": (3, 8, 6)}),
    ]:
        fitted = make(estimator, **parameters).fit(stored, y)
        assert fitted.image_shape_ == (8, 6, 3)
        assert fitted.n_features_in_ == 144
        said = _channels_last(estimator, outputs(fitted, stored), fitted.channel_axis)
        assert_same_outputs(said, expected, rtol=1e-5, atol=1e-6)
    grey, _ = labelled_images()
    expected = outputs(make(estimator).fit(grey, y), grey)
    for stored in (grey[..., None], grey.reshape(N_IMAGES, -1), grey.tolist()):
        fitted = make(estimator).fit(stored, y)
        assert_same_outputs(outputs(fitted, stored), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def stored(tmp_path):
    """Return the images by the name of the way in which they are stored."""
    grey, _ = labelled_images(dtype=np.uint8)
    colour, _ = labelled_images(channels=3, dtype=np.uint8)
    for i, image in enumerate(colour):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    colour.tofile(tmp_path / "X.raw")
    return {
        "3-D": grey,
        "4-D": colour,
        "flat": grey.reshape(N_IMAGES, -1),
        "frame": pd.DataFrame(grey.reshape(N_IMAGES, -1) / 255).add_prefix("pixel"),
        "files": ImageFiles([tmp_path / f"{i}.png" for i in range(N_IMAGES)]),
        "memmap": np.memmap(tmp_path / "X.raw", np.uint8, "r", shape=colour.shape),
    }


@each(OF_IMAGES)
@pytest.mark.parametrize("layout", ["3-D", "4-D", "flat", "frame", "files", "memmap"])
def test_grid_search_takes_every_layout(estimator, layout, stored):
    _, y = labelled_images()
    X = stored[layout]
    # Numbers take a network longer than classes; too few epochs are a matter of luck.
    epochs = {"max_iter": 25} if estimator in REGRESSORS else {}
    pipeline = make_pipeline(make(estimator, **epochs), *_classifier_after(estimator))
    # Two names of one axis: a parameter that all have, and that changes no result.
    owner = "estimator__" if is_around_a_network(estimator) else ""
    grid = {f"{estimator.__name__.lower()}__{owner}channel_axis": [-1, 3]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == scores[1] > 0.8
    assert search.predict(X).shape == (N_IMAGES,)
    assert search.n_features_in_ == np.prod(X.shape[1:])


def _classifier_after(estimator):
    # What is no row of features yet, as images or grids of descriptors, becomes one.
    if estimator in CLASSIFIERS or estimator in REGRESSORS:
        return []
    return [FunctionTransformer(_as_rows), MinMaxScaler(), LogisticRegression()]


def _as_rows(features):
    return features.reshape(len(features), -1)


def _as_frame(features):
    return pd.DataFrame(_as_rows(features))


@each([estimator for estimator in TRANSFORMERS if not names_features(estimator)])
def test_set_output_leaves_what_has_no_names(estimator):
    X, y = labelled_images()
    plain = make(estimator).fit(X, y).transform(X)
    assert plain.ndim != 2
    named = make(estimator).set_output(transform="pandas").fit(X, y).transform(X)
    np.testing.assert_array_equal(named, plain)
    rows = make_pipeline(make(estimator), FunctionTransformer(_as_frame))
    assert isinstance(rows.set_output(transform="pandas").fit_transform(X, y), pd.DataFrame)


@each([estimator for estimator in TRANSFORMERS if names_features(estimator)])
def test_set_output_names_the_features(estimator):
    X, y = labelled_images()
    plain = make(estimator).fit(X, y)
    transformer = make(estimator).set_output(transform="pandas").fit(X, y)
    frame = transformer.transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == transformer.get_feature_names_out().tolist()
    assert len(set(frame.columns)) == frame.shape[1]
    np.testing.assert_array_equal(frame.to_numpy(), plain.transform(X))
    assert_same_outputs(
        {"transform": make(estimator).set_output(transform="pandas").fit_transform(X, y)},
        {"transform": frame},
    )


@each(CLASSIFIERS)
def test_set_output_of_a_step_before_hands_on_names(estimator):
    X, y = labelled_images()
    rows = X.reshape(N_IMAGES, -1)
    pipeline = make_pipeline(MinMaxScaler(), make(estimator)).set_output(transform="pandas")
    pipeline.fit(rows, y)
    assert pipeline[-1].feature_names_in_.tolist() == [f"x{i}" for i in range(64)]
    scaled = MinMaxScaler().fit_transform(rows)
    expected = outputs(make(estimator).fit(scaled, y), scaled)
    assert_same_outputs(outputs(pipeline, rows), expected, rtol=1e-5, atol=1e-6)


LABELS = [
    np.array(["up", "left"]),
    np.array(["up", "left"], dtype=object),
    np.array([6, 3]),
    np.array([-1.0, 2.0]),
    np.array([True, False]),
]


@each(CLASSIFIERS)
@pytest.mark.parametrize("names", LABELS, ids=lambda names: f"{names.dtype}")
def test_labels_of_any_type_come_back(estimator, names):
    X, y = labelled_images()
    fitted = make(estimator).fit(X, names[y])
    np.testing.assert_array_equal(fitted.classes_, np.unique(names))
    assert fitted.predict(X).dtype == names.dtype
    assert fitted.score(X, names[y]) > 0.9
    as_list = make(estimator).fit(X, names[y].tolist())
    assert as_list.predict(X).tolist() == fitted.predict(X).tolist()


@each(CLASSIFIERS)
def test_predictions_are_of_the_largest_probability(estimator):
    X, y = labelled_images()
    y = y + 2 * (np.arange(N_IMAGES) % 3 == 0)  # four classes
    fitted = make(estimator).fit(X, y)
    said = outputs(fitted, X)
    for name in said.keys() - {"predict", "transform"}:
        assert said[name].shape == (N_IMAGES, 4)
        np.testing.assert_array_equal(fitted.classes_[said[name].argmax(axis=1)], said["predict"])
    if "predict_proba" in said:
        np.testing.assert_allclose(said["predict_proba"].sum(axis=1), 1, rtol=1e-5)


@each(OF_IMAGES)
def test_another_image_shape_is_refused_with_both_named(estimator):
    X, y = labelled_images()
    fitted = make(estimator).fit(X, y)
    other, _ = labelled_images(size=(10, 12))
    for method in outputs(fitted, X):
        with pytest.raises(ValueError, match=r"\(10, 12\).*\(8, 8\)"):
            getattr(fitted, method)(other)


@each(OF_NUMBERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused(estimator, value):
    X, y = labelled_images()
    fitted = make(estimator).fit(X, y)
    X[17, 3, 2] = value
    with pytest.raises(ValueError, match="image 17"):
        make(estimator).fit(X, y)
    for method in outputs(fitted, X[:17]):
        with pytest.raises(ValueError, match="image 17"):
            getattr(fitted, method)(X)


@each(OF_NUMBERS)
def test_a_container_of_slices_is_read_in_place(estimator):
    X, y = labelled_images(dtype=np.uint8)
    expected = outputs(make(estimator).fit(X, y), X)
    source = SliceOnly(X)
    fitted = make(estimator).fit(source, y)
    assert_same_outputs(outputs(fitted, source), expected, rtol=1e-6)
    assert source.reads


@each([estimator for estimator in OF_NUMBERS if has(estimator, "chunk_mib")])
def test_chunks_bound_what_is_read_at_once_and_change_nothing(estimator):
    X, y = labelled_images()
    expected = outputs(make(estimator).fit(X, y), X)
    source = SliceOnly(X)
    fitted = make(estimator, chunk_mib=1e-6).fit(source, y)
    source.reads.clear()
    assert_same_outputs(outputs(fitted, source), expected, rtol=1e-6, atol=1e-9)
    assert max(stop - start for start, stop in source.reads) == 1


@each([estimator for estimator in OF_NUMBERS if has(estimator, "n_jobs")])
def test_threads_change_nothing(estimator):
    X, y = labelled_images()
    fitted = make(estimator).fit(X, y)
    threaded = make(estimator, n_jobs=3).fit(X, y)
    assert_same_outputs(outputs(threaded, X), outputs(fitted, X))


# Parameters that let chance into the fit of an estimator that is not random by default.
RANDOM = {"TemplateMatcher": {"n_templates": 3}}


@each([estimator for estimator in OF_NUMBERS if has(estimator, "random_state")])
def test_random_state_repeats_a_fit_bit_for_bit(estimator):
    X, y = labelled_images()

    def fit_with(seed):
        parameters = {"random_state": seed, **RANDOM.get(estimator.__name__, {})}
        return outputs(make(estimator, **parameters).fit(X, y), X)

    once, other = fit_with(3), fit_with(4)
    assert_same_outputs(fit_with(3), once)
    assert any((other[name] != once[name]).any() for name in once)


@each(OF_IMAGES)
def test_tables_and_signals_are_one_row_images(estimator):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 10))
    X[:, :5] += 4 * y[:, None]
    fitted = make(estimator).fit(X, y)
    assert fitted.image_shape_ == (1, 10)
    assert all(len(value) == 40 for value in outputs(fitted, X).values())
