"""What an editor draws: the wiring with a place for every card, and the numbers on it.

Whoever shows a flow sends these shapes; they are declared once more in `editor/types.ts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ec_jupyter.client.source import described
from ec_jupyter.flow.layout import CARD_ROW, Box, Card, Place, layout
from ec_jupyter.flow.states import SHOWN

ROW = CARD_ROW

_OPTIONS = (
    "processor", "group", "paused", "threads", "retries", "backoff", "timeout", "once", "fresh", "memory", "priority",
    "rate", "cache", "limit", "full", "keep", "concurrent", "fixed",
)  # fmt: skip
_TASK = ("version", "file", "signature", "stale", "generator", "parked")
_PLUG = ("id", "source", "target", "argument", "on", "map", "gather", "when", "pick", "hops")
_NODE = ("name", "cpus", "state", "host", "python", "version", "error", "note", "leaving")
_NUMBERS = (*SHOWN, "arrived", "lists")


def graph(topology: Mapping[str, Any], flow: str) -> dict[str, Any]:
    """A flow's wiring as an editor draws it.

    Returns dict: ``Graph`` of `types.ts`: JSON, and no part of it shared with the snapshot's future.
    """
    found = boxes(topology)
    return {
        "flow": flow,
        "revision": topology["revision"],
        "processors": {name: _processor(record) for name, record in topology["processors"].items()},
        "sockets": {name: _socket(name, record, found[name]) for name, record in _sockets(topology)},
        "plugs": [{key: plug.get(key) for key in _PLUG} for plug in topology["plugs"]],
        "nodes": [_node(record) for record in topology["nodes"]],
        "notes": list(topology.get("notes", ())),
        "schedules": list(topology.get("schedules", ())),
    }


def _processor(record: Mapping[str, Any]) -> dict[str, Any]:
    nodes = record.get("nodes")
    if nodes is None:
        return dict(record)
    # of one node the processor's own CPUs are the limit there
    return {**record, "nodes": nodes if len(nodes) > 1 else dict.fromkeys(nodes or ("local",), record["cpus"])}


def _node(record: Mapping[str, Any]) -> dict[str, Any]:
    needs = (record.get("spec") or {}).get("requirements") or ()
    return {**{key: record.get(key) for key in _NODE}, "requirements": list(needs)}


def _socket(name: str, record: Mapping[str, Any], box: Box) -> dict[str, Any]:
    returns, doc, lines = described(name, record["task"])
    return {
        **{key: record.get(key) for key in _OPTIONS},
        "box": list(box),
        "placed": record.get("position") is not None,
        "key": (record.get("key") or {}).get("text"),
        "returns": returns,
        "doc": doc,
        "task": {
            **{key: record["task"].get(key) for key in _TASK},
            "ask": ask if "prompt" in (ask := record["task"].get("ask") or {}) else None,
            "source": lines,
        },
    }


def _sockets(topology: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, record) for name, record in topology["sockets"].items() if not record.get("parked")]


# -- places ------------------------------------------------------------------
def boxes(topology: Mapping[str, Any], *, anew: bool = False) -> dict[str, Box]:
    """x, y, width and height of every card; `anew`: as if nobody had placed any."""
    cards = tuple((name, _card(record, anew=anew)) for name, record in _sockets(topology))
    links = tuple((plug["source"], plug["target"]) for plug in topology["plugs"])
    places = _places(cards, links)
    return {name: (*places[name], card.width, card.height) for name, card in cards}


def _card(record: Mapping[str, Any], *, anew: bool) -> Card:
    ports = sum(not p["kind"].startswith("VAR_") for p in record["task"]["signature"])
    place = None if anew else record.get("position")
    return Card.of(record["processor"], ports, tuple(place) if place else None, record.get("group"))


@lru_cache(maxsize=16)
def _places(cards: tuple[tuple[str, Card], ...], links: tuple[tuple[str, str], ...]) -> dict[str, Place]:
    # most news of the wiring (paused, stale, a new version) move nothing
    return layout(dict(cards), links)


# -- numbers -----------------------------------------------------------------
def metrics(counts: Mapping[str, Any], previous: Mapping[str, Any] | None = None, seq: int = 0) -> dict[str, Any]:
    """The numbers of a picture, ``Metrics`` of `types.ts`: all that the engine counts, or what is new."""
    before: Mapping[str, Any] = previous or {}
    plugs = {str(key): n for key, n in counts.get("plugs", {}).items()}
    old = {str(key): n for key, n in before.get("plugs", {}).items()}
    # numbers are absolute: what is not on its way any more is told as 0
    plugs = {**{key: 0 for key in old if key not in plugs}, **plugs}
    sockets = {name: row for name, row in counts["sockets"].items() if before.get("sockets", {}).get(name) != row}
    pools = {n: row for n, row in counts["processors"].items() if before.get("processors", {}).get(n) != row}
    return {
        "seq": seq,
        "full": previous is None,
        "time": counts.get("time", 0.0),
        "sockets": {name: _numbers(row) for name, row in sockets.items()},
        "processors": pools,
        "plugs": {key: n for key, n in plugs.items() if old.get(key, 0) != n},
        "nodes": list(counts["nodes"]),
        "idle": bool(counts["idle"]),
    }


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: row.get(key, {} if key in ("arrived", "lists") else 0) for key in _NUMBERS}
    return {**numbers, "progress": row.get("progress"), "aside": row.get("aside")}
