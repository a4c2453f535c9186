"""The slots of one processor and the calls that wait for them.

Calls leave in the order they came. A call nothing is known of, or a long one, leaves alone for an
idle slot; short ones in batches, up to two a slot, so that a worker need not wait for the next.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from ec_jupyter.errors import FrameError
from ec_jupyter.nodes.durations import SHORT_SECONDS
from ec_jupyter.nodes.local.agent_context import AgentContext, failed, stop_text
from ec_jupyter.nodes.local.answers import Answer, Answers
from ec_jupyter.nodes.local.overlaps import Overlaps, weight
from ec_jupyter.nodes.local.processes import Processes
from ec_jupyter.nodes.local.slot import Slot
from ec_jupyter.nodes.lots import BATCH_CALLS, short, unpack_block
from ec_jupyter.nodes.worker.process import STARTED_SECONDS
from ec_jupyter.wire import Call, Header, Value

STUCK_SECONDS = 0.02
"""How often calls that share a slot are looked after."""


class Pool:
    """One processor on this node."""

    def __init__(self, name: str, context: AgentContext) -> None:
        self.name = name
        self.cpus, self._part = 0, 1.0
        self.slots: list[Slot] = []
        self.processes = Processes(name, self.slots, context, self.pump)
        self.queue: deque[Call] = deque()
        self.removed = False
        self._context = context
        self._recalled: set[int] = set()
        self._waiting: set[Slot] = set()
        self._checked: set[Slot] = set()
        self._overlaps = Overlaps()
        self._answers = Answers(context, self._overlaps, self._recalled)
        self._kept: Slot | None = None  # its CPUs stay its own for the next call that comes alone

    # what the agent asks

    def resize(self, cpus: int) -> None:
        """Have a slot for each of `cpus`: more at once, fewer as running calls end.

        More, where calls take a part of a CPU.
        """
        self.cpus, places = cpus, math.ceil(cpus / self._part)
        staying = [slot for slot in self.slots if not slot.draining]
        for slot in self.slots:
            if slot.draining and len(staying) < places and slot.state != "ending":
                slot.draining = False
                staying.append(slot)
        used = {slot.index for slot in self.slots}
        while len(staying) < places:
            index = next(i for i in range(len(used) + 1) if i not in used)
            used.add(index)
            slot = Slot(self, self.name, index, self._context.loop)
            self.slots.append(slot)
            staying.append(slot)
        # the idle leave first, and of equals the last
        leaving = sorted(staying, key=lambda slot: (bool(slot.calls), slot.state != "cold"))[: len(staying) - places]
        for slot in leaving:
            self._drain(slot)
        self._context.granted(self._context.ledger.cap(self.name, cpus))

    def add(self, calls: Sequence[Call]) -> None:
        """Append calls to the queue."""
        self.queue.extend(calls)
        for spec in {id(call.spec): call.spec for call in calls}.values():
            self._overlaps.any |= spec.concurrent > 1
            if spec.threads > self.processes.threads:
                self.processes.threads = math.ceil(spec.threads)
                self._context.replan()
            elif spec.threads < self._part:
                self._part = spec.threads
                self.resize(self.cpus)
                self._context.replan()
        self.pump()

    def start(self, call: Call) -> tuple[float, int, int] | None:
        """Send a call at once to a worker that is idle; when, its slot and process. Else queue it.

        The worker keeps its CPUs for the next such call, until `let_go`.
        """
        plain = not self.queue and not call.spec.limited and call.spec.threads <= self.processes.threads
        slot = self._ready(call) if plain else None
        if slot is None:
            self.add([call])
            return None
        at = time.time()
        slot.send_one(call)
        slot.announced.add(call.request)
        slot.short = True
        self._kept = slot
        return at, slot.index, slot.pid

    def let_go(self) -> None:
        """Let CPUs be anybody's that a worker has kept for the next call."""
        slot, self._kept = self._kept, None
        if slot is not None and slot.idle:
            self._after(slot)

    def _ready(self, call: Call) -> Slot | None:
        """An idle slot that has the CPUs for a call; that which has kept them, if it can be."""
        for slot in self.slots if self._kept is None else [self._kept, *self.slots]:
            if slot.idle and not slot.draining and not self.processes.stale(slot) and slot not in self._waiting:
                if slot is not self._kept:
                    self.let_go()
                return slot if self._claimed(slot, call) else None
        return None

    def room(self) -> float:
        """How many more calls keep the slots busy; one that shares its worker counts as a part of one."""
        count = sum(not slot.draining for slot in self.slots)
        if self.processes.troubled:
            return 0
        each = self._answers.ahead()
        if self._overlaps.any:
            sent = [call for slot in self.slots for call in slot.calls.values()]
            return max(0.0, round(count * each - sum(map(weight, [*self.queue, *sent])), 6))
        return max(0, count * each - len(self.queue) - sum(len(slot.calls) for slot in self.slots))

    def recall(self, requests: Collection[int]) -> None:
        """Hand back those that have not begun."""
        wanted = set(requests)
        back = [call.request for call in self.queue if call.request in wanted]
        if back:
            self.queue = deque(call for call in self.queue if call.request not in wanted)
            self._context.listener.returned(back)
        for slot in self.slots:
            mine = [request for request in slot.calls if request in wanted]
            if mine:
                self._recalled.update(mine)
                slot.recall(mine)
        self._withdraw()

    def cancel(self, request: int, kind: str) -> bool:
        """End one call; False if it is not here."""
        for slot in self.slots:
            call = slot.calls.get(request)
            if call is not None:
                slot.stop(request, kind, stop_text(call, kind))
                return True
        for call in self.queue:
            if call.request == request:
                self.queue.remove(call)
                self._context.listener.finished([failed(call, kind, stop_text(call, kind))])
                self._withdraw()
                return True
        return False

    def warm(self) -> None:
        """Start one process if there is none."""
        if self.slots and all(slot.state == "cold" for slot in self.slots):
            self.processes.start(self.slots[0])

    def refresh(self) -> None:
        """End idle processes that are bound to other CPUs than planned now."""
        for slot in self.slots:
            if slot.idle and self.processes.stale(slot):
                slot.end()

    def close(self) -> None:
        """Kill every process; what waits is forgotten."""
        self.removed = True
        self.queue.clear()
        self.processes.close()
        for slot in self.slots:
            slot.close()

    # filling slots

    def pump(self) -> None:
        """Send what can be sent."""
        while self.queue:
            head = self.queue[0]
            slot = (self._beside(head) if head.spec.concurrent > 1 else None) or self._open_slot(head)
            if slot is None:
                break
            self._send(slot, self._batch(slot))
        if self.queue:
            prompt = 0 if self.queue[0].spec.fresh else sum(map(self._prompt, self.slots))
            self.processes.spawn(self.queue, prompt)
        else:
            self._withdraw()

    def _shares(self, call: Call) -> bool:
        """Whether a call may share a batch: a short one that may run again if its batch is lost."""
        spec = call.spec
        plain = not spec.once and not spec.fresh and spec.concurrent == 1
        return plain and self._context.durations.short(spec.task)

    def _need(self, call: Call) -> float:
        return call.spec.threads if call.spec.threads < 1 else max(1, min(call.spec.threads, self.cpus))

    def _open_slot(self, head: Call) -> Slot | None:
        ledger, worn = self._context.ledger, list[Slot]()
        for slot in self.slots:
            if not slot.idle or slot.draining or slot in self._waiting:
                continue
            if self.processes.stale(slot):
                slot.end()
            elif head.spec.fresh and slot.used:
                worn.append(slot)
            elif self._claimed(slot, head):
                return slot
        if worn and all(slot.state == "ready" or slot.draining for slot in self.slots):
            # nobody else's place can have the new process
            worn[0].end()
        if not self._shares(head) or ledger.contended:
            return None
        for slot in [slot for slot in self.slots if slot.short]:
            # one batch in work and one on its way: the worker finds the next when it is done
            if slot.batches == 1 and not slot.leaving and head.spec.threads <= ledger.held(slot) and self._prompt(slot):
                return slot
        return None

    def _beside(self, head: Call) -> Slot | None:
        """A slot that runs calls of the same socket and takes one more, unless others wait for its CPU."""
        if self._context.ledger.wanted_beside(self.name):
            return None
        fitting = (s for s in self.slots if self._overlaps.room(s, head) > 0 and not self.processes.stale(s))
        return next(fitting, None)

    def _claimed(self, slot: Slot, head: Call) -> bool:
        ledger, need = self._context.ledger, self._need(head)
        held = ledger.held(slot)
        if held:
            if held >= min(need, ledger.cpus):
                return True
            self._context.granted(ledger.release(slot))
        if ledger.claim(slot, self.name, need):
            return True
        self._waiting.add(slot)
        return False

    def granted(self, slot: Slot) -> None:
        """The ledger has granted this slot its CPUs."""
        self._waiting.discard(slot)
        if self.queue and slot.idle and not slot.draining:
            self.pump()
        if not slot.calls and slot not in self._waiting:
            self._release(slot)

    def _release(self, slot: Slot) -> None:
        self._waiting.discard(slot)
        self._context.granted(self._context.ledger.release(slot))

    def _withdraw(self) -> None:
        if not self.queue:
            self._context.handles.leave(self.pump)
            for slot in list(self._waiting):
                self._release(slot)

    def _batch(self, slot: Slot) -> list[Call]:
        """What the slot gets next, off the queue."""
        if self.queue[0].spec.concurrent > 1:
            return self._overlaps.batch(slot, self.queue)
        if not self._shares(self.queue[0]) or len(self.queue) == 1:
            return [self.queue.popleft()]
        takers = sum(s.batches < 2 and self._prompt(s) for s in self.slots)
        most = min(BATCH_CALLS, -(-len(self.queue) // max(1, takers)))
        return short(self.queue, most, self._context.ledger.held(slot), self._context.durations)

    def _send(self, slot: Slot, calls: list[Call]) -> None:
        slot.short = self._shares(calls[0])
        several = (calls[0].spec,) if len(calls) == 1 else {id(call.spec): call.spec for call in calls}.values()
        try:
            slot.send(calls, several)
        except FrameError as error:
            self._context.listener.finished([failed(call, "unpicklable", str(error)) for call in calls])
            return self._release(slot) if not slot.calls else None
        if slot.began or len(slot.calls) == 1:
            for call in calls:
                self._announce(slot, call, time.time())
        if len(slot.calls) > 1 and slot not in self._checked:
            self._checked.add(slot)
            self._context.loop.call_later(STUCK_SECONDS, self._check, slot)
        if any(spec.limited for spec in several):
            self._context.watch.see(slot)
        return None

    def _check(self, slot: Slot) -> None:
        """Look now and then whether a call that became long holds up those behind it, or another flow."""
        self._checked.discard(slot)
        if self._context.due(slot):
            slot.leaving = True
            slot.shed()
        if len(slot.calls) > 1:
            if any(other.idle or other.state == "cold" for other in self.slots if not other.draining):
                self._steal()
            self._checked.add(slot)
            self._context.loop.call_later(STUCK_SECONDS, self._check, slot)

    def _announce(self, slot: Slot, call: Call, at: float) -> None:
        if call.request not in slot.announced:
            slot.announced.add(call.request)
            self._context.listener.started(call.request, call.attempt, at, slot.index, slot.pid)

    # processes

    def _prompt(self, slot: Slot) -> bool:
        """Whether a slot will soon take more: it runs short calls, and they are as short as they were."""
        request, began = slot.running()
        slow = request and time.monotonic() - began > SHORT_SECONDS
        return slot.state == "ready" and not slot.draining and not slow and (slot.idle or slot.short)

    def spare(self, slot: Slot) -> bool:
        """Whether a slot's process is not needed now."""
        return slot.idle and (not self.queue or (self.queue[0].spec.fresh and slot.used))

    def _drain(self, slot: Slot) -> None:
        slot.draining = True
        if slot.state == "cold":
            self._drop(slot)
        elif slot.idle:
            slot.end()
        elif slot.calls:
            slot.recall(list(slot.calls))

    def _drop(self, slot: Slot) -> None:
        self.slots.remove(slot)
        self.processes.forget(slot)
        slot.close()
        slot.forget()

    def _expire(self, slot: Slot, pid: int) -> None:
        """End a process that has had nothing to do for long; only the agent decides that."""
        if slot.pid != pid or slot.state != "ready":
            return
        left = self._context.idle
        if slot.idle and slot not in self._waiting:
            left = slot.since + self._context.idle - time.monotonic()
            if left <= 0:
                slot.end()
                return
        self._context.loop.call_later(left, self._expire, slot, pid)

    # what slots say

    def blob(self, sha256: str) -> bytes:
        """The code of a task or condition."""
        return self._context.listener.blob(sha256)

    def up(self, slot: Slot) -> None:
        """A process is ready."""
        self._context.loop.call_later(self._context.idle, self._expire, slot, slot.pid)
        if slot.draining:
            slot.end()
            return
        self._steal()
        self.pump()

    def said(self, slot: Slot, frames: list[tuple[Header, list[bytes]]]) -> None:
        """Frames of a worker."""
        answers, done = self._answers, list[Answer]()
        if len(frames) == 1 and len(slot.calls) == 1 and not self.queue and self._alone(slot, *frames[0]):
            return
        for header, buffers in frames:
            if header["k"] in ("done", "ended"):
                done.append(answers.take(slot, header, buffers))
            else:
                answers.report(done)
                self._other[header["k"]](self, slot, header, buffers)
        if done:
            if not self.queue:
                # nothing waits for the slot
                answers.report(done)
            self._after(slot)
            answers.report(done)
            if len(slot.calls) == 1 and slot.state == "ready":
                self._announce(slot, next(iter(slot.calls.values())), time.time())
            self._context.listener.room(self.name)

    def _alone(self, slot: Slot, header: Header, buffers: list[bytes]) -> bool:
        """Take the one result that there is to come, if that is what a frame is."""
        block = unpack_block(buffers[0]) if header["k"] == "done" else None
        call = slot.ended(block.requests[0], block.attempts[0]) if block is not None and len(block) == 1 else None
        if block is None or call is None:
            return False
        block.slot, block.pid = slot.index, slot.pid
        self._recalled.discard(call.request)
        self._context.listener.done(block)
        self._answers.learn_one(call, block.seconds[0])
        if slot is not self._kept or self.queue or slot.draining or slot.spent:
            self._after(slot)
        self._context.listener.room(self.name)
        return True

    def _after(self, slot: Slot) -> None:
        """Calls have left a slot: use it again, or let it go."""
        if not slot.calls:
            slot.failures = 0
            if slot.draining or slot.spent or not self.queue or not self._context.ledger.again(slot):
                self._release(slot)
            if slot.draining or slot.spent:
                slot.end()
                return
        self.pump()
        if slot.idle and self._context.ledger.held(slot):
            # what is queued is for another one
            self._release(slot)
        if slot.idle:
            self._steal()
            self._context.handles.idle(slot)

    def _back(self, slot: Slot, header: Header, _: list[bytes]) -> None:
        stops = dict(slot.stops)
        ended, back, again = [], [], []
        for call in slot.answered(header["n"]):
            if call.request in stops:
                ended.append(failed(call, *stops[call.request]))
            elif call.request in self._recalled or self.removed:
                back.append(call.request)
            else:
                again.append(call)
        self._recalled.difference_update(back)
        self.queue.extendleft(reversed(again))
        self._after(slot)
        if ended:
            self._context.listener.finished(ended)
        if back:
            self._context.listener.returned(back)
        self._context.listener.room(self.name)

    def _begun(self, slot: Slot, header: Header, _: list[bytes]) -> None:
        call = slot.calls.get(header["n"])
        if call is not None:
            self._announce(slot, call, header["t"])

    def _steal(self) -> None:
        """Take back what is stuck behind a long call, for a neighbour has nothing to do."""
        for slot in self.slots if not self.queue else ():
            request, began = slot.running() if len(slot.calls) > 1 else (0, 0.0)
            if request and time.monotonic() - began > STARTED_SECONDS:
                slot.shed()

    def _yielded(self, slot: Slot, header: Header, buffers: list[bytes]) -> None:
        call = slot.calls.get(header["n"])
        if call is not None:
            rest = iter(buffers)
            values = [Value.of(head, rest) for head in header["v"]]
            self._context.listener.yielded(call.request, call.attempt, header["f"], values)

    _other: ClassVar[dict[str, Callable[[Pool, Slot, Header, list[bytes]], None]]] = {
        "back": _back,
        "started": _begun,
        "yielded": _yielded,
        "output": lambda pool, _, h, __: pool._context.listener.output(h["n"], h["s"], h["x"]),
        "progress": lambda pool, _, h, __: pool._context.listener.progress(h["n"], h["d"], h["t"], h["x"]),
        "need": lambda _, slot, header, __: slot.answer(header["h"]),
        "module": lambda pool, slot, header, _: pool._context.modules(header["x"], slot.taker(header["x"])),
    }

    def down(self, slot: Slot, culprit: int | None, text: str | None) -> None:
        """A process is gone, with the calls it had."""
        stops, begun = dict(slot.stops), set(slot.began)
        calls = slot.answered(list(slot.calls))
        self._context.forget(slot)
        self._release(slot)
        ended = [failed(call, *stops[call.request], text) for call in calls if call.request in stops]
        rest = [call for call in calls if call.request not in stops]
        # what must not run twice has begun, where calls run beside each other
        dead = [call for call in rest if call.request == culprit or (call.spec.once and call.request in begun)]
        back = [call for call in rest if call not in dead]
        if culprit is None and text is not None:
            self._overlaps.suspect([call for call in calls if call.request in begun])
        if begun and not self.removed:
            # they stay here, where it is known beside how many they may run
            self.queue.extendleft(reversed([call for call in back if call.request not in self._recalled]))
            back = [call for call in back if call.request in self._recalled]
        self._recalled.difference_update(call.request for call in calls)
        if slot.draining:
            self._drop(slot)
        elif text is not None and not dead and not ended and not begun and self.processes.failed(slot, text):
            back += self.queue
            self.queue.clear()
        if ended:
            self._context.listener.finished(ended)
        for call in dead:
            self._context.listener.died(call.request, call.attempt, text or "worker process ended")
        if back:
            self._context.listener.returned([call.request for call in back])
        self.pump()
        self._context.handles.gone()
        self._context.listener.room(self.name)
