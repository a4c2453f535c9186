"""Large results stay on the cluster: they are known, used there, brought home, and dropped when nobody names them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ec_jupyter.nodes.dask import files
from ec_jupyter.nodes.values import load_file
from ec_jupyter.wire import Call, Value
from tests.nodes.dask_cluster import Dask
from tests.nodes.dask_rig import DaskRig
from tests.nodes.rig import Rig, wait_until

LARGE = 3 << 20


@pytest.fixture
def rig(dask: DaskRig) -> DaskRig:
    return dask


def large(n):
    return bytes(n), os.getpid()


def measure(given):
    return len(given[0]), given[1], os.getpid()


def both(given, gate):
    while os.path.exists(gate):
        pass
    return len(given[0]), given[1], os.getpid()


def pieces(n):
    for _ in range(n):
        yield bytes(2 << 20)


def failing(n):
    raise ValueError(bytes(n))


def occupy(gate, mark):
    Path(mark).write_text(f"{os.getpid()}\n")
    while os.path.exists(gate):
        pass
    return os.getpid()


async def made(rig: DaskRig, agent: Any, size: int = LARGE) -> Value:
    """A value that was made there, and stays."""
    outcome = await rig.run(agent, rig.call(large, {"n": size}))
    assert outcome.state == "done", outcome.error
    assert outcome.value is not None
    return outcome.value


def using(rig: Rig, function: Any, value: Value, **others: Any) -> Call:
    rest = [(name, "v", [rig.value(one)]) for name, one in others.items()]
    return rig.call(function, arguments=[("given", "v", [value]), *rest])


def at_home(rig: Rig, name: str | None) -> bool:
    return (rig.values / str(name)).exists()


def pid_of(rig: Rig, name: str) -> int:
    return int(load_file(name, rig.values)[1])


async def started(rig: DaskRig) -> Any:
    agent = await rig.start()
    agent.processor("main", 2)
    return agent


async def busy(rig: DaskRig, agent: Any, gate: Path, mark: Path) -> tuple[Call, int]:
    """A call that holds one worker until its gate is gone, and that worker's process."""
    gate.touch()
    call = rig.call(occupy, {"gate": str(gate), "mark": str(mark)})
    agent.assign("main", [call])
    await wait_until(lambda: mark.exists() and mark.read_text().endswith("\n"))
    return call, int(mark.read_text())


async def test_a_large_result_stays_there_and_is_told_before_its_outcome(rig: DaskRig) -> None:
    agent = await started(rig)
    value = await made(rig, agent)
    assert value.file == "1.7.1.0"
    assert rig.ear.stayed == {value.file}
    assert agent.holds(value.file)
    assert not at_home(rig, value.file)
    assert agent.facts()["stored"] >= LARGE
    assert not agent.holds("1.7.2.0")


async def test_a_result_up_to_the_limit_yields_elements_and_exceptions_come_home(rig: DaskRig) -> None:
    agent = await started(rig)
    small = await rig.run(agent, rig.call(large, {"n": 500_000}))
    several = rig.call(pieces, {"n": 2})
    await rig.run(agent, several)
    error = await rig.run(agent, rig.call(failing, {"n": LARGE}))
    parts = await rig.run(agent, rig.call(split, routes=[(5, None, None, True, None)]))
    assert small.value is not None
    assert error.exception is not None
    assert at_home(rig, small.value.file)
    assert [at_home(rig, value.file) for _, value in rig.ear.yields[several.request]] == [True, True]
    assert at_home(rig, error.exception.file)
    assert isinstance(parts.routed[5], list)
    assert [at_home(rig, value.file) for value in parts.routed[5]] == [True, True]
    assert parts.value is not None
    assert rig.ear.stayed == {parts.value.file}


def split():
    return [bytes(2 << 20), bytes(2 << 20)]


async def test_brought_home_it_is_the_value_and_is_stored_there_no_more(rig: DaskRig) -> None:
    agent = await started(rig)
    value = await made(rig, agent)
    assert await agent.bring(value.file)
    assert len(load_file(str(value.file), rig.values)[0]) == LARGE
    assert agent.facts()["stored"] == 0
    assert not [path for path in rig.values.iterdir() if path.name.startswith(".")]


