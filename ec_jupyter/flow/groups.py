"""Edits of groups: sockets under one name, which a picture folds to one card. Pure.

A group is what its sockets say of themselves: a socket is in one at most, and without sockets there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ec_jupyter.errors import DeclarationError, GroupNotFoundError, WiringError, by_name
from ec_jupyter.flow.draft import SAID, Change, Draft, check_name
from ec_jupyter.model import Socket


def group(draft: Draft, change: Change) -> None:
    """Put sockets into a group, which is made if there is none; they leave the one that they were in."""
    name = check_name("group", change["name"])
    if not change["sockets"]:
        raise DeclarationError(f"group {name!r} has no sockets; name those that it is to hold")
    sockets = [draft.socket(one) for one in dict.fromkeys(change["sockets"])]
    _put(draft, sockets, name)
    draft.says.append(f"group {name}: {_said(sockets)}")


def ungroup(draft: Draft, change: Change) -> None:
    """Take sockets out of a group, or all of them, which dissolves it."""
    name = change["name"]
    inside = _members(draft, name)
    sockets = [draft.socket(one) for one in change.get("sockets") or ()]
    for socket in sockets:
        if socket.group != name:
            raise WiringError(f"socket {socket.name!r} is not in group {name!r}, which has {', '.join(sorted(inside))}")
    _put(draft, sockets or inside.values(), None)
    draft.says.append(f"ungroup {name}" + (f": {_said(sockets)}" if sockets else ""))


def rename(draft: Draft, change: Change) -> None:
    """Give a group another name."""
    name, to = change["name"], check_name("group", change["to"])
    inside = _members(draft, name)
    if to in draft.topology.groups:
        raise DeclarationError(f"there is a group {to!r} already")
    _put(draft, inside.values(), to)
    draft.says.append(f"rename group {name} to {to}")


def _members(draft: Draft, name: str) -> dict[str, Socket]:
    return {socket.name: socket for socket in by_name(draft.topology.groups, name, GroupNotFoundError)}


def _said(sockets: Sequence[Socket]) -> str:
    return ", ".join(socket.name for socket in sockets) if len(sockets) <= SAID else f"{len(sockets)} sockets"


def _put(draft: Draft, sockets: Iterable[Socket], name: str | None) -> None:
    for socket in sockets:
        draft.put("socket", socket.id, replace(socket, group=name))
