"""Makes joblib know the backend ``"ec_jupyter"``, whichever of the two is imported first."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "joblib"


def offer() -> None:
    """Register the backend with joblib: now, or when joblib is imported; costs nothing until then."""
    if NAME in sys.modules:
        _register(sys.modules[NAME])
    elif not any(isinstance(finder, _OnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OnImport())


def _register(joblib: ModuleType) -> None:
    def backend(**options: Any) -> Any:
        from ec_jupyter.notebook.joblib_backend import FlowBackend

        return FlowBackend(**options)

    joblib.register_parallel_backend("ec_jupyter", backend)


class _OnImport(MetaPathFinder):
    """Finds what the others find, and registers the backend once joblib has been loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of joblib, whose loader registers the backend at its end; None for any other module."""
        if fullname != NAME:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(NAME)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # the loader is as it was again, for whoever looks at it later
            del loader.exec_module
            load(module)
            _register(module)

        loader.exec_module = exec_module
        return spec
