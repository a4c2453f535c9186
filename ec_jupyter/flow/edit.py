"""What an edit of the topology means: changes in, a new topology out, or one error and nothing changed.

Pure. An edit comes back with every record it touched, before and after, so that undo is to put
the earlier ones back, whatever the edit was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ec_jupyter.errors import (
    CycleError,
    DeclarationError,
    ProcessorNotFoundError,
    RevisionError,
    WiringError,
    by_name,
    nearest,
)
from ec_jupyter.flow import groups, sharing
from ec_jupyter.flow import schedule as schedules
from ec_jupyter.flow.declare import check_asking, check_gathers, check_pick, check_policy_change, with_policy
from ec_jupyter.flow.draft import SAID, Change, Draft, Edited, Limits, Touched, check_name
from ec_jupyter.flow.layout import Card, layout
from ec_jupyter.flow.options import checked
from ec_jupyter.flow.topology import Topology
from ec_jupyter.model import LOCAL, MAIN, POSITIONAL, Condition, Fixed, Note, Parameter, Plug, Processor, Socket, Task

LIMITS = ("timeout", "memory", "rate", "cache", "limit", "callback", "keep")  # None takes them away
OPTIONS = (
    "threads", "retries", "backoff", "timeout", "once", "fresh", "memory", "priority", "rate", "cache", "limit", "full",
    "callback", "keep", "concurrent",
)  # fmt: skip


def edit(topology: Topology, changes: list[Change], new_id: Callable[[], int], limits: Limits) -> Edited:
    """Apply all of `changes`, or none.

    Raises WiringError, DeclarationError, SocketNotFoundError, ProcessorNotFoundError: the first change that cannot be
    made; the message names what it is about.
    """
    draft = Draft(topology, new_id, limits)
    for change in changes:
        apply(draft, change)
    return draft.finish()


def apply(draft: Draft, change: Change) -> None:
    """Make one change of a draft; raises as `edit` does."""
    operation = _OPERATIONS.get(change.get("op", ""))
    if operation is None:
        raise WiringError(f"no edit is called {change.get('op')!r}; {nearest(str(change.get('op')), _OPERATIONS)}")
    operation(draft, checked(change))


def revert(
    topology: Topology,
    touched: list[Touched],
    arrived: Callable[[int], int] = lambda socket: 0,
    *,
    forward: bool = False,
) -> Edited:
    """Put back what an edit had found, or (`forward`) had made. Raises RevisionError: it was changed again since."""
    draft = Draft(topology, lambda: 0, Limits(0, "", lambda socket: 0, arrived))
    for kind, key, before, after in touched if forward else reversed(touched):
        wanted, found = (after, before) if forward else (before, after)
        now = draft.get(kind, key)
        if unchanged_by_revisions(found, now) != now:
            raise RevisionError(f"{kind} {_called(found or wanted)} has been changed since; undo that first")
        if isinstance(now, Socket) and isinstance(wanted, Socket):
            check_policy_change(arrived, now, wanted)
        draft.put(kind, key, unchanged_by_revisions(wanted, now, moved=_moved(before, after)))
    names = [s.name for s in draft.topology.sockets.values() if not s.parked]
    for name in {name for name in names if names.count(name) > 1}:
        raise RevisionError(f"there is another socket {name!r} by now; rename or remove it first")
    for socket in draft.topology.sockets.values():
        if not socket.parked and socket.processor not in draft.topology.processors:
            raise RevisionError(f"socket {socket.name!r} needs processor {socket.processor!r}; make it first")
    for processor in draft.topology.processors.values():
        for name in processor.nodes.keys() - draft.topology.nodes.keys() - {LOCAL}:
            raise RevisionError(f"processor {processor.name!r} is on node {name!r}; move it first")
    return draft.finish()


def settle(topology: Topology) -> Edited:
    """Give a place to every card of the picture that has none; the others stay."""
    sockets = {s.name: s for s in topology.sockets.values() if not s.parked}
    if all(s.position for s in sockets.values()):
        return Edited(topology)
    names = {s.id: s.name for s in sockets.values()}
    cards = {
        s.name: Card.of(s.processor, sum(p.pluggable for p in topology.task(s.id).signature), s.position, s.group)
        for s in sockets.values()
    }
    places = layout(cards, [(names[p.source], names[p.target]) for p in topology.live])
    draft = Draft(topology, lambda: 0, Limits(0, "", lambda socket: 0))
    for name, socket in sockets.items():
        draft.put("socket", socket.id, replace(socket, position=places[name]))
    return draft.finish()


def unchanged_by_revisions(record: Any, now: Any, *, moved: bool = False) -> Any:
    """A record of a revision with what no revision holds as it is now: whether it is paused, what it knows to be stale.

    Nor does one hold the place that a card was given by `settle`; unless `moved`, it keeps that. A socket, once made,
    stays, for requests and values name it: where a revision has none it is parked. So does the processor `main`.
    """
    if record is None and isinstance(now, Socket):
        return replace(now, parked=True)
    if record is None and isinstance(now, Processor) and now.name == MAIN:
        return now
    if isinstance(record, Socket) and isinstance(now, Socket):
        stale = now.stale if record.task == now.task else record.stale
        position = record.position if moved or record.position else now.position
        return replace(record, paused=now.paused, stale=stale, position=position)
    if isinstance(record, Processor) and isinstance(now, Processor):
        return replace(record, paused=now.paused)
    return record


def _moved(before: Any, after: Any) -> bool:
    return isinstance(before, Socket) and isinstance(after, Socket) and before.position != after.position


def _called(record: Any) -> str:
    return repr(getattr(record, "name", None) or getattr(record, "id", ""))


# -- sockets -----------------------------------------------------------------
def _socket(draft: Draft, change: Change) -> None:
    name = check_name("socket", change["name"])
    found = draft.topology.names.get(name)
    old = draft.topology.sockets[found] if found is not None else None
    processor = change.get("processor") or (old.processor if old else MAIN)
    sharing.processor_of(draft, processor, change.get("cpus"))
    socket_id = old.id if old else draft.new_id()
    task = _task(draft, change, socket_id, old)
    options = {k: change[k] for k in OPTIONS if change.get(k) is not None or (k in change and k in LIMITS)}
    if old is None:
        record = Socket(socket_id, name, processor, task.id, **options)
    else:
        record = replace(old, processor=processor, task=task.id, stale=(), **options)
    sharing.check_place(draft, record)
    check_asking(record, task)
    record, warnings = with_policy(record, task, change)
    draft.warnings += warnings
    check_policy_change(draft.limits.arrived, old, record)
    draft.put("task", task.id, task)
    draft.put("socket", socket_id, record)
    check_gathers(draft.topology, record)
    _check_fixed(draft, record, task)
    draft.says.append(f"socket {name} v{task.version}")


def _task(draft: Draft, change: Change, socket: int, old: Socket | None) -> Task:
    spec = change["task"]
    current = draft.topology.tasks[old.task] if old else None
    same_python = current is not None and current.python == draft.limits.python
    if current is not None and current.identity == spec["identity"] and same_python:
        # one that an earlier version registered did not say how it is written down, nor what it is
        written = current.written or spec.get("written", {})
        return replace(current, written=written, coroutine=bool(spec.get("coroutine")))
    version = 1 + max((t.version for t in draft.topology.tasks.values() if t.socket == socket), default=0)
    return Task(
        id=draft.new_id(),
        socket=socket,
        version=version,
        identity=spec["identity"],
        sha256=spec["sha256"],
        source=spec.get("source", ""),
        file=spec.get("file", ""),
        signature=tuple(Parameter(**p) for p in spec["signature"]),
        captured=tuple(spec.get("captured", ())),
        generator=bool(spec.get("generator")),
        coroutine=bool(spec.get("coroutine")),
        client=str(change.get("client") or ""),
        python=draft.limits.python,
        written=spec.get("written", {}),
        ask=spec.get("ask") or {},
        outputs=spec.get("outputs") or {},
    )


def _check_fixed(draft: Draft, socket: Socket, task: Task) -> None:
    gone = [name for name in socket.fixed if task.parameter(name) is None]
    if gone:
        fixed = {k: v for k, v in socket.fixed.items() if k not in gone}
        draft.put("socket", socket.id, replace(draft.topology.sockets[socket.id], fixed=fixed))
        draft.warnings.append(f"socket {socket.name!r} has no argument {gone[0]!r} any more; its fixed value is gone")


def _remove(draft: Draft, change: Change) -> None:
    socket = draft.socket(change["name"])
    load = draft.limits.load(socket.id)
    if load and not change.get("force"):
        what = "1 request or value waits" if load == 1 else f"{load} requests or values wait"
        raise WiringError(
            f"{what} at socket {socket.name!r}; force=True parks them with it until the removal is undone"
        )
    for plug in list(draft.topology.plugs.values()):
        if socket.id in (plug.source, plug.target):
            draft.put("plug", plug.id, None)
    schedules.drop(draft, socket.id)
    draft.put("socket", socket.id, replace(socket, parked=True))
    draft.says.append(f"remove {socket.name}")


def _rename(draft: Draft, change: Change) -> None:
    socket, to = draft.socket(change["name"]), check_name("socket", change["to"])
    if to in draft.topology.names:
        raise DeclarationError(f"there is a socket {to!r} already")
    draft.put("socket", socket.id, replace(socket, name=to))
    draft.says.append(f"rename {socket.name} to {to}")


def _position(draft: Draft, change: Change) -> None:
    for name, place in change["positions"].items():
        socket = draft.socket(name)
        draft.put("socket", socket.id, replace(socket, position=tuple(place) if place else None))
    names = sorted(change["positions"])
    draft.says.append(f"move {', '.join(names) if len(names) <= SAID else f'{len(names)} sockets'}")


def _move(draft: Draft, change: Change) -> None:
    socket, name = draft.socket(change["socket"]), change["processor"]
    by_name(draft.topology.processors, name, ProcessorNotFoundError)
    if socket.processor == name:
        return
    record = replace(socket, processor=name)
    sharing.check_place(draft, record)
    draft.put("socket", socket.id, record)
    draft.says.append(f"{socket.name} to processor {name}")


def _stale(draft: Draft, change: Change) -> None:
    socket = draft.socket(change["socket"])
    draft.put("socket", socket.id, replace(socket, stale=tuple(change["names"])))


# -- plugs -------------------------------------------------------------------
def _argument(task: Task, socket: Socket, name: str | None) -> Parameter:
    if name is None:
        first = next((p for p in task.signature if p.kind in POSITIONAL), None)
        if first is not None:
            return first
        if task.arguments:
            known = ", ".join(task.arguments)
            raise WiringError(f"{socket.name!r} takes no positional argument; name one of: {known}")
        raise WiringError(f"{socket.name!r} has no argument that a plug can feed")
    found = task.parameter(name)
    if found is None:
        raise WiringError(f"{socket.name!r} has no argument {name!r}; {nearest(name, task.arguments)}")
    if not found.pluggable:
        star = "*" if found.kind == "VAR_POSITIONAL" else "**"
        raise WiringError(f"{star}{name} of {socket.name!r} stands for no single argument; a plug cannot feed it")
    return found


def _plug(draft: Draft, change: Change, old: Plug | None = None) -> None:
    source, target = draft.socket(change["source"]), draft.socket(change["target"])
    topology, task = draft.topology, draft.topology.tasks[target.task]
    argument = _argument(task, target, change.get("argument"))
    if change.get("argument") is None:
        _check_lone(topology, target, task, argument)
    on = change.get("on") or "result"
    same = _between(topology, (source.id, target.id, argument.name, on))
    closes = source.id == target.id or topology.leads(target.id, source.id)
    if same is None and closes and not change.get("cycle"):
        raise CycleError(f"a plug from {source.name!r} to {target.name!r} would close a cycle; cycle=True allows it")
    if change.get("hops") is not None and not change.get("cycle"):
        ends = f"{source.name} -> {target.name}.{argument.name}"
        raise DeclarationError(f"plug '{ends}': hops= bounds a cycle; it goes with cycle=True")
    when, pick = (old.when, old.pick) if old else (_condition("when", change, same), _condition("pick", change, same))
    if on == "result" and not change.get("gather"):
        check_pick(pick, topology.tasks[source.task], source.name, argument, target.name, split=bool(change.get("map")))
    if same and _brings(same) != (bool(change.get("map")), bool(change.get("gather")), pick and pick.sha256):
        # it brings something else from now on, so it becomes another plug: undo knows which of them brought what
        draft.put("plug", same.id, None)
        key = draft.new_id()
    else:
        key = same.id if same else draft.new_id()
    record = Plug(
        id=key,
        source=source.id,
        target=target.id,
        argument=argument.name,
        on=on,
        map=bool(change.get("map")),
        gather=change.get("gather") or False,
        when=when,
        pick=pick,
        hops=change.get("hops", same.hops if same else None),
    )
    draft.put("plug", record.id, record)
    check_gathers(draft.topology, target)
    said = f"plug {source.name} -> {target.name}.{argument.name}" + (" on error" if on == "error" else "")
    gathers = [f"gather={record.gather!r}"] if record.gather else []
    draft.says.append(", ".join([said, *record.steps.values(), *gathers]))


def _between(topology: Topology, ends: tuple[Any, ...]) -> Plug | None:
    """The plug of a source, target, argument and kind."""
    return next((p for p in topology.plugs.values() if (p.source, p.target, p.argument, p.on) == ends), None)


def _replug(draft: Draft, change: Change) -> None:
    """Have a plug lead elsewhere, or carry the other thing: whatever else it does stays as it is."""
    source, target = draft.socket(change["source"]), draft.socket(change["target"])
    to, on = draft.socket(change.get("to_target") or target.name), change.get("on") or "result"
    ends = (source.id, target.id, change.get("argument"), on)
    old = _between(draft.topology, ends)
    if old is None:
        raise WiringError(f"there is no plug {source.name} -> {target.name}.{change.get('argument')} any more")
    argument = change.get("to_argument") or (old.argument if to.id == target.id else None)
    made = {"source": source.name, "target": to.name, "argument": argument, "on": change.get("to_on") or old.on}
    draft.put("plug", old.id, None)
    port = _argument(draft.topology.tasks[to.task], to, argument).name
    new = (source.id, to.id, port, made["on"])
    if _between(draft.topology, new) is not None:
        raise WiringError(f"there is a plug {source.name} -> {to.name}.{port} on {made['on']} already")
    cycle = change.get("cycle") or to.id == target.id
    _plug(draft, {**made, "map": old.map, "gather": old.gather, "hops": old.hops, "cycle": cycle}, old)


def _brings(plug: Plug) -> tuple[object, ...]:
    """What makes a plug bring something else than another between the same ends."""
    return plug.map, bool(plug.gather), plug.pick and plug.pick.sha256


def _condition(word: str, change: Change, same: Plug | None) -> Condition | None:
    """The plug's `when` or `pick`; a change that does not name it, as a picture's, leaves it unchanged."""
    given = change.get(word)
    if given is None:
        found: Condition | None = getattr(same, word) if same and word not in change else None
        return found
    return Condition(given["sha256"], given.get("text", ""), given.get("written", {}))


def _check_lone(topology: Topology, target: Socket, task: Task, argument: Parameter) -> None:
    """Refuse a plug that names no argument where another argument would be without a source."""
    lacking = task.lacking({argument.name, *target.fixed})
    others = [name for name in lacking if (target.id, name) not in topology.into]
    if others:
        raise WiringError(
            f"{target.name!r} takes {', '.join(task.arguments)}; name the argument, as in '{target.name}.{others[0]}'"
        )


def _unplug(draft: Draft, change: Change) -> None:
    source, target = draft.socket(change["source"]), draft.socket(change["target"])
    argument, on = change.get("argument"), change.get("on")
    found = [
        p
        for p in draft.topology.plugs.values()
        if (p.source, p.target) == (source.id, target.id) and argument in (None, p.argument) and on in (None, p.on)
    ]
    if not found:
        there = [
            f"{source.name} -> {draft.topology.sockets[p.target].name}.{p.argument}"
            for p in draft.topology.plugs.values()
            if p.source == source.id
        ]
        raise WiringError(
            f"no plug from {source.name!r} to {target.name!r}; {source.name} has: {', '.join(there) or 'none'}"
        )
    for plug in found:
        draft.put("plug", plug.id, None)
        draft.says.append(f"unplug {source.name} -> {target.name}.{plug.argument}")


# -- fixed values ------------------------------------------------------------
def _fix(draft: Draft, change: Change) -> None:
    socket = draft.socket(change["socket"])
    argument = _argument(draft.topology.tasks[socket.task], socket, change["argument"])
    value = Fixed(change["value_id"], change.get("type", ""), change.get("text", ""), change.get("written", {}))
    draft.put("socket", socket.id, replace(socket, fixed={**socket.fixed, argument.name: value}))
    draft.says.append(f"fix {socket.name}.{argument.name} = {value.text}")


def _unfix(draft: Draft, change: Change) -> None:
    socket, name = draft.socket(change["socket"]), change["argument"]
    if name not in socket.fixed:
        raise WiringError(f"{socket.name}.{name} has no fixed value")
    draft.put("socket", socket.id, replace(socket, fixed={k: v for k, v in socket.fixed.items() if k != name}))
    draft.says.append(f"unfix {socket.name}.{name}")


# -- notes ---------------------------------------------------------------------
def _note(draft: Draft, change: Change) -> None:
    old = _known_note(draft, change["id"]) if change.get("id") is not None else None
    for word in ("text", "place") if old is None else ():
        if word not in change:
            raise DeclarationError(f"a new note lacks its {word}")
    text = change["text"] if "text" in change or old is None else old.text
    place = tuple(change["place"]) if "place" in change or old is None else old.place
    note = Note(old.id if old else draft.new_id(), text, place)
    draft.put("note", note.id, note)
    moved = old is not None and old.text == text
    draft.says.append(f"{'move note' if moved else 'note'} {_first_words(text)}")


def _remove_note(draft: Draft, change: Change) -> None:
    note = _known_note(draft, change["id"])
    draft.put("note", note.id, None)
    draft.says.append(f"remove note {_first_words(note.text)}")


def _known_note(draft: Draft, key: int) -> Note:
    found = draft.topology.notes.get(key)
    if found is None:
        raise WiringError(f"no note {key} is on the canvas")
    return found


def _first_words(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= 40 else f"{words[:39]}…")


_OPERATIONS: dict[str, Callable[[Draft, Change], None]] = {
    "socket": _socket,
    "remove": _remove,
    "rename": _rename,
    "position": _position,
    "move": _move,
    "stale": _stale,
    "processor": sharing.processor,
    "remove_processor": sharing.remove_processor,
    "node": sharing.node,
    "remove_node": sharing.remove_node,
    "plug": _plug,
    "unplug": _unplug,
    "replug": _replug,
    "fix": _fix,
    "unfix": _unfix,
    "schedule": schedules.schedule,
    "unschedule": schedules.unschedule,
    "group": groups.group,
    "ungroup": groups.ungroup,
    "rename_group": groups.rename,
    "note": _note,
    "remove_note": _remove_note,
}
