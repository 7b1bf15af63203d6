"""What this plugin offers: a retrier called ``budget``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.retrier import Retrier


@hookimpl
def elanus_retriers() -> Sequence[Provider[Retrier]]:
    return [Provider("budget", _retrier)]


def _retrier(options: Mapping[str, object]) -> Retrier:
    from elanus_retrier_budget.retrier import BudgetRetrier

    return BudgetRetrier.from_options(options)
