"""The Python code that README and the documentation show runs, and prints what they say it prints.

A page's ```python blocks run one after the other in one namespace, as a reader would run them. A
```text block right after one of them is its output, compared word by word; numbers with a decimal
point may differ by 0.015, because libraries and processors round differently.
"""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\s*^```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
DECIMAL = re.compile(r"[-+]?\d+\.\d+")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    if "_build" not in path.parts and "gallery" not in path.parts
)


def code_and_output(page):
    """Yield (code, expected output or None, lines before the code) of a page's Python blocks."""
    content = (ROOT / page).read_text(encoding="utf-8")
    for block in PYTHON_BLOCK.finditer(content):
        yield block["code"], block["output"], content.count("\n", 0, block.start("code"))


def has_code(page):
    return any(True for _ in code_and_output(page))


@pytest.mark.parametrize("page", [page for page in PAGES if has_code(page)])
def test_code_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {"__name__": "page"}
    for code, expected, line in code_and_output(page):
        exec(compile("\n" * line + code, page, "exec"), namespace)
        printed = capsys.readouterr().out
        if expected is not None:
            check_output(expected, printed, f"{page}, line {line + 1}")


def check_output(expected, printed, where):
    if not same_output(expected.split(), printed.split()):
        pytest.fail(f"{where} prints\n{printed}\nbut the page says\n{expected}", pytrace=False)


def same_output(expected, printed):
    return len(expected) == len(printed) and all(
        float(a) == pytest.approx(float(b), abs=0.015)
        if DECIMAL.fullmatch(a) and DECIMAL.fullmatch(b)
        else a == b
        for a, b in zip(expected, printed, strict=True)
    )


def test_output_may_differ_by_rounding_only():
    assert same_output(["mean", "0.97", "10"], ["mean", "0.98", "10"])
    assert not same_output(["0.97"], ["0.95"])
    assert not same_output(["10"], ["11"])
    assert not same_output(["0.97"], [])
    assert not same_output(["0.97"], ["nothing"])


def test_readme_has_a_script_to_run():
    assert has_code("README.md")


def marked_command(name):
    """Return the block of README.md that .ci/run looks for."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [command] = re.findall(rf"^<!-- ci: {name} -->\n```\w+\n(.+)\n```$", readme, re.MULTILINE)
    return command


def test_readme_names_one_command_for_the_main_job_and_one_for_the_tests():
    assert marked_command("main") == "pip install . && skcnn compare"
    assert marked_command("tests") == 'pip install ".[test]" && pytest'


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_between_the_files_of_the_checkout_exist(page):
    content = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", content)
    targets += re.findall(r'(?:src|href)="(?!https?:|#)([^"#]+)"', content)
    folder = (ROOT / page).parent
    assert [target for target in targets if not (folder / target).exists()] == []


def public_names():
    rooms = ["skcnn", *(f"skcnn.{name}" for name in ("images", "features", "neural", "pretrained"))]
    for room in [*rooms, "skcnn.comparison", "skcnn.datasets", "skcnn.inspection"]:
        module = importlib.import_module(room)
        yield from (name for name in module.__all__ if not name.startswith("_"))


def test_every_public_name_is_in_the_api_reference():
    listed = (ROOT / "docs/api/index.rst").read_text(encoding="utf-8")
    entries = set(re.findall(r"^   (?:\w+\.)*(\w+)$", listed, re.MULTILINE))
    rooms = {"comparison", "datasets", "features", "images", "inspection", "neural", "pretrained"}
    assert sorted(set(public_names()) - entries - rooms) == []


@pytest.mark.parametrize("command", ["compare", "predict"])
def test_command_line_page_names_every_option(command):
    text = subprocess.run(
        [sys.executable, "-m", "skcnn", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - {"--help"}
    assert sorted(option for option in options if f"`{option}" not in page) == []
