"""The suite of the limiter contract. A plugin's test subclasses it and says how to make its limiter."""

from __future__ import annotations

import re
from asyncio import CancelledError
from dataclasses import FrozenInstanceError
from random import Random
from typing import TYPE_CHECKING

import pytest

from elanus.contracts.limiter import Limiter, Refusal
from elanus.deadline import Deadline
from elanus.errors import ApplicationError, RpcTimeoutError
from elanus.metadata import Metadata
from elanus.priority import Priority
from elanus.service import MethodKind
from elanus.testing.calls import make_call
from elanus.testing.suite import Suite

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["LimiterSuite"]

#: Where the suite's time begins, in seconds.
_START = 50_000.0


class LimiterSuite(Suite):
    """What every limiter does. Subclass as ``TestXxx`` and override :meth:`limiter`.

    Behaviours that may go into ``unsupported``: ``"refuses calls"`` (a limiter of connections alone),
    ``"refuses connections"`` (one of calls alone).
    """

    #: Seconds after which a limiter whose calls are all over lets calls pass again.
    recovery = 10.0

    def limiter(self) -> Limiter:
        """A new limiter. After a quiet time it lets at least one call pass and one connection in; it refuses some of
        10,000 calls that come at one instant and do not end, and some of 10,000 connections.
        """
        raise NotImplementedError

    def call(self, now: float, *, method: str = "echo", caller: str = "tests", kind: MethodKind | None = None) -> Call:
        """A call that was read at *now*, as the room that asks a limiter sees it: not decoded."""
        call = make_call(method, caller=caller, kind=kind)
        call.timeline = [("start", now)]
        call.peer = "10.0.0.1:40000"
        return call

    def flood(self, limiter: Limiter, now: float, calls: int = 10_000) -> tuple[list[Call], list[Refusal]]:
        """The outcome of *calls* that come at once: those that passed, which still run, and the refusals."""
        passed, refusals = [], []
        for _ in range(calls):
            call = self.call(now)
            refusal = limiter.acquire(call, now)
            if refusal is None:
                passed.append(call)
            else:
                refusals.append(refusal)
        return passed, refusals

    def passes(self, limiter: Limiter, now: float, **of: str) -> bool:
        """Whether one call passes; if so, it ends a millisecond later."""
        call = self.call(now, **of)  # type: ignore[arg-type]  # texts only
        if limiter.acquire(call, now) is not None:
            return False
        limiter.release(call, None, 0.001, now + 0.001)
        return True

    def test_it_has_a_name_that_users_can_write(self) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", self.limiter().name)

    def test_it_is_a_limiter(self) -> None:
        assert isinstance(self.limiter(), Limiter)

    def test_a_fresh_one_lets_a_call_pass(self) -> None:
        assert self.passes(self.limiter(), _START)

    def test_a_flood_is_refused_with_a_name_and_a_text(self) -> None:
        self.requires("refuses calls")
        passed, refusals = self.flood(self.limiter(), _START)
        assert passed, "nothing passed at all"
        assert refusals, "everything passed"
        for refusal in refusals:
            assert isinstance(refusal, Refusal)
            assert refusal.limit
            assert refusal.text
            assert not refusal.text.endswith(".")

    def test_a_flood_names_few_limits(self) -> None:
        self.requires("refuses calls")
        _, refusals = self.flood(self.limiter(), _START)
        assert len({refusal.limit for refusal in refusals}) <= 8, "refusals are counted by the name of their limit"

    def test_cutting_is_off_unless_it_was_asked_for(self) -> None:
        self.requires("refuses calls")
        assert not any(refusal.cut for refusal in self.flood(self.limiter(), _START)[1])

    def test_a_refusal_cannot_be_changed(self) -> None:
        self.requires("refuses calls")
        refusal = self.flood(self.limiter(), _START)[1][0]
        with pytest.raises(FrozenInstanceError):
            refusal.limit = "other"  # type: ignore[misc]

    def test_it_never_looks_at_the_body(self) -> None:
        class Undecoded:
            def __getattribute__(self, name: str) -> object:
                raise AssertionError(f"the body was asked for {name!r} before it was decoded")

        limiter, call = self.limiter(), self.call(_START)
        call.argument_payload = Undecoded()  # type: ignore[assignment]
        assert limiter.acquire(call, _START) is None
        limiter.release(call, None, 0.001, _START + 0.001)

    def test_when_all_calls_are_over_calls_pass_again(self) -> None:
        limiter, now = self.limiter(), _START
        for _ in range(3):
            passed, _ = self.flood(limiter, now)
            for call in passed:
                limiter.release(call, None, 0.01, now + 0.01)
            now += self.recovery
            assert self.passes(limiter, now)

    def test_refused_calls_are_not_in_flight(self) -> None:
        limiter = self.limiter()
        passed, _ = self.flood(limiter, _START)
        self.flood(limiter, _START)
        for call in passed:
            limiter.release(call, None, 0.01, _START + 0.01)
        again, _ = self.flood(limiter, _START + self.recovery)
        assert again

    def test_every_outcome_may_be_reported(self) -> None:
        limiter, now = self.limiter(), _START
        outcomes: list[BaseException | None] = [
            None,
            RpcTimeoutError(1.0, limit="deadline"),
            ApplicationError(6, "biz error"),
            CancelledError(),
            ValueError("a bug"),
            GeneratorExit(),
        ]
        for error in outcomes * 50:
            now += self.recovery
            call = self.call(now)
            assert limiter.acquire(call, now) is None
            limiter.release(call, error, 0.25, now + 0.25)

    def test_what_a_middleware_changes_on_a_call_is_no_hindrance(self) -> None:
        limiter, now = self.limiter(), _START
        for number in range(200):
            now += self.recovery
            call = self.call(now, caller="before")
            call.metadata = Metadata(transient={"tenant": "a"}, persistent={"elanus-priority": "high", "tenant": "a"})
            assert limiter.acquire(call, now) is None, f"refused after {number} calls that are over"
            call.metadata = Metadata() if number % 2 else Metadata(persistent={"tenant": "b"})
            call.caller, call.peer, call.deadline = "after", "10.0.0.9:1", Deadline(now + 1.0)
            call.headers = {}
            limiter.release(call, None, 0.001, now + 0.001)

    def test_calls_may_end_in_any_order(self) -> None:
        limiter, chance, now = self.limiter(), Random(7), _START
        running: list[Call] = []
        for _ in range(5_000):
            now += chance.random() / 100
            if running and chance.random() < 0.5:
                call = running.pop(chance.randrange(len(running)))
                limiter.release(call, None, now - call.timeline[0][1], now)
            else:
                call = self.call(now, method=chance.choice(["echo", "get"]), caller=chance.choice(["a", "b", ""]))
                if limiter.acquire(call, now) is None:
                    running.append(call)
        for call in running:
            limiter.release(call, None, 1.0, now + 1.0)
        assert self.passes(limiter, now + 1.0 + self.recovery)

    @pytest.mark.parametrize("kind", MethodKind)
    def test_calls_of_every_kind_pass(self, kind: MethodKind) -> None:
        limiter, call = self.limiter(), self.call(_START, kind=kind)
        assert limiter.acquire(call, _START) is None
        limiter.release(call, None, 60.0, _START + 60.0)
        assert self.passes(limiter, _START + 60.0 + self.recovery)

    @pytest.mark.parametrize("priority", Priority)
    def test_a_server_with_nothing_to_do_takes_calls_of_every_priority(self, priority: Priority) -> None:
        limiter, call = self.limiter(), self.call(_START)
        call.metadata = priority.metadata
        assert limiter.acquire(call, _START) is None
        limiter.release(call, None, 0.001, _START + 0.001)

    def test_what_peers_write_is_no_danger(self) -> None:
        limiter = self.limiter()
        for number, name in enumerate(["", "*", "\0", "a/b", "ü" * 1_000, "server"]):
            now = _START + number * self.recovery
            call = self.call(now, caller=name)
            call.metadata = Metadata(persistent={"elanus-priority": name, name: name})
            assert limiter.acquire(call, now) is None
            limiter.release(call, None, 0.001, now + 0.001)

    def test_a_deadline_that_is_far_is_no_hindrance(self) -> None:
        limiter, call = self.limiter(), self.call(_START)
        call.deadline = Deadline(_START + 3600.0)
        assert limiter.acquire(call, _START) is None
        limiter.release(call, None, 0.001, _START + 0.001)

    def test_years_may_pass_between_two_calls(self) -> None:
        limiter = self.limiter()
        assert self.passes(limiter, _START)
        assert self.passes(limiter, _START + 1e8)

    def test_many_callers_are_no_burden(self) -> None:
        limiter = self.limiter()
        for number in range(20_000):
            now = _START + number * self.recovery
            assert self.passes(limiter, now, caller=f"caller {number}")

    def test_two_of_them_share_nothing(self) -> None:
        self.requires("refuses calls")
        one, other = self.limiter(), self.limiter()
        self.flood(one, _START)
        assert self.passes(other, _START)

    def test_connections_come_and_go(self) -> None:
        limiter = self.limiter()
        for number in range(20_000):
            assert limiter.admit(f"10.0.0.1:{number}", _START + number) is None
            limiter.left(f"10.0.0.1:{number}", _START + number + 0.5)

    def test_too_many_connections_are_refused_until_one_leaves(self) -> None:
        self.requires("refuses connections")
        limiter, admitted = self.limiter(), list[str]()
        refusal = None
        for number in range(10_000):
            refusal = limiter.admit(f"10.0.0.1:{number}", _START)
            if refusal is not None:
                break
            admitted.append(f"10.0.0.1:{number}")
        assert isinstance(refusal, Refusal)
        assert admitted
        limiter.left(admitted.pop(), _START + self.recovery)
        assert limiter.admit("10.0.0.2:1", _START + self.recovery) is None

    def test_connections_that_were_refused_do_not_count(self) -> None:
        limiter = self.limiter()
        admitted = [f"unix {number}" for number in range(10_000) if limiter.admit(f"unix {number}", _START) is None]
        for peer in admitted:
            limiter.left(peer, _START + 1.0)
        later = _START + 1.0 + self.recovery
        again = [peer for peer in admitted if limiter.admit(peer, later) is None]
        assert again
