"""Several plugs at a word: pipelines, parts beside each other, what comes together; they make sockets and plugs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ec_jupyter.errors import SocketNotFoundError, WiringError
from ec_jupyter.flow.options import shown
from ec_jupyter.notebook.parts import Part
from ec_jupyter.notebook.views import Socket

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow


@dataclass(frozen=True)
class Composition:
    """Sockets that are wired together, to be wired on: a part of a further `pipeline`, `parallel`, `funnel` or `each`.

    Attributes
    ----------
    text : str
        What is wired to what.
    inputs : tuple of str
        Where values come in: sockets, or ``socket.argument``.
    outputs : tuple of str
        Sockets whose results go on.
    flow : Flow
        Where it is.
    sockets : tuple of str
        Its sockets, without those of a group within it.
    split, gather : bool
        What comes in is split, an element a call; what goes on is gathered, a list for the whole.
    """

    text: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flow: Flow
    sockets: tuple[str, ...]
    split: bool = False
    gather: bool = False

    def __repr__(self) -> str:
        return f"<{self.text}>"


Piece = str | Socket | Composition | Callable[..., Any]


def pipeline(*parts: Piece, flow: Flow | str | None = None, group: str | None = None) -> Composition:
    """Plug each part into the next: what one gives is what the next one gets.

    Parameters
    ----------
    *parts : str, Socket, function or Composition
        Two or more, in order. ``"socket.argument"`` names the argument that is fed; else it is the first. A function
        that is no task yet becomes one. Several outputs go to the arguments of one socket in order, as `funnel` says;
        one output goes to several inputs.
    flow : Flow or str, optional
        Where, if no part tells; the notebook's own, if left out.
    group : str, optional
        Name of a group to put its sockets into, which the picture folds to one card; `Flow.group`. A group within it
        stays one of its own.

    Returns
    -------
    Composition
        The whole.

    Raises
    ------
    WiringError, SocketNotFoundError, CycleError
        Two parts do not fit; nothing was plugged.

    Examples
    --------
    >>> ec.pipeline("load", ec.parallel("clean", "count"), "report")
    """
    if len(parts) < 2:
        raise WiringError(f"pipeline takes two parts or more, not {len(parts)}")
    where = _flow(parts, flow)
    with where.edit():
        pieces = [_piece(where, part) for part in parts]
        for before, after in pairwise(pieces):
            _join(where, before, after)
        first, last = pieces[0], pieces[-1]
        text = " -> ".join(map(_inside, pieces))
        inside = _sockets(where, pieces, group)
    return Composition(text, first.inputs, last.outputs, where, inside, first.split, last.gather)


def parallel(*parts: Piece, flow: Flow | str | None = None, group: str | None = None) -> Composition:
    """Parts beside each other: in a `pipeline` all of them get what comes before, and what they give goes on together.

    Parameters
    ----------
    *parts : str, Socket, function or Composition
        One or more.
    flow, group : optional
        As for `pipeline`.

    Examples
    --------
    >>> ec.pipeline("load", ec.parallel("clean", "count"), "report")
    """
    if not parts:
        raise WiringError("parallel takes one part or more")
    where = _flow(parts, flow)
    with where.edit():
        pieces = [_piece(where, part) for part in parts]
        if any(piece.split or piece.gather for piece in pieces):
            raise WiringError("parallel takes no each(...); put it around: each(parallel(...))")
        inside = _sockets(where, pieces, group)
    inputs = tuple(one for piece in pieces for one in piece.inputs)
    outputs = tuple(one for piece in pieces for one in piece.outputs)
    return Composition(f"({' | '.join(map(_inside, pieces))})", inputs, outputs, where, inside)


def funnel(
    *sources: Piece, into: Piece, flow: Flow | str | None = None, group: str | None = None, **named: Piece
) -> Composition:
    """Plug several parts into one socket, each into an argument of its own: in order, or by name.

    Parameters
    ----------
    *sources : str, Socket, function or Composition
        What feeds the first arguments, in order.
    into : str, Socket, function or Composition
        What is fed.
    flow, group : optional
        As for `pipeline`.
    **named
        What feeds the argument of that name.

    Raises
    ------
    WiringError
        There are more sources than arguments; nothing was plugged.

    Examples
    --------
    >>> ec.funnel("clean", "count", into="report")
    >>> ec.funnel(total="count", table="clean", into="report")
    """
    if not (sources or named):
        raise WiringError("funnel takes what is to come together: funnel(one, two, into=target)")
    where = _flow((*sources, *named.values(), into), flow)
    with where.edit():
        target = _piece(where, into)
        if len(target.inputs) != 1:
            raise WiringError(f"funnel leads into one socket, not into {target!r}")
        pieces = [_piece(where, source) for source in sources]
        by_name = {argument: _piece(where, source) for argument, source in named.items()}
        if pieces:
            _funnel(where, pieces, target)
        for argument, piece in by_name.items():
            _feed(where, piece, f"{target.inputs[0]}.{argument}")
        feeding = (*pieces, *by_name.values())
        inside = _sockets(where, (*feeding, target), group)
    inputs = tuple(one for piece in feeding for one in piece.inputs)
    text = f"({', '.join(map(_inside, feeding))}) -> {_inside(target)}"
    return Composition(text, inputs, target.outputs, where, inside, gather=target.gather)


def each(
    part: Piece, items: Piece | None = None, *, flow: Flow | str | None = None, group: str | None = None
) -> Composition:
    """A part that is called for each element of what comes in; what its calls give goes on as one list, in order.

    Parameters
    ----------
    part : str, Socket, function or Composition
        What is called.
    items : str, Socket, function or Composition, optional
        What gives the elements, and is plugged at once; else what stands before it in a `pipeline`.
    flow, group : optional
        As for `pipeline`.

    Raises
    ------
    WiringError
        The items are values: calls of them are ``flow.map(part, items)``.

    Examples
    --------
    >>> ec.pipeline("list_files", ec.each("clean"), "report")
    """
    if items is not None and not isinstance(items, (str, Part, Composition)) and not callable(items):
        values = isinstance(items, Iterable)
        way = "; for the calls of some values there is flow.map" if values else ""
        raise WiringError(f"each takes a socket that gives the items, not {shown(items)}{way}")
    where = _flow((part,) if items is None else (part, items), flow)
    with where.edit():
        piece = _piece(where, part)
        made = replace(piece, text=f"each({_inside(piece)})", split=True, gather=True)
        if items is None:
            return replace(made, sockets=_sockets(where, [piece], group))
        source = _piece(where, items)
        _join(where, source, made)
        inside = _sockets(where, [source, piece], group)
    text = f"{_inside(source)} -> {made.text}"
    return Composition(text, source.inputs, made.outputs, where, inside, source.split, gather=True)


# -- parts ---------------------------------------------------------------------
def _flow(parts: Iterable[Any], flow: Flow | str | None) -> Flow:
    """Where parts are: where one says that it is."""
    from ec_jupyter.notebook.flow import open_flow

    if flow is not None and not isinstance(flow, str):
        return flow
    found = [part.flow for part in parts if isinstance(part, (Socket, Composition))]
    return found[0] if found and flow is None else open_flow(flow)


def _piece(flow: Flow, part: Any) -> Composition:
    """A part as a composition; a function that is no task yet becomes one."""
    if isinstance(part, Composition):
        if part.flow is not flow:
            raise WiringError(f"{part!r} is of flow {part.flow.name!r}, not of flow {flow.name!r}")
        return part
    if not isinstance(part, (str, Socket)) and not callable(part):
        raise WiringError(f"a part is a socket, its name or a function, not {shown(part)}")
    try:
        name, argument = flow._port(part)
    except SocketNotFoundError:
        if isinstance(part, (str, Socket)):
            raise
        name, argument = flow.declare(part).name, None
    return Composition(name, (name if argument is None else f"{name}.{argument}",), (name,), flow, (name,))


def _sockets(flow: Flow, pieces: Iterable[Composition], group: str | None) -> tuple[str, ...]:
    """The sockets of some parts; none of them once they are in a group of their own."""
    found = tuple(dict.fromkeys(name for piece in pieces for name in piece.sockets))
    if group is None:
        return found
    flow.group(group, *found)
    return ()


def _inside(piece: Composition) -> str:
    return f"({piece.text})" if " -> " in piece.text and not piece.text.startswith(("(", "each(")) else piece.text


def _join(flow: Flow, before: Composition, after: Composition) -> None:
    """Plug what one part gives into what the next one gets."""
    if len(before.outputs) > 1 and len(after.inputs) > 1:
        raise WiringError(
            f"{len(before.outputs)} results of {before!r} do not tell which of {len(after.inputs)} inputs of {after!r} "
            "they are for; plug them one by one, or put a socket between"
        )
    if len(before.outputs) > 1:
        _funnel(flow, [before], after)
        return
    for end in after.inputs:
        _feed(flow, before, end, split=after.split)


def _funnel(flow: Flow, sources: list[Composition], target: Composition) -> None:
    """Plug several results into arguments of one socket, in order."""
    (end,) = target.inputs
    name, first = flow._port(end)
    signature = flow._wiring["sockets"][name]["task"]["signature"]
    known = [one["name"] for one in signature if not one["kind"].startswith("VAR_")]
    known = known[known.index(first) :] if first is not None else known
    ends = [(source, output) for source in sources for output in source.outputs]
    if len(ends) > len(known):
        takes = "1 argument" if len(known) == 1 else f"{len(known)} arguments"
        raise WiringError(
            f"{len(ends)} results come to {name!r}, which takes {takes}; give it one for each, or plug them one by one"
        )
    if target.split:
        raise WiringError(f"{len(ends)} results come to {target!r}, which is called for each element of one")
    for (source, output), argument in zip(ends, known, strict=False):
        _feed(flow, replace(source, outputs=(output,)), f"{name}.{argument}")


def _feed(flow: Flow, source: Composition, end: str, *, split: bool = False) -> None:
    if len(source.outputs) != 1:
        raise WiringError(f"{source!r} gives {len(source.outputs)} results, and {end!r} takes one")
    flow.plug(source.outputs[0], end, map=split, gather=source.gather)
