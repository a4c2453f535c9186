"""How a socket is declared to join, when that may change, and which plugs then fit. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

from ec_jupyter.errors import DeclarationError, WiringError, nearest
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import Condition, Parameter, Socket, Task

JOINS = ("run", "zip", "latest")
FULL = ("block", "error", "drop-oldest")

OF_CALLS = ("threads", "concurrent", "retries", "once", "fresh", "memory", "priority", "rate", "cache")
"""Options that say how a worker runs a call: no worker runs one that asks a person."""


def with_policy(socket: Socket, task: Task, change: dict[str, Any]) -> tuple[Socket, list[str]]:
    """The socket with the join that is declared, and what the person should know. Raises DeclarationError."""
    socket = _joined(socket, change)
    if change.get("on") is not None:
        socket = replace(socket, on=_names(socket, task, "on", change["on"]))
    if change.get("hold") is not None:
        socket = replace(socket, hold=_names(socket, task, "hold", change["hold"]))
    if "wait" in change:
        socket = replace(socket, wait=change["wait"])
    socket, warnings = _without_gone(socket, task)
    _check_together(socket, task)
    return socket, warnings


def _joined(socket: Socket, change: dict[str, Any]) -> Socket:
    join, key = change.get("join"), change.get("key")
    if join is not None and join not in JOINS:
        raise DeclarationError(f"socket {socket.name!r}: unknown join {join!r}; {nearest(str(join), JOINS)}")
    if key is not None and join is not None:
        raise DeclarationError(f"socket {socket.name!r} joins by key or join={join!r}, not both")
    if key is not None:
        by = Condition(key["sha256"], key.get("text", ""), key.get("written", {}))
        return replace(socket, join="key", on=(), key=by)
    if join is not None:
        return replace(socket, join=join, key=None, on=socket.on if join == "latest" else ())
    return socket


def _names(socket: Socket, task: Task, word: str, given: Iterable[str]) -> tuple[str, ...]:
    names = tuple(given)
    for name in names:
        if name not in task.arguments:
            offer = nearest(name, task.arguments)
            raise DeclarationError(f"{word}={name!r}: {socket.name!r} has no such argument; {offer}")
    return names


def _without_gone(socket: Socket, task: Task) -> tuple[Socket, list[str]]:
    """The socket without options of arguments that its task no longer has, unless its declaration repeats them."""
    there = set(task.arguments)
    gone = [name for name in (*socket.hold, *socket.on) if name not in there]
    warnings = [f"socket {socket.name!r} has no argument {name!r} any more; hold= and on= forget it" for name in gone]
    hold, on = (tuple(n for n in names if n in there) for names in (socket.hold, socket.on))
    return replace(socket, hold=hold, on=on), warnings


def _check_together(socket: Socket, task: Task) -> None:
    name = repr(socket.name)
    if socket.cache and task.generator:
        raise DeclarationError(f"socket {name}: cache= keeps a result, and a generator has none; leave it out")
    if socket.concurrent > 1 and not task.coroutine:
        raise DeclarationError(
            f"socket {name}: concurrent={socket.concurrent} is for an `async def`, whose calls wait beside each other; "
            "give it threads= for a part of a CPU each, or concurrent=1"
        )
    if socket.concurrent > 1 and socket.fresh:
        raise DeclarationError(
            f"socket {name}: concurrent= has calls share a process, fresh=True has them not; leave one out"
        )
    if socket.join == "latest" and socket.wait is not None:
        raise DeclarationError(f"socket {name}: wait= has no meaning with join='latest', where the newest stays")
    if socket.on and socket.join != "latest":
        raise DeclarationError(f"socket {name}: on= says which arguments make calls with join='latest'")
    if socket.hold and not set(task.arguments) - set(socket.hold):
        raise DeclarationError(f"socket {name} holds all its arguments; one has to come for each call")
    both = [n for n in socket.on if n in socket.hold]
    if both:
        raise DeclarationError(f"socket {name}: {both[0]!r} is held, so it makes no call; take it out of on= or hold=")


def check_asking(socket: Socket, task: Task) -> None:
    """Refuse options of calls for a socket that asks a person, or sleeps. Raises DeclarationError: one is given."""
    usual = {option.name: option.default for option in fields(Socket)}
    sleeps = "sleep" in task.ask
    words = OF_CALLS if not sleeps else (*OF_CALLS, "timeout")
    wrong = [word for word in words if task.ask and getattr(socket, word) != usual[word]]
    if wrong and sleeps:
        raise DeclarationError(f"socket {socket.name!r} sleeps, so {wrong[0]}= has no meaning: no worker has them")
    if wrong:
        raise DeclarationError(
            f"socket {socket.name!r} asks a person, so {wrong[0]}= has no meaning; "
            "timeout= says how long an answer may take"
        )


def check_policy_change(arrived: Callable[[int], int], before: Socket | None, after: Socket) -> None:
    """Refuse to change how values are matched while some have `arrived`. Raises WiringError: some have."""
    if before is None or _policy(before) == _policy(after):
        return
    waits = arrived(before.id)
    if waits:
        values = "1 value waits" if waits == 1 else f"{waits} values wait"
        raise WiringError(
            f"{values} at {before.name!r}, so how it joins cannot change; supply or discard them first "
            f"(flow.waiting({before.name!r}))"
        )


def _policy(socket: Socket) -> tuple[Any, ...]:
    return socket.join, set(socket.hold), socket.key.sha256 if socket.key else None


def check_gathers(topology: Topology, target: Socket) -> None:
    """Refuse plugs that bring what the socket's join cannot take.

    Raises WiringError: one gathers into an argument that is matched regardless of run, or carries failures, which have
    no key.
    """
    target = topology.sockets[target.id]
    sleeps = "sleep" in topology.task(target.id).ask
    for plug in topology.plugs.values():
        if sleeps and plug.target == target.id and (plug.gather or plug.on == "error"):
            what = "a gathered list" if plug.gather else "failures"
            raise WiringError(f"{target.name!r} sleeps and passes on one value as it is; it does not take {what}")
        if plug.target != target.id or (target.id, plug.argument) not in topology.run_independent:
            continue
        source = topology.sockets[plug.source].name
        if plug.gather:
            why = f"{plug.argument!r} is held" if plug.argument in target.hold else f"it joins by {target.join}"
            raise WiringError(
                f"{source!r} cannot gather into {target.name}.{plug.argument}: {why}, and a list is of one run; "
                "put a socket between them that gathers"
            )
        if plug.on == "error" and target.join == "key" and plug.argument not in target.hold:
            raise WiringError(f"the failures of {source!r} have no key, and {target.name!r} joins by key")


# -- parts of results -------------------------------------------------------------
_CLASSES = ("int", "float", "complex", "bool", "str", "bytes", "list", "tuple", "dict", "set", "frozenset")
_WIDER = {("bool", "int"), ("bool", "float"), ("int", "float")}


def check_pick(
    pick: Condition | None, task: Task, source: str, argument: Parameter, target: str, *, split: bool
) -> None:
    """Refuse a plug that picks a part which its source does not give, or of another type than its target takes.

    `pick`: only a part by name is looked at. `task`: what the source runs. `split`: the plug feeds elements of the
    part. Raises WiringError: names the part and what there is, or both types and the way to convert.
    """
    part = pick.written.get("field") if pick else None
    if part is None or not task.outputs:
        return
    if part not in task.outputs:
        raise WiringError(f"the result of {source!r} has no part {part!r}; {nearest(part, task.outputs)}")
    given, taken = task.outputs[part], argument.annotation or ""
    known = given in _CLASSES and taken in _CLASSES
    if known and not split and given != taken and (given, taken) not in _WIDER:
        raise WiringError(
            f"{source}.{part} is of type {given}, {target}.{argument.name} takes {taken}; "
            f'pick="{taken}(result[{part!r}])", or a function, converts it'
        )
