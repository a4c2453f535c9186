"""Plugs, processors, fixed values, edits and undo."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations
from typing import Any

import pytest

from ec_jupyter.errors import (
    CycleError,
    DeclarationError,
    ProcessorNotFoundError,
    RevisionError,
    SocketNotFoundError,
    TaskNotPicklableError,
    WiringError,
)
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine(maths=2)

SOCKETS = """
flow = ec.flow()
@ec.socket
def emit_one(x): return x
@ec.socket
def emit_two(x): return x
@ec.socket(processor="maths", cpus=2)
def add_two(one, two): return one - two
"""


@pytest.fixture
def wired(loaded: Any) -> Any:
    """A shell whose flow has two sockets that emit and one that joins; nothing is plugged."""
    loaded.run(SOCKETS)
    return loaded


@each_of("order", list(permutations(["one", "two", "one"]))[:3])
def test_target_fires_once_both_arguments_arrived_in_any_order(wired: Any, order: tuple[str, ...]) -> None:
    wired.run("%ec_plug emit_one -> add_two.one")
    wired.run("%ec_plug emit_two->maths.add_two.two")
    for word in order:
        wired.run(f"%ec_submit emit_{word} {10 if word == 'one' else 4}")
    left = wired.run("%ec_wait")
    assert left["waiting"] == 1
    assert [r.result(60) for r in wired.run("flow.requests('add_two')")] == [6]
    wired.run("flow.clear()")


def test_the_same_plug_twice_is_one_plug(wired: Any) -> None:
    first = wired.run("flow.plug('emit_one', 'add_two.one')")
    assert wired.run("flow.plug(emit_one, add_two, argument='one')").id == first.id
    assert wired.run("len(flow.plugs)") == 1
    assert wired.run("flow.revision") == wired.run("flow.plug('emit_one', 'add_two.one'); flow.revision")


@each_of(
    ("line", "kind", "message"),
    [
        ("flow.plug('emit_on', 'add_two.one')", SocketNotFoundError, "'emit_on'; did you mean 'emit_one'?"),
        ("flow.plug('emit_one', 'add_twi.one')", SocketNotFoundError, "'add_twi'; did you mean 'add_two'?"),
        ("flow.plug('emit_one', 'add_two.tow')", WiringError, "no argument 'tow'; did you mean 'two'?"),
        ("flow.plug('emit_one', 'add_two')", WiringError, "name the argument"),
        ("flow.plug('emit_one', 'add_two.one', on='failure')", DeclarationError, "on= takes 'result' or 'error'"),
        ("flow.plug('emit_one', 'emit_one')", CycleError, "would close a cycle"),
        ("flow.plug('emit_one', 'emit_two', when='result >')", WiringError, "'result >' is no expression"),
        (
            "flow.plug('emit_one', 'emit_two', when='[r for r in reslt]')",
            WiringError,
            "when '[r for r in reslt]' uses 'reslt', which is not defined here; the value that it looks at is 'result'",
        ),
        ("flow.plug('emit_one', 'emit_two', pick='result[')", WiringError, "'result[' is no expression"),
        ("flow.plug('emit_one', 'emit_two', pick=1.5)", WiringError, "pick= takes"),
        ("flow.plug('emit_one.x', 'emit_two', pick='y')", WiringError, "names a part, and so does pick="),
        ("flow.plug('emit_on.x', 'emit_two')", SocketNotFoundError, "'emit_on'; did you mean 'emit_one'?"),
        ("flow['add']", SocketNotFoundError, "did you mean 'add_two'?"),
        ("flow.processor('math')", ProcessorNotFoundError, "did you mean 'maths'?"),
        ("flow.processor('maths', affinity=[999])", DeclarationError, "affinity= names CPU 999, which"),
        ("flow.unplug('emit_one', 'add_two.one')", WiringError, "no plug from 'emit_one'"),
        ("flow.fix('add_two', tow=1)", WiringError, "did you mean 'two'?"),
        ("flow.remove('maths')", WiringError, "'maths' runs add_two"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest_and_changes_nothing(
    wired: Any, line: str, kind: type, message: str
) -> None:
    before = wired.run("flow.revision")
    error = wired.fail(line)
    assert isinstance(error, kind)
    assert message in str(error)
    assert wired.run("flow.revision") == before


def test_star_arguments_cannot_be_plugged(wired: Any) -> None:
    wired.run("@ec.socket\ndef many(*args, **kwargs): return args")
    assert "stands for no single argument" in str(wired.fail("flow.plug('emit_one', 'many.args')"))
    assert str(wired.fail("flow.plug('emit_one', 'many')")) == "'many' has no argument that a plug can feed"


def test_a_plug_without_an_argument_feeds_the_first(wired: Any) -> None:
    assert wired.run("flow.plug('emit_one', 'emit_two')").argument == "x"
    assert wired.run("r = flow.submit('emit_one', 5); r.run.results('emit_two', 60)") == [5]


def test_unplugged_results_go_nowhere_and_replugged_ones_to_the_new_target(wired: Any) -> None:
    wired.run("plug = flow.plug('emit_one', 'emit_two')")
    wired.run("@ec.socket\ndef elsewhere(x): return -x\nmoved = flow.replug(plug, 'elsewhere')")
    assert repr(wired.run("moved")) == "<plug emit_one -> elsewhere.x>"
    assert wired.run("r = flow.submit('emit_one', 5); r.run.results('elsewhere', 60), r.run.results('emit_two')") == (
        [-5],
        [],
    )
    wired.run("moved.unplug()")
    assert wired.run("flow.plugs") == []


def test_a_plug_with_a_condition_is_made_to_carry_failures_or_led_elsewhere_in_one_edit(wired: Any) -> None:
    wired.run("@ec.socket\ndef fails(x): raise (KeyError if x else ValueError)(x)")
    wired.run("@ec.socket\ndef told(x): return str(x)")
    wired.run("wanted = 'KeyError'; plug = flow.plug('fails', 'emit_two', when='result.type == wanted')")
    before = wired.run("flow.revision")
    wired.run("other = flow.replug(plug, on='error')")
    assert wired.run("flow.revision") == before + 1
    assert wired.run("[(p.label, p.on, p.when) for p in flow.plugs]") == [
        ("fails -> emit_two.x", "error", "result.type == wanted")
    ]
    wired.run("moved = flow.replug(other, 'told')")
    assert wired.run("[(p.target, p.on, p.when) for p in flow.plugs]") == [("told", "error", "result.type == wanted")]
    wired.run("flow.map('fails', [0, 1]); flow.wait(60)")
    assert len(wired.run("flow.results('told')")) == 1
    wired.run("%ec_undo\n%ec_undo")
    assert wired.run("[(p.target, p.on) for p in flow.plugs]") == [("emit_two", "result")]
    wired.run("flow.plug('fails', 'emit_two', on='error')")
    assert "there is a plug fails -> emit_two.x on error already" in str(wired.fail("flow.replug(plug, on='error')"))


def test_a_condition_may_be_an_expression_or_a_function_that_takes_values_along(wired: Any) -> None:
    wired.run("limit = 10\nflow.plug('emit_one', 'emit_two', when='result > limit')")
    wired.run("flow.plug('emit_one', 'add_two.one', when=lambda r: r <= limit)\nflow.fix('add_two', two=0)")
    wired.run("requests = flow.map('emit_one', [5, 50]); flow.wait(60)")
    assert wired.run("[r.result() for r in flow.requests('emit_two', state='done')]") == [50]
    assert wired.run("[r.result() for r in flow.requests('add_two', state='done')]") == [5]
    assert "when result > limit" in wired.run("repr(flow.plugs[0])")


def test_a_condition_that_cannot_travel_is_refused(wired: Any) -> None:
    wired.run("import threading\nlock = threading.Lock()")
    error = wired.fail("flow.plug('emit_one', 'emit_two', when=lambda r: lock)")
    assert isinstance(error, TaskNotPicklableError)
    assert "'lock'" in str(error)


def test_map_splits_and_gather_collects_in_order(wired: Any) -> None:
    wired.run("@ec.socket\ndef total(values): return values\nflow.plug('emit_one', 'emit_two', map=True)")
    wired.run("%ec_plug emit_two -> total --gather")
    assert wired.run("flow.submit('emit_one', [3, 1, 2]).run.results('total', 60)") == [[3, 1, 2]]
    assert wired.run("flow.submit('emit_one', []).run.results('total', 60)") == [[]]


def test_a_fixed_value_stands_in_for_a_missing_one_until_it_is_taken_away(wired: Any) -> None:
    wired.run("flow.plug('emit_one', 'add_two.one')\nflow['add_two'].fix(two=100)")
    assert wired.run("flow.submit('emit_one', 1).run.results('add_two', 60)") == [-99]
    assert wired.run("flow['add_two'].fixed, flow['add_two'].task.arguments['two'].fixed") == ({"two": "100"}, "100")
    wired.run("import numpy as np\nflow.fix('add_two', two=np.full(100_000, 2))")
    assert wired.run("flow.submit('emit_one', 1).run.results('add_two', 60)[0].sum()") == -100_000
    wired.run("flow.unfix('add_two')")
    assert wired.run("flow['add_two'].fixed") == {}


def test_an_edit_is_one_revision_or_none_at_all(wired: Any) -> None:
    before = wired.run("flow.revision")
    wired.run(
        "with flow.edit():\n    flow.plug('emit_one', 'add_two.one')\n    p = flow.plug('emit_two', 'add_two.two')"
    )
    assert wired.run("flow.revision") == before + 1
    assert wired.run("p.id") is None
    wired.fail("with flow.edit():\n    flow.unplug('emit_one', 'add_two.one')\n    1 / 0")
    wired.fail("with flow.edit():\n    flow.unplug('emit_one', 'add_two.one')\n    flow.plug('emit_two', 'emit_two')")
    assert wired.run("flow.revision, len(flow.plugs)") == (before + 1, 2)


BLOCK = """
with flow.edit():
    @ec.socket(processor="new", cpus=1)
    def fresh(x, y): return x, y
    flow.rename(fresh, "first")
    flow.plug("emit_one", "first.x")
    flow.fix("first", y=1)
    flow["first"].fix(y=2)
    flow.unfix("first", "y")
    flow.fix("new.first", y=3)
    flow.place(first=(5, 5))
    flow.processor("new").cpus = 2
    flow.processor("spare", cpus=1)
    flow.remove("spare")
    flow.remove("emit_two")
    moved = flow.replug(flow.plugs[-1], "add_two.one")
    flow.unplug("emit_one", "add_two.one")
    kept = flow.plug(flow["emit_one"], "first.x")
    inside = sorted(flow.sockets), flow["first"].fixed, [p.label for p in flow.plugs], flow.processor("new").cpus
