"""What slots answer of the calls they were sent: calls are taken off them, and how long they took is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from ec_jupyter.nodes.codec import unpack_outcomes
from ec_jupyter.nodes.durations import SHORT_SECONDS
from ec_jupyter.nodes.local.agent_context import AgentContext
from ec_jupyter.nodes.local.overlaps import Overlaps
from ec_jupyter.nodes.local.slot import Slot
from ec_jupyter.nodes.lots import BATCH_CALLS, unpack_block
from ec_jupyter.wire import Block, Call, Header, Outcome

Answer = Block | list[Outcome]  # results, or what else calls came to; an empty list where none of them was still there


def short_ahead(seconds: float) -> int:
    """How many calls that take so long, which is short, a slot may have or wait for."""
    return 3 * max(1, min(BATCH_CALLS, int(SHORT_SECONDS / seconds)))


class Answers:
    """Takes the answers of one processor's slots; of what has ended, `overlaps` and `recalled` know no more."""

    def __init__(self, context: AgentContext, overlaps: Overlaps, recalled: set[int]) -> None:
        self._listener, self._durations = context.listener, context.durations
        self._overlaps, self._recalled = overlaps, recalled
        self._seconds = 0.0  # what a call takes on average now; 0: nobody knows

    def take(self, slot: Slot, header: Header, buffers: list[bytes]) -> Answer:
        """What a frame of results or ends says of calls that the slot still has."""
        if header["k"] == "done":
            return self._results(slot, unpack_block(buffers[0]))
        return self._ends(slot, unpack_outcomes(header, buffers))

    def report(self, answers: list[Answer]) -> None:
        """Tell the engine of them; the list is empty then."""
        for some in answers:
            if isinstance(some, Block):
                self._listener.done(some)
            elif some:
                self._listener.finished(some)
        answers.clear()

    def ahead(self) -> int:
        """How many calls a slot may have or wait for."""
        return short_ahead(self._seconds) if 0 < self._seconds <= SHORT_SECONDS else 2

    def learn(self, calls: Sequence[Call], seconds: Sequence[float]) -> None:
        """Calls have ended, and took so long."""
        tasks = [call.spec.task for call in calls]
        for task in dict.fromkeys(tasks):
            took = list(compress(seconds, map(task.__eq__, tasks)))
            average = self._durations.learn(task, sum(took) / len(took))
            # of calls that share a worker, seconds say nothing of how soon it takes more
            self._seconds = average if calls[tasks.index(task)].spec.concurrent == 1 else self._seconds
        self._overlaps.forget([call.request for call in calls])

    def learn_one(self, call: Call, seconds: float) -> None:
        """The same of one call."""
        self._overlaps.forget((call.request,))
        average = self._durations.learn(call.spec.task, seconds)
        self._seconds = average if call.spec.concurrent == 1 else self._seconds

    def _results(self, slot: Slot, block: Block) -> Answer:
        calls = slot.answered(block.requests, block.attempts)
        if len(calls) < len(block):
            here = {(call.request, call.attempt) for call in calls}
            block = block.only([pair in here for pair in zip(block.requests, block.attempts, strict=True)])
            if not calls:
                return []
        block.slot, block.pid = slot.index, slot.pid
        self.learn(calls, block.seconds)
        if self._recalled:
            self._recalled.difference_update(block.requests)
        return block

    def _ends(self, slot: Slot, outcomes: list[Outcome]) -> Answer:
        calls = slot.answered([one.request for one in outcomes], [one.attempt for one in outcomes])
        here = {(call.request, call.attempt) for call in calls}
        outcomes = [outcome for outcome in outcomes if (outcome.request, outcome.attempt) in here]
        for outcome in outcomes:
            outcome.slot, outcome.pid = slot.index, slot.pid
        self.learn(calls, [outcome.seconds for outcome in outcomes])
        self._recalled.difference_update(outcome.request for outcome in outcomes)
        return outcomes
