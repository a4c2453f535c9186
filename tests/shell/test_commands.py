"""What a picture asks for, answered by a real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ec_jupyter.client import scene
from ec_jupyter.client.commands import _OPS, answer, command, typed
from ec_jupyter.errors import ArgumentsError, CycleError, RequestNotFoundError, SocketNotFoundError, WiringError
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine

CELL = """
flow = ec.flow()
@ec.socket
def emit(x: int) -> int:
    'Gives back what it gets.'
    return x * 2
@ec.socket(processor="maths", cpus=2)
def add(one, two=3): return one + two
@ec.socket
def join(left, right): return [left, right]
"""


class Page:
    """A page's side of a flow."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.flow = shell.names["flow"]

    def do(self, op: str, **args: Any) -> dict[str, Any]:
        """The answer to a command that is carried out."""
        return command(self.flow._client, op, args)

    def edit(self, op: str, **change: Any) -> dict[str, Any]:
        """The answer to an edit, once this kernel knows of it."""
        reply = self.do("edit", changes=[{"op": op, **change}])
        self.flow._editor.seen(reply["revision"])
        return reply

    def graph(self) -> dict[str, Any]:
        return scene.graph(self.flow._client.topology, self.flow.name)

    def counts(self) -> dict[str, Any]:
        return self.flow._client.ask("query", {"what": "counts"})[0]


@pytest.fixture
def page(loaded: Any) -> Page:
    loaded.run(CELL)
    return Page(loaded)


# -- the picture -------------------------------------------------------------
def test_a_card_tells_what_its_task_takes_gives_and_says(page: Page) -> None:
    card = page.graph()["sockets"]["emit"]
    assert (card["returns"], card["doc"]) == ("int", "Gives back what it gets.")
    assert card["task"]["source"].startswith("@ec.socket\ndef emit(x: int) -> int:")
    assert card["task"]["source"].endswith("return x * 2")
    assert card["box"][2:] == [232, 176]
    assert page.graph()["sockets"]["add"]["box"][3] == 200
    assert card["placed"] is False
    assert json.loads(json.dumps(page.graph())) == page.graph()


def test_plugs_and_processors_made_in_the_picture_are_the_flows(page: Page) -> None:
    page.edit("plug", source="emit", target="add", argument="one", on="result", map=False, gather=False)
    page.edit("processor", name="second", cpus=1)
    page.edit("move", socket="add", processor="second")
    page.edit("fix", socket="add", argument="two", text="[1, true]")
    assert page.shell.run("[repr(p) for p in flow.plugs]") == ["<plug emit -> add.one>"]
    assert page.shell.run("flow['add'].processor.name, flow['add'].fixed") == ("second", {"two": "[1, True]"})
    page.edit("unfix", socket="add", argument="two")
    page.edit("unplug", source="emit", target="add", argument="one", on="result")
    page.edit("rename", name="add", to="plus")
    page.edit("remove", name="emit", force=False)
    assert sorted(page.graph()["sockets"]) == ["join", "plus"]


