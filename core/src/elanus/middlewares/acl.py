"""acl: rules that may refuse a call, on either side."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from elanus.errors import AclError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from elanus.call import Call
    from elanus.endpoint import Endpoint, Middleware

__all__ = ["acl"]


def acl(rules: Sequence[Callable[[Call], str | Awaitable[str | None] | None]]) -> Middleware:
    """Ask each rule in turn; the first that returns a reason refuses the call. Rules may be ``async``.

    :raises AclError: refused. On a server the caller gets Kitex's ``request forbidden: <reason>``.
    """

    def middleware(next_endpoint: Endpoint) -> Endpoint:
        async def endpoint(call: Call) -> Any:
            for rule in rules:
                reason = rule(call)
                if inspect.isawaitable(reason):
                    reason = await reason
                if reason:
                    raise AclError(reason)
            return await next_endpoint(call)

        return endpoint

    return middleware
