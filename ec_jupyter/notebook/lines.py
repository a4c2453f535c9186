"""Lines of magics: options as argparse takes them, arguments as Python writes them, and what completes them."""

# IPython's decorators bear no types
# mypy: disable-error-code="no-untyped-call, untyped-decorator"
from __future__ import annotations

import ast
import io
import re
import shlex
import sys
import tokenize
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError

from ec_jupyter.client.recipe import grouped
from ec_jupyter.errors import MagicUsageError, nearest
from ec_jupyter.nodes.code import keep_source

# those of %ec_submit, whose line no argparse reads
SUBMIT_OPTIONS = ("--flow", "--id", "--partial", "--delay", "--at", "--priority", "--callback")
_VALUE = r"""(?P<value>"[^"]*"|'[^']*'|-\d+|[^\s"'-][^\s"']*)"""
_OPTION = rf"--(?:(?P<flag>partial)|(?P<word>flow|id|delay|at|priority|callback)(?:=|\s+){_VALUE})"
_FIRST, _LAST = re.compile(rf"\s*{_OPTION}(?=\s|$)"), re.compile(rf"\s{_OPTION}\s*$")
_DASHED = re.compile(r"(?:^|\s)(--[a-z]+)")
_MAGIC = re.compile(r"\s*(?:\w+\s*=\s*)?%{1,2}(ec_\w+)\s+(.*)", re.DOTALL)
_PROCESSOR = ("-p", "--processor")
_ARROW = re.compile(r"\s*->\s*")
# a line in which an arrow between two names, or each of any number, is a space: argparse takes it for an option
ends = partial(_ARROW.sub, " ", count=1)
chain = partial(_ARROW.sub, " ")


def parse(magic: Any, line: str) -> Namespace:
    """Options of a line; a wrong one raises MagicUsageError, as IPython's `UsageError` lets a notebook go on."""
    parser = magic.parser
    # an abbreviation that works today is ambiguous with the next release's options
    parser.allow_abbrev = False
    try:
        given: Namespace = parser.parse_args(shlex.split(line))
        return given
    except (UsageError, ValueError) as error:
        text = str(error)
    wrong = re.search(r"unrecognized arguments: (--[\w-]+)", text)
    said = f"no option {wrong[1]!r}; {nearest(wrong[1], options_of(magic))}" if wrong else text
    raise MagicUsageError(f"{parser.prog or 'magic'}: {said}") from None


def options_of(magic: Any) -> list[str]:
    """Options a magic takes, with their dashes."""
    return [option for action in magic.parser._actions for option in action.option_strings]


def shares(words: Sequence[str] | None) -> dict[str, int | None] | None:
    """Nodes of ``--node hpc:7 --node local``: CPUs by name, None where none are named."""
    if words is None:
        return None
    found: dict[str, int | None] = {}
    for word in words:
        name, colon, cpus = word.partition(":")
        if colon and not cpus.isdecimal():
            raise MagicUsageError(f"ec_processor: write --node NODE or --node NODE:N, not {word!r}")
        found[name] = int(cpus) if colon else None
    return found


def submit_options(line: str) -> tuple[dict[str, Any], str]:
    """Options of %ec_submit that begin or end its line, and the rest: the socket and its arguments.

    Raises MagicUsageError: there is no socket.
    """
    found: dict[str, Any] = {}
    while given := _FIRST.match(line) or _LAST.search(line):
        found[given["word"] or given["flag"]] = True if given["flag"] else given["value"].strip("'\"")
        line = line[: given.start()] + line[given.end() :]
    if not line or line.lstrip().startswith("-"):
        options = "[--flow NAME] [--id ID] [--partial] [--delay TIME | --at TIME] [--priority N] [--callback URL]"
        raise MagicUsageError(f"ec_submit: write %ec_submit {options} SOCKET arg=expr ...")
    return found, line.strip()


