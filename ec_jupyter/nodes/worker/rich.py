"""A value as a picture shows it on a card: a table, a spark line, an image, or what its own ``_repr_*_`` say.

Made in a worker, from whatever a user's task returned: bounded in size and in time, and nothing here raises.
It loads no package that the value has not loaded already.
"""

from __future__ import annotations

import base64
import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from types import FrameType
from typing import Any

from ec_jupyter.nodes.worker.output import printable

BUNDLE_BYTES = 64 * 1024  # the largest representation, as JSON
IMAGE_BYTES = 44 * 1024  # the largest image, before base64
SECONDS = 2.0  # how long making one may take, once the value is loaded
ROWS, COLUMNS, CELL = 50, 16, 60
POINTS = 96
WHOLE = 10_000_000
"""Elements of an array whose ends are looked for among all of them; of a larger one, among its points."""

FEWEST = 8  # numbers that make a list a line rather than a text
WIDEST = 640  # pixels of an image: it is seen beside the flow, not printed
_FRAMES = ("pandas", "polars", "pyarrow", "geopandas", "modin")
_METHODS = {
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "text/html": "_repr_html_",
    "text/latex": "_repr_latex_",
    "text/markdown": "_repr_markdown_",
}
MIMES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "text/html", "text/latex", "text/markdown")
"""What is shown, the best first; whatever else a bundle has needs scripts."""


class TooLong(Exception):
    """A representation took longer than it may."""


def bundle(value: Any, text: Callable[[Any], str]) -> dict[str, Any]:
    """What a picture shows of a value besides its text, which `text` makes of a part of it.

    At most one of ``plain`` (a text as it is), ``table``, ``array`` and ``data`` (of one MIME type), and ``note``: why
    there is nothing better than the text.
    """
    found: dict[str, Any] = {}
    try:
        with _limit(SECONDS):
            found = _bundle(value, text)
        if len(json.dumps(found)) > BUNDLE_BYTES:
            found = {"note": "too large to be shown"}
    except TooLong:
        found = {"note": f"making its representation took more than {SECONDS:g} s"}
    except Exception as error:  # noqa: BLE001 - the user's code
        found = {"note": printable(f"its representation raises {type(error).__name__}: {error}"[:300])}
    return found


