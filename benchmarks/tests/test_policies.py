"""The table of policies: every row does what it says, on a small fleet. Nothing here looks at a speed."""

import pytest

from elanus.contracts.balancer import Balancer, Picker
from elanus.errors import PluginError

from .. import policies
from ..policies import Case, Timed, cases


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "_INSTANCES", 40)
    monkeypatch.setattr(policies, "_WINDOWS", 1)


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))
    assert max(map(len, names)) <= 56


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_case_can_be_repeated_and_settled(case: Case) -> None:
    timed = case.prepare()
    for _ in range(3):
        for _ in range(100 if case.times > 1 else 1):
            timed.operation()
        timed.besides()
        timed.settle()


def test_a_pick_is_a_pick_and_its_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Noting(Picker):
        def pick(self, call: object, excluded: object, now: float) -> None:
            told.append("pick")

        def finished(self, *_: object) -> None:
            told.append("finished")

    class Fake(Balancer):
        name = "fake"

        def picker(self, instances: object, previous: Picker | None = None) -> Picker:
            told.append("again" if previous else "first")
            return Noting()

    monkeypatch.setattr(policies, "_BALANCERS", {"fake": (Fake(), 2.0)})
    pick, _, making, changing = policies.balancers()
    pick.prepare().operation()
    making.prepare().operation()
    changing.prepare().operation()
    assert told == ["first", "pick", "first", "first", "again"]


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Timed:
        raise PluginError("no installed plugin offers it")

    rows = [
        Case("balancer quick", lambda: Timed(lambda: None), aim_us=1e9, times=100),
        Case("balancer never", lambda: Timed(lambda: None, besides=lambda: None), aim_us=-1e9, times=100),
        Case("balancer gone", missing),
        Case("breaker", lambda: Timed(lambda: None), times=1),
    ]
    monkeypatch.setattr(policies, "cases", lambda: rows)
    head, quick, never, gone = policies.policies(["balancer*"])
    assert head.split() == ["us", "aim"]
    assert quick.endswith("  < 1e+09")
    assert never.endswith("  MISSED: < -1e+09")
    assert gone == f"{'balancer gone':56} left out: no installed plugin offers it"
    assert len(policies.policies()) == 5
