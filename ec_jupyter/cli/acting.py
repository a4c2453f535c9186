"""Commands that do something to a flow: they start its engine where none runs, as a notebook does."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from ec_jupyter.cli.flows import client_of, flow_argument, names_argument, socket_argument, socket_option
from ec_jupyter.cli.looking import show_rows
from ec_jupyter.cli.output import UNDONE, going_on, json_option, table, tell
from ec_jupyter.client import launch, outside, probe, service
from ec_jupyter.client.client import Client
from ec_jupyter.client.commands import command, typed
from ec_jupyter.client.outside import executable_of
from ec_jupyter.client.texts import bytes_text, held_back, status_rows
from ec_jupyter.client.waits import Deadline
from ec_jupyter.engine.trust import trusted
from ec_jupyter.errors import ArgumentsError, SocketNotFoundError, by_name
from ec_jupyter.flow.options import later, priority_of
from ec_jupyter.flow.states import STATES

_F = TypeVar("_F", bound=Callable[..., Any])


_timeout = click.option("--timeout", type=click.FloatRange(0), help="Seconds to wait; exit code 4 after that.")
_unpickle = click.option(
    "--unpickle", is_flag=True, help="Load results here, which runs code that is in them: of a flow that you trust."
)


@click.command()
@flow_argument
@socket_argument
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT=VALUE]...")
@click.option("--id", "submit_id", help="The same id again is the same request.")
@click.option("--partial", is_flag=True, help="The arguments that are missing will come from elsewhere.")
@click.option("--delay", help="Start it so much later: 90s, 5m, 2h, 1d.")
@click.option("--at", help="Start it then: '2030-01-31 06:00'.")
@click.option("--priority", type=int, default=0, help="Calls of its run go before others, from -100 to 100 (0).")
@click.option("--callback", metavar="URL", help="Tell this address of its end, by a POST.")
@click.option("--wait", "waits", is_flag=True, help="Wait for its end, and show what it came to.")
@_timeout
@_unpickle
@json_option
def submit(
    flow: Path, socket: str, arguments: tuple[str, ...], waits: bool, delay: str | None, at: str | None, **how: Any
) -> None:
    """Give a socket a request, and print its number once it is on disk.

    A VALUE is JSON, or @FILE for one that holds JSON (@- is the standard input); where the task takes a text, one
    without quotes is enough.
    """
    then, rank = later(delay, at, time.time()), priority_of(how.pop("priority"))
    with client_of(flow, start=True) as client:
        values = _values(client, socket, arguments)
        submitted = partial(outside.submit, client, socket, values, how.pop("submit_id"), partial=how.pop("partial"))
        request = submitted(at=then, priority=rank, callback=how.pop("callback"), wait=True)
        if waits:
            _wait_for(client, [request], **how)
        else:
            tell({"id": request}, request, as_json=how["as_json"])


def _values(client: Client, socket: str, arguments: Sequence[str]) -> dict[str, Any]:
    record = by_name(client.topology["sockets"], socket, SocketNotFoundError)
    kinds = {p["name"]: p.get("annotation") for p in record["task"]["signature"]}
    values: dict[str, Any] = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ArgumentsError(f"{text!r} is no ARGUMENT=VALUE; {socket!r} takes {', '.join(kinds) or 'none'}")
        if name in values:
            raise ArgumentsError(f"{socket!r} got argument {name!r} twice")
        read = value.startswith("@")
        values[name] = typed(_read(value[1:], name), name, None) if read else typed(value, name, kinds.get(name))
    return values


def _read(path: str, name: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentsError(f"argument {name!r}: the file {path!r} cannot be read ({error})") from None


@click.command()
@flow_argument
@click.argument("ids", nargs=-1, type=int, metavar="[REQUEST]...")
@_timeout
@_unpickle
@json_option
def wait(flow: Path, ids: tuple[int, ...], timeout: float | None, unpickle: bool, as_json: bool) -> None:
    """Wait until the given requests have ended, or until nothing is queued or running.

    Prints what they came to, or what is left; exit code 3 if any has not come to a result, or if any request of the
    flow has failed.
    """
    with client_of(flow, start=True) as client:
        if ids:
            _wait_for(client, ids, timeout, unpickle=unpickle, as_json=as_json)
        else:
            drain(client, timeout, as_json=as_json)


def drain(client: Client, timeout: float | None, *, as_json: bool) -> None:
    """Wait until a flow has nothing to do, and tell what is left; exit code 3 where requests have failed."""
    try:
        with going_on(f"flow {client.name!r} goes on", f"ec wait {client.name}"):
            reply, _ = client.ask("drained", timeout=timeout)
    except TimeoutError:
        raise TimeoutError(f"flow {client.name!r} is at work after {timeout:g} s; it goes on") from None
    counts, _ = client.ask("query", {"what": "counts"})
    left = {word: reply[word] for word in ("waiting", "failed", "paused", "asked") if word in reply}
    if as_json:
        tell(left)
    else:
        click.echo(f"nothing is queued or running; {', '.join(f'{n} {word}' for word, n in left.items())}")
        table(status_rows(client.topology, counts), ("socket", "arrived", *STATES, "note"))
    if left["failed"]:
        raise SystemExit(UNDONE)


def _wait_for(client: Client, ids: Sequence[int], timeout: float | None, *, unpickle: bool, as_json: bool) -> None:
    deadline = Deadline(timeout)
    for request in ids:
        client.row(request)
    for request in ids:
        try:
            with going_on(f"request {request} goes on", f"ec wait {client.name} {request}"):
                client.finished(request).result(deadline.left)
        except TimeoutError:
            raise TimeoutError(f"request {request} has not ended{_held(client, request)}; it goes on") from None
    rows = [outside.row(client, request) for request in ids]
    for row in rows if unpickle else ():
        if row["state"] == "done":
            row |= {"preview": {"text": repr(_loaded(client, row["id"]))}}
            row.pop("result", None)
    show_rows(rows, as_json)
    if any(row["state"] != "done" for row in rows):
        raise SystemExit(UNDONE)


def _held(client: Client, request: int) -> str:
    """Why a request does not start, where that is known."""
    row = client.row(request)
    counts, _ = client.ask("query", {"what": "counts"})
    return held_back(client.topology, counts, row["socket"]) if row["state"] == "queued" else ""


def _loaded(client: Client, request: int) -> Any:
    row = client.finished(request).result()
    return [client.load(one) for one in row["values"]] if row.get("values") is not None else client.load(row["value"])


def _chosen(ids: tuple[int, ...], socket: str | None, run: int | None, everything: bool) -> dict[str, Any]:
    """The fields by which a frame names requests, a run, a socket or all: exactly one of them."""
    given = {"ids": list(ids) or None, "socket": socket, "run": run, "all": everything or None}
    said = {key: value for key, value in given.items() if value is not None}
    if len(said) != 1:
        raise click.UsageError("say which: numbers of requests, or --socket, or --run, or --all")
    return said


def _choice(given: _F) -> _F:
    for option in (
        click.option("--all", "everything", is_flag=True, help="All of the flow."),
        click.option("--run", type=int, help="All of this run."),
        socket_option,
        click.argument("ids", nargs=-1, type=int, metavar="[REQUEST]..."),
    ):
        given = option(given)
    return given


@click.command()
@flow_argument
@_choice
@json_option
def retry(flow: Path, as_json: bool, **which: Any) -> None:
    """Run failed requests again: same arguments, newest code. Prints their numbers."""
    with client_of(flow, start=True) as client:
        ids = list(client.ask("retry", _chosen(**which))[0]["ids"])
    tell({"ids": ids}, "\n".join(map(str, ids)) or "nothing to retry", as_json=as_json)


@click.command()
@flow_argument
@_choice
@json_option
def cancel(flow: Path, as_json: bool, **which: Any) -> None:
    """Cancel what has not ended."""
    with client_of(flow, start=True) as client:
        reply, _ = client.ask("cancel", {**_chosen(**which), "by": "code"})
    n = reply["cancelled"] + reply["killed"]
    tell({"cancelled": n}, f"{n} cancelled", as_json=as_json)


@click.command()
@flow_argument
@click.argument("request", type=int)
@click.argument("value")
@click.option("--by", help="Who answers; your login if left out.")
def answer(flow: Path, request: int, value: str, by: str | None) -> None:
    """Answer what a request asks a person: JSON, or one of its choices. The answer is its result, once."""
    with client_of(flow, start=True) as client:
        said = typed(value, "answer", "str | int")
        command(client, "respond", {"request": request, "answer": said, "who": by or getpass.getuser()})


@click.command()
@flow_argument
@names_argument
def pause(flow: Path, names: tuple[str, ...]) -> None:
    """Go on accepting, start nothing: of these sockets or processors, or of all."""
    _rest("pause", flow, names)


@click.command()
@flow_argument
@names_argument
def resume(flow: Path, names: tuple[str, ...]) -> None:
    """Start again, in order."""
    _rest("resume", flow, names)


def _rest(verb: str, flow: Path, names: tuple[str, ...]) -> None:
    with client_of(flow, start=True) as client:
        sockets, processors = client.topology["sockets"], client.topology["processors"]
        chosen = [name for name in names if name in processors and name not in sockets]
        rest = [name for name in names if name not in chosen]
        for name in rest:
            by_name(sockets, name, SocketNotFoundError)
        if not names:
            rest, chosen = list(sockets), list(processors)
        client.ask(verb, {"sockets": rest, "processors": chosen})


@click.command()
@flow_argument
def start(flow: Path) -> None:
    """Start its engine, which goes on with what is on disk."""
    with client_of(flow, start=True) as client:
        for text in client.warnings:
            click.echo(text, err=True)


@click.command()
@flow_argument
def stop(flow: Path) -> None:
    """End its engine at once, if one runs; everything stays on disk."""
    if not launch.stop(flow, flow.name):
        click.echo(f"flow {flow.name!r} does not run", err=True)


@click.command()
@flow_argument
@click.option("--dry", is_flag=True, help="Tell what would be removed, and remove nothing.")
@json_option
def gc(flow: Path, dry: bool, as_json: bool) -> None:
    """Remove the files of values that were thrown away; how many, and their bytes."""
    with client_of(flow, start=True) as client:
        reply, _ = client.ask("gc", {"dry": dry}, timeout=None)
    text = f"{reply['files']} files, {bytes_text(reply['bytes']) or '0 B'}"
    tell({"files": reply["files"], "bytes": reply["bytes"]}, text, as_json=as_json)


@click.command("install-service")
@flow_argument
@click.option("--remove", "removes", is_flag=True, help="Take it away.")
@click.option("--cpus", type=click.IntRange(1), help="CPUs that the flow may use; all of this machine if left out.")
def install_service(flow: Path, removes: bool, cpus: int | None) -> None:
    """Let a flow's engine start with the machine, so that its schedules go on after a reboot.

    Writes a unit of systemd for your user, and prints the commands that let it take effect.
    """
    if removes:
        found = service.remove(flow)
        name = service.place(flow).name
        click.echo(f"{name} is removed; now: systemctl --user disable --now {name}" if found else "there is none")
        return
    trusted(flow)
    executable = executable_of(probe.read(flow).get("executable"))
    path = service.install(flow, executable, [] if cpus is None else ["--cpus", str(cpus)])
    click.echo(f"{path} is written. To let it take effect:")
    for step in service.steps(path):
        click.echo(f"  {step}")


COMMANDS = (submit, wait, retry, cancel, answer, pause, resume, start, stop, gc, install_service)
