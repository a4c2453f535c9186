"""Tags: where a request stands in the splits of its run.

A tag is a path of levels, one for each split passed and not gathered again; a level is the
splits it belongs to (several, where elements of two splits were joined) and the index of the element.
"""

from __future__ import annotations

Level = tuple[tuple[str, ...], int]
Tag = tuple[Level, ...]
Path = tuple[int, ...]

ROOT: Tag = ()


def path(tag: Tag) -> Path:
    """The indices alone; elements of different splits pair by them."""
    return tuple([index for _, index in tag]) if tag else ()


def deeper(tag: Tag, split: str, index: int) -> Tag:
    """The tag of element `index` of `split`, which a request at `tag` made."""
    return (*tag, ((split,), index))


def by_hand(first: int, n: int) -> str:
    """Name of the split that a list of `n` values brought by hand makes; `first` is the first one's arrival."""
    return f"{first}of{n}"


def brought(split: str) -> int | None:
    """How many values the list brought by hand had that made this split; None if a request made it."""
    _, by, n = split.partition("of")
    return int(n) if by else None


def united(tags: list[Tag]) -> Tag:
    """The tag of a join: the longest one, each level belonging to the splits of all that have it."""
    longest = max(tags, key=len)
    if not longest or all(tag == longest[: len(tag)] for tag in tags):
        return longest
    levels = []
    for depth, (_, index) in enumerate(longest):
        splits = {split for tag in tags if len(tag) > depth for split in tag[depth][0]}
        levels.append((tuple(sorted(splits)), index))
    return tuple(levels)


def to_text(tag: Tag) -> str:
    """A tag as a column holds it; the root's is empty."""
    if not tag:
        return ""
    return ";".join(f"{'+'.join(splits)}/{index}" for splits, index in tag)


def from_text(text: str) -> Tag:
    """The tag that `to_text` wrote down."""
    if not text:
        return ROOT
    levels = (level.rsplit("/", 1) for level in text.split(";"))
    return tuple((tuple(splits.split("+")), int(index)) for splits, index in levels)
