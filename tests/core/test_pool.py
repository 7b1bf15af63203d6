"""The pool: connections are used again, made when needed, bounded, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from elanus.errors import ConnectFailedError, StateError

from .pooled import call, make, virtual


def test_a_connection_is_used_again() -> None:
    async def scenario() -> None:
        pool, transport = make()
        assert await call(pool) is await call(pool)
        assert len(transport.made) == 1
        assert pool.connections() == {"a:1": 1}
        await pool.aclose(0)

    virtual(scenario())


def test_calls_at_once_get_a_connection_each_where_it_takes_one_call() -> None:
    async def scenario() -> None:
        pool, transport = make(delay=0.01)
        used = await asyncio.gather(*(call(pool, 1.0) for _ in range(5)))
        assert len(set(used)) == 5 == len(transport.made)
        await pool.aclose(0)

    virtual(scenario())


@pytest.mark.parametrize("capacity", [2, 7, 1_000])
def test_many_calls_at_once_share_multiplexed_connections_and_none_is_forgotten(capacity: int) -> None:
    async def scenario() -> None:
        pool, transport = make(capacity, delay=0.01)
        async with asyncio.timeout(60):
            await asyncio.gather(*(call(pool, 0.1) for _ in range(300)))
        assert len(transport.made) <= max(8, 300 // capacity + 8)
        await pool.aclose(0)

    virtual(scenario())


def test_connecting_to_one_instance_is_bounded_at_first() -> None:
    async def scenario() -> None:
        pool, transport = make(delay=0.01)
        await asyncio.gather(*(call(pool, 5.0) for _ in range(100)))
        assert len(transport.made) == 100
        assert transport.most_connecting <= 64, "a cold pool must not meet a server with everything at once"
        await pool.aclose(0)

    virtual(scenario())


def test_open_connections_are_bounded_and_the_rest_waits_its_turn() -> None:
    async def scenario() -> None:
        pool, transport = make(open=3)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*(call(pool, 1.0) for _ in range(9)))
        assert len(transport.made) == 3
        assert loop.time() - started == pytest.approx(3.0, abs=0.01)
        await pool.aclose(0)

    virtual(scenario())


def test_one_who_waits_and_is_cancelled_passes_the_connection_on() -> None:
    async def scenario() -> None:
        pool, _ = make(open=1)
        first = asyncio.create_task(call(pool, 1.0))
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(call(pool)) for _ in range(3)]
        await asyncio.sleep(0.1)
        waiting[0].cancel()
        await first
        waiting[1].cancel()  # it was woken in this turn of the loop
        async with asyncio.timeout(10):
            await waiting[2]
        await pool.aclose(0)

    virtual(scenario())


def test_one_failed_connection_fails_those_who_wait_for_one_each_with_an_error_of_its_own() -> None:
    async def scenario() -> None:
        pool, transport = make(delay=0.1, open=1)
        transport.error = ConnectFailedError("refused", instance="a:1")
        outcomes = await asyncio.gather(*(call(pool) for _ in range(4)), return_exceptions=True)
        assert all(isinstance(outcome, ConnectFailedError) for outcome in outcomes)
        assert len({id(outcome) for outcome in outcomes}) == 4
        assert pool.counters().failed < 4
        transport.error = None
        await call(pool)
        await pool.aclose(0)

    virtual(scenario())


def test_connecting_is_bounded_in_time() -> None:
    async def scenario() -> None:
        pool, _ = make(delay=100.0)
        with pytest.raises(ConnectFailedError, match="no connection within 1 s") as raised:
            await call(pool)
        assert raised.value.instance == "a:1"
        assert not raised.value.sent
        await pool.aclose(0)

    virtual(scenario())


def test_a_lost_connection_is_not_handed_out_again() -> None:
    async def scenario() -> None:
        pool, transport = make()
        first = await call(pool)
        first.lose()
        assert await call(pool) is not first
        await asyncio.sleep(0)
        assert pool.connections() == {"a:1": 1}
        assert len(transport.made) == 2
        await pool.aclose(0)

    virtual(scenario())


def test_a_drained_connection_is_closed_after_its_last_call() -> None:
    async def scenario() -> None:
        pool, transport = make(capacity=10)
        running = asyncio.create_task(call(pool, 1.0))
        await asyncio.sleep(0.1)
        transport.made[0].free = -10  # the server said that it goes away
        await call(pool)
        assert len(transport.made) == 2
        await running
        await asyncio.sleep(0.1)
        assert transport.made[0].closed.done()
        await pool.aclose(0)

    virtual(scenario())


def test_no_more_idle_connections_are_kept_than_asked_for() -> None:
    async def scenario() -> None:
        pool, transport = make(idle=2)
        await asyncio.gather(*(call(pool, 1.0) for _ in range(5)))
        await asyncio.sleep(0.1)
        assert pool.connections() == {"a:1": 2}
        assert sum(connection.closed.done() for connection in transport.made) == 3
        await pool.aclose(0)

    virtual(scenario())


def test_no_idle_connection_at_all_may_be_kept() -> None:
    async def scenario() -> None:
        pool, _ = make(idle=0)
        await call(pool)
        await asyncio.sleep(0.1)
        assert pool.connections().get("a:1", 0) == 0
        await pool.aclose(0)

    virtual(scenario())


@pytest.mark.parametrize("capacity", [1, 100])
def test_short_connections_serve_one_call(capacity: int) -> None:
    async def scenario() -> None:
        pool, transport = make(capacity, keep=False)
        await asyncio.gather(*(call(pool, 1.0) for _ in range(3)))
        await call(pool)
        assert len(transport.made) == 4
        await asyncio.sleep(0.1)
        assert all(connection.closed.done() for connection in transport.made)
        await pool.aclose(0)

    virtual(scenario())


def test_idle_connections_are_closed_in_time_and_their_groups_forgotten() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_timeout=10.0)
        await call(pool)
        await asyncio.sleep(5)
        assert pool.connections() == {"a:1": 1}
        await asyncio.sleep(15)
        assert transport.made[0].closed.done()
        assert pool.connections() == {}
        await call(pool)
        await pool.aclose(0)

    virtual(scenario())


def test_a_connection_in_use_is_never_idle() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_timeout=1.0)
        await call(pool, 30.0)
        assert not transport.made[0].closed.done()
        await pool.aclose(0)

    virtual(scenario())


def test_idle_connections_are_bounded_over_all_instances() -> None:
    async def scenario() -> None:
        pool, transport = make(idle_in_all=3, idle_timeout=60.0)
        for number in range(6):
            await call(pool, address=f"a:{number}")
            await asyncio.sleep(0.1)
        await asyncio.sleep(20)
        assert [connection.closed.done() for connection in transport.made] == [True] * 3 + [False] * 3
        await pool.aclose(0)

    virtual(scenario())


def test_the_connections_of_an_instance_that_is_gone_are_closed() -> None:
    async def scenario() -> None:
        pool, transport = make()
        await call(pool, address="a:1")
        await call(pool, address="b:2")
        pool.drop("a:1")
        await asyncio.sleep(0.1)
        assert [connection.closed.done() for connection in transport.made] == [True, False]
        await call(pool, address="a:1")
        await pool.aclose(0)

    virtual(scenario())


def test_closing_closes_every_connection_and_fails_those_who_wait() -> None:
    async def scenario() -> None:
        pool, transport = make(open=1)
        running = asyncio.create_task(call(pool, 1.0))
        waiting = asyncio.create_task(call(pool))
        await asyncio.sleep(0.1)
        await pool.aclose(5.0)
        assert transport.made[0].grace == 5.0
        with pytest.raises(StateError, match="the client is closed"):
            await waiting
        with pytest.raises(StateError, match="the client is closed"):
            await call(pool)
        await running

    virtual(scenario())


def test_a_connection_that_arrives_after_the_close_is_closed() -> None:
    async def scenario() -> None:
        pool, transport = make(delay=0.5)
        late = asyncio.create_task(call(pool))
        await asyncio.sleep(0.1)
        await pool.aclose(0)
        with pytest.raises(StateError, match="closed while it connected"):
            await late
        await asyncio.sleep(0.1)
        assert transport.made[0].closed.done()

    virtual(scenario())


def test_lanes_do_not_share_connections() -> None:
    async def scenario() -> None:
        pool, transport = make()
        for lane in ("", "streams"):
            group = pool.group("a:1", lane)
            group.release(await group.acquire(1.0))
        assert len(transport.made) == 2
        assert pool.connections() == {"a:1": 2}
        await pool.aclose(0)

    virtual(scenario())