def _bundle(value: Any, text: Callable[[Any], str]) -> dict[str, Any]:
    if isinstance(value, str):
        return {"plain": printable(value[:2000])}
    if type(value) in (bool, int, float, complex, bytes, type(None)):
        return {}
    for make in (_table, _array):
        found = make(value, text)
        if found:
            return found
    return _image(value) or _own(value)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """End what takes longer, by an exception; only the main thread can be ended so."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TooLong

    if threading.current_thread() is not threading.main_thread() or signal.getitimer(signal.ITIMER_REAL)[0]:
        # a task that displays a value may have set an alarm of its own
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- tables ------------------------------------------------------------------
def _table(value: Any, text: Callable[[Any], str]) -> dict[str, Any]:
    """The beginning of a data frame, of a list of dicts, or of a dict."""
    parts = _of_dict(value) or _of_records(value) or _of_frame(value)
    if parts is None:
        return {}
    columns, index, rows, shape = parts
    table: dict[str, Any] = {
        "columns": [_cell(name, text) for name in columns],
        "index": [_cell(name, text) for name in index],
        "rows": [[_cell(one, text) for one in row] for row in rows],
        "shape": shape,
    }
    while len(json.dumps(table)) > BUNDLE_BYTES - 1024 and table["rows"]:
        half = len(table["rows"]) // 2
        table["rows"], table["index"] = table["rows"][:half], table["index"][:half]
    return {"table": table}


_Parts = tuple[list[Any], list[Any], list[Iterable[Any]], list[int]]


def _of_dict(value: Any) -> _Parts | None:
    if type(value) is not dict or not value:
        return None
    rows: list[Iterable[Any]] = [[one] for one in islice(value.values(), ROWS)]
    return [], list(islice(value, ROWS)), rows, [len(value)]


def _of_records(value: Any) -> _Parts | None:
    if type(value) is not list or not value or not all(type(one) is dict for one in value[:ROWS]):
        return None
    head = value[:ROWS]
    columns = list(dict.fromkeys(key for one in head for key in one))
    shown = columns[:COLUMNS]
    return (
        shown,
        list(range(len(head))),
        [[one.get(key, "") for key in shown] for one in head],
        [len(value), len(columns)],
    )


def _of_frame(value: Any) -> _Parts | None:
    """Of what pandas, polars and pyarrow call a frame or a table."""
    shape = getattr(value, "shape", None)
    root = type(value).__module__.partition(".")[0]
    if root not in _FRAMES or not isinstance(shape, tuple) or len(shape) != 2:
        return None
    size = [int(shape[0]), int(shape[1])]
    if hasattr(value, "itertuples"):
        head = value.iloc[:ROWS, :COLUMNS]
        return list(head.columns), list(head.index), list(head.itertuples(index=False, name=None)), size
    if hasattr(value, "rows"):
        head = value.head(ROWS)
        columns = list(head.columns)[:COLUMNS]
        return columns, [], [row[:COLUMNS] for row in head.rows()], size
    if hasattr(value, "column_names"):
        columns = list(value.column_names)[:COLUMNS]
        head = value.slice(0, ROWS).select(columns).to_pylist()
        return columns, [], [[row[name] for name in columns] for row in head], size
    return None


def _cell(value: Any, text: Callable[[Any], str]) -> str:
    if isinstance(value, float):
        found = f"{value:.6g}"
    elif isinstance(value, tuple) and value and all(isinstance(part, str) for part in value):
        found = " · ".join(value)
    elif isinstance(value, str):
        found = value
    elif hasattr(value, "isoformat"):
        found = str(value).removesuffix(" 00:00:00")
    else:
        found = str(value) if hasattr(value, "dtype") and not getattr(value, "shape", 1) else text(value)
    return printable(found if len(found) <= CELL else found[: CELL - 1] + "…")


# -- arrays ------------------------------------------------------------------
def _array(value: Any, text: Callable[[Any], str]) -> dict[str, Any]:
    """Shape, type and some points of an array, a series, or a list of numbers."""
    if type(value) in (list, tuple):
        plain = len(value) >= FEWEST and all(type(one) in (int, float) for one in value[:1000])
        points = [value[at] for at in _places(len(value))] if plain else []
        if not plain or not all(type(one) in (int, float) for one in points):
            return {}
        return _line([len(value)], type(value).__name__, points, (min(value), max(value)))
    shape, kind = getattr(value, "shape", None), getattr(value, "dtype", None)
    if kind is None or not isinstance(shape, tuple) or not shape:
        return {}
    sizes: list[int] = [int(one) for one in shape]
    numpy = sys.modules.get("numpy")
    points, ends = [], (None, None)
    if numpy is not None and getattr(kind, "kind", "") in "biuf" and all(sizes):
        # a series wraps an array; neither is copied
        array = value if isinstance(value, numpy.ndarray) else getattr(value, "values", None)
        if isinstance(array, numpy.ndarray):
            points = array.flat[_places(array.size)].tolist()
            ends = (array.min(), array.max()) if array.size <= WHOLE else (min(points), max(points))
    return _line(sizes, str(kind), points, ends)


def _line(shape: list[int], dtype: str, points: list[Any], ends: tuple[Any, Any]) -> dict[str, Any]:
    low, high = _figure_of(ends[0]), _figure_of(ends[1])
    return {
        "array": {"shape": shape, "dtype": dtype, "points": [_figure_of(p) for p in points], "low": low, "high": high}
    }


def _figure_of(value: Any) -> float | None:
    """A number as JSON can say it, of no more digits than can be seen."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{float(value):.6g}")


