"""What a person should know and need not act on: one line, without our files and lines."""

from __future__ import annotations

import warnings


class FlowWarning(UserWarning):
    """Something about a flow that is worth a line."""


def note(text: str) -> None:
    """Warn of something, each time it is said; the filters of `warnings` hold."""
    warnings.warn_explicit(text, FlowWarning, "ec_jupyter", 1, registry={})
