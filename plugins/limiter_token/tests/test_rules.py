"""Whom a rule is about: services, methods, callers; and rules that change while calls run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.call import Call
from elanus.errors import ConfigError
from elanus.testing import make_call
from elanus_limiter_token import Rule, TokenLimiter


def start(limiter: TokenLimiter, method: str = "echo", caller: str = "web", service: str = "Echo") -> Call | str:
    """A call that runs from now on, or the name of the limit that refused it."""
    call = make_call(method, service=service, caller=caller)
    refusal = limiter.acquire(call, 100.0)
    return call if refusal is None else refusal.limit


def end(limiter: TokenLimiter, call: Call | str) -> None:
    assert isinstance(call, Call), f"refused by {call}"
    limiter.release(call, None, 0.1, 100.1)


def test_calls_in_flight() -> None:
    limiter = TokenLimiter(concurrency=2)
    one, two = start(limiter), start(limiter)
    assert start(limiter) == "concurrency"
    end(limiter, one)
    three = start(limiter)
    assert start(limiter) == "concurrency"
    end(limiter, two)
    end(limiter, three)
    assert limiter.levels()["server"].in_flight == 0


def test_a_method_is_named_with_its_service_or_without() -> None:
    limiter = TokenLimiter(per_method={"Echo/echo": {"concurrency": 1}, "echo": {"concurrency": 2}})
    assert isinstance(start(limiter), Call)
    assert start(limiter) == "per_method[Echo/echo].concurrency", "the longer name counts"
    assert isinstance(start(limiter, service="Other"), Call)
    assert isinstance(start(limiter, service="Third"), Call)
    assert start(limiter, service="Other") == "per_method[echo].concurrency", "one rule, one count"
    assert isinstance(start(limiter, "free"), Call)


@pytest.mark.parametrize("table", ["per_service", "per_method"])
def test_a_star_is_each_of_the_others(table: str) -> None:
    limiter = TokenLimiter(**{table: {"*": {"concurrency": 1}, "Big": {"concurrency": 2}, "big": {"concurrency": 2}}})
    names = ["one", "two", "three"]
    for name in names:
        assert isinstance(start(limiter, method=name, service=name), Call)
    for name in names:
        assert start(limiter, method=name, service=name) == f"{table}[*].concurrency"
    assert isinstance(start(limiter, method="big", service="Big"), Call)
    assert isinstance(start(limiter, method="big", service="Big"), Call)
    assert str(start(limiter, method="big", service="Big")).lower() == f"{table}[big].concurrency"


def test_callers_are_told_apart() -> None:
    limiter = TokenLimiter(per_caller={"*": {"concurrency": 1}, "batch": {"concurrency": 2}, "": {"concurrency": 3}})
    for caller, most in (("web", 1), ("app", 1), ("batch", 2), ("", 3)):
        calls = [start(limiter, caller=caller) for _ in range(most)]
        assert all(isinstance(call, Call) for call in calls)
        assert start(limiter, caller=caller) == f"per_caller[{caller if caller in ('batch', '') else '*'}].concurrency"


def test_without_a_star_other_callers_are_free() -> None:
    limiter = TokenLimiter(per_caller={"batch": {"concurrency": 1}})
    assert all(isinstance(start(limiter), Call) for _ in range(50))


def test_the_number_of_callers_is_bounded_and_those_beyond_share() -> None:
    limiter = TokenLimiter(per_caller={"*": {"concurrency": 1}}, callers=3)
    first = [start(limiter, caller=f"c{number}") for number in range(3)]
    shared = start(limiter, caller="c3")
    assert isinstance(shared, Call)
    assert start(limiter, caller="c4") == "per_caller[*].concurrency", "it shares with c3"
    end(limiter, first[0])
    own = start(limiter, caller="c4")
    assert isinstance(own, Call), "c0 was forgotten for it"
    assert len([name for name in limiter.levels() if name.startswith("per_caller[c")]) == 3
    for call in (*first[1:], shared, own):
        end(limiter, call)


def test_a_caller_is_not_forgotten_while_that_would_give_it_more() -> None:
    limiter = TokenLimiter(per_caller={"*": {"qps": 100}}, callers=1)

    def passed(caller: str, now: float) -> int:
        count = 0
        for _ in range(200):
            call = make_call(caller=caller)
            if limiter.acquire(call, now) is None:
                limiter.release(call, None, 0.0, now)
                count += 1
        return count

    assert passed("one", 100.0) == 10
    assert passed("two", 100.0) == 10, "the shared set"
    assert passed("three", 100.0) == 0
    assert passed("two", 100.05) == 5, "still shared: one's bucket is not as good as new"
    assert passed("two", 100.2) == 10, "one had its tokens back, so two has a place of its own"


def test_changes_while_calls_run() -> None:
    limiter = TokenLimiter(qps=10, per_method={"echo": {"concurrency": 1}})
    running = start(limiter)
    limiter.update(qps=None, per_method={"echo": {"concurrency": 2}})
    other = start(limiter)
    assert isinstance(other, Call), "the one that runs still counts, and two may"
    assert start(limiter) == "per_method[echo].concurrency"
    limiter.update(per_method={})
    assert isinstance(start(limiter), Call)
    end(limiter, running)
    end(limiter, other)
    assert limiter.settings.qps is None


def test_a_lower_rate_keeps_no_more_tokens_than_it_has_room_for() -> None:
    limiter = TokenLimiter(qps=1000)
    start(limiter)
    limiter.update(qps=5)
    assert limiter.levels()["server"].tokens == 5.0
    limiter.update(qps=1000)
    assert limiter.levels()["server"].tokens == 5.0, "raising it gives no tokens away"


def test_cutting_and_connections_can_be_changed_too() -> None:
    limiter = TokenLimiter(connections=1)
    assert limiter.admit("a", 1.0) is None
    full = limiter.admit("b", 1.0)
    assert full is not None
    assert (full.limit, full.value, full.text) == ("connections", 1, "too many connections (connections = 1)")
    limiter.update(connections=2, qps=1, cut=True)
    assert limiter.admit("b", 1.0) is None
    limiter.update(connections=0)
    assert [limiter.admit("c", 1.0) for _ in range(100)] == [None] * 100
    assert limiter.connections == 102
    start(limiter)
    refusal = limiter.acquire(make_call(service="Echo"), 100.0)
    assert refusal is not None
    assert refusal.cut


def test_a_wrong_change_changes_nothing() -> None:
    limiter = TokenLimiter(concurrency=1, per_caller={"a": {"qps": 3}})
    before = limiter.settings
    for wrong in ({"qps": "many"}, {"concurrency": 5, "qsp": 3}, {"per_caller": {"b": {"qqs": 1}}}, {"callers": 0}):
        with pytest.raises(ConfigError):
            limiter.update(**wrong)
    assert limiter.settings == before
    start(limiter)
    assert start(limiter) == "concurrency"


def test_rules_may_be_objects() -> None:
    limiter = TokenLimiter(per_method={"echo": Rule(concurrency=1)})
    start(limiter)
    assert start(limiter) == "per_method[echo].concurrency"


@given(
    concurrency=st.integers(1, 8),
    own=st.integers(1, 8),
    steps=st.lists(st.tuples(st.sampled_from("se"), st.sampled_from(["a", "b"]), st.integers(0, 30)), max_size=150),
    changes=st.dictionaries(st.integers(0, 150), st.integers(1, 8)),
)
def test_in_flight_is_never_negative_nor_let_over_the_limit(
    concurrency: int, own: int, steps: list[tuple[str, str, int]], changes: dict[int, int]
) -> None:
    limiter = TokenLimiter(concurrency=concurrency, per_caller={"*": {"concurrency": own}})
    running: list[Call] = []
    for number, (what, caller, which) in enumerate(steps):
        if number in changes:
            concurrency = changes[number]
            limiter.update(concurrency=concurrency)
        if what == "s":
            mine = sum(call.caller == caller for call in running)
            call = make_call(caller=caller)
            allowed = limiter.acquire(call, 100.0 + number) is None
            assert allowed == (len(running) < concurrency and mine < own)
            if allowed:
                running.append(call)
        elif running:
            limiter.release(running.pop(which % len(running)), None, 1.0, 100.0 + number)
        levels = limiter.levels()
        assert levels.get("server") is None or levels["server"].in_flight == len(running)
        for name in {call.caller for call in running}:
            assert levels[f"per_caller[{name}]"].in_flight == sum(call.caller == name for call in running)
