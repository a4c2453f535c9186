"""What a request leaves in the database: one row, and where the values are that it names."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from ec_jupyter.engine import ended, recovery, requests, rerun
from ec_jupyter.engine.core import Core
from ec_jupyter.engine.row_values import ROW_BYTES
from ec_jupyter.engine.rows import SQL
from ec_jupyter.engine.suspects import Suspects
from ec_jupyter.model import Plug, to_json
from ec_jupyter.wire import Outcome, unpacked
from tests.store.rig import begin, done, open_store, raised, start, submit, topology, value

ONE = topology({"one": ["x"]})
CHAIN = topology({"one": ["x"], "two": ["x"]}, [("one", "two", "x")])
FORK = topology(
    {"root": ["x"], "left": ["x"], "right": ["x"], "join": ["one", "two"]},
    [("root", "left", "x"), ("root", "right", "x"), ("left", "join", "one"), ("right", "join", "two")],
)
PAIR = topology({"a": ["x"], "b": ["x"], "both": ["one", "two"]}, [("a", "both", "one"), ("b", "both", "two")])
TABLES = ("request", "run", "value", "arrival", "passed")
LARGE = "x" * (ROW_BYTES + 1)


def rows(core: Core) -> dict[str, int]:
    """How many rows the tables of requests have."""
    counts = {table: core.store.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    return {table: n for table, n in counts.items() if n}


def arguments(core: Core, request: int) -> dict[str, list[bytes]]:
    """Pickles of a request's arguments, as one who asks for them gets them."""
    found, buffers = requests.arguments(core, {"id": request})
    rest = iter(buffers)
    return {name: [next(rest) for _ in one["values"]] for name, one in found["arguments"].items()}


def result(core: Core, request: int) -> tuple[str, list[bytes]]:
    row, buffers = requests.result(core, {"id": request})
    return row["row"]["state"], buffers


def pickled(*things: object) -> list[bytes]:
    return [pickle.dumps(thing) for thing in things]


def test_a_call_with_small_values_is_one_row_from_its_submit_to_its_result(tmp_path: Path) -> None:
    core = start(tmp_path / "flow", ONE)
    request = submit(core, "one", x=1)
    assert rows(core) == {"request": 1}
    done(core, *begin(core, "one"), 2)
    assert rows(core) == {"request": 1}
    core = start(tmp_path / "flow")
    assert arguments(core, request) == {"x": pickled(1)}
    assert result(core, request) == ("done", pickled(2))
    assert ended.small_results(core, [request])[1] == pickled(2)
    assert requests.results(core, {"socket": "one"})[1] == pickled(2)


def test_what_a_call_gets_of_another_is_named_and_not_copied(tmp_path: Path) -> None:
    core = start(tmp_path / "flow", CHAIN)
    first = submit(core, "one", x=1)
    done(core, *begin(core, "one"), "the result")
    assert "value" not in rows(core)
    core = start(tmp_path / "flow")
    second, _ = begin(core, "two")
    assert arguments(core, second) == {"x": pickled("the result")}
    assert rows(core) == {"request": 2, "passed": 1}
    assert sum(line.count("the result") for line in map(str, core.store.db.execute("SELECT * FROM request"))) == 1
    assert result(core, first) == ("done", pickled("the result"))


def test_what_passed_where_nothing_joins_is_known_to_all_who_ask(tmp_path: Path) -> None:
    core = start(tmp_path / "flow", FORK)
    root = submit(core, "root", x=1)
    done(core, *begin(core, "root"), 2)
    left, right = root + 1, root + 2
    core = start(tmp_path / "flow")
    found, _ = requests.lineage(core, {"id": left}, {})
    assert found["edges"] == [[root, left, "x"]]
    found, _ = requests.lineage(core, {"id": root}, {})
    assert sorted(found["edges"]) == [[root, left, "x"], [root, right, "x"]]
    listed = unpacked(requests.requests(core, {"socket": "left"}, {})[0])
    assert [row["parents"] for row in listed] == [[root]]
    done(core, *begin(core, "left"), 3)
    # numbers of arrivals that have no row are not given again
    assert core.new_arrival() > max(n for (n,) in core.store.db.execute("SELECT arrival FROM passed"))
    for plug in (200, 201):
        assert core.store.one("carried_by", {"source": root, "number": 0, "plug": plug}) == (1,)


