"""Value previews: values as text for the picture, made by workers of their own and never in the engine.

The workers are outside the processors' limits, so that a preview waits for no call. They start with the first
preview and end when none was asked for in a while.
"""

from __future__ import annotations

import io
import json
import logging
import pickle
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ec_jupyter.engine.core import Core
from ec_jupyter.engine.job import StoredValue, argument_value
from ec_jupyter.engine.looks import Batch, Kept, Newest, batch
from ec_jupyter.engine.parts import Asker
from ec_jupyter.engine.requests import record
from ec_jupyter.engine.value_locator import ValueLocator
from ec_jupyter.engine.waits import arrived
from ec_jupyter.errors import EcError, EngineError, RequestNotFoundError
from ec_jupyter.nodes.cpus import available
from ec_jupyter.nodes.local.agent import Agent
from ec_jupyter.nodes.worker.look import look
from ec_jupyter.wire import Block, Call, Header, Outcome, Value

log = logging.getLogger(__name__)

NAME = "preview"
WORKERS = 2  # one that is stuck in somebody's repr must not keep the others from looking
IDLE_SECONDS = 60.0
PREVIEW_SECONDS = 10.0
PREVIEW_BYTES = 2 << 30
FIRST_PREVIEW = 1 << 60  # its workers name what they run beside the flow's: no request has such a number
LOOK_CHARACTERS = 100_000  # what a worker may say of one value: more than `rich.BUNDLE_BYTES`, and less than would hurt
ELEMENTS = 200  # elements of a list or a generator that a preview shows; the text would hold no more
_TASK = pickle.dumps(look)


@dataclass(slots=True)
class _Asked:
    """A question, who asked it, and the parts of its answer so far.

    `key` is what it is kept by: the value's identity, if it is asked for a picture. `batch`
    has the values in which a text is looked for.
    """

    askers: list[tuple[Asker, Header, dict[str, Any]]]
    type: str
    size: int
    more: int
    key: tuple[int, ...] | None
    batch: Batch | None = None
    pieces: list[str] = field(default_factory=list)


