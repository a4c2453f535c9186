"""The names a person imports."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ec_jupyter

ROOT = Path(__file__).parents[2]
LATE = ["networkx", "ipywidgets", "anywidget", "loky", "pandas", "numpy", "tqdm", "cloudpickle", "IPython", "traitlets"]


def rank(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_all_is_sorted_and_exact() -> None:
    assert ec_jupyter.__all__ == sorted(set(ec_jupyter.__all__), key=rank)
    here = {"flow", "socket", "load_ipython_extension", "unload_ipython_extension"}
    assert set(ec_jupyter.__all__) == here | set(ec_jupyter._PLACES)


def test_every_error_is_public() -> None:
    from ec_jupyter import errors

    classes = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert classes <= set(ec_jupyter.__all__)


@pytest.mark.parametrize("name", ec_jupyter.__all__)
def test_every_public_name_can_be_had_and_says_what_it_is(name: str) -> None:
    value = getattr(ec_jupyter, name)
    described = value if inspect.isroutine(value) or inspect.isclass(value) else type(value)
    assert inspect.getdoc(described)
    assert described.__doc__


@pytest.mark.parametrize("name", [n for n in ec_jupyter.__all__ if inspect.isclass(getattr(ec_jupyter, n))])
def test_every_public_method_says_what_it_gives(name: str) -> None:
    kind = getattr(ec_jupyter, name)
    parts = {key: getattr(kind, key) for key in vars(kind) if not key.startswith("_")}
    silent = [
        k for k, v in parts.items() if (inspect.isroutine(v) or isinstance(v, property)) and not inspect.getdoc(v)
    ]
    assert silent == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sokcet'"):
        _ = ec_jupyter.sokcet  # type: ignore[attr-defined]


def test_flow_stays_the_function_when_the_room_of_that_name_is_imported() -> None:
    code = "import ec_jupyter as ec, ec_jupyter.flow.topology; from ec_jupyter.flow import tag; print(ec.flow.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "flow\n"


def test_importing_loads_nothing_that_is_not_needed_yet() -> None:
    code = f"import sys, ec_jupyter; print([name for name in {LATE!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_error_is_raised_somewhere_and_told_in_the_docs() -> None:
    package, docs = (
        Path(ec_jupyter.__file__).parent,
        (Path(ec_jupyter.__file__).parents[1] / "docs" / "errors.md").read_text(),
    )
    code = "\n".join(
        path.read_text() for path in package.rglob("*.py") if path.name not in ("errors.py", "__init__.py")
    )
    names = [name for name in ec_jupyter.__all__ if name.endswith("Error") and name != "EcError"]
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []
    assert sorted(re.findall(r"^\| `(\w+)`", docs, re.MULTILINE)) == sorted(names)


def test_every_extra_of_the_package_is_imported_by_it() -> None:
    package = Path(ec_jupyter.__file__).parent
    extras = tomllib.loads((package.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    code = "\n".join(path.read_text() for path in package.rglob("*.py"))
    # what runs the tests, the front end, the example notebooks and the site is no part of the package
    wanted = [need for name, needs in extras.items() if name not in ("test", "lab", "demo", "docs") for need in needs]
    assert [need for need in wanted if not re.search(rf"(import|from) {re.split('[^a-z]', need)[0]}\b", code)] == []


def test_the_version_is_the_same_wherever_it_stands() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    front = json.loads((ROOT / "labextension" / "package.json").read_text())["version"]
    assert project == front == ec_jupyter.__version__