def test_a_picture_makes_nodes_and_places_processors_but_does_not_say_how_ssh_is_called(page: Page) -> None:
    given = {"host": "me@127.0.0.1", "cpus": 4, "requirements": ["numpy>=2"]}
    reply = page.do("node", name="hpc", **given, ssh=["/bin/false"], lease=0)
    page.flow._editor.seen(reply["revision"])
    spec = page.flow.node("hpc")._record["spec"]
    assert (spec["host"], spec["cpus"], spec["requirements"]) == ("me@127.0.0.1", 4, ["numpy>=2"])
    assert (spec["ssh"], spec["lease"]) == (["ssh"], 600.0)
    shown = next(node for node in page.graph()["nodes"] if node["name"] == "hpc")
    assert (shown["host"], shown["requirements"], "spec" in shown) == ("me@127.0.0.1", ["numpy>=2"], False)
    page.edit("processor", name="second", cpus=None, nodes={"local": 1, "hpc": None})
    assert page.graph()["processors"]["second"]["nodes"] == {"local": 1, "hpc": None}
    assert page.graph()["processors"]["main"]["nodes"] == {"local": None}
    page.edit("processor", name="second", cpus=None, nodes={"hpc": 3})
    assert page.graph()["processors"]["second"]["nodes"] == {"hpc": 3}
    with pytest.raises(WiringError, match="is the only one of processor second"):
        page.do("remove_node", name="hpc")
    page.edit("processor", name="second", cpus=None, nodes={"local": None})
    page.flow._editor.seen(page.do("remove_node", name="hpc")["revision"])
    assert [node.name for node in page.flow.nodes] == ["local"]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("str", "2013-01-01", "2013-01-01"),
        ("str", '"2013-01-01"', "2013-01-01"),
        ("str", "42", "42"),
        ("str | None", "None", None),
        ("Optional[str]", "a b", "a b"),
        ("'str'", "[1]", "[1]"),
        ("int | str", "42", 42),
        ("Union[str, int]", "x", "x"),
        ("int", "42", 42),
        (None, '"a"', "a"),
    ],
)
def test_what_is_typed_for_a_text_is_that_text(annotation: str | None, text: str, value: object) -> None:
    assert typed(text, "day", annotation) == value


def test_a_run_form_takes_a_date_for_a_str(loaded: Any) -> None:
    loaded.run("flow = ec.flow()\n@ec.socket\ndef load(day: str) -> str: return day")
    page = Page(loaded)
    number = page.do("submit", socket="load", arguments={"day": "2013-01-01"})["request"]
    assert page.flow.request(number).result(60) == "2013-01-01"


@each_of(
    "args",
    [
        {"name": "my lab"}, {"name": "local"}, {"name": "hpc", "host": "-oProxyCommand=x"}, {},
        {"name": "hpc", "cpus": 0}, {"name": "hpc", "cpus": "many"}, {"name": "hpc", "requirements": "numpy"},
    ],
)  # fmt: skip
def test_what_cannot_be_a_node_is_one_line_and_changes_nothing(page: Page, args: dict[str, Any]) -> None:
    told = answer(page.flow._client, "node", args)
    assert told["ok"] is False
    assert "\n" not in told["error"]
    assert [node.name for node in page.flow.nodes] == ["local"]


def test_undo_in_the_picture_and_in_a_cell_know_of_each_others_discards(page: Page) -> None:
    page.edit("plug", source="emit", target="join", argument="left", on="result", map=False, gather=False)
    page.shell.run("flow.submit('join', left=1, partial=True); flow.discard(flow.waiting())")
    edit = "undo again takes back the edit before it: plug emit -> join.left"
    assert answer(page.flow._client, "undo", {})["error"] == f"a discard cannot be undone; {edit}"
    page.shell.run("flow.submit('join', left=1, partial=True)")
    page.do("discard", arrival=page.do("waiting")["rows"][0]["arguments"]["left"]["arrivals"][0]["id"])
    assert str(page.shell.fail("flow.undo()")) == f"a discard cannot be undone; {edit}"
    # of its own discards a picture tells itself
    page.shell.run("flow.submit('join', left=1, partial=True)")
    page.do("discard", arrival=page.do("waiting")["rows"][0]["arguments"]["left"]["arrivals"][0]["id"])
    assert page.do("undo")["text"] == "plug emit -> join.left"


