"""Tables of statistics and of the log."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ec_jupyter.client.texts import bytes_text, clock_text, number_text, seconds_text, shown
from ec_jupyter.notebook.tables import Table

_STATISTICS = {
    "of": "of", "name": "name", "ended": "calls", "failed": "failed", "per_second": "per second",
    "p50": "p50", "p95": "p95", "waited_p50": "waited p50", "waited_p95": "waited p95", "queued": "queued",
    "most_queued": "most queued", "running": "running", "cpu": "CPUs", "memory": "memory",
}  # fmt: skip
"""Figures by the word that a table has for each."""

LOG = ["time", "level", "kind", "socket", "request", "text"]


class Figures(Table):
    """A table whose rows are numbers, in seconds and bytes, and which shows them as people write them."""

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One dict a row."""
        return list(self._records)


def statistics(reply: dict[str, Any], *, course: bool) -> Figures:
    """The statistics that an engine answers with."""
    rows = reply["course" if course else "rows"]
    if course:
        rows = [{"time": row["at"], **{key: value for key, value in row.items() if key != "at"}} for row in rows]
    minutes = max(1, round((reply["time"] - reply["began"]) / 60))
    title = "the last hour" if minutes >= 60 else "the last minute" if minutes == 1 else f"the last {minutes} minutes"
    columns = [*(["time"] if course else []), *_STATISTICS.values()]
    return Figures(rows, columns, title=title, text=_figures)


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    times = dict.fromkeys(("p50", "p95", "waited_p50", "waited_p95"), seconds_text)
    plain = dict.fromkeys(("per_second", "queued", "running", "cpu"), number_text)
    texts = shown(row, memory=bytes_text, **times, **plain)
    return {"time": clock_text(row.get("time")), **{word: texts[key] for key, word in _STATISTICS.items()}}


def log_lines(rows: list[dict[str, Any]]) -> Figures:
    """Lines of a log."""
    return Figures(rows, LOG, text=lambda row: shown(row, time=clock_text))
