"""Remote calls between a client and its engine: questions and answers, submits and their numbers, pushes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, suppress
from itertools import count
from typing import Any, overload

from ec_jupyter.client.connection import Connection, EngineState, Owner
from ec_jupyter.client.result_futures import ResultFutures, Row, ranges
from ec_jupyter.client.transport import Question, Transport
from ec_jupyter.client.waits import Deadline
from ec_jupyter.engine.submit_records import ROW, read_told
from ec_jupyter.errors import EcError, EngineLostError, from_wire
from ec_jupyter.flow.rows import merged
from ec_jupyter.wire import Header, encode

log = logging.getLogger(__name__)

# what the engine pushes only to those who ask for it; of "picture" nothing comes: it says that one is looked at
_ON_DEMAND = frozenset({"counts", "output", "picture"})

LOOK_SECONDS = 0.1  # how long a mere look at a number that the engine has not told yet may take

Push = Callable[[Header, list[bytes]], None]


class Rpc(Owner):
    """The open questions of a client, however many engines it takes until they are answered."""

    name: str  # the flow's name
    topology: dict[str, Any]  # the wiring as the engine last showed it

    def _reset_rpc(self) -> None:
        """Start with no open questions."""
        self._numbers = count(1)
        self._questions: dict[int, Question] = {}
        self._submits: dict[int, Accepted] = {}
        self._futures = ResultFutures(self._ask_results, self._read_until)
        self._listeners: dict[str, list[Push]] = {}
        self._kinds: set[str] = set()
        self._gone: EcError | None = None
        self._connection = Connection(self, self.name)
        self._lock = self._connection.lock
        self._handlers: dict[str, Push] = {
            "ok": self._on_answer, "told": self._on_told, "accepted": self._on_accepted, "listed": self._on_listed,
            "error": self._on_error, "bye": self._on_bye, "results": self._on_results, "finished": self._on_results,
        }  # fmt: skip

    def _on_line(self, transport: Transport) -> None:
        """Tell a new engine of what was submitted."""
        raise NotImplementedError

    def _all_accepted(self) -> None:
        """Every submit has been answered."""
        raise NotImplementedError

    # -- the connection --------------------------------------------------------
    def _on_connected(self, transport: Transport) -> None:
        """Ask the open questions again."""
        self._on_line(transport)
        if self._kinds:
            transport.send(encode({"k": "subscribe", "n": 0, "kinds": sorted(self._kinds)}))
        for n in sorted(self._questions):
            question = self._questions[n]
            transport.send(encode({**question.header, "again": True}, question.buffers))
        if asked := self._futures.open():
            transport.send(encode({"k": "wait", "ranges": asked}))

    def _read_until(self, ready: Callable[[], bool], deadline: float | None) -> None:
        self._connection.read_until(ready, deadline, alone=len(self._submits) + len(self._questions) == 1)

    def _awaited(self, request: int) -> Future[Row]:
        try:
            return self._futures.future(request)
        except BaseException as error:
            if not isinstance(error, Exception):
                # interrupted, it may be noted as asked for and not have been: on a new line all of that is asked again
                self._connection.renew()
            raise

    def reading(self) -> AbstractContextManager[None]:
        """Have the running event loop read the connection, for as long as something waits in it."""
        return self._connection.looper.reading(self._connection.transport)

    def _on_state(self, life: EngineState) -> None:
        self._tell_listeners(life.header(), [])

    @property
    def life(self) -> EngineState:
        """How the engine is; changes are pushes of the kind ``engine``."""
        return self._connection.life

    @property
    def trouble(self) -> str:
        """Why an answer may be late."""
        return self._connection.trouble()

    def _fail_pending(self, error: EcError, upto: int | None = None) -> None:
        """Fail the open questions, up to frame `upto` if it is given."""
        with self._lock:
            told = [self._questions.pop(n, None) for n in list(self._questions) if upto is None or n <= upto]
            questions = [question for question in told if question is not None]
            # what was submitted is in the log all the same: whoever asks again asks the next engine
            submits = [one for n, one in list(self._submits.items()) if upto is None or n <= upto]
            for submit in submits:
                submit.failed = error
            self._connection.notify()
        for question in questions:
            question.resolve(error)
        for submit in submits:
            submit.settle()
        self._futures.fail(error)

    @property
    def connected(self) -> bool:
        """Whether an engine is connected at this moment; a question would find or start one."""
        return self._connection.transport is not None

    def _send_frame(self, frame: bytes) -> None:
        """Send a frame; without a transport it is sent again on the next one."""
        if self._connection.closed:
            raise self._connection.closed_error()
        if self._connection.transport is not None:
            self._connection.transport.send(frame)
        else:
            self._connection.connect_soon()

    def _wait(self, question: Question, timeout: float | None) -> tuple[Header, list[bytes]]:
        deadline = Deadline(timeout)
        if question.answer is None:
            self._read_until(lambda: question.answer is not None, deadline.end)
        left = deadline.left
        if not question.lock.acquire(timeout=-1 if left is None else left):
            how = self._connection.trouble()
            raise TimeoutError(f"{how}: {question.header['k']!r} has no answer after {timeout:g} s")
        question.lock.release()
        if isinstance(question.answer, EcError):
            raise question.answer
        assert question.answer is not None
        return question.answer

    def _wait_accepted(self, accepted: Accepted, timeout: float | None) -> None:
        """Return once a submit is answered; raises what keeps the answer from coming."""
        deadline, accepted.failed = Deadline(timeout), None

        def known() -> bool:
            return accepted.answer is not None or accepted.failed is not None

        self._ask_again()
        self._read_until(known, deadline.end)
        if not known() and not self._connection.wait_for(known, deadline):
            raise TimeoutError(f"{self._connection.trouble()}: a submit has no answer after {timeout:g} s")
        if accepted.answer is None and accepted.failed is not None:
            raise accepted.failed

    def _when_accepted(self, accepted: Accepted) -> Future[None]:
        future = accepted.future = accepted.future or Future()
        if accepted.answer is not None:
            # it may have come just before
            accepted.settle()
        else:
            self._ask_again()
        return future

    def _ask_again(self) -> None:
        """Have the engine that answers submits, if there is none."""
        if self._connection.transport is None:
            if self._connection.closed:
                raise self._connection.closed_error()
            self._connection.connect_soon()

    # -- what comes in -------------------------------------------------------
    def _on_frame(self, header: Header, buffers: list[bytes]) -> None:
        self._handlers.get(header["k"], self._on_push)(header, buffers)

    def _on_told(self, header: Header, buffers: list[bytes]) -> None:
        """Take the number and the result of a call that came alone."""
        self._connection.note_answer()
        n, request, value = read_told(buffers[0])
        self._futures.told(request, value)
        self._settle(n, range(request, request + 1))
        self._noted()

    def _on_accepted(self, header: Header, buffers: list[bytes]) -> None:
        """Take the numbers of requests: of submits that follow on each other, of as many calls each."""
        self._connection.note_answer()
        for n, submits, calls, first in ROW.iter_unpack(buffers[0]):
            self._note_row(n, submits, calls, first)
        self._noted()

    def _on_listed(self, header: Header, buffers: list[bytes]) -> None:
        """Take the numbers of requests that do not follow on each other."""
        self._connection.note_answer()
        for n, ids in header["lists"]:
            self._note(n, ids)
            self._settle(n, ids)
        self._noted()

    def _note_row(self, n: int, submits: int, calls: int, first: int) -> None:
        self._note(n, range(first, first + submits * calls))
        for number in range(n, n + submits):
            self._settle(number, range(first, first + calls))
            first += calls

    def _note(self, n: int, requests: Sequence[int]) -> None:
        """Note requests that submits from `n` on have led to: their results were asked for, or none of them."""
        accepted = self._submits.get(n)
        note = self._futures.accepted if accepted is None or not accepted.watched else self._futures.watched
        note(requests)

    def _settle(self, n: int, answer: Sequence[int] | EcError) -> None:
        accepted = self._submits.pop(n, None)
        if accepted is None or not accepted.take(n, answer):
            return
        if accepted.future is not None:
            accepted.settle()

    def _noted(self) -> None:
        with self._lock:
            self._connection.notify()
            if not self._submits:
                self._all_accepted()

    def _on_results(self, header: Header, buffers: list[bytes]) -> None:
        self._connection.note_answer()
        self._futures.receive(header, buffers)

    def _on_error(self, header: Header, buffers: list[bytes]) -> None:
        n, error = header.get("n", 0), from_wire(header["error"])
        question = self._questions.pop(n, None)
        if question is not None:
            question.resolve(error)
        elif n in self._submits:
            self._settle(n, error)
            self._noted()

    def _on_bye(self, header: Header, buffers: list[bytes]) -> None:
        if "error" in header:
            self._gone = from_wire(header["error"])
            self._connection.disconnect("failed", str(self._gone))
            self._fail_pending(self._gone)
        else:
            self._on_stopped(header.get("taken", 0))

    def _on_stopped(self, taken: int) -> None:
        """The engine was asked to end, and did not see what was asked after frame `taken`: that is for the next."""
        self._connection.disconnect("stopped", "the engine was stopped; the next call starts it")
        text = f"flow {self.name!r} was stopped; its requests stay on disk and go on with the next call"
        self._fail_pending(EngineLostError(text), taken)
        if self._questions or any(n > taken for n in list(self._submits)):
            self._connection.connect_soon()

    def _on_push(self, header: Header, buffers: list[bytes]) -> None:
        if header["k"] == "topology":
            self.topology = merged(self.topology, header["changes"])
        if "stalled" in header:
            self._connection.stall(header["stalled"], from_wire(header["error"]) if "error" in header else None)
        self._tell_listeners(header, buffers)

    def _tell_listeners(self, header: Header, buffers: list[bytes]) -> None:
        for listener in list(self._listeners.get(header["k"], ())):
            try:
                listener(header, buffers)
            except Exception:
                # an error in one listener must not end the connection for the others
                log.exception("listener for %s", header["k"])

    def _on_answer(self, header: Header, buffers: list[bytes]) -> None:
        question = self._questions.pop(header.get("n", 0), None)
        self._connection.note_answer()
        if question is None:
            return
        if question.header["k"] == "stop":
            self._on_stopped(question.n)
        question.resolve((header, buffers))

    # -- what a caller does ----------------------------------------------------
    def ask(
        self, kind: str, header: Header | None = None, buffers: Sequence[bytes] = (), *, timeout: float | None = 60
    ) -> tuple[Header, list[bytes]]:
        """Ask the engine and wait for its answer.

        Raises EcError: what the engine refused, or that it cannot be reached; TimeoutError: no answer within `timeout`
        seconds; the question still stands.
        """
        return self._wait(self._send(kind, header or {}, buffers), timeout)

    def _send(self, kind: str, header: Header, buffers: Sequence[bytes] = ()) -> Question:
        """Send a question, on the next transport if there is none; returns at once."""
        with self._lock:
            question = self._question(kind, header, buffers)
            try:
                self._questions[question.n] = question
                self._send_frame(question.frame)
            except BaseException:
                self._questions.pop(question.n, None)
                raise
        return question

    def _question(self, kind: str, header: Header, buffers: Sequence[bytes]) -> Question:
        if self._connection.closed:
            raise self._connection.closed_error()
        n = next(self._numbers)
        done = {"done": min([*self._questions, *self._submits], default=n)} if n % 64 == 0 else {}
        return Question({**header, "k": kind, "n": n, **done}, buffers)

    def _ask_results(self, requests: list[int]) -> None:
        with self._lock:
            self._send_frame(encode({"k": "wait", "ranges": ranges(sorted(requests))}))

    def listen(self, kind: str, callback: Push) -> Callable[[], None]:
        """Call `callback(header, buffers)` on the client's thread for each push of a kind; returns its undo."""
        with self._lock:
            self._listeners.setdefault(kind, []).append(callback)
            if kind in _ON_DEMAND and kind not in self._kinds:
                self._kinds.add(kind)
                self._subscribe()
        return lambda: self._listen_no_more(kind, callback)

    def _listen_no_more(self, kind: str, callback: Push) -> None:
        with self._lock:
            self._listeners[kind].remove(callback)
            if not self._listeners[kind] and kind in self._kinds:
                self._kinds.discard(kind)
                self._subscribe()

    def _subscribe(self) -> None:
        """Say what is to be pushed; nobody waits for the answer, and the next engine is told anyway."""
        if self._connection.transport is not None:
            self._connection.transport.send(encode({"k": "subscribe", "n": 0, "kinds": sorted(self._kinds)}))


