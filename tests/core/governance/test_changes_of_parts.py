"""Governance from a configuration that changes: with the retrier, breaker and limiter that come with elanus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.store import Store, idl

import elanus
from elanus import BizStatusError, CircuitOpenError, ConfigError
from elanus.events import CONFIG_CHANGE, CONFIG_ERROR
from elanus.testing import MemoryConfig, connected, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def virtual(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def test() -> None:
        run_virtual(scenario())

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


class Slow(Store):
    """Takes as many seconds as it is told."""

    async def get(self, key: Any) -> Any:
        await asyncio.sleep(key)
        return key


async def changed(each: elanus.Client | elanus.Server, config: MemoryConfig, scopes: dict[str, Any]) -> None:
    """Write, and wait until it counts."""
    config.write(scopes)
    for _ in range(5):
        await asyncio.sleep(0)
    assert each.events.recent()[0].name == CONFIG_CHANGE, each.events.recent()[0].detail


BREAKER = {"name": "window", "min_samples": 4, "cooling": 30}


@virtual
async def test_a_breaker_stays_open_through_changes_of_anything_else() -> None:
    config = MemoryConfig({"client": {"service_breaker": BREAKER}})
    async with connected(idl.Store, Slow(), config=config, attempt_timeout=1.0) as each:
        for _ in range(4):
            with pytest.raises(elanus.RpcTimeoutError):
                await each.get(5)
        with pytest.raises(CircuitOpenError):
            await each.get(0)
        await changed(each, config, {"client": {"service_breaker": dict(BREAKER), "timeout": 9.0}})
        with pytest.raises(CircuitOpenError):
            await each.get(0)
        await changed(each, config, {"client": {"service_breaker": {**BREAKER, "cooling": 20}, "timeout": 9.0}})
        assert await each.get(0) == 0, "another breaker knows of nothing"
        await changed(each, config, {})
        assert "service_breaker" not in each.rooms("get")


@virtual
async def test_a_limit_is_raised_and_taken_away_while_the_server_runs() -> None:
    config = MemoryConfig({"server": {"limiter": {"name": "token", "concurrency": 1}}})
    server = elanus.Server(config=config)
    async with connected(idl.Store, Slow(), server=server) as each:

        async def refused(count: int) -> int:
            found = await asyncio.gather(*(each.get(1) for _ in range(count)), return_exceptions=True)
            return sum(isinstance(one, elanus.ApplicationError) for one in found)

        assert await refused(3) == 2
        await changed(server, config, {"server": {"limiter": {"name": "token", "concurrency": 2}}})
        assert await refused(3) == 1
        await changed(server, config, {"server": {"limiter": False}})
        assert await refused(3) == 0


@virtual
async def test_a_retrier_comes_and_goes_by_method() -> None:
    retrier = {"name": "budget", "retries": 2}
    config = MemoryConfig()
    async with connected(idl.Store, Store(), config=config) as each:
        assert "retry" not in each.rooms("get")
        await changed(each, config, {"client": {"retrier": retrier}, "client/Store/put": {"retrier": False}})
        assert "retry" in each.rooms("get")
        assert "retry" not in each.rooms("put")
        await changed(each, config, {"client/Store/put": {"retrier": retrier}})
        assert ["retry" in each.rooms(method) for method in ("get", "put")] == [False, True]


@virtual
async def test_options_of_a_part_that_do_not_fit_are_said_with_their_place() -> None:
    config = MemoryConfig()
    server = elanus.Server(config=config)
    async with connected(idl.Store, Store(), server=server, config=config) as each:
        config.write(
            {
                "client": {"retrier": {"name": "budget", "retrys": 2}},
                "server": {"limiter": {"name": "token", "qsp": 5}},
            }
        )
        for _ in range(5):
            await asyncio.sleep(0)
        texts = [str(one.events.recent()[0].value) for one in (each, server)]
        assert [one.events.recent()[0].name for one in (each, server)] == [CONFIG_ERROR, CONFIG_ERROR]
    assert texts[0].startswith("memory:client.retrier: retrier 'budget' has no option 'retrys'. Did you mean 'retries'")
    assert texts[1].startswith("memory:server.limiter: limiter 'token' has no option 'qsp'. Did you mean 'qps'")
    with pytest.raises(ConfigError, match=r"memory:client\.retrier: retrier 'budget' has no option 'retrys'"):
        elanus.Client(idl.Store, "h:1", config=config)


async def test_a_business_status_passes_through_parts_of_a_configuration() -> None:
    class Busy(Store):
        async def get(self, key: str) -> Any:
            raise BizStatusError(429, "busy")

    config = MemoryConfig({"client": {"retrier": "budget", "service_breaker": "window", "instance_breaker": "window"}})
    async with connected(idl.Store, Busy(), config=config) as each:
        with pytest.raises(BizStatusError, match="busy"):
            await each.get("k")
