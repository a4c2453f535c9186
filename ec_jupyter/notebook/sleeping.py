"""A wait in the wiring: the task of a socket whose calls pass on what they get, once their time has come."""

from __future__ import annotations

import inspect
import time
from datetime import timedelta
from typing import Any

from ec_jupyter.flow.options import SPAN
from ec_jupyter.notebook.asking import Unworked


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
        value = inspect.Parameter("value", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self.__signature__ = inspect.Signature([value])

    @property
    def record(self) -> dict[str, Any]:
        """What the engine keeps of it."""
        return {"sleep": self.seconds}

    def __call__(self, value: Any) -> Any:
        """Sleep right here, for trying it out by hand."""
        time.sleep(self.seconds)
        return value

    def __eq__(self, other: object) -> bool:
        return type(other) is sleep and other.seconds == self.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)

    def __reduce__(self) -> tuple[Any, ...]:
        return sleep, (self.seconds,)

    def __repr__(self) -> str:
        return f"sleep({self.seconds:g})"


# where people find it: what is written down of a flow says so too
sleep.__module__ = "ec_jupyter"