"""


def test_an_edit_uses_what_it_has_made_renamed_and_removed_so_far_and_is_undone_as_one(wired: Any) -> None:
    before = wired.run("flow.revision")
    wired.run(BLOCK)
    sockets = ["add_two", "emit_one", "first"]
    assert wired.run("inside") == (sockets, {"y": "3"}, ["emit_one -> first.x"], 2)
    assert wired.run("sorted(flow.sockets), flow['first'].fixed, flow.revision") == (sockets, {"y": "3"}, before + 1)
    assert wired.run("flow.submit('emit_one', 7).run.results('first', 60)") == [(7, 3)]
    wired.run("flow.undo()")
    assert wired.run("sorted(flow.sockets), flow.plugs") == (["add_two", "emit_one", "emit_two"], [])
    assert wired.run("'new' in flow") is False


@each_of(
    ("line", "kind", "message"),
    [
        ("flow.plug('emit_one', 'newst.x')", SocketNotFoundError, "'newst'; did you mean 'newest'?"),
        ("flow.plug('emit_one', 'fresh.x')", SocketNotFoundError, "no socket named 'fresh'"),
        ("flow.plug('emit_one', 'newest.xx')", WiringError, "no argument 'xx'; did you mean 'x'?"),
        ("flow.plug('emit_two', 'newest.x')", SocketNotFoundError, "no socket named 'emit_two'"),
        ("flow.rename('emit_one', 'newest')", DeclarationError, "there is a socket 'newest' already"),
        ("flow.plug('newest', 'newest.x')", CycleError, "would close a cycle"),
        ("flow.processor('spar')", ProcessorNotFoundError, "did you mean 'spare'?"),
        ("flow.submit('newest', 1)", SocketNotFoundError, "'newest' is there once its `with flow.edit():` has ended"),
    ],
)
def test_what_cannot_be_inside_an_edit_is_refused_at_its_line_and_the_rest_can_go_on(
    wired: Any, line: str, kind: type, message: str
) -> None:
    before = wired.run("flow.revision")
    wired.run(f"""