class ValuePreview:
    """Makes previews."""

    def __init__(self, core: Core, locator: ValueLocator, folder: Path, runtime: Path, workdir: Path) -> None:
        self._core, self._locator = core, locator
        self.agent = self._opened(folder, runtime, workdir)
        self._numbers = count(FIRST_PREVIEW)
        self._asked: dict[int, _Asked] = {}
        self._under_way: dict[tuple[int, ...], _Asked] = {}
        self._kept = Kept()
        self.newest = Newest(core)  # the newest result of each socket that a picture shows
        self._trouble = ""

    def _opened(self, folder: Path, runtime: Path, workdir: Path) -> Agent:
        return Agent(
            self, name=NAME, cpus=WORKERS, folder=folder, runtime=runtime, epoch=self._core.epoch, workdir=workdir,
            idle=IDLE_SECONDS,
        )  # fmt: skip

    async def start(self) -> None:
        """Make ready; no worker starts yet."""
        await self.agent.start()
        # all CPUs: it is short, and wherever there is room
        self.agent.processor(NAME, WORKERS, available())

    def ask(self, client: Asker, header: Header) -> None:
        """Let a worker make a preview; the answer follows.

        One for a picture (``rich``) is made once for a value, however many ask for it, and kept for a while. Raises
        RequestNotFoundError: there is no such value; SocketNotFoundError: there is no such socket.
        """
        if header.get("find") is not None:
            self._find(client, header)
            return
        whose: dict[str, Any] = {}
        if header.get("socket") is not None and header.get("request") is None:
            whose = {"request": self.newest.of(header["socket"])}
        kind, stored, elements = self._value({**header, **whose})
        whose |= elements
        key = tuple(one.id for one in stored) if header.get("rich") and not header.get("json") else None
        if key is not None:
            known, asked = self._kept.get(key), self._under_way.get(key)
            if known is not None:
                client.reply({**known, **whose}, to=header)
                return
            if asked is not None:
                asked.askers.append((client, header, whose))
                return
        if any(one.place == "gone" for one in stored):
            raise RequestNotFoundError("the value was thrown away, and flow.gc() has removed its file")
        self._send((client, header, whose), kind, stored, key)

    def _send(
        self, asker: tuple[Asker, Header, dict[str, Any]], kind: str, stored: list[StoredValue],
        key: tuple[int, ...] | None,
    ) -> None:  # fmt: skip
        """Give the question to a worker, once the value is here."""
        number, header = next(self._numbers), asker[1]
        shown = stored[:ELEMENTS] if kind == "l" else stored
        how, parts = argument_value(kind, shown)
        values = [one.value for one in parts]
        name = "list" if kind == "l" else stored[0].value.type
        size = sum(one.value.size for one in stored)
        self._asked[number] = asked = _Asked([asker], name, size, len(stored) - len(shown), key)
        if key is not None:
            self._under_way[key] = asked
        plain = bool(header.get("json")) and len(shown) == len(stored)
        call = _call(number, how, values, plain=plain, rich=key is not None)
        self._locator.miss(value.file for value in values if value.file is not None)
        names = self._locator.lacking(values)
        if names:
            self._locator.fetch(names, lambda error: self._here(call, error))
        else:
            self.agent.assign(NAME, [call])

    def _find(self, client: Asker, header: Header) -> None:
        """Have a worker look for a text in the next batch of a socket's results."""
        among = batch(self._core, header)
        number = next(self._numbers)
        self._asked[number] = _Asked([(client, header, {})], "", 0, 0, None, among)
        if among.pickles:
            self.agent.assign(NAME, [_call(number, "v", [_packed(among.pickles, "list")], find=str(header["find"]))])
        else:
            self._tell(self._asked.pop(number), "")

    def _here(self, call: Call, error: EcError | None) -> None:
        """A value was fetched, or is lost."""
        if error is None:
            self.agent.assign(NAME, [call])
        else:
            self._tell(self._asked.pop(call.request), str(error))

    def _value(self, header: Header) -> tuple[str, list[StoredValue], dict[str, Any]]:
        """Kind of an argument, its values, and of a generator's call, which of how many elements it is."""
        if header.get("arrival") is not None:
            return *_kinded(arrived(self._core, int(header["arrival"]))), {}
        request = int(header["request"])
        socket, arguments, state, result = record(self._core, request, "socket, arguments, state, result")
        if header.get("argument") is not None:
            return *self._argument(request, header["argument"], socket, json.loads(arguments)), {}
        if result is None and header.get("rich"):
            return self._element(request, state, header.get("element"))
        return *self._result(request, state, result), {}

    def _argument(self, request: int, name: str, socket: int, table: dict[str, Any]) -> tuple[str, list[StoredValue]]:
        of = self._core.topology.sockets[socket]
        if name in table:
            kind, ids, _ = table[name]
            found = self._core.values.load(ids)
            return kind, [found[i] for i in ids]
        if name in of.fixed:
            return "v", [self._core.fixed[of.fixed[name].value]]
        raise RequestNotFoundError(f"request {request} of {of.name!r} has no value for {name!r}")

    def _result(self, request: int, state: str, result: int | None) -> tuple[str, list[StoredValue]]:
        if result is not None:
            return _kinded(self._core.values.load([result])[result])
        emitted = self._core.values.emitted(request)
        if not emitted and state != "done":
            raise RequestNotFoundError(f"request {request} has no result: it is {state}")
        return "l", emitted

    def _element(self, request: int, state: str, at: int | None) -> tuple[str, list[StoredValue], dict[str, Any]]:
        """An element of what a generator gave, the last one if `at` is None."""
        n, last = self._core.store.db.execute(
            'SELECT count(*), max("index") FROM emission WHERE request = ?', (request,)
        ).fetchone()
        if not n:
            return *self._result(request, state, None), {}
        at = last if at is None else min(at, last)
        (value,) = self._core.store.db.execute(
            'SELECT value FROM emission WHERE request = ? AND "index" = ?', (request, at)
        ).fetchone()
        return *_kinded(self._core.values.load([value])[value]), {"element": at, "elements": n}

    # -- what the agent says (nodes.agent.Listener) -----------------------------
    def blob(self, sha256: str) -> bytes:
        """The function that shows a value."""
        return _TASK

    def yielded(self, request: int, attempt: int, first: int, values: list[Value]) -> None:
        """Take parts of an answer."""
        asked = self._asked.get(request)
        if asked is not None:
            try:
                asked.pieces += [_text(value) for value in values]
            except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError) as error:
                log.warning("preview: what a worker says cannot be read: %s", error)

    def finished(self, outcomes: list[Outcome]) -> None:
        """An answer is complete, or there is none."""
        for outcome in outcomes:
            asked = self._asked.pop(outcome.request, None)
            if asked is not None:
                error = outcome.error or {}
                self._tell(asked, f"{error.get('message', '')}" if outcome.state == "failed" else "")

    def done(self, block: Block) -> None:
        """Answers are complete."""
        self.finished(block.outcomes())

    def died(self, request: int, attempt: int, text: str) -> None:
        """The value ended the worker that read it."""
        asked = self._asked.pop(request, None)
        if asked is not None:
            self._tell(asked, f"the worker that looked at it died: {text}")

    def returned(self, requests: list[int]) -> None:
        """No worker could be started."""
        for request in requests:
            asked = self._asked.pop(request, None)
            if asked is not None:
                error = EngineError(f"no worker can be started to show the value: {self._trouble}")
                self._under_way.pop(asked.key or (), None)
                for client, header, _ in asked.askers:
                    client.refuse(error, to=header)

    def trouble(self, processor: str, text: str) -> None:
        """Why no worker starts."""
        log.error("preview: %s", text)
        self._trouble = text

    def started(self, request: int, attempt: int, at: float, slot: int, pid: int) -> None:
        """Nothing shows when a preview began."""

    def output(self, request: int, stream: str, text: str) -> None:
        """Drop what a repr prints."""

    def progress(self, request: int, done: float, total: float | None, text: str) -> None:
        """A preview is too short for that."""

    def room(self, processor: str) -> None:
        """The agent has its own queue."""

    def _tell(self, asked: _Asked, trouble: str) -> None:
        if asked.batch is not None:
            _told_of(asked.batch, asked, trouble)
            return
        facts = json.loads(asked.pieces[0]) if asked.pieces else {"text": f"cannot be shown: {trouble}"}
        text = f"{facts['text']} and {asked.more} more" if asked.more else facts["text"]
        reply = {"text": text, "type": facts.get("type") or asked.type, "size": asked.size}
        rest = "".join(asked.pieces[1:])
        if asked.key is not None:
            self._under_way.pop(asked.key, None)
            # not read here: who shows it looks at it with care
            reply["look"] = rest if not trouble and len(rest) <= LOOK_CHARACTERS else ""
            if not trouble:
                self._kept.keep(asked.key, reply, len(text) + len(rest) + 200)
        for client, header, whose in asked.askers:
            more = {"json": None if trouble else rest or None} if header.get("json") else {}
            client.reply({**reply, **whose, **more}, to=header)