async def test_who_asks_for_a_value_at_once_shares_one_copy(rig: DaskRig, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await started(rig)
    value = await made(rig, agent)
    fetched = []
    fetch = agent._files._fetch

    async def counting(*given: Any) -> bool:
        fetched.append(given[1])
        return bool(await fetch(*given))

    monkeypatch.setattr(agent._files, "_fetch", counting)
    assert await asyncio.gather(*(agent.bring(value.file) for _ in range(5))) == [True] * 5
    assert fetched == [value.file]


async def test_a_call_runs_where_the_bytes_of_its_arguments_are(rig: DaskRig) -> None:
    agent = await started(rig)
    for _ in range(4):
        value = await made(rig, agent)
        call = using(rig, measure, value)
        await rig.run(agent, call)
        size, maker, user = rig.result(call.request)
        assert (size, maker) == (LARGE, user)
    assert not any(at_home(rig, name) for name in rig.ear.stayed)


async def test_a_value_goes_from_a_busy_worker_to_another_without_passing_through_here(
    rig: DaskRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIECE_BYTES", 1 << 20)
    agent = await started(rig)
    value = await made(rig, agent)
    holder = agent._workers.holders(value.file)[0]
    gate = tmp_path / "gate"
    blocked = using(rig, occupy_with, value, gate=str(gate), mark=str(tmp_path / "mark"))
    gate.touch()
    agent.assign("main", [blocked])
    await wait_until((tmp_path / "mark").exists)
    call = using(rig, measure, value)
    await rig.run(agent, call)
    size, maker, user = rig.result(call.request)
    assert size == LARGE
    assert maker == holder.pid != user
    assert not at_home(rig, value.file)
    assert len(agent._workers.holders(value.file)) == 2
    gate.unlink()
    await rig.ear.until(lambda: blocked.request in rig.ear.outcomes)


def occupy_with(given, gate, mark):
    return occupy(gate, mark)


async def test_copies_go_and_the_only_one_stays_when_a_worker_has_too_much(
    rig: DaskRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "KEPT_BYTES", 1)
    agent = await started(rig)
    kept, brought = await made(rig, agent), await made(rig, agent)
    assert await agent.bring(brought.file)
    for _ in range(4):
        await asyncio.gather(*(rig.run(agent, rig.call(large, {"n": 10})) for _ in range(2)))
    assert agent.holds(kept.file)
    assert not agent.holds(brought.file)
    assert await agent.bring(kept.file)


async def test_a_call_whose_argument_died_with_its_worker_is_handed_back_unharmed(rig: DaskRig, tmp_path: Path) -> None:
    agent = await started(rig)
    value = await made(rig, agent)
    assert value.file is not None
    pid = agent._workers.holders(value.file)[0].pid
    call = using(rig, measure, value)
    # both workers are at work, so that it waits here
    waiting = [rig.call(occupy, {"gate": str(tmp_path / "gate"), "mark": str(tmp_path / f"mark{i}")}) for i in (1, 2)]
    (tmp_path / "gate").touch()
    agent.assign("main", waiting)
    await wait_until(lambda: all((tmp_path / f"mark{i}").exists() for i in (1, 2)))
    agent.assign("main", [call])
    os.kill(pid, signal.SIGKILL)
    await rig.ear.until(lambda: not agent.holds(value.file))
    (tmp_path / "gate").unlink()
    await rig.ear.until(lambda: call.request in rig.ear.back)
    assert call.request not in rig.ear.outcomes
    assert call.request not in rig.ear.dead
    assert agent.facts()["stored"] == 0
    assert not await agent.bring(value.file)
    # nobody has named anything lost that was not
    assert len(rig.ear.dead) + len(rig.ear.gone) == 1


async def test_the_next_agent_of_a_flow_finds_what_the_last_has_left(rig: DaskRig) -> None:
    agent = await started(rig)
    kept, brought = await made(rig, agent), await made(rig, agent)
    await agent.bring(brought.file)
    await agent.close()
    rig.ear.stayed.clear()
    agent = await rig.start(epoch=8)
    agent.processor("main", 2)
    assert agent.holds(kept.file)
    assert rig.ear.stayed == {kept.file}
    assert agent.facts()["stored"] >= LARGE
    call = using(rig, measure, kept)
    await rig.run(agent, call)
    assert rig.result(call.request)[0] == LARGE
    assert await agent.bring(kept.file)
    assert len(load_file(str(kept.file), rig.values)[0]) == LARGE


async def test_the_next_agent_finds_what_was_left_when_the_last_was_cut_off(rig: DaskRig) -> None:
    agent = await started(rig)
    value = await made(rig, agent)
    agent._lose()
    assert not agent.holds(value.file)
    assert not await agent.bring(value.file)
    agent.retry()
    await rig.ear.until(lambda: agent.state == "up")
    assert agent.holds(value.file)
    assert await agent.bring(value.file)


async def test_released_values_are_dropped_by_the_workers(rig: DaskRig, cluster: Dask) -> None:
    agent = await started(rig)
    one, two = await made(rig, agent), await made(rig, agent)
    folders = [Path(path) for path in await asyncio.gather(*where(agent))]
    agent.release([one.file])
    assert not agent.holds(one.file)
    assert agent.facts()["stored"] < 2 * LARGE
    await wait_until(lambda: [p.name for f in folders if f.exists() for p in f.iterdir()] == [two.file])
    # while nobody can be told, too
    agent._lose()
    agent.release([two.file])
    agent.retry()
    await rig.ear.until(lambda: agent.state == "up")
    assert not agent.holds(two.file)
    await wait_until(lambda: not [p for f in folders if f.exists() for p in f.iterdir()])


def where(agent: Any) -> list[Any]:
    return [agent._workers.cluster.act(w.address, "place", w.token) for w in agent._workers.by_address.values()]


async def test_the_result_of_a_cancelled_call_is_not_left_there(rig: DaskRig, tmp_path: Path) -> None:
    agent = await started(rig)
    folders = [Path(path) for path in await asyncio.gather(*where(agent))]
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    gate.touch()
    call = rig.call(stubborn, {"gate": str(gate), "mark": str(mark)})
    agent.assign("main", [call])
    await wait_until(mark.exists)
    agent.cancel(call.request)
    await rig.ear.until(lambda: call.request in rig.ear.outcomes)
    gate.unlink()
    await wait_until(lambda: not agent.facts()["used"])
    assert not rig.ear.stayed
    await wait_until(lambda: not [p for f in folders for p in f.iterdir()])


def stubborn(gate, mark):
    Path(mark).touch()
    while os.path.exists(gate):
        try:
            while os.path.exists(gate):
                pass
        except KeyboardInterrupt:
            pass
    return bytes(3 << 20)
