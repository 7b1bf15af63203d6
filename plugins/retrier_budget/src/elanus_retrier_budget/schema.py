"""Policies as JSON, in Kitex's form and with its messages (``pkg/retry/policy.go``). Its times are milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from elanus.errors import ConfigError
from elanus_retrier_budget.back_off import (
    NO_BACK_OFF,
    BackOff,
    ExponentialBackOff,
    FixedBackOff,
    NoBackOff,
    RandomBackOff,
)
from elanus_retrier_budget.policies import (
    DEFAULT_ERROR_RATE,
    MOST_ERROR_RATE,
    BackupPolicy,
    FailurePolicy,
    Kind,
    MixedPolicy,
    Policy,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["from_json", "kind_name", "read_document", "to_json"]

_T = TypeVar("_T")

#: By the number of the kind: its key in the JSON, and the words of its messages.
_WORDS = {
    Kind.FAILURE: ("failure_policy", "FailurePolicy", "failureRetryer"),
    Kind.BACKUP: ("backup_policy", "BackupPolicy", "backupRetryer"),
    Kind.MIXED: ("mixed_policy", "MixedPolicy", "mixedRetryer"),
}


def kind_name(number: object) -> str:
    """Kitex's word for a kind: ``"Failure"``, ``"Backup"``, ``"Mixed"``, and nothing for a number that is none."""
    return Kind(number).name.capitalize() if isinstance(number, int) and number in _WORDS else ""


def from_json(document: str | Mapping[str, Any]) -> Policy | None:
    """The policy that *document* describes; ``None`` for one that is not enabled. Unknown keys are passed over.

    As Kitex does, it takes a breaker's error rate that is out of range for 0.1. Unlike Kitex, which then drops the
    pause, it refuses a back-off that makes no sense.

    :param document: JSON text, or what such text was read into.
    :raises ConfigError: it is no such thing, the part for its type is not there, or a number is out of range.
    """
    values = read_document(document)
    if not _field(values, "enable", bool, False):
        return None
    number = _field(values, "type", int, 0)
    kind = Kind(number) if number in _WORDS else Kind.FAILURE
    key, name, owner = _WORDS[kind]
    part = values.get(key)
    if number not in _WORDS or not isinstance(part, Mapping):
        raise ConfigError(
            f"{name} is nil or retry type not match(type={kind_name(number)}), cannot do update in {owner}",
            hint=f"Give {key!r} beside type {int(kind)}",
        )
    return _READERS[kind](part)


_HINT = "Give Kitex's JSON of a retry policy"


def read_document(document: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """What *document* says, unchecked.

    :raises ConfigError: it is no object, nor the JSON of one.
    """
    values: Any = document
    if isinstance(document, str):
        try:
            values = json.loads(document)
        except ValueError as error:
            raise ConfigError(
                f"a retry policy is no JSON: {error}", hint="Give Kitex's JSON of a retry policy"
            ) from error
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"a retry policy is {values!r}", hint="Give an object, such as Kitex's JSON of a retry policy"
        )
    return values


def _field(values: Mapping[str, Any], key: str, type_: type[_T], default: _T) -> _T:
    value = values.get(key, default)
    if type_ is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if value is None:
        return default
    if not isinstance(value, type_) or (isinstance(value, bool) and type_ is not bool):
        raise ConfigError(f"{key!r} of a retry policy is {value!r}", hint=f"Give a JSON value of type {type_.__name__}")
    return value


