"""The body of a ``%%ec_socket`` cell: run as any cell is, then searched for its one function."""

from __future__ import annotations

import ast
from typing import Any

from ec_jupyter.errors import MagicUsageError


class CellSyntaxError(MagicUsageError):
    """The cell's code cannot be parsed; shown as IPython shows such an error, without its frames."""

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self._lines = lines

    def _render_traceback_(self) -> list[str]:
        return self._lines


class Cell:
    """Python code of a cell: its first line, the magic's, and its body. Raises CellSyntaxError: that is not Python."""

    def __init__(self, shell: Any, first: str, body: str) -> None:
        self._shell = shell  # whose namespace it runs in
        # with the magic's line as a comment the lines count as they do in the cell
        text = shell.transform_cell(f"# {first}\n{body}")
        self._file = shell.compile.cache(text, shell.execution_count, raw_code=f"{first}\n{body}")
        try:
            # parsed as it will be compiled: with the futures the notebook has imported
            self._tree = shell.compile.ast_parse(text, filename=self._file)
            compile(self._tree, self._file, "exec", dont_inherit=True)
        except SyntaxError as error:
            lines = shell.SyntaxTB.structured_traceback(type(error), error, [])
            raise CellSyntaxError(f"the cell is not Python: {error}", lines) from None

    def task(self, name: str | None) -> str:
        """Name under which the cell defines the task of the socket `name`.

        Raises MagicUsageError: it defines no function, or several of which none is so called.
        """
        found = self._defined()
        if not found:
            raise MagicUsageError("the cell defines no function to be the task of a socket; nothing was run")
        if len(found) == 1:
            return found[0]
        if name in found:
            return str(name)
        raise MagicUsageError(
            f"the cell defines {', '.join(found)}; say which is the task: %%ec_socket {found[-1]}; nothing was run"
        )

    def line_of(self, error: BaseException) -> int | None:
        """Line of the body in which an error arose, or in which it is noticed last."""
        found, trace = None, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._file:
                found = trace.tb_lineno - 1
            trace = trace.tb_next
        return found

    def _defined(self) -> list[str]:
        body = self._tree.body
        functions = [n.name for n in body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        lambdas = [
            n.targets[0].id
            for n in body
            if isinstance(n, ast.Assign) and isinstance(n.value, ast.Lambda) and isinstance(n.targets[0], ast.Name)
        ]
        classes = [n.name for n in body if isinstance(n, ast.ClassDef)]
        return list(dict.fromkeys(functions or lambdas or classes))

    def run(self) -> dict[str, Any]:
        """The notebook's namespace, after the cell has run; its last expression is shown."""
        __tracebackhide__ = True
        body = list(self._tree.body)
        last = [body.pop()] if isinstance(body[-1], ast.Expr) else []
        space: dict[str, Any] = self._shell.user_ns
        exec(self._shell.compile(ast.Module(body, []), self._file, "exec"), space)
        if last:
            exec(self._shell.compile(ast.Interactive(last), self._file, "single"), space)
        return space
