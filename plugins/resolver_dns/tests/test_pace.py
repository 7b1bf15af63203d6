"""When it is looked again."""

import random

import pytest

from elanus_resolver_dns.pace import Pace


def pace(shortest: float = 1.0, longest: float = 30.0) -> Pace:
    return Pace(shortest, longest, random.Random(7))


@pytest.mark.parametrize(
    ("ttl", "questions", "expected"),
    [
        (10, 1, 10),
        (0, 1, 1),
        (86400, 1, 30),
        (float("inf"), 1, 30),
        (1, 100, 20),  # a hundred targets are not asked for every second
        (1, 1000, 30),
    ],
)
def test_the_ttl_decides_within_bounds(ttl: float, questions: int, expected: float) -> None:
    some = pace()
    waits = [some.answered(ttl, questions) for _ in range(200)]
    assert all(expected <= wait <= expected * 1.1 for wait in waits), "never before the TTL is over"
    assert len(set(waits)) > 100, "a fleet does not ask all at once"


def test_failures_are_tried_again_ever_more_slowly() -> None:
    some = pace()
    waits = [some.failed() for _ in range(50)]
    for wait, full in zip(waits, [1, 2, 4, *[5] * 47], strict=True):
        assert full / 2 <= wait <= full
    assert some.failures == 50
    some.answered(5, 1)
    assert some.failures == 0
    assert some.failed() <= 1


def test_failures_are_never_tried_again_faster_than_answers() -> None:
    some = pace(shortest=20.0)
    assert all(10 <= some.failed() <= 20 for _ in range(10))
    some = pace(shortest=0.1, longest=0.5)
    assert all(some.failed() <= 0.5 for _ in range(10))