class Accepted(Sequence[int]):
    """Identities of requests that were accepted; the engine's answer is waited for when one is looked at."""

    __slots__ = ("_asker", "_calls", "_parts", "answer", "failed", "future", "numbers", "watched")

    def __init__(self, asker: Rpc, numbers: Sequence[int], calls: int, watched: bool) -> None:
        # numbers: numbers of the submits in which they were written down, at one go
        # watched: their results were asked for as they were submitted
        self._asker, self.numbers, self._calls, self.watched = asker, numbers, calls, watched
        self._parts: dict[int, Sequence[int] | EcError] | None = None  # what it has said of each of several submits
        self.answer: Sequence[int] | EcError | None = None  # what the engine has said
        self.failed: EcError | None = None  # why nobody can be asked at present
        self.future: Future[None] | None = None  # set once there is an answer, if somebody asked for that

    def __len__(self) -> int:
        return self._calls

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...

    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        return self.ids()[at]

    def ids(self, timeout: float | None = None) -> Sequence[int]:
        """All of them, waited for so many seconds."""
        if self.answer is None:
            self._asker._wait_accepted(self, timeout)
        if isinstance(self.answer, EcError):
            raise self.answer
        assert self.answer is not None
        return self.answer

    def take(self, n: int, answer: Sequence[int] | EcError) -> bool:
        """Note what the engine has said of one of the submits; whether all is said."""
        if len(self.numbers) == 1:
            self.answer = answer
            return True
        parts = self._parts = self._parts or {}
        parts[n] = answer
        if len(parts) < len(self.numbers):
            return False
        self.answer = _joined([parts[one] for one in self.numbers])
        return True

    def settle(self) -> None:
        """Wake whoever awaits the answer."""
        future, self.future = self.future, None
        if future is not None:
            with suppress(InvalidStateError):  # somebody else has just done so, or gave up
                future.set_result(None)

    def when_answered(self) -> Future[None]:
        """Done once they are known, or it is known why there are none."""
        return self._asker._when_accepted(self)

    def known(self, at: int) -> int | None:
        """One of them, if they are known by now."""
        answer = self.answer
        return None if answer is None or isinstance(answer, EcError) else answer[at]

    def seen(self, at: int) -> int | None:
        """One of them, if they are known by now or in a moment."""
        try:
            return self.ids(LOOK_SECONDS if self._asker.connected else 0.0)[at]
        except (EcError, TimeoutError):
            return None


def _joined(answers: Iterable[Sequence[int] | EcError]) -> Sequence[int] | EcError:
    """The identities of all submits, or why there are none."""
    ids: list[int] = []
    for answer in answers:
        if isinstance(answer, EcError):
            return answer
        ids.extend(answer)
    return range(ids[0], ids[-1] + 1) if ids[-1] - ids[0] == len(ids) - 1 else ids
