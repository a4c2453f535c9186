"""CPU shares of one node: who may run now.

Pure: claims in, grants out. No clock, no process, no thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any, Protocol


class Lender(Protocol):
    """What owns the CPUs that the node lends, and lends them to other flows as well."""

    def take(self, holder: Any, cpus: float) -> bool:
        """Lend whole CPUs, or a part of one; False: not now, `Ledger.grant` is called when it is worth asking again."""

    def give(self, holder: Any) -> None:
        """Take back what a holder has; no error if it has nothing."""


class Ledger:
    """Counts the CPU shares that slots hold on one node and in each processor.

    A claim that does not fit waits, and later ones do not overtake it for the node's CPUs, so a
    claim of several is not starved by many of one. A processor at its own cap makes only its own
    claims wait.

    Where a processor has a weight, claims that wait have their turns in proportion to the weights of their processors
    instead of in order. `cpus`: CPUs the node lends, in whole or part; more than 0.
    """

    def __init__(self, cpus: float, lender: Lender | None = None) -> None:
        # thousandths as integers: 0.1 + 0.2 in floats would never add up to a free CPU again
        self._total = self._free = round(cpus * 1000)
        # asked, in whole CPUs or a part of one, for each claim that the node has CPUs for; None: they are all the
        # node's own
        self._lender = lender
        self._caps: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._held: dict[Hashable, tuple[str, int]] = {}
        self._waiting: deque[tuple[Hashable, str, int]] = deque()
        self._weights: dict[str, float] = {}
        # start-time fair queueing: what each processor has had, over its weight, and where the last turn began
        self._had: dict[str, float] = {}
        self._turn = 0.0

    @property
    def cpus(self) -> float:
        """CPUs the node lends."""
        return self._total / 1000

    @property
    def used(self) -> float:
        """CPUs held now."""
        return (self._total - self._free) / 1000

    @property
    def contended(self) -> bool:
        """Whether a claim waits."""
        return bool(self._waiting)

    def wanted_beside(self, processor: str) -> bool:
        """Whether a claim of another processor waits."""
        return any(other != processor for _, other, _ in self._waiting)

    def held(self, holder: Hashable) -> float:
        """CPUs a holder has now, 0 while it waits."""
        return self._held.get(holder, ("", 0))[1] / 1000

    def cap(self, processor: str, cpus: float) -> list[Hashable]:
        """Set how many CPUs a processor may have; those granted by that. Nothing is taken from holders."""
        self._caps[processor] = round(cpus * 1000)
        return self.grant()

    def weigh(self, processor: str, weight: float) -> None:
        """Have a processor's claims take turns with others' in proportion to its weight; 1: as any other."""
        if weight == 1:
            self._weights.pop(processor, None)
        else:
            self._weights[processor] = weight
        if not self._weights:
            self._had.clear()

    def claim(self, holder: Hashable, processor: str, cpus: float) -> bool:
        """Take `cpus` if it is this holder's turn and they are free; else wait for them.

        More than the node or the processor has counts as all of them. False while it waits: a later `release` or `cap`
        names it when its turn has come. Raises ValueError: the holder has a claim already, or waits for one.
        """
        if holder in self._held or any(holder == waiter for waiter, _, _ in self._waiting):
            raise ValueError(f"{holder!r} has a claim already")
        shares = round(cpus * 1000)
        if not self._waiting and self._taken(holder, processor, shares):
            return True
        others = bool(self._waiting)
        self._waiting.append((holder, processor, shares))
        # this claim alone: the caller is told of no other, and the lender may have more by now
        return others and bool(self.grant((holder,)))

    def again(self, holder: Hashable) -> bool:
        """Whether a holder that has had its turn has the next one as well, for the weight of its processor."""
        if not self._weights or not self._waiting or holder not in self._held:
            return False
        processor, shares = self._held[holder]
        start = self._start(processor)
        if any(self._start(other) <= start for _, other, _ in self._waiting):
            return False
        if self._lender is not None:
            # others have their turn as if it had ended
            self._lender.give(holder)
            if not self._lender.take(holder, _asked(shares)):
                return False
        self._had_turn(processor, shares)
        return True

    def release(self, holder: Hashable) -> list[Hashable]:
        """Give back what a holder has, if anything, or its place among those that wait; those granted by that."""
        if holder in self._held:
            processor, shares = self._held.pop(holder)
            self._free += shares
            self._used[processor] -= shares
            if self._lender is not None:
                self._lender.give(holder)
        else:
            self._waiting = deque(claim for claim in self._waiting if claim[0] != holder)
        return self.grant() if self._waiting else []

    def grant(self, only: tuple[Hashable, ...] = ()) -> list[Hashable]:
        """Claims whose turn has come, or of `only` these; to be called when the lender may have more than before."""
        granted: list[Hashable] = []
        kept: deque[tuple[Hashable, str, int]] = deque()
        full: set[str] = set()
        while self._waiting:
            if self._weights:
                self._bring_forward()
            holder, processor, shares = self._waiting[0]
            taken = None if processor in full else self._taken(holder, processor, shares, only)
            if taken is None:
                full.add(processor)
                kept.append(self._waiting.popleft())
                continue
            if not taken:
                break
            self._waiting.popleft()
            granted.append(holder)
        kept.extend(self._waiting)
        self._waiting = kept
        return granted

    def _bring_forward(self) -> None:
        """Put the claim first whose processor has had least for its weight; of several of one, the first."""
        first = min(self._waiting, key=lambda claim: self._start(claim[1]))
        if first is not self._waiting[0]:
            self._waiting.remove(first)
            self._waiting.appendleft(first)

    def _start(self, processor: str) -> float:
        # who had nothing to do meanwhile saves nothing up
        return max(self._turn, self._had.get(processor, 0.0))

    def _taken(self, holder: Hashable, processor: str, shares: int, only: tuple[Hashable, ...] = ()) -> bool | None:
        """Give a holder its shares; False: the node has not so many now; None: its processor is at its cap."""
        cap, used = self._caps.get(processor, self._total), self._used.get(processor, 0)
        shares = min(shares, cap, self._total)
        if cap <= 0 or used + shares > cap:
            return None
        if shares > self._free or (only and holder not in only):
            return False
        if self._lender is not None and not self._lender.take(holder, _asked(shares)):
            return False
        self._held[holder] = (processor, shares)
        self._free -= shares
        self._used[processor] = used + shares
        if self._weights:
            self._had_turn(processor, shares)
        return True

    def _had_turn(self, processor: str, shares: int) -> None:
        self._turn = self._start(processor)
        self._had[processor] = self._turn + shares / self._weights.get(processor, 1.0)


def _asked(shares: int) -> float:
    return shares / 1000 if shares < 1000 else -(-shares // 1000)
