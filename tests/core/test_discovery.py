"""The instances of a client: one watch for all who want the same, and nothing lost by an outage."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.contracts.balancer import Balancer, Picker
from elanus.contracts.breaker import Breaker, Outcome, State
from elanus.contracts.resolver import Resolver
from elanus.errors import ConnectFailedError, DiscoveryError
from elanus.events import DISCOVERY_CHANGE, DISCOVERY_DELETE, EventBus
from elanus.net import watching
from elanus.service import Instance
from elanus.testing import MemoryTransport
from elanus.testing.clock import run_virtual

from .store import idl, started

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from elanus.net.discovery import Change

ONE, TWO = Instance("memory:1"), Instance("memory:2")


class Scripted(Resolver):
    """A resolver whose answers a test puts in; an exception is one, too. Names other than the store's have ONE."""

    name = "scripted"

    def __init__(self, *answers: Sequence[Instance] | Exception) -> None:
        self.answers: asyncio.Queue[Sequence[Instance] | Exception] = asyncio.Queue()
        for answer in answers:
            self.answers.put_nowait(answer)
        self.watched: list[str] = []
        self.left = 0
        self.closed = False

    async def watch(self, name: str) -> AsyncGenerator[Sequence[Instance]]:
        self.watched.append(name)
        try:
            if name != "Store":
                yield [ONE]
                await asyncio.Event().wait()
            while True:
                answer = await self.answers.get()
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        finally:
            self.left += 1

    async def aclose(self) -> None:
        self.closed = True


class First(Balancer):
    """Picks the first instance that is left."""

    name = "first"

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        class FirstPicker(Picker):
            def pick(self, call: Any, excluded: Any, now: float) -> Instance | None:
                return next((instance for instance in instances if instance not in excluded), None)

        return FirstPicker()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def client(resolver: Any, server: elanus.Server, **options: Any) -> elanus.Client:
    transport = MemoryTransport(server)
    return elanus.Client(idl.Store, transport=transport, balancer=First(), resolver=resolver, **options)


async def test_clients_of_one_resolver_and_name_share_one_watch_and_the_last_ends_it() -> None:
    server, resolver = await started(), Scripted([ONE])
    async with client(resolver, server) as one:
        async with client(resolver, server) as other, client(resolver, server, name="elsewhere") as third:
            replies = await asyncio.gather(one.get("a"), one.get("b"), other.get("c"))
            assert list(replies) == ["value of a", "value of b", "value of c"]
            await third.get("d")
        assert resolver.watched == ["Store", "elsewhere"]
        assert resolver.left == 1
    assert resolver.left == 2
    assert not resolver.closed  # the test made it, the test may use it elsewhere
    assert not any(watching._by_loop[asyncio.get_running_loop()].values())
    await server.stop()


async def test_a_resolver_chosen_by_name_is_built_once_in_use_and_closed_with_its_last_client() -> None:
    server = await started()
    built: list[Scripted] = []

    class Offer:
        @elanus.hookimpl
        def elanus_resolvers(self) -> list[elanus.Provider[Resolver]]:
            def build(options: Any) -> Resolver:
                built.append(Scripted([ONE]))
                return built[-1]

            return [elanus.Provider("scripted", build)]

    elanus.register(Offer())
    async with client("scripted", server) as one:
        async with client(("scripted", {}), server) as other, client("scripted", server, name="elsewhere") as third:
            await asyncio.gather(one.get("a"), other.get("b"), third.get("c"))
        assert not any(resolver.closed for resolver in built)
        await one.get("d")
    [used] = [resolver for resolver in built if resolver.watched]
    assert used.watched == ["Store", "elsewhere"]
    assert used.closed
    await server.stop()


async def test_a_failed_first_look_up_is_everybodys_error_and_the_next_call_asks_again() -> None:
    server, resolver = await started(), Scripted(ConnectionError("refused"))
    async with client(resolver, server) as one:
        outcomes = await asyncio.gather(one.get("a"), one.get("b"), return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, DiscoveryError)
            assert "resolver 'scripted' cannot look up 'Store': refused" in str(outcome)
        resolver.answers.put_nowait([ONE])
        assert await one.get("c") == "value of c"
    assert resolver.watched == ["Store"] * 2
    await server.stop()


