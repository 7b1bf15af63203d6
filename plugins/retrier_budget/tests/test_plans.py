"""Single decisions: reasons to stop, pauses, what is worth another attempt, and who shares what."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

import elanus
from elanus.contracts.retrier import STOP, WAIT, Plan, Retry, Stop, Verdict
from elanus.errors import (
    AclError,
    ApplicationError,
    CircuitOpenError,
    ConfigError,
    ConnectFailedError,
    ConnectionLostError,
    NoInstanceError,
    RpcTimeoutError,
)
from elanus.testing import make_call
from elanus_retrier_budget import (
    BackupPolicy,
    Budget,
    BudgetRetrier,
    ExponentialBackOff,
    FailurePolicy,
    FixedBackOff,
    MixedPolicy,
    Policy,
    RandomBackOff,
    RetryOn,
)
from elanus_retrier_budget.plans import duration_text

CALL = make_call()
TIMEOUT = RpcTimeoutError(1.0)


def begun(retrier: BudgetRetrier, call: Any = CALL, now: float = 100.0) -> Plan:
    plan = retrier.plan(call, now)
    assert plan is not None
    plan.started(call, now)
    return plan


def ended(plan: Plan, now: float = 100.0, error: Exception | None = TIMEOUT, running: int = 0) -> Verdict:
    return plan.ended(CALL, None, error, running, now)


def alone(policy: Policy, **options: Any) -> BudgetRetrier:
    """Without breaker or budget in the way of few calls."""
    return BudgetRetrier(policy, budget=None, **options)


def test_it_stops_when_its_attempts_are_used_up() -> None:
    plan = begun(alone(FailurePolicy(max_retry_times=2)))
    for _ in range(2):
        assert ended(plan) == Retry()
        plan.started(CALL, 100.0)
    assert ended(plan) == Stop("retried 2, max_retry_times is 2")


def test_it_stops_when_the_call_has_lasted_too_long() -> None:
    for policy in (FailurePolicy(max_duration=0.5), MixedPolicy(delay=0.1, max_duration=0.5)):
        plan = begun(alone(policy))
        assert ended(plan, 100.5) == Retry(), "exceeded is more than reached"
        plan = begun(alone(policy))
        assert ended(plan, 100.51) == Stop("retry[0] failed, exceed max duration[500ms]")


def test_backups_mind_no_duration_and_no_outcome() -> None:
    plan = begun(alone(BackupPolicy(delay=0.1)))
    assert plan.due(100.1) == Retry()
    assert ended(plan) is STOP
    assert ended(plan, error=None) is STOP


@pytest.mark.parametrize(
    "policy", [BackupPolicy(delay=0.1, max_retry_times=2), MixedPolicy(delay=0.1, max_retry_times=2)]
)
def test_a_hedge_is_asked_for_while_attempts_are_left(policy: Policy) -> None:
    plan = alone(policy).plan(CALL, 100.0)
    assert plan is not None
    assert [plan.started(CALL, 100.0) for _ in range(3)] == [0.1, 0.1, None]


def test_a_mixed_call_waits_for_those_that_run_before_it_gives_up() -> None:
    plan = begun(alone(MixedPolicy(delay=0.1, max_retry_times=1)))
    plan.started(CALL, 100.1)
    assert ended(plan, running=1) is WAIT
    assert isinstance(ended(plan, running=0), Stop)
    assert ended(plan, error=None, running=1) is STOP


def test_unlike_in_kitex_there_is_no_pause_before_a_hedge() -> None:
    plan = begun(alone(MixedPolicy(delay=0.1, back_off=FixedBackOff(1.0))))
    assert plan.due(100.1) == Retry()
    plan = begun(alone(MixedPolicy(delay=0.1, back_off=FixedBackOff(1.0))))
    assert ended(plan) == Retry(1.0)


def test_a_hedge_minds_what_a_retry_minds() -> None:
    plan = begun(alone(MixedPolicy(delay=0.1, max_duration=0.5)))
    assert plan.due(100.51) is WAIT
    retrier = alone(MixedPolicy(delay=0.1), percentage_limit=False)
    for _ in range(10):
        ended(begun(retrier), error=TIMEOUT)
    assert begun(retrier).due(100.1) is WAIT


def test_unlike_in_kitex_a_mixed_call_waits_also_when_its_breaker_is_open() -> None:
    # Kitex returns the first error at once, with its hedge still on the way.
    retrier = alone(MixedPolicy(delay=0.1, max_retry_times=2))
    plan = begun(retrier)
    plan.started(CALL, 100.1)
    for _ in range(10):
        begun(retrier).started(CALL, 100.1)
    assert ended(plan, running=1) is WAIT
    verdict = ended(plan, running=0)
    assert isinstance(verdict, Stop)
    assert "retry circuit break, errRate=0.500, sample=22" in verdict.reason


def test_the_breaker_by_outcomes_forgets_after_ten_seconds() -> None:
    retrier = alone(FailurePolicy(), percentage_limit=False)
    for number in range(9):
        assert ended(begun(retrier, now=100.0 + number / 10), 100.0 + number / 10) == Retry()
    refused = ended(begun(retrier, now=101.0), 101.0)
    assert refused == Stop("retried 0, retry circuit break, errRate=1.000, sample=10")
    assert ended(begun(retrier, now=111.0), 111.0) == Retry()


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (TIMEOUT, True),
        (ApplicationError(6, "bug"), True),
        (ConnectFailedError("refused"), True),
        (CircuitOpenError("a/b/c"), True),
        (KeyError("a declared exception"), False),
        (None, False),
    ],
)
def test_what_the_breaker_counts_as_a_failure(error: Exception | None, counts: bool) -> None:
    retrier = alone(FailurePolicy(), percentage_limit=False)
    for _ in range(10):
        ended(begun(retrier), error=error)
    verdict = ended(begun(retrier))
    assert "errRate=1.000, sample=11" in str(verdict) if counts else verdict == Retry()


@pytest.mark.parametrize("error", [NoInstanceError("echo", "file"), AclError("no"), elanus.StateError("closed")])
def test_what_says_nothing_of_the_service_is_not_counted(error: Exception) -> None:
    retrier = alone(FailurePolicy(), percentage_limit=False)
    for _ in range(100):
        ended(begun(retrier), error=error)
    for _ in range(9):
        assert ended(begun(retrier)) == Retry()


def test_methods_have_breakers_of_their_own() -> None:
    retrier = alone(FailurePolicy(), percentage_limit=False)
    for _ in range(20):
        ended(begun(retrier))
    other = make_call("another")
    assert isinstance(ended(begun(retrier)), Stop)
    assert begun(retrier, other).ended(other, None, TIMEOUT, 0, 100.0) == Retry()


def test_chain_stop_says_so_only_of_what_it_would_have_tried_again() -> None:
    call = make_call()
    call.metadata = elanus.Metadata({}, {"RetryReq": "1"})
    for policy in (FailurePolicy(), BackupPolicy(delay=0.1), MixedPolicy(delay=0.1)):
        plan = alone(policy).plan(call, 100.0)
        assert plan is not None
        assert plan.started(call, 100.0) is None
        assert ended(plan) == Stop("chain stop retry")
        assert ended(plan, error=ApplicationError(6, "bug")) is STOP
        assert ended(plan, error=None) is STOP


def test_pauses() -> None:
    random = Random(1)
    assert FixedBackOff(0.25).pause(3, random) == 0.25
    pauses = [RandomBackOff(0.1, 0.3).pause(1, random) for _ in range(1_000)]
    assert 0.1 <= min(pauses) < 0.11 < 0.29 < max(pauses) < 0.3
    rule = ExponentialBackOff(0.01, 2.0, 1.0)
    for retry, bound in [(1, 0.01), (2, 0.02), (5, 0.16), (9, 1.0), (500, 1.0)]:
        pauses = [rule.pause(retry, random) for _ in range(1_000)]
        assert 0 <= min(pauses) < bound * 0.05
        assert bound * 0.95 < max(pauses) <= bound


def test_a_seed_makes_pauses_foreseeable() -> None:
    policy = FailurePolicy(back_off=ExponentialBackOff())

    def verdicts(seed: int | None) -> list[Verdict]:
        retrier = alone(policy, seed=seed)
        return [ended(begun(retrier, now=float(number * 60)), float(number * 60)) for number in range(5)]

    assert verdicts(7) == verdicts(7) != verdicts(8)
    assert verdicts(None) != verdicts(None)


@pytest.mark.parametrize(
    ("error", "idempotent", "again"),
    [
        (ConnectFailedError("refused"), None, True),
        (NoInstanceError("echo", "file"), None, True),
        (ConnectionLostError("reset"), None, False),
        (ConnectionLostError("reset"), True, True),
        (ConnectionLostError("reset", sent=False), None, True),
        (CircuitOpenError("a/b/c"), True, False),
        (ApplicationError(6, "bug"), True, False),
        (KeyError("declared"), True, False),
        (TIMEOUT, None, True),
    ],
)
def test_what_was_never_sent_may_be_tried_again(error: Exception, idempotent: bool | None, again: bool) -> None:
    call = make_call()
    call.idempotent = idempotent
    assert RetryOn(unsent=True).wanted(call, None, error) is again
    assert RetryOn().wanted(call, None, error) is isinstance(error, RpcTimeoutError), "Kitex: timeouts alone"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ConnectionLostError("reset"),
            "the request was sent, and neither IDL nor options call EchoService/echo idempotent",
        ),
        (CircuitOpenError("a/b/c"), "it was refused on this side, as another attempt would be"),
        (
            ApplicationError(6, "request over limit: qps"),
            "the server refused it, and another attempt would add to its load",
        ),
        (ApplicationError(6, "bug"), ""),
        (KeyError("declared"), ""),
    ],
)
def test_what_is_left_alone_says_why_where_one_would_ask(error: Exception, reason: str) -> None:
    assert ended(begun(BudgetRetrier()), error=error) == Stop(reason)
    assert ended(begun(alone(FailurePolicy())), error=error) is STOP, "Kitex says nothing"
    mixed = alone(MixedPolicy(delay=0.1, on=RetryOn(unsent=True)))
    assert ended(begun(mixed), error=error, running=1) == Stop(reason), "it decides, whoever runs"


def test_the_policy_of_a_method_and_that_of_all_others() -> None:
    retrier = BudgetRetrier(FailurePolicy(), {"pay": None, "list": FailurePolicy(max_retry_times=0)}, budget=None)
    assert retrier.plan(make_call("find"), 1.0) is not None
    assert retrier.plan(make_call("pay"), 1.0) is None
    assert retrier.plan(make_call("list"), 1.0) is None, "no further attempts, no plan"
    assert BudgetRetrier(None).plan(CALL, 1.0) is None
    assert BudgetRetrier(FailurePolicy(), {"*": None}).plan(CALL, 1.0) is None


def test_a_key_of_ones_own() -> None:
    retrier = BudgetRetrier(None, {"caller-a": FailurePolicy()}, key=lambda call: call.caller)
    assert retrier.plan(make_call(caller="caller-a"), 1.0) is not None
    assert retrier.plan(make_call(caller="caller-b"), 1.0) is None


def test_an_update_holds_from_the_next_call_on_and_keeps_what_was_counted() -> None:
    retrier = alone(FailurePolicy(), percentage_limit=False)
    running = begun(retrier)
    for _ in range(10):
        ended(begun(retrier))
    retrier.update("echo", FailurePolicy(error_rate=0.3, max_retry_times=1))
    assert "sample=11" in str(ended(begun(retrier)))
    retrier.update("echo", None)
    assert retrier.plan(CALL, 100.0) is None
    assert isinstance(ended(running), Stop), "a call that runs finishes on what it began with"
    retrier.delete("echo")
    assert retrier.plan(CALL, 100.0) is not None


def test_the_same_instance_on_request() -> None:
    assert not begun(alone(FailurePolicy())).same_instance
    for policy in (
        FailurePolicy(same_instance=True),
        BackupPolicy(delay=0.1, same_instance=True),
        MixedPolicy(delay=0.1, same_instance=True),
    ):
        assert begun(alone(policy)).same_instance


def test_what_is_derived_shares_the_budget_and_the_breakers() -> None:
    retrier = BudgetRetrier(FailurePolicy(), budget=Budget(0.0, 0.3))
    derived = retrier.with_policy(FailurePolicy(max_retry_times=5))
    granted = [ended(begun(each)) == Retry() for each in (retrier, derived, retrier, derived)]
    assert granted == [True, True, True, False]
    verdict = ended(begun(retrier))
    assert isinstance(verdict, Stop)
    assert verdict.reason == (
        "retried 0, retry budget is spent: 3 further attempts of 5 calls in 10 s (share 0, 0.3 a second at least)"
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: FailurePolicy(max_retry_times=6),
        lambda: FailurePolicy(max_duration=-1),
        lambda: FailurePolicy(max_duration=float("nan")),
        lambda: BackupPolicy(delay=0),
        lambda: BackupPolicy(delay=float("inf")),
        lambda: MixedPolicy(delay=-0.1),
        lambda: FixedBackOff(0),
        lambda: RandomBackOff(0.2, 0.2),
        lambda: ExponentialBackOff(0),
        lambda: ExponentialBackOff(2.0, 2.0, 1.0),
        lambda: ExponentialBackOff(0.1, 0.5),
        lambda: Budget(share=-0.1),
        lambda: Budget(min_per_second=float("nan")),
        lambda: BudgetRetrier("failure"),  # type: ignore[arg-type]
        lambda: BudgetRetrier(None, {"find": 3}),  # type: ignore[dict-item]
    ],
)
def test_values_out_of_range(make: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (0.001, "1ms"), (1.5, "1.5s"), (60, "1m0s"), (90.25, "1m30.25s"), (3_661, "1h1m1s")],
)
def test_durations_as_go_prints_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
