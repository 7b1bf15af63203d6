"""A retrier and a breaker on one client, as Kitex's own tests have them (``kitex-tests thriftrpc/retrycall``)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tests.core.store import Store, idl

import elanus
from elanus.contracts.breaker import Breaker, Outcome, State
from elanus.testing import connected, run_virtual
from elanus_breaker_window import WindowBreaker
from elanus_retrier_budget import ALL_ERRORS, BackupPolicy, BudgetRetrier, FailurePolicy


class Slow(Store):
    """Every second request takes 60 ms, the first one to begin with."""

    requests = 0

    async def get(self, key: str) -> Any:
        slow = self.requests % 2 == 0
        self.requests += 1
        await asyncio.sleep(0.060 if slow else 0)
        return "reply"


def kind(error: Exception) -> str:
    for word in ("retry circuit break", "the circuit breaker of"):
        if word in str(error):
            return word
    return type(error).__name__


def test_half_of_the_attempts_fail_and_200_of_300_calls_are_refused_or_failed() -> None:
    # TestRetry/TestServiceCB. What keeps the numbers exact: first the retry breaker stops the retries, at ten attempts
    # with 5 retries; then the service breaker opens, at 200 samples of which half ran out of time.
    async def scenario() -> None:
        handler, outcomes = Slow(), Counter[str]()
        async with connected(
            idl.Store,
            handler,
            retrier=BudgetRetrier(FailurePolicy()),
            service_breaker=WindowBreaker(),
            attempt_timeout=0.040,
        ) as client:
            for _ in range(300):
                try:
                    assert await client.get("k") == "reply"
                except elanus.ElanusError as error:
                    outcomes[kind(error)] += 1
                else:
                    outcomes["ok"] += 1
        assert set(outcomes) == {"ok", "retry circuit break", "the circuit breaker of"}
        assert outcomes.total() - outcomes["ok"] == 200
        assert handler.requests == 201, "the service breaker opens with the first failure of at least 200 samples"

    run_virtual(scenario())


class Noting(Breaker):
    """Allows everything, and notes what it is told."""

    name = "noting"

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def allow(self, key: str, now: float) -> bool:
        return True

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        self.outcomes.append(outcome)

    def states(self) -> dict[str, State]:
        return {}

    def forget(self, key: str) -> None: ...


def test_the_loser_of_a_hedge_is_no_failure_of_its_service_nor_of_its_instance() -> None:
    async def scenario() -> None:
        service, instance = Noting(), Noting()
        async with connected(
            idl.Store,
            Slow(),
            retrier=BudgetRetrier(BackupPolicy(delay=0.010)),
            service_breaker=service,
            instance_breaker=instance,
        ) as client:
            assert await client.get("k") == "reply"
            await asyncio.sleep(1)
        assert sorted(service.outcomes, key=str) == sorted([Outcome.SUCCESS, Outcome.IGNORED], key=str)
        assert sorted(instance.outcomes, key=str) == sorted([Outcome.SUCCESS, Outcome.IGNORED], key=str)

    run_virtual(scenario())


def test_a_retrier_that_tries_everything_again_does_not_hammer_an_open_breaker() -> None:
    # Kitex counts what the breaker refused as a failure, which is what ends the retries here as well.
    async def scenario() -> None:
        class Broken(Store):
            requests = 0

            async def get(self, key: str) -> Any:
                self.requests += 1
                raise elanus.ApplicationError(6, "bug")

        handler = Broken()
        breaker = WindowBreaker(min_samples=10)
        retrier = BudgetRetrier(FailurePolicy(on=ALL_ERRORS), percentage_limit=False)
        async with connected(idl.Store, handler, retrier=retrier, service_breaker=breaker) as client:
            for _ in range(100):
                try:
                    await client.get("k")
                except elanus.ElanusError as error:
                    last = error
        assert handler.requests == 10
        assert len(last.attempts) == 1
        assert "retry circuit break" in str(last)

    run_virtual(scenario())
