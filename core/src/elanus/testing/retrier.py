"""The suite of the retrier contract. A plugin's test subclasses it and says how to make its retrier."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from elanus.contracts.retrier import Plan, Retrier, Retry, Stop, Wait
from elanus.endpoint import chain
from elanus.errors import (
    ApplicationError,
    BizStatusError,
    ConnectFailedError,
    ConnectionLostError,
    NoInstanceError,
    RpcTimeoutError,
)
from elanus.options import ClientOptions
from elanus.stages import CLIENT_STAGES, ClientParts
from elanus.testing.calls import make_call
from elanus.testing.clock import run_virtual
from elanus.testing.suite import Suite
from elanus.wheel import wheel_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from elanus.call import Call
    from elanus.contracts.retrier import Verdict
    from elanus.endpoint import Endpoint
    from elanus.service import MethodInfo

__all__ = ["RetrierSuite", "Story"]

#: What the n-th attempt comes to: seconds that it takes, and its reply or its error.
Fate: TypeAlias = "tuple[float, Any]"


@dataclass
class Story:
    """What happened to one call: instants are seconds since it began."""

    #: When each attempt started, and what the plan said to each outcome and each time that its delay had passed.
    starts: list[float] = field(default_factory=list)
    verdicts: list[tuple[float, Verdict]] = field(default_factory=list)
    reply: Any = None
    error: Exception | None = None
    took: float = 0.0


class _EndlessError(BaseException):
    """More attempts than any call gets."""


class _Watched(Retrier, Plan):
    """A retrier that writes down what another one decides, and checks that it decides in the contract's words."""

    name = "watched"

    def __init__(self, policy: Retrier) -> None:
        self._policy = policy
        self._plan: Plan | None = None
        self._began = 0.0
        self.story = Story()

    def plan(self, call: Call, now: float) -> Plan | None:
        self._began = now
        plan = self._policy.plan(call, now)
        assert plan is None or isinstance(plan, Plan)
        self._plan = plan
        if plan is not None:
            self.same_instance = plan.same_instance
        return None if plan is None else self

    def started(self, attempt: Call, now: float) -> float | None:
        assert self._plan is not None
        delay = self._plan.started(attempt, now)
        assert delay is None or 0 <= delay < inf, f"a delay of {delay!r}"
        return delay

    def due(self, now: float) -> Verdict:
        assert self._plan is not None
        return self._noted(self._plan.due(now), now)

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        assert self._plan is not None
        return self._noted(self._plan.ended(attempt, reply, error, running, now), now)

    def _noted(self, verdict: Verdict, now: float) -> Verdict:
        assert isinstance(verdict, Retry | Wait | Stop), f"{verdict!r} is no verdict"
        if isinstance(verdict, Retry):
            assert 0 <= verdict.after < inf, f"a pause of {verdict.after!r}"
        self.story.verdicts.append((round(now - self._began, 6), verdict))
        return verdict