def call_arguments(text: str, space: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Values of ``1, two=x + 1``; without commas, too: ``one=1 two=x + 1``, ``1 2 two=3``."""
    __tracebackhide__ = True
    call = _call(text) or _call(_with_commas(text)) or _call(_word_by_word(text))
    if call is None:
        option = _DASHED.search(text)
        hint = f"no option {option[1]!r}; {nearest(option[1], SUBMIT_OPTIONS)}" if option else "write one=1, two=x + 1"
        raise MagicUsageError(f"{text!r} are no arguments; {hint}")
    nodes = [*call.args, *(word.value for word in call.keywords)]
    values: list[Any] = []
    for node in nodes:  # a comprehension has a frame of its own, which a traceback shows
        values.append(_value(node, space))
    given = len(call.args)
    return values[:given], dict(zip((str(word.arg) for word in call.keywords), values[given:], strict=True))


def _with_commas(text: str) -> str:
    """The text with a comma before each ``name=`` that stands in no bracket and no string."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return text
    starts, depth = [], 0
    for token, following in pairwise(tokens):
        depth += (token.string in "([{") - (token.string in ")]}") if token.type == tokenize.OP else 0
        if depth == 0 and token.type == tokenize.NAME and following.string == "=" and token.start[1]:
            starts.append(token.start[1])
    parts = [text[start:end] for start, end in pairwise([0, *starts, len(text)])]
    return ",".join(part.rstrip().rstrip(",") for part in parts)


def _word_by_word(text: str) -> str:
    """The text with a comma after each word, if each is an argument by itself; a string counts as one word."""
    words = [word.rstrip(",") for word in re.findall(r"""(?:"[^"]*"|'[^']*'|\S)+""", text)]
    return ", ".join(words) if all(_call(word) for word in words) else text


def _call(text: str) -> ast.Call | None:
    try:
        tree = ast.parse(f"f({text})", mode="eval")
    except SyntaxError:
        return None
    starred = isinstance(tree.body, ast.Call) and (
        any(isinstance(a, ast.Starred) for a in tree.body.args) or any(k.arg is None for k in tree.body.keywords)
    )
    return tree.body if isinstance(tree.body, ast.Call) and not starred else None


def _value(node: ast.expr, space: Mapping[str, Any]) -> Any:
    __tracebackhide__ = True
    keep_source("<magic>", text := ast.unparse(node))
    return eval(compile(text, "<magic>", "eval"), dict(space))


# -- completion --------------------------------------------------------------------
@context_matcher()
def complete(context: CompletionContext) -> SimpleMatcherResult:
    """What may stand at the cursor, where its line is one of our magics'."""
    before = context.text_until_cursor.splitlines()[-1] if context.text_until_cursor else ""
    found = _MAGIC.fullmatch(before)
    if not found:
        return {"completions": []}
    fragment = re.split(r"\s|->", found[2])[-1]
    words = _words(found[1], found[2], fragment)
    matches = [SimpleCompletion(text=word, type="param") for word in words if word.startswith(fragment)]
    return {"completions": matches, "matched_fragment": fragment, "suppress": True}


def _words(magic: str, line: str, fragment: str) -> list[str]:
    if fragment.startswith("-"):
        return _options(magic)
    topology = _topology()
    before = line[: len(line) - len(fragment)].split()
    if (before and before[-1] == "--node") or magic == "ec_node":
        return sorted(row["name"] for row in topology.get("nodes", ()))
    if (before and before[-1] in _PROCESSOR) or magic == "ec_processor":
        return sorted(topology.get("processors", ()))
    if magic == "ec_unschedule":
        return sorted(row["name"] for row in topology.get("schedules", ()))
    sockets = topology.get("sockets", {})
    if (before and before[-1] == "--group") or (magic in ("ec_group", "ec_ungroup") and not before):
        return sorted(grouped(sockets))
    if magic == "ec_submit" and before and before[0] in sockets:
        return [f"{name}=" for name in _arguments(sockets[before[0]])]
    if magic in ("ec_plug", "ec_unplug", "ec_pipeline") and "." in fragment:
        socket = fragment.rpartition(".")[0]
        record = sockets.get(socket, {})
        known = _arguments(record) if before or "->" in line else record.get("task", {}).get("outputs", ())
        return [f"{socket}.{name}" for name in known]
    processors = topology.get("processors", ()) if magic in ("ec_pause", "ec_resume") else ()
    return sorted([*sockets, *processors])


def _options(magic: str) -> list[str]:
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    function = shell.find_cell_magic(magic) or shell.find_line_magic(magic) if shell else None
    if hasattr(function, "parser"):
        return options_of(function)
    return list(SUBMIT_OPTIONS) if magic == "ec_submit" else []


def _arguments(record: dict[str, Any]) -> list[str]:
    return [p["name"] for p in record.get("task", {}).get("signature", ()) if not p["kind"].startswith("VAR_")]


def _topology() -> dict[str, Any]:
    """Of the notebook's own flow, if it is open: a completion opens nothing."""
    flow = sys.modules.get("ec_jupyter.notebook.flow")
    found = flow.opened() if flow else None
    return found._client.topology if found else {}
