"""What a decision of a policy costs: microseconds of CPU an operation, in one process, with nothing around it.

To add rows, write a function that returns cases, as :func:`balancers` does, and name it in :func:`cases`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import cycle, repeat

from elanus.call import Call
from elanus.contracts.balancer import Balancer, Picker
from elanus.contracts.breaker import Breaker, Outcome
from elanus.contracts.limiter import Limiter
from elanus.contracts.retrier import Retrier, Retry
from elanus.errors import PluginError, RpcTimeoutError
from elanus.plugins import installed_plugins
from elanus.service import Instance
from elanus.testing.calls import make_call

__all__ = ["Case", "Timed", "cases", "policies"]

#: What is timed: one decision.
Operation = Callable[[], object]

_INSTANCES = 10_000
#: Operations after which a case may settle.
_BATCH = 100
#: Windows of each case, of which the best is shown.
_WINDOWS = 15


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Timed:
    """What a case times.

    :param operation: one decision.
    :param besides: what an operation does besides, such as taking the next call: its time is taken off.
    :param settle: done after each hundred operations, and not timed: ends the calls that were begun, for instance.
    """

    operation: Operation
    besides: Operation = _nothing
    settle: Operation = _nothing


@dataclass(frozen=True)
class Case:
    """One row of the table.

    :param prepare: does beforehand all that shall not be timed.
    :param aim_us: microseconds that it should stay under.
    :param times: operations in a window.
    """

    name: str
    prepare: Callable[[], Timed]
    aim_us: float | None = None
    times: int = 10_000


def cases() -> list[Case]:
    """All rows, in the order of the table."""
    return [*balancers(), *breakers(), *retriers(), *limiters()]


def policies(patterns: Sequence[str] = ()) -> list[str]:
    """Measure the cases whose names fit any of *patterns* (all without one), and give the table as lines.

    A case whose plugin is not installed is left out, and the table says so.
    """
    lines = [f"{'':56} {'us':>10}   aim"]
    for case in cases():
        if patterns and not any(fnmatch(case.name, pattern) for pattern in patterns):
            continue
        try:
            timed = case.prepare()
        except PluginError as error:
            lines.append(f"{case.name:56} left out: {error.message}")
            continue
        each = _time(timed.operation, timed.settle, case.times) - _time(timed.besides, _nothing, case.times)
        verdict = "" if case.aim_us is None else f"{'' if each < case.aim_us else 'MISSED: '}< {case.aim_us:g}"
        lines.append(f"{case.name:56} {each:10,.2f}   {verdict}".rstrip())
    return lines


def _time(operation: Operation, settle: Operation, times: int) -> float:
    """Microseconds of CPU an operation, in the best of some windows: what others do on the machine only adds to it."""
    batch = min(times, _BATCH)
    windows = []
    for _ in range(_WINDOWS if times > 1 else 3):
        taken = 0.0
        for _ in range(times // batch):
            started = time.process_time()
            for _ in repeat(None, batch):
                operation()
            taken += time.process_time() - started
            settle()
        windows.append(taken / times * 1e6)
    return min(windows)


# -- balancers ----------------------------------------------------------------------------------------------------

_BALANCERS: dict[str, tuple[object, float]] = {
    "weighted": ("weighted", 2.0),
    "weighted_interleaved": ("weighted_interleaved", 2.0),
    "weighted_random": ("weighted_random", 2.0),
    "weighted_alias": ("weighted_alias", 2.0),
    "hash": (("hash", {"key": "metadata:user"}), 3.0),
    "hash (bounded)": (("hash", {"key": "metadata:user", "load_factor": 1.25}), 3.0),
    "hash (ketama)": (("hash", {"key": "metadata:user", "placement": "ketama"}), 3.0),
    "latency": ("latency", 2.0),
    "locality over weighted": (("locality", {"inner": "weighted", "prefer": {"zone": "a"}}), 2.0),
    "locality over latency": (("locality", {"inner": "latency", "prefer": {"zone": "a"}}), 2.0),
}


def balancers() -> list[Case]:
    """Of every balancer: a pick, what comes after the call, a first picker, and one after a change."""
    found = []
    for name, (choice, aim_us) in _BALANCERS.items():
        found += [
            Case(f"balancer {name}: pick", _picking(choice), aim_us),
            Case(f"balancer {name}: pick and finished", _calling(choice)),
            Case(f"balancer {name}: first picker", _making(choice), times=1),
            Case(f"balancer {name}: picker after one change", _changing(choice), times=1),
        ]
    return found


def _fleet() -> list[Instance]:
    """10,000 instances in three zones, of weights 1 to 10."""
    return [
        Instance(f"10.0.{number >> 8}.{number & 255}:8888", 1 + number % 10, {"zone": "abc"[number % 3]})
        for number in range(_INSTANCES)
    ]


def _balancer(choice: object) -> Balancer:
    balancer: Balancer = installed_plugins().select("balancer", choice)
    return balancer


def _calls() -> Iterator[Call]:
    """Calls of 4,096 users, again and again."""
    calls = []
    for number in range(4_096):
        call = make_call()
        call.metadata = call.metadata.with_transient({"user": f"user-{number}"})
        calls.append(call)
    return cycle(calls)


def _picking(choice: object) -> Callable[[], Timed]:
    """Picks, with up to a hundred calls in flight."""

    def prepare() -> Timed:
        picker, calls, instants = _balancer(choice).picker(_fleet()), _calls(), _instants()
        pick = picker.pick
        running: list[Instance | None] = []

        def settle() -> None:
            now = next(instants)
            for instance in running:
                assert instance is not None
                picker.finished(instance, None, 0.004, now)
            running.clear()

        return Timed(
            operation=lambda: running.append(pick(next(calls), (), next(instants))),
            besides=lambda: (next(calls), next(instants)),
            settle=settle,
        )

    return prepare


def _calling(choice: object) -> Callable[[], Timed]:
    """Picks, and the word that the call has ended where the picker wants it: as the resolve room does."""

    def prepare() -> Timed:
        picker, calls, instants = _balancer(choice).picker(_fleet()), _calls(), _instants()
        learns = type(picker).finished is not Picker.finished

        def call() -> None:
            now = next(instants)
            instance = picker.pick(next(calls), (), now)
            if learns and instance is not None:
                picker.finished(instance, None, 0.004, now + 0.004)

        return Timed(call, besides=lambda: (next(calls), next(instants)))

    return prepare


def _instants() -> Iterator[float]:
    """20,000 calls a second."""
    now = 1_000.0
    while True:
        now += 5e-5
        yield now


def _making(choice: object) -> Callable[[], Timed]:
    def prepare() -> Timed:
        balancer, instances = _balancer(choice), _fleet()
        return Timed(lambda: balancer.picker(instances))

    return prepare


def _changing(choice: object) -> Callable[[], Timed]:
    def prepare() -> Timed:
        balancer, instances = _balancer(choice), _fleet()
        pickers = [balancer.picker(instances)]
        sets = cycle((instances[1:], instances))
        return Timed(lambda: pickers.append(balancer.picker(next(sets), pickers.pop())))

    return prepare


# -- breakers -----------------------------------------------------------------------------------------------------


def breakers() -> list[Case]:
    """Of a breaker: one ``allow`` and one ``record``, as its room calls them."""
    return [
        Case("breaker window: success, one key", _guarding(Outcome.SUCCESS, 1), 1.5),
        Case("breaker window: success, 10,000 keys", _guarding(Outcome.SUCCESS, _INSTANCES)),
        Case("breaker window: failure, one key", _guarding(Outcome.FAILURE, 1), 1.5),
        Case("breaker window: failure, 10,000 keys", _guarding(Outcome.FAILURE, _INSTANCES)),
        Case("breaker window: refused", _refusing()),
    ]


def _breaker(**options: object) -> Breaker:
    breaker: Breaker = installed_plugins().select("breaker", ("window", options))
    return breaker


def _guarding(outcome: Outcome, keys: int) -> Callable[[], Timed]:
    """Calls of 4 ms that all end alike, and never open the breaker."""

    def prepare() -> Timed:
        breaker, instants = _breaker(error_rate=2.0), _instants()
        allow, record = breaker.allow, breaker.record
        names = cycle([f"10.0.{number >> 8}.{number & 255}:8888" for number in range(keys)])
        for _ in range(keys):
            record(next(names), outcome, 0.004, next(instants))

        def call() -> None:
            key, now = next(names), next(instants)
            allow(key, now)
            record(key, outcome, 0.004, now + 0.004)

        return Timed(call, besides=lambda: (next(names), next(instants)))

    return prepare


def _refusing() -> Callable[[], Timed]:
    def prepare() -> Timed:
        breaker, instants = _breaker(consecutive=1, cooling=1e6), _instants()
        breaker.record("a:1", Outcome.FAILURE, 0.004, next(instants))
        return Timed(lambda: breaker.allow("a:1", next(instants)), besides=lambda: next(instants))

    return prepare


# -- retriers -----------------------------------------------------------------------------------------------------


def retriers() -> list[Case]:
    """Of a retrier: what it decides about a call whose first attempt succeeds, and about one that is tried again."""
    return [
        Case("retrier budget: plan, started, ended", _planning({}), 1.5),
        Case("retrier budget: the same, by outcomes", _planning({"percentage_limit": False}), 1.5),
        Case("retrier budget: the same, with a hedge", _planning({"hedge_after": 0.05}), 1.5),
        Case("retrier budget: one retry in ten calls", _planning({"error_rate": 0.3}, RpcTimeoutError(1.0))),
    ]


def _planning(options: dict[str, object], error: Exception | None = None) -> Callable[[], Timed]:
    """Calls of 4 ms each; with an *error*, one in ten first attempts ends with it."""

    def prepare() -> Timed:
        retrier: Retrier = installed_plugins().select("retrier", ("budget", options))
        call, instants = make_call(), _instants()
        errors = cycle([error, *[None] * 9])

        def decide() -> None:
            now = next(instants)
            plan = retrier.plan(call, now)
            assert plan is not None
            plan.started(call, now)
            if isinstance(plan.ended(call, None, next(errors), 0, now + 0.004), Retry):
                plan.started(call, now + 0.004)
                plan.ended(call, None, None, 0, now + 0.008)

        return Timed(decide, besides=lambda: (next(instants), next(errors)))

    return prepare


# -- limiters -----------------------------------------------------------------------------------------------------

_RULES: dict[str, object] = {"qps": 1e9}
_ALL_RULES: dict[str, object] = {
    "qps": 1e9,
    "concurrency": 1_000,
    "per_service": {"*": _RULES},
    "per_method": {"*": _RULES},
    "per_caller": {"*": _RULES},
}


def limiters() -> list[Case]:
    """Of a limiter: one ``acquire`` and one ``release``, as its room calls them; or an ``acquire`` that is refused."""
    return [
        Case("limiter token: one rule", _admitting(("token", _RULES)), 2.0),
        Case("limiter token: server, service, method, caller", _admitting(("token", _ALL_RULES)), 4.0),
        Case("limiter token: refused", _turning_away(("token", {"qps": 1e-9})), 1.0),
        Case("limiter adaptive: gradient", _admitting("adaptive"), 4.0),
        Case("limiter adaptive: aimd", _admitting(("adaptive", {"algorithm": "aimd"})), 4.0),
        Case("limiter adaptive: refused", _turning_away(("adaptive", {"min_limit": 1, "initial_limit": 1})), 2.0),
    ]


def _limiter(choice: object) -> Limiter:
    limiter: Limiter = installed_plugins().select("limiter", choice)
    return limiter


def _admitting(choice: object) -> Callable[[], Timed]:
    """Calls of 4 ms, one after another."""

    def prepare() -> Timed:
        limiter, call, instants = _limiter(choice), make_call(), _instants()
        acquire, release = limiter.acquire, limiter.release

        def admit() -> None:
            now = next(instants)
            call.timeline[0] = ("start", now)
            assert acquire(call, now) is None
            release(call, None, 0.004, now + 0.004)

        def besides() -> None:
            call.timeline[0] = ("start", next(instants))

        return Timed(admit, besides=besides)

    return prepare


def _turning_away(choice: object) -> Callable[[], Timed]:
    def prepare() -> Timed:
        limiter, first, call, instants = _limiter(choice), make_call(), make_call(), _instants()
        now = next(instants)
        first.timeline[0] = call.timeline[0] = ("start", now)
        limiter.acquire(first, now)
        assert limiter.acquire(call, now) is not None
        return Timed(lambda: limiter.acquire(call, now), besides=lambda: next(instants))

    return prepare