def _kinded(stored: StoredValue) -> tuple[str, list[StoredValue]]:
    return ("e" if stored.place == "error" else "v"), [stored]


def _call(number: int, how: str, values: list[Value], **flags: Any) -> Call:
    given = [(name, "v", [_packed(value, type(value).__name__)]) for name, value in flags.items()]
    limits = {"timeout": PREVIEW_SECONDS, "memory": PREVIEW_BYTES}
    return Call.of(number, 1, 0, [("value", how, values), *given], task=NAME, socket=NAME, **limits)


def _packed(value: Any, kind: str) -> Value:
    data = pickle.dumps(value)
    return Value(data, None, len(data), kind)


def _told_of(batch: Batch, asked: _Asked, trouble: str) -> None:
    """Answer where a text is in a batch, if it is there."""
    found = json.loads(asked.pieces[0])["at"] if asked.pieces else None
    hit = batch.requests[found] if type(found) is int and 0 <= found < len(batch.requests) else None
    answer = {"request": hit, "until": None if hit else batch.until, "large": batch.large}
    for client, header, _ in asked.askers:
        if trouble:
            client.refuse(EngineError(f"the values cannot be looked through: {trouble}"), to=header)
        else:
            client.reply(answer, to=header)


class _Strict(pickle.Unpickler):
    """Reads plain text only: a worker that a user's value has taken over can run nothing here."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} in the text of a value")


def _text(value: Value) -> str:
    return str(_Strict(io.BytesIO(value.data or b"")).load())
