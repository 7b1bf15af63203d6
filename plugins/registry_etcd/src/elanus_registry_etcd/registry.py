"""The registry: announcements under leases, kept by core's reconcile loop."""

from __future__ import annotations

import logging
from typing import NamedTuple

import grpc

from elanus.net.reconciler import Announcer, ReconcilingRegistry
from elanus.reconcile import Rhythm
from elanus.service import Instance
from elanus.settings import read_settings
from elanus_registry_etcd.connection import EtcdConnection
from elanus_registry_etcd.failures import EtcdError
from elanus_registry_etcd.layout import encode_value, instance_key, with_host_and_port
from elanus_registry_etcd.settings import RegistrySettings

__all__ = ["EtcdAnnouncer", "EtcdRegistry"]

_log = logging.getLogger("elanus.registry")

#: Between reading back what was announced. Kitex's watchdog has the same.
_CHECK_EVERY = 30.0


class EtcdRegistry(ReconcilingRegistry):
    """Announces in etcd, in the format of Kitex's registry-etcd.

    :param options: see the README's table: ``endpoints``, ``prefix``, ``ttl``, ``user``, ...
    :raises ConfigError: an option that it does not have, or a value that makes no sense.
    """

    def __init__(self, **options: object) -> None:
        settings = read_settings(RegistrySettings, "registry 'etcd'", options)
        ttl = settings.lease_ttl()
        rhythm = Rhythm(
            renew_every=ttl / 3,
            check_every=min(_CHECK_EVERY, ttl / 2),
            ttl=ttl,
            first_retry=min(0.25, ttl / 12),
            longest_retry=min(5.0, ttl / 3),
        )
        # Of a step of several requests one at most finds its connection dead, and goes round all members once.
        step_timeout = settings.timeout * (len(settings.endpoints) + 2)
        super().__init__("etcd", EtcdAnnouncer(settings), rhythm, step_timeout)
        self._settings = settings

    async def register(self, name: str, instance: Instance, *, insist: bool = False) -> None:
        """Announce *instance* under *name*; see :meth:`Registry.register`.

        :raises ConfigError: etcd cannot hold such a name, or others could not reach such an address.
        """
        instance_key(self._settings.prefix, name, instance.address)
        await super().register(name, instance, insist=insist)


class _Entry(NamedTuple):
    """What is kept in etcd of one announcement, and what we know it by."""

    own: tuple[str, str]
    key: bytes
    value: bytes


class EtcdAnnouncer(Announcer):
    """One lease for each announcement, so that each lives and dies by itself."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._ttl = settings.lease_ttl()
        self._advertised = settings.advertised()
        if any(self._advertised):
            _log.info("etcd: the environment has host %r and port %r announced", *self._advertised)
        self._etcd = EtcdConnection(settings)
        self._leases: dict[tuple[str, str], int] = {}

    async def announce(self, name: str, instance: Instance) -> None:
        entry = self._entry(name, instance)
        lease = self._leases.get(entry.own) or await self._grant(entry)
        try:
            await self._put(entry, lease)
        except EtcdError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise
            await self._put(entry, await self._grant(entry))  # the lease is gone
        if not await self.check(name, instance):
            raise EtcdError(self._settings.prefix, "what was just written reads otherwise", grpc.StatusCode.ABORTED)

    async def renew(self, name: str, instance: Instance) -> bool:
        own = name, instance.address
        lease = self._leases.get(own)
        if lease is None:
            return False
        request = self._etcd.api.LeaseKeepAliveRequest(ID=lease)
        async with self._etcd.stream("Lease/LeaseKeepAlive", request) as stream:
            answer = await stream.first()
        if answer.TTL > 0:
            return True
        del self._leases[own]
        return False

    async def check(self, name: str, instance: Instance) -> bool:
        entry = self._entry(name, instance)
        answer = await self._etcd.ask("KV/Range", self._etcd.api.RangeRequest(key=entry.key))
        return any(one.value == entry.value and one.lease == self._leases.get(entry.own) for one in answer.kvs)

    async def withdraw(self, name: str, instance: Instance) -> None:
        entry = self._entry(name, instance)
        lease = self._leases.get(entry.own)
        if lease is None:
            return
        api = self._etcd.api
        # Only our own: a successor of this process may have announced itself under the same key.
        ours = api.Compare(key=entry.key, target=api.Compare.LEASE, lease=lease)  # by default: is equal
        delete = api.RequestOp(request_delete_range=api.DeleteRangeRequest(key=entry.key))
        await self._etcd.ask("KV/Txn", api.TxnRequest(compare=[ours], success=[delete]))
        del self._leases[entry.own]
        try:
            await self._etcd.ask("Lease/LeaseRevoke", api.LeaseRevokeRequest(ID=lease))
        except EtcdError as error:
            _log.debug("a lease is left to expire: %s", str(error))

    async def aclose(self) -> None:
        await self._etcd.aclose()

    async def _grant(self, entry: _Entry) -> int:
        answer = await self._etcd.ask("Lease/LeaseGrant", self._etcd.api.LeaseGrantRequest(TTL=self._ttl))
        lease: int = answer.ID
        self._leases[entry.own] = lease
        return lease

    async def _put(self, entry: _Entry, lease: int) -> None:
        request = self._etcd.api.PutRequest(key=entry.key, value=entry.value, lease=lease)
        await self._etcd.ask("KV/Put", request)

    def _entry(self, name: str, instance: Instance) -> _Entry:
        host, port = self._advertised
        told = instance
        if host or port:
            told = Instance(with_host_and_port(instance.address, host, port), instance.weight, instance.tags)
        key = instance_key(self._settings.prefix, name, told.address)
        return _Entry((name, instance.address), key.encode(), encode_value(told))
