"""Calls that go nowhere, for tests of what only looks at calls: policies, tracers, middlewares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from elanus.call import Call
from elanus.options import CallOptions
from elanus.service import MethodInfo, ServiceInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.codec import Codec
    from elanus.service import MethodKind

__all__ = ["make_call"]


def make_call(
    method: str = "echo",
    arguments: Sequence[Any] = (),
    *,
    service: str = "EchoService",
    kind: MethodKind | None = None,
    options: CallOptions | None = None,
    caller: str = "tests",
    callee: str = "echo",
) -> Call:
    """A call of *service*'s *method*. Its service has that one method and no codec, so it cannot be sent."""
    info = MethodInfo(method, service) if kind is None else MethodInfo(method, service, kind)
    return Call(
        ServiceInfo(service, cast("Codec", None), {method: info}),
        info,
        arguments,
        CallOptions() if options is None else options,
        caller=caller,
        callee=callee,
    )
