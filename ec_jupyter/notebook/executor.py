"""A processor of a flow as the pool that the rest of Python knows."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from ec_jupyter.errors import DeclarationError
from ec_jupyter.notebook.outcome import error_of, value_of
from ec_jupyter.notebook.request import Request
from ec_jupyter.notebook.waits import Deadline

if TYPE_CHECKING:
    from ec_jupyter.notebook.flow import Flow

_T = TypeVar("_T")


def apply(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Result of ``function(*arguments, **keywords)``; the task behind an executor."""
    return function(*arguments, **keywords)


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
    are this kernel's alone.
    """

    def __init__(self, flow: Flow, processor: str) -> None:
        self.processor = flow.processor(processor).name
        self._flow = flow
        self._socket = f"{self.processor.replace('-', '_')}_calls"
        self._socket = self._socket if self._socket.isidentifier() else f"_{self._socket}"
        # by value, so that it runs where this package is not installed
        task = FunctionType(apply.__code__, {"__builtins__": __builtins__, "__name__": "__main__"}, self._socket)
        task.__module__, task.__qualname__ = "__main__", self._socket
        flow.declare(task, self._socket, processor=self.processor)
        self._ended: queue.SimpleQueue[tuple[_Call, Future[dict[str, Any]]] | None] = queue.SimpleQueue()
        self._open: set[_Call] = set()
        self._changed = threading.Condition()
        self._closed = False
        # a thread of ours: callbacks of futures may submit more, which the client's own could not
        threading.Thread(target=self._settle, name="ec-executor", daemon=True).start()

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """A future for ``fn(*args, **kwargs)``, which is on disk when this returns."""
        return self._submit([(fn, args, kwargs)])[0]

    def map(
        self, fn: Callable[..., _T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[_T]:
        """Results in order; all calls are accepted in one commit. `chunksize` has no meaning here."""
        futures = self._submit([(fn, args, {}) for args in zip(*iterables, strict=False)])
        deadline = Deadline(timeout)
        return (future.result(deadline.left) for future in futures)

    def _submit(self, calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]]) -> list[Future[Any]]:
        if self._closed:
            raise DeclarationError(f"the executor of processor {self.processor!r} is shut down")
        if not calls:
            return []
        functions, arguments, keywords = zip(*calls, strict=True)
        requests = self._flow.map(self._socket, functions, arguments, keywords)
        futures = [_Call(request) for request in requests]
        with self._changed:
            self._open.update(futures)
        for future in futures:
            ended = future.request._finished()
            ended.add_done_callback(partial(self._note, future))
        return list(futures)

    def _note(self, future: _Call, row: Future[dict[str, Any]]) -> None:
        self._ended.put((future, row))

    def _settle(self) -> None:
        client = self._flow._client
        while (item := self._ended.get()) is not None:
            future, ended = item
            _resolve(client, future, ended)
            with self._changed:
                self._open.discard(future)
                self._changed.notify_all()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; those accepted go on, unless they are cancelled."""
        self._closed = True
        if cancel_futures:
            for future in list(self._open):
                future.cancel()
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: not self._open)
            if not self._open:
                self._ended.put(None)


class _Call(Future[Any]):
    """A future whose cancelling cancels the request."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request

    def cancel(self) -> bool:
        if self.done():
            return self.cancelled()
        # running calls are cancelled too: the flow can do what other pools cannot
        self.request.cancel()
        return super().cancel()


def _resolve(client: Any, future: _Call, ended: Future[dict[str, Any]]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        row = ended.result()
        error = error_of(client, row)
        value = None if error else value_of(client, row)
    except BaseException as failure:  # noqa: BLE001 - whoever waits for the future gets it
        error = failure
    if error:
        future.set_exception(error)
    else:
        future.set_result(value)
