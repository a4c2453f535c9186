"""Clients that wait for a node: they are told what its host does meanwhile, and answer what its login asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any

from ec_jupyter.engine.member import Member
from ec_jupyter.engine.parts import Asker
from ec_jupyter.errors import NodeNotFoundError, by_name
from ec_jupyter.wire import Header

ANSWER_SECONDS = 300.0  # how long a person may take to find a passphrase


class LoginPrompts:
    """The waiting clients, and the questions of logins."""

    def __init__(self, members: Mapping[str, Member], declared: Callable[[], Collection[str]]) -> None:
        self._members = members  # the nodes
        self._declared = declared  # their names in the flow: one that is declared anew has no member for a moment
        self._waiting: list[tuple[Asker, Header]] = []
        self._numbers = count(1)
        self._questions: dict[int, tuple[str, str, asyncio.Future[str | None]]] = {}

    def wait(self, client: Asker, header: Header) -> None:
        """Let a client wait for news of a node that it has not been told yet."""
        if header["node"] not in self._declared():
            by_name(self._members, header["node"], NodeNotFoundError)
        self._waiting.append((client, header))
        self.look(header["node"])

    def look(self, name: str) -> None:
        """Tell the clients that wait for a node what is new."""
        waiting, self._waiting = self._there(), []
        for client, header in waiting:
            news = self._news(header) if header["node"] == name else None
            if news is None:
                self._waiting.append((client, header))
            else:
                client.reply(news, to=header)

    def _there(self) -> list[tuple[Asker, Header]]:
        return [(client, header) for client, header in self._waiting if client.here]

    def _news(self, header: Header) -> dict[str, Any] | None:
        name = header["node"]
        for number, (node, text, _) in self._questions.items():
            if node == name:
                return {"question": number, "text": text}
        member = self._members.get(name)
        if member is None:
            gone = {"error": f"node {name!r} was taken away", "type": NodeNotFoundError.__name__}
            return None if name in self._declared() else gone
        facts = member.facts()
        if member.state == "up" or (facts.get("error") and not member.trying):
            return {"state": member.state, "error": facts.get("error"), "type": facts.get("type")}
        note = facts.get("note")
        return {"note": note} if note and note != header.get("note") else None

    async def ask(self, name: str, text: str) -> str | None:
        """The answer of a waiting client to a login's question; None if no client waits or answers in time."""
        if not any(header["node"] == name for _, header in self._there()):
            return None
        number = next(self._numbers)
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._questions[number] = (name, text, answer)
        self.look(name)
        try:
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError:
            return None
        finally:
            del self._questions[number]

    def answer(self, number: int, text: str | None) -> None:
        """Pass on what a person has answered; it is not stored."""
        question = self._questions.get(number)
        if question is not None and not question[2].done():
            question[2].set_result(text)