class RetrierSuite(Suite):
    """What every retrier does. Subclass as ``TestXxx`` and override :meth:`retrier`.

    Decisions run through the room that makes the attempts of real calls, in virtual time.

    Behaviours that may go into ``unsupported``: ``"replies are final"`` (a reply may be tried again), ``"retries
    timeouts"``, ``"foreseeable"`` (chance without a seed), ``"bounded load"`` (no budget of any kind).
    """

    #: More attempts than a call ever gets, in this suite.
    most_attempts = 20
    #: Further attempts, per call, that there may be while everything fails.
    storm_share = 0.5

    def retrier(self) -> Retrier:
        """A new retrier. What it draws from chance comes from a seed, if it can be given one."""
        raise NotImplementedError

    def call(self) -> Call:
        """A call that the retrier looks after. Override it when it does so only for some."""
        return make_call()

    def play(self, policy: Retrier, fate: Callable[[int], Fate], *, start: float = 1_000_000.0) -> Story:
        """What becomes of one call whose n-th attempt has *fate(n)*."""
        return run_virtual(self._played(policy, fate), start=start)

    async def _played(self, policy: Retrier, fate: Callable[[int], Fate]) -> Story:
        loop = asyncio.get_running_loop()
        watched = _Watched(policy)
        story, began = watched.story, loop.time()
        raised: list[Exception] = []

        async def endpoint(attempt: Call) -> Any:
            story.starts.append(round(loop.time() - began, 6))
            if attempt.attempt >= self.most_attempts:
                raise _EndlessError  # no Exception, or it would be tried again as well
            takes, outcome = fate(attempt.attempt)
            await asyncio.sleep(takes)
            if isinstance(outcome, BizStatusError):
                attempt.biz_status = outcome
                return None
            if isinstance(outcome, Exception):
                raised.append(outcome)
                raise outcome
            return outcome

        try:
            call = self.call()
            story.reply = await _room(watched, call.method, endpoint)(call)
        except _EndlessError:
            raise AssertionError("there is no end to the attempts") from None
        except Exception as error:
            if not any(error is each for each in raised):
                raise  # it is the retrier's own
            story.error = error
        story.took = round(loop.time() - began, 6)
        return story

    def test_it_has_a_name_that_users_can_write(self) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", self.retrier().name)

    def test_it_is_a_retrier_that_makes_plans(self) -> None:
        retrier = self.retrier()
        assert isinstance(retrier, Retrier)
        assert isinstance(retrier.plan(self.call(), 1.0), Plan | None)

    def test_a_good_reply_is_final(self) -> None:
        self.requires("replies are final")
        story = self.play(self.retrier(), lambda number: (0.0, "reply"))
        assert (story.reply, story.error, story.starts) == ("reply", None, [0.0])

    def test_a_timeout_is_tried_again(self) -> None:
        self.requires("retries timeouts")
        story = self.play(self.retrier(), lambda number: (1.0, "reply") if number else (1.0, _timeout()))
        assert story.reply == "reply"
        assert len(story.starts) >= 2

    def test_attempts_come_to_an_end_and_the_last_error_is_the_callers(self) -> None:
        for takes in (0.0, 0.001, 1.0):
            errors = [RpcTimeoutError(float(number)) for number in range(self.most_attempts)]
            story = self.play(self.retrier(), partial(_one_of, takes, errors))
            assert story.error in errors[: len(story.starts)]

    def test_attempts_that_never_answer_come_to_an_end(self) -> None:
        story = self.play(self.retrier(), lambda number: (86_400.0, _timeout()))
        assert isinstance(story.error, RpcTimeoutError)

    def test_every_outcome_may_be_reported(self) -> None:
        retrier = self.retrier()
        for outcome in _outcomes():
            story = self.play(retrier, partial(_one_of, 0.5, [outcome] * self.most_attempts))
            assert story.error is outcome or not isinstance(outcome, Exception) or story.reply is None

    def test_it_goes_by_the_time_that_it_is_told(self) -> None:
        self.requires("foreseeable")

        def fate(number: int) -> Fate:
            return (0.25, _timeout()) if number < 2 else (0.25, "reply")

        stories = [self.play(self.retrier(), fate, start=start) for start in (10.0, 1_000_000.0, 2.0**31)]
        assert [_shape(story) for story in stories] == [_shape(stories[0])] * 3

    def test_time_may_stand_still(self) -> None:
        retrier = self.retrier()
        for _ in range(100):
            self.play(retrier, lambda number: (0.0, _timeout()))

    def test_calls_beside_each_other_are_told_apart(self) -> None:
        retrier = self.retrier()
        one, other = retrier.plan(self.call(), 1.0), retrier.plan(self.call(), 1.0)
        if one is None or other is None:
            return
        one.started(self.call(), 1.0)
        other.started(self.call(), 1.0)
        first = verdict = one.ended(self.call(), None, _timeout(), 0, 2.0)
        for number in range(1, self.most_attempts):
            if not isinstance(verdict, Retry):
                break
            attempt = self.call()
            attempt.attempt = number
            one.started(attempt, 2.0)
            verdict = one.ended(attempt, None, _timeout(), 0, 2.0)
        verdict = other.ended(self.call(), None, _timeout(), 0, 2.0)
        assert type(verdict) is type(first), "the second call has had one attempt, whatever the first one had"

    def test_plans_may_be_dropped_half_way(self) -> None:
        retrier = self.retrier()
        for number in range(1_000):
            plan = retrier.plan(self.call(), 1.0 + number / 1_000)
            if plan is not None:
                plan.started(self.call(), 1.0 + number / 1_000)
        story = self.play(retrier, lambda number: (0.0, "reply"), start=1_000.0)
        assert story.reply == "reply"

    def test_an_outage_is_not_made_worse(self) -> None:
        self.requires("bounded load")

        async def outage() -> int:
            retrier, calls, stories = self.retrier(), 2_000, []
            for number in range(calls):
                stories.append(asyncio.ensure_future(self._played(retrier, lambda number: (0.05, _timeout()))))
                if number % 5 == 0:
                    await asyncio.sleep(0.005)
            return sum(len(story.starts) - 1 for story in await asyncio.gather(*stories))

        further = run_virtual(outage())
        assert further <= 2_000 * self.storm_share, f"{further} further attempts of 2,000 calls that all failed"


def _room(policy: Retrier, method: MethodInfo, endpoint: Endpoint) -> Endpoint:
    """*endpoint* inside of the retry room alone, as a client has it."""
    parts = ClientParts(ClientOptions(), wheel_of(asyncio.get_running_loop()), cast("Any", None), retrier=policy)
    return chain(dict(CLIENT_STAGES)["retry"](parts, method), endpoint)


def _one_of(takes: float, outcomes: Sequence[Any], number: int) -> Fate:
    return takes, outcomes[number]


def _timeout() -> RpcTimeoutError:
    return RpcTimeoutError(1.0, limit="attempt_timeout")


def _outcomes() -> list[Any]:
    return [
        "a reply",
        None,
        _timeout(),
        ConnectFailedError("refused"),
        ConnectionLostError("reset"),
        ApplicationError(6, "biz error: a bug"),
        NoInstanceError("echo", "file"),
        BizStatusError(7, "no"),
        KeyError("a declared exception"),
    ]


def _shape(story: Story) -> tuple[Any, ...]:
    # Instants of great size are told apart by no less than a microsecond.
    starts = [round(at, 4) for at in story.starts]
    return starts, [type(verdict).__name__ for _, verdict in story.verdicts], story.reply, round(story.took, 4)