def test_an_outage_keeps_the_last_set_and_is_followed_by_a_new_watch_with_growing_waits() -> None:
    async def scenario() -> None:
        server, resolver = await started(), Scripted([ONE])
        async with client(resolver, server) as one:
            await one.get("a")
            for _ in range(5):
                resolver.answers.put_nowait(ConnectionError("down"))
            started_at = asyncio.get_running_loop().time()
            while len(resolver.watched) < 6:
                assert await one.get("b") == "value of b"
                await asyncio.sleep(0.1)
            waited = asyncio.get_running_loop().time() - started_at
            assert (0.25 + 0.5 + 1 + 2 + 4) / 2 <= waited <= (0.25 + 0.5 + 1 + 2 + 4) + 1
            resolver.answers.put_nowait([TWO])
            await asyncio.sleep(0.1)
            assert one.instances == (TWO,)
        await server.stop()

    run_virtual(scenario())


def test_an_empty_answer_changes_nothing_for_its_grace_then_counts() -> None:
    async def scenario() -> None:
        server, resolver = await started(), Scripted([ONE])
        async with client(resolver, server, empty_grace=30.0) as one:
            await one.get("a")
            resolver.answers.put_nowait([])
            await asyncio.sleep(29.0)
            assert await one.get("b") == "value of b"
            await asyncio.sleep(2.0)
            with pytest.raises(elanus.NoInstanceError):
                await one.get("c")
            resolver.answers.put_nowait([ONE])
            await asyncio.sleep(0.1)
            assert await one.get("d") == "value of d"
        await server.stop()

    run_virtual(scenario())


def test_a_set_within_the_grace_ends_it_and_a_grace_of_zero_is_none() -> None:
    async def scenario() -> None:
        server, resolver = await started(), Scripted([ONE])
        async with client(resolver, server, empty_grace=30.0) as one:
            await one.get("a")
            resolver.answers.put_nowait([])
            await asyncio.sleep(10.0)
            resolver.answers.put_nowait([TWO])
            await asyncio.sleep(60.0)
            assert one.instances == (TWO,)
        resolver = Scripted([ONE])
        async with client(resolver, server, empty_grace=0.0) as one:
            await one.get("a")
            resolver.answers.put_nowait([])
            await asyncio.sleep(0.1)
            with pytest.raises(elanus.NoInstanceError):
                await one.get("b")
        await server.stop()

    run_virtual(scenario())


async def test_changes_are_events_and_see_address_weight_and_tags() -> None:
    server, resolver = await started(), Scripted([ONE, TWO])
    seen: list[Change] = []
    async with client(resolver, server) as one:
        one.events.watch(DISCOVERY_CHANGE, lambda happening: seen.append(happening.value))  # type: ignore[arg-type]
        await one.get("a")
        heavier = Instance(ONE.address, weight=99)
        tagged = Instance(TWO.address, tags={"zone": "b"})
        for answer in ([ONE, TWO], [heavier, tagged], [tagged]):
            resolver.answers.put_nowait(answer)
        await settled()
        events = one.events
    assert [(change.added, change.removed, change.updated) for change in seen] == [
        ((ONE, TWO), (), ()),
        ((), (), (heavier, tagged)),
        ((), (heavier,), ()),
    ]
    assert next(happening.name for happening in events.recent()) == DISCOVERY_DELETE
    assert str(seen[1]) == "Store: 2 updated"
    await server.stop()


async def test_a_gone_instance_loses_its_connections_after_their_calls_and_its_breaker() -> None:
    forgotten: list[str] = []

    class Watching(Breaker):
        name = "watching"

        def allow(self, key: str, now: float) -> bool:
            return True

        def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
            pass

        def states(self) -> dict[str, State]:
            return {}

        def forget(self, key: str) -> None:
            forgotten.append(key)

    release = asyncio.Event()

    server, resolver = await started(_Mixed(release)), Scripted([ONE, TWO])
    async with client(resolver, server, instance_breaker=Watching()) as one:
        slow = asyncio.create_task(one.get("slow"))
        await settled()
        assert one.connections() == {ONE.address: 1}
        resolver.answers.put_nowait([TWO])
        await settled()
        assert forgotten == [ONE.address]
        assert not slow.done()
        await one.get("quick")
        assert TWO.address in one.connections()
        release.set()
        assert await slow == "value of slow"
    await server.stop()