def _places(count: int) -> list[int]:
    """Evenly spaced places, first and last among them."""
    if count <= POINTS:
        return list(range(count))
    return [at * (count - 1) // (POINTS - 1) for at in range(POINTS)]


# -- images ------------------------------------------------------------------
def _image(value: Any) -> dict[str, Any]:
    root = type(value).__module__.partition(".")[0]
    if root == "PIL" and hasattr(value, "thumbnail"):
        return _thumbnail(value)
    figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if root in ("matplotlib", "seaborn") and hasattr(figure, "savefig"):
        return _figure(figure)
    return {}


def _figure(figure: Any) -> dict[str, Any]:
    width = float(figure.get_figwidth()) if hasattr(figure, "get_figwidth") else 6.4
    dpi = min(100.0, WIDEST / max(width, 1.0))
    for part in (1.0, 0.6, 0.35, 0.2):
        file = BytesIO()
        figure.savefig(file, format="png", dpi=dpi * part, bbox_inches="tight")
        if len(file.getvalue()) <= IMAGE_BYTES:
            return _data("image/png", file.getvalue())
    return {"note": "its image is too large to be shown"}


def close_figures() -> None:
    """Close what loading a value has put among pyplot's open figures: there it would stay."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


def _thumbnail(image: Any) -> dict[str, Any]:
    for size in (WIDEST, WIDEST // 2, WIDEST // 4):
        small = image.copy()
        small.thumbnail((size, size))
        for kind, mime in (("PNG", "image/png"), ("JPEG", "image/jpeg")):
            file = BytesIO()
            plain = (
                small if kind == "PNG" and small.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else small.convert("RGB")
            )
            plain.save(file, kind)
            if len(file.getvalue()) <= IMAGE_BYTES:
                return _data(mime, file.getvalue())
    return {"note": "its image is too large to be shown"}


def _data(mime: str, data: bytes) -> dict[str, Any]:
    return {"data": {mime: base64.b64encode(data).decode()}}


# -- what a value says of itself ----------------------------------------------
def _own(value: Any) -> dict[str, Any]:
    """Of ``_repr_mimebundle_``, else of the other ``_repr_*_``, the best that fits."""
    if isinstance(value, type):
        return {}
    told = _mimebundle(value)
    too_large = ""
    for mime in MIMES:
        made = told.get(mime)
        if made is None:
            made = _called(value, _METHODS.get(mime, ""))
        if made is None:
            continue
        found = _fitting(mime, made)
        if found:
            return found
        too_large = too_large or f"its {mime} is too large to be shown"
    return {"note": too_large} if too_large else {}


def _mimebundle(value: Any) -> dict[str, Any]:
    made = _called(value, "_repr_mimebundle_", include=None, exclude=None)
    made = made[0] if isinstance(made, tuple) and made else made
    return made if isinstance(made, dict) else {}


def _called(value: Any, name: str, **arguments: Any) -> Any:
    # looked up on the type: what answers any name would answer this one, too
    if not name or not callable(getattr(type(value), name, None)):
        return None
    made = getattr(value, name)(**arguments)
    # a picture may come with metadata
    return made[0] if isinstance(made, tuple) and len(made) == 2 and name != "_repr_mimebundle_" else made


def _fitting(mime: str, made: Any) -> dict[str, Any]:
    if mime.startswith("image/") and mime != "image/svg+xml":
        data = made if isinstance(made, bytes) else base64.b64decode(str(made))
        return _data(mime, data) if len(data) <= IMAGE_BYTES else _shrunk(data)
    text = printable("".join(made) if isinstance(made, list) else str(made))
    return {"data": {mime: text}} if len(json.dumps(text)) <= BUNDLE_BYTES - 256 else {}


def _shrunk(data: bytes) -> dict[str, Any]:
    """A large image made smaller, where its value has brought Pillow along."""
    pillow = sys.modules.get("PIL.Image")
    return _thumbnail(pillow.open(BytesIO(data))) if pillow is not None else {}
