"""Folders that exist, wrong usage and data that cannot be used."""

import os
import zipfile

import numpy as np
import pandas as pd
import pytest

from skcnn.cli import main
from tests.cli.helpers import FAST, OUTPUTS, digits, save_npz, usage_error


class TestOutputFolder:
    @pytest.fixture
    def data(self):
        X, y = digits(40)
        return save_npz(X=X, y=y)

    def test_existing_folder_is_left_alone(self, data, capsys, monkeypatch):
        os.mkdir("out")
        with open("out/mine.txt", "w") as file:
            file.write("precious")
        monkeypatch.setattr("skcnn.cli._compare.load_data", None)  # refused before any work
        message = usage_error(["compare", data, "--output", "out", *FAST], capsys)
        assert "out exists already" in message
        assert "--output" in message
        assert "--force" in message
        assert os.listdir("out") == ["mine.txt"]

    def test_force_replaces_only_its_own_files(self, data):
        main(["compare", data, "--output", "out", "--quiet", *FAST])
        for name in ("mine.txt", "comparison.csv"):
            with open(f"out/{name}", "w") as file:
                file.write("precious")
        assert main(["compare", data, "--output", "out", "--force", "--quiet", *FAST]) == 0
        assert sorted(os.listdir("out")) == [*OUTPUTS, "mine.txt"]
        with open("out/mine.txt") as file:
            assert file.read() == "precious"
        assert len(pd.read_csv("out/comparison.csv")) == 2

    def test_force_leaves_no_model_of_an_earlier_run(self, data, monkeypatch):
        main(["compare", data, "--output", "out", "--quiet", *FAST])

        def stop(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr("skcnn.cli._compare.fit_final", stop)
        assert main(["compare", data, "--output", "out", "--force", "--quiet", *FAST]) == 130
        assert sorted(os.listdir("out")) == ["comparison.csv", "comparison.html"]

    def test_empty_folder_may_be_used(self, data):
        os.mkdir("out")
        assert main(["compare", data, "--output", "out", "--quiet", *FAST]) == 0

    def test_parents_are_made(self, data):
        assert main(["compare", data, "--output", "a/b/out", "--quiet", *FAST]) == 0
        assert sorted(os.listdir("a/b/out")) == OUTPUTS

    @pytest.mark.parametrize("output", ["file", "file/out"])
    def test_a_file_in_the_way(self, data, capsys, output):
        with open("file", "w") as file:
            file.write("precious")
        message = usage_error(["compare", data, "--output", output, *FAST], capsys)
        assert "file" in message
        with open("file") as file:
            assert file.read() == "precious"

    def test_a_failed_write_leaves_nothing(self, data, monkeypatch, capsys):
        def fail(self, path):
            raise OSError("disk full")

        monkeypatch.setattr("skcnn.comparison.Comparison.to_csv", fail)
        assert main(["compare", data, "--output", "out", "--quiet", *FAST]) == 1
        assert capsys.readouterr().err == "skcnn compare: error: disk full\n"
        assert os.listdir() == [data]

    def test_a_name_taken_meanwhile(self, data, monkeypatch, capsys):
        from skcnn.cli import _output

        original = _output._write_into

        def write_late(folder, comparison):
            original(folder, comparison)
            os.mkdir("out")
            with open("out/other.txt", "w") as file:
                file.write("another run")

        monkeypatch.setattr(_output, "_write_into", write_late)
        assert main(["compare", data, "--output", "out", "--quiet", *FAST]) == 0
        assert os.listdir("out") == ["other.txt"]
        assert sorted(os.listdir("out-2")) == OUTPUTS
        assert "Wrote out-2/best.joblib" in capsys.readouterr().err


class TestUsageErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--pipelines", "hog-rbv-svm"], "did you mean 'hog-rbf-svm'?"),
            (["--pipelines", "nothing-like-it"], "Choose from pixels-logistic-regression"),
            (["--pipelines", ","], "name at least one pipeline"),
            (["--cv", "1"], "at least 2, got '1'"),
            (["--cv", "five"], "at least 2, got 'five'"),
            (["--jobs", "0"], "at least 1, got '0'"),
            (["--seed", "-1"], "got '-1'"),
            (["--size", "0x8"], "such as 32x48"),
            (["--size", "8"], "for folders of image files only"),
            (["--mode", "grey"], "for folders of image files only"),
            (["--mode", "cmyk"], "invalid choice"),
            (["--scoring", "acuracy", "--jobs", "1"], "did you mean 'accuracy'?"),
            (["--cv", "1000", "--jobs", "1"], "needs at least 1000 images in every class"),
            (["nowhere"], "nowhere does not exist"),
            (["a.txt"], "neither a folder of class folders nor an .npz file"),
            (["empty"], "empty holds no sub-folders"),
            (["--nonsense"], "unrecognized arguments"),
        ],
    )
    def test_options(self, arguments, message, capsys):
        open("a.txt", "w").close()
        os.mkdir("empty")
        assert message in usage_error(["compare", *arguments], capsys)
        assert not os.path.exists("skcnn-comparison")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"X_train": np.zeros((4, 2, 2)), "y": np.zeros(4)}, "it holds: X_train, y."),
            ({"X": np.zeros((4, 2, 2)), "y": np.zeros(5)}, "it has shape (5,)"),
            ({"X": np.zeros(4), "y": np.zeros(4)}, "it holds float64 of shape (4,)"),
            ({"X": np.zeros((4, 2, 2), complex), "y": np.zeros(4)}, "it holds complex128"),
            ({"X": np.zeros((0, 2, 2)), "y": np.zeros(0)}, "is empty"),
            ({"X": np.zeros((4, 3, 9, 9)), "y": np.zeros(4)}, "channels first"),
            ({"X": np.array([{}] * 4), "y": np.zeros(4)}, "it holds Python objects"),
            ({"X": np.zeros((4, 2, 2)), "y": np.zeros(4)}, "one class only"),
            (
                {
                    "X": np.r_[np.zeros(12), np.nan].repeat(4).reshape(13, 2, 2),
                    "y": np.arange(13) % 2,
                },
                "contains NaN: the first one found is in image 12",
            ),
        ],
    )
    def test_npz(self, arrays, message, capsys):
        data = save_npz(**arrays)
        error = usage_error(["compare", data, "--jobs", "1"], capsys)
        assert message in error
        if "class" not in message:
            assert "data.npz" in error

    @pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut off"])
    def test_damaged_npz(self, content, capsys):
        with open("data.npz", "wb") as file:
            file.write(content)
        assert "data.npz cannot be read" in usage_error(["compare", "data.npz"], capsys)

    def test_zip_of_other_things(self, capsys):
        with zipfile.ZipFile("data.npz", "w") as archive:
            archive.writestr("X.npy", "text")
            archive.writestr("y.npy", "text")
        assert "data.npz" in usage_error(["compare", "data.npz"], capsys)

    def test_names_do_not_steer_the_terminal(self, capsys):
        assert "\x1b" not in usage_error(["compare", "\x1b[31mred.npz"], capsys)

    @pytest.mark.parametrize("damage", ["renamed array", "cut", "nonsense"])
    def test_npz_that_is_none(self, damage, capsys):
        if damage == "renamed array":
            np.save("data.npy", np.zeros((4, 2, 2)))
            os.rename("data.npy", "data.npz")
        else:
            np.savez_compressed("data.npz", X=np.random.default_rng(0).random((9, 5, 5)), y=[0] * 9)
            with open("data.npz", "rb+") as file:
                content = bytearray(file.read())
                content[60:200] = bytes(140)
                file.seek(0)
                file.truncate()
                file.write(content if damage == "nonsense" else content[:100])
        error = usage_error(["compare", "data.npz"], capsys)
        assert error.startswith("skcnn compare: error: data.npz cannot be read: ")
        assert "allow_pickle" not in error

    def test_output_without_a_name(self, capsys):
        assert "--output must name a folder" in usage_error(["compare", "--output", ""], capsys)
