"""Lag, deadlines, streams, and what the limiter learns from which call."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING

import pytest

from elanus.errors import ApplicationError, RpcTimeoutError
from elanus.priority import Priority
from elanus.service import MethodKind
from elanus_limiter_adaptive import AdaptiveLimiter

from .arrivals import arrival, serve

if TYPE_CHECKING:
    from elanus.contracts.limiter import Refusal


def lagging(limiter: AdaptiveLimiter, lag: float, start: float, seconds: float, priority: Priority) -> list[str | None]:
    """Calls every 10 ms for *seconds* that have waited *lag*: the limits that refuse them."""
    outcomes = []
    for number in range(round(seconds * 100)):
        now = start + number / 100
        call = arrival(now - lag, priority)
        refusal = limiter.acquire(call, now)
        outcomes.append(None if refusal is None else refusal.limit)
        if refusal is None:
            limiter.release(call, ApplicationError(6, "says nothing of latency"), 0.0, now)
    return outcomes


class TestLag:
    def test_calls_that_have_waited_too_long_are_refused(self) -> None:
        outcomes = lagging(AdaptiveLimiter(slack=0.005), 0.02, 100.0, 1.0, Priority.NORMAL)
        assert set(outcomes[:10]) == {None}, "a tenth of a second is borne"
        assert set(outcomes[11:]) == {"lag[normal]"}
        assert len(outcomes) == 100

    def test_one_pause_is_no_overload(self) -> None:
        limiter = AdaptiveLimiter()
        for start in (100.0, 101.0, 102.0):
            assert set(lagging(limiter, 0.5, start, 0.09, Priority.NORMAL)) == {None}

    def test_waiting_within_the_slack_is_never_too_long(self) -> None:
        assert set(lagging(AdaptiveLimiter(slack=0.05), 0.049, 100.0, 2.0, Priority.NORMAL)) == {None}

    def test_slow_methods_can_wait_longer(self) -> None:
        limiter = AdaptiveLimiter(slack=0.005)
        now = serve(limiter, 100.0, 20, 0.2)
        assert limiter.state.methods["EchoService/echo"].baseline == pytest.approx(0.2)
        assert set(lagging(limiter, 0.09, now, 0.5, Priority.NORMAL)) == {None}
        assert lagging(limiter, 0.11, now + 1.0, 0.5, Priority.NORMAL)[-1] == "lag[normal]"

    @pytest.mark.parametrize(("lag", "refused"), [(0.006, 1), (0.012, 2), (0.017, 3), (0.03, 4)])
    def test_what_matters_less_goes_first(self, lag: float, refused: int) -> None:
        outcomes = [lagging(AdaptiveLimiter(slack=0.01), lag, 100.0, 0.5, each)[-1] for each in Priority]
        assert [outcome is not None for outcome in outcomes] == [True] * refused + [False] * (4 - refused)

    def test_it_can_be_seen(self) -> None:
        limiter = AdaptiveLimiter()
        lagging(limiter, 0.25, 100.0, 0.01, Priority.NORMAL)
        assert limiter.state.lag == pytest.approx(0.25)


class TestDeadlines:
    def refusal(self, limiter: AdaptiveLimiter, now: float, left: float) -> Refusal | None:
        call = arrival(now, left=left)
        refusal = limiter.acquire(call, now)
        if refusal is None:
            limiter.release(call, None, 0.05, now + 0.05)
        return refusal

    def test_what_cannot_be_met_is_refused(self) -> None:
        limiter = AdaptiveLimiter()
        now = serve(limiter, 100.0, 30, 0.05)
        assert self.refusal(limiter, now, 0.051) is None
        assert self.refusal(limiter, now, 0.049) is None, "one may try, so that something is learnt"
        refusal = self.refusal(limiter, now + 0.1, 0.049)
        assert refusal is not None
        assert (refusal.limit, refusal.text) == ("deadline", "the deadline is nearer than an answer")
        assert self.refusal(limiter, now + 1.2, 0.049) is None, "and again a second later"

    def test_a_deadline_that_has_passed_is_refused_always(self) -> None:
        limiter = AdaptiveLimiter()
        assert self.refusal(limiter, 100.0, 0.0) is not None
        assert self.refusal(limiter, 100.0, -5.0) is not None

    def test_a_server_that_has_become_faster_is_found_out(self) -> None:
        limiter = AdaptiveLimiter()
        now = serve(limiter, 100.0, 30, 0.5)
        passed = 0
        for number in range(2_000):
            now += 0.01
            call = arrival(now, left=0.1)
            if limiter.acquire(call, now) is None:
                limiter.release(call, None, 0.001, now + 0.001)
                passed += number >= 1_500
        assert passed == 500

    def test_it_can_be_switched_off(self) -> None:
        limiter = AdaptiveLimiter(drop_late=False)
        now = serve(limiter, 100.0, 30, 0.05)
        assert all(self.refusal(limiter, now + number / 10, -1.0) is None for number in range(5))


class TestLearning:
    def test_failures_and_cancelled_calls_say_nothing_of_latency(self) -> None:
        limiter = AdaptiveLimiter()
        now = serve(limiter, 100.0, 30, 0.05)
        for number in range(200):
            call = arrival(now)
            assert limiter.acquire(call, now) is None
            now += 0.001
            limiter.release(call, CancelledError() if number % 2 else ApplicationError(6, "no"), 0.001, now)
        now = serve(limiter, now, 20, 0.05)
        assert limiter.state.methods["EchoService/echo"].fastest == pytest.approx(0.05)

    def test_methods_are_measured_against_themselves(self) -> None:
        """A slow method among fast ones is no overload, whatever their shares are."""
        limiter = AdaptiveLimiter(initial_limit=20)
        now = 100.0
        for _ in range(50):
            now = serve(limiter, now, 20, 0.001, method="fast")
            now = serve(limiter, now, 2, 0.3, method="slow")
        methods = limiter.state.methods
        assert methods["EchoService/fast"].baseline == pytest.approx(0.001)
        assert methods["EchoService/slow"].baseline == pytest.approx(0.3)
        assert limiter.state.limit == 20, "it was never used, so that nothing is known of it"

    @pytest.mark.parametrize("algorithm", ["gradient", "aimd"])
    def test_calls_that_run_out_of_time_lower_the_limit(self, algorithm: str) -> None:
        limiter = AdaptiveLimiter(algorithm=algorithm, initial_limit=20, probe_interval=1000.0)
        now = 100.0
        for number in range(40):
            calls = [call for call in (arrival(now) for _ in range(18)) if limiter.acquire(call, now) is None]
            now += 0.3
            for call in calls:
                limiter.release(call, RpcTimeoutError(0.3) if number > 5 else None, 0.3, now)
        assert limiter.state.limit < 15

    def test_streams_take_no_room_and_say_nothing_of_latency(self) -> None:
        limiter = AdaptiveLimiter(initial_limit=10)
        streams = [arrival(100.0, kind=MethodKind.BIDI_STREAM, method="chat") for _ in range(200)]
        assert all(limiter.acquire(stream, 100.0) is None for stream in streams)
        assert (limiter.state.streams, limiter.state.in_flight) == (200, 0)
        calls = [arrival(100.0) for _ in range(8)]
        assert all(limiter.acquire(call, 100.0) is None for call in calls)
        late = arrival(100.0, kind=MethodKind.BIDI_STREAM, method="chat")
        assert limiter.acquire(late, 100.0) is not None, "a server that is full takes no new ones"
        for stream in streams:
            limiter.release(stream, None, 3600.0, 3700.0)
        assert limiter.state.streams == 0
        assert "EchoService/chat" not in limiter.state.methods
