"""What is known of how requests hang together: `Lineage`, and the `Story` of one."""

from __future__ import annotations

import os
from html import escape
from typing import Any

from ec_jupyter.client.texts import write_text
from ec_jupyter.notebook.tables import Table


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
