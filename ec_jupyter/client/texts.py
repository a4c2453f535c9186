"""What is told of a flow, as people read it in a terminal or a table: times, errors, counts, rows in columns."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ec_jupyter.errors import DeclarationError

# where a traceback of a worker is in the cell of the task
OWN_LINE = re.compile(r'^(?:  \| )?  File "<socket [^"]+>", line (\d+), in \S+$', re.MULTILINE)


_OPTION = re.compile(r"(?<![\w.])([a-z]+)=(True\b)?(?=[\s,;:]|$)")


def in_words_of(text: str, *, option: str, flag: str) -> str:
    """A refusal that names options as Python does, in the words of another door: `option` and `flag` have a {}."""
    return _OPTION.sub(lambda found: (flag if found[2] else option).format(found[1]), text)


CELL = 60  # characters in a cell of a table


def cell_text(value: Any) -> str:
    """A value in a cell of a table, in one line."""
    text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table: the names of its columns, then its rows."""
    lines = [columns, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]


def error_line(error: Any) -> str:
    """What a request failed with, in one line."""
    if not isinstance(error, dict):
        return "" if error is None else str(error)
    first, _, rest = str(error.get("message", "")).strip().partition("\n")
    return f"{error.get('type', 'error')}: {first}{' …' if rest else ''}"


def error_text(error: Any) -> str:
    """The same in a cell of a table, with the line of the task's cell: ``ValueError: no such day (line 3)``."""
    text, lines = error_line(error), OWN_LINE.findall((error or {}).get("traceback") or "")
    at = f" (line {lines[-1]})" if lines else ""
    return (text if len(text) + len(at) <= CELL else text[: CELL - len(at) - 1] + "…") + at