def test_a_list_of_which_nothing_has_come_is_counted_at_its_argument_and_given_element_by_element(page: Page) -> None:
    page.shell.run("@ec.socket\ndef numbers(n): return list(range(n))\n@ec.socket\ndef div(x): return 1 // 0")
    page.shell.run("@ec.socket\ndef collect(xs: list[str]): return xs\nflow.plug('numbers', 'div.x', map=True)")
    page.shell.run("flow.plug('div', 'collect.xs', gather=True); flow.submit('numbers', 3); flow.wait(60)")
    counts = page.counts()
    assert counts["sockets"]["collect"]["lists"] == {"xs": 1}
    assert scene.metrics(counts)["sockets"]["collect"]["lists"] == {"xs": 1}
    (row,) = page.do("waiting", socket="collect")["rows"]
    assert (row["element"], row["lacks"]) == ([], {"xs": [0, 1, 2]})
    place = {"socket": "collect", "party": row["party"], "tag": row["tag"], "argument": "xs"}
    # of a list of texts an element is typed as it is
    page.do("supply", **place, element=[1], text="b")
    assert page.counts()["sockets"]["collect"]["lists"] == {}
    page.do("discard", **place, element=[0])
    page.do("supply", **place, element=[2], text='"c"')
    page.shell.run("flow.wait(60)")
    assert page.shell.run("flow.results('collect')") == [["b", "c"]]
    page.shell.run("flow.submit('numbers', 3); flow.wait(60)")
    (row,) = page.do("waiting", socket="collect")["rows"]
    page.do("discard", **place | {"party": row["party"]})
    assert page.do("waiting", socket="collect")["rows"] == []


def test_one_edit_of_a_picture_is_one_step_of_undo(page: Page) -> None:
    change = {"op": "plug", "source": "emit", "on": "result"}
    reply = page.do(
        "edit",
        changes=[{**change, "target": "join", "argument": "left"}, {**change, "target": "join", "argument": "right"}],
    )
    assert reply["revision"] == page.shell.run("flow.history()")[-1]["n"]
    assert "join.left; plug emit -> join.right" in page.do("undo")["text"]
    assert page.shell.run("flow.plugs") == []
    page.do("redo")
    assert len(page.shell.run("flow.plugs")) == 2
    assert [row["undone"] for row in page.do("history")["rows"]][-1] is False


def test_a_picture_cannot_make_a_socket_or_a_condition(page: Page) -> None:
    with pytest.raises(WiringError, match="makes no change 'socket'"):
        page.edit("socket", name="x", task={})
    page.shell.run("flow.plug('emit', 'add.one', when='result > 1')")
    # what the picture does not know of a plug stays
    page.edit("plug", source="emit", target="add", argument="one", on="result", map=True, when={"sha256": "0" * 64})
    assert repr(page.shell.run("flow.plugs")[0]) == "<plug emit -> add.one map when result > 1>"


def test_what_cannot_be_is_one_line_and_changes_nothing(page: Page) -> None:
    page.edit("plug", source="emit", target="add", argument="one", on="result")
    with pytest.raises(CycleError):
        page.edit("plug", source="add", target="emit", argument="x", on="result")
    with pytest.raises(SocketNotFoundError, match="did you mean 'emit'"):
        page.edit("plug", source="emitt", target="add", argument="one", on="result")
    client = page.flow._client
    assert answer(client, "fly", {}) == {
        "ok": False,
        "error": "a picture has no command 'fly'; known: " + ", ".join(sorted(_OPS)),
        "type": "WiringError",
    }
    for changes in (None, 7, [3], [{"op": "plug"}], [{"op": "position"}]):
        told = answer(client, "edit", {"changes": changes})
        assert told["ok"] is False
        assert "\n" not in told["error"]
    assert answer(client, "requests", {"limit": "x"})["ok"] is False
    assert len(page.graph()["plugs"]) == 1


def test_moving_one_card_pins_the_others_where_they_are(page: Page) -> None:
    before = {name: card["box"][:2] for name, card in page.graph()["sockets"].items()}
    page.edit("position", positions={"add": [700, 10]})
    cards = page.graph()["sockets"]
    assert {name: card["box"][:2] for name, card in cards.items()} == before | {"add": [700, 10]}
    assert all(card["placed"] for card in cards.values())
    page.shell.run("%%ec_socket\ndef later(x): return x")
    cards = page.graph()["sockets"]
    assert cards["add"]["box"][:2] == [700, 10]
    assert cards["later"]["placed"] is False
    page.do("tidy")
    page.do("undo")
    assert page.graph()["sockets"]["add"]["box"][:2] == [700, 10]


