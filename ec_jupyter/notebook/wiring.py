"""The half of a flow that wires: sockets, plugs, processors, fixed values, groups, and several changes as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from ec_jupyter.client import names
from ec_jupyter.client.recipe import grouped
from ec_jupyter.client.texts import clock_text
from ec_jupyter.client.texts import shown as shown_row
from ec_jupyter.errors import ArgumentsError, DeclarationError, ProcessorNotFoundError, WiringError, by_name, nearest
from ec_jupyter.flow.options import shown
from ec_jupyter.notebook.edits import Edit, Editor, Receipt
from ec_jupyter.notebook.identity import being_defined
from ec_jupyter.notebook.lookup import Lookup
from ec_jupyter.notebook.nodes import Node, Nodes
from ec_jupyter.notebook.notes import note
from ec_jupyter.notebook.parts import check_own
from ec_jupyter.notebook.shipping import Shipment, ship, shipped
from ec_jupyter.notebook.stale import WATCH
from ec_jupyter.notebook.tables import Table
from ec_jupyter.notebook.unworked import Unworked
from ec_jupyter.notebook.views import Plug, Processor, Socket, SocketOptions
from ec_jupyter.notebook.written import written

if TYPE_CHECKING:
    from ec_jupyter.client.client import Client
    from ec_jupyter.notebook.flow import Flow

_F = TypeVar("_F", bound=Callable[..., Any])


class Wiring(Nodes, Lookup):
    """What `Flow` can do to its own topology."""

    _client: Client
    _editor: Editor
    _values: Path
    name: str

    # -- declaring -------------------------------------------------------------
    @overload
    def socket(  # type: ignore[overload-overlap]
        self, task: Unworked, /, name: str, **options: Unpack[SocketOptions]
    ) -> Socket: ...
    @overload
    def socket(self, task: _F, /, name: str | None = None, **options: Unpack[SocketOptions]) -> _F: ...
    @overload
    def socket(
        self, task: str | None = None, /, *, name: str | None = None, **options: Unpack[SocketOptions]
    ) -> Callable[[_F], _F]: ...
    def socket(self, task: Any = None, /, name: str | None = None, **options: Unpack[SocketOptions]) -> Any:
        """Decorator that makes a function the task of a socket; the function stays what it is.

        Parameters
        ----------
        task : function, ask, sleep or str, optional
            The task; or the name, where this stands above the function. Of what no worker runs (`ec_jupyter.ask`,
            `ec_jupyter.sleep`) the socket is returned.
        name : str, optional
            Name of the socket; the function's own if left out.
        **options
            See `SocketOptions`.

        Examples
        --------
        >>> @flow.socket(processor="maths", retries=2)
        ... def add(one, two):
        ...     return one + two
        >>> flow.socket(ec.ask("Approve?", choices=["yes", "no"]), name="approve")
        """
        if callable(task):
            with being_defined(task):
                made = self.declare(task, name, **options)
            return made if isinstance(task, Unworked) else task
        name = name if task is None else task

        def declared(task: _F) -> _F:
            with being_defined(task):
                self.declare(task, name, **options)
            return task

        return declared

    def declare(self, task: Callable[..., Any], name: str | None = None, /, **options: Unpack[SocketOptions]) -> Socket:
        """Make `task` the task of a socket; what `socket` does, for a function that is there already.

        Returns
        -------
        Socket
            The same one, with a new version of its task, where the name is taken.

        Raises
        ------
        DeclarationError
            The name or an option is none, or the task has no readable arguments.
        TaskNotPicklableError
            The task takes something along that cannot travel.
        """
        unknown = set(options) - SocketOptions.__annotations__.keys()
        if unknown:
            wrong = min(unknown)
            raise DeclarationError(f"a socket has no option {wrong!r}; {nearest(wrong, SocketOptions.__annotations__)}")
        if name is None and isinstance(task, Unworked):
            raise DeclarationError(f"a socket that {task.does} needs a name: flow.socket(ec.{task!r}, name='...')")
        name = names.socket_name(name or str(getattr(task, "__name__", type(task).__name__)))
        if "processor" in options:
            names.plain_name(options["processor"], "processor")
        if isinstance(task, Unworked) and "signature" in options:
            raise DeclarationError(f"socket {name!r} {task.does}, so signature= has no meaning; {task.hint}")
        shipment = ship(task, name, options.pop("signature", None), self._values.parent.parent.parent)
        for text in (*shipment.warnings, *self._taken(name, shipment)):
            note(text)
        with self._editor.edit() as edit:
            blob = edit.buffer(shipment.blob)
            client = names.client_name()
            words: dict[str, Any] = {**options, "key": shipped(options.get("key"), "key", "value", name, edit)}
            edit.add("socket", name=name, **words, task=shipment.record, blob=blob, client=client)
            edit.after(lambda: WATCH.note(self._flow, name, task, shipment))
        return Socket(self._flow, name)

    def refresh(self) -> list[Socket]:
        """Declare this notebook's tasks anew where what they use has changed: a module, a value, the environment.

        What running their cells again would do, without that.

        Returns
        -------
        list of Socket
            Those that have a new version now.
        """
        versions = {name: self._wiring["sockets"][name]["task"]["version"] for name in WATCH.tasks(self._flow)}
        with self._editor.edit():
            for name, (task, given) in WATCH.tasks(self._flow).items():
                options: SocketOptions = {} if given is None else {"signature": given}
                self.declare(task, name, **options)
        there = self._wiring["sockets"]
        return [Socket(self._flow, name) for name, n in versions.items() if there[name]["task"]["version"] != n]

    def _taken(self, name: str, shipment: Shipment) -> list[str]:
        """What to say where another notebook registered this socket last."""
        there = self._wiring["sockets"].get(name, {}).get("task")
        owner, mine = (there or {}).get("client", ""), names.client_name()
        if there is None or there["identity"] == shipment.record["identity"]:
            return []
        if owner == mine and WATCH.moved(self._flow, name):
            return [f"socket {name!r} comes from another cell now"]
        if names.is_this_notebook(owner, self._flow.formerly):
            return []
        return [f"socket {name!r} was registered by {owner!r}, and from now on by {mine!r}"]

    def processor(
        self,
        name: str,
        *,
        cpus: int | None = None,
        memory: int | str | None = None,
        affinity: Sequence[int] | None = None,
        nodes: str | Iterable[str] | Mapping[str, int | None] | None = None,
        weight: float | None = None,
    ) -> Processor:
        """The processor of that name, made or changed by what is given.

        Parameters
        ----------
        name : str
            Letters, digits, ``_`` and ``-``.
        cpus : int, optional
            How many CPUs' worth of its calls may run.
        memory : int or str, optional
            Bytes a worker of it may hold, or a size such as ``"512 MiB"``.
        affinity : sequence of int, optional
            CPUs of this machine its workers are bound to.
        nodes : str, sequence of str or mapping, optional
            Where its calls run: a node, several, or each with the CPUs it may use there (None: all it lends).
        weight : float, optional
            Its share of the turns where more of its calls and of other processors' wait than a node has CPUs, from
            0.001 to 1000 (1).

        Raises
        ------
        ProcessorNotFoundError
            There is none and nothing says what it should be.
        NodeNotFoundError
            There is no such node.
        """
        given: dict[str, Any] = {"cpus": cpus, "memory": memory}
        given |= {"affinity": affinity, "nodes": nodes, "weight": weight}
        given = {key: value for key, value in given.items() if value is not None}
        known = self._wiring["processors"]
        if not given:
            by_name(known, name, ProcessorNotFoundError)
            return Processor(self._flow, name)
        names.plain_name(name, "processor")
        self._editor.change("processor", name=name, **given)
        return Processor(self._flow, name)

    # -- plugging --------------------------------------------------------------
    def plug(  # noqa: PLR0913 - what it does, by name
        self,
        source: str | Socket | Callable[..., Any],
        target: str | Socket | Callable[..., Any],
        *,
        argument: str | None = None,
        on: str = "result",
        map: bool = False,
        gather: bool | str = False,
        when: str | Callable[[Any], Any] | None = None,
        pick: str | int | slice | Callable[[Any], Any] | None = None,
        cycle: bool = False,
        hops: int | None = None,
    ) -> Plug:
        """Feed what `source` gives to an argument of `target`.

        Parameters
        ----------
        source : str, Socket or function
            Whose results, or failures, it carries; ``"socket.part"`` for a part, as `pick` names it.
        target : str, Socket or function
            ``"socket.argument"``, or ``"socket"`` for its first argument.
        argument : str, optional
            Another way to name the argument.
        on : {"result", "error"}
            What it carries.
        map : bool
            One arrival per element of the result.
        gather : bool or "done"
            The elements of one split become one list; ``"done"`` does not wait for failed ones.
        when : str or callable, optional
            Condition: an expression over ``result``, or a function of it; of ``on="error"``, it is the failure.
        pick : str, int, slice or callable, optional
            The part of the result that it carries: a name (a key, an attribute, or a result of `out`), a number, a
            slice, an expression over ``result``, or a function of it. What is `SKIP` is not carried.
        cycle : bool
            The plug may close a cycle.
        hops : int, optional
            Of a cycle: how many calls in a row may lead to one of it, from the submit on (10,000). The next one fails
            with `CycleError`.

        Returns
        -------
        Plug
            The one that is there already, if this is the same.

        Raises
        ------
        SocketNotFoundError, WiringError, CycleError
            The plug cannot be; nothing has changed.
        """
        start, part = self._outlet(source)
        if part is not None and pick is not None:
            raise WiringError(f"{source!r} names a part, and so does pick=; say it once")
        end, port = self._port(target)
        port = port if argument is None else self._argument(end, argument)
        with self._editor.edit() as edit:
            functions = {"when": when, "pick": pick if part is None else part}
            shipments = {word: shipped(one, word, "result", start, edit) for word, one in functions.items()}
            ends = {"source": start, "target": end, "argument": port, "on": on}
            edit.add("plug", **ends, map=map, gather=gather, **shipments, cycle=cycle, hops=hops)
        return Plug.between(self._flow, start, end, port, on)

    def unplug(
        self,
        source: str | Socket | Callable[..., Any],
        target: str | Socket | Callable[..., Any],
        *,
        argument: str | None = None,
        on: str = "result",
    ) -> None:
        """Take a plug away; what has arrived through it stays where it is."""
        start, _ = self._outlet(source)
        end, port = self._port(target)
        port = port if argument is None else self._argument(end, argument)
        self._editor.change("unplug", source=start, target=end, argument=port, on=on)

    def replug(
        self, plug: Plug, target: str | Socket | Callable[..., Any] | None = None, *, on: str | None = None
    ) -> Plug:
        """Have a plug lead to another target, or carry the other of results and failures; the rest of it stays.

        Parameters
        ----------
        plug : Plug
            The one that is there.
        target : str, Socket or function, optional
            ``"socket.argument"``, or ``"socket"`` for its first argument.
        on : {"result", "error"}, optional
            What it carries from now on.

        Raises
        ------
        SocketNotFoundError, WiringError, CycleError
            The plug cannot be; nothing has changed.
        """
        if not isinstance(plug, Plug):
            raise ArgumentsError(f"flow.replug takes a plug, as flow.plugs has them, not {shown(plug)}")
        end, port = (plug.target, plug.argument) if target is None else self._port(target)
        carries = on or plug.on
        ends = {"source": plug.source, "target": plug.target, "argument": plug.argument, "on": plug.on}
        self._editor.change("replug", **ends, to_target=end, to_argument=port, to_on=carries)
        return Plug.between(self._flow, plug.source, end, port, carries)

    def fix(self, socket: str | Socket | Callable[..., Any], **arguments: Any) -> None:
        """Give arguments a value in the wiring: used where nothing is plugged, instead of the default."""
        name = self._socket(socket)
        if not arguments:
            raise ArgumentsError(f"say what is fixed: flow.fix({name!r}, argument=value)")
        with self._editor.edit() as edit:
            for argument, value in arguments.items():
                self._argument(name, argument)
                edit.add("fix", socket=name, argument=argument, **self._fixed(value, argument, edit))

    def _fixed(self, value: Any, argument: str, edit: Edit) -> dict[str, Any]:
        packed = self._client.dump(value, f"value for {argument!r}")
        place = edit.buffer(packed.data) if packed.data is not None else packed.head()
        return {"value": place, "type": packed.type, "text": repr(value)[:200], "written": written(value)}

    def unfix(self, socket: str | Socket | Callable[..., Any], *arguments: str) -> None:
        """Take fixed values away: those named, or all."""
        name = self._socket(socket)
        with self._editor.edit() as edit:
            for argument in arguments or self._wiring["sockets"][name]["fixed"]:
                edit.add("unfix", socket=name, argument=self._argument(name, argument))

    def remove(self, name: str | Socket | Processor | Node, *, force: bool = False) -> None:
        """Take a socket, a processor or a node away.

        Parameters
        ----------
        name : str, Socket, Processor or Node
            What to remove.
        force : bool
            Remove a socket even where requests wait at it; they stay on disk while undo can bring it back.
        """
        check_own(self._flow, [name])
        word, wiring = name if isinstance(name, str) else str(getattr(name, "name", name)), self._wiring
        nodes = [] if word in wiring["sockets"] else [node["name"] for node in wiring["nodes"]]
        with self._editor.edit() as edit:
            if isinstance(name, Processor) or (word in wiring["processors"] and word not in wiring["sockets"]):
                edit.add("remove_processor", name=word)
            elif isinstance(name, Node) or word in nodes:
                edit.add("remove_node", name=word)
            else:
                edit.add("remove", name=self._socket(word), force=force)

    @overload
    def rename(self, socket: str, /, *, force: bool = ...) -> Flow: ...
    @overload
    def rename(self, socket: str | Socket | Callable[..., Any], to: str) -> Socket: ...
    def rename(
        self, socket: str | Socket | Callable[..., Any], to: str | None = None, *, force: bool = False
    ) -> Socket | Flow:
        """The same socket under another name, ``rename("old", "new")``; or the flow itself, ``rename("name")``.

        Plugs and requests stay. For the flow itself the engine is stopped and the folder renamed; calls that
        run are run again.

        Parameters
        ----------
        socket : str, Socket or function
            The socket; with nothing else, the new name of the flow.
        to : str, optional
            The socket's new name.
        force : bool
            Rename the flow also while others use it.

        Raises
        ------
        DeclarationError
            The name cannot be had.
        FlowInUseError
            Others use the flow.
        """
        if to is None:
            return self._flow._named(str(socket), force=force)
        name, new = self._socket(socket), names.socket_name(to)
        with self._editor.edit() as edit:
            edit.add("rename", name=name, to=new)
            edit.after(lambda: WATCH.renamed(self._flow, name, new))
        return Socket(self._flow, new)

    # -- groups ----------------------------------------------------------------
    @property
    def groups(self) -> dict[str, list[str]]:
        """Names of the sockets in each group; a socket is in one at most."""
        return grouped(self._wiring["sockets"])

    def group(self, name: str, *sockets: str | Socket | Callable[..., Any]) -> None:
        """Put sockets into a group, which is made if there is none; the picture shows it as a frame and folds it.

        Parameters
        ----------
        name : str
            Letters, digits, ``_`` and ``-``.
        *sockets : str, Socket or function
            One or more; they leave the group that they were in, and one that is left empty is gone.

        Raises
        ------
        SocketNotFoundError, DeclarationError
            There is no such socket, or the name is none; nothing has changed.

        Examples
        --------
        >>> flow.group("fit", "load", "clean", "fit_all")
        """
        names.plain_name(name, "group")
        inside = [self._socket(socket) for socket in sockets]
        self._editor.change("group", name=name, sockets=inside)

    def ungroup(self, name: str, *sockets: str | Socket | Callable[..., Any]) -> None:
        """Take sockets out of a group, or dissolve it if none is named; the sockets stay.

        Raises
        ------
        GroupNotFoundError, WiringError
            There is no such group, or the socket is not in it.
        """
        outside = [self._socket(socket) for socket in sockets]
        self._editor.change("ungroup", name=name, sockets=outside)

    def rename_group(self, name: str, to: str) -> None:
        """Give a group another name.

        Raises
        ------
        GroupNotFoundError, DeclarationError
            There is no such group, or the name is taken or none.
        """
        names.plain_name(to, "group")
        self._editor.change("rename_group", name=name, to=to)

    # -- edits -----------------------------------------------------------------
    def edit(self, *, dry: bool = False) -> AbstractContextManager[Edit]:
        """Make the changes inside one: all in force at the end of the block, or none if it raises.

        Parameters
        ----------
        dry : bool
            Make none of them: the `Edit` tells what they would do.

        Examples
        --------
        >>> with flow.edit(dry=True) as change:
        ...     flow.unplug("load", "clean")
        >>> change.receipt
        dry run: 120 to 'clean', 80 of 'load' to nothing, 0 lost
        """
        return self._editor.edit(dry=dry)

    @property
    def receipt(self) -> Receipt | None:
        """What the last edit made here did to what was under way; None before any."""
        return self._editor.receipt

    def undo(self) -> str:
        """Take the last edit back; its text.

        Raises
        ------
        RevisionError
            There is none, or what it touched was changed since. Or the last thing done, here or in another notebook,
            is a discard, a supplied value, a cancelled call or an emptied flow, which cannot be undone: the next undo
            takes back the edit before it.
        """
        return self._step("undo")

    def redo(self) -> str:
        """Make the edit that was taken back last; its text."""
        return self._step("redo")

    def _step(self, way: str) -> str:
        reply = self._client.ask(way, {"by": "code"})[0]
        self._editor.seen(reply["revision"])
        self._editor.receipt = Receipt(**reply["receipt"])
        for text in reply["warnings"]:
            note(text)
        return str(reply["text"])

    def history(self) -> Table:
        """Edits of the flow, oldest first."""
        reply, _ = self._client.ask("history")
        rows = [shown_row(row, time=clock_text) for row in reply["rows"]]
        return Table(rows, ["n", "text", "time", "undone"])
