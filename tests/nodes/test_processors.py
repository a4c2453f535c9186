"""What processors promise: how many calls run at once, in which order, and what becomes of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ec_jupyter.errors import ProcessorNotFoundError
from tests.nodes.rig import Rig, wait_until
from tests.nodes.tasks import add, echo, hold, logged

if TYPE_CHECKING:  # tasks of these tests are found on hosts that have not the engine
    from ec_jupyter.nodes.agents import NodeAgent

pytestmark = pytest.mark.every_node
ONE = pytest.mark.not_on("inline", why="it has one thread")


@ONE
async def test_as_many_calls_run_together_as_the_processor_has_cpus_and_no_more(rig: Rig, agent: NodeAgent) -> None:
    gate = rig.gate()
    calls = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(4)]
    agent.assign("main", calls)
    await gate.reached(0, 1)
    await wait_until(lambda: set(agent.running()) == {calls[0].request, calls[1].request})
    assert agent.room("main") == 0
    gate.open()
    await rig.done(calls)


async def test_calls_of_one_cpu_run_one_after_the_other_in_their_order(rig: Rig, single: NodeAgent) -> None:
    log = rig.folder / "log"
    calls = [rig.call(logged, {"log": str(log), "x": x}) if x % 7 == 0 else rig.call(echo, {"x": x}) for x in range(60)]
    single.assign("main", calls[:30])
    single.assign("main", calls[30:])
    await rig.done(calls)
    started = [rig.ear.outcomes[call.request].started for call in calls]
    assert started == sorted(started)
    assert log.read_text().split() == [f"{sign}{x}" for x in range(0, 60, 7) for sign in "+-"]


@ONE
async def test_processors_together_take_no_more_than_the_cpus_of_the_node(rig: Rig) -> None:
    agent = await rig.start(cpus=2)
    log = rig.folder / "log"
    calls = []
    for name in ("a", "b", "c"):
        agent.processor(name, 2)
    for _ in range(10):
        for name in ("a", "b", "c"):
            calls.append(rig.call(logged, {"log": str(log), "x": 1}))
            agent.assign(name, calls[-1:])
    await rig.done(calls)
    running = peak = 0
    for line in log.read_text().split():
        running += int(line)
        peak = max(peak, running)
    assert 1 <= peak <= 2


async def test_many_calls_come_back_once_each(rig: Rig, agent: NodeAgent) -> None:
    task = rig.task(add)
    calls = [rig.call(task, {"one": x}) for x in range(1000)]
    agent.assign("main", calls)
    await rig.done(calls, 60)
    assert [rig.result(call.request) for call in calls] == [x + 10 for x in range(1000)]
    assert not rig.ear.back


@ONE
async def test_growing_acts_while_calls_run(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    calls = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(3)]
    single.assign("main", calls)
    await gate.reached(0)
    single.processor("main", 2)
    await gate.reached(1)
    gate.open()
    await rig.done(calls)


@ONE
async def test_shrinking_waits_for_running_calls_and_loses_none(rig: Rig, agent: NodeAgent) -> None:
    gate = rig.gate()
    calls = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(6)]
    agent.assign("main", calls)
    await gate.reached(0, 1)
    agent.processor("main", 1)
    await wait_until(lambda: len(agent.running()) == 2)
    gate.open()
    await rig.done(calls)
    assert [rig.result(call.request) for call in calls] == list(range(6))
    assert not rig.ear.back
    assert not rig.ear.dead


async def test_processor_of_no_cpus_keeps_its_calls_until_it_grows_again(rig: Rig, agent: NodeAgent) -> None:
    gate = rig.gate()
    first, *later = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(10)]
    agent.assign("main", [first])
    await gate.reached(0)
    agent.processor("main", 0)
    assert agent.room("main") == 0
    agent.assign("main", later)
    gate.open()
    await rig.done([first])
    await wait_until(lambda: not agent.running())
    assert set(rig.ear.outcomes) == {first.request}
    agent.processor("main", 2)
    await rig.done(later)


async def test_removed_processor_hands_back_what_it_has_not_begun(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    first, *others = [rig.call(hold, {"gate": str(gate), "x": x}) for x in range(4)]
    single.assign("main", [first, *others])
    await gate.reached(0)
    single.remove("main")
    await rig.ear.until(lambda: len(rig.ear.back) == 3)
    gate.open()
    await rig.done([first])
    assert sorted(rig.ear.back) == [call.request for call in others]
    single.processor("main", 1)
    single.assign("main", others)
    await rig.done(others)


async def test_processor_that_is_not_there_is_named(rig: Rig, agent: NodeAgent) -> None:
    assert agent.room("mian") == 0
    with pytest.raises(ProcessorNotFoundError, match="no processor named 'mian'; did you mean 'main'"):
        agent.assign("mian", [])


async def test_room_is_told_when_there_is_more(rig: Rig, agent: NodeAgent) -> None:
    assert agent.room("main") > 0
    task = rig.task(echo)
    for _ in range(8):
        await rig.run(agent, rig.call(task, {"x": 1}))
    await rig.ear.until(lambda: rig.ear.rooms and agent.room("main") >= 4)


async def test_facts_say_what_the_node_is(rig: Rig, agent: NodeAgent) -> None:
    facts = rig.facts(agent)
    words = {"state", "cpus", "host", "python", "version", "since", "round_trip", "memory", "error", "type"}
    assert words <= facts.keys()
    assert (facts["state"], facts["cpus"], facts["error"], facts["type"]) == ("up", 2, None, None)


async def test_closing_ends_a_call_that_runs_and_says_no_more(rig: Rig, single: NodeAgent) -> None:
    gate = rig.gate()
    call = rig.call(hold, {"gate": str(gate)})
    single.assign("main", [call, rig.call(echo, {"x": 1})])
    await gate.reached(0)
    rig.agents.remove(single)
    await single.close()
    assert all(outcome.state == "failed" for outcome in rig.ear.outcomes.values())
