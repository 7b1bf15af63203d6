"""The breaker: per key a window, a state, and the rules that lead from one state to the next."""

from __future__ import annotations

import dataclasses
from math import inf
from typing import TYPE_CHECKING

from elanus.contracts.breaker import Breaker, Counts, Outcome, State, Transition
from elanus.errors import ConfigError
from elanus.settings import read_settings
from elanus_breaker_window.rules import Rules, WindowSettings
from elanus_breaker_window.window import FAILURES, SLOW, SUCCESSES, TIMEOUTS, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from elanus.call import Call
    from elanus.contracts.breaker import Classify

__all__ = ["WindowBreaker"]

# Found faster than attributes of an enum, and every call needs some of them.
_SUCCESS, _TIMEOUT, _IGNORED = Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.IGNORED
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN

_OWNER = "breaker 'window'"
#: Rounding of `now - elapsed`, in seconds; much shorter than the shortest pause.
_ROUNDING = 1e-6


class _Key:
    """What is known of one key."""

    __slots__ = (
        "grounds",
        "in_a_row",
        "opened",
        "probed",
        "rules",
        "slow_after",
        "stale",
        "state",
        "successes",
        "window",
    )

    def __init__(self, rules: Rules, window: Window) -> None:
        self.window = window
        self.state = _CLOSED
        #: When it last opened, and until when calls are from before that.
        self.opened = self.stale = -inf
        #: What it had counted then.
        self.grounds = Counts()
        #: While it is half-open: when the last probe was let through.
        self.probed = -inf
        #: Of probes, in a row.
        self.successes = 0
        #: Failures and timeouts since the last success.
        self.in_a_row = 0
        self.follow(rules)

    def follow(self, rules: Rules) -> None:
        self.rules = rules
        self.slow_after = inf if rules.slow_after is None else rules.slow_after

    def counts(self) -> Counts:
        counts = self.window.counts
        return Counts(counts[SUCCESSES], counts[FAILURES], counts[TIMEOUTS])


