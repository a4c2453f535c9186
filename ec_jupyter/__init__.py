"""Functions in notebook cells become sockets of a durable, parallel data flow.

::

    %load_ext ec_jupyter

    %%ec_socket
    def add_two(one, two):
        return one + two

    %ec_submit add_two one=1 two=2
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

# loaded first: whoever imports from the room of this name later finds it, and does not bind it
# to the package again, where the word belongs to the function below
from ec_jupyter import flow as _room  # noqa: F401
from ec_jupyter.version import VERSION

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from ec_jupyter.client.remote import RemoteFlow, RemoteRequest, connect
    from ec_jupyter.errors import *
    from ec_jupyter.nodes.current import SKIP, Current, Failure, current, out, progress
    from ec_jupyter.notebook.composition import Composition, each, funnel, parallel, pipeline
    from ec_jupyter.notebook.config import EC
    from ec_jupyter.notebook.edits import Receipt
    from ec_jupyter.notebook.executor import ProcessorExecutor
    from ec_jupyter.notebook.flow import Flow
    from ec_jupyter.notebook.loading import load
    from ec_jupyter.notebook.nodes import Agent, Node, Worker
    from ec_jupyter.notebook.notices import Notice
    from ec_jupyter.notebook.request import Request, Run
    from ec_jupyter.notebook.tables import Lineage, Story
    from ec_jupyter.notebook.timing import Schedule
    from ec_jupyter.notebook.unworked import ask, sleep
    from ec_jupyter.notebook.views import Argument, Plug, Processor, Socket, SocketOptions, Task
    from ec_jupyter.notebook.waiting import Question, Waiting

__version__ = VERSION

__all__ = [
    "EC",
    "SKIP",
    "Agent",
    "AnswerError",
    "Argument",
    "ArgumentsError",
    "Composition",
    "Current",
    "CycleError",
    "DeclarationError",
    "EcError",
    "EngineError",
    "EngineLostError",
    "EngineStartError",
    "ExecutorShutdownError",
    "Failure",
    "Flow",
    "FlowInUseError",
    "FlowNotFoundError",
    "FrameError",
    "GroupNotFoundError",
    "HostKeyError",
    "HostUnreachableError",
    "JoinExpiredError",
    "Lineage",
    "MagicUsageError",
    "MemoryLimitError",
    "Node",
    "NodeError",
    "NodeLostError",
    "NodeNotFoundError",
    "NodeStartError",
    "Notice",
    "OtherFlowError",
    "Plug",
    "Processor",
    "ProcessorExecutor",
    "ProcessorNotFoundError",
    "PythonMismatchError",
    "Question",
    "QueueFullError",
    "Receipt",
    "RemoteError",
    "RemoteFlow",
    "RemoteRequest",
    "Request",
    "RequestCancelledError",
    "RequestNotFoundError",
    "RequestSkippedError",
    "RequestTimeoutError",
    "RevisionError",
    "Run",
    "Schedule",
    "ScheduleNotFoundError",
    "Socket",
    "SocketNotFoundError",
    "SocketOptions",
    "SshAuthError",
    "StoreDamagedError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreLostError",
    "StoreReadOnlyError",
    "Story",
    "Task",
    "TaskError",
    "TaskNotPicklableError",
    "UntrustedFlowError",
    "Waiting",
    "WiringError",
    "Worker",
    "WorkerDiedError",
    "ask",
    "connect",
    "current",
    "each",
    "flow",
    "funnel",
    "load",
    "load_ipython_extension",
    "out",
    "parallel",
    "pipeline",
    "progress",
    "sleep",
    "socket",
    "unload_ipython_extension",
]

_PLACES = {
    **{name: "errors" for name in __all__ if name.endswith("Error")},
    **dict.fromkeys(["SKIP", "Current", "Failure", "current", "out", "progress"], "nodes.current"),
    **dict.fromkeys(["Agent", "Node", "Worker"], "notebook.nodes"),
    **dict.fromkeys(["Argument", "Plug", "Processor", "Socket", "SocketOptions", "Task"], "notebook.views"),
    **dict.fromkeys(["Composition", "each", "funnel", "parallel", "pipeline"], "notebook.composition"),
    **dict.fromkeys(["Lineage", "Story"], "notebook.tables"),
    **dict.fromkeys(["Request", "Run"], "notebook.request"),
    **dict.fromkeys(["RemoteFlow", "RemoteRequest", "connect"], "client.remote"),
    "EC": "notebook.config",
    "Flow": "notebook.flow",
    "ProcessorExecutor": "notebook.executor",
    "Notice": "notebook.notices",
    "Question": "notebook.waiting",
    "Receipt": "notebook.edits",
    "Schedule": "notebook.timing",
    "Waiting": "notebook.waiting",
    "ask": "notebook.unworked",
    "load": "notebook.loading",
    "sleep": "notebook.unworked",
}

_F = TypeVar("_F", bound=Callable[..., Any])


def flow(name: str | None = None, *, folder: str | os.PathLike[str] | None = None, trust: bool = False) -> Flow:
    """Open a flow, attach to it, or make it.

    Parameters
    ----------
    name : str, optional
        Letters, digits, ``_`` and ``-``. Without a name it is the notebook's own: named after the
        notebook where that is known, else ``main``.
    folder : path, optional
        Where the flow lives, instead of ``.ec_jupyter/NAME`` beside the notebook.
    trust : bool
        Let a flow run that came from elsewhere, or whose folder belongs to somebody else; it holds from
        then on.

    Returns
    -------
    Flow
        The same object for the same folder, until it is closed.

    Raises
    ------
    DeclarationError
        The name cannot name a flow.
    EngineStartError, StoreError, PythonMismatchError
        Its engine does not start, its folder cannot be used, or it belongs to another Python.
    UntrustedFlowError
        It was made elsewhere or belongs to somebody else, and nobody has said that it may run; the text
        says what would.
    """
    from ec_jupyter.notebook.flow import open_flow

    return open_flow(name, folder=folder, trust=trust)


if TYPE_CHECKING:

    @overload
    def socket(  # type: ignore[overload-overlap]
        task: ask | sleep, /, name: str, *, flow: Flow | str | None = None, **options: Unpack[SocketOptions]
    ) -> Socket: ...
    @overload
    def socket(
        task: _F, /, name: str | None = None, *, flow: Flow | str | None = None, **options: Unpack[SocketOptions]
    ) -> _F: ...
    @overload
    def socket(
        task: str | None = None, /, *, name: str | None = None, flow: Flow | str | None = None,
        **options: Unpack[SocketOptions],
    ) -> Callable[[_F], _F]: ...  # fmt: skip


def socket(task: Any = None, /, name: str | None = None, *, flow: Any = None, **options: Any) -> Any:
    """Decorator that makes a function the task of a socket; the function stays what it is.

    Parameters
    ----------
    task : function, ask, sleep or str, optional
        The task; or the name, where this stands above the function. Of what no worker runs (`ask`, `sleep`) the socket
        is returned.
    name : str, optional
        Name of the socket; the function's own if left out.
    flow : Flow or str, optional
        Another flow than the notebook's own.
    **options
        See `SocketOptions`.

    Examples
    --------
    >>> import ec_jupyter as ec
    >>> @ec.socket(processor="maths", cpus=2)
    ... def add_two(one, two):
    ...     return one + two
    """
    from ec_jupyter.notebook.flow import Flow, open_flow

    target = flow if isinstance(flow, Flow) else open_flow(flow)
    return target.socket(task, name, **options) if callable(task) else target.socket(task or name, **options)


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext ec_jupyter``: adds the magics; prints nothing, starts nothing."""
    from ec_jupyter.notebook.extension import load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext ec_jupyter``: takes the magics away; flows work on."""
    from ec_jupyter.notebook.extension import unload

    unload(ipython)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
