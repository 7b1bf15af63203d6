"""The decisions for one call, by kind of policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elanus.contracts.retrier import STOP, WAIT, Plan, Retry, Stop
from elanus.errors import DiscoveryError, ElanusError, RejectedError, StateError
from elanus_retrier_budget.policies import BackupPolicy, FailurePolicy, MixedPolicy

if TYPE_CHECKING:
    from random import Random

    from elanus.call import Call
    from elanus.contracts.retrier import Verdict
    from elanus_retrier_budget.budget import Purse
    from elanus_retrier_budget.policies import Policy, RetryOn
    from elanus_retrier_budget.window import Window

__all__ = ["BackupPlan", "FailurePlan", "Lane", "MixedPlan", "RefusedPlan"]

#: So many attempts in the window before the breaker judges. Source: Kitex ``pkg/retry/policy.go`` (``cbMinSample``).
_LEAST_SAMPLES = 10

_AT_ONCE = Retry()


class Lane:
    """What all calls of one method share.

    :param percentage_limit: the breaker's window counts first attempts as good and further ones as bad, before they
        start. Otherwise it counts how attempts end.
    """

    __slots__ = ("on", "percentage_limit", "policy", "purse", "random", "same_instance", "window")

    def __init__(
        self,
        policy: Policy,
        on: RetryOn,
        window: Window,
        purse: Purse | None,
        random: Random,
        *,
        percentage_limit: bool,
    ) -> None:
        self.policy = policy
        self.same_instance = policy.same_instance
        self.on = on
        self.window = window
        self.purse = purse
        self.random = random
        self.percentage_limit = percentage_limit

    def starts(self, number: int, now: float) -> None:
        """An attempt of this number starts."""
        if number > 0:
            if self.percentage_limit:
                self.window.add(now, bad=True)
            return
        if self.percentage_limit:
            self.window.add(now)
        if self.purse is not None:
            self.purse.calls.add(now)

    def ends(self, error: Exception | None, now: float) -> None:
        """An attempt has ended. Not for a lane with a percentage limit."""
        if error is None:
            self.window.add(now)
        elif not _ignored(error):
            self.window.add(now, bad=isinstance(error, ElanusError))

    def refusal(self, retried: int, now: float) -> str:
        """Why there can be no further attempt after *retried* of them; empty when one was granted."""
        window = self.window
        window.advance(now)
        if window.total >= _LEAST_SAMPLES and window.rate >= self.policy.error_rate:
            return f"retried {retried}, retry circuit break, errRate={window.rate:.3f}, sample={window.total}"
        if self.purse is not None and not self.purse.draw(now):
            return f"retried {retried}, retry budget is spent: {self.purse}"
        return ""


def _ignored(error: Exception) -> bool:
    """Outcomes that say nothing of the service. Source: Kitex ``pkg/circuitbreak/default.go``.

    An open breaker is refused by a policy on this side, and yet Kitex counts it as a failure, so this does.
    """
    return isinstance(error, DiscoveryError | StateError) or (isinstance(error, RejectedError) and not error.retryable)


def duration_text(seconds: float) -> str:
    """As Go prints a duration of whole milliseconds: ``"250ms"``, ``"1.5s"``, ``"1m30s"``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{round(rest, 3):g}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


class _LanePlan(Plan):
    """What the plans of a lane have in common: how many attempts there were, and since when."""

    __slots__ = ("_count", "_lane", "_since")

    def __init__(self, lane: Lane, now: float) -> None:
        self._lane = lane
        self._since = now
        self._count = 0
        if lane.same_instance:
            self.same_instance = True


class RefusedPlan(Plan):
    """A single attempt, of a call that would have got others."""

    def __init__(self, on: RetryOn, reason: str) -> None:
        self._on = on
        self._stop = Stop(reason)

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        return self._stop if self._on.wanted(attempt, reply, error) else STOP


class FailurePlan(_LanePlan):
    """One attempt after the other."""

    __slots__ = ()

    def started(self, attempt: Call, now: float) -> float | None:
        self._lane.starts(self._count, now)
        self._count += 1
        return None

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        lane = self._lane
        if not lane.percentage_limit:
            lane.ends(error, now)
        if error is None and lane.on.check is None:
            return STOP
        if not lane.on.wanted(attempt, reply, error):
            reason = lane.on.unwanted(attempt, error)
            return Stop(reason) if reason else STOP
        policy = lane.policy
        assert isinstance(policy, FailurePolicy)
        reason = self._refusal(policy, now)
        if reason:
            return self._refused(reason, running)
        pause = policy.back_off.pause(self._count, lane.random)
        return Retry(pause) if pause else _AT_ONCE

    def _refused(self, reason: str, running: int) -> Verdict:
        return Stop(reason)

    def _refusal(self, policy: FailurePolicy, now: float) -> str:
        retried = self._count - 1
        if retried >= policy.max_retry_times:
            return f"retried {retried}, max_retry_times is {policy.max_retry_times}"
        if policy.max_duration and now - self._since > policy.max_duration:
            return f"retry[{retried}] failed, exceed max duration[{duration_text(policy.max_duration)}]"
        return self._lane.refusal(retried, now)


class BackupPlan(_LanePlan):
    """Hedges. The first answer counts, whatever it is."""

    __slots__ = ()

    def started(self, attempt: Call, now: float) -> float | None:
        lane = self._lane
        policy = lane.policy
        assert isinstance(policy, BackupPolicy)
        lane.starts(self._count, now)
        self._count += 1
        return policy.delay if self._count <= policy.max_retry_times else None

    def due(self, now: float) -> Verdict:
        return WAIT if self._lane.refusal(self._count - 1, now) else _AT_ONCE

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Verdict:
        if not self._lane.percentage_limit:
            self._lane.ends(error, now)
        return STOP


class MixedPlan(FailurePlan):
    """Hedges, and further attempts when an outcome asks for them. Those that run are waited for before it gives up."""

    __slots__ = ()

    def started(self, attempt: Call, now: float) -> float | None:
        policy = self._lane.policy
        assert isinstance(policy, MixedPolicy)
        super().started(attempt, now)
        return policy.delay if self._count <= policy.max_retry_times else None

    def due(self, now: float) -> Verdict:
        policy = self._lane.policy
        assert isinstance(policy, MixedPolicy)
        return WAIT if self._refusal(policy, now) else _AT_ONCE  # its delay was pause enough

    def _refused(self, reason: str, running: int) -> Verdict:
        return WAIT if running else Stop(reason)
