"""Consul suffers while a client makes real calls: nobody notices, and everything is as before soon after.

In all of it: no call fails; what was lost is announced again within one TTL of recovery; the watcher sees the next
change within two seconds; Consul gets fewer than five requests a second for each watcher; nothing is left behind.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from elanus.service import Instance
from elanus.testing import FaultProxy
from elanus_registry_consul import ConsulRegistry, ConsulResolver

from .consul_server import ConsulFactory, ConsulServer
from .outages import NAME, Fleet, Watcher, eventually, leaves_nothing_behind
from .servers import ServerError
from .stage import MARGIN, OUTAGES, Outage, Stage, killed_and_restarted_empty, killed_and_restarted_with_its_data

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

TTL = 2
#: Where the agent connects to the instances, it is asked every so many seconds whether it still has them.
CHECK_EVERY = 5
#: The client, and the watcher.
WATCHERS = 2


class ConsulStage(Stage):
    """A Consul, a proxy before it for servers and watchers, and a fleet that knows the proxy only."""

    server: ConsulServer

    def __init__(self, server: ConsulServer, proxy: FaultProxy, *, heartbeats: bool = True, token: str = "") -> None:
        options = {"address": proxy.address, "timeout": 1.0, "token": token}
        check = {"ttl_check": TTL} if heartbeats else {"check_interval": 1.0}
        fleet = Fleet(("consul", {**options, **check}), ("consul", {**options, "wait": 5.0}))
        super().__init__(server, proxy, fleet, TTL if heartbeats else CHECK_EVERY)

    def announced(self) -> bool:
        return self._passing() == self.fleet.addresses

    def _passing(self) -> set[str]:
        try:
            entries = self.server.health(NAME, passing=True)
        except ServerError:
            return set()
        return {f"{entry['Service']['Address']}:{entry['Service']['Port']}" for entry in entries}

    def lost(self) -> bool:
        return not self.server.health(NAME, passing=True)

    def add(self, name: str, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.server.put("agent/service/register", ID=address, Name=name, Address=host, Port=int(port))

    def remove(self, name: str, address: str) -> None:
        self.server.put(f"agent/service/deregister/{address}")

    def wipe(self) -> None:
        self.server.wipe()


async def services_deregistered_behind_our_back(stage: ConsulStage) -> None:
    await stage.do(stage.server.deregister_all)


async def forgotten_by_the_servers_alone(stage: ConsulStage) -> None:
    for own in stage.server.services():
        stage.server.put("catalog/deregister", Node="tester", ServiceID=own)


async def overwritten_behind_our_back(stage: ConsulStage) -> None:
    for own, service in stage.server.services().items():
        fields = {"Name": NAME, "Address": service["Address"], "Port": service["Port"], "Tags": ["lane:gray"]}
        stage.server.put("agent/service/register", ID=own, **fields)


OWN = (services_deregistered_behind_our_back, forgotten_by_the_servers_alone, overwritten_behind_our_back)


@asynccontextmanager
async def on_stage(server: ConsulServer, *, heartbeats: bool = True, token: str = "") -> AsyncIterator[ConsulStage]:
    async with leaves_nothing_behind(), FaultProxy(server.address) as proxy:
        stage = ConsulStage(server, proxy, heartbeats=heartbeats, token=token)
        async with stage.fleet.running():
            yield stage
            stage.fleet.check_calls()
        assert server.services() == {}, "the servers have stopped"


async def suffer(stage: ConsulStage, outage: Outage) -> None:
    await outage(stage)
    await stage.recovers()
    await stage.fleet.both_are_called()


@pytest.mark.parametrize("outage", [*OUTAGES, *OWN], ids=lambda outage: outage.__name__)
async def test_an_outage_of_consul(outage: Outage, start_consul: ConsulFactory) -> None:
    server = start_consul()
    async with on_stage(server) as stage:
        before, began = stage.proxy.up.chunks + stage.proxy.failed, time.monotonic()
        await suffer(stage, outage)
        took = time.monotonic() - began
        # A request is a chunk, or a connection that failed. Those of both servers are among them: four a second each,
        # and a few more to announce anew.
        requests = stage.proxy.up.chunks + stage.proxy.failed - before
        assert requests < (5 * WATCHERS + 4 * 2) * (took + 2), f"{requests} requests in {took:.1f} s"


TCP_OUTAGES: tuple[Outage, ...] = (
    killed_and_restarted_with_its_data,
    killed_and_restarted_empty,
    services_deregistered_behind_our_back,
)


@pytest.mark.parametrize("outage", TCP_OUTAGES, ids=lambda outage: outage.__name__)
async def test_an_outage_of_a_consul_that_connects_to_the_instances(
    outage: Outage, start_consul: ConsulFactory
) -> None:
    async with on_stage(start_consul(), heartbeats=False) as stage:
        await suffer(stage, outage)


RULES = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }'


async def test_a_token_without_rights_then_with_them(start_consul: ConsulFactory) -> None:
    server = start_consul(acl=True)
    token = server.new_token("fleet", RULES)
    async with on_stage(server, token=token) as stage:
        await stage.do(server.set_rules, "fleet", 'key "none" { policy = "read" }')
        await asyncio.sleep(stage.outage)
        await stage.do(server.set_rules, "fleet", RULES)
        await stage.recovers()


@asynccontextmanager
async def followed(resolver: ConsulResolver) -> AsyncIterator[Watcher]:
    watcher = Watcher(resolver)
    following = asyncio.create_task(watcher.run())
    try:
        await eventually(lambda: watcher.sets > 0, 5)
        yield watcher
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await resolver.aclose()


async def test_a_connection_that_dies_in_silence_is_noticed(start_consul: ConsulFactory) -> None:
    server = start_consul()
    async with (
        FaultProxy(server.address) as dying,
        FaultProxy(server.address) as other,
        followed(ConsulResolver(address=[dying.address, other.address], timeout=1, wait=2)) as watcher,
    ):
        assert (dying.accepted, other.accepted) == (1, 0)
        dying.up.swallow = dying.down.swallow = dying.half_open = True
        server.put("agent/service/register", ID="x", Name=NAME, Address="192.0.2.1", Port=1)
        await watcher.sees(lambda seen: seen == {"192.0.2.1:1"}, 2 * 17 / 16 + 1 + 1 + MARGIN)


async def test_a_service_that_changes_all_the_time_is_asked_for_twice_a_second(start_consul: ConsulFactory) -> None:
    server = start_consul()
    async with (
        FaultProxy(server.address) as proxy,
        followed(ConsulResolver(address=proxy.address)) as watcher,
    ):
        began = time.monotonic()
        for number in range(60):
            # Each is another weight: the index moves every time.
            fields = {"Address": "192.0.2.1", "Port": 1, "Weights": {"Passing": number + 1, "Warning": 1}}
            await asyncio.to_thread(server.put, "agent/service/register", ID="x", Name=NAME, **fields)
            await asyncio.sleep(0.08)
        await eventually(lambda: [one.weight for one in watcher.known] == [60], 2)
        assert proxy.up.chunks <= 2 * (time.monotonic() - began) + 5


async def test_an_outage_costs_no_processor_time(start_consul: ConsulFactory) -> None:
    server = start_consul()
    registry = ConsulRegistry(address=server.address, ttl_check=TTL, timeout=1)
    await registry.register(NAME, Instance("192.0.2.1:1"))
    async with followed(ConsulResolver(address=server.address, timeout=1, wait=2)) as watcher:
        await watcher.sees(lambda seen: len(seen) == 1, 2.0)
        for harm, heal in ((server.pause, server.resume), (server.kill, server.start)):
            await asyncio.to_thread(harm)
            began, used = time.monotonic(), time.process_time()
            await asyncio.sleep(5)
            share = (time.process_time() - used) / (time.monotonic() - began)
            await asyncio.to_thread(heal)
            assert share < 0.05, f"{share:.1%} of a core"
    await registry.aclose()


async def test_a_hundred_cycles_leave_nothing_behind(start_consul: ConsulFactory) -> None:
    server = start_consul()
    async with leaves_nothing_behind(), FaultProxy(server.address) as proxy:
        for number in range(100):
            registry = ConsulRegistry(address=proxy.address, ttl_check=TTL)
            resolver = ConsulResolver(address=proxy.address)
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
        assert server.services() == {}
    assert len(asyncio.all_tasks()) == 1
