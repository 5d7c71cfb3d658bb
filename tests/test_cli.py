"""The command line, end to end: what is printed, what is written, exit codes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV

import skcnn
from skcnn import load_digit_images
from skcnn.cli import main

FAST = ["--pipelines", "template-matching,pixels-rbf-svm", "--quick", "--cv", "2", "--jobs", "1"]
OUTPUTS = ["best.joblib", "comparison.csv", "comparison.html"]


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


def save_npz(name="data.npz", **arrays):
    np.savez(name, **arrays)
    return name


def digits(n=60, n_classes=3):
    images, labels = load_digit_images(return_X_y=True)
    chosen = labels < n_classes
    return images[chosen][:n], labels[chosen][:n]


def words(text):
    """The text without its line breaks."""
    return " ".join(text.split())


def usage_error(arguments, capsys):
    """Run a command that must end with exit code 2 and one line, and return that line."""
    try:
        code = main(arguments)
    except SystemExit as exit_:  # argparse
        code = exit_.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err.splitlines()[-1]


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
        assert len(lines) == 8
        assert re.fullmatch(r"hog-rbf-svm +HOG \+ RBF SVM", lines[4])


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
            ({"X": np.array([{}] * 4), "y": np.zeros(4)}, "allow_pickle"),
            ({"X": np.zeros((4, 2, 2)), "y": np.zeros(4)}, "one class only"),
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
        for name in ("copy/one [1]/notes.txt", "copy/.hidden.png"):
            with open(name, "w") as file:
                file.write("no image")
        assert main(["predict", str(model), "copy"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 36

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


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_keeps_what_finished(jobs):
    """As in a terminal, the signal goes to the command and all its workers."""
    arguments = ["--pipelines", "template-matching,cnn", "--jobs", jobs, "--output", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "skcnn", "compare", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    seen = ""
    while "[5/10]" not in seen:  # template matching is done, the network is under way
        line = process.stderr.readline()
        assert line, seen
        seen += line
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "Stopped before all folds had run: no best.joblib." in errors
    assert "template matching has the best accuracy" in words(output)
    assert "CNN was interrupted" in words(output)
    assert sorted(os.listdir("out")) == ["comparison.csv", "comparison.html"]
    table = pd.read_csv("out/comparison.csv", index_col="pipeline")
    assert table.loc["template matching", "status"] == "ok"
    assert table.loc["CNN", "status"] == "interrupted"


def test_ctrl_c_before_anything_finished(monkeypatch, capsys):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skcnn.cli._compare.load_data", stop)
    assert main(["compare", "--output", "out"]) == 130
    assert capsys.readouterr().err == "skcnn compare: stopped.\n"
    assert os.listdir() == []


def test_progress_bar_on_a_terminal():
    import pty

    main_end, terminal = pty.openpty()
    arguments = ["--pipelines", "template-matching", "--cv", "2", "--jobs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "skcnn", "compare", *arguments],
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "90"},
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(main_end, 65536)
        except OSError:  # how a closed terminal reads on Linux
            break
        if not part:
            break
        shown += part
    os.close(main_end)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "Comparing" in text
    assert "2/2" in text
    assert "fold 2: accuracy" in text
