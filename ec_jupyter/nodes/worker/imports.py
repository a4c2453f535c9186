"""Modules that lie beside the notebook, for workers on another machine: asked for when imported."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any


class Loader:
    """Runs one module whose source came from the engine."""

    def __init__(self, origin: str, source: bytes) -> None:
        self.origin, self._source = origin, source

    def get_source(self, fullname: str) -> str:
        """Its text, for tracebacks."""
        return self._source.decode()

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """None: a plain one will do."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        exec(compile(self._source, self.origin, "exec", dont_inherit=True), module.__dict__)


class Finder:
    """Asks for modules that nothing else finds; those inside of others only where the outer one came so."""

    def __init__(self, ask: Callable[[str], bytes | None]) -> None:
        self._ask = ask  # gets what `found` makes of a module's name; None: there is no such module
        self._packages: set[str] = set()

    def install(self) -> None:
        """Look last, after everything that is installed here."""
        sys.meta_path.append(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec, if it lies beside the notebook."""
        parent = fullname.rpartition(".")[0]
        if parent and parent not in self._packages:
            return None
        data = self._ask(fullname)
        if data is None:
            return None
        head, _, source = data.partition(b"\n")
        package, origin = json.loads(head)
        if package:
            self._packages.add(fullname)
        # no subclass of an abstract one: those come with much else that a worker would import as it starts
        loader: Any = Loader(origin, source)
        return spec_from_loader(fullname, loader, origin=origin, is_package=package)


def found(folder: Path, name: str) -> tuple[bool, str, bytes] | None:
    """Whether a module in `folder` is a package, where it lies, and its source; None: it is not there.

    Nothing but Python files inside the folder is ever given away, whatever the name says.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    inside = folder.resolve()
    for package, path in ((True, inside.joinpath(*parts, "__init__.py")), (False, inside.joinpath(*parts))):
        try:
            real = (path if package else path.with_name(path.name + ".py")).resolve(strict=True)
            if real.is_relative_to(inside) and real.suffix == ".py":
                return package, str(real), real.read_bytes()
        except OSError:
            continue
    return None
