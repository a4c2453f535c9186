"""The examples of docs/join.md run as they stand."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "join.md"
SHOWN = re.compile(r"# → (.*)$")


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


def outcomes(code: str, names: dict[str, Any]) -> list[tuple[str, str]]:
    """Run a block; of each expression that has its value beside it: what the page says, and what it is."""
    lines, found = code.splitlines(), []
    for statement in ast.parse(code).body:
        source = ast.unparse(statement)
        said = SHOWN.search(lines[(statement.end_lineno or 0) - 1])
        if said and isinstance(statement, ast.Expr):
            found.append((f"{source}  # → {said[1]}", f"{source}  # → {eval(source, names)!r}"))
        else:
            exec(source, names)
    assert len(found) == code.count("# →")
    return found


def test_the_examples_of_the_page_come_to_what_it_says() -> None:
    names: dict[str, Any] = {}
    pairs = [pair for code in blocks() for pair in outcomes(code, names)]
    assert [said for said, _ in pairs] == [is_so for _, is_so in pairs]
    assert pairs
