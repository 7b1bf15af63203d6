"""The suite of the registry contract. A plugin's test subclasses it and says how to open its registry."""

from __future__ import annotations

import asyncio
import re
from time import monotonic, time
from typing import TYPE_CHECKING

from elanus.contracts.registry import Registration, Registry
from elanus.service import Instance
from elanus.testing.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["RegistrySuite"]

ONE = Instance("10.0.0.1:8888")
TWO = Instance("10.0.0.2:8888")


class RegistrySuite(Suite):
    """What every registry does. Subclass as ``TestXxx``; override :meth:`open`, :meth:`seen` and :meth:`lose`.

    Behaviours that may go into ``unsupported``: ``"weight"``, ``"tags"``, ``"update"`` (a second registration of an
    address replaces the first), ``"repair"`` (a lost announcement is made again), ``"several names"`` (one instance
    under more than one), ``"ipv6"``, ``"unix"``.
    """

    #: Seconds within which others see that an announcement was withdrawn or repaired.
    settle = 10.0

    def open(self) -> AbstractAsyncContextManager[Registry]:
        """A registry whose backend holds nothing; leaving the context cleans up, also after ``aclose()``."""
        raise NotImplementedError

    async def seen(self, name: str) -> Sequence[Instance]:
        """The instances of *name* as others see them now, asked of the backend, not of the registry under test."""
        raise NotImplementedError

    async def lose(self) -> None:
        """Make the backend forget every announcement, as a restart without storage does."""
        raise NotImplementedError

    async def addresses(self, name: str) -> list[str]:
        """The addresses that are seen under *name*, in order."""
        return sorted(instance.address for instance in await self.seen(name))

    async def settled(self, name: str, *expected: Instance) -> None:
        """Wait until exactly *expected* are seen under *name*."""
        addresses = sorted(instance.address for instance in expected)
        await self.eventually(lambda now: now == addresses, name)

    async def eventually(self, condition: Callable[[list[str]], bool], name: str) -> None:
        """Wait until *condition* holds for the addresses that are seen under *name*."""
        give_up = monotonic() + self.settle
        while not condition(current := await self.addresses(name)):
            assert monotonic() < give_up, f"after {self.settle} s {name!r} is still {current}"
            await asyncio.sleep(0.01)

    def test_it_has_a_name_that_users_can_write(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                assert isinstance(registry, Registry)
                assert re.fullmatch(r"[a-z][a-z0-9_]*", registry.name)

        self.run(scenario())

    def test_what_is_registered_can_be_seen_at_once(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                assert await self.addresses("echo") == []
                await registry.register("echo", ONE)
                assert await self.addresses("echo") == [ONE.address]

        self.run(scenario())

    def test_weight_is_kept(self) -> None:
        self.requires("weight")

        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", Instance("10.0.0.1:8888", 25))
                assert [instance.weight for instance in await self.seen("echo")] == [25]

        self.run(scenario())

    def test_tags_are_kept(self) -> None:
        self.requires("tags")
        tags = {"zone": "b", "key with a space": "väl/ue=1", "empty": ""}

        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", Instance("10.0.0.1:8888", 10, tags))
                (instance,) = await self.seen("echo")
                assert dict(instance.tags) == tags

        self.run(scenario())

    def test_several_instances_of_one_name(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.register("echo", TWO)
                assert await self.addresses("echo") == [ONE.address, TWO.address]

        self.run(scenario())

    def test_one_instance_under_several_names(self) -> None:
        self.requires("several names")

        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.register("acme.echo-v2", ONE)
                await registry.deregister("echo", ONE)
                await self.settled("echo")
                assert await self.addresses("acme.echo-v2") == [ONE.address]

        self.run(scenario())

    def test_a_name_that_begins_with_another_is_another(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo2", ONE)
                assert await self.addresses("echo") == []

        self.run(scenario())

    def test_registering_twice_announces_once(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.register("echo", ONE)
                assert await self.addresses("echo") == [ONE.address]
                assert len(registry.status()) == 1
                await registry.deregister("echo", ONE)
                await self.settled("echo")

        self.run(scenario())

    def test_registering_an_address_again_replaces_what_was_said_of_it(self) -> None:
        self.requires("update")
        self.requires("weight")

        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", Instance(ONE.address, 10))
                await registry.register("echo", Instance(ONE.address, 30))
                assert [instance.weight for instance in await self.seen("echo")] == [30]
                assert [registration.instance.weight for registration in registry.status()] == [30]

        self.run(scenario())

    def test_many_registrations_at_the_same_time(self) -> None:
        instances = [Instance(f"10.0.0.{number}:8888") for number in range(1, 21)]

        async def scenario() -> None:
            async with self.open() as registry:
                await asyncio.gather(*(registry.register("echo", instance) for instance in instances))
                assert await self.addresses("echo") == sorted(instance.address for instance in instances)
                await asyncio.gather(*(registry.deregister("echo", instance) for instance in instances))
                await self.settled("echo")

        self.run(scenario())

    def test_deregister_withdraws_that_one_only(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.register("echo", TWO)
                await registry.deregister("echo", ONE)
                await self.settled("echo", TWO)

        self.run(scenario())

    def test_deregister_twice_is_no_error(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.deregister("echo", ONE)
                await registry.deregister("echo", ONE)
                await self.settled("echo")

        self.run(scenario())

    def test_deregister_of_a_stranger_is_no_error(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.deregister("echo", TWO)
                await registry.deregister("nobody", ONE)
                assert await self.addresses("echo") == [ONE.address]

        self.run(scenario())

    def test_what_was_withdrawn_can_be_registered_again(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                for _ in range(3):
                    await registry.register("echo", ONE)
                    assert await self.addresses("echo") == [ONE.address]
                    await registry.deregister("echo", ONE)
                    await self.settled("echo")

        self.run(scenario())

    def test_status_tells_what_was_asked_for(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                assert registry.status() == []
                before = time()
                await registry.register("echo", ONE)
                (registration,) = registry.status()
                assert isinstance(registration, Registration)
                assert (registration.name, registration.instance) == ("echo", ONE)
                assert registration.registered_since is not None
                assert before - 1 <= registration.registered_since <= time() + 1
                assert registration.lost_since is None
                assert registration.last_error == ""
                await registry.deregister("echo", ONE)
                assert registry.status() == []

        self.run(scenario())

    def test_a_lost_announcement_is_made_again(self) -> None:
        self.requires("repair")

        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.register("echo", TWO)
                await registry.deregister("echo", TWO)
                await self.settled("echo", ONE)
                await self.lose()
                await self.settled("echo", ONE)

        self.run(scenario(), timeout=30 + self.settle)

    def test_closing_withdraws_everything(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.register("echo", TWO)
                await registry.aclose()
                await self.settled("echo")
                assert registry.status() == []

        self.run(scenario())

    def test_closing_twice_or_unused_is_no_error(self) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.aclose()
                await registry.aclose()

        self.run(scenario())

    def test_closing_leaves_no_task_behind(self) -> None:
        async def scenario() -> None:
            before = asyncio.all_tasks()
            async with self.open() as registry:
                await registry.register("echo", ONE)
                await registry.aclose()
            assert asyncio.all_tasks() == before

        self.run(scenario())

    def test_an_ipv6_address(self) -> None:
        self.requires("ipv6")
        self._round_trip("[2001:db8::1]:8888")

    def test_a_unix_socket(self) -> None:
        self.requires("unix")
        self._round_trip("unix:/run/echo/one.sock")

    def _round_trip(self, address: str) -> None:
        async def scenario() -> None:
            async with self.open() as registry:
                await registry.register("echo", Instance(address))
                assert await self.addresses("echo") == [address]
                await registry.deregister("echo", Instance(address))
                await self.settled("echo")

        self.run(scenario())
