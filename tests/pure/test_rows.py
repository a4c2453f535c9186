"""What rows of the wiring tell is enough to decide edits by."""

from __future__ import annotations

import json
from itertools import count

from ec_jupyter.flow.edit import edit
from ec_jupyter.flow.rows import plug_row, processor_row, socket_row, topology
from ec_jupyter.flow.topology import Topology
from tests.pure.test_edit import LIMITS, socket

CHANGES = [
    socket("one", "x", identity="a", processor="maths", cpus=2, retries=3, wait=5.0),
    socket("two", "x", "y=", "*z", hold=["y"], key={"sha256": "k", "text": "value", "written": {}}),
    {"op": "plug", "source": "one", "target": "two", "argument": "x", "when": {"sha256": "w", "text": "result > 1"}},
    {"op": "fix", "socket": "one", "argument": "x", "value": 0, "value_id": 7, "type": "int", "text": "3"},
    {"op": "position", "positions": {"two": [1.0, 2.0]}},
]


def shown(wiring: Topology, python: str) -> dict[str, object]:
    sockets = {s.name: socket_row(wiring, s, python) for s in wiring.sockets.values()}
    names = {s.id: s.name for s in wiring.sockets.values()}
    view = {
        "revision": wiring.revision,
        "processors": {p.name: processor_row(p) for p in wiring.processors.values()},
        "sockets": sockets,
        "plugs": [plug_row(p, names[p.source], names[p.target]) for p in wiring.live],
        "nodes": [{"name": "local", "cpus": 4}],
    }
    found: dict[str, object] = json.loads(json.dumps(view))
    return found


def test_a_topology_made_of_rows_shows_the_very_same_rows():
    wiring = edit(Topology(), CHANGES, count(1).__next__, LIMITS).topology
    for python in (LIMITS.python, "another"):
        view = shown(wiring, python)
        assert shown(topology(view), "") == view