with flow.edit():
    flow.processor("spare", cpus=1)
    flow.remove("emit_two")
    @ec.socket
    def fresh(x): return x
    flow["fresh"].rename("newest")
    try:
        {line}
    except Exception as error:
        refused = error
    flow.plug("emit_one", "newest")
""")
    error = wired.run("refused")
    assert isinstance(error, kind)
    assert message in str(error)
    assert wired.run("flow.revision, [p.label for p in flow.plugs]") == (before + 1, ["emit_one -> newest.x"])
    wired.run("flow.undo()")


def test_undo_takes_an_edit_back_and_redo_makes_it_again(wired: Any) -> None:
    wired.run("flow.plug('emit_one', 'add_two.one')")
    assert "plug emit_one -> add_two.one" in wired.run("%ec_undo")
    assert wired.run("flow.plugs") == []
    wired.run("%ec_redo")
    assert wired.run("[p.label for p in flow.plugs]") == ["emit_one -> add_two.one"]
    assert isinstance(wired.fail("%ec_redo"), RevisionError)
    assert wired.run("flow.history()[-1]['text']") == "redo: plug emit_one -> add_two.one"


def test_a_renamed_socket_keeps_its_plugs_and_its_requests(wired: Any) -> None:
    wired.run("flow.plug('emit_one', 'emit_two'); r = flow.submit('emit_one', 1); flow.wait(60)")
    wired.run("renamed = flow['emit_two'].rename('second')")
    assert wired.run("[p.target for p in flow.plugs]") == ["second"]
    assert wired.run("len(renamed.requests()), 'emit_two' in flow") == (1, False)
    wired.run("flow.undo()")
    assert wired.run("'emit_two' in flow")


@each_of(
    ("done", "what"),
    [
        ("flow.discard(flow.waiting()[0])", "a discard"),
        ("flow.supply('add_two', two=1)", "a supplied value"),
        ("flow.waiting()[0].run.cancel()", "a cancelled call"),
        ("flow.clear()", "emptying the flow"),
    ],
)
def test_undo_after_what_cannot_be_undone_says_so_once_and_takes_nothing_else_back(
    wired: Any, done: str, what: str
) -> None:
    wired.run("%ec_plug emit_one -> add_two.one")
    wired.run("r = flow.submit('add_two', one=1, partial=True)")
    wired.run(done)
    error = wired.fail("%ec_undo")
    assert isinstance(error, RevisionError)
    edit = "undo again takes back the edit before it: plug emit_one -> add_two.one"
    assert str(error) == f"{what} cannot be undone; {edit}"
    assert wired.run("len(flow.plugs)") == 1
    assert wired.run("flow.undo()") == "plug emit_one -> add_two.one"
    assert wired.run("len(flow.plugs)") == 0
    wired.run("flow.clear()")


def test_undo_knows_of_a_discard_in_another_notebook_and_before_a_stop(wired: Any) -> None:
    wired.run("%ec_plug emit_one -> add_two.one")
    wired.run("r = flow.submit('add_two', one=1, partial=True)")
    other = "import ec_jupyter as ec; flow = ec.flow(folder={!r}); flow.discard(flow.waiting())"
    subprocess.run([sys.executable, "-c", other.format(wired.run("str(flow.folder)"))], check=True)
    assert wired.run("len(flow.waiting())") == 0
    wired.run("flow.stop()")
    assert "a discard cannot be undone" in str(wired.fail("flow.undo()"))
    assert wired.run("len(flow.plugs)") == 1
    assert wired.run("flow.undo()") == "plug emit_one -> add_two.one"
    assert wired.run("len(flow.plugs)") == 0


def test_an_edit_made_after_a_discard_is_undone_at_once(wired: Any) -> None:
    wired.run("r = flow.submit('add_two', one=1, partial=True); flow.discard(flow.waiting())")
    wired.run("%ec_plug emit_one -> add_two.one")
    assert wired.run("flow.undo()") == "plug emit_one -> add_two.one"


def test_a_socket_with_waiting_requests_goes_only_by_force_and_comes_back_by_undo(wired: Any) -> None:
    wired.run("flow.plug('emit_one', 'add_two.one'); flow.submit('emit_one', 1); flow.wait(60)")
    error = wired.fail("flow.remove('add_two')")
    assert isinstance(error, WiringError)
    assert "force=True" in str(error)
    wired.run("flow.remove('add_two', force=True)")
    assert wired.run("'add_two' in flow, flow.plugs") == (False, [])
    wired.run("flow.undo()")
    assert wired.run("len(flow.plugs), len(flow.waiting('add_two'))") == (1, 1)


def test_a_processor_changes_live_and_shows_what_it_has(wired: Any) -> None:
    assert wired.run("flow['maths'].cpus, list(flow['maths'].sockets)") == (2, ["add_two"])
    wired.run("flow.processor('maths').cpus = 1")
    assert repr(wired.run("%ec_processor maths")) == "<processor 'maths': 1 CPU>"
    assert repr(wired.run("flow['maths'].workers[0]")) == "<worker of 'maths' on 'local': 1 cpus>"
    wired.run("%ec_processor spare --cpus 1")
    wired.run("flow['spare'].remove()")
    assert set(wired.run("flow.processors")) == {"maths", "main"}
    assert "has 1 CPUs, not 2" in str(wired.fail("%%ec_socket -p maths --cpus 2\ndef f(x): return x"))


def test_the_whole_taxonomy_can_be_walked_and_is_shown_as_a_tree(wired: Any) -> None:
    node = wired.run("flow.nodes[0]")
    worker = next(w for w in node.agent.workers if w.processor.name == "maths")
    task = worker.processor.sockets["add_two"].task
    assert [str(a) for a in task.arguments.values()] == ["one", "two"]
    tree = repr(wired.run("flow.tree()"))
    assert [word for word in ("node", "agent", "worker", "processor", "socket", "task") if word not in tree] == []


def test_a_flow_shows_itself_as_text_and_as_html_without_script(wired: Any) -> None:
    wired.run("flow.plug('emit_one', 'add_two.one', when='result > 0')")
    text, page = repr(wired.run("%ec_flow")), wired.run("flow._repr_html_()")
    assert "maths (2 CPUs)\n    add_two(one, two) v1" in text
    assert "-> add_two.one when result > 0" in text
    assert "result &gt; 0" in page
    assert "<script" not in page


def test_names_complete_once_the_flow_is_open(wired: Any) -> None:
    assert wired.completions("%ec_plug emit_o") == ["emit_one"]
    assert wired.completions("%ec_plug emit_one -> add_two.t") == ["add_two.two"]
    assert wired.completions("%ec_submit add_two o") == ["one="]
    assert wired.completions("%ec_processor ma") == ["main", "maths"]
    assert wired.completions("%%ec_socket f -p mat", "%%ec_socket f -p mat\ndef f(): pass") == ["maths"]
    assert wired.completions("%ec_submit --f") == ["--flow"]


def test_a_socket_that_another_flow_has_is_found_there(loaded):
    loaded.run("@ec.socket\ndef double(x): return 2 * x")
    loaded.run('other = ec.flow("other")')
    hint = "flow 'main' has one; @ec.socket(flow='other') makes one of flow 'other'"
    assert str(loaded.fail("other.submit('double', 2)")) == f"no socket named 'double'; {hint}"


LOADED = """
flow = ec.flow()
for name in ("load", "clean", "clean2"):
    flow.declare(lambda x: x, name)
