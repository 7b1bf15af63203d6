"""Retries and hedges against Kitex: what its server sees of ours, what ours sees of its client's, and across hops."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import elanus
from elanus_retrier_budget import ALL_ERRORS, BackupPolicy, BudgetRetrier, FailurePolicy, RetryOn

from .conftest import ClientFactory
from .elanus_peers import FRAMINGS, ElanusServer, elanus_client
from .peer import KitexServer
from .service import idl

pytestmark = pytest.mark.interop

ServerFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]

#: Milliseconds that no test waits for: whoever is so late is given up or overtaken.
LATE = 2_000


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_kitex_sees_the_number_of_each_further_attempt(kitex_server: ServerFactory, framing: str) -> None:
    retrier = BudgetRetrier(FailurePolicy(max_retry_times=2))
    async with (
        kitex_server(mux=framing == "mux") as server,
        elanus_client(server.address, framing, retrier=retrier, attempt_timeout=0.25) as client,
    ):
        result = await client.invoke("flaky", "token", 2, LATE)
    carried = framing not in ("buffered", "framed")  # these have no place for metadata
    assert result.reply.marks == (["", "1", "2"] if carried else ["", "", ""])
    assert result.reply.retried is carried
    assert [attempt.kind for attempt in result.timeline.attempts] == ["first", "retry", "retry"]


async def test_errors_of_kitex_are_tried_again_on_request(kitex_server: ServerFactory) -> None:
    async with kitex_server() as server, elanus_client(server.address) as client:
        for policy, count in [(FailurePolicy(), 1), (FailurePolicy(on=ALL_ERRORS), 3)]:
            derived = client.with_options(retrier=BudgetRetrier(policy))
            with pytest.raises(elanus.ApplicationError, match="not yet") as caught:
                await derived.flaky(f"token {count}", 9, 0)
            assert len(caught.value.attempts) == count
            seen = await client.flaky(f"token {count}", 0, 0)
            assert len(seen.marks) == count + 1


@pytest.mark.parametrize("framing", ["ttheaderframed", "mux"])
async def test_a_hedge_overtakes_a_late_reply_of_kitex(kitex_server: ServerFactory, framing: str) -> None:
    retrier = BudgetRetrier(BackupPolicy(delay=0.02))
    async with (
        kitex_server(mux=framing == "mux") as server,
        elanus_client(server.address, framing, retrier=retrier) as client,
    ):
        for number in range(3):
            result = await client.invoke("flaky", f"token {number}", 1, LATE)
            assert result.reply.marks == ["", "1"]
            assert [attempt.outcome for attempt in result.timeline.attempts] == ["cancelled", "ok"]
        # The connection of one call at a time was closed; the shared one is in use as before.
        for _ in range(1_000):
            if client.connections() == {server.address: 1}:
                break
            await asyncio.sleep(0.005)
        assert client.connections() == {server.address: 1}


@pytest.mark.parametrize(("extra", "marks"), [({}, ["", "1", "2"]), ({"backup_ms": 50}, ["", "1", "2"])])
async def test_our_server_sees_the_retries_and_backups_of_kitex(
    elanus_server: ElanusFactory, kitex_client: ClientFactory, extra: dict[str, Any], marks: list[str]
) -> None:
    async with elanus_server() as server, kitex_client(server.address) as client:
        arguments = {"token": "token", "unwell": 2, "delay_ms": LATE}
        report = await client.result("flaky", arguments, retries=2, timeout_ms=20_000 if extra else 200, **extra)
    assert report == {"marks": marks, "retried": True}


class Middle:
    """Its ``who`` calls ``flaky`` of a peer further down, which always fails."""

    def __init__(self, client: elanus.Client) -> None:
        self._client = client
        self.errors: list[str] = []

    async def who(self) -> str:
        try:
            await self._client.flaky("token", 99, 0)
        except elanus.ApplicationError as error:
            self.errors.append(str(error))
            raise
        raise AssertionError("it fails 99 times")


@pytest.mark.parametrize("chain_stop", [True, False])
async def test_a_hop_that_serves_a_retry_leaves_the_retrying_to_the_one_above(
    kitex_server: ServerFactory, chain_stop: bool
) -> None:
    below = BudgetRetrier(FailurePolicy(on=ALL_ERRORS, chain_stop=chain_stop, error_rate=0.3), percentage_limit=False)
    above = BudgetRetrier(FailurePolicy(on=ALL_ERRORS, max_retry_times=1))
    async with kitex_server() as server, elanus_client(server.address, retrier=below) as onward:
        middle = Middle(onward)
        hop = elanus.Server()
        hop.add_service(idl.Other, _Named(middle))
        async with elanus_client(await hop.start("127.0.0.1:0"), service=idl.Other, retrier=above) as client:
            with pytest.raises(elanus.ApplicationError):
                await client.who()
        await hop.stop()
        marks = (await onward.with_options(retrier=None).flaky("token", 0, 0)).marks[:-1]
    assert ("chain stop retry" in middle.errors[1]) is chain_stop
    assert marks == (["", "1", "2", "1"] if chain_stop else ["", "1", "2", "1", "1", "2"])


class _Named:
    """Other, of which only one method is called."""

    def __init__(self, middle: Middle) -> None:
        self.who = middle.who

    async def other_echo(self, req: Any) -> Any:
        raise AssertionError("nobody calls it")


async def test_the_mark_travels_through_kitex(kitex_server: ServerFactory, elanus_server: ElanusFactory) -> None:
    def first(attempt: elanus.Call, reply: Any, error: Exception | None) -> bool:
        return attempt.attempt == 0

    retrier = BudgetRetrier(FailurePolicy(on=RetryOn(check=first)))
    async with (
        elanus_server() as end,
        kitex_server() as server,
        elanus_client(server.address, retrier=retrier) as client,
    ):
        report = await client.forward(end.address, idl.MetadataRequest(backward={}))
    assert report.seen.persistent_values == {"RetryReq": "1"}
