"""Settings: what they may be, and what happens when they change while calls run."""

from __future__ import annotations

import math

import pytest

import elanus
from elanus.contracts.breaker import Counts, Outcome, State
from elanus_breaker_window import Rules, WindowBreaker, WindowSettings
from elanus_breaker_window.hooks import elanus_breakers

FAILURE, SUCCESS = Outcome.FAILURE, Outcome.SUCCESS
T = 1_000.0


def fail(breaker: WindowBreaker, key: str, times: int) -> None:
    for _ in range(times):
        breaker.record(key, FAILURE, 0.001, T)


def test_the_defaults_are_kitexs() -> None:
    settings = WindowSettings()
    assert (settings.enabled, settings.error_rate, settings.min_samples) == (True, 0.5, 200)
    assert (settings.window, settings.buckets) == (10.0, 100)
    assert (settings.cooling, settings.probe_every, settings.probe_successes) == (5.0, 0.2, 2)
    assert WindowBreaker().rules() == Rules()


def test_by_name() -> None:
    (provider,) = elanus_breakers()
    assert provider.name == "window"
    breaker = provider.build({"error_rate": 1, "keys": {"a": {"min_samples": 5}}})
    assert isinstance(breaker, WindowBreaker)
    assert breaker.rules("b") == Rules(error_rate=1.0)
    assert breaker.rules("a") == Rules(error_rate=1.0, min_samples=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"error_rat": 0.5}, "has no option 'error_rat'. Did you mean 'error_rate'?"),
        ({"error_rate": "half"}, "option 'error_rate' of breaker 'window' is 'half'. Give a number"),
        ({"error_rate": 0}, "option 'error_rate' of breaker 'window' is 0.0. Give a share above 0; above 1"),
        ({"slow_rate": -1}, "option 'slow_rate'"),
        ({"slow_rate": math.inf}, "option 'slow_rate'"),
        ({"slow_after": 0}, "option 'slow_after'"),
        ({"min_samples": 0}, "option 'min_samples' of breaker 'window' is 0. Give 1 or more"),
        ({"errors": 0}, "option 'errors'"),
        ({"consecutive": 0}, "option 'consecutive'"),
        ({"probe_successes": 0}, "option 'probe_successes'"),
        ({"cooling": 0}, "option 'cooling' of breaker 'window' is 0.0. Give seconds from 0.001 on"),
        ({"probe_every": math.inf}, "option 'probe_every'"),
        ({"window": 0}, "option 'window'"),
        ({"buckets": 0}, "option 'buckets' of breaker 'window' is 0. Give 1 to 10000"),
        ({"max_keys": 0}, "option 'max_keys'"),
        ({"keys": {"a": {"window": 5}}}, "has no option 'window'"),
        ({"keys": {"a": 5}}, "option 'keys' of breaker 'window' is {'a': 5}. Give a table of settings for each key"),
        ({"classify": None}, "has no option 'classify' outside of code"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(elanus.ConfigError) as raised:
        WindowBreaker.from_options(options)
    assert message in str(raised.value)


def test_a_key_of_its_own_settings_while_calls_run() -> None:
    breaker = WindowBreaker()
    fail(breaker, "a", 10)
    breaker.update("a", min_samples=10)
    assert dict(breaker.states()) == {}, "judged by the new rules from the next failure on"
    fail(breaker, "a", 1)
    fail(breaker, "b", 11)
    assert dict(breaker.states()) == {"a": State.OPEN}


def test_general_settings_leave_a_keys_own_alone() -> None:
    breaker = WindowBreaker(keys={"a": {"min_samples": 5}})
    breaker.update(error_rate=0.1, min_samples=50)
    assert breaker.rules("a") == Rules(error_rate=0.1, min_samples=5)
    assert breaker.rules() == breaker.rules("b") == Rules(error_rate=0.1, min_samples=50)
    breaker.update("a", error_rate=0.9)
    assert breaker.rules("a") == Rules(error_rate=0.9, min_samples=5)
    breaker.restore("a")
    breaker.restore("never set")
    assert breaker.rules("a") == breaker.rules()


def test_a_wrong_change_changes_nothing() -> None:
    breaker = WindowBreaker(keys={"a": {"min_samples": 5}})
    for changes in ({"min_sample": 5}, {"min_samples": 0}, {"buckets": 5}):
        for key in (None, "a"):
            with pytest.raises(elanus.ConfigError):
                breaker.update(key, error_rate=0.1, **changes)
    assert breaker.rules() == Rules()
    assert breaker.rules("a") == Rules(min_samples=5)


def test_switched_off_and_on_again() -> None:
    breaker = WindowBreaker(consecutive=1)
    fail(breaker, "a", 1)
    fail(breaker, "b", 1)
    breaker.update("a", enabled=False)
    assert breaker.allow("a", T)
    assert not breaker.allow("b", T)
    fail(breaker, "a", 1_000)
    assert breaker.allow("a", T)
    assert breaker.counts("a", T) == Counts()
    breaker.update("a", enabled=True)
    fail(breaker, "a", 1)
    assert not breaker.allow("a", T)
    breaker.update(enabled=False)
    assert dict(breaker.states()) == {"a": State.OPEN}, "'a' says itself that it is on"


def test_a_pause_that_has_begun_follows() -> None:
    breaker = WindowBreaker(consecutive=1, cooling=60)
    fail(breaker, "a", 1)
    assert not breaker.allow("a", T + 10.0)
    breaker.update("a", cooling=8, probe_every=2)
    assert breaker.allow("a", T + 10.0)
    assert not breaker.allow("a", T + 11.0)
    breaker.update(probe_every=0.5)
    assert not breaker.allow("a", T + 11.0), "its own setting counts"
    breaker.restore("a")
    assert breaker.allow("a", T + 11.0)


def test_slow_calls_from_now_on() -> None:
    breaker = WindowBreaker(min_samples=10)
    for _ in range(20):
        breaker.record("a", SUCCESS, 2.0, T)
    breaker.update(slow_after=1.0)
    for _ in range(20):
        assert breaker.allow("a", T)
        breaker.record("a", SUCCESS, 2.0, T)
    assert dict(breaker.states()) == {"a": State.OPEN}, "20 of 40 are known to have been slow"
