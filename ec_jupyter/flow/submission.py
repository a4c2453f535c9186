"""Whether the arguments of a submit are enough for a call. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def refusal(
    socket: str,
    given: Collection[str],  # arguments that the submit brings
    needed: Iterable[str],  # those that a call waits for: plugged, or without a default and not fixed
    hold: Sequence[str],  # those that are held: their newest value serves every call, so a submit need not bring it
    join: str,
    *,
    partial: bool,  # the submit says that the rest will come
) -> str | None:
    """Why a submit cannot be accepted; None if it can."""
    needed = list(needed)
    lacking = [name for name in needed if name not in given]
    missing = [name for name in lacking if name not in hold]
    if not lacking or (not missing and len(lacking) < len(needed) and _meets(given, hold, join)):
        return None
    names = " and ".join(map(repr, missing or lacking))
    if not _meets(given, hold, join):
        held = [name for name in given if name in hold]
        why = f"{held[0]!r} is held there" if held else f"it joins by {join}"
        return f"{socket!r} lacks {names}; {why}, so give all arguments, or bring values with flow.supply"
    if partial and missing:
        return None
    return f"{socket!r} lacks {names}; give it, or say partial=True if it will come from elsewhere"


def _meets(given: Collection[str], hold: Sequence[str], join: str) -> bool:
    """Whether the arguments of a submit can wait for the others; run-independent ones would be taken one by one."""
    return join not in ("latest", "key") and not any(name in hold for name in given)
