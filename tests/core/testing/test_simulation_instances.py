"""What happens in simulated instances: real servers with limiters and deadlines, queues, faults, coming and going."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from elanus.contracts.limiter import Limiter, Refusal
from elanus.errors import ApplicationError, ConfigError, ConnectionLostError
from elanus.testing import InTurn
from elanus.testing.simulation import Cold, Evenly, Exponential, Fault, Group, Kind, Users, simulate

if TYPE_CHECKING:
    from elanus.call import Call


class AtMost(Limiter):
    """So many calls at the same time, and twice as many of those with a high priority."""

    name = "at_most"

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0
        self.deadlines: set[bool] = set()

    def acquire(self, call: Call, now: float) -> Refusal | None:
        self.deadlines.add(call.deadline is not None)
        most = self._most * (2 if call.metadata.transient.get("priority") == "high" else 1)
        if self._running >= most:
            return Refusal("at_most", most, "too many")
        self._running += 1
        return None

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        self._running -= 1


def test_a_limiter_runs_in_the_rooms_of_a_real_server() -> None:
    limiter = AtMost(2)
    group = Group(latency=0.1, workers=2, limiter=limiter)
    report = simulate(group, Evenly(200), seconds=10, balancer=InTurn(), timeout=1.0)
    # 2 workers do 20 calls a second, and a call that is taken on never waits.
    assert report.goodput == pytest.approx(20, abs=1)
    assert report.percentile(99) == pytest.approx(0.1005, rel=0.02)
    assert report.refused == report.failed == report.instances[0].refused
    assert report.errors == {"ApplicationError": report.failed}
    assert sum(one.refused for one in report.series) == report.refused
    assert limiter.deadlines == {True}
    assert limiter._running == 0


def test_a_priority_travels_to_the_limiter() -> None:
    group = Group(latency=0.1, workers=4, limiter=AtMost(2))
    kinds = {"low": Kind(), "high": Kind(metadata={"priority": "high"})}
    report = simulate(group, Evenly(100), seconds=20, seed=5, kinds=kinds, balancer=InTurn())
    high, low = (report.kinds[kind].succeeded / report.kinds[kind].calls for kind in ("high", "low"))
    assert high > 4 * low > 0


def test_a_server_ends_what_waits_when_its_deadline_has_passed() -> None:
    """So a queue of those that nobody waits for does not build up."""
    group: dict[str, Any] = {"latency": Exponential(0.010), "workers": 1}
    options: dict[str, Any] = {"balancer": InTurn(), "timeout": 0.5, "seconds": 20, "skip": 5}
    enforced = simulate(Group(**group, server={}), Evenly(200), **options)
    ignored = simulate(Group(**group, server={"enforce_deadline": False}), Evenly(200), **options)
    assert enforced.instances[0].longest_queue < 120 < 1_000 < ignored.instances[0].longest_queue
    assert enforced.goodput > 60
    assert ignored.goodput == 0


def test_a_queue_has_a_bound_if_it_is_told_to() -> None:
    servers: tuple[dict[str, Any] | None, ...] = (None, {})
    for server in servers:
        group = Group(latency=0.1, workers=1, queue=3, server=server)
        report = simulate(group, Evenly(100), seconds=10, balancer=InTurn())
        assert report.instances[0].longest_queue == 3
        assert report.refused == report.failed
        assert report.goodput == pytest.approx(10, abs=1)


# -- what happens to instances ---------------------------------------------------------------------------------------


def test_a_process_that_is_gone_breaks_its_connections_and_refuses_new_ones() -> None:
    groups = [Group(1, latency=0.2), Group(1, latency=0.2, faults=[Fault(3, 6, refusing=True)], name="dying")]
    report = simulate(groups, Evenly(100), seconds=10, balancer=InTurn())
    lost = report.errors["ConnectionLostError"]
    assert set(report.errors) == {"ConnectionLostError"}
    assert 8 <= lost <= 11  # what was in flight: 50 calls/s for 0.2 s
    dying = report.instances[1]
    assert dying.connects_refused > 100
    assert dying.connected == 2
    assert report.load("dying").mean == pytest.approx(350, abs=5)
    assert report.succeeded == 1_000 - lost


def test_a_silent_instance_answers_nothing_and_keeps_its_connections() -> None:
    groups = [Group(1), Group(1, faults=[Fault(3, 6, silent=True)])]
    report = simulate(groups, Evenly(100), seconds=10, timeout=0.2, balancer=InTurn())
    assert report.errors == {"RpcTimeoutError": report.failed}
    assert report.failed == pytest.approx(150, abs=2)
    assert report.instances[1].connected == 1


def test_what_never_answers_is_unfinished_in_the_end() -> None:
    groups = Group(1, faults=[Fault(3.05, silent=True)])
    report = simulate(groups, Evenly(10), seconds=5.05, drain=30, balancer=InTurn())
    assert (report.succeeded, report.failed, report.unfinished) == (30, 0, 20)


def test_a_slow_stretch_shows_in_the_series() -> None:
    group = Group(1, latency=0.010, round_trip=0.0, faults=[Fault(2, 4, slower=10), Fault(3, 4, late=0.5)])
    report = simulate(group, Evenly(100), seconds=6, balancer=InTurn())
    p50 = [one.percentile(50) for one in report.series]
    assert p50[:6] == pytest.approx([0.01, 0.01, 0.1, 0.6, 0.01, 0.01], rel=0.02)


def test_errors_come_at_their_share_and_as_they_are_given() -> None:
    lost = Group(1, errors=0.2, error=lambda: ConnectionLostError("reset by peer", sent=True))
    report = simulate([lost], Evenly(1_000), calls=5_000, seed=9, balancer=InTurn())
    assert report.errors == {"ConnectionLostError": report.failed}
    assert report.failed == pytest.approx(1_000, abs=90)
    more = Group(1, errors=0.2, faults=[Fault(errors=0.5)])
    both = simulate(more, Evenly(1_000), calls=5_000, seed=9, balancer=InTurn())
    assert both.failed == pytest.approx(3_000, abs=110)  # 1 - 0.8 * 0.5


def test_instances_join_and_leave() -> None:
    groups = [Group(1), Group(1, joins=2, name="late"), Group(1, leaves=3, name="early")]
    report = simulate(groups, Evenly(60), seconds=6, seed=1, balancer=InTurn())
    assert (report.failed, report.unfinished) == (0, 0)
    loads = [one.attempts for one in report.instances]
    # 2 s of two instances, 1 s of three, 3 s of two.
    assert loads == pytest.approx([60 + 20 + 90, 20 + 90, 60 + 20], abs=3)
    assert [at for at, _, _ in report.events_named("discovery_change")][1:] == pytest.approx([2.0, 3.0])


def test_a_cold_instance_gets_quick() -> None:
    group = Group(1, latency=0.01, round_trip=0.0, cold=Cold(seconds=4, slower=9))
    report = simulate(group, Evenly(100), seconds=6, balancer=InTurn())
    p50 = [one.percentile(50) for one in report.series]
    assert p50[:6] == pytest.approx([0.08, 0.06, 0.04, 0.02, 0.01, 0.01], rel=0.1)


def test_skipped_seconds_count_in_the_series_alone() -> None:
    group = Group(1, latency=0.01, faults=[Fault(0, 2, slower=20)])
    report = simulate(group, Evenly(100), seconds=5, skip=3, balancer=InTurn())
    assert report.calls == pytest.approx(200, abs=2)
    assert report.latency.greatest < 0.02
    assert report.series[0].percentile(50) > 0.1
    assert [report.since, report.until] == pytest.approx([3, 5])
    assert report.goodput == pytest.approx(100, rel=0.02)


def test_calls_that_end_after_the_skipped_seconds_are_in_the_series_as_well() -> None:
    report = simulate(Group(1, latency=0.8), Evenly(50), seconds=5, skip=2, balancer=InTurn())
    assert [one.percentile(99) for one in report.series[1:5]] == pytest.approx([0.8] * 4, rel=0.01)
    assert report.succeeded == pytest.approx(150, abs=2)


def test_users_wait_after_an_error_even_if_they_do_not_think() -> None:
    report = simulate(Group(1, faults=[Fault(refusing=True)]), Users(2), seconds=1, balancer=InTurn())
    assert report.errors == {"NoInstanceError": report.failed}
    assert 500 < report.failed <= 2_000


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Group(0),
        lambda: Group(workers=0),
        lambda: Group(joins=2, leaves=1),
        lambda: Group(errors=2),
        lambda: Group(round_trip=-1),
        lambda: Fault(3, 2),
        lambda: Fault(slower=0),
        lambda: Cold(0, 2),
        lambda: Users(0),
        lambda: Users(1, after_error=0),
    ],
)
def test_parts_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        wrong()


def test_a_refusal_is_the_servers_answer() -> None:
    """Not the limiter's own error: that stays on the other side of the wire."""
    errors: list[Exception] = []

    def keep(call: Call, error: Exception) -> Exception:
        errors.append(error)
        return error

    group = Group(latency=1.0, workers=1, limiter=AtMost(1))
    simulate(group, Evenly(10), calls=5, balancer=InTurn(), error_handler=keep)
    assert {(type(error), str(error.args[0])) for error in errors} == {
        (ApplicationError, "request over limit: too many")
    }


@pytest.mark.parametrize("given", [{"limiter": AtMost(1)}, {"server": {"limiter": AtMost(1)}}])
def test_one_limiter_is_not_shared_by_several_servers(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="a group of 4 servers with one AtMost for all of them"):
        Group(4, **given)


def test_what_a_limiter_refuses_is_reported_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    report = simulate(Group(latency=1.0, limiter=AtMost(1)), Evenly(100), seconds=5, balancer=InTurn())
    assert report.refused > 400
    assert not [record for record in caplog.records if record.name == "elanus.server"]
