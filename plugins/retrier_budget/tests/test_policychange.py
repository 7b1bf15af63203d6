"""Policies as JSON: ``kitex-tests thriftrpc/retrycall/policychange_test.go``, and the way there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import ConfigError
from elanus_retrier_budget import (
    BackupPolicy,
    BudgetRetrier,
    ExponentialBackOff,
    FailurePolicy,
    FixedBackOff,
    MixedPolicy,
    Policy,
    RandomBackOff,
    from_json,
    to_json,
)
from elanus_retrier_budget.policies import Kind

# With keys that are none of Kitex's: "min_sample", and a structure beside the text of "extra".
STOP = {
    "max_retry_times": 2,
    "max_duration_ms": 0,
    "disable_chain_stop": False,
    "ddl_stop": False,
    "cb_policy": {"error_rate": 0.1, "min_sample": 200},
}
EXTRA = {"not_retry_for_timeout": False, "rpc_retry_code": {"all_error_code": False, "error_codes": [103, 1204]}}
PART = {
    "retry_delay_ms": 10,
    "stop_policy": STOP,
    "backoff_policy": {"backoff_type": "none"},
    "retry_same_node": False,
    "extra": json.dumps(EXTRA),
    "extra_struct": EXTRA,
}
NAMES = ["failure_policy", "backup_policy", "mixed_policy"]
KINDS = ["Failure", "Backup", "Mixed"]

FAILURE_NIL = "FailurePolicy is nil or retry type not match(type={}), cannot do update in failureRetryer"
BACKUP_NIL = "BackupPolicy is nil or retry type not match(type={}), cannot do update in backupRetryer"
MIXED_NIL = "MixedPolicy is nil or retry type not match(type={}), cannot do update in mixedRetryer"


def _times(number: int) -> dict[str, int]:
    return {"max_retry_times": number}


def document(kind: int, *names: str, **parts: Any) -> dict[str, Any]:
    return {"enable": True, "type": kind} | dict.fromkeys(names, PART) | parts


@pytest.mark.parametrize(
    ("kind", "given_document"),
    [
        *((kind, document(kind, NAMES[kind])) for kind in range(3)),
        (0, document(0, failure_policy={})),
        (0, document(0, "backup_policy", "failure_policy")),
        (1, document(1, "backup_policy", "failure_policy")),
        (2, document(2, "mixed_policy", "failure_policy")),
        (2, document(2, "mixed_policy", failure_policy={})),
        (2, document(2, "mixed_policy", failure_policy={"stop_policy": {"cb_policy": {"error_rate": 0}}})),
    ],
)
def test_what_holds(kind: int, given_document: dict[str, Any]) -> None:
    retrier = BudgetRetrier(None)
    assert retrier.update("mockMethod", json.dumps(given_document), remote=True)
    assert retrier.message == f"new retryer[mockMethod-{KINDS[kind]}]"
    policy = retrier.policies["mockMethod"]
    assert policy is not None
    assert policy.kind == kind
    told = retrier.dump()["policies"]["mockMethod"]
    assert told["enable"] is True
    assert NAMES[kind] in told


@pytest.mark.parametrize(
    ("kind", "given_document", "text"),
    [
        ("", document(3, new_policy=PART), FAILURE_NIL.format("")),
        ("Failure", document(0, "mixed_policy"), FAILURE_NIL.format("Failure")),
        ("Failure", document(0, "backup_policy"), FAILURE_NIL.format("Failure")),
        ("Failure", document(0), FAILURE_NIL.format("Failure")),
        ("Backup", document(1, "failure_policy"), BACKUP_NIL.format("Backup")),
        ("Backup", document(1, "mixed_policy"), BACKUP_NIL.format("Backup")),
        ("Backup", document(1), BACKUP_NIL.format("Backup")),
        ("Backup", document(1, backup_policy={}), "invalid retry delay duration in backupRetryer"),
        ("Mixed", document(2, "failure_policy"), MIXED_NIL.format("Mixed")),
        ("Mixed", document(2, backup_policy={}), MIXED_NIL.format("Mixed")),
        ("Mixed", document(2), MIXED_NIL.format("Mixed")),
        ("Mixed", document(2, mixed_policy={}), "invalid retry delay duration in mixedRetryer"),
        ("Failure", document(0, failure_policy={"stop_policy": {"max_retry_times": 6}}), "invalid MaxRetryTimes[6]"),
        ("Failure", document(0, failure_policy={"stop_policy": {"max_retry_times": -1}}), "invalid MaxRetryTimes[-1]"),
        (
            "Backup",
            document(1, backup_policy=PART | {"stop_policy": _times(3)}),
            "invalid MaxRetryTimes[3]",
        ),
        ("Mixed", document(2, mixed_policy=PART | {"stop_policy": _times(4)}), "invalid MaxRetryTimes[4]"),
        # Kitex logs these three and goes on without a pause.
        ("Failure", document(0, failure_policy={"backoff_policy": {"backoff_type": "x"}}), "invalid backoffType=x"),
        (
            "Failure",
            document(0, failure_policy={"backoff_policy": {"backoff_type": "fixed", "cfg_items": {"fix_ms": 0}}}),
            "invalid FixedBackOff, fixMS=0",
        ),
        (
            "Failure",
            document(
                0,
                failure_policy={
                    "backoff_policy": {"backoff_type": "random", "cfg_items": {"min_ms": 20, "max_ms": 10}}
                },
            ),
            "invalid RandomBackOff, minMS=20, maxMS=10",
        ),
    ],
)
def test_what_is_refused(kind: str, given_document: dict[str, Any], text: str) -> None:
    retrier = BudgetRetrier(None)
    before = FailurePolicy(max_retry_times=1)
    retrier.update("kept", before)
    for key in ("mockMethod", "kept"):
        with pytest.raises(ConfigError) as caught:
            retrier.update(key, given_document, remote=True)
        assert caught.value.message == text
        assert caught.value.hint
        assert retrier.message == f"new retryer[{key}-{kind}] failed, err={text}"
    # Kitex drops the policy that held before, when the new one is of another kind; here it holds on.
    assert retrier.policies == {"kept": before}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"enable": "yes"}', '{"enable": true, "type": "0"}', '{"enable": true, "type": true}'],
)
def test_what_is_no_policy_at_all(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BudgetRetrier(None).update("find", text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_retry_times", 1.5), ("max_retry_times", "1"), ("disable_chain_stop", 1), ("cb_policy", 3), ("ddl_stop", [])],
)
def test_values_of_the_wrong_type_are_named(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' of a retry policy is"):
        from_json(document(0, failure_policy={"stop_policy": {key: value}}))


def test_one_that_is_not_enabled_means_a_single_attempt() -> None:
    retrier = BudgetRetrier(None)
    assert retrier.update("*", document(0, "failure_policy"))
    assert retrier.update("mockMethod", document(2, "mixed_policy", enable=False))
    assert retrier.message == "disable retryer[mockMethod-Mixed](enable=false)"
    assert retrier.policies["mockMethod"] is None, "and not what holds for every method"


def test_a_change_in_kind_and_one_within_it() -> None:
    retrier = BudgetRetrier(None)
    retrier.update("find", FailurePolicy())
    retrier.update("find", FailurePolicy(max_retry_times=1))
    assert retrier.message == "update retryer[find-Failure]"
    retrier.update("find", BackupPolicy(delay=0.1))
    assert retrier.message == "new retryer[find-Backup]"
    assert retrier.delete("find")
    assert retrier.message == "delete retryer[find]"
    assert not retrier.delete("find")


def test_what_code_has_set_no_source_of_configuration_replaces() -> None:
    policy = FailurePolicy()
    for retrier in (BudgetRetrier(policy), BudgetRetrier(methods={"pay": policy})):
        before = dict(retrier.policies)
        assert not retrier.update("find", BackupPolicy(delay=0.1), remote=True)
        assert not retrier.delete("*", remote=True)
        assert dict(retrier.policies) == before
        assert retrier.dump()["has_code_cfg"] is True
        assert retrier.update("find", BackupPolicy(delay=0.1)), "code itself may"
    for retrier in (BudgetRetrier(), BudgetRetrier(None), BudgetRetrier(None, {"pay": None})):
        assert retrier.dump()["has_code_cfg"] is False
        assert retrier.update("find", BackupPolicy(delay=0.1), remote=True)


def test_an_error_rate_that_makes_no_sense_is_that_of_kitex() -> None:
    for rate in (0, -1, 0.31, 7):
        policy = from_json(document(0, failure_policy={"stop_policy": {"cb_policy": {"error_rate": rate}}}))
        assert policy is not None
        assert policy.error_rate == 0.1
        with pytest.raises(ConfigError, match="invalid retry circuit breaker rate"):
            FailurePolicy(error_rate=rate)


milliseconds = st.integers(1, 4_000_000).map(lambda number: number / 1000)
shared = {
    "chain_stop": st.booleans(),
    "deadline_stop": st.booleans(),
    "error_rate": st.floats(0.001, 0.3),
    "same_instance": st.booleans(),
}
back_offs = st.one_of(
    st.just(FailurePolicy().back_off),
    st.builds(FixedBackOff, milliseconds),
    st.tuples(milliseconds, milliseconds).map(lambda pair: RandomBackOff(pair[0], sum(pair))),
    st.builds(
        lambda first, more, by: ExponentialBackOff(first, by, first + more), milliseconds, milliseconds, st.floats(1, 9)
    ),
)
sequential = shared | {"max_duration": st.just(0.0) | milliseconds, "back_off": back_offs, "extra": st.text()}
policies: st.SearchStrategy[Policy] = st.one_of(
    st.builds(FailurePolicy, max_retry_times=st.integers(0, 5), **sequential),
    st.builds(BackupPolicy, max_retry_times=st.integers(0, 2), delay=milliseconds, **shared),
    st.builds(MixedPolicy, max_retry_times=st.integers(0, 3), delay=milliseconds, **sequential),
)


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 6) if isinstance(value, float) else value


@given(policies)
def test_there_and_back(policy: Policy) -> None:
    text = json.dumps(to_json(policy))
    again = from_json(text)
    assert again is not None
    assert type(again) is type(policy)
    assert again.kind == Kind(json.loads(text)["type"])
    assert rounded(to_json(again)) == rounded(to_json(policy))


def test_nothing_there_and_back() -> None:
    assert from_json(to_json(None)) is None
