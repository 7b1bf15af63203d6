"""What stands between a real client and simulated instances: a codec without bytes, and a transport without a wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from elanus.contracts.codec import Codec
from elanus.contracts.resolver import Resolver
from elanus.contracts.transport import Connection, Sniff, Transport
from elanus.errors import ConfigError, ConnectFailedError, ConnectionLostError, ElanusError
from elanus.service import MethodInfo, ServiceInfo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from os import PathLike

    from elanus.call import Call
    from elanus.contracts.codec import Idl, Payload
    from elanus.contracts.transport import Dispatcher, LinkOptions, RawStream, ServerLink
    from elanus.limits import Limits
    from elanus.service import Instance
    from elanus.testing.simulation.instance import Job, SimulatedInstance
    from elanus.testing.simulation.recording import Recorder
    from elanus.testing.simulation.served import Served

__all__ = ["NAME", "SimulatedConnection", "SimulatedResolver", "SimulatedTransport", "simulated_service"]

NAME = "simulated"

#: Calls that one connection carries at the same time: as many as there are.
_ENDLESS = 1 << 30


def simulated_service(methods: Sequence[str]) -> ServiceInfo:
    """The service that all simulated instances offer; each method takes one argument."""
    infos = {name: MethodInfo(name, "Simulated", parameters=("argument",)) for name in methods}
    return ServiceInfo("Simulated", _NoCodec(), infos)


class _NoCodec(Codec):
    """Encodes nothing: the policies see calls, and not their bytes."""

    wire = NAME
    suffixes = ()

    def load(self, path: str | PathLike[str], include_directories: Sequence[str | PathLike[str]] = ()) -> Idl:
        raise ConfigError("the codec of simulations loads no files", hint="Simulate calls; encode them elsewhere")

    def with_limits(self, limits: Limits) -> Codec:
        return self

    def encode_arguments(self, method: MethodInfo, arguments: Sequence[Any]) -> bytes:
        return b""

    def decode_arguments(self, method: MethodInfo, payload: Payload) -> Sequence[Any]:
        return (None,)

    def encode_result(self, method: MethodInfo, reply: Any) -> bytes:
        return b""

    def encode_exception(self, method: MethodInfo, error: BaseException) -> bytes | None:
        return None

    def decode_result(self, method: MethodInfo, payload: Payload) -> Any:
        return None

    def encode_item(self, method: MethodInfo, item: Any, *, reply: bool) -> bytes:
        return b""

    def decode_item(self, method: MethodInfo, payload: Payload, *, reply: bool) -> Any:
        return None

    def from_json(self, type_: Any, text: str | bytes) -> Any:
        return None

    def to_json(self, value: Any) -> str:
        return "null"


class SimulatedResolver(Resolver):
    """Knows which instances there are, and tells whoever watches when that changes."""

    name = NAME

    def __init__(self) -> None:
        self._instances: Sequence[Instance] = ()
        self._changed: list[asyncio.Future[None]] = []

    def set(self, instances: Sequence[Instance]) -> None:
        """From now on there are these."""
        self._instances = tuple(instances)
        changed, self._changed = self._changed, []
        for future in changed:
            if not future.done():
                future.set_result(None)

    async def watch(self, name: str) -> AsyncGenerator[Sequence[Instance]]:
        while True:
            known = self._instances
            yield known
            if known is self._instances:
                future = asyncio.get_running_loop().create_future()
                self._changed.append(future)
                await future


class SimulatedTransport(Transport):
    """Connects a client with simulated instances.

    :param work: by method, how much longer its calls take than others.
    """

    name = NAME
    sniff_bytes = 1

    def __init__(
        self, instances: Mapping[str, SimulatedInstance], recorder: Recorder, work: Mapping[str, float]
    ) -> None:
        self._instances = instances
        self._recorder = recorder
        self._work = work
        #: The real servers, by address; filled when they have started.
        self.servers: dict[str, Served] = {}

    def sniff(self, head: bytes) -> Sniff:
        return Sniff.NO

    def serve(self, wire: asyncio.Transport, head: bytes, dispatcher: Dispatcher, options: LinkOptions) -> ServerLink:
        raise ConfigError("a simulated transport has no port", hint="Give simulate() groups of instances instead")

    async def connect(self, address: str, lane: str, options: LinkOptions) -> Connection:
        instance = self._instances[address]
        if instance.silent:
            await asyncio.get_running_loop().create_future()  # until whoever connects gives up
        await asyncio.sleep(instance.way)
        if instance.refusing:
            instance.connects_refused += 1
            raise ConnectFailedError("connection refused", instance=address)
        instance.connected += 1
        return SimulatedConnection(instance, self._recorder, self._work, self.servers.get(address))


class SimulatedConnection(Connection):
    """A client's connection to a simulated instance: multiplexed, and as quick as its instance says."""

    def __init__(
        self, instance: SimulatedInstance, recorder: Recorder, work: Mapping[str, float], served: Served | None
    ) -> None:
        self.peer = instance.instance.address
        self.free = _ENDLESS
        self.busy = 0
        self.writable = True
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[ElanusError] = self._loop.create_future()
        #: Work that can be cancelled, by the reply that waits for it.
        self.jobs: dict[asyncio.Future[Payload], Job] = {}
        self._instance = instance
        self._recorder = recorder
        self._work = work
        self._served = served
        self._replies: dict[asyncio.Future[Payload], None] = {}
        self._seq_id = 0
        self._idle: asyncio.Future[None] | None = None
        instance.connections[self] = None

    def request(self, call: Call, payload: Payload) -> asyncio.Future[Payload]:
        reply: asyncio.Future[Payload] = self._loop.create_future()
        if self.free == 0 and self.closed.done():
            reply.set_exception(self._lost(sent=False))
            return reply
        self._seq_id += 1
        call.seq_id, call.peer, call.transport, call.written = self._seq_id, self.peer, NAME, True
        self.busy += 1
        self._replies[reply] = None
        instance = self._instance
        self._recorder.attempt(call, instance)
        if instance.silent:
            return reply
        if self._served is not None:
            self._served.request(call, reply, self)
        else:
            instance.arrive(self, reply, self._work[call.method.name])
        return reply

    def answer(self, reply: asyncio.Future[Payload], error: ElanusError | None, refused: bool = False) -> None:
        """The answer to a request has arrived; maybe nobody waits for it any more.

        :param refused: the instance did not take it on.
        """
        instance = self._instance
        if self.jobs:
            self.jobs.pop(reply, None)
        if error is None:
            instance.succeeded += 1
        elif refused:
            self._recorder.refused(instance)
        else:
            instance.failed += 1
        if not self._forget(reply):
            instance.abandoned += 1
        elif not reply.done():
            if error is None:
                reply.set_result(b"")
            else:
                reply.set_exception(error)

    def abandon(self, reply: asyncio.Future[Payload], reason: ElanusError) -> None:
        if not self._forget(reply) or not self._instance.group.cancels:
            return
        job = self.jobs.pop(reply, None)
        if job is not None and self._instance.workers is not None:
            self._instance.workers.cancel(job)
        if self._served is not None:
            self._served.cancel(reply)

    def _forget(self, reply: asyncio.Future[Payload]) -> bool:
        if self._replies.pop(reply, reply) is reply:
            return False
        self.busy -= 1
        if self.busy == 0 and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        return True

    def lose(self, why: str) -> None:
        """It breaks, and every call on it fails."""
        self.free = 0
        self._instance.connections.pop(self, None)
        if self.closed.done():
            return
        self.closed.set_result(ConnectionLostError(why, instance=self.peer))
        replies, self._replies = self._replies, {}
        self.busy = 0
        for reply in replies:
            if self._served is not None:
                self._served.cancel(reply)
            if not reply.done():
                reply.set_exception(self._lost(sent=True))

    def _lost(self, *, sent: bool) -> ConnectionLostError:
        return ConnectionLostError(self.closed.result().message, instance=self.peer, sent=sent)

    async def open(self, call: Call) -> RawStream:
        raise ConfigError("streams are not simulated", hint="Simulate unary calls")

    async def drained(self) -> None:
        """There is always room."""

    async def aclose(self, grace: float) -> None:
        self.free = 0
        if self.busy and grace > 0:
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=grace)
        self.lose("the client closed the connection")
