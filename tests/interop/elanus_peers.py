"""elanus at either end of an interop test: a server in the test's own loop or in a process, and clients by framing."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import elanus

from .peer import KitexServer
from .service import OPTIONS_VARIABLE, InteropHandler, idl, make_server

__all__ = [
    "FRAMINGS",
    "ElanusProcess",
    "ElanusServer",
    "ElanusServerFactory",
    "KitexServerFactory",
    "elanus_client",
    "transport_of",
    "with_undeclared_method",
]

REPOSITORY = Path(__file__).parents[2]

KitexServerFactory = Callable[..., KitexServer]
ElanusServerFactory = Callable[..., "ElanusServer"]

#: Names of the framings in test ids; what Go's ``--transport`` calls them.
FRAMINGS: Mapping[str, str] = {
    "buffered": "buffered",
    "framed": "framed",
    "ttheader": "ttheader-unframed",
    "ttheaderframed": "ttheader",
    "mux": "mux",
}
_TRANSPORTS: Mapping[str, tuple[str, dict[str, object]]] = {
    "buffered": ("buffered", {}),
    "framed": ("framed", {}),
    "ttheader": ("ttheader", {"framed": False}),
    "ttheaderframed": ("ttheader", {}),
    "mux": ("ttheader", {"mux": True}),
}


def transport_of(framing: str, **options: object) -> tuple[str, dict[str, object]]:
    """The ``transport=`` of an elanus client that sends *framing*, one of :data:`FRAMINGS`."""
    name, own = _TRANSPORTS[framing]
    return name, {**own, **options}


def elanus_client(
    targets: str | list[str],
    framing: str = "ttheaderframed",
    *,
    service: elanus.ServiceInfo = idl.Interop,
    transport: Mapping[str, object] | None = None,
    **options: Any,
) -> elanus.Client:
    """A client of ``Interop``, not started; *transport* are further options of the framing's transport."""
    return elanus.Client(service, targets, transport=transport_of(framing, **(transport or {})), **options)


def with_undeclared_method(service: elanus.ServiceInfo, lender: str = "echo") -> elanus.ServiceInfo:
    """*service* with a method ``no_such_method``, which no IDL declares, with the arguments of *lender*."""
    from dataclasses import replace

    lent = service.methods[lender]
    return replace(service, methods={**service.methods, "no_such_method": replace(lent, name="no_such_method")})


class ElanusServer:
    """A server in the loop of its test, from ``async with`` on until that is left."""

    def __init__(self, *, name: str = "elanus.interop", listen: str = "127.0.0.1:0", **options: Any) -> None:
        self.handler = InteropHandler(name)
        # Tests of the shutdown set both; all others need not wait for what no peer of theirs does.
        self.server = make_server(self.handler, **{"drain_delay": 0, "drain_timeout": 1.0, **options})
        self._listen = listen

    @property
    def address(self) -> str:
        return self.server.address

    async def __aenter__(self) -> Self:
        await self.server.start(self._listen)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.server.stop()
        await self.handler.aclose()


class ElanusProcess(KitexServer):
    """``elanus serve`` in a process of its own. It is driven as the Go server is, and counts what it handled.

    :param options: of :func:`~tests.interop.service.make_server`, as far as JSON knows them.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(
            Path(sys.executable),
            *("-W", "error", "-m", "elanus.cli", "serve", "tests.interop.service:server", "--bind", "127.0.0.1:0"),
            environment={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                OPTIONS_VARIABLE: json.dumps(options),
            },
        )

    def __str__(self) -> str:
        return "elanus serve tests.interop.service:server"
