"""The picture of a flow as a widget: shows the wiring, follows the numbers, carries out what a page asks for.

The engine holds the truth; the widget sends its snapshots on. Commands are answered in whatever thread
they arrive in: front ends with subshells send them to one of those, and they do not wait for a cell.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from ec_jupyter.client import commands, scene
from ec_jupyter.client.drawing import svg
from ec_jupyter.client.seen import Numbers
from ec_jupyter.errors import EcError, WiringError
from ec_jupyter.notebook import code_here
from ec_jupyter.notebook.output import MARK, Follower, mark, no_page
from ec_jupyter.notebook.picture import outline

if TYPE_CHECKING:
    from ec_jupyter.client.connection import EngineState
    from ec_jupyter.notebook.flow import Flow

log = logging.getLogger(__name__)

FRONT = Path(__file__).parents[1] / "static"  # where the build leaves the page's code
PARTS = ("timeline", "sources")  # what of that is loaded when it is first opened
HOW_TO_BUILD = "the editor's page is not built: run `make front` in the repository, then restart the kernel"

SHORTEST = 0.1  # seconds between two messages at least: the rate that front ends stand beside a person's own prints
# seconds between two messages at most, while somebody looks: after three a page says that the kernel is gone
BEAT = 1.0
COUNT_SECONDS = 1.0
SILENCE = 30.0  # seconds without a heartbeat after which a view is checked; a page sends one every ten seconds
GRACE = 2.0  # seconds of a free loop in which heartbeats that are waiting are read
# commands that may take a while: each has a thread, so that the next one need not wait for it
_SLOW = {"preview", "request", "svg", "code", "save", "runs", "lineage", "timeline", "past", "versions"}


class FlowEditor(anywidget.AnyWidget):
    """The picture of one flow; `flow.editor` is the one there is.

    `graph`: the wiring with the place of every card, as the page draws it; what a saved notebook keeps.
    """

    graph = traitlets.Dict().tag(sync=True)

    def __init__(self, flow: Flow) -> None:
        self._flow, self._client = flow, flow._client
        self._lock = threading.RLock()
        self._news = threading.Event()
        self._views = Onlookers(self._news.set)
        self._rewired, self._anew, self._resting = False, False, False
        self._numbers = Numbers()
        self._shown: dict[str, Any] | None = None
        self._seq = 0
        self._follower = Follower(self._data)
        self.built = (FRONT / "editor.js").exists()
        # read when it is shown: a clone without built files can be imported all the same
        self._esm = (FRONT / "editor.js").read_text() if self.built else "export default { render() {} }"
        self._css = (FRONT / "editor.css").read_text() if self.built and (FRONT / "editor.css").exists() else ""
        super().__init__(graph=self._drawn())
        self.on_msg(self._heard)
        self._life: EngineState | None = None
        self._undo = [self._client.listen(kind, self._came) for kind in ("topology", "engine")]
        self._following: list[Callable[[], None]] = []
        _start("ec-editor", self._tell_on)

    def open(self) -> None:
        """Connect to the front end; called by ipywidgets. Where no page is, the widget's code need not travel."""
        if no_page():
            return
        super().open()
        # ipykernel 7.4 sends a page's messages to the shell that published last, which is the busy one;
        # without this it leaves them to the subshell that the front end chose
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = None

    def rest(self) -> None:
        """Follow the flow no more; the picture stays as it is."""
        self._resting = True
        self._follower.rest()
        for undo in self._undo:
            undo()
        self._undo = []
        self._unfollow()
        self._news.set()

    # -- what the engine says (on the client's thread) ------------------------------
    def _came(self, header: dict[str, Any], buffers: list[bytes]) -> None:
        match header:
            case {"k": "topology"}:
                self._rewired = True
            case {"k": "engine", "state": "running"}:
                # another engine: it may have been wired meanwhile, and its numbers are told anew
                self._rewired = self._anew = True
            case {"k": "counts"}:
                self._numbers.pushed(header)
        self._news.set()

    # -- what the page says (on whatever thread it comes) -----------------------------
    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        kind = content.get("k") if isinstance(content, dict) else None
        if kind in ("hello", "look", "here"):
            self._looked(str(content.get("view", "")), kind, visible=bool(content.get("visible", True)))
        elif kind == "command" and str(content.get("op")) in _SLOW:
            _start("ec-editor-answer", self._answer, content)
        elif kind == "command":
            self._answer(content)

    def _looked(self, view: str, kind: str, *, visible: bool) -> None:
        if not visible:
            self._views.away(view)
        elif not self._views.here(view) and kind == "here":
            # it is there still, and has all the numbers
            return
        else:
            self._anew = True
        self._news.set()

    def _answer(self, content: dict[str, Any]) -> None:
        op = str(content.get("op"))
        try:
            answer = commands.answer(self._client, op, content.get("args"), self._own())
        except Exception as error:
            # a page without an answer would believe the kernel busy for ever
            log.exception("command %s", op)
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        self._say({"k": "answer", "id": content.get("id"), **answer})

    def _own(self) -> dict[str, commands.Op]:
        """What a picture beside a kernel does by itself, or in another way than one without."""
        return {
            "code": lambda client, args: {"text": self._flow.to_code()},
            "svg": lambda client, args: {"text": self._still(args.get("folded") or ())},
            "part": lambda client, args: {"text": _part(args.get("name"))},
            **code_here.ops(self._flow),
        }

    def _say(self, content: dict[str, Any]) -> None:
        with self._lock:
            self.send(content)

    # -- telling it on (on a thread of its own) ---------------------------------------
    def _tell_on(self) -> None:
        while not self._resting:
            self._news.wait(BEAT if self._views else None)
            self._news.clear()
            began = time.monotonic()
            try:
                self._tell()
            except Exception:
                # a picture that cannot be told is no reason to let it stand still for good
                log.exception("picture of flow %s", self._flow.name)
            time.sleep(max(0.0, SHORTEST - (time.monotonic() - began)))

    def _tell(self) -> None:
        if self._resting:
            return
        if self._rewired:
            self._rewired = False
            drawn = self._drawn()
            with self._lock:
                self.graph = drawn
        self._views.sweep()
        if not self._views:
            self._unfollow()
            return
        self._tell_life()
        if self._numbers.newest is None or self._anew:
            self._follow()
        counts = self._numbers.newest
        if counts is None:
            return
        anew, self._anew = self._anew, False
        self._seq += 1
        before = None if anew else self._shown
        message = scene.metrics(counts, before, self._seq)
        if self._client.connected:
            message["time"] = time.time()
        self._shown = counts
        self._say({"k": "metrics", **message})

    def _tell_life(self) -> None:
        """How the engine is, when that is news; each second while it does not run, so that a page hears somebody."""
        life = self._client.life
        if self._anew or life != self._life or life.state != "running":
            self._life = life
            self._say(life.header())

    def _follow(self) -> None:
        """Have the engine tell its numbers from now on, and what they are."""
        if not self._following:
            self._following = [self._client.listen(kind, self._came) for kind in ("counts", "picture")]
        self._ask()

    def _unfollow(self) -> None:
        """Nobody looks: the engine need not count for this picture."""
        following, self._following = self._following, []
        for undo in following:
            undo()

    def _ask(self) -> None:
        """Ask for the counts as of now, where there is an engine: a mere look does not start one."""
        if not self._client.connected:
            return
        try:
            self._numbers.ask(self._client, COUNT_SECONDS)
        except (EcError, TimeoutError) as error:
            log.warning("counts of flow %s: %s", self._flow.name, error)

    def _drawn(self) -> dict[str, Any]:
        return scene.graph(self._client.topology, self._flow.name)

    # -- what an output keeps -----------------------------------------------------------
    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget where a page may show it, a still picture for everybody else, and the wiring as text."""
        if not self.built or no_page():
            return self._data(), {}
        self.open()
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **self._data()}, metadata

    def _ipython_display_(self) -> None:
        if not no_page():
            # a page keeps the output up to date by itself
            raise NotImplementedError
        self._follower.show()

    def _data(self) -> dict[str, Any]:
        model = self.model_id if self.comm is not None and self.built and not no_page() else None
        return {
            MARK: mark(self._flow.name, self._flow.folder, model),
            "image/svg+xml": self._still(),
            "text/plain": repr(self),
        }

    def _still(self, folded: Collection[str] = ()) -> str:
        if not self._resting:
            self._ask()
        footer = "" if self.built else HOW_TO_BUILD
        numbers, looks = self._numbers.newest, self._client.seen.looks
        return svg(self._client.topology, self._flow.name, numbers, footer, looks, folded)

    def __repr__(self) -> str:
        return outline(self._client.topology, self._flow.name)


# -- who looks -----------------------------------------------------------------
class Onlookers:
    """The open views."""

    def __init__(self, left: Callable[[], None]) -> None:
        self._left = left  # called when a view was given up
        self._views: dict[str, tuple[float, asyncio.AbstractEventLoop | None]] = {}

    def __bool__(self) -> bool:
        return bool(self._views)

    def here(self, view: str) -> bool:
        """Note a heartbeat of a view; whether the view is new. Called in the loop that reads the page's messages."""
        new = view not in self._views
        self._views[view] = (time.monotonic(), _loop())
        return new

    def away(self, view: str) -> None:
        """Remove a view."""
        self._views.pop(view, None)

    def sweep(self) -> None:
        """Remove the views that a reload, a closed window or a lost network ended without a message."""
        now = time.monotonic()
        for view, (heard, loop) in list(self._views.items()):
            if now - heard < SILENCE:
                continue
            # its heartbeat may wait behind a cell that computes: the loop that would read it removes the view
            self._views[view] = (now, loop)
            try:
                if loop is None:
                    self._drop(view, now)
                else:
                    loop.call_soon_threadsafe(loop.call_later, GRACE, self._drop, view, now)
            except RuntimeError:
                # that loop is closed: the page's subshell is gone, and so is the page
                self._drop(view, now)

    def _drop(self, view: str, asked: float) -> None:
        if self._views.get(view, (None,))[0] == asked:
            self.away(view)
            self._left()


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


# -- the page's code -------------------------------------------------------------
def _part(name: Any) -> str:
    """The text of a part of the page that is loaded when it is first opened."""
    if name not in PARTS:
        raise WiringError(f"the page has no part {name!r}; known: {', '.join(PARTS)}")
    return (FRONT / f"{name}.js").read_text()


def _start(name: str, target: Callable[..., None], *arguments: Any) -> None:
    """Run something on a thread of its own, in the caller's context: ipykernel 7.0 sends nothing from another."""
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(target, *arguments), name=name, daemon=True).start()
