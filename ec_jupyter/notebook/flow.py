"""A flow in this kernel: its wiring, its calls, its life."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from ec_jupyter.client import launch, names
from ec_jupyter.client.client import Client
from ec_jupyter.client.duplicate import duplicate
from ec_jupyter.client.launch import running
from ec_jupyter.client.texts import write_text
from ec_jupyter.engine.folder import FLOWS
from ec_jupyter.engine.trust import check_links
from ec_jupyter.errors import (
    DeclarationError,
    EcError,
    FlowNotFoundError,
    GroupNotFoundError,
    SocketNotFoundError,
    by_name,
    nearest,
    unknown,
)
from ec_jupyter.flow.options import KEEP, checked_kind
from ec_jupyter.notebook import ownership
from ec_jupyter.notebook.binding import Binding
from ec_jupyter.notebook.calls import Calls
from ec_jupyter.notebook.config import settings
from ec_jupyter.notebook.edits import Editor
from ec_jupyter.notebook.joblib_offer import offer
from ec_jupyter.notebook.notes import note
from ec_jupyter.notebook.picture import html, outline
from ec_jupyter.notebook.stale import WATCH
from ec_jupyter.notebook.timing import Timing
from ec_jupyter.notebook.views import Processor, Socket
from ec_jupyter.notebook.wiring import Wiring

if TYPE_CHECKING:
    from ec_jupyter.notebook.editor import FlowEditor

_open: dict[Path, Flow] = {}
# files of a flow whose names do not begin with ``flow.`` or ``engine.``
_OTHERS = (".gitignore", "handling", ownership.RECORD)
_told: set[Path] = set()  # flows of which was said what was found


class Flow(Wiring, Timing, Calls):
    """One topology with its queue, in one folder; made by `ec_jupyter.flow`.

    Parameters
    ----------
    client : Client
        The connection to its engine.
    started : bool
        The engine was started for this flow.

    Notes
    -----
    As a context manager it closes the client at the end of the block, and ends the engine too if it
    was started for the block and is idle.
    """

    def __init__(self, client: Client, *, started: bool = False) -> None:
        self._take(client)
        # a process forked from this one ends no engine by leaving the block
        self._started = started and os.getpid()
        self._picture: FlowEditor | None = None
        self.formerly: frozenset[str | None] = frozenset()
        self.closed = False

    def _take(self, client: Client) -> None:
        self._client = client
        self._editor = Editor(client)
        self._bindings: dict[str, tuple[Mapping[str, Any], Binding]] = {}
        self._values = client.folder / "values"

    @property
    def name(self) -> str:  # type: ignore[override]
        """What people call it."""
        return self._client.name

    @property
    def folder(self) -> Path:
        """Where it lives."""
        return self._client.folder

    def __getitem__(self, name: str) -> Socket | Processor:
        """The socket of that name, ``processor.socket`` as well; else the processor."""
        topology = self._wiring
        if name not in topology["sockets"] and name in topology["processors"]:
            return Processor(self, name)
        try:
            return Socket(self, self._socket(name))
        except SocketNotFoundError:
            known = [*topology["sockets"], *topology["processors"]]
        raise unknown(SocketNotFoundError, name, known, self._elsewhere(name))

    def _elsewhere(self, name: str) -> str:
        for other in _open.values():
            if other is not self and name in other._client.topology["sockets"]:
                return f"flow {other.name!r} has one; @ec.socket(flow={self.name!r}) makes one of flow {self.name!r}"
        return ""

    def __contains__(self, name: object) -> bool:
        topology = self._wiring
        return name in topology["sockets"] or name in topology["processors"]

    def __iter__(self) -> Iterator[Socket]:
        return iter(self.sockets.values())

    # -- the picture -----------------------------------------------------------
    @property
    def editor(self) -> FlowEditor:
        """The picture of the flow, to be looked at and wired in: one widget, however often it is shown."""
        if self._picture is None:
            from ec_jupyter.notebook.editor import FlowEditor

            self._picture = FlowEditor(self)
        return self._picture

    def place(self, **positions: tuple[float, float] | None) -> None:
        """Put cards of the picture where they are to stay: x and y by socket; None lets one go where it fits."""
        places = {self._socket(name): place for name, place in positions.items()}
        if places:
            self._editor.change("position", positions=places)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """Notes on the canvas: their text, their place and the number by which `note` changes one."""
        return [dict(note) for note in self._client.topology["notes"]]

    def note(self, text: str, place: tuple[float, float] = (0.0, 0.0), *, number: int | None = None) -> None:
        """Write a note on the canvas of the picture, or (`number`) another text in the place of one; ``""`` removes it.

        Parameters
        ----------
        text : str
            What it says, in plain text of up to 4000 characters.
        place : tuple of float
            x and y of its upper left corner, in the picture's own units.
        number : int, optional
            The note that is changed.
        """
        with self._editor.edit() as edit:
            if number is None:
                edit.add("note", text=text, place=list(place))
            elif text:
                edit.add("note", id=number, text=text, place=list(place))
            else:
                edit.add("remove_note", id=number)

    def svg(self, path: str | os.PathLike[str] | None = None, *, folded: Iterable[str] = ()) -> str:
        """The picture as it is now, with its numbers, as SVG; also written to `path` if one is given.

        Parameters
        ----------
        path : path, optional
            The file.
        folded : iterable of str, optional
            Groups of which one card is drawn.

        Raises
        ------
        GroupNotFoundError, DeclarationError
            There is no such group, or the file cannot be written; none was written.
        """
        from ec_jupyter.client.drawing import svg

        counts, _ = self._client.ask("query", {"what": "counts"})
        known = self.groups
        names = [name for name in folded if by_name(known, name, GroupNotFoundError)]
        text = svg(self._client.topology, self.name, counts, seen=self._client.seen.looks, folded=names)
        if path is not None:
            write_text(path, text)
        return text

    def to_code(self) -> str:
        """The text of one cell that makes the wiring anew, in this notebook or another.

        Tasks, conditions and fixed values are written down as they were declared, with what they took along then.

        Raises
        ------
        DeclarationError
            Something cannot be written down, such as a task whose source is not known; the text names all of it.
        """
        from ec_jupyter.client.recipe import code

        own = self.folder == names.flow_folder(ownership.own_name()).resolve()
        return code(self._client.topology, self.name, "ec.flow()" if own else None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the wiring down as JSON, which `ec_jupyter.load` makes a flow of; requests and values stay here.

        Raises
        ------
        DeclarationError
            Something cannot be written down, as for `to_code`, or the file cannot be written; none was written.
        """
        write_text(path, self.to_json())

    def to_json(self) -> str:
        """What `save` writes."""
        from ec_jupyter.client.recipe import saved

        return saved(self._client.topology, self.name)

    # -- life ------------------------------------------------------------------
    def drain(self, timeout: float | None = None) -> Any:
        """Wait until nothing is queued or running, then end the engine; what is left, as `wait` tells it."""
        __tracebackhide__ = True
        left = self.wait(timeout)
        self.stop()
        return left

    def stop(self) -> None:
        """End the engine at once, if one runs; everything stays on disk, and the next use starts it again."""
        self._client.stop()

    def close(self) -> None:
        """End this kernel's connection; the flow works on."""
        if self.closed:
            return
        self.closed = True
        WATCH.forget(self)
        if "_notices" in vars(self):
            self._notices.rest()
        if self._picture is not None:
            self._picture.rest()
        if _open.get(self.folder) is self:
            del _open[self.folder]
        self._client.close()

    def _named(self, name: str, *, force: bool = False) -> Flow:
        """The same flow under another name; `Wiring.rename` without a socket."""
        folder = self.folder
        if name in self:
            raise DeclarationError(f"{name!r} is in flow {self.name!r}; to rename it write flow.rename({name!r}, NEW)")
        if folder.parent.name != FLOWS:
            raise DeclarationError(f"flow {self.name!r} has the name of its own folder {folder}; rename the folder")
        target = _beside(folder, name)
        self._leave("renamed", force=force)
        try:
            folder = folder.rename(target)
        finally:
            self._take(_connected(folder, folder.name))
            _open[folder] = self
            ownership.forget()
        return self

    def duplicate(self, name: str) -> Flow:
        """A new flow beside this one with the same wiring; its requests and the values that wait stay here.

        Tasks, conditions and fixed values are copied as they are pickled, and nothing of them is run; what is paused,
        places and notes come along. So do schedules, paused: `Schedule.resume` has one tick there, too.

        Raises
        ------
        DeclarationError
            There is a flow of that name already, or a fixed value is too large to be copied; nothing was made.
        """
        made = open_flow(name, folder=_beside(self.folder, name))
        try:
            duplicate(self.folder, made._client)
        except EcError:
            made.delete()
            raise
        return made

    def delete(self, *, force: bool = False) -> None:
        """Stop the flow and remove its folder: wiring, requests, values, everything. There is no undo.

        Parameters
        ----------
        force : bool
            Also while others use it.

        Raises
        ------
        FlowInUseError
            Others use it; nothing was removed.
        """
        folder = self.folder
        self._leave("deleted", force=force)
        self.close()
        ownership.forget()
        _told.discard(folder)
        if folder.parent.name != FLOWS:
            _remove_own(folder)
            return
        # gone at once, and then bit by bit
        away = folder.rename(folder.with_name(f".{folder.name}.{os.getpid()}"))
        shutil.rmtree(away)

    def _leave(self, what: str, *, force: bool) -> None:
        """End the engine and this kernel's connection, for something that needs the folder alone."""
        self._client.end_alone(what, force=force, hint="close it there, or say force=True")
        if self._picture is not None:
            self._picture.rest()
            self._picture = None
        self._client.close()
        _open.pop(self.folder, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.closed:
            return
        try:
            if self._started == os.getpid() and self.status()["idle"]:
                self.stop()
        finally:
            self.close()

    # -- what stays of it on the disk --------------------------------------------
    def keep(
        self, time: str | float | timedelta | None = None, *, runs: int | None = None, size: str | int | None = None,
        failed: str | float | timedelta | None = None,
    ) -> None:  # fmt: skip
        """Have ended runs go by themselves, the oldest first; what is not limited here stays for good.

        A run goes as a whole, with its requests, values and output, once all of it was done, skipped or cancelled and
        one of the limits is passed. It stays while something of it waits, while a replay of it is there, or a call of
        another run that took one of its values; so does what came to an argument that is held, or joins by ``latest``.
        One of which a call has failed stays as well, but for `failed`. Runs that begin at a socket with ``keep=``
        follow that in place of `time` and `runs`. `gc` lets go at once of what may; `kept` tells the limits.

        Parameters
        ----------
        time : str, float or timedelta, optional
            Those that have ended within so long: ``"30d"``, or seconds.
        runs : int, optional
            So many of the newest.
        size : str or int, optional
            As many as there is room for in so much of database and values: ``"2 GB"``, or bytes.
        failed : str, float or timedelta, optional
            Those of which a call has failed, where nothing has ended for so long: nobody has retried it. Whatever the
            other limits say, these go then.

        Raises
        ------
        DeclarationError
            One of them is none of that; nothing has changed.
        """
        given = {"time": time, "runs": runs, "size": size, "failed": failed}
        read = {word: KEEP[word](value, "flow.keep", word) for word, value in given.items()}
        self._client.ask("keep", {"seconds": read.pop("time"), "bytes": read.pop("size"), **read})

    def kept(self) -> dict[str, float | None]:
        """What `keep` was told last: ``time``, ``failed`` in seconds, ``runs``, ``size`` in bytes; None: no limit."""
        limits = self._client.ask("keep", {"only": True})[0]["keep"]
        return {"time": limits["seconds"], "runs": limits["runs"], "size": limits["bytes"], "failed": limits["failed"]}

    def size(self) -> int:
        """Bytes of the flow on the disk: of its database, as far as that is in use, and of its values."""
        return int(self._client.ask("keep", {"only": True})[0]["bytes"])

    def gc(self, *, dry: bool = False) -> dict[str, int]:
        """Remove the files of values that were thrown away, and what killed calls left; how many, and their bytes.

        What a request came to or was called with stays, as long as `keep` keeps the request. With `dry` nothing is
        removed: it tells what would be.
        """
        reply, _ = self._client.ask("gc", {"dry": checked_kind(dry, "dry", bool)}, timeout=None)
        return {"files": reply["files"], "bytes": reply["bytes"]}

    def clear(self) -> None:
        """Empty the flow: every request and waiting value goes, the wiring stays."""
        self._client.ask("clear", {"by": "code"}, timeout=None)

    # -- looks -----------------------------------------------------------------
    def __repr__(self) -> str:
        return outline(self._client.topology, self.name)

    def _repr_html_(self) -> str:
        return html(self._client.topology, self.name)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a flow belongs to its kernel; inside a task ec_jupyter.current() tells about the call")


def open_flow(name: str | None = None, *, folder: str | os.PathLike[str] | None = None, trust: bool = False) -> Flow:
    """What `ec_jupyter.flow` gives."""
    if name is not None:
        names.plain_name(name, "flow")
    given = Path(folder).expanduser().absolute() if folder is not None else None
    name = name or (given.name if given else ownership.own_name())
    path = given or names.flow_folder(name)
    if not trust:
        check_links(path)
    place = path.resolve()
    flow = _open.get(place)
    if flow is not None and flow._client.lost:
        # its folder was removed, moved or replaced: what is there now is another flow
        flow.close()
        flow = None
    if flow is None:
        flow = _open[place] = _opened(place, names.plain_name(name, "flow"), trust=trust)
    return flow


def known_flow(name: str | None) -> Flow:
    """The flow of that name beside the notebook, or the notebook's own; FlowNotFoundError: nobody has made it."""
    if name is not None:
        folder = names.flow_folder(names.plain_name(name, "flow"))
        if not (folder / "flow.db").is_file():
            known = [path.parent.name for path in folder.parent.glob("*/flow.db")]
            raise FlowNotFoundError(f"no flow {name!r} beside this notebook; {nearest(name, known)}")
    return open_flow(name)


def _beside(folder: Path, name: str) -> Path:
    """The folder for a new flow of that name beside another."""
    target = folder.with_name(names.plain_name(name, "flow"))
    if target.exists():
        raise DeclarationError(f"there is a flow {name!r} already in {folder.parent}")
    return target


def _remove_own(folder: Path) -> None:
    """Remove a flow from a folder that a person chose, and that may hold other things."""
    for path in folder.iterdir():
        if path.name in ("values", "inbox") and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name.split(".")[0] in ("flow", "engine") or path.name in _OTHERS:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def opened(name: str | None = None) -> Flow | None:
    """The flow of that name, or the notebook's own, if this kernel has it open."""
    return _open.get(names.flow_folder(name or ownership.own_name()).resolve())


def stop_flow(name: str | None = None) -> None:
    """End the engine of a flow, if one runs; also one that this version of the package cannot talk to."""
    flow = opened(name)
    if flow is not None:
        flow.stop()
    else:
        name = name or ownership.own_name()
        launch.stop(names.flow_folder(name).resolve(), name)


def _opened(folder: Path, name: str, *, trust: bool) -> Flow:
    """A flow, connected; says once what was found."""
    started, found = not running(folder), ownership.Found.at(folder)
    flow = Flow(_connected(folder, name, trust=trust), started=started)
    flow.formerly = frozenset((found.record.notebook, *found.record.was))
    if folder not in _told and ownership.interactive():
        _told.add(folder)
        counts, _ = flow._client.ask("query", {"what": "counts"})
        print(found.text(name, counts))  # noqa: T201 - in the cell that uses the flow first
    ownership.claim(folder, own=found.own)
    offer()
    return flow


def _connected(folder: Path, name: str, *, trust: bool = False) -> Client:
    wanted = settings()
    client = Client.open(
        folder, name, client_name=names.client_name(), linger=wanted.linger, durability=wanted.durability,
        cpus=wanted.cpus, trust=trust,
    )  # fmt: skip
    for text in client.warnings:
        note(text)
    return client
