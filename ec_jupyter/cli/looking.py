"""Commands that only look: they start no engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from ec_jupyter.cli.checkup import findings
from ec_jupyter.cli.flows import client_of, flow_argument, flow_if_any, socket_option
from ec_jupyter.cli.output import json_option, table, tell, tell_rows
from ec_jupyter.client import outside, probe
from ec_jupyter.client.client import Client
from ec_jupyter.client.commands import command
from ec_jupyter.client.flow_index import FlowIndex
from ec_jupyter.client.launch import running
from ec_jupyter.client.texts import (
    bytes_text,
    clock_text,
    error_text,
    headline,
    missing,
    seconds_text,
    shown,
    size_text,
    status_rows,
)
from ec_jupyter.flow.states import SHOWN, STATES

BEAT_SECONDS = 1.0  # how long a follower of the log waits for news before it looks by itself
_FLOWS = ("path", "state", "sockets", "waiting", "queued", "running", "done", "failed", "size")
_REQUESTS = ("id", "socket", "state", "run", "attempt", "node", "started", "seconds", "error")
_ONE = ("id", "socket", "state", "attempt", "node", "seconds", "result", "error")
_WAITING = ("socket", "request", "run", "missing", "asks", "since")
_LOG = ("time", "level", "kind", "socket", "request", "text")


@click.command("list")
@click.argument("root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@json_option
def list_(root: Path, as_json: bool) -> None:
    """The flows below a folder: running or not, and their counts."""
    tell_rows(FlowIndex(root).take(), _FLOWS, as_json=as_json, shown=_flow_row)


def _flow_row(row: dict[str, Any]) -> dict[str, Any]:
    life = row["error"] or ("running" if row["running"] else "killed" if row["killed"] else "stopped")
    size = bytes_text(row["size"]["total"]) if row["size"] else ""
    return {**row, **(row["counts"] or {}), "state": life, "size": size}


@click.command()
@flow_argument
@json_option
def status(flow: Path, as_json: bool) -> None:
    """Counts of every socket; of a flow that does not run, of the whole."""
    if not running(flow):
        found = probe.read(flow)
        found["size"] = probe.size(flow)
        found["text"] = probe.at_rest(flow).text + (f"; {size_text(found['size'])}" if found["size"] else "")
        if as_json:
            tell({"running": False, **found})
            return
        click.echo(found["text"])
        table([found["counts"]] if found["counts"] else [], STATES)
        return
    with client_of(flow, start=False) as client:
        counts, _ = client.ask("query", {"what": "counts"})
        rows = status_rows(client.topology, counts)
    if as_json:
        told = {"idle": counts["idle"], "text": headline(counts), "size": counts["size"]}
        tell({"running": True, **told, "sockets": rows})
        return
    click.echo(headline(counts))
    table(rows, ("socket", "processor", "arrived", *STATES, "progress", "note"))


@click.command()
@flow_argument
@click.argument("ids", nargs=-1, type=int, metavar="[REQUEST]...")
@socket_option
@click.option("--state", type=click.Choice(SHOWN), help="In this state only.")
@click.option("--run", type=int, help="Of this run only.")
@click.option("-n", "--limit", type=click.IntRange(1), default=100, show_default=True, help="How many at most.")
@json_option
def requests(
    flow: Path, ids: tuple[int, ...], socket: str | None, state: str | None, run: int | None, limit: int, as_json: bool
) -> None:
    """The newest requests, oldest of them first; or those of the given numbers, with their results."""
    if ids:
        show_rows([_row(flow, one) for one in ids], as_json)
        return
    asked = {"socket": socket, "state": state, "run": run, "limit": limit, "newest": True}
    with client_of(flow, start=False) as client:
        rows = command(client, "requests", asked)["rows"][::-1]
    texts = partial(shown, error=error_text, started=clock_text, seconds=seconds_text)
    tell_rows(rows, _REQUESTS, as_json=as_json, shown=texts)


def _row(flow: Path, request: int) -> dict[str, Any]:
    if not running(flow):
        return outside.row_at_rest(flow, request)
    with client_of(flow, start=False) as client:
        return outside.row(client, request)


def show_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print requests with what they came to, and the tracebacks of those that failed."""
    texts = partial(shown, error=error_text, seconds=seconds_text)
    tell_rows(rows, _ONE, as_json=as_json, shown=lambda row: texts({**row, "result": _result(row)}))
    for row in rows if not as_json else ():
        text = ((row.get("error") or {}).get("traceback") or "").rstrip()
        if text:
            click.echo(f"\nrequest {row['id']} of {row['socket']!r}:\n{text}")


def _result(row: dict[str, Any]) -> str:
    text = (row.get("preview") or {}).get("text") or row.get("problem") or ""
    return repr(row["result"]) if "result" in row else str(text)


@click.command()
@flow_argument
@socket_option
@json_option
def waiting(flow: Path, socket: str | None, as_json: bool) -> None:
    """What has arrived and waits for the rest of its call, or for a person."""
    with client_of(flow, start=False) as client:
        rows = command(client, "waiting", {"socket": socket})["rows"]
    rows = [{**row, "missing": missing(row), "asks": (row.get("ask") or {}).get("prompt")} for row in rows]
    tell_rows(rows, _WAITING, as_json=as_json, shown=partial(shown, since=clock_text))


@click.command()
@flow_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@socket_option
@click.option("--run", type=int, help="Of this run only.")
@click.option("--request", type=int, help="Of this request only.")
@click.option("--level", type=click.Choice(["info", "warning", "error"]), help="Of this level or a higher one.")
@click.option("--text", help="That hold this text, in whatever case.")
@click.option("-n", "--limit", type=click.IntRange(1), default=100, show_default=True, help="How many at first.")
@json_option
def log(flow: Path, follow: bool, as_json: bool, **asked: Any) -> None:
    """Output, failures, deaths, retries, edits and notices, oldest first; with --json one object a line."""
    # to interrupt it is how a follower ends
    with client_of(flow, start=False) as client, suppress(KeyboardInterrupt):
        for line in _lines(client, asked, follow):
            cells = [str(one) for name in _LOG[1:] if (one := line.get(name)) not in (None, "")]
            tell(line, "  ".join([clock_text(line["time"]), *cells]).rstrip(), as_json=as_json)


def _lines(client: Client, asked: dict[str, Any], follow: bool) -> Iterator[dict[str, Any]]:
    news = threading.Event()
    # whatever happens moves a count, but for what a task prints: that is looked for
    client.listen("counts", lambda header, buffers: news.set())
    page = command(client, "log", asked)
    yield from page["lines"]
    while follow:
        news.wait(BEAT_SECONDS)
        news.clear()
        page = command(client, "log", {**asked, "limit": None, "newer": page["newer"]})
        yield from page["lines"]


@click.command()
@flow_if_any
@json_option
def doctor(flow: Path | None, as_json: bool) -> None:
    """What might keep flows from working here, or keeps this one; exit code 1 if anything does."""
    rows = findings(flow)
    tell_rows(rows, ("check", "state", "text"), as_json=as_json)
    if any(row["state"] == "bad" for row in rows):
        raise SystemExit(1)


COMMANDS = (list_, status, requests, waiting, log, doctor)
