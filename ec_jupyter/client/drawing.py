"""A flow as a still picture: SVG without script or style sheet, for where no editor can be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from html import escape
from itertools import islice
from textwrap import wrap
from typing import Any

from ec_jupyter.client import scene
from ec_jupyter.client.drawn_values import drawn_value
from ec_jupyter.client.recipe import grouped
from ec_jupyter.client.texts import plug_options
from ec_jupyter.flow.layout import CARD_VALUE, CARD_WIDTH, INNER_HEAD, Box, Card, Place, group_boxes, inner_boxes
from ec_jupyter.flow.layout import HEAD as TITLE

# it stands on white pages and on dark ones, and cannot ask which: its own ground, and dark on light
GROUND, FRAME, FIELD, CARD = "#f4f5f7", "#8b93a1", "#e6e9ee", "#ffffff"
INK, SOFT, LINE, BAD = "#1c2430", "#4d5766", "#5b6b86", "#a4262c"
PAPER, EDGE = "#fff6d6", "#c9a94f"
GROUP, RIM = "#e3ebf7", "#7f9cc4"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"

MARGIN = 16.0
NOTE_WIDTH, NOTE_LINE = 220.0, 16.0
NOTE_CHARACTERS, NOTE_LINES = 34, 60  # of a line of a note, and lines that are drawn of one
FOLDED = 88.0  # height of a group that is folded
LABELS = (0.5, 0.38, 0.62, 0.26, 0.74, 0.15, 0.85)  # where the label of a plug may stand, as parts of its length
STRIPE = 256.0

TOP = 36.0  # height of a card above its first port
FOOT = 30.0  # height of a card below its value: the line of its numbers
_STATES = ("asked", "delayed", "queued", "running", "done", "failed", "waiting", "cancelled", "skipped")


def svg(
    topology: Mapping[str, Any], name: str, counts: Mapping[str, Any] | None = None, footer: str = "",
    seen: Mapping[str, Any] | None = None, folded: Collection[str] = (),
) -> str:  # fmt: skip
    """The picture of a wiring.

    `counts`: numbers to write on the cards and plugs. `seen`: the last values that were shown, as `Seen.looks` has
    them. `folded`: groups of which one card is drawn; what is no group is left out.
    """
    boxes = scene.boxes(topology)
    sockets, numbers = topology["sockets"], (counts or {}).get("sockets", {})
    members = grouped(sockets)
    cards = {
        n: Card(sockets[n]["processor"], width, height, (x, y), sockets[n].get("group"))
        for n, (x, y, width, height) in boxes.items()
    }
    places = {n: (box[0], box[1]) for n, box in boxes.items()}
    fields, frames = _fields(topology, cards, places), inner_boxes(cards, places)
    whole = {group: (*frames[group][:2], CARD_WIDTH, FOLDED) for group in members if group in folded}
    inside = {name: group for group in whole for name in members[group]}
    loose = {name: box for name, box in boxes.items() if name not in inside}
    notes = [(note["text"], _note_box(note)) for note in topology.get("notes", ())]
    x, y, width, height = _frame([*fields.values(), *(box for _, box in notes)])
    if footer:
        width, height = max(width, 7.0 * len(footer)), height + 20
    says = f"flow {name}: {len(boxes)} sockets, {len(topology['plugs'])} plugs"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{x:g} {y:g} {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(says)}" '
        f'font-family="{FONT}" font-size="12">',
        f"<title>{escape(says)}</title>",
        _rect((x + 0.5, y + 0.5, width - 1, height - 1), 8, GROUND, f'stroke="{FRAME}"'),
        *_processors(topology, fields),
        *(_group(group, box) for group, box in frames.items() if group not in whole),
        *_plugs(topology, boxes, inside, whole, (counts or {}).get("plugs", {})),
        *(_card(n, sockets[n], box, numbers.get(n), (seen or {}).get(n)) for n, box in loose.items()),
        *(_folded(group, box, [numbers.get(n, {}) for n in members[group]]) for group, box in whole.items()),
        *(_note(text, box) for text, box in notes),
        f'<text x="{x + 12:g}" y="{y + height - 12:g}" fill="{SOFT}">{escape(footer)}</text>' if footer else "",
        "</svg>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _note_lines(text: str) -> list[str]:
    wrapped = (line for part in text.splitlines() for line in (wrap(part, NOTE_CHARACTERS) or [""]))
    return list(islice(wrapped, NOTE_LINES))


def _plain(line: str) -> str:
    # XML has no other control characters
    return "".join(c for c in line if c.isprintable())


def _note_box(note: Mapping[str, Any]) -> Box:
    x, y = note["place"]
    return x, y, NOTE_WIDTH, 20.0 + NOTE_LINE * len(_note_lines(note["text"]))


def _note(text: str, box: Box) -> str:
    x, y, *_ = box
    lines = "".join(
        f'<text x="{x + 10:g}" y="{y + 10 + NOTE_LINE * (at + 0.75):g}" fill="{INK}">{escape(_plain(line))}</text>'
        for at, line in enumerate(_note_lines(text))
    )
    return "<g>" + _rect(box, 4, PAPER, f'stroke="{EDGE}"') + f"{lines}</g>"


def _rect(box: Box, corner: int, fill: str, edge: str) -> str:
    x, y, width, height = box
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{corner}" fill="{fill}" {edge}/>'


def _fields(topology: Mapping[str, Any], cards: Mapping[str, Card], places: Mapping[str, Place]) -> dict[str, Box]:
    """Rectangles of all processors: those without a socket stand below."""
    found = group_boxes(cards, places)
    y = max((box[1] + box[3] for box in found.values()), default=-24.0) + 24
    x = min((box[0] for box in found.values()), default=0.0)
    for processor in topology["processors"]:
        if processor not in found:
            found[processor] = (x, y, 272.0, 88.0)
            x += 296
    return found


def _frame(fields: list[Box]) -> Box:
    if not fields:
        return 0.0, 0.0, 272.0, 88.0
    x, y = min(f[0] for f in fields) - MARGIN, min(f[1] for f in fields) - MARGIN
    right, bottom = max(f[0] + f[2] for f in fields), max(f[1] + f[3] for f in fields)
    return x, y, right + MARGIN - x, bottom + MARGIN - y


def _cut(text: str, characters: int) -> str:
    return escape(text if len(text) <= characters else text[: characters - 1] + "…")


def _processors(topology: Mapping[str, Any], fields: Mapping[str, Box]) -> Iterator[str]:
    for processor, box in fields.items():
        record = topology["processors"].get(processor, {})
        lent = record.get("cpus")
        cpus = "all CPUs" if lent is None else f"{lent} CPU{'' if lent == 1 else 's'}"
        says = f"{cpus}, paused" if record.get("paused") else cpus
        yield _rect(box, 8, FIELD, f'stroke="{FRAME}" stroke-dasharray="4 3"') + (
            f'<text x="{box[0] + 14:g}" y="{box[1] + TITLE / 2 + 4:g}" fill="{INK}" font-weight="600">'
            f'{_cut(processor, 24)} <tspan fill="{SOFT}" font-weight="400">{escape(says)}</tspan></text>'
        )


def _group(name: str, box: Box) -> str:
    return _rect(box, 10, GROUP, f'stroke="{RIM}"') + (
        f'<text x="{box[0] + 12:g}" y="{box[1] + INNER_HEAD / 2 + 4:g}" fill="{INK}" font-weight="600">'
        f"{_cut(name, 24)}</text>"
    )


def _folded(name: str, box: Box, counts: list[Mapping[str, Any]]) -> str:
    """A group as one card: how many sockets it has, and what their numbers come to."""
    x, y, *_ = box
    sums = {state: sum(one.get(state, 0) for one in counts) for state in _STATES}
    edge = f'stroke="{BAD}" stroke-width="2"' if sums["failed"] else f'stroke="{RIM}" stroke-width="1.5"'
    many = f"{len(counts)} socket{'' if len(counts) == 1 else 's'}"
    return (
        f"<g>{_rect(box, 10, CARD, edge)}"
        f'<text x="{x + 12:g}" y="{y + 24:g}" fill="{INK}" font-size="13" font-weight="600">'
        f"{_cut(name, 28)}</text>"
        f'<text x="{x + 12:g}" y="{y + 48:g}" fill="{SOFT}">{many}</text>'
        f'<text x="{x + 12:g}" y="{y + 72:g}" font-size="11" fill="{BAD if sums["failed"] else SOFT}">'
        f"{_cut(_sums(sums), 40)}</text></g>"
    )


def _ports(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [p for p in record["task"]["signature"] if not p["kind"].startswith("VAR_")]


def _port_height(box: Box, at: int) -> float:
    return box[1] + TOP + scene.ROW * at + scene.ROW / 2


def _plugs(
    topology: Mapping[str, Any], boxes: Mapping[str, Box], inside: Mapping[str, str], whole: Mapping[str, Box],
    depths: Mapping[str, int],
) -> Iterator[str]:  # fmt: skip
    """Plugs, but those within a group that is folded: `inside` says in which a socket is, `whole` where those are."""
    taken = _Taken([*(box for name, box in boxes.items() if name not in inside), *whole.values()])
    for plug in topology["plugs"]:
        out, into = inside.get(plug["source"]), inside.get(plug["target"])
        if out is not None and out == into:
            continue
        start, end = boxes[plug["source"]], boxes[plug["target"]]
        names = [p["name"] for p in _ports(topology["sockets"][plug["target"]])]
        x1, y1 = start[0] + start[2], start[1] + TOP / 2
        x2, y2 = end[0], _port_height(end, names.index(plug["argument"]) if plug["argument"] in names else 0)
        if out is not None:
            x1, y1 = whole[out][0] + CARD_WIDTH, whole[out][1] + FOLDED / 2
        if into is not None:
            x2, y2 = whole[into][0], whole[into][1] + FOLDED / 2
        bend = max(40.0, abs(x2 - x1) / 2)
        failure = plug["on"] == "error"
        colour, dashes = (BAD, ' stroke-dasharray="6 4"') if failure else (LINE, "")
        yield (
            f'<path d="M{x1:g} {y1:g} C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}" '
            f'fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>'
        )
        depth = depths.get(str(plug["id"]), 0)
        says = ", ".join([*([str(depth)] if depth else []), *plug_options(plug, "error")])
        if says:
            text = _cut(says, 28)
            x, y = taken.free(((x1, y1), (x1 + bend, y1), (x2 - bend, y2), (x2, y2)), 6.0 * min(len(says), 28) + 8)
            # with a rim, for a line may run under it
            yield (
                f'<text x="{x:g}" y="{y - 5:g}" text-anchor="middle" font-size="11" '
                f'fill="{BAD if failure else SOFT}" stroke="{GROUND}" stroke-width="3" paint-order="stroke">'
                f"{text}</text>"
            )


Curve = tuple[Place, Place, Place, Place]


class _Taken:
    """What labels may not lie on: cards, and other labels; in stripes, for a flow may have very many."""

    def __init__(self, boxes: Iterable[Box]) -> None:
        self._stripes: dict[int, list[Box]] = {}
        for box in boxes:
            self._add(box)

    def free(self, curve: Curve, width: float) -> Place:
        """Where the label of a plug stands: the first of some points that is free, else in the middle."""
        points = [_point(curve, part) for part in LABELS]
        x, y = next((at for at in points if not self._touches(_label(at, width))), points[0])
        self._add(_label((x, y), width))
        return round(x, 1), round(y, 1)

    def _add(self, box: Box) -> None:
        for stripe in _stripes(box):
            self._stripes.setdefault(stripe, []).append(box)

    def _touches(self, box: Box) -> bool:
        x, y, width, height = box
        return any(
            left < x + width and x < left + wide and top < y + height and y < top + high
            for stripe in _stripes(box)
            for left, top, wide, high in self._stripes.get(stripe, ())
        )


def _stripes(box: Box) -> range:
    return range(int(box[0] // STRIPE), int((box[0] + box[2]) // STRIPE) + 1)


def _label(at: Place, width: float) -> Box:
    return at[0] - width / 2, at[1] - 17, width, 16.0


def _point(curve: Curve, part: float) -> Place:
    rest = 1 - part
    weights = (rest**3, 3 * rest**2 * part, 3 * rest * part**2, part**3)
    x, y = (sum(w * at[axis] for w, at in zip(weights, curve, strict=True)) for axis in (0, 1))
    return x, y


def _card(
    name: str, record: Mapping[str, Any], box: Box, counts: Mapping[str, Any] | None, look: Mapping[str, Any] | None
) -> str:
    x, y, width, height = box
    failed = bool(counts and counts.get("failed"))
    title = f'{_cut(name, 24)} <tspan fill="{SOFT}" font-weight="400">v{record["task"]["version"]}</tspan>'
    edge = f'stroke="{BAD}" stroke-width="2"' if failed else f'stroke="{FRAME}"'
    parts = [
        f"<g>{_rect(box, 6, CARD, edge)}",
        f'<text x="{x + 12:g}" y="{y + TOP / 2 + 5:g}" fill="{INK}" font-size="13" font-weight="600">{title}</text>',
        f'<circle cx="{x + width:g}" cy="{y + TOP / 2:g}" r="4" fill="{LINE}"/>',
        *_port_rows(record, box, (counts or {}).get("arrived", {})),
        drawn_value(look, (x + 12, y + height - FOOT - CARD_VALUE, width - 24, CARD_VALUE)) if look else "",
        f'<text x="{x + 12:g}" y="{y + height - 14:g}" font-size="11" fill="{BAD if failed else SOFT}">'
        f"{_cut(_numbers(record, counts), 40)}</text></g>",
    ]
    return "".join(parts)


def _port_rows(record: Mapping[str, Any], box: Box, arrived: Mapping[str, int]) -> Iterator[str]:
    for at, port in enumerate(_ports(record)):
        y = _port_height(box, at)
        fixed = record["fixed"].get(port["name"])
        value = fixed["text"] if fixed else port.get("default")
        text = port["name"] + (f" = {value}" if value is not None else "")
        waits = arrived.get(port["name"], 0)
        yield (
            f'<circle cx="{box[0]:g}" cy="{y:g}" r="4" fill="{LINE if waits else CARD}" stroke="{LINE}"/>'
            f'<text x="{box[0] + 12:g}" y="{y + 4:g}" fill="{INK}">{_cut(text, 26)}</text>'
        )
        if waits:
            yield (
                f'<text x="{box[0] + box[2] - 12:g}" y="{y + 4:g}" text-anchor="end" fill="{SOFT}">'
                f"{waits} arrived</text>"
            )


def _numbers(record: Mapping[str, Any], counts: Mapping[str, Any] | None) -> str:
    words = ["paused"] if record.get("paused") else []
    return " · ".join([*words, _sums(counts)] if counts and _sums(counts) else words)


def _sums(counts: Mapping[str, Any]) -> str:
    return " · ".join(f"{counts[state]} {state}" for state in _STATES if counts.get(state))