flow.plug("load", "clean")
flow.pause("clean", "clean2")
flow.map("load", range(3)); flow.wait()
flow.pause("load"); flow.map("load", range(3, 5))
"""


def test_an_edit_under_load_gives_a_receipt_and_a_dry_run_tells_it_beforehand(
    loaded: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded.run(LOADED)
    loaded.run("plugs = repr(flow.plugs), flow.revision")
    loaded.run("with flow.edit(dry=True) as change:\n    flow.unplug('load', 'clean')\n    flow.plug('load', 'clean2')")
    assert loaded.run("repr(change.receipt)") == "dry run: 3 to 'clean', 2 to 'clean2', 0 lost"
    assert loaded.run("(repr(flow.plugs), flow.revision) == plugs")
    loaded.run("with flow.edit() as change:\n    flow.unplug('load', 'clean')\n    flow.plug('load', 'clean2')")
    assert loaded.run("(change.receipt.to, change.receipt.lost)") == ({"clean": 3, "clean2": 2}, 0)
    assert loaded.run("flow.receipt is change.receipt")
    capsys.readouterr()
    loaded.run("%ec_undo")
    assert "2 to 'clean', 0 lost\n" in capsys.readouterr().out
    loaded.run("%ec_plug load -> clean2")
    assert "2 to 'clean', 2 to 'clean2', 0 lost\n" in capsys.readouterr().out
    wrong = loaded.fail("with flow.edit():\n    flow.unplug('load', 'clean2')\n    flow.edit(dry=True).__enter__()")
    assert "a dry run cannot stand inside another edit" in str(wrong)
    loaded.run("flow.resume(); flow.wait()")
    assert loaded.run("[sorted(flow.results(name)) for name in ('clean', 'clean2')]") == [[0, 1, 2, 3, 4], [3, 4]]


def test_a_dry_run_of_a_move_tells_what_goes_and_what_runs_on(loaded: Any, gate: Any, wait_until: Any) -> None:
    loaded.run("flow = ec.flow(); flow.processor('few', cpus=1); flow.processor('other', cpus=1)")
    held = "def held(x):\n    import os\n    os.read(os.open('gate', os.O_RDONLY), 1)\n"
    loaded.run(f"@ec.socket(processor='few')\n{held}")
    loaded.run("flow.map('held', range(3))")
    wait_until(lambda: loaded.run("[r.state for r in flow.requests('held')].count('running')") == 1)
    move = f"@ec.socket(processor='other')\n{held}"
    loaded.run("with flow.edit(dry=True) as change:\n" + "".join(f"    {line}\n" for line in move.splitlines()))
    assert loaded.run("(change.receipt.moved, change.receipt.stays)") == ({"held": 2}, {"held": 1})
    told = "dry run: 2 of 'held' on its new processor, 1 of 'held' run on where they are, 0 lost"
    assert loaded.run("repr(change.receipt)") == told
    gate.open(3)
    loaded.run("flow.wait(60)")
