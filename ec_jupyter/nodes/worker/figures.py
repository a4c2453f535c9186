"""A backend of matplotlib for workers: draws without a screen, and a figure that is shown is kept with the request."""

from __future__ import annotations

import importlib
from typing import Any

from ec_jupyter.nodes.worker.display import show_figures

FigureCanvas = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg
FigureManager = importlib.import_module("matplotlib.backend_bases").FigureManagerBase


def show(*args: Any, **kwargs: Any) -> None:
    """What ``plt.show()`` calls."""
    show_figures()
