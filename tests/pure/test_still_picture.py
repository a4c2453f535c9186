"""The still picture of a wiring, and the numbers that change it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from ec_jupyter.client import scene
from ec_jupyter.client.drawing import svg
from ec_jupyter.client.source import described, used
from tests.attacks import ATTACKS

Record = dict[str, Any]


def parameter(name: str, default: str | None = None, kind: str = "POSITIONAL_OR_KEYWORD") -> Record:
    return {"name": name, "kind": kind, "required": default is None, "default": default, "annotation": None}


def socket(processor: str, *parameters: Record, source: str = "", **options: Any) -> Record:
    task = {
        "version": 2, "source": source, "file": "<socket f>", "sha256": "", "stale": [], "generator": False,
        "parked": False, "signature": list(parameters), "captured": [],
    }  # fmt: skip
    record = {"processor": processor, "paused": False, "fixed": {}, "position": None, "threads": 1, "task": task}
    return record | options


def plug(key: int, source: str, target: str, argument: str, **options: Any) -> Record:
    ends = {"id": key, "source": source, "target": target, "argument": argument}
    return {**ends, "on": "result", "map": False, "gather": False, "when": None, **options}


def pool(cpus: int | None = None, *, paused: bool = False) -> Record:
    return {"cpus": cpus, "paused": paused, "memory": None, "affinity": None}


def wiring() -> Record:
    return {
        "revision": 3,
        "processors": {"main": pool(), "a<b>": pool(2, paused=True), "empty": pool(1)},
        "sockets": {
            "read": socket("main", parameter("path"), fixed={"path": {"type": "str", "text": "'<&>'"}}),
            "add": socket("a<b>", parameter("one"), parameter("two", "3"), parameter("rest", None, "VAR_KEYWORD")),
        },
        "plugs": [
            plug(7, "read", "add", "one", map=True, when="result > 1"),
            plug(8, "read", "add", "two", on="error"),
        ],
        "nodes": [{"name": "local", "cpus": 2, "state": "up"}],
    }


def counted(**numbers: Any) -> Record:
    row = dict.fromkeys(("waiting", "queued", "running", "done", "failed", "cancelled", "skipped"), 0)
    return {**row, "arrived": {}, **numbers}


def counts(**sockets: Record) -> Record:
    table = {"read": counted(), "add": counted()} | sockets
    pools = {"main": {"cpus": None, "paused": False, "running": 0, "queued": 0}}
    return {"time": 5.0, "sockets": table, "processors": pools, "plugs": {}, "nodes": [], "idle": True}


def texts(picture: str) -> list[str]:
    found = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    return [" ".join("".join(text.itertext()).split()) for text in found]


def test_the_still_picture_is_xml_without_script_or_style() -> None:
    picture = svg(wiring(), "first & last")
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(picture).iter()}
    assert tags == {"svg", "title", "rect", "text", "tspan", "path", "circle", "g"}
    assert "read = '" not in picture
    assert "path = '<&>'" in texts(picture)


def test_it_names_processors_sockets_arguments_and_what_plugs_do() -> None:
    shown = texts(svg(wiring(), "f"))
    assert {"a<b> 2 CPUs, paused", "main all CPUs", "empty 1 CPU", "add v2", "two = 3", "error"} <= set(shown)
    assert "map, when result > 1" in shown
    assert not any(text.startswith("rest") for text in shown)


def test_it_shows_numbers_where_it_is_given_some() -> None:
    now = counts(add=counted(queued=2, failed=1, arrived={"one": 4}), read=counted(done=9))
    shown = texts(svg(wiring(), "f", {**now, "plugs": {"7": 4}}))
    assert {"2 queued · 1 failed", "9 done", "4 arrived", "4, map, when result > 1"} <= set(shown)


def test_a_group_is_a_frame_with_its_name_and_one_card_with_its_sums_where_it_is_folded() -> None:
    flow = wiring()
    for name in ("read", "add"):
        flow["sockets"][name]["group"] = "in & out"
    now = counts(add=counted(queued=2, failed=1), read=counted(done=9, queued=1))
    shown = texts(svg(flow, "f", now))
    assert {"in & out", "2 queued · 1 failed", "add v2"} <= set(shown)
    folded = svg(flow, "f", now, folded=["in & out"])
    assert {"in & out", "2 sockets", "3 queued · 9 done · 1 failed"} <= set(texts(folded))
    assert "add v2" not in texts(folded)
    assert "<path" not in folded
    flow["sockets"]["read"]["group"] = None
    # what crosses its border stays
    assert svg(flow, "f", now, folded=["in & out"]).count("<path") == 2


def test_a_label_lies_on_no_card_that_its_plug_passes_and_on_no_other_label() -> None:
    flow = wiring()
    places = {"read": (0, 0), "passed": (400, -60), "add": (900, 0)}
    flow["sockets"]["passed"] = socket("main", parameter("x"))
    for name, place in places.items():
        flow["sockets"][name] |= {"position": place, "processor": "main"}
    drawn = ElementTree.fromstring(svg(flow, "f")).iter("{http://www.w3.org/2000/svg}text")
    found = [(float(t.attrib["x"]), float(t.attrib["y"])) for t in drawn if t.text in ("map, when result > 1", "error")]
    assert len(found) == 2
    for x, y in found:
        assert not (400 - 60 < x < 632 + 60 and -60 < y < 200)
    (a, b) = found
    assert abs(a[0] - b[0]) > 80 or abs(a[1] - b[1]) >= 16


def test_a_note_is_drawn_as_text_and_the_picture_is_large_enough_for_it() -> None:
    notes = [{"id": n, "text": f"{text}\x00\n\nsecond", "place": [2000 + n, 900]} for n, text in enumerate(ATTACKS)]
    drawn = ElementTree.fromstring(svg({**wiring(), "notes": notes}, "demo"))
    said = [one.text or "" for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for attack in ATTACKS:
        assert attack.replace(" ", "")[:30] in "".join(said).replace(" ", "")
    known = {"svg", "title", "rect", "text", "tspan", "g", "path", "circle"}
    assert {one.tag.rpartition("}")[2] for one in drawn.iter()} <= known
    x, _, width, _ = map(float, drawn.attrib["viewBox"].split())
    assert x + width > 2200


def test_an_empty_flow_and_a_line_below_can_be_drawn() -> None:
    empty = {"revision": 0, "processors": {}, "sockets": {}, "plugs": [], "nodes": []}
    assert texts(svg(empty, "f", None, "how to build")) == ["how to build"]


def test_a_message_of_numbers_tells_what_changed_and_only_that() -> None:
    first, second = counts(), counts(add=counted(done=1))
    second["plugs"] = {"7": 2}
    full = scene.metrics(first, None, 1)
    assert (full["full"], full["seq"], set(full["sockets"])) == (True, 1, {"read", "add"})
    news = scene.metrics(second, first, 2)
    assert (news["full"], set(news["sockets"]), news["plugs"], news["processors"]) == (False, {"add"}, {"7": 2}, {})
    assert scene.metrics(first, second, 3)["plugs"] == {"7": 0}
    still = scene.metrics(second, second, 4)
    assert (still["sockets"], still["plugs"], still["seq"]) == ({}, {}, 4)


def test_a_card_has_a_row_for_each_argument_that_a_plug_can_feed() -> None:
    graph = scene.graph(wiring(), "f")
    assert graph["sockets"]["add"]["box"][2:] == [232, 152 + 2 * 24]
    assert graph["sockets"]["read"]["box"][0] + 232 < graph["sockets"]["add"]["box"][0]
    assert [p["id"] for p in graph["plugs"]] == [7, 8]


CELL = '''import math
LIMIT = 3

@ec.socket("renamed")
@checked(LIMIT)
def f(x: "a", *more, y=math.pi, **rest) -> dict[str, int]:
    """First line
    goes on.

    Not this."""
    return {"x": [q for q in more]}

g = lambda x: x
class Maker:
    def f(self, x, more, y, rest): return 1
'''
F = [
    parameter("x"),
    parameter("more", None, "VAR_POSITIONAL"),
    parameter("y", "3"),
    parameter("rest", None, "VAR_KEYWORD"),
]


@pytest.mark.parametrize("name", ["f", "renamed", "something_else"])
def test_a_task_is_found_in_its_cell_whatever_the_socket_is_called(name: str) -> None:
    task = socket("main", *F, source=CELL)["task"]
    returns, doc, lines = described(name, task)
    assert (returns, doc) == ("dict[str, int]", "First line goes on.")
    assert lines.startswith('@ec.socket("renamed")\n@checked(LIMIT)\ndef f(')


def test_what_cannot_be_told_from_the_text_is_not_guessed() -> None:
    twice = "def a(x): return 1\ndef b(x): return 2\n"
    task = socket("main", parameter("x"), source=twice)["task"]
    assert described("c", task) == (None, "", twice)
    broken = "def f(x) broken"
    assert described("f", socket("main", parameter("x"), source=broken)["task"]) == (None, "", broken)


def test_a_lambda_is_found_by_its_arguments() -> None:
    task = socket("main", parameter("x"), parameter("y"), source="flow.declare(lambda x, y: x + y, 'add')")["task"]
    assert described("add", task) == (None, "", "lambda x, y: x + y")


def test_names_that_code_uses_are_its_globals() -> None:
    assert set(used("def f(a, b=c):\n    d = e\n    return [g for g in a if h(g)]")) == {"c", "e", "h"}
    assert list(used("def (")) == []
