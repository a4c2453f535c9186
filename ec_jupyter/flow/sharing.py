"""Edits of nodes and of the processors that share their CPUs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ec_jupyter.errors import DeclarationError, NodeNotFoundError, ProcessorNotFoundError, WiringError, by_name, unknown
from ec_jupyter.flow.draft import Change, Draft, check_name
from ec_jupyter.flow.placement import caps
from ec_jupyter.model import LOCAL, MAIN, REUSED, Node, Processor, Socket

_NODE_WORDS = ("host", "cpus", "python", "ssh", "ask", "lease", "requirements", "kind", "tls")


# -- processors --------------------------------------------------------------
def processor_of(draft: Draft, name: str, cpus: int | None) -> None:
    """Make the processor that a socket names, or check that its CPUs are those that the socket gives."""
    known = draft.topology.processors.get(name)
    if known is None:
        processor(draft, {"name": name, "cpus": cpus})
    elif cpus is not None and known.cpus != cpus:
        has = f"has {known.cpus}" if known.cpus else "has all of the node's"
        has = "has, on its nodes," if len(known.nodes) > 1 else has
        raise DeclarationError(
            f"processor {name!r} {has} CPUs, not {cpus}; change it with %ec_processor {name} --cpus {cpus}"
        )


def processor(draft: Draft, change: Change) -> None:
    """Make or change a processor."""
    name = check_name("processor", change["name"])
    old = draft.topology.processors.get(name) or Processor(name)
    given: dict[str, Any] = {k: change[k] for k in ("cpus", "memory", "affinity") if k in change}
    if change.get("weight") is not None:
        given["weight"] = change["weight"]
    if given.get("affinity") is not None:
        given["affinity"] = _bound(name, tuple(given["affinity"]), draft.limits.here)
    record = replace(old, **given)
    if "nodes" in change:
        record = _placed(draft, record, change["nodes"] or {}, given.get("cpus"))
    elif len(record.nodes) > 1 and given.get("cpus") is not None:
        raise DeclarationError(
            f"processor {name!r} is on {', '.join(record.nodes)}; say how many CPUs on each: "
            f"flow.processor({name!r}, nodes={{{', '.join(f'{node!r}: N' for node in record.nodes)}}})"
        )
    _warn_of_more(draft, record)
    away = [node for node in record.nodes if node != LOCAL]
    if away and given.get("affinity"):
        draft.warnings.append(
            f"affinity= of processor {name!r} is of this machine's CPUs; on {', '.join(away)} it binds nothing"
        )
    draft.put("processor", name, record)
    for socket in draft.topology.sockets.values():
        if socket.processor == name and not socket.parked and (record.cpus, record.nodes) != (old.cpus, old.nodes):
            check_place(draft, socket)
    draft.says.append(f"processor {name}" + (f" on {', '.join(record.nodes)}" if record.nodes else ""))


def _bound(name: str, wanted: tuple[int, ...], here: Sequence[int]) -> tuple[int, ...] | None:
    """The CPUs that a processor's workers are bound to; None where they are not bound."""
    strange = [str(cpu) for cpu in wanted if here and cpu not in here]
    if strange:
        raise DeclarationError(
            f"processor {name!r}: affinity= names CPU {', '.join(strange)}, "
            f"which the flow may not use or the machine has not; there are {', '.join(map(str, here))}"
        )
    return wanted or None


def _placed(draft: Draft, record: Processor, wanted: dict[str, int | None], cpus: int | None) -> Processor:
    """The processor on these nodes; `cpus` is the limit on a single node, each of several has its own."""
    for node in wanted:
        if node != LOCAL and node not in draft.topology.nodes:
            raise unknown(NodeNotFoundError, node, [LOCAL, *draft.topology.nodes])
    if len(wanted) < 2:
        return _alone(record, wanted)
    if cpus is not None:
        raise DeclarationError(
            f"processor {record.name!r} is to be on {', '.join(wanted)}: say how many CPUs on each, "
            f"as in nodes={{{', '.join(f'{node!r}: {cpus}' for node in wanted)}}}"
        )
    return replace(record, nodes=wanted, cpus=None)


def _alone(record: Processor, wanted: dict[str, int | None]) -> Processor:
    for count in wanted.values():
        record = replace(record, cpus=record.cpus if count is None else count)
    return replace(record, nodes={node: None for node in wanted if node != LOCAL})


def _warn_of_more(draft: Draft, record: Processor) -> None:
    lent = draft.limits.lent
    for node, cpus in caps(record, {}).items():
        if lent.get(node) and cpus > lent[node]:
            draft.warnings.append(
                f"processor {record.name!r} may use {cpus} CPUs and node {node!r} has {lent[node]}; "
                "no more than that run at once"
            )


