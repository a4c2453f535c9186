"""What a person reads of a flow and its requests: tables, outlines, lineages and stories, as text and as HTML."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from html import escape
from typing import Any, overload

from ec_jupyter.client.texts import (
    aligned,
    bytes_text,
    cell_text,
    clock_text,
    number_text,
    seconds_text,
    shown,
    write_text,
)

SHOWN = 60  # rows a table shows; it holds them all


class Table(Sequence[Any]):
    """Rows under named columns.

    Parameters
    ----------
    rows : sequence of dict
        One dict a row.
    columns : sequence of str
        What is shown, in this order; a row may have more.
    items : sequence, optional
        What indexing gives, where that is more than the row: one object a row.
    title : str
        A line above the table.
    text : callable, optional
        What a row becomes before anybody looks at it.

    Attributes
    ----------
    rows : list of dict
        One dict a row.

    Notes
    -----
    Its reprs read nothing but the rows, so they can neither wait nor fail.
    """

    def __init__(
        self,
        rows: Sequence[dict[str, Any]],
        columns: Sequence[str],
        *,
        items: Sequence[Any] | None = None,
        title: str = "",
        text: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        self._records, self._text = rows, text
        self.columns = list(columns)
        self.title = title
        self._items = list(self.rows if items is None else items)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One dict a row."""
        # made when somebody looks: most tables are only indexed
        return [self._text(record) for record in self._records]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            records, items = self._records[index], self._items[index]
            return Table(records, self.columns, items=items, title=self.title, text=self._text)
        return self._items[index]

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame, with every column they have.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(self.rows)

    def _cells(self) -> list[list[str]]:
        return [
            [cell_text(row.get(column)) for column in self.columns] for row in map(self._text, self._records[:SHOWN])
        ]

    def _more(self) -> str:
        return f"… {len(self._records) - SHOWN} more" if len(self._records) > SHOWN else ""

    def __repr__(self) -> str:
        body = aligned(self.columns, self._cells()) if self._records else ["(none)"]
        return "\n".join(filter(None, [self.title, *body, self._more()]))

    def _repr_html_(self) -> str:
        caption = f"<caption style='text-align:left'>{escape(self.title)}</caption>" if self.title else ""
        head = "".join(f"<th style='text-align:left'>{escape(column)}</th>" for column in self.columns)
        rows = [
            "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._cells()
        ]
        body = "".join(rows) or f"<tr><td colspan='{len(self.columns)}'>(none)</td></tr>"
        more = f"<p>{escape(self._more())}</p>" if self._more() else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


class Report(Table):
    """A table with facts beside it, each an item by name: ``report["failed"]``.

    Parameters
    ----------
    facts : dict
        Numbers and words that the title sums up.
    rows, columns, title
        As for `Table`.
    """

    def __init__(
        self, facts: dict[str, Any], rows: Sequence[dict[str, Any]], columns: Sequence[str], title: str
    ) -> None:
        super().__init__(rows, columns, title=title)
        self.facts = facts

    def __repr__(self) -> str:
        return super().__repr__() if self._records else self.title

    def _repr_html_(self) -> str:
        return super()._repr_html_() if self._records else escape(self.title)

    def __getitem__(self, index: Any) -> Any:
        return self.facts[index] if isinstance(index, str) else super().__getitem__(index)


class Tree:
    """Nested records, shown as an indented outline.

    Parameters
    ----------
    records : list of dict
        Each with the lists of what is inside it.
    """

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records

    def __repr__(self) -> str:
        return "\n".join(_outline(self.records, 0))

    def _repr_html_(self) -> str:
        return _nested(self.records)


def _outline(level: Any, depth: int) -> Iterator[str]:
    for name, inside in _branches(level):
        yield f"{'  ' * depth}{name}"
        yield from _outline(inside, depth + 1)


def _nested(level: Any) -> str:
    items = [
        f"<details open><summary>{escape(name)}</summary>{_nested(inside)}</details>"
        if inside
        else f"<div>{escape(name)}</div>"
        for name, inside in _branches(level)
    ]
    return f"<div style='margin-left:1.5em'>{''.join(items)}</div>"


def _branches(level: Any) -> list[tuple[str, list[Any]]]:
    """Label and contents of each record of one level; a record's lists are what is inside it."""
    found = []
    for record in level:
        if isinstance(record, dict):
            plain = [f"{key} {value}" for key, value in record.items() if not isinstance(value, list)]
            inside = [part for value in record.values() if isinstance(value, list) for part in value]
            found.append((", ".join(plain), inside))
        else:
            found.append((str(record), []))
    return found


# -- statistics and the log --------------------------------------------------------
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


# -- how requests hang together ----------------------------------------------------
class Story(list[str]):
    """What happened to a request: one sentence after the other."""

    def __repr__(self) -> str:
        return "\n".join(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return "".join(f"<div>{escape(sentence)}</div>" for sentence in self)


class Lineage:
    """Requests that hang together, and which fed which; a notebook shows them as a picture and a table.

    Parameters
    ----------
    nodes : list of dict
        One row a request.
    edges : list of (int, int, str)
        From which request to which, at which argument.
    chosen : int, optional
        The request that it is the lineage of.
    """

    def __init__(self, nodes: list[dict[str, Any]], edges: list[Any], chosen: int | None = None) -> None:
        self.nodes = nodes
        self.edges = [tuple(edge) for edge in edges]
        self.chosen = chosen

    def to_networkx(self) -> Any:
        """The same as a `networkx.MultiDiGraph`; nodes bear their rows, edges their argument."""
        import networkx as nx

        graph = nx.MultiDiGraph()
        graph.add_nodes_from((row["id"], row) for row in self.nodes)
        graph.add_edges_from((source, target, {"argument": argument}) for source, target, argument in self.edges)
        return graph

    def to_frame(self) -> Any:
        """The requests as a pandas DataFrame, a row each: its record, and in ``from`` and ``to`` lists of requests.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        came: dict[int, list[int]] = {}
        went: dict[int, list[int]] = {}
        for source, target, _ in self.edges:
            came.setdefault(target, []).append(source)
            went.setdefault(source, []).append(target)
        rows = [{**row, "from": came.get(row["id"], []), "to": went.get(row["id"], [])} for row in self.nodes]
        return Table(rows, []).to_frame()

    def svg(self, path: str | os.PathLike[str] | None = None) -> str:
        """The picture: a card for each request, a line for each value; also written to `path` if one is given.

        Of more than 300 requests, the nearest are drawn.
        """
        from ec_jupyter.client.lineage_drawing import svg

        text = svg(self._nearest(), self.edges, self.chosen)
        if path is not None:
            write_text(path, text)
        return text

    def _nearest(self) -> list[dict[str, Any]]:
        """Requests, those first that are the fewest steps from the chosen one."""
        import networkx as nx

        graph = self.to_networkx().to_undirected(as_view=True)
        steps = nx.single_source_shortest_path_length(graph, self.chosen) if self.chosen in graph else {}
        return sorted(self.nodes, key=lambda row: (steps.get(row["id"], len(steps)), row["id"]))

    def _table(self) -> Table:
        into: dict[int, list[str]] = {}
        for source, target, argument in self.edges:
            into.setdefault(target, []).append(f"{argument} from {source}")
        rows = [{**row, "arguments": into.get(row["id"], [])} for row in self.nodes]
        return Table(rows, ["id", "socket", "state", "arguments"])

    def __repr__(self) -> str:
        return repr(self._table())

    def _repr_html_(self) -> str:
        return f'<div style="overflow: auto">{self.svg()}</div>{self._table()._repr_html_()}'
