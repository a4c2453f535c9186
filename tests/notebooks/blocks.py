"""Blocks of code in a Markdown page: what they are, and what is to be done with each."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from ec_jupyter.notebook.lines import ends, parse
from ec_jupyter.notebook.magics import FlowMagics

_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?(?P<fence>```+)(?P<kind>[^\n]*)\n(?P<code>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
_SAID = re.compile(r"^(?P<code>.*?)\s*# → (?P<said>.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes
    ----------
    kind : str
        Its language.
    mark : str
        What the comment above it says: ``not run: REASON``, ``file: NAME``, ``picture: NAME``, ``restart``, ``run``,
        or nothing.
    """

    kind: str
    mark: str
    code: str

    @property
    def reason(self) -> str:
        """Why it is not run; empty where it is."""
        return self.mark.partition("not run: ")[2]

    @property
    def file(self) -> str:
        """Name of the file that it is."""
        return self.mark.partition("file: ")[2]

    @property
    def picture(self) -> str:
        """Name of the picture that is made of what it shows; `docs/pictures/make.py` makes it."""
        return self.mark.partition("picture: ")[2]

    @property
    def said(self) -> str | None:
        """What the page says that its last line comes to."""
        found = _SAID.match(self.code.strip())
        return found["said"].strip() if found else None

    @property
    def problem(self) -> str:
        """Why the test of this page could do nothing with it."""
        if self.kind == "python":
            known = not self.mark or self.reason or self.file or self.picture or self.mark == "restart"
            return "" if known else f"mark {self.mark!r}"
        if self.kind == "bash":
            return "" if self.mark == "run" or self.reason else "a shell block says 'run', or why it is not"
        if self.kind in ("yaml", "ini"):
            return "" if self.reason else "it says why it is not run"
        return "" if self.kind == "text" else f"kind {self.kind!r}"


def blocks_of(page: Path) -> list[Block]:
    """Blocks of a page, in order; directives of the site are none."""
    found = _FENCE.finditer(page.read_text())
    return [
        Block(one["kind"], one["mark"] or "", one["code"].rstrip("\n"))
        for one in found
        if not one["kind"].startswith("{")
    ]


def check_python(code: str) -> None:
    """Read a block that is not run: its Python, and the lines of our magics.

    Raises
    ------
    MagicUsageError, SyntaxError
        A line that would be refused.
    """
    for line in code.splitlines():
        name, _, rest = line.lstrip("%").partition(" ")
        magic = getattr(FlowMagics, name, None) if line.startswith("%ec_") else None
        if hasattr(magic, "parser"):
            parse(magic, ends(rest) if "plug" in name else shlex.join(shlex.split(rest, comments=True)))
    ast.parse(TransformerManager().transform_cell(code))
