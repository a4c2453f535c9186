"""Sphinx directive ``ec-magics``: each magic as its own help tells it."""

from __future__ import annotations

import inspect
from argparse import Action
from typing import Any, ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from ec_jupyter.notebook.magics import FlowMagics
from ec_jupyter.notebook.wiring_magics import WiringMagics


def names() -> list[str]:
    """Magics as a person types them, in the order in which they are written."""
    found = {name: f"%{name}" for name in FlowMagics.magics["line"]}
    found |= {name: f"%%{name}" for name in FlowMagics.magics["cell"]}
    return [found[name] for kind in FlowMagics.__mro__ for name in vars(kind) if name in found]


def _word(action: Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    choices = ",".join(map(str, action.choices or ()))
    takes = action.metavar or (f"{{{choices}}}" if choices else action.dest.upper())
    return ", ".join(f"`{option}{'' if action.nargs == 0 else f' {takes}'}`" for option in action.option_strings)


def _usage(name: str, magic: Any) -> str:
    usage = magic.parser.format_usage().replace("::\n", "").strip("\n") if hasattr(magic, "parser") else f"  {name} ..."
    return inspect.cleandoc(f"\n{usage}")


def _section(name: str) -> str:
    """What the page says of one magic, as Markdown."""
    magic = getattr(FlowMagics, name.lstrip("%"))
    parser = getattr(magic, "parser", None)
    text = inspect.cleandoc((parser.description if parser else magic.__doc__) or "")
    says, _, example = text.partition("\n\nExamples\n--------\n")
    lines = [f"### {name}", "", says, ""]
    if parser:
        lines += ["```text", _usage(name, magic), "```", ""]
        for action in parser._actions:
            lines += [_word(action), f": {action.help or ''}", ""]
    if example:
        lines += ["```python", inspect.cleandoc(example.replace("::", "", 1)), "```", ""]
    return "\n".join(lines)


class Magics(SphinxDirective):
    """One section for each magic."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """The sections, made anew where a magic has changed."""
        for kind in (FlowMagics, WiringMagics):
            self.env.note_dependency(inspect.getfile(kind))
        text = "\n".join(_section(name) for name in names())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Any) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("ec-magics", Magics)
    return {"parallel_read_safe": True}
