"""How long the runs that begin at a socket stay once they have ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FOREVER = "forever"  # what `keep` is where they stay, whatever the flow says


@dataclass(frozen=True)
class Keep:
    """Which of the ended runs that begin at one socket stay."""

    seconds: float | None = None  # those that are younger
    runs: int | None = None  # the newest
    sized: bool = True  # they go where the flow is larger than it is to be

    @classmethod
    def of(cls, text: str) -> Keep:
        """What a socket's `keep` says: ``"forever"``, ``"600s"`` or ``"100"``."""
        if text == FOREVER:
            return cls(sized=False)
        return cls(seconds=float(text[:-1])) if text.endswith("s") else cls(runs=int(text))
