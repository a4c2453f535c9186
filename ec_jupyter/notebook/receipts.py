"""What an edit does to what is under way, as a person reads it."""

from __future__ import annotations

from html import escape
from typing import Any

NOTHING = "nothing under way is affected"


class Receipt:
    """What an edit did to what was under way; of a dry run, what it would do.

    Attributes
    ----------
    dry : bool
        The edit was not made.
    to : dict of str to int
        Results that were there, or come of calls under way, by the socket that they go to.
    nowhere : dict of str to int
        Calls under way whose results no plug takes any more, by socket.
    moved, stays, unplaced : dict of str to int
        Of a socket on another processor, calls that go there, those that run and end where they are, and those that
        wait because no CPU is there at present.
    parked, held_back, stranded : dict of str to int
        Requests and values parked with a removed socket; queued requests whose task asks
        for more now; waiting values and calls that nothing completes any more. Each by socket.
    lost : int
        What is there no more.
    text : str
        All of it in one line: ``120 to 'clean', 80 to 'clean2', 0 lost``. Empty where nothing was under way that the
        edit is about.
    """

    def __init__(self, facts: dict[str, Any], *, dry: bool = False) -> None:
        self.dry = dry
        self.to: dict[str, int] = facts["to"]
        self.nowhere: dict[str, int] = facts["nowhere"]
        self.moved: dict[str, int] = facts["moved"]
        self.stays: dict[str, int] = facts["stays"]
        self.unplaced: dict[str, int] = facts["unplaced"]
        self.parked: dict[str, int] = facts["parked"]
        self.held_back: dict[str, int] = facts["held_back"]
        self.stranded: dict[str, int] = facts["stranded"]
        self.lost: int = facts["lost"]
        self.text: str = facts["text"]

    def __repr__(self) -> str:
        return f"{'dry run: ' if self.dry else ''}{self.text or NOTHING}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"
