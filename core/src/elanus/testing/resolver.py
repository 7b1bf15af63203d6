"""The suite of the resolver contract. A plugin's test subclasses it and says how to open its resolver."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from elanus.contracts.resolver import Resolver
from elanus.errors import DiscoveryError
from elanus.service import Instance
from elanus.testing.suite import Suite

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["ResolverSuite"]

ONE = Instance("10.0.0.1:8888")
TWO = Instance("10.0.0.2:8888")
THREE = Instance("10.0.0.3:8888")


class ResolverSuite(Suite):
    """What every resolver does. Subclass as ``TestXxx``; override :meth:`open`, :meth:`offer` and :meth:`outage`.

    Behaviours that may go into ``unsupported``: ``"weight"``, ``"tags"``, ``"outage"`` (outages cannot be staged).
    """

    #: Seconds within which a change is seen.
    settle = 10.0

    def open(self) -> AbstractAsyncContextManager[Resolver]:
        """A resolver whose backend holds nothing; leaving the context cleans up, also after ``aclose()``."""
        raise NotImplementedError

    async def offer(self, name: str, instances: Sequence[Instance]) -> None:
        """Make the backend hold exactly *instances* under *name*, whatever it held there before."""
        raise NotImplementedError

    def outage(self) -> AbstractAsyncContextManager[None]:
        """A context in which the backend does not answer. :meth:`offer` is not called inside."""
        raise NotImplementedError

    @asynccontextmanager
    async def watching(self, resolver: Resolver, name: str) -> AsyncGenerator[AsyncGenerator[Sequence[Instance]]]:
        """A watch of *name*, closed at the end."""
        watch = resolver.watch(name)
        try:
            yield watch
        finally:
            await watch.aclose()

    async def until(self, watch: AsyncIterator[Sequence[Instance]], *expected: Instance) -> Sequence[Instance]:
        """Follow *watch* until it yields exactly *expected*; changes may be joined, and sets may be repeated."""
        addresses = sorted(instance.address for instance in expected)
        async with asyncio.timeout(self.settle):
            async for instances in watch:
                if sorted(instance.address for instance in instances) == addresses:
                    return instances
        raise AssertionError("the watch has ended; it must go on until it is closed")

    def test_it_has_a_name_that_users_can_write(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver:
                assert isinstance(resolver, Resolver)
                assert re.fullmatch(r"[a-z][a-z0-9_]*", resolver.name)

        self.run(scenario())

    def test_the_first_set_is_what_is_there(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE, TWO])
                async with self.watching(resolver, "echo") as watch:
                    first = await anext(watch)
                    assert sorted(instance.address for instance in first) == [ONE.address, TWO.address]

        self.run(scenario())

    def test_a_name_that_nobody_offers_is_empty_or_an_error_of_discovery(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver, self.watching(resolver, "nobody") as watch:
                found: Sequence[Instance] = ()
                refused = "nobody"
                try:
                    found = await anext(watch)
                except DiscoveryError as error:
                    refused = str(error)
                assert not found
                assert "nobody" in refused

        self.run(scenario())

    def test_what_is_added_is_seen(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE])
                async with self.watching(resolver, "echo") as watch:
                    await self.until(watch, ONE)
                    await self.offer("echo", [ONE, TWO])
                    await self.until(watch, ONE, TWO)

        self.run(scenario())

    def test_what_is_removed_is_seen(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE, TWO, THREE])
                async with self.watching(resolver, "echo") as watch:
                    await self.until(watch, ONE, TWO, THREE)
                    await self.offer("echo", [TWO])
                    await self.until(watch, TWO)
                    await self.offer("echo", [])
                    await self.until(watch)

        self.run(scenario())

    def test_weights_and_their_changes_are_seen(self) -> None:
        self.requires("weight")

        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [Instance(ONE.address, 5)])
                async with self.watching(resolver, "echo") as watch:
                    (instance,) = await anext(watch)
                    assert instance.weight == 5
                    await self.offer("echo", [Instance(ONE.address, 50)])
                    while instance.weight != 50:
                        (instance,) = await self.until(watch, ONE)

        self.run(scenario())

    def test_tags_and_their_changes_are_seen(self) -> None:
        self.requires("tags")

        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [Instance(ONE.address, 10, {"zone": "a"})])
                async with self.watching(resolver, "echo") as watch:
                    (instance,) = await anext(watch)
                    assert dict(instance.tags) == {"zone": "a"}
                    await self.offer("echo", [Instance(ONE.address, 10, {"zone": "b"})])
                    while dict(instance.tags) != {"zone": "b"}:
                        (instance,) = await self.until(watch, ONE)

        self.run(scenario())

    def test_two_watches_of_one_name_both_see_everything(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE])
                async with self.watching(resolver, "echo") as first, self.watching(resolver, "echo") as second:
                    await self.until(first, ONE)
                    await self.until(second, ONE)
                    await self.offer("echo", [ONE, TWO])
                    await self.until(first, ONE, TWO)
                    await self.until(second, ONE, TWO)

        self.run(scenario())

    def test_the_end_of_one_watch_is_nothing_to_the_other(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE])
                async with self.watching(resolver, "echo") as lasting:
                    await self.until(lasting, ONE)
                    async with self.watching(resolver, "echo") as short:
                        await self.until(short, ONE)
                    await self.offer("echo", [TWO])
                    await self.until(lasting, TWO)

        self.run(scenario())

    def test_names_are_told_apart(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE])
                await self.offer("echo2", [TWO])
                async with self.watching(resolver, "echo") as one, self.watching(resolver, "echo2") as two:
                    await self.until(one, ONE)
                    await self.until(two, TWO)

        self.run(scenario())

    def test_a_waiting_watch_can_be_cancelled(self) -> None:
        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE])
                async with self.watching(resolver, "echo") as watch:
                    await self.until(watch, ONE)
                    # A repeated set may be handed out at once, so wait for one that cannot come.
                    waiting = asyncio.create_task(self.until(watch, THREE))
                    await asyncio.sleep(0.02)
                    waiting.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await waiting
                async with self.watching(resolver, "echo") as again:
                    await self.until(again, ONE)

        self.run(scenario())

    def test_an_outage_is_survived(self) -> None:
        self.requires("outage")

        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE])
                async with self.watching(resolver, "echo") as watch:
                    await self.until(watch, ONE)
                    following = asyncio.create_task(self.until(watch, TWO))
                    async with self.outage():
                        await asyncio.sleep(0.05)
                        assert not following.done(), "during an outage a watch keeps still"
                    await self.offer("echo", [TWO])
                    await following

        self.run(scenario(), timeout=30 + self.settle)

    def test_a_first_look_up_during_an_outage_is_an_error_of_discovery(self) -> None:
        self.requires("outage")

        async def scenario() -> None:
            async with self.open() as resolver:
                await self.offer("echo", [ONE])
                async with self.outage(), self.watching(resolver, "echo") as watch:
                    with pytest.raises(DiscoveryError, match="echo"):
                        await anext(watch)
                async with self.watching(resolver, "echo") as again:
                    await self.until(again, ONE)

        self.run(scenario(), timeout=30 + self.settle)

    def test_closing_leaves_no_task_behind(self) -> None:
        async def scenario() -> None:
            before = asyncio.all_tasks()
            async with self.open() as resolver:
                await self.offer("echo", [ONE])
                async with self.watching(resolver, "echo") as watch:
                    await self.until(watch, ONE)
                await resolver.aclose()
                await resolver.aclose()
            assert asyncio.all_tasks() == before

        self.run(scenario())
