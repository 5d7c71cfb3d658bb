"""``skcnn compare``: what is printed and written, and the help."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

import skcnn
from skcnn.cli import main
from skcnn.cli._data import load_data
from tests.cli.helpers import FAST, OUTPUTS, digits, save_npz, usage_error, words


class TestHelp:
    def test_version(self, capsys):
        with pytest.raises(SystemExit) as exit_:
            main(["--version"])
        assert exit_.value.code == 0
        assert capsys.readouterr().out == f"skcnn {skcnn.__version__}\n"

    @pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["predict", "-h"]])
    def test_help_tells_exit_codes(self, arguments, capsys):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0
        assert "exit codes" in capsys.readouterr().out

    def test_predict_help_warns_of_pickles(self, capsys):
        with pytest.raises(SystemExit):
            main(["predict", "--help"])
        assert "someone\nyou trust" in capsys.readouterr().out

    def test_no_command_shows_help(self, capsys):
        assert main([]) == 2
        captured = capsys.readouterr()
        assert "compare" in captured.err
        assert captured.out == ""

    def test_help_imports_nothing_heavy(self):
        code = (
            "import sys\nfrom skcnn.cli import main\n"
            "try: main(['compare', '--help'])\nexcept SystemExit: pass\n"
            "heavy = {'numpy', 'sklearn', 'torch', 'pandas', 'rich', 'joblib'}\n"
            "print(heavy & set(sys.modules), file=sys.stderr)"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert result.stderr.strip() == "set()"

    def test_python_m(self):
        result = subprocess.run(
            [sys.executable, "-m", "skcnn", "--version"], capture_output=True, text=True
        )
        assert (result.returncode, result.stdout) == (0, f"skcnn {skcnn.__version__}\n")

    def test_list_of_pipelines(self, capsys):
        assert main(["compare", "--list-pipelines"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 11
        assert re.fullmatch(r"hog-rbf-svm +HOG \+ RBF SVM", lines[5])


class TestPretrained:
    def test_how_to_get_weights_is_said_in_one_line(self, capsys):
        assert main(["compare", "no-such-data.npz"]) == 2  # said before anything is read
        said = [line for line in capsys.readouterr().err.splitlines() if "pre-trained" in line]
        assert said == [
            "No pre-trained network on board. To compare one: hf download timm/resnet50.a1_in1k "
            "(or give --weights FILE)"
        ]

    def test_where_no_weights_are_published(self, capsys):
        assert main(["compare", "no-such-data.npz", "--backbone", "resnet50_mlp"]) == 2
        assert "To compare one: give --weights FILE; none are" in capsys.readouterr().err

    def test_how_to_get_weights_of_a_pipeline_that_was_asked_for(self, capsys):
        chosen = ["--pipelines", "pretrained-logistic-regression"]
        assert main(["compare", "no-such-data.npz", *chosen]) == 2
        assert "To get them: hf download timm/resnet50.a1_in1k" in capsys.readouterr().err

    def test_weights_add_a_pipeline(self, capsys, tmp_path):
        path = tmp_path / "weights.pth"
        torch.save(timm.create_model("test_resnet").state_dict(), path)
        weights = ["--backbone", "test_resnet", "--weights", str(path)]
        assert main(["compare", "--list-pipelines", *weights]) == 0
        *_, last = capsys.readouterr().out.splitlines()
        assert last.split()[0] == "pretrained-logistic-regression"
        X, y = digits()
        chosen = ["--pipelines", last.split()[0], "--quick", "--cv", "2", "--output", "out"]
        assert main(["compare", save_npz(X=X, y=y), *weights, *chosen]) == 0
        table = pd.read_csv("out/comparison.csv").set_index("pipeline")
        assert table.loc["pretrained + logistic regression", "status"] == "ok"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--weights", "none.pth"], "weights='none.pth' does not exist"),
            (["--backbone", "resnet51"], "Did you mean 'resnet50'"),
        ],
    )
    def test_what_cannot_be_had(self, arguments, message, capsys):
        assert main(["compare", *arguments]) == 2
        assert message in capsys.readouterr().err


class TestCompare:
    def test_folder(self, digit_folder, capsys):
        assert main(["compare", str(digit_folder), "--output", "out", *FAST]) == 0
        captured = capsys.readouterr()
        assert "pixels + RBF SVM" in captured.out
        assert "has the best accuracy" in captured.out
        assert "Reading the images as 8x8 grey" in captured.err
        assert "[4/4] " in captured.err
        assert "\x1b" not in captured.out + captured.err
        assert sorted(os.listdir("out")) == OUTPUTS
        assert os.listdir() == ["out"]

    def test_one_file_in_colours_of_very_many(self, digit_folder, capsys):
        shutil.copytree(digit_folder, "copy")
        folder = next(path for path in Path("copy").iterdir())
        grey = next(folder.glob("*.png"))
        for number in range(1200):
            os.link(grey, folder / f"more{number}.png")
        Image.new("RGB", (5, 7)).save(folder / "more501x.png")
        load_data("copy", None, None)
        assert "Reading the images as 64x64 rgb" in capsys.readouterr().err

    def test_no_data_is_not_the_working_directory(self, digit_folder, capsys, monkeypatch):
        monkeypatch.chdir(digit_folder)
        assert "DATA is an empty text" in usage_error(["compare", "", *FAST], capsys)

    def test_table(self, digit_folder):
        main(["compare", str(digit_folder), "--output", "out", "--quiet", *FAST])
        table = pd.read_csv("out/comparison.csv")
        assert len(table) == 2
        assert {
            "pipeline",
            "mean_score",
            "std_score",
            "fit_time",
            "predict_time",
            "n_parameters",
        } <= (set(table))
        assert table["mean_score"].between(0.5, 1).all()

    def test_page_escapes_class_names(self, digit_folder):
        main(["compare", str(digit_folder), "--output", "out", "--quiet", *FAST])
        with open("out/comparison.html", encoding="utf-8") as file:
            page = file.read()
        assert "&lt;b&gt;null: 12" in page
        assert "<b>null" not in page

    def test_quiet_shows_no_progress(self, digit_folder, capsys):
        main(["compare", str(digit_folder), "--output", "out", "--quiet", *FAST])
        assert "[1/4]" not in capsys.readouterr().err

    def test_digits_are_the_default(self, capsys):
        arguments = ["--pipelines", "Template Matching", "--cv", "2", "--jobs", "1"]
        assert main(["compare", *arguments]) == 0
        assert "template matching, fold 2: accuracy 0." in capsys.readouterr().err
        assert sorted(os.listdir("skcnn-comparison")) == OUTPUTS

    def test_same_seed_same_scores(self):
        X, y = digits()
        data = save_npz(X=X, y=y)
        scores = []
        for output, seed in (("a", "3"), ("b", "3"), ("c", "4")):
            main(["compare", data, "--output", output, "--seed", seed, "--quiet", *FAST])
            scores.append(pd.read_csv(f"{output}/comparison.csv").filter(like="score_fold"))
        pd.testing.assert_frame_equal(scores[0], scores[1])
        assert not scores[0].equals(scores[2])

    def test_scoring_and_order_of_pipelines(self, capsys):
        X, y = digits()
        data = save_npz(X=X, y=y)
        options = ["--scoring", "f1_macro", "--jobs", "1", "--cv", "3", "--quick"]
        chosen = ["--pipelines", "pixels-rbf-svm, template-matching,pixels-rbf-svm"]
        assert main(["compare", data, *options, *chosen]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("[1/6] pixels + RBF SVM, fold 1: f1_macro")

    def test_processes(self):
        X, y = digits()
        data = save_npz(X=X, y=y)
        arguments = ["--pipelines", "template-matching", "--cv", "2", "--jobs", "2", "--quiet"]
        assert main(["compare", data, *arguments]) == 0

    def test_damaged_files_are_left_out_with_a_warning(self, digit_folder, capsys):
        shutil.copytree(digit_folder, "copy")
        with open("copy/one [1]/99.png", "w") as file:
            file.write("no image")
        assert main(["compare", "copy", "--output", "out", "--quiet", *FAST]) == 0
        error = capsys.readouterr().err
        assert error.count("warning: ") == 1
        assert "99.png" in error
        assert "1 of 37 files" in error

    def test_mixed_sizes_and_colours_get_a_documented_size(self, capsys):
        for name, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
            os.mkdir(name)
            for index in range(4):
                Image.new("RGB", (20 + index, 30), colour).save(f"{name}/{index}.png")
        os.mkdir("photos")
        os.rename("a", "photos/a")
        os.rename("b", "photos/b")
        assert main(["compare", "photos", "--output", "out", *FAST]) == 0
        assert "as 64x64 rgb" in capsys.readouterr().err
        assert main(["predict", "out/best.joblib", "photos"]) == 0
        labels = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
        assert labels == ["a"] * 4 + ["b"] * 4

    def test_size_and_mode(self, digit_folder, capsys):
        options = ["--size", "6x4", "--mode", "rgb", "--output", "out", "--quiet", *FAST]
        assert main(["compare", str(digit_folder), *options]) == 0
        with open("out/comparison.html", encoding="utf-8") as file:
            assert "6 × 4 pixels, 3 channels" in file.read()  # noqa: RUF001

    def test_every_pipeline_fails(self, capsys):
        X = np.random.default_rng(0).random((20, 3, 3))
        data = save_npz(X=X, y=[0, 1] * 10)
        options = ["--pipelines", "cnn", "--cv", "2", "--jobs", "1", "--quick", "--output", "out"]
        assert main(["compare", data, *options]) == 1
        captured = capsys.readouterr()
        assert "Every pipeline failed" in captured.out
        assert "too deep" in captured.err
        assert sorted(os.listdir("out")) == ["comparison.csv", "comparison.html"]

    def test_one_pipeline_fails(self, capsys):
        X = np.random.default_rng(0).random((20, 3, 3))
        data = save_npz(X=X, y=[0, 1] * 10)
        options = ["--pipelines", "cnn,template-matching", "--cv", "2", "--jobs", "1", "--quick"]
        assert main(["compare", data, *options]) == 0
        assert "CNN failed." in words(capsys.readouterr().out)

    def test_final_fit_fails(self, capsys, monkeypatch):
        def fail(*args):
            raise MemoryError("too large")

        monkeypatch.setattr("skcnn.cli._compare.fit_final", fail)
        X, y = digits()
        assert main(["compare", save_npz(X=X, y=y), "--output", "out", *FAST]) == 1
        assert "could not be fitted on all images, no best.joblib: too large" in (
            capsys.readouterr().err
        )
        assert sorted(os.listdir("out")) == ["comparison.csv", "comparison.html"]
