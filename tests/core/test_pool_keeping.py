"""The pool keeps connections warm, ends old ones gently, bounds them in all, and tells what it does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from elanus.errors import ConfigError, ConnectFailedError
from elanus.options import PoolOptions

from .pooled import FakeConnection, call, make, virtual

if TYPE_CHECKING:
    from elanus.net.pool import Pool
    from elanus.net.pool_report import ConnectionReport


def opened(pool: Pool, address: str = "a:1") -> int:
    return pool.connections().get(address, 0)


def test_connections_are_kept_warm_from_the_first_call_on() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_min=3, idle_timeout=10.0)
        await call(pool)
        await asyncio.sleep(0.1)
        assert opened(pool) == 3
        await asyncio.sleep(1_000)
        assert opened(pool) == 3
        assert len(transport.made) == 3, "what is kept is not closed and opened again"
        await pool.aclose(0)

    virtual(scenario())


def test_what_goes_beyond_the_warm_ones_is_swept() -> None:
    async def scenario() -> None:
        pool, _ = make(idle_min=2, idle_timeout=10.0)
        await asyncio.gather(*(call(pool, 1.0) for _ in range(6)))
        assert opened(pool) == 6
        await asyncio.sleep(20)
        assert opened(pool) == 2
        assert pool.counters().evicted == {"idle": 4}
        await pool.aclose(0)

    virtual(scenario())


def test_a_warm_connection_that_is_lost_is_opened_again() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_min=2)
        await call(pool)
        await asyncio.sleep(5)
        for connection in transport.made:
            connection.lose()
        await asyncio.sleep(0.1)
        assert opened(pool) == 2
        assert pool.counters().lost == 2
        await pool.aclose(0)

    virtual(scenario())


def test_a_dead_instance_is_not_asked_in_a_loop_and_comes_back() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_min=4)
        await call(pool)
        await asyncio.sleep(5)
        transport.error = ConnectFailedError("refused", instance="a:1")
        for connection in transport.made:
            connection.lose()
        before = transport.tried
        await asyncio.sleep(600)
        assert transport.tried - before < 30, "after a failure the pauses grow up to half a minute"
        assert transport.tried - before > 15
        transport.error = None
        await asyncio.sleep(30)
        assert opened(pool) == 4
        await pool.aclose(0)

    virtual(scenario())


def test_a_server_that_hangs_up_at_once_is_asked_once_a_second() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_min=2)
        await call(pool)
        await asyncio.sleep(5)

        async def hang_up() -> None:
            while True:
                for connection in transport.made[-2:]:
                    connection.lose()
                await asyncio.sleep(0.01)

        before = transport.tried
        rude = asyncio.create_task(hang_up())
        await asyncio.sleep(100)
        rude.cancel()
        assert transport.tried - before <= 202, "two a round, and a round a second"
        await pool.aclose(0)

    virtual(scenario())


def test_no_connection_is_opened_ahead_of_use_only_to_be_closed_again() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_min=2, idle_in_all=5, idle_timeout=4.0)
        for number in range(8):
            await call(pool, address=f"a:{number}")
        await asyncio.sleep(2)
        settled = len(transport.made)
        await asyncio.sleep(600)
        assert sum(pool.connections().values()) <= 5
        assert len(transport.made) - settled < 8
        await pool.aclose(0)

    virtual(scenario())


def test_nothing_is_opened_again_once_the_instance_is_gone_or_the_client_closed() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_min=3)
        await call(pool, address="a:1")
        await call(pool, address="b:2")
        await asyncio.sleep(1)
        pool.drop("a:1")
        await asyncio.sleep(100)
        assert pool.connections() == {"b:2": 3}
        await pool.aclose(0)
        made = len(transport.made)
        await asyncio.sleep(100)
        assert len(transport.made) == made
        assert all(connection.closed.done() for connection in transport.made)

    virtual(scenario())


@pytest.mark.parametrize("capacity", [1, 100])
def test_old_connections_end_one_by_one_and_cut_no_call(capacity: int) -> None:
    async def scenario() -> None:
        pool, transport = make(capacity, max_age=100.0, idle_min=2)
        loop = asyncio.get_running_loop()
        long_one = asyncio.create_task(call(pool, 500.0))
        await asyncio.sleep(0.1)
        until = loop.time() + 450
        while loop.time() < until:
            await call(pool, 0.5)
        assert opened(pool) >= 2
        assert not transport.made[0].closed.done(), "a call is still on it"
        first = transport.made[0]
        assert await long_one is first
        await asyncio.sleep(0.1)
        assert first.closed.done()
        ages = [connection.grace for connection in transport.made if connection.closed.done()]
        assert len(ages) >= 4, "it was replaced again and again"
        assert [connection.cut for connection in transport.made] == [0] * len(transport.made)
        assert pool.counters().evicted["age"] == len(ages)
        await pool.aclose(0)

    virtual(scenario())


def test_connections_made_together_do_not_end_together() -> None:
    async def scenario() -> None:
        pool, _ = make(max_age=1_000.0, idle=50, idle_timeout=10_000.0)
        await asyncio.gather(*(call(pool, 1.0) for _ in range(50)))
        (report,) = pool.report()
        left = [one.left for one in report.connections]
        assert all(seconds is not None and 898 <= seconds <= 1_000 for seconds in left)
        assert len(set(left)) == 50
        await asyncio.sleep(950)
        assert 5 < opened(pool) < 45
        await asyncio.sleep(100)
        assert opened(pool) == 0
        await pool.aclose(0)

    virtual(scenario())


def test_a_call_beyond_all_connections_waits_for_one_of_another_instance() -> None:
    async def scenario() -> None:
        pool, transport = make(open_in_all=2)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*(call(pool, 1.0, address) for address in ("a:1", "b:2", "c:3", "d:4")))
        assert loop.time() - started == pytest.approx(2.0, abs=0.01)
        assert len(transport.made) == 4
        assert pool.counters().waited == 2
        assert pool.counters().evicted == {"room": 2}
        await pool.aclose(0)

    virtual(scenario())


def test_an_idle_connection_makes_room_for_another_instance_the_one_that_is_idle_for_longest() -> None:
    async def scenario() -> None:
        pool, _ = make(open_in_all=3)
        for address in ("a:1", "b:2", "c:3"):
            await call(pool, address=address)
            await asyncio.sleep(1)
        await call(pool, address="d:4")
        assert pool.connections() == {"a:1": 0, "b:2": 1, "c:3": 1, "d:4": 1}
        await pool.aclose(0)

    virtual(scenario())


def test_a_shared_connection_makes_room_as_soon_as_nobody_uses_it() -> None:
    async def scenario() -> None:
        pool, _ = make(100, open_in_all=1)
        busy = [asyncio.create_task(call(pool, seconds)) for seconds in (1.0, 2.0)]
        await asyncio.sleep(0.1)
        other = asyncio.create_task(call(pool, 0.0, "b:2"))
        await asyncio.wait([busy[0]])
        await asyncio.sleep(0.5)
        assert not other.done()
        await other
        assert pool.counters().evicted == {"room": 1}
        await busy[1]
        await pool.aclose(0)

    virtual(scenario())


def test_room_for_two_connections_is_used_for_two() -> None:
    async def scenario() -> None:
        pool, transport = make(open_in_all=2)
        loop = asyncio.get_running_loop()
        busy = [asyncio.create_task(call(pool, 100.0)) for _ in range(2)]
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(call(pool, 0.0, "b:2")) for _ in range(2)]
        await asyncio.sleep(0.1)
        transport.delay = 0.9
        started = loop.time()
        for connection in transport.made:
            connection.lose()
        await asyncio.gather(*waiting)
        assert loop.time() - started == pytest.approx(0.9, abs=0.01), "both connect at once"
        await asyncio.gather(*busy)
        await pool.aclose(0)

    virtual(scenario())


def test_a_cold_burst_on_an_instance_that_shares_opens_one_connection() -> None:
    async def scenario() -> None:
        pool, transport = make(1_000, delay=0.01, known=True)
        await asyncio.gather(*(call(pool, 0.1) for _ in range(300)))
        assert len(transport.made) == 1
        await asyncio.gather(*(call(pool, 0.1) for _ in range(2_500)))
        assert len(transport.made) == 3, "and as many as are needed"
        await pool.aclose(0)

    virtual(scenario())


def test_a_cold_burst_goes_on_when_the_first_to_connect_is_cancelled() -> None:
    async def scenario() -> None:
        pool, transport = make(1_000, delay=0.5, known=True)
        calls = [asyncio.create_task(call(pool)) for _ in range(10)]
        await asyncio.sleep(0.1)
        calls[0].cancel()
        await asyncio.gather(*calls[1:])
        assert len(transport.made) == 1
        assert (pool.total, transport.tried) == (1, 2)
        await pool.aclose(0)

    virtual(scenario())


def test_calls_take_turns_on_several_shared_connections() -> None:
    async def scenario() -> None:
        pool, transport = make(1_000, known=True, connections=3)
        await call(pool)
        await call(pool)
        await asyncio.sleep(0.1)
        assert len(transport.made) == 3
        used = [transport.made.index(await call(pool)) for _ in range(30)]
        assert {number: used.count(number) for number in used} == {0: 10, 1: 10, 2: 10}
        assert used[:3] == used[3:6]
        assert sorted(used[:3]) == [0, 1, 2]
        transport.made[1].lose()
        await asyncio.sleep(0)
        await call(pool)
        await asyncio.sleep(1.1)
        assert opened(pool) == 3
        await pool.aclose(0)

    virtual(scenario())


def test_idle_shared_connections_are_closed_and_not_opened_again() -> None:
    async def scenario() -> None:
        pool, transport = make(1_000, known=True, connections=3, idle_timeout=10.0)
        await call(pool)
        await call(pool)
        await asyncio.sleep(100)
        assert pool.connections() == {}
        assert len(transport.made) == 3
        await pool.aclose(0)

    virtual(scenario())


def test_the_calls_of_an_instance_that_is_gone_are_not_cut() -> None:
    async def scenario() -> None:
        pool, transport = make(10)
        long_one = asyncio.create_task(call(pool, 500.0))
        await asyncio.sleep(0.1)
        pool.drop("a:1")
        await asyncio.sleep(400)
        assert not transport.made[0].closed.done()
        assert [one.leaving for report in pool.report() for one in report.connections] == [True]
        await long_one
        await asyncio.sleep(0.1)
        assert (transport.made[0].closed.done(), transport.made[0].cut) == (True, 0)
        assert pool.report() == []
        assert pool.counters().evicted == {"gone": 1}
        await pool.aclose(0)

    virtual(scenario())


def test_a_connection_that_is_made_while_its_instance_goes_serves_its_call_only() -> None:
    async def scenario() -> None:
        pool, transport = make(delay=0.5, capacity=10)
        running = asyncio.create_task(call(pool, 1.0))
        await asyncio.sleep(0.1)
        pool.drop("a:1")
        await running
        await asyncio.sleep(0.1)
        assert transport.made[0].closed.done()
        assert (pool.total, pool.report()) == (0, [])
        await pool.aclose(0)

    virtual(scenario())


def test_counters_tell_what_happened_and_outlive_the_instances() -> None:
    async def scenario() -> None:
        pool, transport = make(open=1, idle_timeout=10.0)
        await asyncio.gather(call(pool, 1.0), call(pool, 1.0))
        transport.error = ConnectFailedError("refused", instance="b:2")
        with pytest.raises(ConnectFailedError):
            await call(pool, address="b:2")
        transport.error = None
        transport.made[0].lose()
        await asyncio.sleep(0)
        await call(pool)
        await asyncio.sleep(100)
        assert pool.report() == []
        counters = pool.counters()
        assert (counters.connected, counters.failed, counters.reused, counters.waited) == (2, 1, 1, 1)
        assert (counters.evicted, counters.lost) == ({"idle": 1}, 1)
        await pool.aclose(0)

    virtual(scenario())


def test_a_report_shows_every_connection() -> None:
    async def scenario() -> None:
        pool, _ = make(max_age=None, open=2)
        await asyncio.gather(call(pool, 1.0), call(pool, 1.0))
        await asyncio.sleep(4)
        busy = asyncio.create_task(call(pool, 5.0))
        await asyncio.sleep(1)
        (report,) = pool.report()
        assert (report.address, report.lane, report.connecting, report.waiting) == ("a:1", "", 0, 0)
        assert (report.counters.connected, report.counters.reused) == (2, 1)

        def row(one: ConnectionReport) -> tuple[object, ...]:
            idle = None if one.idle is None else round(one.idle)
            return (round(one.age), idle, one.busy, one.free, one.left, one.leaving)

        assert sorted(map(row, report.connections), key=str) == [
            (6, 5, 0, 1, None, False),
            (6, None, 1, 0, None, False),
        ]
        await busy
        await pool.aclose(0)

    virtual(scenario())


def test_the_least_and_the_most_idle_ones_must_agree() -> None:
    with pytest.raises(ConfigError, match="at least 11 idle connections and at most 10"):
        PoolOptions(idle_min=11)
    with pytest.raises(ConfigError, match="max_age"):
        PoolOptions(max_age=0)


def test_short_connections_are_not_kept_warm() -> None:
    async def scenario() -> None:
        pool, transport = make(keep=False, idle_min=2)
        await call(pool)
        await asyncio.sleep(10)
        assert len(transport.made) == 1
        assert pool.counters().evicted == {"used": 1}
        assert isinstance(transport.made[0], FakeConnection)
        await pool.aclose(0)

    virtual(scenario())
