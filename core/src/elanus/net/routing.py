"""Which service and method a request is for: Kitex's rules, for several services on one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.transport import Route
from elanus.errors import ApplicationError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from elanus.service import ServiceInfo

__all__ = ["Routes"]


class Routes:
    """The methods of a server's services.

    A request names a service or not (framed and buffered Thrift cannot). Source: Kitex v0.16.3 ``server/service.go``,
    and confirmed on the wire:

    1. the named service, if it is here;
    2. named but not here: the one service that has the method, if it is only one;
    3. not named: the fallback service if it has the method, else the first service added that has it.

    :raises ConfigError: two services have a method of the same name and none is the fallback (unless a service
        name is required, which makes it no conflict).
    """

    def __init__(self, services: Iterable[ServiceInfo], fallback: ServiceInfo | None, *, require_service: bool) -> None:
        self._require_service = require_service
        self._exact: dict[tuple[str, str], Route] = {}
        self._names: set[str] = set()
        self._owners: dict[str, list[Route]] = {}
        for service in services:
            self._add(service)
        if fallback is not None:
            for routes in self._owners.values():
                routes.sort(key=lambda route: route.service is not fallback)
        elif not require_service:
            self._refuse_conflicts()

    def _add(self, service: ServiceInfo) -> None:
        self._names.add(service.name)
        for name, method in service.methods.items():
            route = Route(service, method)
            self._exact[service.name, name] = route
            self._owners.setdefault(name, []).append(route)

    def _refuse_conflicts(self) -> None:
        for name, routes in self._owners.items():
            if len(routes) > 1:
                services = ", ".join(route.service.name for route in routes)
                raise ConfigError(
                    f"method name {name!r} is conflicted between services ({services}) "
                    "but no fallback service is specified",
                    hint="Pass fallback=True with one of them, or require_service_name=True to the server",
                )

    def find(self, service: str | None, method: str, wire: str) -> Route:
        """The route of a request.

        :raises ApplicationError: 20 unknown service, 1 unknown method, 9 another codec; the phase is ``"route"``.
        """
        route = self._exact.get((service, method)) if service else None
        if route is None:
            route = self._loose(service or "", method)
        if route.service.codec.wire != wire:
            # Kitex names the codec of the request: "thriftCodec", "protobufCodec".
            codec = wire.partition("-")[0]
            raise _refused(
                ApplicationError.INVALID_PROTOCOL, f"decode failed, codec msg type not match with {codec}Codec"
            )
        return route

    def _loose(self, service: str, method: str) -> Route:
        if service in self._names:
            raise _refused(ApplicationError.UNKNOWN_METHOD, f"unknown method {method} (service {service})")
        owners = self._owners.get(method, ())
        if not self._require_service and owners and (not service or len(owners) == 1):
            return owners[0]
        raise _refused(ApplicationError.UNKNOWN_SERVICE, f"unknown service {service}, method {method}")


def _refused(code: int, text: str) -> ApplicationError:
    error = ApplicationError(code, text)
    error.phase = "route"
    return error
