"""What the flow of a notebook is called, whatever the letters of the notebook's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ec_jupyter.client import names


def named(stem: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JPY_SESSION_NAME", str(Path("/work") / f"{stem}.ipynb"))
    return names.plain_name(names.flow_name(), "flow")


@pytest.mark.parametrize(
    ("stem", "name"), [("flights", "flights"), ("My notes (2)", "My_notes_2"), ("Übung 3", "Ubung_3"), ("_", "main")]
)
def test_a_flow_is_called_as_its_notebook_in_plain_letters(
    stem: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert named(stem, monkeypatch) == name


def test_notebooks_whose_letters_have_no_plain_ones_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [named(stem, monkeypatch) for stem in ("数据", "分析", "Łódź", "łódź")]
    assert len(set(found)) == 4
    assert [name.partition("-")[0] for name in found] == ["main", "main", "odz", "odz"]
    assert named("数据", monkeypatch) == found[0]
