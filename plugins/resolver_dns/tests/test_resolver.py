"""Watches, against a name server that fails on request."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing

import dns.rcode
import pytest

from elanus.errors import DiscoveryError
from elanus.service import Instance
from elanus_resolver_dns import DnsResolver
from elanus_resolver_dns.look_up import LookUp
from elanus_resolver_dns.names import Destination
from elanus_resolver_dns.questions import System
from elanus_resolver_dns.settings import DnsSettings

from .conftest import NameServer

Options = Callable[..., dict[str, object]]
Watch = AsyncGenerator[Sequence[Instance]]


def watching(name: str, options: dict[str, object]) -> AbstractAsyncContextManager[Watch]:
    return aclosing(DnsResolver(**options).watch(name))


async def following(watch: Watch, *addresses: str) -> None:
    async with asyncio.timeout(10):
        async for instances in watch:
            if [one.address for one in instances] == list(addresses):
                return


async def asked_again(server: NameServer, times: int = 3) -> None:
    """Wait until it was asked some more."""
    before = len(server.asked)
    async with asyncio.timeout(10):
        while len(server.asked) < before + times:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.005)


def look_up(server: NameServer, name: str, family: str = "auto") -> LookUp:
    settings = DnsSettings(port=80, nameservers=(server.address,), search=(), resolv_conf="/nowhere")
    return LookUp(Destination(name, settings), System(settings), family)


async def test_the_smallest_ttl_is_that_of_the_whole_answer(name_server: NameServer) -> None:
    name_server.records = {
        ("_echo._tcp.test", "SRV"): (30, ["0 1 80 a.test.", "0 1 80 b.test."]),
        ("a.test", "A"): (20, ["10.0.0.1"]),
        ("b.test", "A"): (10, ["10.0.0.2"]),
    }
    found = await look_up(name_server, "_echo._tcp.test").run()
    assert (found.ttl, found.questions) == (10, 3)
    name_server.additional = True
    found = await look_up(name_server, "_echo._tcp.test").run()
    assert (found.ttl, found.questions) == (10, 1)
    assert [one.address for one in found.instances] == ["10.0.0.1:80", "10.0.0.2:80"]


async def test_what_does_not_exist_holds_as_long_as_the_zone_says(name_server: NameServer) -> None:
    found = await look_up(name_server, "nobody.test").run()
    assert (found.instances, found.ttl, found.exists) == ((), 7, False)
    assert name_server.asked == [("nobody.test", "A")], "a name that does not exist has no IPv6 address either"


async def test_both_families_are_asked_for_when_a_host_has_no_ipv4(name_server: NameServer) -> None:
    name_server.records = {("echo.test", "AAAA"): (20, ["fd00::1"])}
    found = await look_up(name_server, "echo.test").run()
    assert [one.address for one in found.instances] == ["[fd00::1]:80"]
    assert found.ttl == 7, "an IPv4 address may be there when the zone's negative TTL is over"
    assert (await look_up(name_server, "echo.test", "ipv4").run()).instances == ()


async def test_records_in_another_order_are_no_change(name_server: NameServer, options: Options) -> None:
    name_server.records = {("echo.test", "A"): (0, ["10.0.0.1", "10.0.0.2"])}
    async with watching("echo.test", options(port=80)) as watch:
        await following(watch, "10.0.0.1:80", "10.0.0.2:80")
        waiting = asyncio.create_task(anext(watch))
        name_server.records["echo.test", "A"] = (0, ["10.0.0.2", "10.0.0.1"])
        await asked_again(name_server)
        assert not waiting.done()
        name_server.records["echo.test", "A"] = (0, ["10.0.0.2"])
        assert [one.address for one in await waiting] == ["10.0.0.2:80"]


@pytest.mark.parametrize("failure", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_failure_keeps_the_last_set_and_says_so_once(
    name_server: NameServer, options: Options, failure: dns.rcode.Rcode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "elanus.discovery")
    name_server.records = {("echo.test", "A"): (0, ["10.0.0.1"])}
    async with watching("echo.test", options(port=80)) as watch:
        await following(watch, "10.0.0.1:80")
        name_server.failing["echo.test"] = failure
        waiting = asyncio.create_task(anext(watch))
        await asked_again(name_server, 5)
        assert not waiting.done()
        del name_server.failing["echo.test"]
        name_server.records["echo.test", "A"] = (0, ["10.0.0.2"])
        assert [one.address for one in await waiting] == ["10.0.0.2:80"]
    assert caplog.text.count("keeping the last 1 instances") == 1
    assert caplog.text.count("DNS answers again") == 1


async def test_half_of_the_families_is_no_answer(name_server: NameServer, options: Options) -> None:
    name_server.records = {("echo.test", "A"): (0, ["10.0.0.1"]), ("echo.test", "AAAA"): (0, ["fd00::1"])}
    async with watching("echo.test", options(port=80, family="both")) as watch:
        await following(watch, "10.0.0.1:80", "[fd00::1]:80")
        name_server.failing["echo.test"] = dns.rcode.SERVFAIL
        waiting = asyncio.create_task(anext(watch))
        await asked_again(name_server)
        assert not waiting.done()
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting


async def test_silence_and_failure_are_errors_of_discovery_at_first(name_server: NameServer, options: Options) -> None:
    name_server.failing = {"silent.test": None, "broken.test": dns.rcode.SERVFAIL}
    for name, why in (("silent.test", "timed out"), ("broken.test", "SERVFAIL")):
        async with watching(name, options(port=80, timeout=0.1)) as watch:
            with pytest.raises(DiscoveryError, match=f"{name!r} cannot be looked up in DNS: .*{why}") as caught:
                await anext(watch)
        assert caught.value.retryable
        assert "nameservers" in caught.value.hint


async def test_nobody_listens_is_noticed_at_once(options: Options, name_server: NameServer) -> None:
    name_server._transport.close()
    await asyncio.sleep(0)
    async with watching("echo.test", options(port=80, timeout=3600.0)) as watch:
        with pytest.raises(DiscoveryError, match="refused"):
            await anext(watch)


async def test_silence_ends_the_search_and_failure_does_not(name_server: NameServer, options: Options) -> None:
    name_server.records = {("echo.c.test", "A"): (0, ["10.0.0.3"])}
    searching = options(port=80, timeout=0.1, search=["a.test", "b.test", "c.test"])
    name_server.failing = {"echo.a.test": dns.rcode.SERVFAIL}
    async with watching("echo", searching) as watch:
        await following(watch, "10.0.0.3:80")
    name_server.failing = {"echo.b.test": None}
    async with watching("echo", searching) as watch:
        with pytest.raises(DiscoveryError):
            await anext(watch)


async def test_a_target_that_cannot_be_looked_up_keeps_its_addresses(
    name_server: NameServer, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    name_server.records = {
        ("_echo._tcp.test", "SRV"): (0, ["0 1 80 a.test.", "0 1 80 b.test."]),
        ("a.test", "A"): (0, ["10.0.0.1"]),
        ("b.test", "A"): (0, ["10.0.0.2"]),
    }
    # Many questions make the pace slow: five a second.
    async with watching("_echo._tcp.test", options(max_refresh=0.05)) as watch:
        await following(watch, "10.0.0.1:80", "10.0.0.2:80")
        name_server.failing["b.test"] = dns.rcode.SERVFAIL
        name_server.records["a.test", "A"] = (0, ["10.0.0.3"])
        await following(watch, "10.0.0.2:80", "10.0.0.3:80")
        assert "1 targets cannot be looked up" in caplog.text
        name_server.records["_echo._tcp.test", "SRV"] = (0, ["0 1 80 b.test."])
        name_server.records["b.test", "A"] = (0, ["10.0.0.4"])
        await following(watch, "10.0.0.2:80")
        name_server.failing.clear()
        await following(watch, "10.0.0.4:80")


async def test_targets_none_of_which_can_be_looked_up_are_no_empty_set(
    name_server: NameServer, options: Options
) -> None:
    name_server.records = {("_echo._tcp.test", "SRV"): (0, ["0 1 80 a.test."])}
    name_server.failing["a.test"] = dns.rcode.SERVFAIL
    async with watching("_echo._tcp.test", options()) as watch:
        with pytest.raises(DiscoveryError, match="SERVFAIL"):
            await anext(watch)
    name_server.failing.clear()
    async with watching("_echo._tcp.test", options()) as watch:
        assert await anext(watch) == (), "a target that does not exist is an answer"


async def test_a_closed_watch_asks_no_more(name_server: NameServer, options: Options) -> None:
    before = asyncio.all_tasks()
    name_server.failing["echo.test"] = None
    async with watching("echo.test", options(port=80, timeout=3600.0)) as watch:
        waiting = asyncio.create_task(anext(watch))
        await asked_again(name_server, 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    count = len(name_server.asked)
    await asyncio.sleep(0.2)
    assert len(name_server.asked) == count
    assert asyncio.all_tasks() == before
