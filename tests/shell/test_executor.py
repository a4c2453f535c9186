"""A processor as a `concurrent.futures.Executor`: what the standard library claims of its own pools."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Executor,
    Future,
    as_completed,
    wait,
)
from typing import Any

import pytest

import ec_jupyter as ec
from ec_jupyter.errors import ExecutorShutdownError, TaskNotPicklableError, WorkerDiedError
from tests.cases import each_of

pytestmark = pytest.mark.shared_engine(one=1)


def passed(value: Any) -> Any:
    """What passes the gate, one call at a time."""
    os.read(os.open("gate", os.O_RDONLY), 1)
    return value


def inverse(value: int) -> float:
    return 1 / value


def given(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


def returns_a_lock() -> Any:
    return threading.Lock()


def dies() -> None:
    os._exit(3)


@pytest.fixture
def flow(loaded: Any) -> Any:
    loaded.run("flow = ec.flow(); flow.processor('one', cpus=1)")
    return loaded.names["flow"]


@pytest.fixture
def pool(flow: ec.Flow) -> Iterator[ec.ProcessorExecutor]:
    """A pool of one worker: what waits, waits for sure."""
    with flow.executor("one") as pool:
        yield pool


def started(wait_until: Callable[..., Any], future: Future[Any]) -> None:
    wait_until(future.running)


# -- submit ----------------------------------------------------------------------
def test_it_is_an_executor_and_gives_what_the_function_returns(pool: Any) -> None:
    assert isinstance(pool, Executor)
    assert pool.submit(pow, 2, 8).result(60) == 256


def test_keywords_of_any_name_reach_the_function(pool: Any) -> None:
    future = pool.submit(given, 1, self="a", fn="b", flow="c")
    assert future.result(60) == ((1,), {"self": "a", "fn": "b", "flow": "c"})


def test_lambdas_and_closures_travel(pool: Any) -> None:
    by = 3
    assert pool.submit(lambda x: x * by, 2).result(60) == 6


def test_the_functions_exception_is_the_futures(pool: Any) -> None:
    future = pool.submit(inverse, 0)
    assert isinstance(future.exception(60), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError) as raised:
        future.result()
    assert "return 1 / value" in "".join(raised.value.__notes__)


def test_an_argument_that_cannot_be_pickled_is_the_futures_exception(pool: Any) -> None:
    future = pool.submit(given, threading.Lock())
    assert isinstance(future.exception(60), TaskNotPicklableError)
    assert not future.cancel()
    assert pool.submit(pow, 2, 2).result(60) == 4


def test_a_result_that_cannot_be_pickled_is_the_futures_exception(pool: Any) -> None:
    assert isinstance(pool.submit(returns_a_lock).exception(60), TaskNotPicklableError)
    assert pool.submit(pow, 2, 2).result(60) == 4


def test_a_worker_that_dies_fails_its_call_alone(pool: Any) -> None:
    futures = [pool.submit(dies), pool.submit(pow, 2, 2)]
    assert isinstance(futures[0].exception(60), WorkerDiedError)
    assert futures[1].result(60) == 4


def test_many_threads_may_submit(pool: Any) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.append(pool.submit(abs, -n).result(60))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))


def test_a_call_is_a_request_of_the_flow(flow: Any, pool: Any) -> None:
    future = pool.submit(pow, 2, 3)
    assert future.result(60) == 8
    assert (future.request.state, future.request.socket) == ("done", "one_calls")
    assert flow.requests(socket="one_calls")[-1] == future.request


# -- running and cancelling --------------------------------------------------------
def test_a_future_says_whether_its_call_runs(pool: Any, gate: Any, wait_until: Callable[..., Any]) -> None:
    first, second = pool.submit(passed, 1), pool.submit(passed, 2)
    started(wait_until, first)
    assert (first.running(), first.done(), second.running(), second.done()) == (True, False, False, False)
    gate.open(2)
    assert (first.result(60), second.result(60)) == (1, 2)
    assert not first.running()


def test_a_call_that_waits_is_cancelled(pool: Any, gate: Any, wait_until: Callable[..., Any]) -> None:
    first, second = pool.submit(passed, 1), pool.submit(passed, 2)
    started(wait_until, first)
    assert second.cancel()
    assert (second.cancelled(), second.done(), second.running()) == (True, True, False)
    with pytest.raises(CancelledError):
        second.result(60)
    assert second.cancel(), "as often as anybody likes"
    gate.open()
    assert first.result(60) == 1
    assert second.request.state == "cancelled"


def test_a_call_that_runs_or_has_ended_is_not_cancelled(pool: Any, gate: Any, wait_until: Callable[..., Any]) -> None:
    future = pool.submit(passed, 1)
    started(wait_until, future)
    assert not future.cancel()
    gate.open()
    assert future.result(60) == 1
    assert not future.cancel()
    assert not future.cancelled()


def test_a_call_cancelled_in_the_flow_is_cancelled_in_its_future(
    pool: Any, gate: Any, wait_until: Callable[..., Any]
) -> None:
    future = pool.submit(passed, 1)
    started(wait_until, future)
    assert future.request.cancel()
    with pytest.raises(CancelledError):
        future.result(60)
    assert future.cancelled()


# -- map -----------------------------------------------------------------------------
def test_map_gives_results_in_order_to_the_end_of_the_shortest(pool: Any) -> None:
    assert list(pool.map(pow, range(10), [2] * 7)) == [n**2 for n in range(7)]
    assert list(pool.map(pow, [], [])) == []


def test_map_raises_at_the_element_that_failed(pool: Any) -> None:
    results = pool.map(inverse, [1, 2, 0, 4])
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


@each_of("chunksize", [1, 2, 3, 10])
def test_map_in_chunks_gives_the_same(flow: Any, pool: Any, chunksize: int) -> None:
    before = len(flow.requests(socket="one_calls"))
    assert list(pool.map(pow, range(10), range(10), chunksize=chunksize)) == [n**n for n in range(10)]
    assert len(flow.requests(socket="one_calls")) - before == -(-10 // chunksize)


def test_a_chunk_of_no_calls_is_refused(pool: Any) -> None:
    with pytest.raises(ValueError, match="chunksize=0"):
        pool.map(pow, [1], [2], chunksize=0)


def test_an_argument_of_map_that_cannot_be_pickled_fails_its_own_element(pool: Any) -> None:
    results = pool.map(given, [1, threading.Lock(), 3])
    assert next(results) == ((1,), {})
    with pytest.raises(TaskNotPicklableError):
        next(results)


def test_map_with_a_timeout_gives_what_came_in_time_and_cancels_the_rest(
    flow: Any, pool: Any, gate: Any, wait_until: Callable[..., Any]
) -> None:
    # the worker has started before the time runs
    assert pool.submit(abs, -1).result(60) == 1
    gate.open()
    results = pool.map(passed, [1, 2, 3], timeout=10)
    assert next(results) == 1
    with pytest.raises(TimeoutError):
        next(results)
    # a worker may have it already, and say a moment later that it has not begun
    wait_until(lambda: flow.requests(socket="one_calls")[-1].state == "cancelled")
    gate.open()
    flow.wait(60)


def test_calls_of_a_map_that_nobody_reads_to_the_end_are_cancelled(
    flow: Any, pool: Any, gate: Any, wait_until: Callable[..., Any]
) -> None:
    gate.open()
    results = pool.map(passed, range(3))
    assert next(results) == 0
    results.close()
    gate.open()
    flow.wait(60)
    wait_until(lambda: [r.state for r in flow.requests(socket="one_calls")].count("cancelled") >= 1)


# -- wait and as_completed -------------------------------------------------------------
def test_as_completed_gives_each_future_once(pool: Any) -> None:
    futures = {pool.submit(abs, -n): n for n in range(6)}
    assert sorted(futures[f] for f in as_completed([*futures, *futures], timeout=60)) == list(range(6))


def test_as_completed_ends_at_its_timeout(pool: Any, gate: Any) -> None:
    done, late = pool.submit(abs, -1), pool.submit(passed, 2)
    assert done.result(60) == 1
    coming = as_completed([done, late], timeout=0)
    assert next(coming) == done
    with pytest.raises(TimeoutError):
        next(coming)
    gate.open()
    assert late.result(60) == 2


def test_wait_returns_at_the_first_end(pool: Any, gate: Any) -> None:
    first, second = pool.submit(abs, -1), pool.submit(passed, 2)
    done, open_ = wait([first, second], return_when=FIRST_COMPLETED, timeout=60)
    assert (done, open_) == ({first}, {second})
    gate.open()
    assert wait([first, second], return_when=ALL_COMPLETED, timeout=60).not_done == set()


def test_wait_returns_at_the_first_exception(pool: Any, gate: Any) -> None:
    failed, late = pool.submit(inverse, 0), pool.submit(passed, 1)
    done, open_ = wait([failed, late], return_when=FIRST_EXCEPTION, timeout=60)
    assert (done, open_) == ({failed}, {late})
    gate.open()
    assert late.result(60) == 1


def test_wait_counts_what_was_cancelled_as_done(pool: Any, gate: Any, wait_until: Callable[..., Any]) -> None:
    first, second = pool.submit(passed, 1), pool.submit(passed, 2)
    started(wait_until, first)
    second.cancel()
    assert wait([second], timeout=30).done == {second}
    gate.open()
    assert first.result(60) == 1


def test_a_coroutine_awaits_a_call(pool: Any) -> None:
    async def called() -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, pow, 3, 3)

    assert asyncio.run(called()) == 27


# -- callbacks --------------------------------------------------------------------------
def test_a_callback_is_called_once_with_the_future(pool: Any, wait_until: Callable[..., Any]) -> None:
    seen: list[Any] = []
    future = pool.submit(pow, 2, 2)
    future.add_done_callback(seen.append)
    wait_until(lambda: seen == [future])
    future.add_done_callback(seen.append)
    assert seen == [future, future]


def test_a_callback_may_submit_more(pool: Any, wait_until: Callable[..., Any]) -> None:
    out: list[Any] = []
    pool.submit(pow, 2, 2).add_done_callback(lambda f: out.append(pool.submit(pow, f.result(), 2)))
    assert wait_until(lambda: out)[0].result(60) == 16


# -- shutting down -----------------------------------------------------------------------
def test_a_pool_that_was_shut_down_takes_no_call(flow: Any) -> None:
    pool = flow.executor("one")
    pool.shutdown()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="'one' is shut down") as raised:
        pool.submit(pow, 2, 2)
    assert isinstance(raised.value, ExecutorShutdownError)
    with pytest.raises(RuntimeError):
        pool.map(pow, [], [])


def test_a_with_block_ends_when_its_calls_have(flow: Any, gate: Any) -> None:
    with flow.executor("one") as pool:
        futures = [pool.submit(passed, n) for n in range(3)]
        gate.open(3)
    assert [f.done() for f in futures] == [True, True, True]


def test_shutting_down_without_waiting_lets_calls_go_on(flow: Any, gate: Any, wait_until: Callable[..., Any]) -> None:
    before = {t.ident for t in threading.enumerate()}
    pool = flow.executor("one")
    future = pool.submit(passed, 1)
    pool.shutdown(wait=False)
    assert not future.done()
    gate.open()
    assert future.result(60) == 1
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "ec-executor" and t.ident not in before])


def test_shutting_down_may_cancel_what_waits(flow: Any, gate: Any, wait_until: Callable[..., Any]) -> None:
    pool = flow.executor("one")
    futures = [pool.submit(passed, n) for n in range(5)]
    started(wait_until, futures[0])
    pool.shutdown(wait=False, cancel_futures=True)
    assert [f.cancelled() for f in futures] == [False, True, True, True, True]
    gate.open()
    assert futures[0].result(60) == 0


def test_a_result_is_let_go_of_with_its_future(pool: Any, wait_until: Callable[..., Any]) -> None:
    future = pool.submit(_Result)
    gone = weakref.ref(future.result(60))
    del future
    wait_until(lambda: gc.collect() is not None and gone() is None)


class _Result:
    """Something that can be referred to weakly."""