# -- calls -------------------------------------------------------------------
@each_of(
    ("text", "value"),
    [("1", 2), ("-1.5", -3.0), ('"a"', "aa"), ("'a'", "aa"), ("[null]", [None] * 2), ("(1,)", (1, 1)), ("True", 2)],
)
def test_a_submit_takes_json_and_python_literals(page: Page, text: str, value: object) -> None:
    request = page.do("submit", socket="emit", arguments={"x": text})["request"]
    assert page.flow.request(request).result(60) == value


@each_of("text", ["", "nobody", "1 +", "__import__('os')", "{" * 5000])
def test_a_bad_literal_is_an_error_that_names_the_argument(page: Page, text: str) -> None:
    with pytest.raises(ArgumentsError, match=r"argument 'x': .* is no JSON and no Python literal"):
        page.do("submit", socket="emit", arguments={"x": text})
    assert page.counts()["sockets"]["emit"]["done"] == 0


def test_numbers_tell_what_waits_at_each_argument_and_plug(page: Page) -> None:
    page.shell.run("flow.plug('emit', 'join.left'); flow.map('emit', [1, 2]); flow.wait(60)")
    counts = page.counts()
    (plug,) = page.graph()["plugs"]
    assert counts["sockets"]["join"]["arrived"] == {"left": 2}
    assert counts["plugs"] == {str(plug["id"]): 2}
    full = scene.metrics(counts, None, 1)
    assert full["full"] is True
    assert full["plugs"] == {str(plug["id"]): 2}
    rows = page.do("waiting", socket="join")["rows"]
    (arrival,) = rows[0]["arguments"]["left"]["arrivals"]
    assert (arrival["source"], arrival["request"], arrival["type"]) == ("emit", rows[0]["run"], "int")
    page.do("supply", socket="join", party=rows[0]["party"], tag=rows[0]["tag"], argument="right", text='"R"')
    page.do("discard", arrival=rows[1]["arguments"]["left"]["arrivals"][0]["id"])
    page.shell.run("flow.wait(60)")
    assert page.shell.run("flow.results('join')") == [[2, "R"]]
    news = scene.metrics(page.counts(), counts, 2)
    assert news["plugs"] == {str(plug["id"]): 0}
    assert "emit" not in news["sockets"]
    assert news["sockets"]["join"]["arrived"] == {}


def test_values_are_shown_by_a_worker_even_while_all_cpus_are_busy(page: Page, gate: Any) -> None:
    page.shell.run("%%ec_socket\ndef gated(x):\n    import os\n    os.read(os.open('gate', os.O_RDONLY), 1)")
    page.shell.run("flow.plug('emit', 'join.left'); r = flow.submit('emit', {'k': [1, 2]}['k'][0]); r.result(60)")
    page.shell.run("flow.map('gated', range(20))")
    request = page.shell.run("r.id")
    assert page.do("preview", request=request, argument="x") == {"text": "1", "type": "int", "size": 5}
    shown = page.do("preview", request=request, result=True, json=True)
    assert shown == {"text": "2", "type": "int", "size": 5, "json": "2"}
    arrival = page.do("waiting")["rows"][0]["arguments"]["left"]["arrivals"][0]["id"]
    assert page.do("preview", arrival=arrival)["text"] == "2"
    gate.open(20)
    page.shell.run("flow.wait(60)")


