"""Loading and unloading: magics, completion, settings, and the look at the end of each cell."""

from __future__ import annotations

import sys
from typing import Any

from ec_jupyter.notebook.config import EC, configure
from ec_jupyter.notebook.lines import complete
from ec_jupyter.notebook.magics import FlowMagics

_loaded: dict[int, tuple[Any, EC]] = {}


def load(shell: Any) -> None:
    """Add the magics to an IPython shell; prints nothing, starts nothing."""
    if id(shell) in _loaded:
        return
    settings = EC(parent=shell)
    configure(settings)
    shell.configurables.append(settings)
    shell.register_magics(FlowMagics)
    shell.Completer.custom_matchers.append(complete)
    shell.events.register("post_run_cell", _look)
    _loaded[id(shell)] = (shell, settings)


def unload(shell: Any) -> None:
    """Remove the magics; open flows stay open, and their engines go on."""
    _, settings = _loaded.pop(id(shell), (None, None))
    if settings is None:
        return
    # IPython keeps the magics of an extension that it unloads
    for kind, names in FlowMagics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(FlowMagics.__name__, None)
    shell.configurables.remove(settings)
    shell.Completer.custom_matchers.remove(complete)
    shell.events.unregister("post_run_cell", _look)


def _look(result: Any) -> None:
    """See whether captured values have been bound anew, once a flow is in use at all."""
    stale = sys.modules.get("ec_jupyter.notebook.stale")
    if stale is not None:
        stale.WATCH.look(vars(sys.modules["__main__"]))
