"""The resolver: looks a name up, and again when the records' time to live is over."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from elanus.contracts.resolver import Resolver
from elanus.errors import DiscoveryError
from elanus.settings import read_settings
from elanus_resolver_dns.look_up import LookUp
from elanus_resolver_dns.names import Destination
from elanus_resolver_dns.pace import Pace
from elanus_resolver_dns.questions import QuestionError, System
from elanus_resolver_dns.settings import DnsSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from elanus.service import Instance

__all__ = ["DnsResolver"]

_log = logging.getLogger("elanus.discovery")


class DnsResolver(Resolver):
    """Instances from A and AAAA records with one port for all, or from SRV records with ports and weights.

    Watches share no connection: a question opens its socket and closes it.

    :param options: see the README's table: ``port``, ``record``, ``family``, ``nameservers``, ``search``, ...
    :raises ConfigError: an option that it does not have, or a value that makes no sense.
    """

    name = "dns"

    def __init__(self, **options: object) -> None:
        self._settings = read_settings(DnsSettings, "resolver 'dns'", options)
        self._system = System(self._settings)

    async def watch(self, name: str) -> AsyncGenerator[Sequence[Instance]]:
        """Complete sets: what DNS says now, then a new one after each change that a later look-up finds.

        A name that does not exist is an empty set. When nobody answers the last set stands, and is asked for again
        for as long as it takes.

        :param name: a name of DNS, in which a client's options may put a port: ``"echo.acme:8888"``.
        :raises DiscoveryError: the first look-up had no answer, or DNS cannot hold such a name.
        """
        settings = self._settings
        look_up = LookUp(Destination(name, settings), self._system, settings.family)
        pace = Pace(settings.min_refresh, settings.max_refresh)
        known: Sequence[Instance] | None = None
        while True:
            try:
                found = await look_up.run()
            except QuestionError as error:
                if known is None:
                    raise _unanswered(name, error) from error
                wait = pace.failed()
                # A line for each failure would flood the log.
                level = logging.WARNING if pace.failures == 1 else logging.DEBUG
                _log.log(level, "%s: keeping the last %d instances: %s", name, len(known), error)
            else:
                if pace.failures:
                    _log.info("%s: DNS answers again, after %d failures", name, pace.failures)
                wait = pace.answered(found.ttl, found.questions)
                if found.instances != known:
                    known = found.instances
                    yield known
            await asyncio.sleep(wait)


def _unanswered(name: str, error: QuestionError) -> DiscoveryError:
    return DiscoveryError(
        f"{name!r} cannot be looked up in DNS: {error}",
        hint="Check the name servers in the options 'nameservers' and 'resolv_conf', and whether they can be reached",
    )
