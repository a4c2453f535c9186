"""Records of the wiring that cannot be read: the flow opens, their calls wait, and a person takes them back."""

from __future__ import annotations

from tests.crash.flowkit import damaged, echo


def shout(x):
    return x.upper()


DAMAGED = {
    "socket 'record'": "UPDATE socket SET record = '{}' WHERE name = 'record'",
    "task of 'task'": "UPDATE task SET record = '[' WHERE socket = (SELECT id FROM socket WHERE name = 'task')",
    "processor 'affinity'": "UPDATE processor SET affinity = 'none of ours' WHERE name = 'affinity'",
    "processor 'cpus'": "UPDATE processor SET cpus = 'many' WHERE name = 'cpus'",
    "processor 'place'": "UPDATE processor_node SET cpus = 'many' WHERE processor = 'place'",
    "node 'away'": "UPDATE node SET spec = '{\"colour\": 1}'",
}


def test_calls_of_records_that_cannot_be_read_wait_and_say_so_until_those_are_declared_again(flow):
    def declare(**nodes):
        flow.edit({"op": "node", "name": "away", "host": "nobody@127.0.0.1", "ssh": ["false"]})
        for name in names:
            flow.edit({"op": "processor", "name": name, "nodes": nodes if name == "away" else {"local": 1, "away": 1}})
            flow.socket(shout, name, processor=name)

    names = [unit.split("'")[1] for unit in DAMAGED]
    flow.socket(echo)
    declare(away=1)
    flow.ask("pause", sockets=names)
    requests = [flow.submit(name, x="hey") for name in names]
    flow.query("counts")
    damaged(flow, *DAMAGED.values())
    flow.reopen()
    flow.ask("resume", sockets=names, processors=names)
    flow.edit({"op": "position", "positions": {name: [1, 2] for name in names}})
    # in the next life too, whatever else was done to them meanwhile
    flow.restart()
    assert flow.result(flow.submit("echo", x=1)) == 1
    counts = flow.query("counts")
    assert counts["aside"].keys() == DAMAGED.keys()
    assert all("cannot be read" in why and "again" in why for why in counts["aside"].values())
    for unit, name in zip(DAMAGED, names, strict=True):
        assert counts["sockets"][name]["aside"] == f"{unit} is set aside: {counts['aside'][unit]}"
        assert counts["sockets"][name]["queued"] == 1
    declare(local=1)
    assert [flow.result(request) for request in requests] == ["HEY"] * len(names)
    flow.restart()
    assert flow.query("counts")["aside"] == {}
    assert [flow.result(flow.submit(name, x="ho")) for name in names] == ["HO"] * len(names)


def test_a_plug_that_cannot_be_read_is_named_by_its_ends_and_comes_back_when_it_is_drawn_anew(flow):
    flow.socket(echo)
    flow.socket(shout)
    flow.plug("echo", "shout.x")
    damaged(flow, "UPDATE plug SET record = '{}'")
    flow.reopen()
    assert list(flow.query("counts")["aside"]) == ["plug 'echo -> shout.x'"]
    flow.plug("echo", "shout.x")
    assert flow.query("counts")["aside"] == {}
    flow.restart()
    assert flow.query("counts")["aside"] == {}
    flow.result(flow.submit("echo", x="hey"))
    flow.drained()
    assert flow.results("shout") == ["HEY"]
