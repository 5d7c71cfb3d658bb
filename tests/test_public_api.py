"""What skcnn shows to the world: names, stubs, light imports, documentation."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import is_regressor
from skorch import NeuralNet

import skcnn
from tests.estimators import (
    ESTIMATORS,
    OF_NUMBERS,
    all_modules,
    is_estimator,
    labelled_images,
    make,
    public_rooms,
)

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "skcnn" / "__init__.pyi"
HEAVY = {"torch", "skorch", "skimage", "matplotlib", "pandas"}


def modules_after(code):
    """Return the names of the top-level modules that a fresh process has after running `code`."""
    show = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_import_of_skcnn_is_light():
    loaded = modules_after("import skcnn; dir(skcnn); skcnn.__version__; skcnn.__all__")
    assert "skcnn" in loaded
    assert not loaded & HEAVY
    assert "sklearn" not in loaded


@pytest.mark.parametrize("name", ["images", "datasets", "features", "inspection"])
def test_rooms_below_the_networks_import_no_torch(name):
    loaded = modules_after(f"import skcnn.{name}")
    assert "sklearn" in loaded
    assert not loaded & {"torch", "skorch", "matplotlib"}


def test_public_names_tab_complete_and_resolve():
    assert set(skcnn.__all__) <= set(dir(skcnn))
    assert "__version__" in dir(skcnn)
    assert all(getattr(skcnn, name) is not None for name in skcnn.__all__)
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = skcnn.NoSuchName


def test_star_import_brings_the_public_names():
    namespace = {}
    exec("from skcnn import *", namespace)
    assert set(skcnn.__all__) <= namespace.keys()


def stub_names():
    """Return the names that the stub declares and those of its __all__."""
    declared, listed = set(), []
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        match node:
            case ast.ImportFrom(names=aliases):
                declared |= {alias.asname or alias.name for alias in aliases}
            case ast.AnnAssign(target=ast.Name(id=name)):
                declared.add(name)
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                listed = ast.literal_eval(value)
    return declared, listed


def test_stub_and_runtime_agree():
    declared, listed = stub_names()
    assert listed == sorted(listed)
    assert len(listed) == len(set(listed))
    assert declared == {*listed, "__version__"} == set(skcnn.__all__)


def test_rooms_are_public_names():
    rooms = {room.__name__.removeprefix("skcnn.") for room in public_rooms()} - {"cli"}
    assert rooms <= set(skcnn.__all__)


@pytest.mark.parametrize("room", list(public_rooms()), ids=lambda room: room.__name__)
def test_rooms_say_what_is_public(room):
    assert room.__doc__
    assert room.__all__ == sorted(room.__all__)
    assert all(getattr(room, name) is not None for name in room.__all__)
    for path in Path(room.__file__).parent.glob("*.py"):
        assert path.name.startswith("_"), f"{path} is a public module of a room"


def test_every_estimator_is_public_or_private_by_name():
    written = {
        thing.__name__
        for module in all_modules()
        for thing in vars(module).values()
        if is_estimator(thing)
        and thing.__module__.startswith("skcnn.")
        and not inspect.isabstract(thing)
        and not thing.__name__.startswith("_")
        and not issubclass(thing, NeuralNet)  # the engine is a part of estimators, not one itself
    }
    assert written == {estimator.__name__ for estimator in ESTIMATORS}
    assert written <= set(skcnn.__all__)
    for estimator in ESTIMATORS:
        assert getattr(skcnn, estimator.__name__) is estimator


# Which room may use which: imports go down only.
BELOW = {
    "images": set(),
    "datasets": {"images"},
    "features": {"images"},
    "inspection": {"images", "features"},
    "neural": {"images", "features"},
    "pretrained": {"images", "features", "neural"},
    "comparison": {"images", "features", "neural", "pretrained", "datasets"},
    "cli": {"images", "features", "neural", "pretrained", "datasets", "comparison"},
}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module="skcnn", level=0, names=aliases):
                names = [f"skcnn.{alias.name}" for alias in aliases if alias.name[:2] != "__"]
            case ast.ImportFrom(module=str(module), level=0):
                names = [module]
            case _:
                continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "skcnn" and rest:
                yield rest.partition(".")[0]


@pytest.mark.parametrize("room", list(public_rooms()), ids=lambda room: room.__name__)
def test_imports_go_down_only(room):
    own = room.__name__.removeprefix("skcnn.")
    private = {path.stem for path in (ROOT / "skcnn").glob("_*.py")}
    for path in Path(room.__file__).parent.rglob("*.py"):
        assert set(imported_rooms(path)) <= BELOW[own] | {own} | private, path


def test_modules_beside_the_rooms_import_none_of_them():
    for path in (ROOT / "skcnn").glob("_[a-z]*.py"):
        assert not set(imported_rooms(path)) & set(BELOW), path


def sections(docstring):
    """Return the numpydoc sections of a docstring, by title."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(section):
    """Return the names that a Parameters or Attributes section describes."""
    lines = re.findall(r"^(\w[\w, ]*) :", section, flags=re.MULTILINE)
    return [name.strip() for line in lines for name in line.split(",")]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.__name__)
class TestDocumentation:
    def test_sections_and_example(self, estimator):
        found = sections(estimator.__doc__)
        assert {"Parameters", "Attributes", "Examples"} <= found.keys()
        assert ">>> " in found["Examples"]
        assert estimator.__name__ in found["Examples"]

    def test_every_parameter_is_described_in_order(self, estimator):
        described = entries(sections(estimator.__doc__)["Parameters"])
        assert described == list(inspect.signature(estimator).parameters)

    def test_every_parameter_is_constrained(self, estimator):
        names = set(inspect.signature(estimator).parameters)
        assert set(estimator._parameter_constraints) == names

    def test_public_methods_are_described(self, estimator):
        for name, method in inspect.getmembers(estimator, inspect.isfunction):
            if not name.startswith("_") and method.__module__.startswith("skcnn"):
                assert method.__doc__, f"{name} has no docstring"

    def test_it_is_in_the_api_reference(self, estimator):
        pages = [*(ROOT / "docs" / "api").glob("*.rst"), *(ROOT / "docs" / "api").glob("*.md")]
        listed = "\n".join(page.read_text(encoding="utf-8") for page in pages)
        assert re.search(rf"^ +(\w+\.)*{estimator.__name__}$", listed, flags=re.MULTILINE)


@pytest.mark.parametrize("estimator", OF_NUMBERS, ids=lambda estimator: estimator.__name__)
def test_every_fitted_attribute_is_described(estimator):
    X, y = labelled_images()
    named = y if is_regressor(make(estimator)) else np.array(["left", "up"])[y]
    fitted = make(estimator).fit(X, named)
    learnt = {name for name in vars(fitted) if name.endswith("_") and not name.startswith("_")}
    described = set(entries(sections(estimator.__doc__)["Attributes"]))
    assert learnt <= described
    assert {name for name in described if hasattr(fitted, name)} == described - {
        "feature_names_in_"
    }
