"""The documentation names everything there is, and nothing that is not."""

from __future__ import annotations

import inspect
import re
import runpy
from functools import cache
from pathlib import Path

import pytest

import ec_jupyter
from ec_jupyter import errors
from ec_jupyter.cli.main import ec
from ec_jupyter.notebook.lines import options_of
from ec_jupyter.notebook.magics import FlowMagics

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "benchmarks" / "README.md", *(ROOT / "docs").rglob("*.md")])
MAGICS = sorted(FlowMagics.magics["line"] | FlowMagics.magics["cell"])
VIEWS = ["Flow", "Request", "Run", "Socket", "Task", "Processor", "Plug", "Node", "Waiting", "Lineage"]

OURS = {"between", "socket_name"}
"""Names without an underscore that the views need from each other."""


@cache
def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_every_error_is_on_the_page_of_errors_and_no_other() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and name.endswith("Error")}
    listed = set(re.findall(r"^\| `(\w+)`", page("errors.md"), flags=re.MULTILINE))
    assert listed == classes - {"EcError"}


def test_the_reference_takes_the_docstring_of_every_public_name() -> None:
    text = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    taken = set(re.findall(r"^\.\. auto(?:class|function|data):: (\w+)$", text, flags=re.MULTILINE))
    assert re.search(r"^\.\. automodule:: ec_jupyter\.errors$", text, flags=re.MULTILINE)
    classes = {name for name in ec_jupyter.__all__ if name.endswith("Error")}
    assert {name for name in classes if getattr(ec_jupyter, name).__module__ != errors.__name__} == set()
    assert taken == set(ec_jupyter.__all__) - classes


def test_every_public_name_is_on_the_card_or_the_page_of_errors() -> None:
    text = page("card.md") + page("errors.md")
    assert [name for name in ec_jupyter.__all__ if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("name", MAGICS)
def test_magic_is_on_the_card_with_its_options(name: str) -> None:
    text = page("card.md")
    assert re.search(rf"%{name}\b", text)
    magic = getattr(FlowMagics, name)
    options = options_of(magic) if hasattr(magic, "parser") else []
    assert [option for option in options if not re.search(rf"{option}\b", text)] == []


def test_card_names_no_magic_that_is_not_there() -> None:
    named = set(re.findall(r"%(ec_\w+)", page("card.md") + page("concepts.md") + (ROOT / "README.md").read_text()))
    assert named - set(MAGICS) == set()


def test_every_command_is_on_the_card_and_no_other() -> None:
    listed = set(re.findall(r"`ec ([a-z-]+)", page("card.md")))
    assert listed == set(ec.commands)


@pytest.mark.parametrize("name", VIEWS)
def test_what_a_person_may_use_of_a_view_is_on_the_card(name: str) -> None:
    view = getattr(ec_jupyter, name)
    public = [word for word, _ in inspect.getmembers(view) if not word.startswith("_") and word not in OURS]
    text = page("card.md")
    # slots and properties alike; what is only set in __init__ is documented with the class
    assert [word for word in public if not re.search(rf"\b{word}\b", text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("page.html#place", ""),
        ("https://pydata-sphinx-theme.readthedocs.io/en/stable/", ""),
        ("http://pydata-sphinx-theme.readthedocs.io/", "is no plain address by https"),
        ("https://pydata-sphinx-theme.readthedocs.io.evil.example/", "leads to "),
        ("https://me@pydata-sphinx-theme.readthedocs.io/", "is no plain address by https"),
        ("//elsewhere.example/x", "is no plain address by https"),
        ("https://[x/", "is no address: "),
        ("javascript:alert(1)", "is no plain address by https"),
    ],
)
def test_a_link_out_of_the_site_is_an_address_by_https_of_a_host_that_is_listed(link: str, said: str) -> None:
    check = runpy.run_path(str(ROOT / "docs" / "_site" / "check.py"))
    found = check["_amiss"](link)
    assert found.startswith(said)
    assert bool(found) == bool(said)