@each_of(
    ("made", "text", "plain"),
    [
        ("{'b': 1, 'a': [None, True, 1.5]}", "{'b': 1, 'a': [None, True, 1.5]}", {"b": 1, "a": [None, True, 1.5]}),
        ("(1, 2)", "(1, 2)", None),
        ("float('nan')", "nan", None),
        ("{1: 2}", "{1: 2}", None),
        ("[Loud()]", "[<__main__.Loud whose repr raises RuntimeError: not me>]", None),
        ("Loud()", "<__main__.Loud whose repr raises RuntimeError: not me>", None),
        ("list(range(10**6))", "[0, 1, 2, 3", None),
        ("list(range(10**5))", "[0, 1, 2, 3", list(range(10**5))),
        ("'\\ud800'", "'\\ud800'", "\ud800"),
        ("Deadly()", "cannot be shown: the worker that looked at it died: ", None),
        ("Gone()", "cannot be shown: argument 'value' of 'preview' cannot be unpickled: LookupError: gone", None),
    ],
)
def test_any_value_has_a_text_and_plain_data_its_json(page: Page, made: str, text: str, plain: Any) -> None:
    page.shell.run(
        "class Loud:\n    def __repr__(self): raise RuntimeError('not me')\n"
        "class Deadly:\n    def __repr__(self):\n        import os\n        os.kill(os.getpid(), 9)\n"
        "def nope(): raise LookupError('gone')\n"
        "class Gone:\n    def __reduce__(self): return nope, ()\n"
    )
    page.shell.run(f"@ec.socket\ndef makes(n): return {made}\n\nr = flow.submit('makes', 1).wait(60)")
    request = page.shell.run("r.id")
    shown = page.do("preview", request=request, result=True, json=True)
    assert shown["text"].startswith(text)
    assert len(shown["text"]) <= 2000
    assert (json.loads(shown["json"]) if shown["json"] is not None else None) == plain
    assert shown["size"] > 0


def test_a_picture_gets_the_newest_result_of_a_socket_as_its_worker_shows_it(page: Page) -> None:
    page.shell.run(
        "@ec.socket\ndef frame(n):\n    import pandas\n    return pandas.DataFrame({'word': ['a', 'b'], 'n': [n, 2.5]})"
    )
    page.shell.run("@ec.socket\ndef wave(n):\n    import numpy\n    return numpy.arange(n) % 5")
    page.shell.run(
        "@ec.socket\ndef drawn(n):\n    from matplotlib.figure import Figure\n    figure = Figure()\n"
        "    figure.subplots().plot([n, 2, 3])\n    return figure"
    )
    with pytest.raises(RequestNotFoundError, match="no result of 'frame'"):
        page.do("preview", socket="frame", rich=True)
    page.shell.run("flow.submit('frame', 1).result(60); r = flow.submit('frame', 3).wait(60)")
    page.shell.run("flow.submit('wave', 10**6); flow.submit('drawn', 1); flow.wait(60)")
    shown = page.do("preview", socket="frame", rich=True)
    assert (shown["request"], shown["type"].split(".")[0]) == (page.shell.run("r.id"), "pandas")
    assert shown["look"]["table"] == {
        "columns": ["word", "n"], "index": ["0", "1"], "rows": [["a", "3"], ["b", "2.5"]], "shape": [2, 2],
    }  # fmt: skip
    line = page.do("preview", socket="wave", rich=True)["look"]["array"]
    assert (line["shape"], line["dtype"], line["low"], line["high"]) == ([10**6], "int64", 0, 4)
    (image,) = page.do("preview", socket="drawn", rich=True)["look"]["data"].items()
    assert image[0] == "image/png"
    # and the still picture has all three
    still = page.do("svg")["text"]
    assert [part in still for part in (">word<", "<polyline ", "data:image/png;base64,")] == [True] * 3


def test_what_a_task_displays_is_kept_with_its_request_in_the_order_of_its_output(page: Page) -> None:
    page.shell.run(
        "@ec.socket\ndef shows(n):\n    print('before')\n    display({'n': n})\n    print('after')\n"
        "    from IPython.display import HTML, display as theirs\n    theirs(HTML('<b>bold</b>'))\n"
        "    theirs({'text/html': '<i>raw</i>', 'text/plain': 'as text'}, raw=True)\n    return n"
    )
    page.shell.run("r = flow.submit('shows', 4); r.result(60)")
    output = page.do("request", id=page.shell.run("r.id"))["output"]
    assert [stream for stream, _ in output] == ["stdout", "display", "stdout", "display", "display"]
    assert (output[0][1], output[2][1]) == ("before\n", "after\n")
    assert output[1][1]["look"]["table"]["rows"] == [["4"]]
    assert [part["look"] for _, part in output[3:]] == [
        {"data": {"text/html": "<b>bold</b>"}}, {"data": {"text/html": "<i>raw</i>"}},
    ]  # fmt: skip
    assert page.shell.run("r.output").splitlines()[:3] == ["before", "{'n': 4}", "after"]
    assert page.shell.run("r.output").endswith("as text\n")


