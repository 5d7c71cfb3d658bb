import builtins

import matplotlib
import pytest

from skcnn import compare_pipelines

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.mark.parametrize("cost", ["fit_time", "predict_time_per_image", "n_parameters", "size"])
def test_two_panels(comparison, cost, tmp_path):
    display = comparison.plot(cost=cost)
    scores, costs = display.axes_
    assert len(scores.get_yticklabels()) == 3  # the failed one is left out
    assert costs.get_xscale() == "log"
    assert "accuracy" in scores.get_xlabel()
    names = {text.get_text() for text in costs.texts}
    assert "centroid" in names
    display.figure_.savefig(tmp_path / "plot.png")  # user text must not break mathtext


def test_on_given_axes(comparison):
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1)
    display = comparison.plot(axes=axes)
    assert display.figure_ is figure
    assert display.axes_[1] is axes[1]


def test_dollar_signs_are_no_mathematics(pipelines, images, labels, tmp_path):
    named = {"$a_{": pipelines["chance"], "b$ $": pipelines["centroid"]}
    display = compare_pipelines(named, images, labels, cv=2).plot()
    display.figure_.savefig(tmp_path / "plot.png")  # where matplotlib would parse mathematics
    shown = {tick.get_text().replace(r"\$", "$") for tick in display.axes_[0].get_yticklabels()}
    assert shown == set(named)


def test_unknown_cost(comparison):
    with pytest.raises(ValueError, match="cost must be one of"):
        comparison.plot(cost="time")


def test_missing_matplotlib_says_what_to_install(comparison, monkeypatch):
    original = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(ImportError, match=r'pip install "skcnn\[plot\]"'):
        comparison.plot()