class WindowBreaker(Breaker):
    """Kitex's breaker: opens a key of which too many calls fail within a sliding window, then probes it.

    Closed: every outcome is counted, and each failure, timeout or slow call asks the rules. Open: all calls are refused
    for ``cooling`` seconds. Half-open: one call in ``probe_every`` seconds goes through; ``probe_successes`` good ones
    in a row close the key with empty counts, and a bad one opens it again. A probe that says nothing (cancelled,
    refused further in) or never ends is followed by the next one at its time.

    A result of a call from before the key last opened is dropped: that it failed was known, and that it succeeded says
    nothing about now. (Kitex counts both.)

    :param options: fields of :class:`WindowSettings`, such as ``error_rate=0.3``.
    :param keys: settings of single keys, by key: ``{"web/store/get": {"min_samples": 20}}``.
    :param classify: from call, reply and error to an outcome, instead of core's rules; ``None`` leaves it to them.
    :param key_of: makes the key of a call, instead of core.
    :raises ConfigError: an option that it does not have, or a value that makes no sense.
    """

    name = "window"

    def __init__(
        self,
        *,
        keys: Mapping[str, Mapping[str, object]] | None = None,
        classify: Classify | None = None,
        key_of: Callable[[Call], str] | None = None,
        **options: object,
    ) -> None:
        self.classify = classify
        self.key_of = key_of
        settings = read_settings(WindowSettings, _OWNER, options)
        self._buckets, self._max_keys = settings.buckets, settings.max_keys
        self._bucket_seconds = settings.window / settings.buckets
        self._keys: dict[str, _Key] = {}
        #: What was asked for, which is little; and the rules that come of it, by key.
        self._general = {item.name: getattr(settings, item.name) for item in dataclasses.fields(Rules)}
        self._special: dict[str, dict[str, object]] = {}
        self._rules: dict[str, Rules] = {}
        self._default = Rules(**self._general)
        for key, changes in (keys or {}).items():
            self.update(key, **changes)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        """The breaker for the options that a user gave with its name; ``keys`` is one of them.

        :raises ConfigError: as for the class.
        """
        values: dict[str, Any] = dict(options)
        keys = values.pop("keys", None) or {}
        if not (isinstance(keys, dict) and all(isinstance(one, dict) for one in keys.values())):
            raise ConfigError(f"option 'keys' of {_OWNER} is {keys!r}", hint="Give a table of settings for each key")
        return cls(keys=keys, **_without_code(values))

    # -- the request path ---------------------------------------------------------------------------------------

    def allow(self, key: str, now: float) -> bool:
        known = self._keys.get(key)
        if known is None or known.state is _CLOSED:
            return True
        if known.state is _OPEN:
            if now < known.opened + known.rules.cooling:
                return False
            known.successes = 0
            self._change(key, known, _HALF_OPEN, now)
        elif now < known.probed + known.rules.probe_every:
            return False
        known.probed = now
        return True

    def why(self, key: str, now: float) -> str:
        known = self._keys.get(key)
        if known is None or known.state is _CLOSED:
            return ""
        counts, rules = known.grounds, known.rules
        half = known.state is _HALF_OPEN
        due = known.probed + rules.probe_every if half else known.opened + rules.cooling
        return (
            f"{'half-open, ' if half else ''}it opened {now - known.opened:.1f} s ago, "
            f"next probe in {max(due - now, 0.0):.1f} s; "
            f"{counts.failures + counts.timeouts} of {counts.samples} calls had failed"
        )

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None:
        if outcome is _IGNORED:
            return
        known = self._keys.get(key)
        if known is None:
            known = self._add(key, now)
            if known is None:
                return
        if now - elapsed <= known.stale:
            return
        slow = elapsed > known.slow_after
        if outcome is _SUCCESS and not slow:
            if known.state is not _CLOSED:
                self._probe_succeeded(key, known, now)
                return
            known.in_a_row = 0
            window = known.window  # as its `add` does, without the call: most calls come this way
            if now >= window.until:
                window.move(now)
            window.good[window.index] += 1
            window.counts[SUCCESSES] += 1
            return
        self._count(known, outcome, now, slow=slow)
        if known.state is not _CLOSED:
            self._open(key, known, now)
            return
        successes, failures, timeouts, slow_ones = known.window.counts
        if known.rules.broken_by(successes, failures + timeouts, slow_ones, known.in_a_row):
            self._open(key, known, now)

    def _count(self, known: _Key, outcome: Outcome, now: float, *, slow: bool) -> None:
        if outcome is _SUCCESS:
            known.in_a_row = 0
            known.window.add(SUCCESSES, now)
        else:
            known.in_a_row += 1
            known.window.add(TIMEOUTS if outcome is _TIMEOUT else FAILURES, now)
        if slow:
            known.window.add(SLOW, now)

    def _probe_succeeded(self, key: str, known: _Key, now: float) -> None:
        known.successes += 1
        if known.successes < known.rules.probe_successes:
            return
        self._change(key, known, _CLOSED, now)

    def _open(self, key: str, known: _Key, now: float) -> None:
        known.opened, known.stale = now, now + _ROUNDING
        self._change(key, known, _OPEN, now)

    def _change(self, key: str, known: _Key, after: State, now: float) -> None:
        before, known.state = known.state, after
        known.window.move(now)
        counts = known.counts()
        if after is _OPEN and before is _CLOSED:
            known.grounds = counts
        elif after is _CLOSED:
            known.window.clear()
            known.in_a_row = 0
        self.changed(Transition(key, before, after, counts, now))

    # -- keys ---------------------------------------------------------------------------------------------------

    def states(self) -> Mapping[str, State]:
        return {key: known.state for key, known in self._keys.items() if known.state is not _CLOSED}

    def counts(self, key: str, now: float) -> Counts:
        """What the window of *key* holds; nothing for a key that is not known."""
        known = self._keys.get(key)
        if known is None:
            return Counts()
        known.window.move(now)
        return known.counts()

    def forget(self, key: str) -> None:
        self._keys.pop(key, None)

    @property
    def known(self) -> int:
        """How many keys it keeps something of; never more than ``max_keys``."""
        return len(self._keys)

    def _add(self, key: str, now: float) -> _Key | None:
        rules = self.rules(key)
        if not rules.enabled:
            return None
        window = Window(self._buckets, self._bucket_seconds, now)
        if len(self._keys) >= self._max_keys:
            self._make_room(window.slot)
        known = self._keys[key] = _Key(rules, window)
        return known

    def _make_room(self, slot: int) -> None:
        """Drop the closed keys whose window has nothing left. Where these are few, drop an eighth of all: closed ones
        first, and of them what was used least recently.
        """
        oldest = slot - self._buckets
        for key in [key for key, one in self._keys.items() if one.state is _CLOSED and one.window.slot <= oldest]:
            del self._keys[key]
        surplus = len(self._keys) - self._max_keys + max(1, self._max_keys // 8)
        if surplus > 0:
            by_use = sorted(self._keys.items(), key=lambda item: (item[1].state is not _CLOSED, item[1].window.slot))
            for key, _ in by_use[:surplus]:
                del self._keys[key]

    # -- settings -----------------------------------------------------------------------------------------------

    def rules(self, key: str | None = None) -> Rules:
        """The settings in force for *key*; for ``None`` those of keys that have none of their own."""
        return self._default if key is None else self._rules.get(key, self._default)

    def update(self, key: str | None = None, **changes: object) -> None:
        """Change settings while calls run: of *key*, or with ``None`` of all keys, as far as these have none of their
        own.

        What was counted stays, and the next failure is judged by the new rules; pauses that have begun last as long as
        the new ones. A key that is switched off (``enabled=False``) is forgotten; all its calls are allowed. Kitex's
        ``UpdateServiceCBConfig`` and ``UpdateInstanceCBConfig``.

        :param changes: fields of :class:`Rules`.
        :raises ConfigError: an unknown field, or a value that makes no sense; then nothing is changed.
        """
        read_settings(Rules, _OWNER, changes)
        if key is None:
            self._follow({**self._general, **changes}, self._special)
        else:
            self._follow(self._general, {**self._special, key: {**self._special.get(key, {}), **changes}})

    def restore(self, key: str) -> None:
        """Let *key* follow the general settings again."""
        self._follow(self._general, {other: own for other, own in self._special.items() if other != key})

    def _follow(self, general: dict[str, Any], special: dict[str, dict[str, object]]) -> None:
        default = read_settings(Rules, _OWNER, general)
        rules = {key: read_settings(Rules, _OWNER, {**general, **own}) for key, own in special.items()}
        self._general, self._special, self._default, self._rules = general, special, default, rules
        for key, known in list(self._keys.items()):
            known.follow(self.rules(key))
            if not known.rules.enabled:
                del self._keys[key]


def _without_code(values: dict[str, Any]) -> dict[str, Any]:
    """Refuse, as unknown options, what only code can give."""
    for name in ("classify", "key_of"):
        if name in values:
            raise ConfigError(f"{_OWNER} has no option {name!r} outside of code", hint="Give WindowBreaker(...) itself")
    return values
