"""What an edit does to what is under way, as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

NOTHING = "nothing under way is affected"


@dataclass(frozen=True, eq=False, repr=False)
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

    to: dict[str, int]
    nowhere: dict[str, int]
    moved: dict[str, int]
    stays: dict[str, int]
    unplaced: dict[str, int]
    parked: dict[str, int]
    held_back: dict[str, int]
    stranded: dict[str, int]
    lost: int
    text: str
    dry: bool = False

    def __repr__(self) -> str:
        return f"{'dry run: ' if self.dry else ''}{self.text or NOTHING}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"
