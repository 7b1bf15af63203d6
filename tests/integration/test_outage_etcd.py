"""etcd suffers while a client makes real calls: nobody notices, and everything is as before soon after.

In all of it: no call fails; what was lost is announced again within one TTL of recovery; the watcher sees the next
change within two seconds; etcd gets fewer than five requests a second for each watcher; nothing is left behind.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from elanus.testing import FaultProxy
from elanus_registry_etcd import EtcdRegistry, EtcdResolver

from .conftest import EtcdFactory
from .outages import NAME, Fleet, Watcher, eventually, leaves_nothing_behind
from .servers import EtcdServer
from .stage import MARGIN, OUTAGES, Outage, Stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

TTL = 2
PREFIX = f"kitex/registry-etcd/{NAME}/"


class EtcdStage(Stage):
    """An etcd, a proxy before it, and a fleet that knows the proxy only."""

    server: EtcdServer

    def __init__(self, server: EtcdServer, proxy: FaultProxy, **credentials: str) -> None:
        options = {"endpoints": proxy.address, "timeout": 1, **credentials}
        fleet = Fleet(("etcd", {**options, "ttl": TTL}), ("etcd", {**options, "poll_interval": 5}))
        super().__init__(server, proxy, fleet, TTL)

    def announced(self) -> bool:
        try:
            found = {json.loads(value)["address"] for value in self.server.get(PREFIX).values()}
        except ValueError:
            return False
        return found == self.fleet.addresses

    def lost(self) -> bool:
        return not self.server.get(PREFIX)

    def add(self, name: str, address: str) -> None:
        value = json.dumps({"network": "tcp", "address": address, "weight": 10, "tags": None})
        self.server.put(f"kitex/registry-etcd/{name}/{address}", value)

    def remove(self, name: str, address: str) -> None:
        self.server.delete(f"kitex/registry-etcd/{name}/{address}")

    def wipe(self) -> None:
        self.server.wipe()


async def keys_deleted_behind_our_back(stage: EtcdStage) -> None:
    await stage.do(stage.server.delete, PREFIX)


async def leases_revoked_behind_our_back(stage: EtcdStage) -> None:
    for lease in stage.server.leases():
        await stage.do(stage.server.revoke, lease)


async def overwritten_behind_our_back(stage: EtcdStage) -> None:
    for key in stage.server.get(PREFIX):
        await stage.do(stage.server.put, key, "nonsense")


async def compacted(stage: EtcdStage) -> None:
    """While the network holds back what the watchers should have seen."""
    stage.proxy.down.stall = True
    await stage.do(stage.server.delete, PREFIX)
    for number in range(20):
        await stage.do(stage.server.put, f"{PREFIX}none", str(number))
    await stage.do(stage.server.delete, PREFIX)
    await stage.do(stage.server.compact)
    await stage.proxy.cut()
    stage.proxy.heal()


OWN = (
    keys_deleted_behind_our_back,
    leases_revoked_behind_our_back,
    overwritten_behind_our_back,
    compacted,
)


@asynccontextmanager
async def on_stage(server: EtcdServer, **credentials: str) -> AsyncIterator[EtcdStage]:
    async with leaves_nothing_behind(), FaultProxy(server.address) as proxy:
        stage = EtcdStage(server, proxy, **credentials)
        async with stage.fleet.running():
            yield stage
            stage.fleet.check_calls()
        assert stage.lost(), "the servers have stopped"


@pytest.mark.parametrize("outage", [*OUTAGES, *OWN], ids=lambda outage: outage.__name__)
async def test_an_outage_of_etcd(outage: Outage, start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    async with on_stage(server) as stage:
        began = time.monotonic()
        await outage(stage)
        await stage.recovers()
        await stage.fleet.both_are_called()
        took = time.monotonic() - began
        # All of it, also the renewals of the two servers, and what came before and after the outage.
        requests = server.requests()
        assert requests.total() < 5 * 2 * (took + 2), requests
        assert stage.proxy.accepted < 4 + 4 * 2 * (took + 2)


async def test_wrong_credentials_then_right_ones(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    server.add_user("fleet", "right", prefix="kitex/registry-etcd/")
    server.enable_users()
    async with on_stage(server, user="fleet", password="right") as stage:
        await stage.do(server.change_password, "fleet", "another")
        await eventually(stage.lost, 3 * TTL + MARGIN, "losing what cannot be renewed")
        await asyncio.sleep(TTL)
        before = server.requests()
        await asyncio.sleep(2)
        assert (server.requests() - before).total() < 5 * 2 * 2, "each attempt costs etcd a password hash"
        await stage.do(server.change_password, "fleet", "right")
        await stage.recovers()


async def test_a_history_that_is_compacted_before_the_watch_begins(
    start_etcd: EtcdFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_etcd()
    from elanus_registry_etcd.resolver import _Follower

    look_up, looked_up = _Follower._look_up, []

    async def look_up_late(self: _Follower) -> None:
        await look_up(self)
        looked_up.append(self)
        if len(looked_up) == 1:
            value = '{"network":"tcp","address":"192.0.2.1:1","weight":10,"tags":null}'
            for _ in range(3):
                await asyncio.to_thread(server.put, f"{PREFIX}one", value)
            await asyncio.to_thread(server.compact)

    monkeypatch.setattr(_Follower, "_look_up", look_up_late)
    resolver = EtcdResolver(endpoints=server.address)
    watcher = Watcher(resolver)
    following = asyncio.create_task(watcher.run())
    await watcher.sees(lambda seen: seen == {"192.0.2.1:1"}, 2.0)
    assert len(looked_up) == 2
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await resolver.aclose()


async def test_a_connection_that_dies_in_silence_is_noticed_by_pings_alone(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    async with FaultProxy(server.address) as dying, FaultProxy(server.address) as other:
        resolver = EtcdResolver(
            endpoints=[dying.address, other.address], timeout=1, keepalive_time=5, poll_interval=600
        )
        resolver._etcd._next = 0  # begin with the one that will die
        watcher = Watcher(resolver)
        following = asyncio.create_task(watcher.run())
        await eventually(lambda: watcher.sets > 0, 5)
        await asyncio.sleep(0.3)
        assert (dying.accepted, other.accepted) == (1, 0)
        dying.up.swallow = dying.down.swallow = dying.half_open = True
        await asyncio.to_thread(server.put, f"{PREFIX}one", '{"network":"tcp","address":"192.0.2.1:1"}')
        await watcher.sees(lambda seen: seen == {"192.0.2.1:1"}, 5 + 1 + 1 + 2)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await resolver.aclose()


async def test_pings_do_not_make_etcd_close_the_connection(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    async with FaultProxy(server.address) as proxy:
        resolver = EtcdResolver(endpoints=proxy.address, keepalive_time=5, poll_interval=600)
        watcher = Watcher(resolver)
        following = asyncio.create_task(watcher.run())
        await asyncio.sleep(21)  # etcd takes two pings that come too early, and none after that
        assert (proxy.accepted, proxy.open) == (1, 1)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await resolver.aclose()


async def test_an_outage_costs_no_processor_time(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    registry = EtcdRegistry(endpoints=server.address, ttl=TTL, timeout=1)
    resolver = EtcdResolver(endpoints=server.address, timeout=1, poll_interval=2)
    from elanus.service import Instance

    await registry.register(NAME, Instance("192.0.2.1:1"))
    watcher = Watcher(resolver)
    following = asyncio.create_task(watcher.run())
    await watcher.sees(lambda seen: len(seen) == 1, 2.0)
    for harm, heal in ((server.pause, server.resume), (server.kill, server.start)):
        await asyncio.to_thread(harm)
        began, used = time.monotonic(), time.process_time()
        await asyncio.sleep(5)
        share = (time.process_time() - used) / (time.monotonic() - began)
        await asyncio.to_thread(heal)
        assert share < 0.05, f"{share:.1%} of a core"
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await resolver.aclose()
    await registry.aclose()


async def test_a_hundred_cycles_leave_nothing_behind(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    from elanus.service import Instance

    async with leaves_nothing_behind(), FaultProxy(server.address) as proxy:
        for number in range(100):
            registry = EtcdRegistry(endpoints=proxy.address, ttl=TTL)
            resolver = EtcdResolver(endpoints=proxy.address)
            await registry.register(NAME, Instance(f"192.0.2.{number}:1"))
            watch = resolver.watch(NAME)
            assert len(await anext(watch)) == 1
            following = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(0.005 * (number % 4))  # in the middle of this or that
            if number % 3 == 0:
                await proxy.cut()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            with contextlib.suppress(RuntimeError):
                await watch.aclose()
            await resolver.aclose()
            await registry.aclose()
        assert server.leases() == []
    assert len(asyncio.all_tasks()) == 1
