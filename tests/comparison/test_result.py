import io
import os
import pickle
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.model_selection import StratifiedKFold

from skcnn import compare_pipelines
from skcnn.comparison import corrected_resampled_ttest

SEARCH = "<script>alert('name')</script>"
BROKEN = "[red]fails[/red] & $x$"


def test_ranking_is_best_first_and_failed_last(comparison):
    ranking = comparison.ranking()
    assert ranking["pipeline"].iloc[-1] == BROKEN
    finished = ranking[ranking["status"] == "ok"]
    assert finished["mean_score"].is_monotonic_decreasing
    assert comparison.best_name == ranking["pipeline"][0]
    assert ranking["error"].iloc[-1] == "fold 1: RuntimeError: <b>broken</b>\nsecond line"


def test_ranking_numbers(comparison):
    ranking = comparison.ranking(baseline="chance").set_index("pipeline")
    best, chance = comparison.scores[comparison.best_name], comparison.scores["chance"]
    for name in (SEARCH, "centroid", "chance"):
        scores = comparison.scores[name]
        row = ranking.loc[name]
        assert row["mean_score"] == pytest.approx(scores.mean())
        assert row["std_score"] == pytest.approx(scores.std(ddof=1))
        for reference, of in ((best, "best"), (chance, "baseline")):
            assert row[f"difference_to_{of}"] == pytest.approx((scores - reference).mean())
            sizes = [(fold.n_train, fold.n_test) for fold in comparison.folds[:3]]
            test = corrected_resampled_ttest(scores - reference, *np.mean(sizes, axis=0))
            assert row[f"p_value_to_{of}"] == pytest.approx(test.pvalue)
    assert ranking.loc[comparison.best_name, "p_value_to_best"] == 1
    assert ranking.loc[BROKEN].drop(["status", "error"]).isna().all()


def test_no_baseline_columns_unless_asked(comparison):
    assert not any("baseline" in column for column in comparison.ranking())


def test_unknown_baseline(comparison):
    with pytest.raises(ValueError, match="did you mean 'chance'"):
        comparison.ranking(baseline="chanse")


def test_failed_baseline_gives_no_differences(comparison):
    assert comparison.ranking(baseline=BROKEN)["p_value_to_baseline"].isna().all()


def test_frame_has_one_row_per_pipeline(comparison):
    frame = comparison.to_frame()
    assert len(frame) == 4
    assert {
        "pipeline",
        "mean_score",
        "std_score",
        "fit_time",
        "predict_time",
        "predict_time_per_image",
        "n_parameters",
        "size",
        "score_fold_1",
        "score_fold_3",
    } <= set(frame)
    row = frame.set_index("pipeline").loc["centroid"]
    folds = [result for result in comparison.folds if result.pipeline == "centroid"]
    assert row["fit_time"] == pytest.approx(np.mean([fold.fit_time for fold in folds]))
    assert row["predict_time_per_image"] == pytest.approx(
        sum(fold.predict_time for fold in folds) / 200
    )


def test_fold_frame_has_one_row_per_fold(comparison):
    frame = comparison.fold_frame()
    assert len(frame) == 4 * 3
    assert frame["n_test"].sum() == 4 * 200
    assert frame.loc[frame["pipeline"] == BROKEN, "error"].str.startswith("RuntimeError").all()


def test_csv_can_be_read_back(comparison, tmp_path):
    comparison.to_csv(tmp_path / "table.csv")
    read = pd.read_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read, comparison.to_frame(), check_dtype=False)


def test_pickle(comparison):
    copy = pickle.loads(pickle.dumps(comparison))
    pd.testing.assert_frame_equal(copy.to_frame(), comparison.to_frame())
    assert copy.errors == comparison.errors
    assert copy.to_html() == comparison.to_html()


def test_repr(comparison):
    assert repr(comparison).startswith("<Comparison: 4 pipelines, 3 folds, accuracy; best: ")
    assert repr(comparison).endswith("1 failed>")


def test_rich_shows_names_as_they_are(comparison):
    console = Console(file=io.StringIO(), width=120)
    console.print(comparison)
    shown = console.file.getvalue()
    assert BROKEN in shown
    assert "failed" in shown
    assert "\x1b" not in shown


def test_conclusion_names_the_best_and_the_failed(comparison):
    assert comparison.conclusion.startswith(f"{comparison.best_name} has the best accuracy: 0.")
    assert f"{BROKEN} failed." in comparison.conclusion


def test_ties_go_to_the_quicker(pipelines, images, labels):
    slow = pipelines["Bayes"]
    quick = slow.estimator
    slow.set_params(param_grid={"gaussiannb__var_smoothing": [1e-9]})
    cv = StratifiedKFold(3)
    comparison = compare_pipelines({"slow": slow, "quick": quick}, images, labels, cv=cv)
    assert comparison.best_name == "quick"
    assert comparison.ranking()["p_value_to_best"].tolist() == [1, 1]
    assert "do not tell slow apart from it" in comparison.conclusion


def test_one_fold(pipelines, images, labels):
    cv = [(np.arange(150), np.arange(150, 200))]
    comparison = compare_pipelines(pipelines, images, labels, cv=cv)
    assert comparison.ranking()["p_value_to_best"].isna().all()
    assert "on the one fold" in comparison.conclusion
    assert comparison.to_html()


@pytest.mark.parametrize("write", ["to_html", "to_csv"])
class TestFiles:
    def test_replaces_what_was_there_and_leaves_nothing_else(self, comparison, tmp_path, write):
        (tmp_path / "out").write_text("old")
        getattr(comparison, write)(tmp_path / "out")
        assert (tmp_path / "out").read_text(encoding="utf-8") != "old"
        assert os.listdir(tmp_path) == ["out"]

    def test_a_failed_write_keeps_the_old_file(self, comparison, tmp_path, write, monkeypatch):
        (tmp_path / "out").write_text("old")

        def fail(self, target):
            raise OSError("disk full")

        monkeypatch.setattr("pathlib.Path.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            getattr(comparison, write)(tmp_path / "out")
        assert (tmp_path / "out").read_text() == "old"
        assert os.listdir(tmp_path) == ["out"]

    def test_a_link_stays_one(self, comparison, tmp_path, write):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "real").write_text("old")
        (tmp_path / "out").symlink_to(tmp_path / "folder" / "real")
        getattr(comparison, write)(tmp_path / "out")
        assert (tmp_path / "out").is_symlink()
        assert (tmp_path / "folder" / "real").read_text(encoding="utf-8") != "old"
        assert os.listdir(tmp_path / "folder") == ["real"]

    def test_a_pipe_is_written_to(self, comparison, tmp_path, write):
        os.mkfifo(tmp_path / "pipe")
        received = []
        reader = Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
        reader.start()
        getattr(comparison, write)(tmp_path / "pipe")
        reader.join()
        getattr(comparison, write)(tmp_path / "file")
        assert received == [(tmp_path / "file").read_bytes()]
        assert (tmp_path / "pipe").is_fifo()

    def test_paths_that_cannot_be_written_to(self, comparison, tmp_path, write):
        with pytest.raises(IsADirectoryError, match=str(tmp_path)):
            getattr(comparison, write)(tmp_path)
        with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'nowhere' / 'out'}'$"):
            getattr(comparison, write)(tmp_path / "nowhere" / "out")
