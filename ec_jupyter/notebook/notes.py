"""Notes to the user that need no action: one line, without file names and line numbers of the package."""

from __future__ import annotations

import warnings


class FlowWarning(UserWarning):
    """A note about a flow."""


def note(text: str) -> None:
    """Warn of something, each time it is said; the filters of `warnings` hold."""
    warnings.warn_explicit(text, FlowWarning, "ec_jupyter", 1, registry={})
