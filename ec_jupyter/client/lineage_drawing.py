"""Requests that hang together as a still picture: SVG without script or style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ec_jupyter.client.drawing import BAD, CARD, FONT, FRAME, GROUND, INK, LINE, SOFT
from ec_jupyter.flow.layout import Card, layout

WIDTH, HEIGHT, MARGIN = 168.0, 44.0, 16.0
MOST = 300  # requests that are drawn; of more, those nearest to the one that is asked for
_EDGES = {"done": "#2f7d4f", "failed": BAD, "running": "#1f5fae", "cancelled": FRAME, "skipped": FRAME}


def svg(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Sequence[Any]], chosen: int | None = None) -> str:
    """The picture: a card for each request, and a line for each value that one has from another."""
    shown = {str(row["id"]): row for row in nodes[:MOST]}
    links = [(str(s), str(t), str(argument)) for s, t, argument in edges if {str(s), str(t)} <= shown.keys()]
    cards = {key: Card("", WIDTH, HEIGHT) for key in shown}
    places = layout(cards, [(source, target) for source, target, _ in links])
    left, top = (min(place[at] for place in places.values()) - MARGIN for at in (0, 1)) if places else (0.0, 0.0)
    right, bottom = (max(place[at] for place in places.values()) for at in (0, 1)) if places else (0.0, 0.0)
    width, height = right + WIDTH + MARGIN - left, bottom + HEIGHT + MARGIN - top
    parts = [_link(places[s], places[t], argument) for s, t, argument in links]
    parts += [_card(row, places[key], chosen=row["id"] == chosen) for key, row in shown.items()]
    more = f" ({len(nodes) - MOST} more)" if len(nodes) > MOST else ""
    label = f"lineage of {len(nodes)} requests{more}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
        f'font-family="{FONT}" '
        f'font-size="12" width="{width:g}" height="{height:g}" viewBox="{left:g} {top:g} {width:g} {height:g}">'
        f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" fill="{GROUND}"/>{"".join(parts)}</svg>'
    )


def _link(source: tuple[float, float], target: tuple[float, float], argument: str) -> str:
    x, y, u, v = source[0] + WIDTH, source[1] + HEIGHT / 2, target[0], target[1] + HEIGHT / 2
    bend = max(30.0, abs(u - x) / 2)
    return (
        f'<path d="M{x:g} {y:g}C{x + bend:g} {y:g} {u - bend:g} {v:g} {u:g} {v:g}" fill="none" stroke="{LINE}">'
        f"<title>{_plain(argument)}</title></path>"
    )


def _card(row: Mapping[str, Any], place: tuple[float, float], *, chosen: bool) -> str:
    x, y = place
    edge, wide = _EDGES.get(row["state"], LINE), 3 if chosen else 1.5
    name, number, state = str(row["socket"]), row["id"], row["state"]
    title = _plain(f"request {number} of {name}: {state}")
    text = name if len(name) <= 22 else f"{name[:21]}…"
    return (
        f"<g><title>{title}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH:g}" height="{HEIGHT:g}" rx="6" fill="{CARD}" stroke="{edge}" '
        f'stroke-width="{wide:g}"/>'
        f'<text x="{x + 10:g}" y="{y + 18:g}" fill="{INK}" font-weight="600">{_plain(text)}</text>'
        f'<text x="{x + 10:g}" y="{y + 35:g}" fill="{SOFT}">{number} · {_plain(state)}</text></g>'
    )


def _plain(text: str) -> str:
    """Text that XML can hold."""
    return escape("".join(one if one.isprintable() else " " for one in text))
