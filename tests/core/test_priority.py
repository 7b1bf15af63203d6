"""What a call says of its own weight, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest

import elanus
from elanus.metadata import EMPTY_METADATA, Metadata
from elanus.priority import PRIORITY_KEY
from elanus.testing import InTurn, MemoryTransport, connected, make_call

from .store import Store, idl, started


@pytest.mark.parametrize("priority", elanus.Priority)
def test_each_priority_is_read_from_the_metadata_that_it_writes(priority: elanus.Priority) -> None:
    call = make_call()
    call.metadata = priority.metadata
    assert elanus.Priority.of(call) is priority
    assert priority.metadata.persistent == {"elanus-priority": priority.name.lower()}


@pytest.mark.parametrize(
    "metadata",
    [
        EMPTY_METADATA,
        Metadata(persistent={"other": "low"}),
        Metadata(persistent={PRIORITY_KEY: "urgent"}),
        Metadata(persistent={PRIORITY_KEY: "LOW"}),
        Metadata(transient={PRIORITY_KEY: "low"}),
    ],
)
def test_whatever_says_nothing_is_normal(metadata: Metadata) -> None:
    call = make_call()
    call.metadata = metadata
    assert elanus.Priority.of(call) is elanus.Priority.NORMAL


def test_they_have_an_order() -> None:
    assert sorted(elanus.Priority) == [
        elanus.Priority.LOW,
        elanus.Priority.NORMAL,
        elanus.Priority.HIGH,
        elanus.Priority.CRITICAL,
    ]


async def test_it_goes_on_to_the_calls_of_a_handler() -> None:
    seen: list[elanus.Priority] = []

    class Last(Store):
        async def get(self, key: str) -> Any:
            seen.append(elanus.Priority.of(elanus.current_call()))
            return key

    last = await started(Last())
    async with elanus.Client(idl.Store, "memory:2", transport=MemoryTransport(last), balancer=InTurn()) as behind:

        class First(Last):
            async def get(self, key: str) -> Any:
                await super().get(key)
                return await behind.get(key)

        async with connected(idl.Store, First()) as client:
            await client.with_options(metadata=elanus.Priority.LOW.metadata).get("k")
    await last.stop()
    assert seen == [elanus.Priority.LOW, elanus.Priority.LOW]
