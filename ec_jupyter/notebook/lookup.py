"""What a flow is made of, found by the names that people give: of what is in force, or what an open edit has made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ec_jupyter.errors import SocketNotFoundError, WiringError, nearest, unknown
from ec_jupyter.flow.rows import View
from ec_jupyter.notebook.edits import Editor
from ec_jupyter.notebook.parts import check_own
from ec_jupyter.notebook.views import Plug, Processor, Socket

if TYPE_CHECKING:
    from ec_jupyter.client.client import Client
    from ec_jupyter.notebook.flow import Flow


class Lookup:
    """What `Flow` knows of its own wiring."""

    _client: Client
    _editor: Editor

    @property
    def _flow(self) -> Flow:
        return cast("Flow", self)

    @property
    def _wiring(self) -> View:
        """The wiring as whoever edits sees it: with what a `with flow.edit():` around the call has changed so far."""
        return self._editor.wiring

    @property
    def sockets(self) -> dict[str, Socket]:
        """Sockets by name."""
        return {name: Socket(self._flow, name) for name in self._wiring["sockets"]}

    @property
    def processors(self) -> dict[str, Processor]:
        """Processors by name."""
        return {name: Processor(self._flow, name) for name in self._wiring["processors"]}

    @property
    def plugs(self) -> list[Plug]:
        """Plugs in force, oldest first."""
        return [Plug(self._flow, record) for record in self._wiring["plugs"]]

    @property
    def revision(self) -> int:
        """Number of the last edit."""
        return int(self._client.topology["revision"])

    def _socket(self, target: str | Socket | Callable[..., Any]) -> str:
        """Name of a socket given by name, as ``processor.socket``, as `Socket` or as its function."""
        return self._among(self._wiring["sockets"], target)

    def _in_force(self, target: str | Socket | Callable[..., Any]) -> str:
        """The same for what is done at once, whatever an edit around it is going to change."""
        known = self._client.topology["sockets"]
        if type(target) is str and target in known:
            return target
        try:
            return self._among(known, target)
        except SocketNotFoundError:
            if not self._editor.collecting:
                raise
            name = self._socket(target)
        raise SocketNotFoundError(f"socket {name!r} is there once its `with flow.edit():` has ended; use it after that")

    def _among(self, known: Mapping[str, Any], target: str | Socket | Callable[..., Any]) -> str:
        check_own(self._flow, [target])
        name = target if isinstance(target, str) else getattr(target, "name", getattr(target, "__name__", str(target)))
        if name in known:
            return name
        processor, dot, rest = name.partition(".")
        if dot and known.get(rest, {}).get("processor") == processor:
            return rest
        raise unknown(SocketNotFoundError, name, known, self._elsewhere(name))

    def _elsewhere(self, name: str) -> str:
        return ""

    def _port(self, target: str | Socket | Callable[..., Any]) -> tuple[str, str | None]:
        """Socket and argument of ``socket``, ``socket.argument`` or ``processor.socket.argument``."""
        if not isinstance(target, str):
            return self._socket(target), None
        head, dot, last = target.rpartition(".")
        if not dot or target in self._wiring["sockets"] or self._owned(target):
            return self._socket(target), None
        socket = self._socket(head)
        return socket, self._argument(socket, last)

    def _outlet(self, source: str | Socket | Callable[..., Any]) -> tuple[str, str | None]:
        """Socket and part of its result of ``socket``, ``socket.part`` or ``processor.socket.part``."""
        if not isinstance(source, str) or source in self._wiring["sockets"] or self._owned(source):
            return self._socket(source), None
        head, dot, part = source.rpartition(".")
        return (self._socket(head), part) if dot and part.isidentifier() else (self._socket(source), None)

    def _owned(self, target: str) -> bool:
        processor, _, rest = target.partition(".")
        return bool(self._wiring["sockets"].get(rest, {}).get("processor") == processor)

    def _argument(self, socket: str, argument: str) -> str:
        known = [p["name"] for p in self._wiring["sockets"][socket]["task"]["signature"]]
        if argument in known:
            return argument
        raise WiringError(f"{socket!r} has no argument {argument!r}; {nearest(argument, known)}")
