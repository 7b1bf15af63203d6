"""How long a call takes under each policy: ``kitex-tests thriftrpc/retrycall/mixedretry_test.go``, in virtual time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import elanus
from elanus_retrier_budget import (
    BackupPolicy,
    BudgetRetrier,
    FailurePolicy,
    MixedPolicy,
    Policy,
    RetryOn,
    to_json,
)


async def timed(client: elanus.Client) -> tuple[Any, float]:
    """The reply or the error, and the milliseconds until it came."""
    start = asyncio.get_running_loop().time()
    outcome: Any
    try:
        outcome = await client.find("tea")
    except elanus.ElanusError as error:
        outcome = error
    return outcome, (asyncio.get_running_loop().time() - start) * 1000


def close_to(took: float, expected: float) -> bool:
    """Kitex's own measure: a fifth more or less. What is lost here is the grain of the timer wheel, 5 ms a timeout."""
    return abs(took - expected) < expected / 5


@pytest.mark.parametrize(
    ("policy", "expected", "succeeds"),
    [
        (MixedPolicy(delay=0.060, max_retry_times=2), 140, True),
        (FailurePolicy(max_retry_times=2), 180, True),
        (BackupPolicy(delay=0.060, max_retry_times=2), 120, False),
    ],
)
def test_the_first_times_out_and_the_second_does_not(
    shop: Any, virtual: Any, policy: Policy, expected: float, succeeds: bool
) -> None:
    async def behave(number: int, call: elanus.Call) -> str:
        await asyncio.sleep(0.080 if call.retried else 0.120)
        return "reply"

    async def scenario() -> None:
        async with shop(behave).client(retrier=BudgetRetrier(policy), attempt_timeout=0.100) as client:
            outcome, took = await timed(client)
        assert close_to(took, expected), took
        assert outcome == "reply" if succeeds else isinstance(outcome, elanus.RpcTimeoutError)

    virtual(scenario())


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (MixedPolicy(delay=0.070, max_retry_times=2), 200),
        (FailurePolicy(max_retry_times=2), 300),
        (BackupPolicy(delay=0.100, max_retry_times=2), 100),
    ],
)
def test_every_attempt_times_out(shop: Any, virtual: Any, policy: Policy, expected: float) -> None:
    async def behave(number: int, call: elanus.Call) -> str:
        await asyncio.sleep(0.130)
        return "reply"

    async def scenario() -> None:
        async with shop(behave).client(attempt_timeout=0.100) as client:
            outcome, took = await timed(client.with_options(retrier=BudgetRetrier(policy)))
        assert close_to(took, expected), took
        assert isinstance(outcome, elanus.RpcTimeoutError)

    virtual(scenario())


def flags(shop: Any) -> Any:
    """Each reply takes 250 ms: a bad one, another bad one, a good one."""

    async def behave(number: int, call: elanus.Call) -> str:
        flag = ["11111", "11112", "0"][min(number, 2)]
        await asyncio.sleep(0.250)
        return flag

    return shop(behave)


def is_bad(attempt: elanus.Call, reply: Any, error: Exception | None) -> bool:
    return reply in ("11111", "11112")


BAD = RetryOn(check=is_bad)


@pytest.mark.parametrize(
    ("policy", "expected", "reply"),
    [
        (MixedPolicy(delay=0.100, max_retry_times=3), 450, "0"),
        (FailurePolicy(max_retry_times=3), 750, "0"),
        (BackupPolicy(delay=0.100, max_retry_times=2), 250, "11111"),
    ],
)
def test_replies_are_retried_until_one_is_good(
    shop: Any, virtual: Any, policy: Policy, expected: float, reply: str
) -> None:
    async def scenario() -> None:
        async with flags(shop).client(retrier=BudgetRetrier(policy, on=BAD)) as client:
            outcome, took = await timed(client)
        assert close_to(took, expected), took
        assert outcome == reply

    virtual(scenario())


def by_constructor() -> BudgetRetrier:
    return BudgetRetrier(MixedPolicy(delay=0.100, max_retry_times=3), on=BAD)


def by_policy() -> BudgetRetrier:
    return BudgetRetrier(MixedPolicy(delay=0.100, max_retry_times=3, on=BAD))


def by_method() -> BudgetRetrier:
    return BudgetRetrier(BackupPolicy(delay=0.1), {"find": MixedPolicy(delay=0.100, max_retry_times=3, on=BAD)})


def by_update() -> BudgetRetrier:
    retrier = BudgetRetrier(None, on=BAD)
    retrier.update("*", MixedPolicy(delay=0.100, max_retry_times=3), remote=True)
    return retrier


def by_json() -> BudgetRetrier:
    retrier = BudgetRetrier(None, on=BAD)
    retrier.update("*", json.dumps(to_json(MixedPolicy(delay=0.100, max_retry_times=3))), remote=True)
    return retrier


def by_call() -> BudgetRetrier:
    return BudgetRetrier(FailurePolicy()).with_policy(MixedPolicy(delay=0.100, max_retry_times=3, on=BAD))


@pytest.mark.parametrize("make", [by_constructor, by_policy, by_method, by_update, by_json, by_call])
def test_each_way_to_give_a_policy(shop: Any, virtual: Any, make: Any) -> None:
    async def scenario() -> None:
        async with flags(shop).client(retrier=make()) as client:
            outcome, took = await timed(client)
        assert close_to(took, 450), took
        assert outcome == "0"

    virtual(scenario())


def test_errors_are_retried_until_one_attempt_succeeds(shop: Any, virtual: Any) -> None:
    # TestMixedRetryWithNotifyPolicyChange, "mixed retry with error retry".
    async def behave(number: int, call: elanus.Call) -> str:
        await asyncio.sleep(0.250)
        if number < 2:
            raise elanus.ApplicationError(1000, "mock error")
        return "0"

    def is_1000(attempt: elanus.Call, reply: Any, error: Exception | None) -> bool:
        return isinstance(error, elanus.ApplicationError) and error.code == 1000

    async def scenario() -> None:
        retrier = BudgetRetrier(None, on=RetryOn(check=is_1000))
        retrier.update("find", MixedPolicy(delay=0.100, max_retry_times=3))
        server = shop(behave)
        async with server.client(retrier=retrier) as client:
            outcome, took = await timed(client)
        assert outcome == "0"
        assert close_to(took, 450), took

    virtual(scenario())
