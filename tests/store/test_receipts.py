"""What an edit tells of what is under way, in memory: as it is made, and of a dry run, which makes nothing."""

from __future__ import annotations

import pytest

from ec_jupyter.errors import SocketNotFoundError
from tests.crash.flowkit import socket_change
from tests.store.rig import agrees


def echo(x):
    return x


def pair(one, two):
    return (one, two)


@pytest.fixture
def loaded(flow):
    """Calls of `load` under way: three whose results lie at `clean`, which is paused, and two that have not begun."""
    for name in ("load", "clean", "clean2"):
        flow.socket(echo, name)
    flow.plug("load", "clean.x")
    flow.ask("pause", sockets=["clean", "clean2"])
    flow.map("load", [{"x": n} for n in range(3)])
    flow.drained()
    flow.ask("pause", sockets=["load"])
    flow.map("load", [{"x": n} for n in range(3, 5)])
    return flow


REWIRED = [
    {"op": "unplug", "source": "load", "target": "clean", "argument": "x"},
    {"op": "plug", "source": "load", "target": "clean2", "argument": "x"},
]


def told(flow, *changes, dry=False):
    return flow.ask("edit", changes=list(changes), **({"dry": True} if dry else {}))["receipt"]


def everything(flow):
    return flow.client.topology, flow.requests(), flow.query("waiting")["rows"]


def test_a_dry_run_tells_what_the_edit_tells_and_changes_nothing(loaded):
    before = everything(loaded)
    dry = told(loaded, *REWIRED, dry=True)
    assert everything(loaded) == before
    assert dry["text"] == "3 to 'clean', 2 to 'clean2', 0 lost"
    receipt = told(loaded, *REWIRED)
    assert receipt == dry
    assert (receipt["to"], receipt["lost"]) == ({"clean": 3, "clean2": 2}, 0)
    loaded.ask("resume", sockets=["load", "clean", "clean2"])
    loaded.drained()
    assert (loaded.results("clean"), loaded.results("clean2")) == ([0, 1, 2], [3, 4])


def test_an_undo_tells_it_too(loaded):
    told(loaded, *REWIRED)
    assert loaded.ask("undo")["receipt"]["text"] == "2 to 'clean', 0 lost"


def test_calls_whose_results_no_plug_takes_and_a_removed_socket_are_told(loaded):
    receipt = told(loaded, {"op": "remove", "name": "clean", "force": True}, dry=True)
    assert receipt["text"] == "2 of 'load' to nothing, 3 parked with 'clean' until the removal is undone, 0 lost"
    assert told(loaded, {"op": "remove", "name": "clean", "force": True}) == receipt
    assert loaded.ask("undo")["receipt"]["text"] == "2 to 'clean', 0 lost"


def test_what_a_dry_run_cannot_do_is_refused_as_the_edit_is(loaded):
    with pytest.raises(SocketNotFoundError, match="did you mean 'clean'"):
        told(loaded, {"op": "remove", "name": "claen"}, dry=True)


def test_a_new_version_that_asks_for_more_tells_what_it_holds_back(loaded):
    receipt = told(loaded, {"op": "rename", "name": "clean", "to": "tidy"})
    assert receipt["text"] == ""
    assert loaded.socket(lambda x, y: (x, y), "tidy")
    row = loaded.query("counts")["sockets"]["tidy"]
    assert (row["waiting"], row["arrived"]) == (3, {"x": 3})


def test_queued_calls_that_a_new_version_holds_back_and_a_move_are_counted(loaded):
    loaded.client.engine.core.dispatch.limit = 2
    change, blob = socket_change(lambda x, y: (x, y), "clean")
    reply, _ = loaded.client.ask("edit", {"changes": [change], "dry": True}, [blob])
    assert reply["receipt"]["text"] == "3 of 'clean' wait for what its new version asks for, 0 lost"
    loaded.edit({"op": "processor", "name": "p", "cpus": 1})
    receipt = told(loaded, {"op": "move", "socket": "clean", "processor": "p"})
    assert receipt["text"] == "3 of 'clean' on its new processor, 0 lost"


def test_a_move_tells_what_its_new_processor_has_no_cpu_for(loaded):
    changes = [
        {"op": "node", "name": "far", "host": "nowhere"},
        {"op": "processor", "name": "q", "nodes": {"far": 2}},
        {"op": "move", "socket": "clean", "processor": "q"},
    ]
    receipt = told(loaded, *changes, dry=True)
    assert (receipt["moved"], receipt["unplaced"]) == ({}, {"clean": 3})
    assert receipt["text"] == "3 of 'clean' wait, for its new processor has no CPU now, 0 lost"


def test_all_that_an_edit_strands_are_counted_however_many(flow):
    for name in ("left", "right"):
        flow.socket(echo, name)
    flow.socket(pair)
    flow.plug("left", "pair.one")
    flow.plug("right", "pair.two")
    flow.map("left", [{"x": n} for n in range(700)])
    flow.drained()
    change = {"op": "unplug", "source": "right", "target": "pair", "argument": "two"}
    assert told(flow, change, dry=True)["stranded"] == {"pair": 700}


@pytest.fixture
def joined(flow):
    """Two runs of which the first half waits at `pair`, and the second half cannot begin."""
    for name in ("root", "left", "right"):
        flow.socket(echo, name)
    flow.socket(pair)
    flow.plug("root", "left.x")
    flow.plug("root", "right.x")
    flow.plug("left", "pair.one")
    flow.plug("right", "pair.two")
    flow.ask("pause", sockets=["right"])
    flow.map("root", [{"x": n} for n in range(2)])
    flow.drained()
    return flow


@pytest.mark.parametrize("ends", [("right", "pair", "two"), ("root", "right", "x")])
def test_what_nothing_can_complete_any_more_is_stranded(joined, ends):
    source, target, argument = ends
    change = {"op": "unplug", "source": source, "target": target, "argument": argument}
    before = everything(joined)
    receipt = told(joined, change, dry=True)
    assert everything(joined) == before
    if source == "right":
        assert (receipt["stranded"], receipt["nowhere"]) == ({"pair": 2}, {"right": 2})
        assert "2 stranded at 'pair'" in receipt["text"]
    else:
        # what has come to `right` is there, and will bring the rest
        assert (receipt["stranded"], receipt["to"]) == ({}, {"right": 2})
    told(joined, change)
    joined.ask("resume", sockets=["right"])
    joined.drained()
    assert len(joined.results("pair")) == (0 if source == "right" else 2)
    agrees(joined.client.engine.core)


def test_values_at_an_argument_that_vanishes_are_stranded(joined):
    change, blob = socket_change(lambda two: two, "pair")
    reply, _ = joined.client.ask("edit", {"changes": [change]}, [blob])
    assert reply["receipt"]["stranded"] == {"pair": 2}


def test_where_nothing_is_under_way_nothing_is_told(flow):
    flow.socket(echo)
    flow.socket(echo, "other")
    receipt = told(flow, {"op": "plug", "source": "echo", "target": "other", "argument": "x"})
    assert (receipt["text"], receipt["lost"]) == ("", 0)