class _Mixed:
    """The store, with a `get` that waits for slow keys."""

    def __init__(self, release: asyncio.Event) -> None:
        from .store import Store

        self._store = Store()
        self._release = release

    async def get(self, key: str) -> Any:
        if key == "slow":
            await self._release.wait()
        return await self._store.get(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_client_that_nobody_keeps_is_freed_though_its_events_know_it() -> None:
    server, resolver = await started(), Scripted([ONE])
    one = client(resolver, server)
    await one.start()
    await one.get("a")
    with pytest.warns(ResourceWarning, match="unclosed elanus client"):  # noqa: PT031
        del one
        gc.collect()
    await asyncio.sleep(0.05)
    assert resolver.left == 1
    await server.stop()


class TestWarmUp:
    async def test_looks_up_and_connects_before_the_first_call(self) -> None:
        server, resolver = await started(), Scripted([ONE, TWO])
        plan = elanus.WarmUp(connections=2, parallel=3)
        async with client(resolver, server, warm_up=plan) as one:
            assert one.connections() == {ONE.address: 2, TWO.address: 2}
        await server.stop()

    async def test_connects_to_named_targets_and_looks_up_further_names(self) -> None:
        server, resolver = await started(), Scripted([ONE])
        plan = elanus.WarmUp(targets=("memory:7",), names=("other",))
        async with client(resolver, server, warm_up=plan) as one:
            assert one.connections() == {"memory:7": 1}
            assert resolver.watched == ["Store", "other"]
        assert resolver.left == 2
        await server.stop()

    @pytest.mark.parametrize(
        ("on_error", "level"), [("ignore", None), ("warning", "WARNING"), ("error", "ERROR")], ids=str
    )
    async def test_a_failure_is_logged_as_asked_and_the_client_starts(
        self, caplog: pytest.LogCaptureFixture, on_error: str, level: str | None
    ) -> None:
        server, resolver = await started(), Scripted(ConnectionError("down"))
        async with client(resolver, server, warm_up=elanus.WarmUp(on_error=on_error)):
            logged = [record.levelname for record in caplog.records if "warm-up" in record.message]
            assert logged == ([level] if level else [])
        await server.stop()

    async def test_told_to_fail_the_client_does_not_start_and_leaves_nothing_open(self) -> None:
        server, resolver = await started(), Scripted(ConnectionError("down"))
        one = client(resolver, server, warm_up=elanus.WarmUp(on_error="fail"))
        with pytest.raises(DiscoveryError):
            await one.start()
        assert resolver.left == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await server.stop()

    async def test_a_target_that_cannot_be_reached_fails_too(self) -> None:
        server = await started()
        dead = elanus.Client(
            idl.Store,
            "memory:1",
            transport=_Dead(server),
            balancer=First(),
            warm_up=elanus.WarmUp(on_error="fail"),
        )
        with pytest.raises(ConnectFailedError):
            await dead.start()
        await server.stop()

    def test_its_values_are_checked(self) -> None:
        with pytest.raises(elanus.ConfigError, match="on_error is 'loudly'"):
            elanus.WarmUp(on_error="loudly")


class _Dead(MemoryTransport):
    """Nobody listens."""

    async def connect(self, address: str, lane: str, options: Any) -> Any:
        raise ConnectFailedError("refused", instance=address)


class TestEventBus:
    def test_keeps_the_last_ones_newest_first(self) -> None:
        bus = EventBus(kept=3)
        for number in range(5):
            bus.emit("tick", str(number))
        assert [happening.detail for happening in bus.recent()] == ["4", "3", "2"]

    def test_watchers_get_their_name_only_and_one_that_fails_harms_none(self, caplog: pytest.LogCaptureFixture) -> None:
        bus, seen = EventBus(), list[object]()

        def broken(happening: object) -> None:
            raise ValueError("a bug")

        bus.watch("a", broken)
        bus.watch("a", seen.append)
        bus.emit("a", "one", 1)
        bus.emit("b", "two", 2)
        bus.unwatch("a", seen.append)
        bus.emit("a", "three")
        assert [getattr(one, "value", None) for one in seen] == [1]
        assert "a watcher of a failed" in caplog.text
