"""What this plugin offers: one limiter. Nothing of it is imported before it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.limiter import Limiter


@hookimpl
def elanus_limiters() -> Sequence[Provider[Limiter]]:
    return [Provider("adaptive", _build)]


def _build(options: Mapping[str, object]) -> Limiter:
    from elanus_limiter_adaptive.limiter import AdaptiveLimiter

    return AdaptiveLimiter(**options)
