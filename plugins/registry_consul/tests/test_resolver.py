"""The resolver against agents that behave badly: indexes, floods, errors, slow and dying connections, and its end."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from elanus.errors import DiscoveryError
from elanus.service import Instance
from elanus_registry_consul import ConsulResolver

from .fake_agent import Asked, FakeAgent, answer, entry, fake_agent, listening

ONE, TWO = Instance("10.0.0.1:80"), Instance("10.0.0.2:80")
ONLY_ONE, BOTH = [entry(ONE.address)], [entry(TWO.address), entry(ONE.address)]

Watch = AsyncGenerator[Sequence[Instance]]


async def for_ever(asked: Asked) -> bytes:
    """Wait as long as a blocking query of the default does, and longer."""
    await asyncio.sleep(3600)
    raise AssertionError


@asynccontextmanager
async def watched(agent: FakeAgent, **options: Any) -> AsyncIterator[Watch]:
    resolver = ConsulResolver(**{"address": agent.address, "timeout": 1, **options})
    watch: Watch = resolver.watch("echo")
    try:
        yield watch
    finally:
        await watch.aclose()
        await resolver.aclose()


async def soon(watch: Watch, seconds: float = 10.0) -> Sequence[Instance]:
    async with asyncio.timeout(seconds):
        return await anext(watch)


async def test_it_asks_for_what_there_is_then_for_what_comes_after(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(asked: Asked) -> bytes | None:
        match asked.number:
            case 0:
                return answer(ONLY_ONE, index=7)
            case 1:
                return answer(BOTH, index=9)
        return await for_ever(asked)

    # Neither may stand between us and our agent.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with fake_agent(script) as agent, watched(agent, token="secret", datacenter="dc9", wait=20) as watch:
        assert await soon(watch) == [ONE]
        assert await soon(watch) == [ONE, TWO], "in the order of their addresses, not in Consul's"
        following = asyncio.ensure_future(anext(watch))
        await agent.until_asked(3)
        first, second, third = agent.asked
        assert (first.verb, first.path) == ("GET", "/v1/health/service/echo")
        assert first.params == {"passing": "1", "dc": "dc9"}
        assert (second.params["index"], third.params["index"]) == ("7", "9")
        assert 18_000 <= int(second.params["wait"].removesuffix("ms")) <= 20_000
        assert {one.headers["x-consul-token"] for one in agent.asked} == {"secret"}
        assert agent.open == 1, "one connection, kept"
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_names_are_encoded() -> None:
    async def script(asked: Asked) -> bytes | None:
        return answer([], index=1)

    async with fake_agent(script) as agent:
        resolver = ConsulResolver(address=agent.address)
        async for _ in resolver.watch("a?b #ü"):
            break
        assert agent.asked[0].path == "/v1/health/service/a%3Fb%20%23%C3%BC"
        await resolver.aclose()


async def test_an_index_that_goes_backwards_is_reset() -> None:
    async def script(asked: Asked) -> bytes | None:
        indexes, sets = [500, 3, 3, 4], [ONLY_ONE, ONLY_ONE, ONLY_ONE, BOTH]
        if asked.number >= 4:
            return await for_ever(asked)
        return answer(sets[asked.number], index=indexes[asked.number])

    async with fake_agent(script) as agent, watched(agent) as watch:
        await soon(watch)
        assert await soon(watch) == [ONE, TWO]
        assert [one.params.get("index") for one in agent.asked] == [None, "500", None, "3"]


@pytest.mark.parametrize("index", [None, "0", "-1", "x", "", "1.5", "²"])
async def test_an_index_that_is_none_leads_to_plain_queries(index: object) -> None:
    async def script(asked: Asked) -> bytes | None:
        return answer(ONLY_ONE if asked.number < 3 else BOTH, index=index)

    async with fake_agent(script) as agent, watched(agent) as watch:
        assert await soon(watch) == [ONE]
        assert await soon(watch) == [ONE, TWO]
        assert all("index" not in one.params for one in agent.asked)


async def test_a_service_that_changes_all_the_time_is_not_asked_for_all_the_time() -> None:
    async def script(asked: Asked) -> bytes | None:
        return answer([entry(ONE.address, asked.number + 1)], index=asked.number + 1)

    async with fake_agent(script) as agent, watched(agent) as watch:
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(30):
            async for _ in watch:
                if len(agent.asked) == 8:
                    break
        # Three at once, then two a second.
        assert asyncio.get_running_loop().time() - began >= (8 - 3) / 2 - 0.1


BAD_ANSWERS = [
    answer("rpc error: No cluster leader", status=500),
    answer("", status=503),
    answer("not JSON", index=9),
    answer("", index=9),
    answer("null", index=9),
    answer("{}", index=9),
    answer([1], index=9),
    answer([{"Service": None}], index=9),
    answer([{"Service": {"Address": "x"}}], index=9),
    answer("[" * 100_000, index=9),
    answer([], index=9, filtered=True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of it",
    b"\0\1\2",
    b"",
    None,
]


@pytest.mark.parametrize("bad", BAD_ANSWERS, ids=lambda bad: str(bad and bad[-30:]))
async def test_a_bad_answer_changes_nothing_and_is_got_over(bad: bytes | None) -> None:
    async def script(asked: Asked) -> bytes | None:
        if asked.number == 0:
            return answer(ONLY_ONE, index=5)
        if asked.number < 3:
            return bad
        return answer(BOTH, index=6) if asked.number == 3 else await for_ever(asked)

    async with fake_agent(script) as agent, watched(agent, timeout=0.3, wait=1) as watch:
        assert await soon(watch) == [ONE]
        assert await soon(watch) == [ONE, TWO]
        assert all("index" not in one.params for one in agent.asked[2:4]), "nobody knows what was missed"


@pytest.mark.parametrize("bad", BAD_ANSWERS, ids=lambda bad: str(bad and bad[-30:]))
async def test_a_first_look_up_that_fails_is_an_error_of_discovery(bad: bytes | None) -> None:
    async def script(asked: Asked) -> bytes | None:
        return bad

    async with fake_agent(script) as agent, watched(agent, timeout=0.3) as watch:
        with pytest.raises(DiscoveryError, match=rf"'echo': consul at {agent.address}: .+\. [A-Z]"):
            await soon(watch)


async def test_an_empty_answer_to_a_query_that_waits_is_confirmed_by_one_that_does_not() -> None:
    answers = [(ONLY_ONE, 5), ([], 5), (ONLY_ONE, 5), (BOTH, 6), ([], 7), ([], 7)]

    async def script(asked: Asked) -> bytes | None:
        value, index = answers[asked.number]
        return answer(value, index=index)

    async with fake_agent(script) as agent, watched(agent) as watch:
        assert await soon(watch) == [ONE]
        assert await soon(watch) == [ONE, TWO]
        assert await soon(watch) == []
        assert [one.params.get("index") for one in agent.asked] == [None, "5", None, "5", "6", None]


async def test_an_outage_is_asked_about_ever_less_often() -> None:
    async def script(asked: Asked) -> bytes | None:
        return answer(ONLY_ONE, index=5) if asked.number == 0 else answer("no", status=500)

    async with fake_agent(script) as agent, watched(agent) as watch:
        await soon(watch)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(4)
        assert 3 <= len(agent.asked) - 1 <= 8
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_an_answer_that_trickles_is_given_up() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with (
        listening(trickle) as address,
        watched(FakeAgent(address), timeout=0.3, connect_timeout=0.3) as watch,
    ):
        with pytest.raises(DiscoveryError, match="no complete answer within"):
            await soon(watch)


# -- its end --------------------------------------------------------------------------------------------------------


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("elanus consul")}


@pytest.mark.parametrize("how", ["cancel the watch", "close the resolver"])
async def test_the_end_of_a_watch_ends_a_query_that_waits_within_a_second(how: str) -> None:
    async def script(asked: Asked) -> bytes | None:
        return answer(ONLY_ONE, index=5) if asked.number == 0 else await for_ever(asked)

    async with fake_agent(script) as agent:
        descriptors = len(os.listdir("/proc/self/fd"))
        resolver = ConsulResolver(address=agent.address, wait=600)
        watch: Watch = resolver.watch("echo")
        await soon(watch)
        following = asyncio.ensure_future(anext(watch))
        await agent.until_asked(2)
        assert len(threads()) == 1
        async with asyncio.timeout(1):
            if how == "cancel the watch":
                following.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await following
            else:
                await resolver.aclose()
                with pytest.raises(StopAsyncIteration):
                    await following
            assert threads() == set()
            while agent.open or len(os.listdir("/proc/self/fd")) > descriptors:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await resolver.aclose()


async def test_closing_during_a_handshake_does_not_wait_for_it() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as address:
        resolver = ConsulResolver(address=f"https://{address}", connect_timeout=30, timeout=30)
        looking = asyncio.ensure_future(anext(resolver.watch("echo")))
        await asyncio.sleep(0.2)
        assert len(threads()) == 1
        async with asyncio.timeout(1):
            await resolver.aclose()
            await asyncio.gather(looking, return_exceptions=True)
        assert threads() == set()


async def test_each_watch_has_a_connection_of_its_own() -> None:
    async def script(asked: Asked) -> bytes | None:
        return answer(ONLY_ONE, index=5) if "index" not in asked.params else await for_ever(asked)

    async with fake_agent(script) as agent:
        resolver = ConsulResolver(address=agent.address)
        watches: list[Watch] = [resolver.watch(f"echo{number}") for number in range(40)]
        for watch in watches:
            await soon(watch)
        following = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await agent.until_asked(80)
        assert agent.open == 40
        # More than the loop's own executor has threads; it is still there for others.
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
        async with asyncio.timeout(5):
            await resolver.aclose()
            await asyncio.gather(*following, return_exceptions=True)
        assert threads() == set()
