"""A processor of a flow as the pool that the rest of Python knows."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from itertools import chain, islice
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from ec_jupyter.client.waits import Deadline
from ec_jupyter.errors import ExecutorShutdownError, TaskNotPicklableError
from ec_jupyter.notebook.outcome import error_of, value_of
from ec_jupyter.notebook.request import Request

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow

_T = TypeVar("_T")
_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def apply(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Result of ``function(*arguments, **keywords)``; the task behind an executor."""
    return function(*arguments, **keywords)


def apply_each(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    """Results of one function for several tuples of arguments; one request of a `map` in chunks."""
    return [function(*arguments) for arguments in calls]


def _by_value(function: Callable[..., Any], name: str) -> FunctionType:
    """A copy of `function` that is pickled by value, so that it runs where this package is not installed."""
    copy = FunctionType(function.__code__, {"__builtins__": __builtins__, "__name__": "__main__"}, name)
    copy.__module__, copy.__qualname__ = "__main__", name
    return copy


class ProcessorExecutor(Executor):
    """Runs calls on a processor; made by `Flow.executor`.

    Parameters
    ----------
    flow : Flow
        Whose queue holds the calls.
    processor : str
        Whose CPUs run them.

    Notes
    -----
    Each call is a request of the socket ``PROCESSOR_calls`` and as durable as any other; the futures
    are this kernel's alone. ``future.request`` is the `Request`.
    """

    def __init__(self, flow: Flow, processor: str) -> None:
        self.processor = flow.processor(processor).name
        self._flow = flow
        socket = f"{self.processor.replace('-', '_')}_calls"
        self._socket = socket if socket.isidentifier() else f"_{socket}"
        flow.declare(_by_value(apply, self._socket), self._socket, processor=self.processor)
        self._ended: queue.SimpleQueue[tuple[RequestFuture, Future[dict[str, Any]]] | None] = queue.SimpleQueue()
        self._open: set[RequestFuture] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._pid = os.getpid()
        # a thread of ours: callbacks of futures may submit more, which the client's own could not
        threading.Thread(target=self._settle, name="ec-executor", daemon=True).start()

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """A future for ``fn(*args, **kwargs)``, which is on disk when this returns.

        What cannot be pickled is the future's exception.

        Raises
        ------
        ExecutorShutdownError
            The executor was shut down; it is a `RuntimeError`.
        """
        return self._submit([(fn, args, kwargs)])[0]

    def map(
        self, fn: Callable[..., _T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[_T]:
        """Results in order of the arguments, as the built-in `map` gives them; all calls are accepted in one commit.

        Parameters
        ----------
        fn : callable
            What to call.
        *iterables : iterable
            Its arguments; read to the end of the shortest before this returns.
        timeout : float, optional
            Seconds from now within which each result has to have come.
        chunksize : int
            How many calls make one request; more than 1 is faster where calls are short.

        Raises
        ------
        TimeoutError
            While iterating: a result has not come in time. Calls that wait are cancelled then, as they
            are where one fails or nobody iterates to the end.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize={chunksize}: takes a whole number, at least 1")
        deadline, each = Deadline(timeout), zip(*iterables, strict=False)
        if chunksize == 1:
            return _results(self._submit([(fn, args, {}) for args in each]), deadline)
        chunked = _by_value(apply_each, "apply_each")
        calls: list[_Call] = [(chunked, (fn, chunk), {}) for chunk in iter(lambda: list(islice(each, chunksize)), [])]
        return chain.from_iterable(_results(self._submit(calls), deadline))

    def _submit(self, calls: list[_Call]) -> list[RequestFuture]:
        if self._closed:
            raise ExecutorShutdownError(f"the executor of processor {self.processor!r} is shut down")
        if os.getpid() != self._pid:
            # the thread that would settle its futures is not in this process
            raise ExecutorShutdownError(
                f"the executor of processor {self.processor!r} belongs to process {self._pid}, from which this one "
                f"was forked; make one here: flow.executor({self.processor!r})"
            )
        if not calls:
            return []
        try:
            requests = self._flow.map(self._socket, *zip(*calls, strict=True))
        except TaskNotPicklableError as error:
            if len(calls) == 1:
                return [_failed(error)]
            return [future for call in calls for future in self._submit([call])]
        futures = [RequestFuture(request) for request in requests]
        with self._changed:
            self._open.update(futures)
        for future, request in zip(futures, requests, strict=True):
            request._finished().add_done_callback(partial(self._note, future))
        return futures

    def _note(self, future: RequestFuture, row: Future[dict[str, Any]]) -> None:
        self._ended.put((future, row))

    def _settle(self) -> None:
        client = self._flow._client
        while (item := self._ended.get()) is not None:
            future, ended = item
            _resolve(client, future, ended)
            with self._changed:
                self._open.discard(future)
                self._changed.notify_all()
                if self._closed and not self._open:
                    return
            # keep no reference to a result that nothing else holds
            del item, future, ended

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; those accepted go on, unless they wait and are cancelled."""
        with self._changed:
            self._closed = True
            pending = list(self._open) if cancel_futures else []
        for future in pending:
            future.cancel()
        with self._changed:
            if not self._open:
                self._ended.put(None)
            if wait:
                self._changed.wait_for(lambda: not self._open)


class RequestFuture(Future[Any]):
    """The future of a request.

    Parameters
    ----------
    request : Request, optional
        None where the call could not be submitted.
    """

    def __init__(self, request: Request | None) -> None:
        super().__init__()
        self.request = request

    def running(self) -> bool:
        """Whether a worker runs it now; asks the engine."""
        return self.request is not None and not self.done() and self.request.state == "running"

    def cancel(self) -> bool:
        """Cancel the call if it waits; False, and it goes on, if it runs or has ended.

        ``future.request.cancel()`` ends a call that runs, too.
        """
        if self.request is None or self.done():
            return self.cancelled()
        if not self.request._cancel_waiting():
            return self.cancelled()
        super().cancel()
        return self.cancelled()

    def _settled(self) -> bool:
        """Take note that somebody cancelled the request, here or elsewhere."""
        super().cancel()
        return not self.set_running_or_notify_cancel()


def _failed(error: BaseException) -> RequestFuture:
    future = RequestFuture(None)
    future.set_exception(error)
    return future


def _results(futures: list[RequestFuture], deadline: Deadline) -> Generator[Any, None, None]:
    """Values in order; each future is let go of before its value is handed out."""
    futures.reverse()
    try:
        while futures:
            yield futures.pop().result(deadline.left)
    finally:
        for future in futures:
            future.cancel()


def _resolve(client: Any, future: RequestFuture, ended: Future[dict[str, Any]]) -> None:
    value = None
    try:
        row = ended.result()
        if row["state"] == "cancelled":
            future._settled()
            return
        error = error_of(client, row)
        value = None if error else value_of(client, row)
    except BaseException as failure:  # noqa: BLE001 - whoever waits for the future gets it
        error = failure
    if not future.set_running_or_notify_cancel():
        return
    if error:
        future.set_exception(error)
    else:
        future.set_result(value)
