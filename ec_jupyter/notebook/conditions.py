"""Small functions that workers evaluate on results: a plug's condition and part, a socket's key."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from ec_jupyter.errors import WiringError
from ec_jupyter.nodes.current import Part
from ec_jupyter.notebook.edits import Edit
from ec_jupyter.notebook.shipping import pickled, sha256
from ec_jupyter.notebook.written import written


@dataclass(frozen=True)
class Expression:
    """An expression, and where its names are looked up."""

    text: str
    space: dict[str, Any]


def shipped(function: Any, word: str, over: str, whose: str, edit: Edit) -> dict[str, Any] | None:
    """A function, or an expression over `over`, as an edit carries it.

    `word`, `over`: the option, and what an expression calls the value it looks at. `whose`: the plug or socket, for
    messages. Raises WiringError: it is neither a function nor an expression.
    """
    if function is None:
        return None
    part = _part(function) if word == "pick" else None
    if part is not None:
        blob = pickle.dumps(part, protocol=5)
        record = {"sha256": sha256(blob), "text": part.text, "blob": edit.buffer(blob)}
        field = {"field": part.place} if isinstance(part.place, str) else {}
        return record | {"written": {"name": "", "code": repr(part.place), "before": {}, "lacks": [], **field}}
    given = Expression(function, vars(sys.modules["__main__"])) if isinstance(function, str) else function
    expression = given if isinstance(given, Expression) else None
    text = expression.text if expression else getattr(given, "__name__", type(given).__name__)
    made = _compiled(expression, word, over) if expression else given
    if not callable(made):
        raise WiringError(f"{word}= takes an expression or a function, not {type(function).__name__}")
    blob = pickled(made, f"{whose} {word}")
    record = {"sha256": sha256(blob), "text": text, "blob": edit.buffer(blob)}
    return record | {"written": written(made, expression.text if expression else None)}


def _part(given: Any) -> Part | None:
    """The part that a person names by a field, a number or a slice; None where it is a function or an expression."""
    if isinstance(given, Expression):
        given = given.text
    named = isinstance(given, str) and given.isidentifier() and not iskeyword(given)
    ends = (given.start, given.stop, given.step) if isinstance(given, slice) else (given,)
    numbered = all(type(end) is int or (end is None and isinstance(given, slice)) for end in ends)
    return Part(given) if named or numbered else None


def _compiled(expression: Expression, word: str, over: str) -> Any:
    try:
        code = compile(f"lambda {over}: ({expression.text})", f"<{word}>", "eval")
    except SyntaxError as error:
        raise WiringError(f"{word} {expression.text!r} is no expression: {error.msg}") from error
    return eval(code, expression.space)