def test_figures_that_a_task_shows_are_kept_with_its_request_and_closed(page: Page) -> None:
    page.shell.run(
        "@ec.socket\ndef plots(n):\n    from matplotlib import pyplot\n    pyplot.plot([1, n])\n    pyplot.show()\n"
        "    pyplot.figure()\n    pyplot.plot([n, 1])\n    pyplot.show()\n    return pyplot.get_fignums()"
    )
    page.shell.run("r = flow.submit('plots', 4)")
    assert page.shell.run("r.result(60)") == []
    output = page.do("request", id=page.shell.run("r.id"))["output"]
    assert [list(part["look"]["data"]) for stream, part in output if stream == "display"] == [["image/png"]] * 2


def test_a_task_that_displays_without_end_is_told_how_much_is_kept(page: Page) -> None:
    page.shell.run("@ec.socket\ndef many(n):\n    for at in range(n): display(at)\n")
    page.shell.run("r = flow.submit('many', 500); r.result(60)")
    output = page.do("request", id=page.shell.run("r.id"))["output"]
    assert sum(stream == "display" for stream, _ in output) == 50
    assert output[-1] == ["stderr", "\n... only the first 50 displayed values are kept\n"]


def test_a_representation_is_made_once_for_a_value_however_many_pictures_show_it(page: Page) -> None:
    page.shell.run(
        "class Counted:\n    def _repr_html_(self):\n        with open('made', 'a') as file: file.write('x')\n"
        "        return '<b>here</b>'\n@ec.socket\ndef makes(n): return Counted()\nflow.submit('makes', 1).wait(60)"
    )
    shown = [page.do("preview", socket="makes", rich=True) for _ in range(3)]
    assert [one["look"] for one in shown] == [{"data": {"text/html": "<b>here</b>"}}] * 3
    assert page.shell.run("from pathlib import Path; Path('made').read_text()") == "x"


def test_nothing_is_made_for_a_flow_that_nobody_looks_at(page: Page) -> None:
    page.shell.run(
        "class Counted:\n    def _repr_html_(self): open('made', 'w').close()\n"
        "@ec.socket\ndef makes(n): return Counted()\n[flow.submit('makes', n) for n in range(20)]; flow.wait(60)"
    )
    assert page.shell.run("import os; os.path.exists('made')") is False


@each_of(
    ("made", "note"),
    [
        ("raise ValueError('not me')", "its representation raises ValueError: not me"),
        ("while True: pass", "making its representation took more than 2 s"),
        ("return 'x' * 10**6", "its text/html is too large to be shown"),
    ],
)
def test_a_representation_that_goes_wrong_says_so_beside_the_text(page: Page, made: str, note: str) -> None:
    page.shell.run(
        f"class Bad:\n    def __repr__(self): return 'as text'\n    def _repr_html_(self):\n        {made}\n"
        "@ec.socket\ndef makes(n): return Bad()\nflow.submit('makes', 1).wait(60)"
    )
    shown = page.do("preview", socket="makes", rich=True)
    assert (shown["text"], shown["look"]) == ("as text", {"note": note})


