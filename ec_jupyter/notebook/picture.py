"""A flow's wiring as text and as HTML, for where no editor can be."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from ec_jupyter.client.texts import cpus_text, plug_options


def outline(topology: dict[str, Any], name: str) -> str:
    """Processors, their sockets, and what each feeds, as indented lines."""
    return "\n".join([f"flow {name!r}, revision {topology['revision']}", *_lines(topology)])


def _lines(topology: dict[str, Any]) -> Iterator[str]:
    for processor, record in topology["processors"].items():
        yield f"  {_processor(processor, record)}"
        for socket, facts in _sockets(topology, processor):
            yield f"    {_socket(socket, facts)}"
            yield from (f"      {line}" for line in _plugs(topology, socket))


def html(topology: dict[str, Any], name: str) -> str:
    """The same as a table without script: one row a socket."""
    rows = []
    for processor, record in topology["processors"].items():
        title = escape(_processor(processor, record))
        rows.append(f"<tr><th colspan='2' style='text-align:left'>{title}</th></tr>")
        for socket, facts in _sockets(topology, processor):
            feeds = "<br>".join(map(escape, _plugs(topology, socket)))
            rows.append(f"<tr>{_cell(escape(_socket(socket, facts)))}{_cell(feeds)}</tr>")
    title = escape(f"flow {name!r}, revision {topology['revision']}")
    return f"<details open><summary>{title}</summary><table>{''.join(rows)}</table></details>"


def _cell(content: str) -> str:
    return f"<td style='text-align:left; vertical-align:top'>{content}</td>"


def _sockets(topology: dict[str, Any], processor: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, facts)
        for name, facts in topology["sockets"].items()
        if facts["processor"] == processor and not facts.get("parked")
    ]


def _processor(name: str, record: dict[str, Any]) -> str:
    return f"{name} ({cpus_text(record)}{', paused' if record['paused'] else ''})"


def _socket(name: str, facts: dict[str, Any]) -> str:
    fixed = facts.get("fixed", {})
    arguments = ", ".join(_parameter(p, fixed) for p in facts["task"]["signature"])
    stale = facts["task"].get("stale")
    group = f"in group {facts['group']}" if facts.get("group") else ""
    marks = [*joining(facts), group, "paused" if facts["paused"] else "", f"stale: {', '.join(stale)}" if stale else ""]
    return ", ".join(filter(None, [f"{name}({arguments}) v{facts['task']['version']}", *marks]))


def joining(facts: dict[str, Any]) -> list[str]:
    """How a socket joins, where it is not by run."""
    join, key = facts.get("join", "run"), facts.get("key")
    by = {"run": "", "key": f"by key {key['text']}" if key else ""}.get(join, f"joins by {join}")
    on, hold, wait = ", ".join(facts.get("on", ())), ", ".join(facts.get("hold", ())), facts.get("wait")
    return [
        *filter(None, [by + (f" on {on}" if on else ""), f"holds {hold}" if hold else ""]),
        *([f"waits {wait:g} s"] if wait else []),
    ]


def _parameter(record: dict[str, Any], fixed: dict[str, Any]) -> str:
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(record["kind"], "")
    value = fixed[record["name"]]["text"] if record["name"] in fixed else record.get("default")
    return f"{stars}{record['name']}" + (f"={value}" if value is not None else "")


def _plugs(topology: dict[str, Any], socket: str) -> list[str]:
    own = [plug for plug in topology["plugs"] if plug["source"] == socket]
    return [" ".join([f"-> {p['target']}.{p['argument']}", *plug_options(p)]) for p in own]
