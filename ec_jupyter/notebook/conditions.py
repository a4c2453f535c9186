"""Small functions that workers evaluate on results: a plug's condition, a socket's key."""

from __future__ import annotations

from typing import Any

from ec_jupyter.errors import WiringError
from ec_jupyter.notebook.edits import Edit
from ec_jupyter.notebook.shipping import pickled, sha256


def shipped(function: Any, word: str, over: str, whose: str, edit: Edit) -> dict[str, Any] | None:
    """A function, or an expression over `over`, as an edit carries it.

    Parameters
    ----------
    function : str or callable or None
        What the person gave for the option `word`.
    word, over : str
        The option, and what an expression calls the value it looks at.
    whose : str
        The plug or socket, for messages.
    edit : Edit
        What it goes with.

    Raises
    ------
    WiringError
        It is neither a function nor an expression.
    """
    if function is None:
        return None
    text = function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)
    made = _expression(function, word, over) if isinstance(function, str) else function
    if not callable(made):
        raise WiringError(f"{word}= takes an expression or a function, not {type(function).__name__}")
    blob = pickled(made, f"{whose} {word}")
    return {"sha256": sha256(blob), "text": text, "blob": edit.buffer(blob)}


def _expression(text: str, word: str, over: str) -> Any:
    import __main__

    try:
        code = compile(f"lambda {over}: ({text})", f"<{word}>", "eval")
    except SyntaxError as error:
        raise WiringError(f"{word} {text!r} is no expression: {error.msg}") from error
    return eval(code, vars(__main__))
