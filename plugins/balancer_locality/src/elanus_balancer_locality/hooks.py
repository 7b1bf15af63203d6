"""What this plugin offers: the balancer ``locality``. Nothing of it is imported before it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.balancer import Balancer


@hookimpl
def elanus_balancers() -> Sequence[Provider[Balancer]]:
    return [Provider("locality", _build)]


def _build(options: Mapping[str, object]) -> Balancer:
    from elanus_balancer_locality.balancer import LocalityBalancer

    return LocalityBalancer(**options)
