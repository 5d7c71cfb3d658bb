import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from skcnn import CNNClassifier, PixelExtractor, compare_pipelines

from .estimators import Interrupting


@pytest.fixture
def splits():
    """Three folds; the second has 160 training images."""
    rows = np.arange(200)
    return [(rows[:150], rows[150:]), (rows[:160], rows[160:]), (rows[50:], rows[:50])]


def test_ctrl_c_keeps_what_finished(images, labels, splits):
    pipelines = {
        "done": make_pipeline(PixelExtractor(), GaussianNB()),
        "stopped": Interrupting(n_images=160),
        "never": make_pipeline(PixelExtractor(), GaussianNB()),
    }
    with pytest.warns(UserWarning, match="interrupted: 4 of 9 folds had finished"):
        comparison = compare_pipelines(pipelines, images, labels, cv=splits)
    assert comparison.interrupted
    assert not comparison.errors
    assert comparison.best_name == "done"
    assert not np.isnan(comparison.scores["done"]).any()
    np.testing.assert_array_equal(np.isnan(comparison.scores["stopped"]), [False, True, True])
    assert np.isnan(comparison.scores["never"]).all()
    ranking = comparison.ranking()
    assert ranking["pipeline"].tolist() == ["done", "stopped", "never"]
    assert ranking["status"].tolist() == ["ok", "interrupted", "interrupted"]
    assert ranking["p_value_to_best"].isna().tolist() == [False, True, True]
    assert "stopped and never were interrupted" in comparison.conclusion
    page = comparison.to_html()
    assert "1 of 3 folds, interrupted" in page
    assert "did not run" in page


def test_ctrl_c_that_a_worker_takes(images, labels, splits):
    """Where a system sends it to the workers too, it must not be recorded as their failure."""
    with pytest.warns(UserWarning, match="interrupted: . of 3 folds"):
        comparison = compare_pipelines(
            {"stopped": Interrupting(n_images=160)}, images, labels, cv=splits, n_jobs=2
        )
    assert comparison.interrupted
    assert not comparison.errors
    assert np.isnan(comparison.scores["stopped"][1])


def test_nothing_finished(images, labels, splits):
    with pytest.warns(UserWarning, match="0 of 3 folds"):
        comparison = compare_pipelines({"a": Interrupting(n_images=150)}, images, labels, cv=splits)
    assert comparison.interrupted
    assert comparison.best_name is None
    assert "<svg viewBox" not in comparison.to_html()
    with pytest.raises(ValueError, match="nothing to plot"):
        comparison.plot()


def test_a_half_trained_network_is_no_result(images, labels, monkeypatch):
    """A network alone keeps what it has learnt after Ctrl-C; in a comparison it must not."""
    from skcnn.neural import _training

    def press_ctrl_c(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_training.LeanNet, "fit_loop", press_ctrl_c)
    network = CNNClassifier((2,), hidden_layer_sizes=(), max_iter=2)
    with pytest.warns(UserWarning, match="0 of 2 folds"):
        comparison = compare_pipelines({"CNN": network}, images, labels, cv=2)
    assert comparison.interrupted
    assert comparison.folds == []
