"""What the limits are: read from what a user wrote, and checked before anything of it is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import inf
from types import MappingProxyType
from typing import Any

from elanus.errors import ConfigError
from elanus.settings import read_settings

__all__ = ["OWNER", "Rule", "TokenSettings"]

OWNER = "limiter 'token'"

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rule:
    """The limits of one thing. ``None``, 0 and below: unlimited, as with Kitex.

    :param qps: calls a second; may be a fraction.
    :param burst: calls that may come at once after a quiet time; by default those of one second, and at least one.
    :param concurrency: calls in flight.
    """

    qps: float | None = None
    burst: float | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """The options of the limiter. ``None``, 0 and below: unlimited, as with Kitex."""

    #: Calls a second, of the whole server; may be a fraction.
    qps: float | None = None
    #: Calls that may come at once after a quiet time; by default those of one second, and at least one.
    burst: float | None = None
    #: Calls in flight in the whole server.
    concurrency: int | None = None
    #: Open connections.
    connections: int | None = None
    #: Rules by IDL name of the service; ``"*"``: each of the others.
    per_service: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    #: Rules by method, ``"EchoService/echo"`` or ``"echo"``; ``"*"``: each of the others.
    per_method: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    #: Rules by name of the caller; ``"*"``: each of the others.
    per_caller: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    #: Callers of ``"*"`` that are told apart; those beyond share one set of limits.
    callers: int = 1_000
    #: Close the connection of a call that is too frequent, as Kitex's default limiter does, instead of answering.
    cut: bool = False

    def __post_init__(self) -> None:
        check_numbers(OWNER, self)
        if self.callers < 1:
            raise ConfigError(f"option 'callers' of {OWNER} is {self.callers}", hint="Give at least 1")
        if any("/" in name for name in self.per_service):
            raise ConfigError(f"'per_service' of {OWNER} names a method", hint="Write it into per_method")

    @classmethod
    def read(cls, values: Mapping[str, object]) -> TokenSettings:
        """The settings in *values*, with each table of rules read.

        :raises ConfigError: an unknown option, or a value that makes no sense; names it.
        """
        return _with_rules(read_settings(cls, OWNER, values))

    def changed(self, values: Mapping[str, object]) -> TokenSettings:
        """A copy with *values*; a table of rules is replaced as a whole."""
        now = {item.name: getattr(self, item.name) for item in fields(self)}
        return TokenSettings.read({**now, **values})

    @property
    def server(self) -> Rule:
        """The rule of the whole server."""
        return Rule(self.qps, self.burst, self.concurrency)


def _with_rules(settings: TokenSettings) -> TokenSettings:
    tables: dict[str, Any] = {}
    for table in ("per_service", "per_method", "per_caller"):
        rules = getattr(settings, table)
        tables[table] = MappingProxyType({name: _rule(f"{table}[{name!r}] of {OWNER}", rules[name]) for name in rules})
    return replace(settings, **tables)


def _rule(owner: str, value: object) -> Rule:
    if isinstance(value, Mapping):
        value = read_settings(Rule, owner, value)
    if not isinstance(value, Rule):
        raise ConfigError(f"{owner} is {value!r}", hint='Give a table, such as {"qps": 100}')
    check_numbers(owner, value)
    return value


def check_numbers(owner: str, rule: Rule | TokenSettings) -> None:
    """Refuse what is no finite number, and a burst that lets nothing through.

    :raises ConfigError: names *owner* and the option.
    """
    for name in ("qps", "burst"):
        value = getattr(rule, name)
        if value is not None and not -inf < value < inf:
            raise ConfigError(f"option {name!r} of {owner} is {value}", hint="Give a number, or 0 for no limit")
    if rule.burst is not None and 0 < rule.burst < 1:
        raise ConfigError(f"option 'burst' of {owner} is {rule.burst}", hint="Below 1 no call would ever pass")
