"""The decisions of a registry's loop, told the time step by step."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.reconcile import Reconcile, Rhythm, Step, StepKind
from elanus.service import Instance

ONE = Instance("10.0.0.1:80")
RHYTHM = Rhythm(renew_every=20.0, check_every=30.0, ttl=60.0, first_retry=0.25, longest_retry=5.0)


def policy(rhythm: Rhythm = RHYTHM) -> Reconcile:
    return Reconcile(rhythm, random.Random(1))


def due(decided: Step | float | None, kind: StepKind) -> Step:
    assert isinstance(decided, Step)
    assert decided.kind is kind
    return decided


def announced(reconcile: Reconcile, now: float = 0.0) -> None:
    reconcile.want("echo", ONE, now)
    reconcile.succeeded(due(reconcile.decide(now), StepKind.ANNOUNCE), now)


def test_nothing_wanted_is_nothing_to_do() -> None:
    assert policy().decide(0.0) is None


def test_what_is_wanted_is_announced_at_once_then_renewed_and_checked() -> None:
    reconcile = policy()
    announced(reconcile)
    assert reconcile.decide(0.0) == 20.0
    reconcile.succeeded(due(reconcile.decide(20.0), StepKind.RENEW), 20.0)
    reconcile.succeeded(due(reconcile.decide(30.0), StepKind.CHECK), 30.0)
    wait = reconcile.decide(30.0)
    assert wait == pytest.approx(10.0)


def test_a_registry_without_leases_is_only_checked() -> None:
    reconcile = policy(Rhythm(renew_every=None, check_every=10.0, ttl=60.0))
    announced(reconcile)
    due(reconcile.decide(10.0), StepKind.CHECK)


@pytest.mark.parametrize("kind", [StepKind.RENEW, StepKind.CHECK])
def test_what_is_gone_is_announced_again(kind: StepKind) -> None:
    reconcile = policy()
    announced(reconcile)
    now = 20.0
    step = due(reconcile.decide(now), StepKind.RENEW)
    if kind is StepKind.CHECK:
        reconcile.succeeded(step, now)
        now = 30.0
        step = due(reconcile.decide(now), StepKind.CHECK)
    reconcile.succeeded(step, now, found=False)
    assert step.announcement.lost_since == now
    reconcile.succeeded(due(reconcile.decide(now), StepKind.ANNOUNCE), now)
    assert step.announcement.lost_since is None
    assert step.announcement.announced_since == now


def test_what_somebody_deletes_each_time_does_not_become_a_tight_loop() -> None:
    reconcile = policy(Rhythm(renew_every=None, check_every=0.0, ttl=60.0, first_retry=0.25))
    reconcile.want("echo", ONE, 0.0)
    now, steps = 0.0, 0
    while now < 10.0:
        decided = reconcile.decide(now)
        if isinstance(decided, Step):
            steps += 1
            reconcile.succeeded(decided, now, found=decided.kind is not StepKind.CHECK)
        else:
            assert decided is not None
            now += max(decided, 1e-3)
    assert steps <= 2 * 10.0 / 0.25 + 2


def test_failures_wait_longer_each_time_up_to_a_cap_and_less_by_chance_alone() -> None:
    reconcile = policy()
    reconcile.want("echo", ONE, 0.0)
    now, waits = 0.0, []
    for _ in range(12):
        reconcile.failed(due(reconcile.decide(now), StepKind.ANNOUNCE), "refused", now)
        wait = reconcile.decide(now)
        assert isinstance(wait, float)
        waits.append(wait)
        now += wait
    full = [min(5.0, 0.25 * 2**n) for n in range(12)]
    assert all(whole / 2 <= wait <= whole for wait, whole in zip(waits, full, strict=True))


def test_a_lease_that_could_not_be_renewed_for_its_ttl_counts_as_lost_and_is_still_tried() -> None:
    reconcile = policy()
    announced(reconcile)
    now, step = 20.0, None
    while now < 90.0:
        decided = reconcile.decide(now)
        if isinstance(decided, Step):
            step = decided
            reconcile.failed(decided, "no answer", now)
        else:
            assert decided is not None
            now += decided
    assert step is not None
    assert step.kind is StepKind.RENEW
    lost = step.announcement.lost_since
    assert lost is not None
    assert 60.0 < lost <= 65.0
    assert step.announcement.last_error == "no answer"


def test_new_weight_is_announced_anew_and_the_same_again_is_not() -> None:
    reconcile = policy()
    announced(reconcile)
    reconcile.want("echo", ONE, 1.0)
    assert isinstance(reconcile.decide(1.0), float)
    reconcile.want("echo", Instance(ONE.address, weight=3), 1.0)
    assert due(reconcile.decide(1.0), StepKind.ANNOUNCE).announcement.instance.weight == 3


def test_release_withdraws_at_once_and_is_tried_again_when_it_fails() -> None:
    reconcile = policy()
    announced(reconcile)
    assert reconcile.release("echo", ONE, 5.0) is not None
    reconcile.failed(due(reconcile.decide(5.0), StepKind.WITHDRAW), "refused", 5.0)
    reconcile.succeeded(due(reconcile.decide(6.0), StepKind.WITHDRAW), 6.0)
    assert reconcile.decide(6.0) is None
    assert reconcile.release("echo", ONE, 7.0) is None


@given(st.lists(st.sampled_from(["ok", "gone", "fail", "release", "want"]), max_size=60), st.integers(0, 1000))
def test_whatever_happens_what_is_wanted_stands_again_after_one_good_spell(events: list[str], seed: int) -> None:
    reconcile = Reconcile(RHYTHM, random.Random(seed))
    reconcile.want("echo", ONE, 0.0)
    now = 0.0
    for event in [*events, "want"]:
        if event == "release":
            reconcile.release("echo", ONE, now)
        elif event == "want":
            reconcile.want("echo", ONE, now)
        else:
            now = _one_step(reconcile, now, event)
    recovered = now
    for _ in range(5):
        now = _one_step(reconcile, now, "ok")
    [announcement] = reconcile.announcements.values()
    assert announcement.standing
    assert announcement.lost_since is None
    assert now - recovered <= 5 * RHYTHM.check_every


def _one_step(reconcile: Reconcile, now: float, outcome: str) -> float:
    decided = reconcile.decide(now)
    if decided is None:
        return now
    if isinstance(decided, float):
        assert decided > 0
        now += decided
        decided = reconcile.decide(now)
    if isinstance(decided, Step):
        if outcome == "fail":
            reconcile.failed(decided, "failed", now)
        else:
            reconcile.succeeded(decided, now, found=outcome == "ok" or decided.kind is StepKind.ANNOUNCE)
    return now
