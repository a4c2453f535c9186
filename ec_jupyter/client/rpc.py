"""What a client and its engine say to each other: questions and their answers, and what the engine tells by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import chain, count
from typing import Any

from ec_jupyter.client.connection import Connection, Life
from ec_jupyter.client.result_futures import ResultFutures, ranges
from ec_jupyter.client.transport import Question, Transport
from ec_jupyter.client.waits import Deadline
from ec_jupyter.errors import EcError, EngineLostError, from_wire
from ec_jupyter.flow.shown import merged
from ec_jupyter.wire import Header, encode

log = logging.getLogger(__name__)

# what the engine pushes only to those who ask for it; of "picture" nothing comes: it says that one is looked at
_ON_DEMAND = frozenset({"counts", "output", "picture"})

Push = Callable[[Header, list[bytes]], None]


class Rpc:
    """Questions that are open on a line, however many engines it takes until they are answered.

    Attributes
    ----------
    name : str
        The flow's name.
    topology : dict
        The wiring as the engine last showed it.
    """

    name: str
    topology: dict[str, Any]

    def _begin_rpc(self) -> None:
        """Have asked for nothing yet, in this process."""
        self._numbers = count(1)
        self._questions: dict[int, Question] = {}
        self._unsure: dict[int, Question] = {}
        self._futures = ResultFutures(self._ask_results, self._lead)
        self._listeners: dict[str, list[Push]] = {}
        self._kinds: set[str] = set()
        self._gone: EcError | None = None
        self._connection = Connection(self, self.name)
        self._lock = self._connection.lock
        self._takers: dict[str, Push] = {
            "ok": self._answered, "accepted": self._accepted, "results": self._ended, "finished": self._ended,
            "error": self._refused, "bye": self._bye,
        }  # fmt: skip

    def _dial(self) -> Transport:
        """A line to an engine that has answered a hello; blocks."""
        raise NotImplementedError

    def _all_answered(self) -> None:
        """Every question has been answered."""

    # -- the line ------------------------------------------------------------
    def _joined(self, line: Transport) -> None:
        """Ask again what is open."""
        if self._kinds:
            line.put(encode({"k": "subscribe", "n": 0, "kinds": sorted(self._kinds)}))
        for n in sorted(self._questions):
            question = self._questions[n]
            line.put(encode({**question.header, "again": True}, question.buffers))
        if asked := self._futures.open():
            line.put(encode({"k": "wait", "ranges": asked}))

    def _lead(self, ready: Callable[[], bool], deadline: float | None) -> None:
        self._connection.lead(ready, deadline)

    def _lives(self, life: Life) -> None:
        self._tell_listeners(life.header(), [])

    @property
    def life(self) -> Life:
        """How the engine is; changes are pushes of the kind ``engine``."""
        return self._connection.life

    @property
    def trouble(self) -> str:
        """Why an answer may be late."""
        return self._connection.trouble()

    def _give_up(self, error: EcError, upto: int | None = None) -> None:
        """Tell who waits, for an answer to frame `upto` or an earlier one if it is given, that they wait in vain."""
        with self._lock:
            told = [n for n in self._questions if upto is None or n <= upto]
            questions = [self._questions.pop(n) for n in told]
            # on disk all the same: who asks again asks the next engine
            self._unsure |= {q.n: q for q in questions if _logged(q)}
        for question in questions:
            question.tell(error)
        self._futures.fail(error)

    @property
    def connected(self) -> bool:
        """Whether there is a line to an engine at this moment; a question would find or start one."""
        return self._connection.line is not None

    def _post(self, frame: bytes) -> None:
        """Put a frame on the line; what is open without one is asked on the next."""
        if self._connection.closed:
            raise self._connection.closed_error()
        if self._connection.line is not None:
            self._connection.line.put(frame)
        else:
            self._connection.want()

    def _wait(self, question: Question, timeout: float | None) -> tuple[Header, list[bytes]]:
        deadline = Deadline(timeout)
        if question.n in self._unsure:
            self._again(question)
        if question.answer is None:
            self._lead(lambda: question.answer is not None, deadline.end)
        left = deadline.left
        if not question.lock.acquire(timeout=-1 if left is None else left):
            how = self._connection.trouble()
            raise TimeoutError(f"{how}: {question.header['k']!r} has no answer after {timeout:g} s")
        question.lock.release()
        if isinstance(question.answer, EcError):
            raise question.answer
        assert question.answer is not None
        return question.answer

    def _told(self, question: Question) -> Future[None]:
        if question.n in self._unsure:
            self._again(question)
        return question.told()

    def _again(self, question: Question) -> None:
        """Ask once more for the answer to a submit, which is accepted: its engine could not be had then."""
        with self._lock:
            if self._connection.closed or self._unsure.pop(question.n, None) is None:
                return
            question.again()
            self._questions[question.n] = question
            self._post(encode({**question.header, "again": True}, question.buffers))

    # -- what comes in -------------------------------------------------------
    def _take(self, header: Header, buffers: list[bytes]) -> None:
        self._takers.get(header["k"], self._pushed)(header, buffers)

    def _accepted(self, header: Header, buffers: list[bytes]) -> None:
        for n, first, many in header["rows"]:
            self._answered({"n": n, "ids": range(first, first + many)}, [])
        for n, ids in header["lists"]:
            self._answered({"n": n, "ids": ids}, [])

    def _ended(self, header: Header, buffers: list[bytes]) -> None:
        self._connection.steady()
        self._futures.came(header, buffers)

    def _refused(self, header: Header, buffers: list[bytes]) -> None:
        question = self._questions.pop(header.get("n", 0), None)
        if question is not None:
            question.tell(from_wire(header["error"]))

    def _bye(self, header: Header, buffers: list[bytes]) -> None:
        if "error" in header:
            self._gone = from_wire(header["error"])
            self._connection.dismiss("failed", str(self._gone))
            self._give_up(self._gone)
        else:
            self._stopped(header.get("taken", 0))

    def _stopped(self, taken: int) -> None:
        """The engine was asked to end, and did not see what was asked after frame `taken`: that is for the next."""
        self._connection.dismiss("stopped", "the engine was stopped; the next call starts it")
        text = f"flow {self.name!r} was stopped; its requests stay on disk and go on with the next call"
        self._give_up(EngineLostError(text), taken)
        if self._questions:
            self._connection.want()

    def _pushed(self, header: Header, buffers: list[bytes]) -> None:
        if header["k"] == "topology":
            self.topology = merged(self.topology, header["changes"])
        self._connection.stalled = header.get("stalled", self._connection.stalled)
        self._tell_listeners(header, buffers)

    def _tell_listeners(self, header: Header, buffers: list[bytes]) -> None:
        for listener in list(self._listeners.get(header["k"], ())):
            try:
                listener(header, buffers)
            except Exception:
                # a listener's mistake must not end the line for everybody else
                log.exception("listener for %s", header["k"])

    def _answered(self, header: Header, buffers: list[bytes]) -> None:
        question = self._questions.pop(header.get("n", 0), None)
        self._connection.steady()
        if question is None:
            return
        if question.header["k"] == "submit":
            self._futures.accepted(header["ids"], watched=bool(question.header.get("watch")))
            if not self._questions:
                self._all_answered()
        elif question.header["k"] == "stop":
            self._stopped(question.n)
        question.tell((header, buffers))

    # -- what a caller does ----------------------------------------------------
    def ask(
        self, kind: str, header: Header | None = None, buffers: Sequence[bytes] = (), *, timeout: float | None = 60
    ) -> tuple[Header, list[bytes]]:
        """Ask the engine and wait for its answer.

        Raises
        ------
        EcError
            What the engine refused, or that it cannot be reached.
        TimeoutError
            No answer within `timeout` seconds; the question still stands.
        """
        return self._wait(self._send(kind, header or {}, buffers), timeout)

    def _send(self, kind: str, header: Header, buffers: Sequence[bytes] = ()) -> Question:
        """Put a question on the line, or on the next one; returns at once."""
        with self._lock:
            question = self._question(kind, header, buffers)
            try:
                self._questions[question.n] = question
                self._post(question.frame)
            except BaseException:
                self._questions.pop(question.n, None)
                raise
        return question

    def _question(self, kind: str, header: Header, buffers: Sequence[bytes]) -> Question:
        if self._connection.closed:
            raise self._connection.closed_error()
        n = next(self._numbers)
        open_ = chain(self._questions, self._unsure)
        done = {"done": min(open_, default=n)} if n % 64 == 0 else {}
        return Question({**header, "k": kind, "n": n, **done}, buffers)

    def _ask_results(self, requests: list[int]) -> None:
        with self._lock:
            self._post(encode({"k": "wait", "ranges": ranges(sorted(requests))}))

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
        if self._connection.line is not None:
            self._connection.line.put(encode({"k": "subscribe", "n": 0, "kinds": sorted(self._kinds)}))


def _logged(question: Question) -> bool:
    return bool(question.header.get("logged"))