def test_a_list_without_elements_makes_a_call_that_names_no_value(tmp_path: Path) -> None:
    wiring = topology({"root": ["x"], "part": ["x"], "all": ["xs"]}, [("root", "part", "x"), ("part", "all", "xs")])
    plugs = {**wiring.plugs, 200: replace(wiring.plugs[200], map=True), 201: replace(wiring.plugs[201], gather="all")}
    core = start(tmp_path / "flow", replace(wiring, plugs=plugs))
    submit(core, "root", x=[])
    request, attempt = begin(core, "root")
    core.outcome(Outcome(request, attempt, "done", value([]), routed={200: []}))
    core.journal.commit()
    gathered, _ = begin(core, "all")
    assert arguments(core, gathered) == {"xs": []}


@pytest.mark.parametrize("killed", [False, True])
def test_a_join_gets_values_from_the_rows_of_others(tmp_path: Path, killed: bool) -> None:
    core = start(tmp_path / "flow", FORK)
    for x in range(3):
        submit(core, "root", x=x)
        done(core, *begin(core, "root"), x)
        done(core, *begin(core, "left"), f"left {x}")
    if killed:
        core = start(tmp_path / "flow")
    for x in range(3):
        done(core, *begin(core, "right"), f"right {x}")
    assert core.dispatch.queued(core.topology.names["join"]) == 3
    assert {"value", "run"}.isdisjoint(rows(core))
    for x in range(3):
        request, _ = begin(core, "join")
        assert arguments(core, request) == {"one": pickled(f"left {x}"), "two": pickled(f"right {x}")}


@pytest.mark.parametrize("killed", [False, True])
def test_runs_without_a_row_that_meet_are_one_party_from_then_on(tmp_path: Path, killed: bool) -> None:
    core = start(tmp_path / "flow", PAIR)
    a, b = submit(core, "a", x=1), submit(core, "b", x=2)
    assert core.store.one("party_of", (a,)) == core.store.one("party_of", (b,)) == (a,)
    done(core, *begin(core, "a"), 10)
    if killed:
        core = start(tmp_path / "flow")
    done(core, *begin(core, "b"), 20)
    request, _ = begin(core, "both")
    assert arguments(core, request) == {"one": pickled(10), "two": pickled(20)}
    assert sorted(key for (key,) in core.store.rows("ids_of_party", {"party": a})) == [a, b, request]


@pytest.mark.parametrize("killed", [False, True])
def test_runs_without_a_row_that_an_edit_makes_meet_are_one_party_on_disk(tmp_path: Path, killed: bool) -> None:
    apart = topology(
        {"a": ["x"], "b": ["x"], "one": ["x", "y"], "both": ["x", "y"]}, [("a", "one", "x"), ("b", "both", "y")]
    )
    core = start(tmp_path / "flow", apart)
    a, b = submit(core, "a", x=1), submit(core, "b", x=2)
    assert rows(core) == {"request": 2}
    plug = Plug(300, core.topology.names["a"], core.topology.names["both"], "x")
    core.topology = replace(core.topology, plugs={**core.topology.plugs, plug.id: plug})
    core.store.write("put_plug", (plug.id, plug.source, plug.target, plug.argument, json.dumps(to_json(plug))))
    core.joins.revise(core.topology)
    core.absorb()
    core.journal.commit()
    if killed:
        core = start(tmp_path / "flow")
    assert core.store.one("party_of", (b,)) == (a,)
    done(core, *begin(core, "b"), 20)
    done(core, *begin(core, "a"), 10)
    request, _ = begin(core, "both")
    assert arguments(core, request) == {"x": pickled(10), "y": pickled(20)}
    states = dict(core.store.rows("party_states", {"party": a}))
    assert states == {"done": 2, "queued": 1}


