"""What tasks display: kept with the request, as a cell would keep it.

In a cell ``display`` is there without an import, IPython's is the same, and ``plt.show()`` shows all open figures.
So it is in a task. Nothing is loaded for it: a task that displays nothing pays nothing.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ec_jupyter.nodes.worker.look import text
from ec_jupyter.nodes.worker.rich import bundle

_THEIRS = "IPython.core.display_functions"
_INLINE = "module://matplotlib_inline.backend_inline"
_OURS = "module://ec_jupyter.nodes.worker.figures"


class _Raw:
    """A bundle that a task made by itself."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def __repr__(self) -> str:
        return str(self._data.get("text/plain", ""))

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return self._data


def shown(value: object) -> str:
    """What is kept of a displayed value: its text, and what a picture shows of it."""
    return json.dumps({"text": text(value), "look": bundle(value, text)})


class Display:
    """Stands for IPython's ``display``, also where that is imported later."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say  # takes what is kept of a value

    def install(self) -> None:
        """Be there as in a cell, for whatever runs in this process."""
        builtins.display = self.display  # type: ignore[attr-defined]
        sys.meta_path.insert(0, self)
        if os.environ.get("MPLBACKEND", _INLINE) == _INLINE:
            # the one of notebooks hands figures to a shell, which is not here
            os.environ["MPLBACKEND"] = _OURS

    def display(self, *values: object, raw: bool = False, **options: Any) -> None:
        """Keep values with the request that runs; `options` are IPython's, which has more places to show things."""
        for value in values:
            self._say(shown(_Raw(value) if raw and isinstance(value, dict) else value))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None: others find it; IPython's function is replaced once it is there."""
        if fullname == _THEIRS:
            sys.meta_path.remove(self)
            spec = find_spec(fullname)
            if spec is not None and spec.loader is not None:
                self._replace(spec.loader)
            return spec
        return None

    def _replace(self, loader: Any) -> None:
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            module.display = self.display  # type: ignore[attr-defined]

        loader.exec_module = exec_module


def show_figures() -> None:
    """Display all open figures and close them, as ``plt.show()`` does in a cell."""
    pyplot = importlib.import_module("matplotlib.pyplot")
    for number in pyplot.get_fignums():
        builtins.display(pyplot.figure(number))  # type: ignore[attr-defined]
    pyplot.close("all")
