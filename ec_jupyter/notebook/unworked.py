"""Tasks that no worker runs: what a socket asks a person, and a wait in the wiring."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ec_jupyter.errors import DeclarationError
from ec_jupyter.flow.options import SPAN, shown
from ec_jupyter.flow.schema import CHOICE, CHOICES, PROMPT


class Unworked:
    """A task that no worker runs.

    `does`: what its calls do instead, as an error says it. `hint`: what names its arguments, as an error says it.
    """

    does = hint = ""

    @property
    def record(self) -> dict[str, Any]:
        """What the engine keeps of it."""
        raise NotImplementedError

    @property
    def _given(self) -> tuple[Any, ...]:
        """What makes it again."""
        raise NotImplementedError

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Do it right here, for trying it out by hand."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._given == self._given

    def __hash__(self) -> int:
        return hash(self._given[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given


def _taking(names: Iterable[str]) -> inspect.Signature:
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names])


class ask(Unworked):  # noqa: N801 - used as a function is: `flow.socket(ec.ask("Approve?"), name="approve")`
    """A task that a person does: a call of its socket waits, on disk, until somebody answers, and then is done.

    No worker, no CPU and no engine is taken while it waits. It is answered once: in the picture, by `Flow.answer`, or
    over HTTP; the answer is its result.

    Parameters
    ----------
    prompt : str
        What is asked.
    choices : iterable of str, int, float or bool, optional
        The answers there are; any value is one if left out.
    about : str or iterable of str
        Names of its arguments: the values that the person is shown.

    Raises
    ------
    DeclarationError
        The prompt is no text, or empty; the choices are none, or two are the same; an argument has no name.

    Examples
    --------
    >>> flow.socket(ec.ask("Approve?", choices=["yes", "no"]), name="approve")
    >>> flow.plug("draft", "approve")
    >>> flow.plug("approve", "publish.decision")
    """

    does, hint = "asks a person", "about= of ec.ask names its arguments"

    def __init__(self, prompt: str, choices: Iterable[Any] | None = None, about: str | Iterable[str] = "value") -> None:
        if not PROMPT.fits(prompt):
            raise DeclarationError(f"ask takes {PROMPT.says}, not {shown(prompt)}")
        if isinstance(choices, (str, bytes)):
            raise DeclarationError(f"choices= takes a list of answers, not the text {shown(choices)}")
        found = None if choices is None else list(choices)
        if found is not None and not CHOICES.fits(found):
            strange = next((one for one in found if not CHOICE.fits(one)), found)
            raise DeclarationError(f"choices= takes {CHOICES.says}, not {shown(strange)}")
        self.prompt, self.choices = prompt, found
        self.about = [about] if isinstance(about, str) else list(about)
        try:
            self.__signature__ = _taking(self.about)
        except (TypeError, ValueError) as error:
            raise DeclarationError(f"about= takes names of arguments, not {shown(about)}: {error}") from None

    @property
    def record(self) -> dict[str, Any]:
        """What the engine keeps of it."""
        return {"prompt": self.prompt, "choices": self.choices}

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Ask right here, by `input`: what a socket asks durably, for trying it out by hand."""
        self.__signature__.bind(*values, **named)
        offered = "" if self.choices is None else f" ({', '.join(map(str, self.choices))})"
        while True:
            said = input(f"{self.prompt}{offered} ")
            if self.choices is None:
                return said
            for choice in self.choices:
                if said == str(choice):
                    return choice

    @property
    def _given(self) -> tuple[Any, ...]:
        return self.prompt, self.choices, self.about

    def __repr__(self) -> str:
        given = [repr(self.prompt)]
        given += [] if self.choices is None else [f"choices={self.choices!r}"]
        given += [] if self.about == ["value"] else [f"about={self.about[0] if len(self.about) == 1 else self.about!r}"]
        return f"ask({', '.join(given)})"


class sleep(Unworked):  # noqa: N801 - used as a function is: `flow.socket(ec.sleep("2d"), name="cool_off")`
    """A task that waits: a call of its socket gets one value, and has it as its result so much later.

    The call waits on disk, `delayed`; no worker and no CPU is taken meanwhile, however long that is. The engine stays
    for it, and the next one goes on with what is left of the time, which is the wall clock's. A value of any size
    is passed on as it is; failures and gathered lists are not taken.

    Parameters
    ----------
    seconds : float, str or timedelta
        How long: seconds, or ``"90s"``, ``"5m"``, ``"2h"``, ``"1d"``.

    Raises
    ------
    DeclarationError
        It is no time over 0.

    Examples
    --------
    >>> flow.socket(ec.sleep("2d"), name="cool_off")
    >>> flow.plug("draft", "cool_off")
    >>> flow.plug("cool_off", "publish")
    """

    does = "sleeps"
    hint = "its time is that of ec.sleep"

    def __init__(self, seconds: float | str | timedelta) -> None:
        self.seconds: float = SPAN(seconds, "ec.sleep", "seconds")
        self.__signature__ = _taking(["value"])

    @property
    def record(self) -> dict[str, Any]:
        """What the engine keeps of it."""
        return {"sleep": self.seconds}

    def __call__(self, value: Any) -> Any:
        """Sleep right here, for trying it out by hand."""
        time.sleep(self.seconds)
        return value

    @property
    def _given(self) -> tuple[Any, ...]:
        return (self.seconds,)

    def __repr__(self) -> str:
        return f"sleep({self.seconds:g})"


# where people find them: what is written down of a flow says so too
ask.__module__ = sleep.__module__ = "ec_jupyter"
