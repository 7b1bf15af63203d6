"""The parts that know no clock and no network: the pace of queries, and the layout of what goes to Consul."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import ConfigError
from elanus.service import Instance
from elanus_registry_consul.layout import instances_of, registration, same_service, validate
from elanus_registry_consul.pace import BURST, LONGEST_RETRY, RATE, Pace
from elanus_registry_consul.settings import RegistrySettings

from .fake_agent import entry

OUTCOMES = st.sampled_from(["new", "same", "back", "zero", "missing", "nonsense", "failed"])


@given(st.lists(st.tuples(OUTCOMES, st.floats(0, 5)), max_size=200), st.integers())
def test_no_sequence_of_answers_makes_a_tight_loop(outcomes: list[tuple[str, float]], seed: int) -> None:
    now = 1000.0
    pace = Pace(now, random.Random(seed))
    index, sent = 10, []
    for outcome, took in outcomes:
        pause = pace.pause(now)
        assert 0 <= pause <= max(LONGEST_RETRY, 1 / RATE)
        now += pause
        pace.asked(now)
        sent.append(now)
        now += took
        if outcome == "failed":
            pace.failed(now)
            assert pace.index == 0
            continue
        index += {"new": 1, "back": -3}.get(outcome, 0)
        text = {"zero": "0", "missing": None, "nonsense": "x"}.get(outcome, str(index))
        usable = pace.answered({} if text is None else {"X-Consul-Index": text}, now)
        assert usable == (text == str(index) and index > 0)
        assert pace.index >= 0
    for first, start in enumerate(sent):
        for count, at in enumerate(sent[first:], 1):
            assert count <= BURST + (at - start) * RATE + 1e-6


def test_a_change_after_an_outage_is_asked_for_within_two_seconds() -> None:
    pace = Pace(0.0)
    for now in range(0, 1000, 2):
        pace.asked(now)
        pace.failed(now)
    assert 0 < pace.pause(998) <= LONGEST_RETRY < 2


def test_waits_are_not_in_step() -> None:
    pace = Pace(0.0)
    waits = {pace.wait(30.0) for _ in range(100)}
    assert len(waits) > 50
    assert 27 <= min(waits) < max(waits) <= 30


ADDRESSES = st.sampled_from(["10.0.0.1:80", "[2001:db8::1]:65535", "echo.acme.svc:1"])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)


@given(ADDRESSES, st.integers(1, 65535), st.dictionaries(TEXTS.filter(lambda text: ":" not in text), TEXTS, max_size=4))
def test_what_is_registered_is_what_is_read(address: str, weight: int, tags: dict[str, str]) -> None:
    instance = Instance(address, weight, tags)
    validate("echo", instance)
    body = registration("echo", instance, RegistrySettings())
    assert same_service(instance, body)
    (read,) = instances_of([{"Service": body}])
    assert read == instance
    assert not same_service(Instance(address, weight, {**tags, "more": ""}), body) or "more" in tags
    assert not same_service(Instance(address, weight % 65535 + 1, tags), body)


def test_entries() -> None:
    found = instances_of(
        [
            entry("10.0.0.2:80", 3, "zone:b:c", "bare", ":odd"),
            entry("10.0.0.1:80"),
            entry(":80"),
            entry("10.0.0.2:80", 7),
        ]
    )
    assert found == [Instance("10.0.0.1:80"), Instance("10.0.0.2:80", 3, {"zone": "b:c", "": "odd"})]


@pytest.mark.parametrize("answer", [None, {}, "x", 1])
def test_what_is_no_list_of_entries(answer: object) -> None:
    with pytest.raises(ValueError, match="no list"):
        instances_of(answer)


def test_a_tag_that_consul_cannot_hold_is_named() -> None:
    with pytest.raises(ConfigError, match=r"the tag 'a:b' of 10\.0\.0\.1:80"):
        validate("echo", Instance("10.0.0.1:80", 1, {"a:b": "c"}))
