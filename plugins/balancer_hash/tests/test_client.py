"""The balancer in real clients."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.testing import JsonCodec, MemoryTransport, run_virtual
from elanus_balancer_hash import HashBalancer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

idl = JsonCodec().loads("service Cart {\n  add(user, item)\n  ping()\n}")
ADDRESSES = [f"memory:{number}" for number in range(1, 9)]


class Cart:
    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause

    async def add(self, user: str, item: str) -> str:
        await asyncio.sleep(self.pause)
        return item

    async def ping(self) -> str:
        return "pong"


@asynccontextmanager
async def client(balancer: Any, serving: Sequence[str] = ADDRESSES, pause: float = 0.0) -> AsyncIterator[Any]:
    server = elanus.Server()
    server.add_service(idl.Cart, Cart(pause))
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.stop)
        transport = MemoryTransport(dict.fromkeys(serving, server))
        yield await stack.enter_async_context(
            elanus.Client(idl.Cart, ADDRESSES, transport=transport, balancer=balancer)
        )


async def where(cart: Any, user: str) -> str:
    result = await cart.invoke("add", user, "tea")
    return str(result.instance)


@pytest.mark.parametrize("factor", [None, 1.25])
def test_a_user_stays_with_an_instance_whatever_client_calls(factor: float | None) -> None:
    async def scenario() -> None:
        told = []
        for _ in range(2):
            async with client(HashBalancer("argument:user", load_factor=factor)) as cart:
                told.append([await where(cart, f"user-{number}") for number in range(100)])
                told.append([await where(cart, f"user-{number}") for number in range(100)])
        assert told[0] == told[1] == told[2] == told[3]
        assert len(set(told[0])) > 4

    run_virtual(scenario())


def test_a_method_without_the_parameter_has_no_key() -> None:
    async def scenario() -> None:
        async with client(HashBalancer("argument:user", seed=1)) as cart:
            assert len({str((await cart.invoke("ping")).instance) for _ in range(60)}) > 4
        async with client(HashBalancer("argument:user", keyless="refuse")) as cart:
            with pytest.raises(elanus.NoInstanceError, match="Cart/ping"):
                await cart.ping()

    run_virtual(scenario())


def test_a_key_in_the_metadata_of_a_call() -> None:
    async def scenario() -> None:
        async with client(HashBalancer("metadata:tenant")) as cart:
            tenants = {}
            for number in range(20):
                tenant = cart.with_options(metadata={"tenant": f"t{number}"})
                tenants[number] = {await where(tenant, f"user-{user}") for user in range(10)}
        assert all(len(instances) == 1 for instances in tenants.values())
        assert len(set.union(*tenants.values())) > 4

    run_virtual(scenario())


def test_when_an_instance_is_down_its_keys_go_on_to_the_same_other_ones() -> None:
    async def scenario() -> None:
        async with client(HashBalancer("argument:user")) as cart:
            whole = {f"user-{n}": await where(cart, f"user-{n}") for n in range(200)}
        down = ADDRESSES[3]
        async with client(HashBalancer("argument:user"), [each for each in ADDRESSES if each != down]) as cart:
            for user, home in whole.items():
                found = [await where(cart, user) for _ in range(2)]
                assert found[0] == found[1] != down
                assert home in (down, found[0])

    run_virtual(scenario())


def test_calls_at_the_same_time_with_one_key_are_bounded() -> None:
    async def scenario() -> None:
        for factor, most in ((None, 64), (1.25, 10)):
            async with client(HashBalancer("argument:user", load_factor=factor), pause=1.0) as cart:
                hot = Counter(await asyncio.gather(*(where(cart, "hot") for _ in range(64))))
                assert max(hot.values()) == most  # of 64 calls on 8 instances 8 each, and a quarter more
                assert len({await where(cart, "hot") for _ in range(5)}) == 1, "alone, it is at home again"

    run_virtual(scenario())


def test_a_key_of_a_wrong_type_is_told_to_the_caller() -> None:
    async def scenario() -> None:
        async with client(HashBalancer(lambda call: call.arguments)) as cart:  # type: ignore[arg-type,return-value]
            with pytest.raises(elanus.ConfigError, match="the key of Cart/add for balancer 'hash' is of type"):
                await cart.add("user", "tea")

    run_virtual(scenario())
