"""``ec``: flows from a shell. Values come and go as JSON; none is unpickled here unless the person asks for it."""

from __future__ import annotations

__all__: list[str] = []
