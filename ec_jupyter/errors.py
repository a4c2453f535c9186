"""Every failure this package raises on purpose.

::

    EcError
      SocketNotFoundError (LookupError)      ProcessorNotFoundError (LookupError)
      RequestNotFoundError (LookupError)     FlowNotFoundError (LookupError)
      NodeNotFoundError (LookupError)        ScheduleNotFoundError (LookupError)
      GroupNotFoundError (LookupError)       FlowInUseError (RuntimeError)
      WiringError (ValueError)               DeclarationError (ValueError)
        CycleError                           ArgumentsError (TypeError)
      RevisionError (RuntimeError)           FrameError (ValueError)
      OtherFlowError (ValueError)            AnswerError (RuntimeError)
      TaskError (RuntimeError)               a failed call whose own exception cannot be rebuilt
        WorkerDiedError                      MemoryLimitError (MemoryError)
        RequestTimeoutError (TimeoutError)   RequestCancelledError
        RequestSkippedError                  TaskNotPicklableError (TypeError)
      JoinExpiredError (RuntimeError)
      StoreError (OSError)
        StoreLockedError  StoreFullError  StoreDamagedError  StoreReadOnlyError  StoreLostError
        UntrustedFlowError (PermissionError)
      EngineError (ConnectionError)
        EngineStartError  EngineLostError
      NodeError (ConnectionError)
        HostUnreachableError  HostKeyError  SshAuthError  NodeStartError  NodeLostError
      PythonMismatchError (RuntimeError)     MagicUsageError (ValueError)

Part of what travels to a bare host: standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

_T = TypeVar("_T")


class EcError(Exception):
    """Base class of every error this package raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        # IPython shows these lines instead of our stack, and the cell still fails.
        return [f"{type(self).__name__}: {self}", *getattr(self, "__notes__", ())]


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint an error about an unknown name ends with."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1) if isinstance(name, str) else ()
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"


class SocketNotFoundError(EcError, LookupError):
    """The flow has no socket of that name."""


class ProcessorNotFoundError(EcError, LookupError):
    """The flow has no processor of that name."""


class NodeNotFoundError(EcError, LookupError):
    """The flow has no node of that name."""


class GroupNotFoundError(EcError, LookupError):
    """The flow has no group of sockets of that name."""


class ScheduleNotFoundError(EcError, LookupError):
    """The flow has no schedule of that name."""


def unknown(error: type[EcError], name: str, known: Iterable[str], hint: str = "") -> EcError:
    """The error of a class for a name that nothing has, with the nearest of the `known` ones, or a better hint."""
    kind = error.__name__.removesuffix("NotFoundError").lower()
    return error(f"no {kind} named {name!r}; {hint or nearest(name, known)}")


def by_name(known: Mapping[str, _T], name: str, error: type[EcError]) -> _T:
    """What is known by a name, or an error of this class that names the nearest."""
    if not isinstance(name, str) or name not in known:
        raise unknown(error, name, known)
    return known[name]


class RequestNotFoundError(EcError, LookupError):
    """The flow has no such request, run or waiting value."""


class FlowNotFoundError(EcError, LookupError):
    """There is no flow in that folder."""


class RemoteError(EcError, ConnectionError):
    """A server that has a flow cannot be reached, lets nobody in, or cannot say in JSON what was asked for."""


class FlowInUseError(EcError, RuntimeError):
    """Others use the flow, and what was asked for needs it alone."""


class WiringError(EcError, ValueError):
    """A plug, fixed value or removal that the topology cannot take."""


class CycleError(WiringError):
    """A plug would close a cycle."""


class DeclarationError(EcError, ValueError):
    """A socket, processor or task that cannot be what it was declared to be."""


class ExecutorShutdownError(EcError, RuntimeError):
    """A call handed to an executor that was shut down."""


class ArgumentsError(EcError, TypeError):
    """A submit whose arguments do not fit the task."""


class AnswerError(EcError, RuntimeError):
    """A request that cannot be answered so: it was answered before, asks nobody, or offers other choices."""


class OtherFlowError(EcError, ValueError):
    """A socket, request, run or the like was given to another flow than the one it is of."""


class RevisionError(EcError, RuntimeError):
    """There is nothing to undo or redo, or what it touched has changed since."""


class FrameError(EcError, ValueError):
    """Bytes that are no frame of ours."""


class TaskError(EcError, RuntimeError):
    """A call failed and its own exception cannot be rebuilt here."""


class WorkerDiedError(TaskError):
    """The process that ran a call died, more often than may be."""


class MemoryLimitError(TaskError, MemoryError):
    """A call's worker grew past the memory its processor may use."""


class RequestTimeoutError(TaskError, TimeoutError):
    """A call ran longer than its socket allows."""


class RequestCancelledError(TaskError):
    """The request was cancelled."""


class RequestSkippedError(TaskError):
    """The request was skipped: an argument of it can no longer come, or its task returned `ec_jupyter.SKIP`."""


class TaskNotPicklableError(EcError, TypeError):
    """A task, argument or result that cannot travel to another process."""


class QueueFullError(EcError, RuntimeError):
    """A socket holds as much as it may (``limit=``)."""


class JoinExpiredError(EcError, RuntimeError):
    """Arguments waited longer than their socket allows."""


class StoreError(EcError, OSError):
    """The flow's folder or database cannot be used."""


class StoreLockedError(StoreError):
    """Another engine owns the flow."""


class StoreFullError(StoreError):
    """The disk under the flow is full."""


class StoreDamagedError(StoreError):
    """The flow's database is damaged; it is left as it is."""


class StoreReadOnlyError(StoreError):
    """The flow's folder cannot be written."""


class StoreLostError(StoreError):
    """The flow's folder was removed, moved or replaced while it was in use."""


class UntrustedFlowError(StoreError, PermissionError):
    """The flow came from elsewhere, or belongs to somebody else: nothing of it runs before the person says so."""


class EngineError(EcError, ConnectionError):
    """The flow's engine cannot be reached."""


class EngineStartError(EngineError):
    """The flow's engine did not start."""


class EngineLostError(EngineError):
    """The flow's engine went away and did not come back."""


class NodeError(EcError, ConnectionError):
    """A node cannot be used."""


class HostUnreachableError(NodeError):
    """The host of a node does not answer."""


class HostKeyError(NodeError):
    """The host of a node shows a key that is not known, or not the one that is."""


class SshAuthError(NodeError):
    """The host of a node does not let us in."""


class NodeStartError(NodeError):
    """The host of a node answers, but calls cannot run there."""


class NodeLostError(NodeError):
    """A node went away and did not come back within its lease."""


class PythonMismatchError(EcError, RuntimeError):
    """Two sides run different minor versions of Python, which cannot share pickled functions."""


class MagicUsageError(EcError, ValueError):
    """A magic's line cannot be understood."""


def defect(what: str, error: Exception) -> EngineError:
    """What a client is told where we are at fault."""
    return EngineError(f"{what} met a defect of ec_jupyter ({type(error).__name__}: {error}); engine.log has the rest")


def to_wire(error: BaseException) -> dict[str, Any]:
    """An error as a header can carry it."""
    if not isinstance(error, EcError):
        return {"type": "EcError", "message": f"{type(error).__name__}: {error}"}
    return {"type": type(error).__name__, "message": str(error)}


def from_wire(record: dict[str, Any]) -> EcError:
    """The error that `to_wire` wrote down on the other side."""
    kind = globals().get(record["type"], EcError)
    if not (isinstance(kind, type) and issubclass(kind, EcError)):
        kind = EcError
    return kind(record["message"])
