"""Settings of the extension: ``c.EC...`` in ``ipython_kernel_config.py``, ``%config EC`` in a notebook."""

from __future__ import annotations

from typing import Any

from traitlets import Enum, Float, Integer, validate
from traitlets.config import Configurable


class EC(Configurable):
    """What flows opened from here on start with."""

    cpus = Integer(
        None, allow_none=True, help="CPUs a new engine lends its flow; None is all this kernel may use."
    ).tag(config=True)
    durability = Enum(
        ["process", "power"],
        default_value="process",
        help="What an accepted request survives: the death of any process, or of the machine's power as well.",
    ).tag(config=True)
    linger = Float(60.0, help="Seconds an idle engine waits for a client before it ends.").tag(config=True)
    progress_delay = Float(2.0, help="Seconds a wait lasts before it shows a bar; below 0 it never does.").tag(
        config=True
    )

    @validate("cpus", "linger")
    def _not_negative(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if value is not None and value < (1 if name == "cpus" else 0):
            from traitlets import TraitError

            raise TraitError(f"EC.{name} is at least {1 if name == 'cpus' else 0}, not {value}")
        return value


_settings: list[EC] = []


def settings() -> EC:
    """The settings of this process; defaults where no extension is loaded."""
    if not _settings:
        _settings.append(EC())
    return _settings[0]


def configure(made: EC) -> None:
    """Use these settings from now on."""
    _settings[:] = [made]
