"""How long calls of each task take, learned from those that have ended."""

from __future__ import annotations

SHORT_SECONDS = 0.005  # a call up to this long may share a batch; a batch holds about as much work
CALL_SECONDS = 15e-6  # what a call costs even where its task costs nothing


class Durations:
    """Moving averages by task, in seconds."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def get(self, task: str) -> float | None:
        """Seconds a call of the task is thought to take; None before the first one has ended."""
        return self._seconds.get(task)

    def short(self, task: str) -> bool:
        """Whether calls of the task may share a batch."""
        seconds = self._seconds.get(task)
        return seconds is not None and seconds <= SHORT_SECONDS

    def learn(self, task: str, seconds: float) -> float:
        """Take in what calls took on average; what one is thought to take now."""
        old = self._seconds.get(task, seconds)
        # quick to fall, for the first call also loads what its task imports
        weight = 0.5 if seconds < old else 0.3
        now = self._seconds[task] = max(old + weight * (seconds - old), CALL_SECONDS)
        return now
