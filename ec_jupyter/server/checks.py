"""What comes in is looked at before anything is done for it, and what went wrong is told in one line."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Coroutine
from functools import wraps
from typing import Any, NoReturn, TypeVar

from tornado.web import HTTPError

from ec_jupyter.client.texts import in_words_of
from ec_jupyter.errors import (
    AnswerError,
    EcError,
    EngineError,
    FlowInUseError,
    PythonMismatchError,
    QueueFullError,
    RevisionError,
    StoreError,
    UntrustedFlowError,
    nearest,
)
from ec_jupyter.flow.schema import is_text

MOST_BYTES = 64 << 20  # the largest body that is read
DEEPEST = 100  # levels of lists and objects in a body
_DEEP = f"the body is nested more than {DEEPEST} levels deep"
_BIGGEST = 1 << 63
_CONFLICTS = (
    AnswerError, EngineError, FlowInUseError, PythonMismatchError, QueueFullError, RevisionError, StoreError,
)  # fmt: skip
_T = TypeVar("_T")


class Refused(HTTPError):
    """A request that is answered with a status and one line."""

    def __init__(self, status: int, text: str, kind: str = "") -> None:
        self.text = "; ".join(line.strip() for line in text.splitlines() if line.strip())
        self.kind = kind
        super().__init__(status, "%s", self.text)


def told(method: Callable[..., Awaitable[_T]]) -> Callable[..., Coroutine[Any, Any, _T]]:
    """Let a verb answer with the line that an error of ours says."""

    @wraps(method)
    async def verb(self: Any, *args: Any, **kwargs: Any) -> _T:
        try:
            return await method(self, *args, **kwargs)
        except EcError as error:
            text = in_words_of(str(error), option="'{}'", flag='"{}": true')
            raise Refused(_status(error), text, type(error).__name__) from None
        except TimeoutError as error:
            raise Refused(503, str(error) or "the engine does not answer", "TimeoutError") from None

    return verb


def _status(error: EcError) -> int:
    if isinstance(error, LookupError):
        return 404
    if isinstance(error, UntrustedFlowError):
        return 403
    return 409 if isinstance(error, _CONFLICTS) else 400


def read_object(body: bytes, what: str = "the body") -> dict[str, Any]:
    """The JSON object that a body holds. Raises Refused: it holds none: 413 where it is too large, else 400."""
    if len(body) > MOST_BYTES:
        raise Refused(413, f"a body of {len(body)} bytes is over the limit of {MOST_BYTES}")
    try:
        found = json.loads(body, parse_constant=_no_number)
    except RecursionError:
        raise Refused(400, _DEEP) from None
    except ValueError as error:
        raise Refused(400, f"{what} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refused(400, f"{what} is to be a JSON object, not {_kind(found)}")
    if not _fits(found):
        raise Refused(400, f"{_DEEP}, or a text in it is none")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _fits(value: object, depth: int = 0) -> bool:
    """Whether a value can travel on: not too deep, and its texts are text."""
    if depth > DEEPEST:
        return False
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, dict):
        return all(_fits(key) and _fits(v, depth + 1) for key, v in value.items())
    return all(_fits(v, depth + 1) for v in value) if isinstance(value, list) else True


def check_numbers(value: object) -> None:
    """Refuse whole numbers that no database can hold. Raises Refused: there is one."""
    if isinstance(value, int) and not -_BIGGEST <= value < _BIGGEST:
        raise Refused(400, "a whole number in the body has more than 64 bits")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_numbers(part)


def only(body: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """The body, if it has these fields alone. Raises Refused: it has another, which would not be heeded."""
    for name in body.keys() - fields:
        raise Refused(400, f"there is no field {name!r} here; {nearest(name, fields)}")
    return body


def field(body: dict[str, Any], name: str, kind: type[_T], default: Any = ...) -> _T:
    """The field of that name, of that kind. Raises Refused: it is missing and has no default, or is of another kind."""
    value = body.get(name, default)
    if value is default and default is not ...:
        return default  # type: ignore[no-any-return]
    if value is ...:
        raise Refused(400, f"the body lacks the field {name!r}")
    if not isinstance(value, kind):
        raise Refused(400, f"the field {name!r} is to be {_KINDS[kind]}, not {_kind(value)}")
    return value


_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number"}


def _kind(value: object) -> str:
    return "null" if value is None else _KINDS.get(type(value), "a number")