def remove_processor(draft: Draft, change: Change) -> None:
    """Remove a processor that no socket uses."""
    name = change["name"]
    by_name(draft.topology.processors, name, ProcessorNotFoundError)
    if name == MAIN:
        raise WiringError("processor 'main' is always there; sockets that name no other are on it")
    used = [s.name for s in draft.topology.sockets.values() if s.processor == name and not s.parked]
    if used:
        raise WiringError(f"processor {name!r} runs {', '.join(sorted(used))}; move or remove them first")
    draft.put("processor", name, None)
    draft.says.append(f"remove processor {name}")


def check_place(draft: Draft, socket: Socket) -> None:
    """Refuse a socket whose calls could never run on any node of its processor, or not on all of them.

    Raises DeclarationError: names the node that cannot, or the processor that allows no more CPUs there.
    """
    record = draft.topology.processors[socket.processor]
    for name in record.nodes if socket.fresh or socket.concurrent > 1 else ():
        title = None if name == LOCAL else draft.limits.without_processes(draft.topology.nodes[name].kind)
        if title is not None:
            raise DeclarationError(
                f"node {name!r} of processor {record.name!r} is {title}, where {_lacking(socket)}; "
                "give it a processor on this machine or on one behind SSH"
            )
    lent = {**draft.limits.lent, **{n.name: n.cpus for n in draft.topology.nodes.values() if n.cpus}}
    most = caps(record, lent)
    # a processor at 0 is stopped for a while; a node that has not been reached yet may have any number
    most = {node: cpus or lent.get(node, 0) for node, cpus in most.items()}
    if any(cpus == 0 or socket.threads <= cpus for cpus in most.values()):
        return
    takes = f"a call of {socket.name!r} takes {socket.threads} CPUs and"
    if len(most) > 1:
        there = ", ".join(f"{node}: {cpus}" for node, cpus in most.items())
        raise DeclarationError(f"{takes} no node of processor {record.name!r} has them ({there}): it could never run")
    ((node, cpus),) = most.items()
    whose = f"processor {record.name!r}" if record.cpus and record.cpus == cpus else f"node {node!r}"
    raise DeclarationError(f"{takes} {whose} has {cpus}: it could never run")


def _lacking(socket: Socket) -> str:
    if socket.fresh:
        return f"a call of {socket.name!r} cannot have a process of its own (fresh=True)"
    return f"calls of {socket.name!r} cannot share one (concurrent={socket.concurrent})"


# -- nodes -------------------------------------------------------------------
def node(draft: Draft, change: Change) -> None:
    """Make or change a node."""
    name = check_name("node", change["name"])
    if name == LOCAL:
        raise DeclarationError("node 'local' is this machine, and there already; its CPUs: %config EC.cpus = N")
    if name == REUSED:
        raise DeclarationError(f"{name!r} says of a call that its result was there already; give the node another name")
    old = draft.topology.nodes.get(name) or Node(name, name)
    given = {k: change[k] for k in _NODE_WORDS if k in change and (change[k] is not None or k == "cpus")}
    for word in ("ssh", "requirements", "tls"):
        if word in given:
            given[word] = tuple(given[word])
    record = replace(old, **given)
    _check_node(record)
    draft.put("node", name, record)
    for socket in draft.topology.sockets.values():
        if not socket.parked and name in draft.topology.processors[socket.processor].nodes:
            check_place(draft, socket)
    draft.says.append(f"node {name}" + (f" at {record.host}" if record.host != name else ""))


def _check_node(record: Node) -> None:
    # ssh would take it for an option, and options can run commands here
    if not record.host or record.host.startswith("-") or any(c.isspace() for c in record.host):
        raise DeclarationError(f"node {record.name!r}: {record.host!r} is no host; write user@host or a name ssh knows")
    if not record.ssh:
        raise DeclarationError(f"node {record.name!r}: ssh names no command")


def remove_node(draft: Draft, change: Change) -> None:
    """Remove a node; processors that have other nodes stay on those."""
    name = change["name"]
    if name == LOCAL:
        raise WiringError(f"node {name!r} is this machine, and always there")
    by_name(draft.topology.nodes, name, NodeNotFoundError)
    on = [p for p in draft.topology.processors.values() if name in p.nodes]
    alone = sorted(p.name for p in on if len(p.nodes) == 1)
    if alone:
        raise WiringError(
            f"node {name!r} is the only one of processor {', '.join(alone)}; "
            f"move it first: %ec_processor {alone[0]} --node local"
        )
    for record in on:
        rest = {node: cpus for node, cpus in record.nodes.items() if node != name}
        moved = replace(record, nodes=rest) if len(rest) > 1 else _alone(record, rest)
        draft.put("processor", record.name, moved)
    draft.put("node", name, None)
    draft.says.append(f"remove node {name}")
