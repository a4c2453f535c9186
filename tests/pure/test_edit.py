"""What edits mean: all or nothing, one revision, and undo puts back what was there."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ec_jupyter.errors import (
    CycleError,
    DeclarationError,
    EcError,
    ProcessorNotFoundError,
    RevisionError,
    SocketNotFoundError,
    WiringError,
)
from ec_jupyter.flow.edit import Limits, check_name, edit, revert, settle
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Note, Processor

LIMITS = Limits(4, "3.11", lambda socket: 0)


def socket(name, *arguments, identity=None, **options):
    """The change that declares a socket; an argument ``x=`` has a default, ``*x`` takes what is left."""
    signature = [
        {
            "name": a.strip("*="),
            "kind": "VAR_POSITIONAL" if a.startswith("*") else "POSITIONAL_OR_KEYWORD",
            "required": not (a.endswith("=") or a.startswith("*")),
        }
        for a in arguments
    ]
    known = identity or f"{name}{arguments}"
    return {
        "op": "socket",
        "name": name,
        "task": {"identity": known, "sha256": known, "signature": signature},
        **options,
    }


def plug(source, target, argument=None, **options):
    return {"op": "plug", "source": source, "target": target, "argument": argument, **options}


class Editor:
    def __init__(self, limits=LIMITS):
        self.topology, self.limits = Topology(processors={"main": Processor("main")}), limits
        self.new_id = count(1).__next__
        self.log = []

    def __call__(self, *changes):
        edited = edit(self.topology, list(changes), self.new_id, self.limits)
        self.topology = edited.topology
        self.log.append(edited)
        return edited

    def named(self, name):
        return self.topology.sockets[self.topology.names[name]]


@pytest.fixture
def editor():
    editor = Editor()
    editor(socket("a", "x"), socket("b", "x"), socket("join", "one", "two"))
    return editor


def test_a_socket_makes_its_processor_and_its_first_version(editor):
    record = editor.named("a")
    assert record.processor == "main"
    assert editor.topology.processors["main"].cpus is None
    assert editor.topology.tasks[record.task].version == 1


def test_several_changes_are_one_revision_that_says_what_it_did(editor):
    assert editor.topology.revision == 1
    assert editor.log[0].text == "socket a v1; socket b v1; socket join v1"


def test_the_history_tells_what_a_plug_does_with_what_it_carries(editor):
    size = {"sha256": "s", "text": "result > 3"}
    assert editor(plug("a", "join", "one")).text == "plug a -> join.one"
    assert editor(plug("a", "join", "one", when=size)).text == "plug a -> join.one, when=result > 3"
    part = {"sha256": "p", "text": "x"}
    edited = editor(plug("a", "join", "one", when=size, pick=part, map=True))
    assert edited.text == "plug a -> join.one, when=result > 3, pick=x, map=True"
    assert editor(plug("b", "join", "two", on="error", gather="done")).text.endswith("join.two on error, gather='done'")


def test_a_bad_change_raises_and_the_topology_is_the_one_from_before(editor):
    before = editor.topology
    with pytest.raises(SocketNotFoundError, match="did you mean 'join'"):
        editor(socket("new", "x"), plug("new", "jion", "one"))
    assert editor.topology is before


def test_a_note_is_written_moved_and_removed_and_undo_brings_it_back(editor):
    made = editor({"op": "note", "text": "look  here", "place": [1, 2]})
    (note,) = editor.topology.notes.values()
    assert (note.text, note.place, made.text) == ("look  here", (1, 2), "note 'look here'")
    editor({"op": "note", "id": note.id, "place": [5.5, 6]})
    editor({"op": "note", "id": note.id, "text": "there"})
    assert list(editor.topology.notes.values()) == [Note(note.id, "there", (5.5, 6))]
    gone = editor({"op": "remove_note", "id": note.id})
    assert [one.text for one in editor.log[-3:]] == ["move note 'look here'", "note 'there'", "remove note 'there'"]
    assert not editor.topology.notes
    assert revert(editor.topology, gone.touched).topology.notes == {note.id: Note(note.id, "there", (5.5, 6))}
    with pytest.raises(WiringError, match=f"no note {note.id} is on the canvas"):
        editor({"op": "note", "id": note.id, "text": "x"})


def groups(editor):
    return {name: sorted(s.name for s in some) for name, some in editor.topology.groups.items()}


def test_sockets_are_grouped_moved_to_another_group_and_taken_out_and_an_empty_group_is_gone(editor):
    editor({"op": "group", "name": "fit", "sockets": ["a", "b"]})
    editor({"op": "group", "name": "rest", "sockets": ["b", "join", "b"]})
    assert groups(editor) == {"fit": ["a"], "rest": ["b", "join"]}
    editor({"op": "ungroup", "name": "fit", "sockets": ["a"]})
    editor({"op": "rename_group", "name": "rest", "to": "end"})
    assert groups(editor) == {"end": ["b", "join"]}
    gone = editor({"op": "ungroup", "name": "end"})
    assert groups(editor) == {}
    assert [one.text for one in editor.log[1:]] == [
        "group fit: a, b", "group rest: b, join", "ungroup fit: a", "rename group rest to end", "ungroup end",
    ]  # fmt: skip
    editor.topology = revert(editor.topology, gone.touched).topology
    assert groups(editor) == {"end": ["b", "join"]}


def test_a_socket_that_is_removed_leaves_its_group_and_is_back_in_it_with_undo(editor):
    editor({"op": "group", "name": "fit", "sockets": ["a", "b"]})
    gone = editor({"op": "remove", "name": "a"})
    assert groups(editor) == {"fit": ["b"]}
    editor.topology = revert(editor.topology, gone.touched).topology
    assert groups(editor) == {"fit": ["a", "b"]}
    editor(socket("a", "x", identity="new"))
    assert groups(editor) == {"fit": ["a", "b"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"op": "group", "name": "fit", "sockets": ["a", "jion"]}, "no socket named 'jion'; did you mean 'join'"),
        ({"op": "group", "name": "the fit", "sockets": ["a"]}, "'the fit' is no name for a group; try 'the_fit'"),
        ({"op": "group", "name": "fit", "sockets": []}, "group 'fit' has no sockets"),
        ({"op": "ungroup", "name": "fi"}, "no group named 'fi'; did you mean 'fit'"),
        ({"op": "ungroup", "name": "fit", "sockets": ["join"]}, "socket 'join' is not in group 'fit', which has a, b"),
        ({"op": "rename_group", "name": "fit", "to": "rest"}, "there is a group 'rest' already"),
        ({"op": "rename_group", "name": "fitt", "to": "x"}, "no group named 'fitt'; did you mean 'fit'"),
    ],
)
def test_what_is_wrong_with_a_group_is_said_in_one_line_and_changes_nothing(editor, change, said):
    editor({"op": "group", "name": "fit", "sockets": ["a", "b"]}, {"op": "group", "name": "rest", "sockets": ["join"]})
    before = editor.topology
    with pytest.raises(EcError, match=said):
        editor(change)
    assert editor.topology is before


def test_nothing_changed_is_no_revision(editor):
    before = editor.topology
    edited = editor(socket("a", "x"))
    assert edited.touched == []
    assert editor.topology is before


def test_another_identity_is_another_version_and_options_alone_are_none(editor):
    editor(socket("a", "x", identity="other"))
    assert editor.topology.task(editor.named("a").id).version == 2
    editor(socket("a", "x", identity="other", retries=3))
    assert editor.topology.task(editor.named("a").id).version == 2
    assert editor.named("a").retries == 3


def test_an_option_that_is_not_given_keeps_its_value(editor):
    editor(socket("a", "x", timeout=5.0))
    editor(socket("a", "x", retries=1))
    assert (editor.named("a").timeout, editor.named("a").retries) == (5.0, 1)


def test_a_flow_under_another_python_gets_a_version_from_the_same_cell(editor):
    editor.limits = Limits(4, "3.12", lambda socket: 0)
    editor(socket("a", "x"))
    task = editor.topology.task(editor.named("a").id)
    assert (task.version, task.python) == (2, "3.12")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threads": 5}, "could never run"),
        ({"threads": 0}, "threads= takes a whole number of CPUs for one call, or a part of one, from 0.1, not 0"),
        ({"retries": -1}, "retries= takes"),
        ({"timeout": 0}, "timeout= takes seconds over 0, or None for no limit, not 0"),
    ],
)
def test_a_socket_that_could_not_be_is_refused(editor, options, says):
    with pytest.raises(DeclarationError, match=says):
        editor(socket("c", "x", **options))


def test_a_process_for_each_call_is_refused_where_a_dask_cluster_runs_them_either_way_round(editor):
    editor.limits = Limits(4, "3.11", lambda socket: 0, without_processes={"dask": "a Dask cluster"}.get)
    editor({"op": "node", "name": "grid", "host": "tcp://there:8786", "kind": "dask"})
    editor({"op": "processor", "name": "p", "nodes": {"grid": None}})
    says = "node 'grid' of processor 'p' is a Dask cluster, where a call of 'c' cannot have a process of its own"
    with pytest.raises(DeclarationError, match=says):
        editor(socket("c", "x", processor="p", fresh=True))
    editor(socket("c", "x", fresh=True))
    with pytest.raises(DeclarationError, match=says):
        editor({"op": "move", "socket": "c", "processor": "p"})
    editor({"op": "processor", "name": "p", "nodes": {"local": None}})
    editor({"op": "move", "socket": "c", "processor": "p"})
    with pytest.raises(DeclarationError, match=says):
        editor({"op": "processor", "name": "p", "nodes": {"grid": None}})


def test_calls_overlap_of_an_async_def_alone_where_workers_are_ours(editor):
    made = socket("c", "x", concurrent=100)
    with pytest.raises(DeclarationError, match=r"socket 'c': concurrent=100 is for an `async def`"):
        editor(made)
    made["task"]["coroutine"] = True
    with pytest.raises(DeclarationError, match=r"socket 'c': concurrent= .* fresh=True .* leave one out"):
        editor({**made, "fresh": True})
    editor(made)
    # one that is no `async def` any more does not keep it unseen
    with pytest.raises(DeclarationError, match=r"socket 'c': concurrent=100 is for an `async def`"):
        editor(socket("c", "y"))
    editor.limits = Limits(4, "3.11", lambda socket: 0, without_processes={"dask": "a Dask cluster"}.get)
    editor({"op": "node", "name": "grid", "host": "tcp://there:8786", "kind": "dask"})
    editor({"op": "processor", "name": "p", "nodes": {"grid": None}})
    with pytest.raises(DeclarationError, match=r"is a Dask cluster, where calls of 'c' cannot share one"):
        editor({"op": "move", "socket": "c", "processor": "p"})


def test_a_call_that_takes_more_than_its_processor_has_is_refused_either_way_round(editor):
    editor({"op": "processor", "name": "p", "cpus": 2})
    with pytest.raises(DeclarationError, match="processor 'p' has 2"):
        editor(socket("c", "x", processor="p", threads=3))
    editor(socket("c", "x", processor="p", threads=2))
    with pytest.raises(DeclarationError, match="has 1: it could never run"):
        editor({"op": "processor", "name": "p", "cpus": 1})


def test_a_socket_cannot_change_its_processors_cpus_by_the_way(editor):
    editor(socket("c", "x", processor="p", cpus=2))
    with pytest.raises(DeclarationError, match="%ec_processor p --cpus 3"):
        editor(socket("d", "x", processor="p", cpus=3))
    editor(socket("d", "x", processor="p", cpus=2))


def test_a_processor_larger_than_its_node_is_warned_of(editor):
    assert "may use 9 CPUs" in editor({"op": "processor", "name": "p", "cpus": 9}).warnings[0]


def test_a_processor_that_runs_sockets_is_not_removed(editor):
    editor({"op": "processor", "name": "p"}, {"op": "move", "socket": "a", "processor": "p"})
    with pytest.raises(WiringError, match="'p' runs a;"):
        editor({"op": "remove_processor", "name": "p"})
    with pytest.raises(WiringError, match="'main' is always there"):
        editor({"op": "remove_processor", "name": "main"})
    with pytest.raises(ProcessorNotFoundError, match="did you mean 'main'"):
        editor({"op": "remove_processor", "name": "mian"})


@pytest.mark.parametrize("name", ["for", "1st", "a b", ""])
def test_a_name_that_python_could_not_say_is_refused_with_one_it_could(name):
    with pytest.raises(DeclarationError, match="try '") as caught:
        check_name("socket", name)
    offer = str(caught.value).rpartition("try ")[2].strip("'")
    assert check_name("socket", offer) == offer


def test_a_plug_that_names_no_argument_takes_the_first_where_that_is_enough(editor):
    editor(socket("c", "x", "y="))
    editor(plug("a", "c"))
    assert [p.argument for p in editor.topology.plugs.values()] == ["x"]
    with pytest.raises(WiringError, match=r"name the argument, as in 'join\.two'"):
        editor(plug("a", "join"))


def test_a_plug_cannot_feed_what_stands_for_no_single_argument(editor):
    editor(socket("c", "*rest"))
    with pytest.raises(WiringError, match=r"\*rest of 'c'"):
        editor(plug("a", "c", "rest"))


def test_a_plug_again_stands_in_place_of_the_plug_that_is_there(editor):
    editor(plug("a", "join", "one", gather=True))
    (first,) = editor.topology.plugs
    editor(plug("a", "join", "one", gather="done"))
    assert set(editor.topology.plugs) == {first}
    assert editor.topology.plugs[first].gather == "done"


@pytest.mark.parametrize("options", [{"map": True}, {"gather": True}, {"map": True, "gather": True}])
def test_a_plug_that_splits_or_gathers_from_here_on_is_another_plug(editor, options):
    editor(plug("a", "join", "one", when={"sha256": "", "text": "value"}))
    (first,) = editor.topology.plugs
    editor(plug("a", "join", "one", **options))
    (second,) = editor.topology.plugs.values()
    assert second.id != first
    assert (second.map, bool(second.gather)) == (options.get("map", False), options.get("gather", False))
    assert second.when.text == "value"


def test_a_cycle_is_refused_over_any_number_of_sockets_and_over_error_plugs(editor):
    editor(plug("a", "b", "x"), plug("b", "join", "one"))
    with pytest.raises(CycleError):
        editor(plug("join", "a", "x"))
    with pytest.raises(CycleError):
        editor(plug("join", "a", "x", on="error"))


def test_unplugging_what_is_not_plugged_says_what_is(editor):
    editor(plug("a", "join", "one"))
    with pytest.raises(WiringError, match=r"a has: a -> join\.one"):
        editor({"op": "unplug", "source": "a", "target": "b"})
    editor({"op": "unplug", "source": "a", "target": "join"})
    assert editor.topology.plugs == {}


def test_a_socket_that_holds_something_is_removed_by_force_only(editor):
    editor.limits = Limits(4, "3.11", lambda socket: 3)
    with pytest.raises(WiringError, match="3 requests or values wait"):
        editor({"op": "remove", "name": "a"})
    editor({"op": "remove", "name": "a", "force": True})
    assert "a" not in editor.topology.names


def test_a_removed_socket_takes_its_plugs_along_and_undo_brings_all_back(editor):
    editor(plug("a", "join", "one"), plug("b", "join", "two"))
    before = editor.topology
    edited = editor({"op": "remove", "name": "join", "force": True})
    assert editor.topology.plugs == {}
    back = revert(editor.topology, edited.touched).topology
    assert (back.sockets, back.plugs) == (before.sockets, before.plugs)


def test_a_name_may_be_taken_again_after_a_removal(editor):
    old = editor.named("a").id
    editor({"op": "remove", "name": "a", "force": True})
    editor(socket("a", "x"))
    assert editor.named("a").id != old


def test_a_removed_socket_does_not_come_back_beside_another_of_its_name(editor):
    removed = editor({"op": "remove", "name": "a", "force": True})
    editor(socket("a", "x"))
    with pytest.raises(EcError):
        revert(editor.topology, removed.touched)


def test_a_rename_keeps_identity_and_plugs_and_refuses_a_name_in_use(editor):
    editor(plug("a", "join", "one"))
    old = editor.named("a").id
    editor({"op": "rename", "name": "a", "to": "first"})
    assert editor.named("first").id == old
    with pytest.raises(DeclarationError, match="a socket 'b' already"):
        editor({"op": "rename", "name": "first", "to": "b"})


def test_undo_of_what_was_changed_since_is_refused(editor):
    first = editor(socket("a", "x", retries=1))
    editor(socket("a", "x", retries=2))
    with pytest.raises(RevisionError, match="socket 'a' has been changed since"):
        revert(editor.topology, first.touched)


OPERATIONS = st.one_of(
    st.builds(lambda n, o: socket(n, "x", "y=", retries=o), st.sampled_from("abcd"), st.integers(0, 2)),
    st.builds(lambda n, i: socket(n, "x", identity=i), st.sampled_from("abcd"), st.sampled_from("ij")),
    st.builds(lambda s, t, m: plug(s, t, "x", map=m), st.sampled_from("abcd"), st.sampled_from("abcd"), st.booleans()),
    st.builds(
        lambda s, t: {"op": "unplug", "source": s, "target": t}, st.sampled_from("abcd"), st.sampled_from("abcd")
    ),
    st.builds(lambda n: {"op": "remove", "name": n, "force": True}, st.sampled_from("abcd")),
    st.builds(lambda n, t: {"op": "rename", "name": n, "to": t}, st.sampled_from("abcd"), st.sampled_from("abcdef")),
    st.builds(lambda n: {"op": "processor", "name": "main", "cpus": n}, st.integers(1, 4)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(OPERATIONS, min_size=1, max_size=3), max_size=8))
def test_undoing_every_edit_leads_back_through_every_topology_and_redo_forth(edits):
    editor = Editor()
    seen = [editor.topology]
    kept = []
    for changes in edits:
        try:
            edited = editor(*changes)
        except EcError:
            assert editor.topology is seen[-1]
            continue
        if edited.touched:
            kept.append(edited)
            seen.append(edited.topology)

    def alike(one, other):
        # task versions, once made, stay, and so do sockets, parked
        there = [[s for s in topology.sockets.values() if not s.parked] for topology in (one, other)]
        return there[0] == there[1] and (one.plugs, one.processors) == (other.plugs, other.processors)

    now = editor.topology
    for edited, before in zip(reversed(kept), reversed(seen[:-1]), strict=True):
        now = revert(now, [t for t in edited.touched if t[0] != "task"]).topology
        assert alike(now, before)
    for edited, after in zip(kept, seen[1:], strict=True):
        now = revert(now, [t for t in edited.touched if t[0] != "task"], forward=True).topology
        assert alike(now, after)


def test_a_processor_on_one_node_has_its_cpus_there_and_on_several_each_its_own(editor):
    editor({"op": "node", "name": "hpc"}, {"op": "node", "name": "gpu"})
    editor({"op": "processor", "name": "p", "cpus": 2})
    editor({"op": "processor", "name": "p", "nodes": {"hpc": None}})
    assert editor.topology.processors["p"] == Processor("p", cpus=2, nodes={"hpc": None})
    editor({"op": "processor", "name": "p", "nodes": {"local": 1, "hpc": 7}})
    assert editor.topology.processors["p"] == Processor("p", nodes={"local": 1, "hpc": 7})
    with pytest.raises(DeclarationError, match="on local, hpc; say how many CPUs on each"):
        editor({"op": "processor", "name": "p", "cpus": 3})
    with pytest.raises(DeclarationError, match="say how many CPUs on each"):
        editor({"op": "processor", "name": "p", "cpus": 3, "nodes": ["hpc", "gpu"]})
    editor({"op": "remove_node", "name": "hpc"})
    assert editor.topology.processors["p"] == Processor("p", cpus=1)


def test_this_machine_is_a_node_that_stays(editor):
    with pytest.raises(WiringError, match="node 'local' is this machine, and always there"):
        editor({"op": "remove_node", "name": "local"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "local"}, "'local' is this machine"),
        ({"name": "a b"}, "no name for a node; try 'a_b'"),
        ({"name": "hpc", "host": "-oProxyCommand=x"}, "is no host"),
        ({"name": "hpc", "host": "a b"}, "is no host"),
        ({"name": "hpc", "cpus": 0}, "cpus= takes a whole number of CPUs, at least 1, not 0"),
        ({"name": "hpc", "lease": -1}, "lease= takes seconds, 0 or more, not -1"),
        ({"name": "hpc", "ssh": []}, "names no command"),
    ],
)
def test_a_node_that_cannot_be_is_refused_by_name(editor, change, message):
    with pytest.raises(DeclarationError, match=message):
        editor({"op": "node", **change})


def test_a_card_that_was_seen_keeps_its_place_when_plugs_are_drawn_and_others_come(editor):
    editor.topology = settle(editor.topology).topology
    places = {s.name: s.position for s in editor.topology.sockets.values()}
    assert all(places.values())
    editor(plug("a", "join", "one"), plug("b", "join", "two"), socket("d", "x"), plug("join", "d", "x"))
    editor.topology = settle(editor.topology).topology
    now = {s.name: s.position for s in editor.topology.sockets.values()}
    assert {name: now[name] for name in places} == places
    # beside what feeds it
    assert now["d"][0] > now["join"][0]
    assert settle(editor.topology).touched == []


def test_undo_takes_no_card_from_the_place_where_it_was_seen_and_puts_a_moved_one_back(editor):
    again = editor(socket("a", "x", identity="new"))
    editor.topology = settle(editor.topology).topology
    place = editor.named("a").position
    assert place
    editor.topology = revert(editor.topology, [t for t in again.touched if t[0] != "task"]).topology
    assert editor.named("a").position == place
    moved = editor({"op": "position", "positions": {"a": [900, 9]}})
    editor.topology = revert(editor.topology, moved.touched).topology
    assert editor.named("a").position == place


def test_a_processor_is_bound_to_cpus_that_are_there_and_told_where_it_binds_nothing():
    editor = Editor(Limits(4, "3.11", lambda socket: 0, here=(0, 1, 4)))
    with pytest.raises(DeclarationError, match=r"^processor 'p': affinity= names CPU 2, 9, .*; there are 0, 1, 4$"):
        editor({"op": "processor", "name": "p", "affinity": [0, 2, 9]})
    assert editor({"op": "processor", "name": "p", "affinity": [0, 4]}).warnings == []
    assert editor.topology.processors["p"].affinity == (0, 4)
    editor({"op": "node", "name": "gpu", "host": "gpu", "cpus": 4})
    told = editor({"op": "processor", "name": "q", "affinity": [1], "nodes": ["gpu"]}).warnings
    assert told == ["affinity= of processor 'q' is of this machine's CPUs; on gpu it binds nothing"]
    assert editor({"op": "processor", "name": "p", "affinity": []}).topology.processors["p"].affinity is None
