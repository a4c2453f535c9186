"""Several cases of one claim, in one setting: an engine or a page for all of them, where one each shows no more."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any


def each_of(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As ``pytest.mark.parametrize``, for cases that leave nothing behind that the next one would notice.

    Every case runs, whatever becomes of those before it, and one that fails is named.
    """
    arguments = (names,) if isinstance(names, str) else names

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)
        fixtures = [p for p in signature.parameters.values() if p.name not in arguments]
        nested = "subtests" in signature.parameters

        def every(**given: Any) -> None:
            subtests = given["subtests"] if nested else given.pop("subtests")
            for case in cases:
                values = dict(zip(arguments, (case,) if isinstance(names, str) else case, strict=True))
                with subtests.test(**values):
                    test(**values, **given)

        if not nested:
            fixtures.append(inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY))
        every.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in fixtures]
        )
        every.__name__, every.__doc__, every.__module__ = test.__name__, test.__doc__, test.__module__
        return every

    return decorate
