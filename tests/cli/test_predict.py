"""``skcnn predict``: what is printed, and for which models."""

import os
import shutil
import subprocess
import sys

import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV

import skcnn
from skcnn.cli import main
from tests.cli.helpers import FAST, digits, save_npz, usage_error
from tests.images.containers import forbid


class TestPredict:
    def test_one_line_per_image(self, model, digit_folder, capsys):
        files = sorted(str(path) for path in digit_folder.rglob("*.png"))
        assert main(["predict", str(model), *files]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        lines = [line.split("\t") for line in captured.out.splitlines()]
        assert [line[0] for line in lines] == files
        right = [os.path.basename(os.path.dirname(name)) == label for name, label, _ in lines]
        assert np.mean(right) > 0.9
        assert all(0.3 < float(probability) <= 1 for _, _, probability in lines)

    def test_folders_stand_for_their_images(self, model, digit_folder, capsys):
        shutil.copytree(digit_folder, "copy")
        os.mkdir("copy/.cache")
        names = ("one [1]/notes.txt", ".hidden.png", ".cache/a.png", "paper.pdf", "data.h5")
        for name in (f"copy/{name}" for name in names):
            with open(name, "w") as file:
                file.write("no image")
        assert main(["predict", str(model), "copy"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 36

    def test_folders_that_cannot_be_read_are_told(self, model, digit_folder, capsys, monkeypatch):
        shutil.copytree(digit_folder, "copy")
        forbid(monkeypatch, "copy/one [1]")
        assert main(["predict", str(model), "copy"]) == 1
        captured = capsys.readouterr()
        assert 0 < len(captured.out.splitlines()) < 36
        assert captured.err == "skcnn predict: copy/one [1]: Permission denied\n"

    def test_bad_images_among_good_ones(self, model, digit_folder, capsys):
        good = str(next(digit_folder.rglob("00.png")))
        with open("bad.png", "w") as file:
            file.write("no image")
        assert main(["predict", str(model), good, "bad.png", "missing.png", good]) == 1
        captured = capsys.readouterr()
        assert [line.split("\t")[0] for line in captured.out.splitlines()] == [good, good]
        assert captured.err.count("bad.png") >= 1
        assert "missing.png: No such file" in captured.err
        assert "Traceback" not in captured.err

    def test_other_sizes_and_modes_are_brought_to_the_model_s(self, model, digit_folder, capsys):
        with Image.open(next(digit_folder.rglob("one*/00.png"))) as image:
            image.convert("RGBA").resize((32, 32)).save("large.png")
        assert main(["predict", str(model), "large.png"]) == 0
        assert "one [1]" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("scale", "dtype", "layout"),
        [
            (1.0, np.float64, (8, 8)),
            (16.0, np.int64, (8, 8)),
            (255.0, np.float32, (64,)),
            (255.0, np.uint8, (8, 8, 1)),
            (65535.0, np.uint16, (8, 8)),
            (16.0, np.uint8, (8, 8)),  # whose largest number is far from the type's
            (1023.0, np.uint16, (8, 8)),
        ],
    )
    def test_files_are_read_on_the_scale_of_the_arrays(self, scale, dtype, layout, capsys):
        images, labels = digits(120)
        X = (images * scale).astype(dtype).reshape(-1, *layout)
        data = save_npz(X=X, y=labels)
        assert main(["compare", data, "--output", "out", "--quiet", *FAST]) == 0
        for index in range(6):
            Image.fromarray((images[index] * 255).astype(np.uint8)).save(f"{index}.png")
        capsys.readouterr()
        assert main(["predict", "out/best.joblib", *(f"{i}.png" for i in range(6))]) == 0
        predicted = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
        assert predicted == [str(label) for label in labels[:6]]

    def test_arrays_that_no_file_gives(self, capsys):
        X = np.random.default_rng(0).random((20, 7))
        data = save_npz(X=X, y=[0, 1] * 10)
        assert main(["compare", data, "--output", "out", "--quiet", *FAST]) == 0
        capsys.readouterr()
        assert "image files cannot be turned into" in usage_error(
            ["predict", "out/best.joblib", "x.png"], capsys
        )

    def test_model_errors(self, model, capsys):
        with open("text.joblib", "w") as file:
            file.write("text")
        joblib.dump({"other": 1}, "other.joblib")
        os.mkdir("folder")
        for name, message in (
            ("missing.joblib", "missing.joblib does not exist"),
            ("folder", "folder does not exist or is not a file"),
            ("text.joblib", "text.joblib is not a model that can be loaded"),
            ("other.joblib", "other.joblib was not written by `skcnn compare`"),
        ):
            assert message in usage_error(["predict", name, "x.png"], capsys)
        with open(model, "rb") as file:
            content = file.read()
        with open("half.joblib", "wb") as file:
            file.write(content[: len(content) // 2])
        assert "half.joblib" in usage_error(["predict", "half.joblib", "x.png"], capsys)

    def test_folder_without_images(self, model, capsys):
        os.mkdir("empty")
        assert "No image files in empty" in usage_error(["predict", str(model), "empty"], capsys)

    def test_no_images_given(self, model, capsys):
        assert "required" in usage_error(["predict", str(model)], capsys)

    def test_file_names_do_not_steer_the_terminal(self, model, digit_folder, capsys):
        with open(next(digit_folder.rglob("00.png")), "rb") as file:
            content = file.read()
        with open("\x1b[2Jwipe\n.png", "wb") as file:
            file.write(content)
        assert main(["predict", str(model), "\x1b[2Jwipe\n.png"]) == 0
        captured = capsys.readouterr()
        assert "\x1b" not in captured.out
        assert len(captured.out.splitlines()) == 1

    def test_versions_that_differ_are_told(self, model, digit_folder, capsys, monkeypatch):
        monkeypatch.setattr("sklearn.base.__version__", "0.1")
        assert main(["predict", str(model), str(next(digit_folder.rglob("00.png")))]) == 0
        captured = capsys.readouterr()
        assert captured.err.startswith("warning: ")
        assert len(captured.out.splitlines()) == 1

    def test_reader_that_leaves_early(self, model, digit_folder):
        command = f"{sys.executable} -m skcnn predict {model} {digit_folder} | head -n 1"
        result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        assert len(result.stdout.splitlines()) == 1
        assert result.stderr == ""


class TestModel:
    def test_probabilities_leave_the_svm_s_labels_as_they_are(self, model, digit_folder):
        """Temperature scaling keeps the order of the classes."""
        calibrated = joblib.load(model)["estimator"]
        assert isinstance(calibrated, CalibratedClassifierCV)
        X = skcnn.load_image_folder(digit_folder, mode="grey").images[:]
        (inner,) = calibrated.calibrated_classifiers_
        plain = calibrated.classes_[inner.estimator.predict(X)]
        np.testing.assert_array_equal(calibrated.predict(X), plain)
        np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)

    def test_a_search_leaves_its_winner_only(self):
        X, y = digits()
        options = ["--pipelines", "pixels-logistic-regression", "--cv", "2", "--jobs", "1"]
        assert main(["compare", save_npz(X=X, y=y), "--output", "out", "--quiet", *options]) == 0
        estimator = joblib.load("out/best.joblib")["estimator"]
        assert not hasattr(estimator, "cv_results_")
        assert hasattr(estimator, "predict_proba")

    def test_a_model_without_its_parts_is_refused(self, capsys):
        joblib.dump({"format": "skcnn model 1"}, "model.joblib")
        error = usage_error(["predict", "model.joblib", "1.png"], capsys)
        assert "model.joblib was not written by `skcnn compare`" in error
