"""One rule in force: a bucket of tokens and a count of calls in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.limiter import Refusal

if TYPE_CHECKING:
    from elanus_limiter_token.settings import Rule

__all__ = ["Gate"]

#: Of a token: what sums of fractions may lack.
_ROUNDING = 1e-9
#: Source: Kitex v0.16.3 ``pkg/limiter/qps_limiter.go``: a bucket starts with a tenth of its limit.
_FIRST_FILL = 0.1


class Gate:
    """What one rule allows, and what has gone through it.

    Tokens come continuously, at the rate of the limit, up to the burst. A bucket starts with a tenth of a second's
    tokens, as Kitex's does, and with one at least. Kitex adds whole tokens every 100 ms, so that there a limit below 10
    lets nothing pass.
    """

    __slots__ = ("_at", "_burst", "_too_frequent", "_too_many", "concurrency", "in_flight", "qps", "tokens")

    def __init__(self, name: str, rule: Rule, now: float, *, cut: bool) -> None:
        #: Calls that have passed and are not over.
        self.in_flight = 0
        self._at = now
        #: Calls that might have passed at the last look.
        self.tokens = 0.0
        self.qps = 0.0
        self.set(name, rule, now, cut=cut)

    def set(self, name: str, rule: Rule, now: float, *, cut: bool) -> None:
        """Put *rule* in force, which refuses as *name*.

        Calls in flight still count; tokens are kept, as far as the new burst has room.
        """
        limited_before = self.qps > 0
        if limited_before:
            self._fill(now)
        self.qps = max(rule.qps or 0.0, 0.0)
        self._burst = rule.burst if rule.burst and rule.burst > 0 else max(self.qps, 1.0)
        self.tokens = min(self.tokens if limited_before else max(self.qps * _FIRST_FILL, 1.0), self._burst)
        self._at = now
        self.concurrency = max(rule.concurrency or 0, 0)
        prefix = f"{name}." if name else ""
        # Kitex's texts come first: ErrQPSOverLimit is "request too frequent".
        self._too_frequent = Refusal(
            f"{prefix}qps", self.qps, f"request too frequent ({prefix}qps = {self.qps:g})", cut=cut
        )
        self._too_many = Refusal(
            f"{prefix}concurrency",
            self.concurrency,
            f"too many calls in flight ({prefix}concurrency = {self.concurrency})",
        )

    def refusal(self, now: float) -> Refusal | None:
        """Why a call may not pass now, if so. Takes nothing."""
        if self.concurrency and self.in_flight >= self.concurrency:
            return self._too_many
        if self.qps:
            self._fill(now)
            if self.tokens < 1.0 - _ROUNDING:
                return self._too_frequent
        return None

    def take(self) -> None:
        """A call passes. Only after :meth:`refusal` said ``None`` for the same instant."""
        self.in_flight += 1
        if self.qps:
            self.tokens -= 1.0

    def forgettable(self, now: float) -> bool:
        """Whether a new gate in the place of this one would allow no more than this one does."""
        if self.in_flight:
            return False
        if self.qps:
            self._fill(now)
            return self.tokens >= min(max(self.qps * _FIRST_FILL, 1.0), self._burst)
        return True

    def _fill(self, now: float) -> None:
        if now > self._at:
            self.tokens = min(self._burst, self.tokens + (now - self._at) * self.qps)
            self._at = now