def test_lists_generators_and_failures_can_be_shown(page: Page) -> None:
    page.shell.run("@ec.socket\ndef many(n):\n    yield from range(n)")
    page.shell.run("@ec.socket\ndef all_of(items): return len(items)")
    page.shell.run("@ec.socket\ndef fails(x): return 1 / x\n@ec.socket\ndef told(error): return str(error)")
    page.shell.run("flow.plug('many', 'all_of.items', gather=True); flow.plug('fails', 'told.error', on='error')")
    page.shell.run("a = flow.submit('many', 3); b = flow.submit('fails', 0); flow.wait(60)")
    assert page.do("preview", request=page.shell.run("a.id"), result=True, json=True) == {
        "text": "[0, 1, 2]", "type": "list", "size": 15, "json": "[0, 1, 2]",
    }  # fmt: skip
    (gathered,) = page.do("requests", socket="all_of", limit=5)["rows"]
    assert page.do("preview", request=gathered["id"], argument="items")["text"] == "[0, 1, 2]"
    (told,) = page.do("requests", socket="told", limit=5)["rows"]
    assert "ZeroDivisionError" in page.do("preview", request=told["id"], argument="error")["text"]
    failed = answer(page.flow._client, "preview", {"request": page.shell.run("b.id"), "result": True})
    assert failed == {
        "ok": False,
        "error": f"request {page.shell.run('b.id')} has no result: it is failed",
        "type": "RequestNotFoundError",
    }


def test_a_request_is_shown_whole(page: Page) -> None:
    page.shell.run("@ec.socket(retries=1, backoff=0.01)\ndef fails(x, y=1):\n    print('seen', x); raise KeyError(x)")
    page.shell.run("flow.fix('fails', y=[7]); r = flow.submit('fails', 0).wait(60)")
    shown = page.do("request", id=page.shell.run("r.id"))
    assert shown["row"]["state"] == "failed"
    assert shown["error"]["type"] == "KeyError"
    assert "; raise KeyError(x)" in shown["error"]["traceback"]
    assert {name: value["text"] for name, value in shown["arguments"].items()} == {"x": "0", "y": "[7]"}
    assert "".join(text for _, text in shown["output"]).count("seen 0") == 2
    assert len(shown["attempts"]) == 1
    assert page.do("retry", ids=[shown["row"]["id"]])["ids"] == [shown["row"]["id"]]
    page.shell.run("flow.wait(60)")
    rows = page.do("requests", socket="fails", state="failed", limit=10, newest=True)["rows"]
    assert [row["id"] for row in rows] == [shown["row"]["id"]]
    assert rows[0]["finished"] > rows[0]["created"] > 1e9


def test_pause_cancel_and_resume_from_the_picture(page: Page) -> None:
    page.do("pause", sockets=["emit"], processors=["maths"])
    page.shell.run("rs = flow.map('emit', range(3))")
    assert page.do("cancel", ids=[page.shell.run("rs[0].id")]) == {"cancelled": 1}
    assert page.do("cancel", run=page.shell.run("rs[1].id")) == {"cancelled": 1}
    assert page.do("cancel", socket="emit") == {"cancelled": 1}
    assert page.counts()["processors"]["maths"]["paused"] is True
    page.do("resume", sockets=["emit"], processors=["maths"])
    assert page.shell.run("flow.submit('emit', 1).result(60)") == 2


def test_rates_tell_of_the_last_minute(page: Page) -> None:
    assert page.do("rates")["sockets"]["emit"] == {"per_second": 0.0, "p50": None, "p95": None}
    page.shell.run("[r.result(60) for r in flow.map('emit', range(12))]")
    rate = page.do("rates")["sockets"]["emit"]
    assert rate["per_second"] == pytest.approx(12 / 60)
    assert 0 < rate["p50"] <= rate["p95"] < 60


def test_the_wiring_can_be_taken_away_from_the_picture(page: Page) -> None:
    assert "def add(one, two=3)" in page.do("code")["text"]
    assert json.loads(page.do("save")["text"])["sockets"]["add"]["processor"] == "maths"
    assert page.do("svg")["text"].startswith("<svg ")
    assert page.shell.run("flow.svg()") == page.do("svg")["text"]
    # with one card for a group that the picture has folded
    page.do("edit", changes=[{"op": "group", "name": "sums", "sockets": ["add"]}])
    folded = page.do("svg", folded=["sums"])["text"]
    assert folded == page.shell.run("flow.svg(folded=['sums'])")
    assert ">1 socket<" in folded
    assert str(page.shell.fail("flow.svg(folded=['sum'])")) == "no group named 'sum'; did you mean 'sums'?"


