"""What this plugin offers: one breaker. Nothing of it is imported before it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.breaker import Breaker


@hookimpl
def elanus_breakers() -> Sequence[Provider[Breaker]]:
    return [Provider("window", _build)]


def _build(options: Mapping[str, object]) -> Breaker:
    from elanus_breaker_window.breaker import WindowBreaker

    return WindowBreaker.from_options(options)
