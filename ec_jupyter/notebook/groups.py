"""The part of a flow that groups sockets, which the picture folds to one card."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ec_jupyter.client import names
from ec_jupyter.client.recipe import grouped
from ec_jupyter.notebook.edits import Editor
from ec_jupyter.notebook.parts import Part


class Groups:
    """What `Flow` can do with groups of sockets."""

    _editor: Editor

    if TYPE_CHECKING:

        def _socket(self, target: Any) -> str: ...

    @property
    def groups(self) -> dict[str, list[str]]:
        """Names of the sockets in each group; a socket is in one at most."""
        return grouped(self._editor.wiring["sockets"])

    def group(self, name: str, *sockets: str | Part | Callable[..., Any]) -> None:
        """Put sockets into a group, which is made if there is none; the picture shows it as a frame and folds it.

        Parameters
        ----------
        name : str
            Letters, digits, ``_`` and ``-``.
        *sockets : str, Socket or function
            One or more; they leave the group that they were in, and one that is left empty is gone.

        Raises
        ------
        SocketNotFoundError, DeclarationError
            There is no such socket, or the name is none; nothing has changed.

        Examples
        --------
        >>> flow.group("fit", "load", "clean", "fit_all")
        """
        names.plain_name(name, "group")
        inside = [self._socket(socket) for socket in sockets]
        self._editor.change("group", name=name, sockets=inside)

    def ungroup(self, name: str, *sockets: str | Part | Callable[..., Any]) -> None:
        """Take sockets out of a group, or dissolve it if none is named; the sockets stay.

        Raises
        ------
        GroupNotFoundError, WiringError
            There is no such group, or the socket is not in it.
        """
        outside = [self._socket(socket) for socket in sockets]
        self._editor.change("ungroup", name=name, sockets=outside)

    def rename_group(self, name: str, to: str) -> None:
        """Give a group another name.

        Raises
        ------
        GroupNotFoundError, DeclarationError
            There is no such group, or the name is taken or none.
        """
        names.plain_name(to, "group")
        self._editor.change("rename_group", name=name, to=to)
