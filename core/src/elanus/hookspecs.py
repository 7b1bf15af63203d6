"""Every hook of elanus, in the order of the life cycle: offers, then contributions.

An *offer* says what a plugin has, by name; it sleeps until somebody names it. A *contribution* changes how clients and
servers are built; those of an installed plugin sleep until the plugin itself is named (``plugins=``,
``ELANUS_PLUGINS``, ``-p``, :func:`elanus.register`, or configuration). Hooks run only while something is being built,
never on the request path, and none is ``async``: start and close are methods of the things that hooks return.

Mark implementations with :data:`elanus.hookimpl`. An implementation may leave out arguments that it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

    from elanus.contracts.balancer import Balancer
    from elanus.contracts.breaker import Breaker
    from elanus.contracts.codec import Codec
    from elanus.contracts.config import Config
    from elanus.contracts.limiter import Limiter
    from elanus.contracts.provider import Provider
    from elanus.contracts.registry import Registry
    from elanus.contracts.resolver import Resolver
    from elanus.contracts.retrier import Retrier
    from elanus.contracts.tracer import Tracer
    from elanus.contracts.transport import Transport
    from elanus.endpoint import Middleware
    from elanus.options import ClientOptions, ServerOptions
    from elanus.service import ServiceInfo

__all__ = ["PROJECT", "hookimpl", "hookspec"]

#: The name of the entry-point group and of the pluggy project.
PROJECT = "elanus"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def elanus_codecs() -> Sequence[Provider[Codec]]:  # type: ignore[empty-body]
    """Offer codecs, selected by ``elanus.load(path)`` through the suffix of the file, or by name.

    Called once per process, at the first load of an IDL file; never on the request path.

    :returns: One provider per codec, each with the suffixes that it loads. A name or a suffix that another plugin
        already took is that plugin's; the fault is shown by ``elanus plugins``.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_transports() -> Sequence[Provider[Transport]]:  # type: ignore[empty-body]
    """Offer transports, selected by ``Client(transport="<name>")`` and ``Server(transports=["<name>"])``.

    Called once per process, when the first client or server is built.

    :returns: One provider per transport.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_registries() -> Sequence[Provider[Registry]]:  # type: ignore[empty-body]
    """Offer registries, selected by ``Server(registry="<name>")``.

    Called once per process, when the first registry is named.

    :returns: One provider per registry. Import the backend's client library in
        :attr:`~elanus.contracts.provider.Provider.build`, not here.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_resolvers() -> Sequence[Provider[Resolver]]:  # type: ignore[empty-body]
    """Offer resolvers, selected by ``Client(resolver="<name>")``.

    Called once per process, when the first resolver is named.

    :returns: One provider per resolver.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_balancers() -> Sequence[Provider[Balancer]]:  # type: ignore[empty-body]
    """Offer balancers, selected by ``Client(balancer="<name>")``.

    Called once per process, when the first client is built.

    :returns: One provider per balancer.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_breakers() -> Sequence[Provider[Breaker]]:  # type: ignore[empty-body]
    """Offer breakers, selected by ``Client(service_breaker="<name>")``, ``Client(instance_breaker="<name>")`` and
    ``Server(breaker="<name>")``.

    Called once per process, when the first breaker is named.

    :returns: One provider per breaker.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_limiters() -> Sequence[Provider[Limiter]]:  # type: ignore[empty-body]
    """Offer limiters, selected by ``Server(limiter="<name>")``.

    Called once per process, when the first limiter is named.

    :returns: One provider per limiter. Each server that names it has one built for itself.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_retriers() -> Sequence[Provider[Retrier]]:  # type: ignore[empty-body]
    """Offer retriers, selected by ``Client(retrier="<name>")``, ``client.with_options(retrier="<name>")`` and, for one
    method, ``MethodOptions(retrier="<name>")``.

    Called once per process, when the first retrier is named. Each place that names it builds one of its own.

    :returns: One provider per retrier.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_tracers() -> Sequence[Provider[Tracer]]:  # type: ignore[empty-body]
    """Offer tracers, selected by ``Client(tracers=["<name>"])`` and ``Server(tracers=["<name>"])``.

    Called once per process, when the first tracer is named.

    :returns: One provider per tracer.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_configs() -> Sequence[Provider[Config]]:  # type: ignore[empty-body]
    """Offer sources of configuration, selected by ``Client(config="<name>")``, ``Server(config="<name>")`` or the
    environment variable ``ELANUS_CONFIG``.

    Called once per process, when the first source is named.

    :returns: One provider per source. One that needs no network reads when it is built, and raises
        :exc:`elanus.ConfigError` for what is wrong.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_configure_client(service: ServiceInfo, options: ClientOptions) -> ClientOptions | None:
    """Set or overrule options of a client, for instance a house default for every client.

    Called once for each client that is built, in registration order: plugins named by configuration or
    ``ELANUS_PLUGINS``, by ``-p``, by :func:`elanus.register`, and last those in ``plugins=`` of this client. Each
    implementation sees what the one before it returned.

    :param service: the service that the client calls.
    :param options: the options so far, frozen. What a configuration says is folded in afterwards.
    :returns: ``options.with_defaults(timeout=1)`` to keep what code set explicitly, ``options.replace(timeout=1)`` to
        overrule it, or ``None`` to change nothing.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_configure_server(options: ServerOptions) -> ServerOptions | None:
    """Set or overrule options of a server.

    Called once for each server, when it starts, in registration order as for :func:`elanus_configure_client`.

    :param options: the options so far, frozen.
    :returns: changed options, or ``None`` to change nothing.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_client_middlewares(  # type: ignore[empty-body]
    service: ServiceInfo, options: ClientOptions
) -> Sequence[Middleware]:
    """Add middlewares to a client, at the universal scope: around unary calls and streams.

    Called once for each client that is built, after all :func:`elanus_configure_client`.

    :param service: the service that the client calls.
    :param options: the final options.
    :returns: middlewares, outermost first. They run outside of those in ``Client(middlewares=...)``, in registration
        order of their plugins.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_server_middlewares(options: ServerOptions) -> Sequence[Middleware]:  # type: ignore[empty-body]
    """Add middlewares to a server, at the universal scope.

    Called once for each server, when it starts, after all :func:`elanus_configure_server`.

    :param options: the final options.
    :returns: middlewares, outermost first; they run outside of those in ``Server(middlewares=...)``.

    .. versionadded:: 0.1
    """


@hookspec
def elanus_commands(cli: click.Group) -> None:
    """Add commands to the ``elanus`` command line.

    Called once, when the command line starts. The commands of every installed plugin are there; nobody needs to name
    the plugin first.

    :param cli: the group to which commands are added, with ``cli.add_command(...)``.

    .. versionadded:: 0.1
    """