def _part(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{key!r} of a retry policy is {value!r}", hint="Give an object")
    return value or {}


def _seconds(values: Mapping[str, Any], key: str) -> float:
    return _field(values, key, int, 0) / 1000


def _shared(values: Mapping[str, Any]) -> dict[str, Any]:
    stop = _part(values, "stop_policy")
    rate = _field(_part(stop, "cb_policy"), "error_rate", float, 0.0)
    return {
        "max_retry_times": _field(stop, "max_retry_times", int, 0),
        "chain_stop": not _field(stop, "disable_chain_stop", bool, False),
        "deadline_stop": _field(stop, "ddl_stop", bool, False),
        "error_rate": rate if 0 < rate <= MOST_ERROR_RATE else DEFAULT_ERROR_RATE,
        "same_instance": _field(values, "retry_same_node", bool, False),
    }


def _sequential(values: Mapping[str, Any]) -> dict[str, Any]:
    return _shared(values) | {
        "max_duration": _seconds(_part(values, "stop_policy"), "max_duration_ms"),
        "back_off": _back_off(_part(values, "backoff_policy")),
        "extra": _field(values, "extra", str, ""),
    }


_READERS: dict[Kind, Callable[[Mapping[str, Any]], Policy]] = {
    Kind.FAILURE: lambda values: FailurePolicy(**_sequential(values)),
    Kind.BACKUP: lambda values: BackupPolicy(**_shared(values), delay=_seconds(values, "retry_delay_ms")),
    Kind.MIXED: lambda values: MixedPolicy(**_sequential(values), delay=_seconds(values, "retry_delay_ms")),
}


def _back_off(values: Mapping[str, Any]) -> BackOff:
    kind = _field(values, "backoff_type", str, "none")
    items = _part(values, "cfg_items")

    def item(key: str) -> float:
        return _field(items, key, float, 0.0) / 1000

    if kind in ("none", ""):
        return NO_BACK_OFF
    if kind == "fixed":
        return FixedBackOff(item("fix_ms"))
    if kind == "random":
        return RandomBackOff(item("min_ms"), item("max_ms"))
    if kind == "exponential":  # elanus's own, of the keys that Kitex reserves
        return ExponentialBackOff(item("initial_ms"), _field(items, "multiplier", float, 2.0), item("max_ms"))
    raise ConfigError(f"invalid backoffType={kind}", hint="Give 'none', 'fixed', 'random' or 'exponential'")


def to_json(policy: Policy | None) -> dict[str, Any]:
    """The form that :func:`from_json` reads, ready for :func:`json.dumps`. Predicates are not part of it."""
    if policy is None:
        return {"enable": False, "type": int(Kind.FAILURE)}
    stop: dict[str, Any] = {
        "max_retry_times": policy.max_retry_times,
        "max_duration_ms": 0,
        "disable_chain_stop": not policy.chain_stop,
        "ddl_stop": policy.deadline_stop,
        "cb_policy": {"error_rate": policy.error_rate},
    }
    part: dict[str, Any] = {"stop_policy": stop, "retry_same_node": policy.same_instance}
    if isinstance(policy, FailurePolicy):
        stop["max_duration_ms"] = _milliseconds(policy.max_duration)
        part |= {"backoff_policy": _back_off_json(policy.back_off), "extra": policy.extra}
    if isinstance(policy, BackupPolicy | MixedPolicy):
        part = {"retry_delay_ms": _milliseconds(policy.delay)} | part
    return {"enable": True, "type": int(policy.kind), _WORDS[policy.kind][0]: part}


def _milliseconds(seconds: float) -> int:
    """Whole ones, since Kitex reads no others; a time that is not 0 stays so."""
    return max(round(seconds * 1000), 1) if seconds else 0


def _back_off_json(back_off: BackOff) -> dict[str, Any]:
    if isinstance(back_off, NoBackOff):
        return {"backoff_type": "none"}
    if isinstance(back_off, FixedBackOff):
        return {"backoff_type": "fixed", "cfg_items": {"fix_ms": back_off.seconds * 1000}}
    if isinstance(back_off, RandomBackOff):
        items = {"min_ms": back_off.shortest * 1000, "max_ms": back_off.longest * 1000}
        return {"backoff_type": "random", "cfg_items": items}
    if isinstance(back_off, ExponentialBackOff):
        items = {
            "initial_ms": back_off.first * 1000,
            "multiplier": back_off.multiplier,
            "max_ms": back_off.longest * 1000,
        }
        return {"backoff_type": "exponential", "cfg_items": items}
    raise ConfigError(f"{back_off!r} has no form in JSON", hint="Use one of this plugin's own rules for pauses")