def test_large_values_and_those_that_find_no_place_have_rows_of_their_own(tmp_path: Path) -> None:
    names = [f"x{n}" for n in range(70)]
    core = start(tmp_path / "flow", topology({"one": ["x"], "many": names}))
    large = submit(core, "one", x=LARGE)
    many = submit(core, "many", **{name: name for name in names})
    assert rows(core) == {"request": 2, "value": 1 + 70 - 62}
    done(core, *begin(core, "one"), LARGE)
    core = start(tmp_path / "flow")
    assert (arguments(core, large), result(core, large)) == ({"x": pickled(LARGE)}, ("done", pickled(LARGE)))
    assert arguments(core, many) == {name: pickled(name) for name in names}
    assert ended.small_results(core, [large])[1] == pickled(LARGE)


def test_a_request_that_is_run_again_has_its_arguments_and_then_its_result(tmp_path: Path) -> None:
    core = start(tmp_path / "flow", CHAIN)
    request = submit(core, "one", x=1)
    raised(core, *begin(core, "one"))
    assert result(core, request)[0] == "failed"
    core = start(tmp_path / "flow")
    assert rerun.retry(core, {"ids": [request]}) == [request]
    core.journal.commit()
    core = start(tmp_path / "flow")
    assert arguments(core, request) == {"x": pickled(1)}
    done(core, *begin(core, "one"), 2)
    assert result(core, request) == ("done", pickled(2))
    assert arguments(core, begin(core, "two")[0]) == {"x": pickled(2)}


def test_a_replay_names_the_arguments_of_the_request_that_it_runs_again(tmp_path: Path) -> None:
    core = start(tmp_path / "flow", FORK)
    submit(core, "root", x="given")
    done(core, *begin(core, "root"), "made")
    done(core, *begin(core, "left"), "left")
    done(core, *begin(core, "right"), "right")
    done(core, *begin(core, "join"), "joined")
    (again,) = rerun.replay(core, {"run": 1})
    (part,) = rerun.replay(core, {"run": 1, "socket": "left"})
    core.journal.commit()
    core = start(tmp_path / "flow")
    assert arguments(core, again) == {"x": pickled("given")}
    assert arguments(core, part) == {"x": pickled("made")}
    done(core, *begin(core, "root"), "made")
    done(core, *begin(core, "left"), "left again")
    assert arguments(core, begin(core, "join")[0]) == {"one": pickled("left again"), "two": pickled("right")}
    assert "value" not in rows(core)


def test_a_request_whose_arguments_are_cut_short_is_set_aside_alone(tmp_path: Path) -> None:
    core = start(tmp_path / "flow", ONE)
    good, bad, last = (submit(core, "one", x=n) for n in range(3))
    core.store.db.execute("UPDATE request SET inputs = substr(inputs, 1, length(inputs) - 1) WHERE id = ?", (bad,))
    store = open_store(core.store.folder)
    core = recovery.reopen(store, "", Suspects(store))
    core.journal.commit()
    assert list(core.suspects.aside) == [f"request {bad}"]
    assert [begin(core, "one")[0] for _ in range(2)] == [good, last]


SINGLE = ["small_results", "values_in_rows", "one_queued", "party_of", "find_submit"]


@pytest.mark.parametrize("name", SINGLE)
def test_to_read_one_request_or_value_costs_the_same_however_many_there_are(tmp_path: Path, name: str) -> None:
    core = start(tmp_path / "flow", ONE)
    steps = core.store.db.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", [json.dumps([1])] * SQL[name].count("?"))
    assert [step[3] for step in steps if step[3].startswith("SCAN") and "json_each" not in step[3]] == []
