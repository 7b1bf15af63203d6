"""What users write: the name and its options; and what importing the hooks costs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import elanus_retrier_budget
from elanus.errors import ConfigError
from elanus_retrier_budget import (
    BackupPolicy,
    Budget,
    BudgetRetrier,
    ExponentialBackOff,
    FailurePolicy,
    MixedPolicy,
    RetryOn,
    to_json,
)
from elanus_retrier_budget.hooks import elanus_retriers
from elanus_retrier_budget.policies import DEFAULT_POLICY


def build(**options: Any) -> BudgetRetrier:
    (provider,) = elanus_retriers()
    retrier = provider.build(options)
    assert isinstance(retrier, BudgetRetrier)
    return retrier


def test_the_name_that_is_offered() -> None:
    assert [provider.name for provider in elanus_retriers()] == ["budget"]
    assert build().name == "budget"
    assert build() is not build()


def test_by_name_and_by_object_are_the_same_without_options() -> None:
    assert build().policies == BudgetRetrier().policies == {"*": DEFAULT_POLICY}
    assert FailurePolicy(on=RetryOn(unsent=True), back_off=ExponentialBackOff()) == DEFAULT_POLICY


def test_plain_words() -> None:
    retrier = build(retries=3, hedge_after=0.05, first_pause=0, longest_pause=0, max_duration=2, same_instance=True)
    assert retrier.policies["*"] == MixedPolicy(
        delay=0.05, max_retry_times=3, max_duration=2.0, same_instance=True, on=RetryOn(unsent=True)
    )
    retrier = build(retries=5, first_pause=0.1, longest_pause=0.4, chain_stop=False, error_rate=0.2)
    back_off = ExponentialBackOff(0.1, longest=0.4)
    assert retrier.policies["*"] == FailurePolicy(
        max_retry_times=5, back_off=back_off, chain_stop=False, error_rate=0.2, on=RetryOn(unsent=True)
    )


@pytest.mark.parametrize("read", [True, False])
def test_policies_as_json(read: bool) -> None:
    document = {"find": to_json(BackupPolicy(delay=0.02)), "pay": {"enable": False}}
    retrier = build(policies=document if read else json.dumps(document), share=0.5, min_per_second=1)
    assert retrier.policies == {"*": DEFAULT_POLICY, "find": BackupPolicy(delay=0.02), "pay": None}
    assert retrier.set_in_code
    assert build(policies={"*": to_json(FailurePolicy())}).policies == {"*": FailurePolicy()}


def test_the_budget() -> None:
    retrier = build(share=0.5, min_per_second=1)
    assert retrier._purse is not None
    assert retrier._purse.budget == Budget(0.5, 1.0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"retry": 3}, "has no option 'retry'"),
        ({"retries": "3"}, "'retries'"),
        ({"retries": 6}, r"invalid MaxRetryTimes\[6\]"),
        ({"retries": 4, "hedge_after": 0.1}, r"invalid MaxRetryTimes\[4\]"),
        ({"hedge_after": 0}, "invalid retry delay duration in mixedRetryer"),
        ({"first_pause": 0}, "invalid ExponentialBackOff"),
        ({"share": -1}, "share"),
        ({"policies": "{"}, "no JSON"),
        ({"policies": {"find": 3}}, "the retry policy of 'find' is 3"),
        ({"policies": {"find": {"enable": True, "type": 1}}}, "BackupPolicy is nil"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        build(**options)
    assert caught.value.hint


def test_every_exported_name_is_there() -> None:
    for name in elanus_retrier_budget.__all__:
        assert getattr(elanus_retrier_budget, name).__module__.startswith("elanus_retrier_budget")
    with pytest.raises(AttributeError):
        _ = elanus_retrier_budget.nothing  # type: ignore[attr-defined]
    assert set(elanus_retrier_budget.__all__) <= set(dir(elanus_retrier_budget))


def test_the_hooks_import_nothing_of_the_rest() -> None:
    code = (
        "import sys, elanus_retrier_budget.hooks\n"
        "print(sorted(name for name in sys.modules if name.startswith('elanus_retrier_budget')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['elanus_retrier_budget', 'elanus_retrier_budget.hooks']"