def seconds_text(seconds: float | None) -> str:
    """A length of time as people write it."""
    if seconds is None:
        return ""
    for limit, divisor, unit in ((0.001, 1e-6, "µs"), (1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / divisor:.3g} {unit}"
    return f"{seconds / 3600:.1f} h"


def clock_text(moment: float | None) -> str:
    """A wall-clock time, today's without its date."""
    if moment is None:
        return ""
    then = time.localtime(moment)
    today = time.localtime()[:3] == then[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", then)


def cpus_text(processor: Mapping[str, Any]) -> str:
    """CPUs of a processor, as a topology has it, and the nodes where they are."""
    cpus, nodes = processor["cpus"], processor.get("nodes") or {}
    if len(nodes) > 1:
        return ", ".join(f"{node}: {'all' if n is None else n}" for node, n in nodes.items())
    text = "all CPUs" if cpus is None else f"{cpus} CPU{'' if cpus == 1 else 's'}"
    return text + "".join(f" of {node}" for node in nodes)


def plug_options(plug: Mapping[str, Any], failure: str = "on error") -> list[str]:
    """What of a plug is not as it is by default, in words; `failure`: of one that carries those."""
    gather = plug["gather"]
    options = [
        failure if plug["on"] == "error" else "",
        "map" if plug["map"] else "",
        f"gather {gather}" if isinstance(gather, str) else "gather" if gather else "",
        *(f"{word} {plug[word]}" if plug.get(word) else "" for word in ("pick", "when", "hops")),
    ]
    return list(filter(None, options))


def shown(row: dict[str, Any], **texts: Callable[[Any], str]) -> dict[str, Any]:
    """A row whose named columns are text; the others are as they were."""
    return {**row, **{name: text(row.get(name)) for name, text in texts.items()}}


def headline(counts: dict[str, Any]) -> str:
    """How a flow's nodes are, and whether it is at work, as one line."""
    nodes = ", ".join(map(_node_text, counts.get("nodes", ())))
    aside = "".join(f"; {unit} is set aside: {why}" for unit, why in counts.get("aside", {}).items())
    alone = "".join(f"; request {request} runs alone: {why}" for request, why in counts.get("alone", {}).items())
    size = f"; {size_text(counts['size'])}" if counts.get("size") else ""
    return f"{nodes}; {'idle' if counts.get('idle') else 'at work'}{size}{troubled(counts)}{alone}{aside}"


def troubled(counts: dict[str, Any], only: str | None = None) -> str:
    """Which processors cannot start workers for what is queued, and why; of all, or of `only` one."""
    rows = {name: row for name, row in counts.get("processors", {}).items() if only in (None, name)}
    return "".join(
        f"; processor {name!r} cannot start workers: {row['trouble']}"
        for name, row in rows.items()
        if row.get("trouble") and row["queued"]
    )


def held_back(topology: Mapping[str, Any], counts: dict[str, Any], socket: str) -> str:
    """Why queued calls of a socket do not start, where that is known."""
    record = topology["sockets"].get(socket, {})
    processor = record.get("processor", "")
    if record.get("paused"):
        return f"; socket {socket!r} is paused"
    pool = topology["processors"].get(processor, {})
    if pool.get("paused"):
        return f"; processor {processor!r} is paused"
    if pool.get("cpus") == 0:
        return f"; processor {processor!r} has 0 CPUs"
    nodes = {node["name"]: node.get("state", "up") for node in counts["nodes"]}
    away = [f"node {name!r} is {nodes.get(name)}" for name in pool.get("nodes") or ()]
    if away and "up" not in map(nodes.get, pool["nodes"]):
        return f"; its processor {processor!r} has no other node, and {' and '.join(away)}"
    return troubled(counts, processor)


def skipped_text(row: Mapping[str, Any]) -> str:
    """Why a request was skipped."""
    by_itself = "its task returned ec.SKIP" if row["attempt"] else "an argument of it can no longer come"
    return error_line(row.get("error")) or by_itself


def _node_text(node: dict[str, Any]) -> str:
    lends = f"{node.get('used', 0)} of {node['cpus']} CPUs in use" if node["cpus"] else node.get("note")
    text = f"{node['name']}: {lends}" if lends else node["name"]
    if node.get("others"):
        text += f", {node['others']} by your other flows"
    state = node.get("state", "up")
    if state == "up":
        return text
    return f"{text}, {state}" + (f" ({node['error']})" if node.get("error") else "")


def progress_text(said: dict[str, Any] | None) -> str:
    """What a task says with `ec_jupyter.progress`, as people write it: ``3 of 10 files``."""
    if not said:
        return ""
    of = "" if said["total"] is None else f" of {said['total']:,}"
    return f"{said['done']:,}{of} {said['text']}".rstrip()


def _wait_text(n: int, what: str) -> str:
    """How many requests wait for something, in words; empty for none."""
    return "" if not n else f"{n} wait{'s' if n == 1 else ''} for {what}"


def missing(row: Mapping[str, Any]) -> list[str]:
    """What a call that waits lacks: arguments, and elements of lists."""
    lacks: Mapping[str, list[int]] = row.get("lacks") or {}
    parts = (row.get("arguments") or {}).items()
    found = [name for name, part in parts if part["state"] in ("missing", "unreachable") and name not in lacks]
    found += [f"{name}[{i}]" for name, indices in lacks.items() for i in indices]
    return found + [f"more of {name}" for name in row.get("open", ()) if name not in lacks]


def number_text(number: float) -> str:
    """A rate or a mean as people write it."""
    return f"{number:.0f}" if number >= 100 or not number else f"{number:.2g}"


def bytes_text(number: int) -> str:
    """An amount of memory as people write it; nothing where none is known."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if amount else ""
        amount /= 1024
    return f"{amount:.1f} GiB"


def size_text(size: Mapping[str, int]) -> str:
    """How much a flow's files take, and which of them."""
    parts = ", ".join(f"{kind} {bytes_text(n)}" for kind, n in size.items() if n and kind != "total")
    return f"{bytes_text(size['total'])} on disk ({parts})"


_HELD = ("queued", "delayed", "asked", "running")  # the states of requests that a limit counts


def status_rows(topology: Mapping[str, Any], counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each socket: its counts, and what is to be said of it."""
    known, processors = topology["sockets"], topology["processors"]
    rows = []
    for name, states in counts["sockets"].items():
        record = known.get(name, {})
        processor = record.get("processor", "")
        pool = processors.get(processor, {})
        paused = record.get("paused") or pool.get("paused")
        stale = record.get("task", {}).get("stale")
        fed = {p["argument"] for p in topology["plugs"] if p["target"] == name}
        unfed = [argument for argument in record.get("needed", ()) if argument not in fed] if fed else []
        holds = sum(states.get(word, 0) for word in _HELD) + sum(states["arrived"].values())
        delayed = states.get("delayed", 0)
        notes = [
            # the reason stands above the table
            (states.get("aside") or "").partition(": ")[0],
            _wait_text(states.get("asked", 0), "a person"),
            _wait_text(delayed, f"{'its' if delayed == 1 else 'their'} time"),
            f"full: holds {record['limit']}" if record.get("limit") and holds >= record["limit"] else "",
            "paused" if paused else "0 CPUs" if pool.get("cpus") == 0 else "",
            f"stale: {', '.join(stale)}" if stale else "",
            f"waits for {', '.join(unfed)}: nothing plugged" if unfed else "",
        ]
        note = "; ".join(filter(None, notes))
        arrived, progress = sum(states["arrived"].values()), progress_text(states["progress"])
        row = {**states, "arrived": arrived, "progress": progress, "note": note}
        rows.append({"socket": name, "processor": processor, **row})
    return rows


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file. Raises DeclarationError: it cannot be written."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DeclarationError(f"{path} cannot be written: {error.strerror or error}") from error
