"""Python that a person writes in the picture runs in the notebook's kernel, as its cells do."""

from __future__ import annotations

from typing import Any

import pytest

from ec_jupyter.client import commands
from ec_jupyter.client.commands import command
from ec_jupyter.errors import DeclarationError
from ec_jupyter.notebook import code_here

pytestmark = pytest.mark.shared_engine


def answer(flow: Any, op: str, args: dict[str, Any]) -> dict[str, Any]:
    """What a picture beside this kernel is answered."""
    return commands.answer(flow._client, op, args, code_here.ops(flow))


@pytest.fixture
def flow(loaded: Any) -> Any:
    """A flow of two sockets, one of which uses what another cell has defined."""
    loaded.run("FACTOR = 3")
    loaded.run("%%ec_socket --retries 2\ndef times(x):\n    return FACTOR * x")
    loaded.run("@ec.socket('named')\ndef f(a, b=1):\n    return a + b")
    return loaded.run("ec.flow()")


def test_code_written_in_the_picture_is_the_next_version_with_the_options_of_the_one_before(flow: Any) -> None:
    done = answer(flow, "redefine", {"socket": "times", "source": "def times(x):\n    return FACTOR * x + 1"})
    assert done == {"ok": True, "version": 2}
    assert flow.submit("times", 2).result(60) == 7
    assert flow["times"].options["retries"] == 2
    # with its decorator it declares itself
    text = "@ec.socket('named')\ndef f(a, b=2):\n    return a - b"
    again = answer(flow, "redefine", {"socket": "named", "source": text})
    assert again == {"ok": True, "version": 2}
    rows = command(flow._client, "versions", {"socket": "times"})["rows"]
    assert [(row["version"], row["source"].splitlines()[-1].strip()) for row in rows] == [
        (1, "return FACTOR * x"),
        (2, "return FACTOR * x + 1"),
    ]
    assert flow.undo() == "socket named v2"
    assert flow.undo() == "socket times v2"
    assert flow.submit("times", 2).result(60) == 6


def test_what_is_wrong_with_it_is_told_with_its_line_and_nothing_changes(flow: Any, loaded: Any) -> None:
    revision = flow.revision
    wrong = answer(flow, "redefine", {"socket": "times", "source": "def times(x):\n    return x +"})
    assert (wrong["ok"], wrong["line"]) == (False, 2)
    assert "invalid syntax" in wrong["error"]
    early = answer(flow, "redefine", {"socket": "times", "source": "\ndef times(x=UNKNOWN):\n    return x"})
    assert (early["error"], early["line"]) == ("NameError: name 'UNKNOWN' is not defined", 2)
    none = answer(flow, "redefine", {"socket": "times", "source": "x = 1"})
    assert "defines no function" in none["error"]
    gone = answer(flow, "redefine", {"socket": "tines", "source": "def tines(): ..."})
    assert gone["error"] == "no socket named 'tines'; did you mean 'times'?"
    assert "cannot be read" in answer(flow, "redefine", {})["error"]
    assert flow.revision == revision
    # after a restart, before the cells above it have run
    loaded.run("del FACTOR")
    lost = answer(flow, "redefine", {"socket": "times", "source": "def times(x): return 2 * FACTOR * x"})
    assert lost["error"] == "this kernel does not know FACTOR, which 'times' uses: run the cells above it first"
    assert flow["times"].versions[-1]["version"] == 1
    # no server runs code of a page
    with pytest.raises(DeclarationError, match="no kernel stands behind this picture"):
        command(flow._client, "redefine", {"socket": "times", "source": "def times(x): return x"})


def test_conditions_and_keys_use_names_of_the_notebook(flow: Any) -> None:
    flow.plug("times", "named.a", map=True)
    ends = {"source": "times", "target": "named", "argument": "a", "on": "result"}
    assert answer(flow, "when", {**ends, "text": "result > FACTOR"}) == {"ok": True}
    (plug,) = flow.plugs
    assert (plug.when, plug.map) == ("result > FACTOR", True)
    assert "is no expression" in answer(flow, "when", {**ends, "text": "result >"})["error"]
    assert answer(flow, "when", {**ends, "text": " "}) == {"ok": True}
    assert [(plug.when, plug.map) for plug in flow.plugs] == [(None, True)]
    assert "there is no plug" in answer(flow, "when", {**ends, "argument": "b", "text": "x"})["error"]
    flow.plug("times", "named.b")
    assert answer(flow, "key", {"socket": "named", "text": "value % FACTOR"}) == {"ok": True}
    assert flow["named"].options["key"] == "value % FACTOR"
    assert answer(flow, "key", {"socket": "named", "text": ""}) == {"ok": True}
    assert flow["named"].options["key"] is None