def test_commands_load_nothing_that_a_server_does_not_need(page: Page) -> None:
    late = ["ipywidgets", "anywidget", "loky", "networkx", "IPython"]
    code = f"import sys, ec_jupyter.client.commands; print([name for name in {late!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_counts_come_to_listeners_soon_after_a_change(page: Page, wait_until: Callable[..., Any]) -> None:
    came: list[dict[str, Any]] = []
    undo = page.flow._client.listen("counts", lambda header, buffers: came.append(header))
    page.shell.run("flow.plug('emit', 'join.left'); flow.submit('emit', 1)")
    assert wait_until(lambda: came and came[-1]["sockets"]["join"]["arrived"]) == {"left": 1}
    undo()


def test_counts_tell_that_a_call_runs_however_late_its_worker_gets_its_turn(
    page: Page, wait_until: Callable[..., Any]
) -> None:
    page.shell.run("@ec.socket(processor='one', cpus=1)\ndef worker(x):\n    import os\n    return os.getpid()")
    pid = page.shell.run("flow.submit('worker', 1).result(60)")
    came: list[dict[str, Any]] = []
    undo = page.flow._client.listen("counts", lambda header, buffers: came.append(header["sockets"]["worker"]))
    os.kill(pid, signal.SIGSTOP)
    try:
        page.shell.run("r = flow.submit('worker', 1)")
        wait_until(lambda: came and came[-1]["running"] == 1)
        assert page.shell.run("r.state") == "running"
    finally:
        os.kill(pid, signal.SIGCONT)
    undo()
    assert page.shell.run("r.result(60)") == pid


def test_every_result_of_a_socket_is_a_step_away_and_found_by_what_it_shows(page: Page) -> None:
    page.shell.run("@ec.socket\ndef words(n): return {'word': f'Word{n}'}")
    page.shell.run("flow.map('words', range(1200)); flow.wait(60)")
    first = page.do("requests", socket="words", limit=1)["rows"][0]["id"]
    newest = page.do("beside", socket="words")
    assert (newest["row"]["id"], newest["older"], newest["newer"]) == (first + 1199, first + 1198, None)
    assert (newest["behind"], newest["of"]) == (0, 1200)
    oldest = page.do("beside", socket="words", id=first)
    assert (oldest["older"], oldest["newer"], oldest["behind"], oldest["of"]) == (None, first + 1, 1199, 1200)
    alone = page.do("beside", socket="words", id=first + 3, run=first + 3)
    assert (alone["row"]["id"], alone["older"], alone["newer"], alone["of"]) == (first + 3, None, None, 1)
    # a worker looks through some hundreds at once, whose numbers do not change meanwhile
    began = page.do("find_value", socket="words", find="word3'")
    assert began == {"request": None, "until": first + 700, "large": 0}
    asked, found = began, None
    while asked["until"]:
        asked = page.do("find_value", socket="words", find="word3'", before=asked["until"])
        found = asked["request"] or found
    assert found == first + 3
    assert page.do("find_value", socket="words", find="WORD1", after=first + 1)["request"] == first + 10


def test_a_generators_call_is_shown_by_its_elements_one_at_a_time(page: Page) -> None:
    page.shell.run("@ec.socket\ndef parts(n):\n    for at in range(n): yield {'part': at}")
    page.shell.run("r = flow.submit('parts', 3).wait(60)")
    request = page.shell.run("r.id")
    last = page.do("preview", request=request, result=True, rich=True)
    assert (last["element"], last["elements"], last["look"]["table"]["rows"]) == (2, 3, [["2"]])
    assert page.do("preview", socket="parts", rich=True)["text"] == "{'part': 2}"
    first = page.do("preview", request=request, result=True, rich=True, element=0)
    assert (first["element"], first["text"]) == (0, "{'part': 0}")
    assert page.do("find_value", socket="parts", find="part': 2")["request"] == request
