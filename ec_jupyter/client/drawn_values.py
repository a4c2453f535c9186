"""Values on the cards of a still picture. Whatever a value says of itself is text here, or inside an image."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ec_jupyter.flow.layout import Box

_INK, _SOFT, _LINE, _FIELD = "#1c2430", "#4d5766", "#0b62c4", "#e6e9ee"
_CODE = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"

_TIMES = " \u00d7 "
LINES = 5
_LETTER = 6.1  # width of a character of code, at the size that is used here


def drawn_value(shown: Mapping[str, Any], box: Box) -> str:
    """A value in its box: of what a picture showed, ``text``, ``type`` and a ``look`` that was checked."""
    look = shown.get("look") or {}
    if look.get("table"):
        return "".join(_table(look["table"], box))
    if look.get("array"):
        return "".join(_array(look["array"], box))
    image = _image(look.get("data") or {})
    if image:
        x, y, width, height = box
        return f'<image x="{x:g}" y="{y + 4:g}" width="{width:g}" height="{height - 8:g}" href="{image}"/>'
    return "".join(_words(look.get("plain", shown["text"]), box))


def _image(data: Mapping[str, str]) -> str:
    """An address of data. As an image, nothing in it runs and nothing is fetched."""
    for mime, text in data.items():
        if mime == "image/svg+xml":
            return f"data:{mime};base64,{base64.b64encode(text.encode()).decode()}"
        if mime.startswith("image/"):
            return f"data:{mime};base64,{escape(''.join(text.split()))}"
    return ""


def _words(text: str, box: Box) -> Iterator[str]:
    x, y, width, _ = box
    if len(text) <= 14 and "\n" not in text:
        yield (
            f'<text x="{x + width / 2:g}" y="{y + 46:g}" text-anchor="middle" font-size="20" font-weight="600" '
            f'fill="{_INK}">{escape(text)}</text>'
        )
        return
    letters = int(width / _LETTER)
    lines = [line[at : at + letters] for line in text.split("\n") for at in range(0, max(1, len(line)), letters)]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], lines[LINES - 1][: letters - 1] + "…"]
    for at, line in enumerate(lines):
        yield _code(line, x, y + 16 + 13 * at)


def _code(text: str, x: float, y: float, fill: str = _INK, anchor: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="10" font-family="{_CODE}" fill="{fill}" text-anchor="{anchor}" '
        f'xml:space="preserve">{escape(text)}</text>'
    )


def _table(table: Mapping[str, Any], box: Box) -> Iterator[str]:
    x, y, width, _ = box
    index = table["index"]
    head = ([""] if index else []) + table["columns"]
    rows = [([index[at]] if at < len(index) else []) + row for at, row in enumerate(table["rows"][: LINES - 2])]
    count = min(4, max((len(row) for row in [head, *rows]), default=0))
    if not count:
        return
    room = width / count
    lines = [head, *rows] if any(table["columns"]) else rows
    for at, row in enumerate(lines):
        fill = _SOFT if row is head else _INK
        for place, cell in enumerate(row[:count]):
            yield _code(_cut(cell, int(room / _LETTER) - 1), x + room * place, y + 15 + 13 * at, fill)
    yield _code(shape_text(table["shape"], rows=True), x, y + 15 + 13 * (LINES - 1) + 4, _SOFT)


def _array(array: Mapping[str, Any], box: Box) -> Iterator[str]:
    x, y, width, _ = box
    points = [one for one in array["points"] if one is not None]
    if len(points) > 1:
        low, high = min(points), max(points)
        step, scale = width / (len(points) - 1), 40 / ((high - low) or 1)
        line = " ".join(f"{x + step * at:.1f},{y + 50 - (one - low) * scale:.1f}" for at, one in enumerate(points))
        yield f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>'
    yield _code(f"{array['dtype']} {shape_text(array['shape'])}", x, y + 70, _SOFT)


def shape_text(shape: Sequence[int], *, rows: bool = False) -> str:
    """A shape as a person reads it: ``1,200 x 8``, with the sign of a product; of a table of one size, its entries."""
    text = _TIMES.join(f"{one:,}" for one in shape)
    return f"{text} entries" if rows and len(shape) == 1 else text


def _cut(text: str, letters: int) -> str:
    text = text.replace("\n", " ")
    return text if len(text) <= letters else text[: max(1, letters - 1)] + "…"
