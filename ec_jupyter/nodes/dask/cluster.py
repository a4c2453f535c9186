"""The connection to a Dask cluster: lists its workers, and runs functions in them.

Dask's client has a loop and a thread of its own, so that its failures never end the engine.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import secrets
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from ec_jupyter.errors import HostUnreachableError
from ec_jupyter.nodes.bundle import bundle

log = logging.getLogger(__name__)

_T = TypeVar("_T")

CONNECT_SECONDS = 15.0
ANSWER_SECONDS = 60.0
CLOSE_SECONDS = 3.0

_ENTRY = '''
def act(word, *given):
    from ec_jupyter.nodes.dask import runtime
    return getattr(runtime, word)(*given)


def come():
    """In the worker: nothing; a cluster that can grow starts one for it."""


async def listen(*given):
    """In the worker: wait for events of calls."""
    from ec_jupyter.nodes.dask import runtime
    return await runtime.listen(*given)


async def carry(token, name, owner, theirs, at, size, dask_worker=None):
    """In the worker: get a piece of a file from another one, past the scheduler; how much, None if it is not there."""
    from distributed.protocol.pickle import dumps
    from ec_jupyter.nodes.dask import runtime
    # as Client.run asks, so that no thread of the owner's is needed: all may be at work
    order = {"function": dumps(act), "args": dumps(("read", theirs, name, at, size)), "kwargs": dumps({})}
    try:
        answer = await dask_worker.rpc(owner).run(wait=True, **order)
    except OSError:
        return None
    if answer["status"] != "OK":
        return None
    data = answer["result"]
    runtime.keep(token, name, at, data, len(data) < size)
    return len(data)


def enter(bundle, *given, dask_worker=None):
    """In the worker: load our code, from the bundle where the package is not installed, and begin."""
    import importlib, os, sys
    try:
        runtime = importlib.import_module("ec_jupyter.nodes.dask.runtime")
    except ImportError:
        if bundle is None:
            return None
        path = os.path.join(dask_worker.local_directory, "ec_jupyter-bundle.zip")
        with open(path, "wb") as file:
            file.write(bundle)
        sys.path.append(path)
        importlib.invalidate_caches()
        runtime = importlib.import_module("ec_jupyter.nodes.dask.runtime")
    return runtime.enter(*given, dask_worker.local_directory)
'''
_entry: dict[str, Any] = {"__name__": "ec_jupyter_entry"}
# a module that nobody can import: such functions travel whole, through schedulers that do not have our package
exec(compile(_ENTRY, "<ec_jupyter entry>", "exec"), _entry)


class Cut(Exception):
    """The scheduler is not there any more."""


class SilentError(Exception):
    """A worker does not answer."""


def _silent(error: Exception) -> bool:
    """Whether the connection failed; errors of our own functions there arrive as they were raised."""
    plain = type(error) is OSError and error.errno is None
    return plain or isinstance(error, TimeoutError | asyncio.TimeoutError) or type(error).__name__ == "CommClosedError"


class Cluster:
    """A connection to a scheduler. `gone`: told the address of a worker that left; `news`: workers may have come."""

    def __init__(self, address: str, tls: Sequence[str], gone: Callable[[str], None], news: Callable[[], None]) -> None:
        self.address = address
        self._tls = tls  # files of the authority, the certificate and its key; empty without TLS
        self._gone, self._news = gone, news
        self._home = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: log.debug("dask: %s", context))
        self._thread = threading.Thread(target=self._loop.run_forever, name="dask", daemon=True)
        self._thread.start()
        self._client: Any = None

    async def _on_loop(self, work: Coroutine[Any, Any, _T], seconds: float | None = ANSWER_SECONDS) -> _T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)

    async def connect(self) -> None:
        """Reach the scheduler. Raises HostUnreachableError: it does not answer."""
        if self.address.startswith("tls://") and not self._tls:
            raise HostUnreachableError(
                f"the Dask scheduler at {self.address} wants a certificate: give a Client whose Security has files"
            )
        try:
            await self._on_loop(self._connect(), 2 * CONNECT_SECONDS)
        except Exception as error:
            # Dask's, of as many kinds as it has
            text = str(error).strip().partition("\n")[0] or type(error).__name__
            raise HostUnreachableError(f"the Dask scheduler at {self.address} does not answer: {text}") from error

    async def _connect(self) -> None:
        import distributed

        dask: Any = distributed  # half of it has no annotations
        security = None
        if self._tls:
            authority, certificate, key = self._tls
            security = dask.Security(
                tls_ca_file=authority, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
            )
        # stored before it is connected: one that fails has to be closed, too
        self._client = dask.Client(
            self.address, asynchronous=True, set_as_default=False, timeout=CONNECT_SECONDS, security=security
        )
        await self._client
        self._client.subscribe_topic("all", self._heard)

    def _heard(self, event: tuple[float, Any]) -> None:
        told = event[1]
        action = told.get("action") if isinstance(told, dict) else None
        with suppress(RuntimeError):  # the engine has ended
            if action == "remove-worker":
                self._home.call_soon_threadsafe(self._gone, told["worker"])
            elif action == "add-worker":
                self._home.call_soon_threadsafe(self._news)

    @property
    def connected(self) -> bool:
        """Whether the scheduler is there, as far as is known."""
        return self._client is not None and self._client.status == "running"

    async def threads(self) -> dict[str, int]:
        """Threads of each worker, by its address."""
        return await self._on_loop(self._threads(), CONNECT_SECONDS)

    async def _threads(self) -> dict[str, int]:
        if not self.connected:
            raise Cut(f"the Dask scheduler at {self.address} is not there")
        return dict(await self._client.nthreads())

    async def enter(self, worker: str, *given: Any) -> dict[str, Any]:
        """Begin in a worker; sends our code to one that has none."""
        for data in (None, bundle()[1]):
            found: dict[str, Any] | None = await self._in(worker, _entry["enter"], data, *given)
            if found is not None:
                break
        assert found is not None
        return found

    async def act(self, worker: str, word: str, *given: Any) -> Any:
        """Call a function of `nodes.dask.runtime` in a worker, beside what runs there. Raises SilentError, Cut."""
        return await self._in(worker, _entry["act"], word, *given)

    async def listen(self, worker: str, token: str, heard: dict[int, int]) -> Any:
        """New events of calls in a worker, past the number read of each, and its use; waits a while for some."""
        return await self._in(worker, _entry["listen"], token, heard)

    async def carry(self, worker: str, *given: Any) -> int | None:
        """Have a worker copy a piece of a file from another one; its bytes, None if the other does not have it."""
        size: int | None = await self._in(worker, _entry["carry"], *given)
        return size

    async def _in(self, worker: str, function: Any, *given: Any) -> Any:
        try:
            return await self._on_loop(self._run(worker, function, *given))
        except asyncio.TimeoutError as error:
            raise SilentError(f"Dask's worker {worker} does not answer in {ANSWER_SECONDS:g} s") from error

    async def _run(self, worker: str, function: Any, *given: Any) -> Any:
        if not self.connected:
            raise Cut(f"the Dask scheduler at {self.address} is not there")
        try:
            answers = await self._client.run(function, *given, workers=[worker])
        except (OSError, asyncio.TimeoutError) as error:
            if not self.connected:
                raise Cut(f"the Dask scheduler at {self.address} is gone") from error
            if _silent(error):
                raise SilentError(f"Dask's worker {worker} does not answer: {error}") from error
            raise
        if worker not in answers:
            raise SilentError(f"Dask's worker {worker} is gone")
        return answers[worker]

    async def submit(self, worker: str, key: str, word: str, *given: Any) -> Any:
        """Run the function as a Dask task: in that worker or nowhere, once or not at all. Raises Cut."""
        return await self._on_loop(self._submit(worker, key, word, given), None)

    async def _submit(self, worker: str, key: str, word: str, given: tuple[Any, ...]) -> Any:
        if not self.connected:
            raise Cut(f"the Dask scheduler at {self.address} is not there")
        future = self._client.submit(
            _entry["act"], word, *given, key=key, workers=[worker], allow_other_workers=False, pure=False, retries=0
        )
        try:
            return await future.result()
        except (asyncio.CancelledError, concurrent.futures.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
                raise
            raise Cut(f"the Dask scheduler at {self.address} is gone") from None
        finally:
            future.release()

    async def want(self) -> None:
        """Ask for a worker, where there is none: a scheduler that can have more then starts one."""
        await self._on_loop(self._want(), None)

    async def _want(self) -> None:
        if self.connected:
            future = self._client.submit(_entry["come"], key=f"ec_jupyter-{secrets.token_hex(8)}", pure=False)
            try:
                await future
            finally:
                future.release()

    async def close(self) -> None:
        """Close the client and its thread."""
        if self._client is not None:
            with suppress(Exception):  # it goes either way
                await self._on_loop(self._client._close(fast=True), CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join, CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
