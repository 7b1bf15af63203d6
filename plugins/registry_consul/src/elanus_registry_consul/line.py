"""A line to an agent: one HTTP session, and the one thread that uses it, so that nothing of it blocks an event loop.

A request that nobody waits for any more is ended by giving up its line: the socket is shut down under it, which wakes
the thread, whatever it waits for. Neither python-consul nor requests offers that, so the connections are of our own
class, which know whose they are by the thread that makes them.
"""

from __future__ import annotations

import queue
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from consul.std import HTTPClient
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import Response

    from elanus.settings import BackendAddress
    from elanus_registry_consul.settings import ConnectionSettings

__all__ = ["Line"]

T = TypeVar("T")

#: A host that is gone says nothing. The system asks after it once a line is silent for so many seconds, again after
#: so many more, and gives up when so many questions went unanswered.
_KEEPALIVE = (5, 5, 3)


class Line(threading.Thread):
    """One session with one agent. Carries out one request after the other, each as a function of the client.

    :param agent: where to connect to.
    """

    def __init__(self, agent: BackendAddress, settings: ConnectionSettings) -> None:
        # A name server that does not answer can hold a thread for long; it must not hold the end of the process.
        super().__init__(name=f"elanus consul {agent}", daemon=True)
        self._agent = agent
        self._settings = settings
        self._requests: queue.SimpleQueue[tuple[Callable[[Any], Any], float, Future[Any]] | None] = queue.SimpleQueue()
        self._connection: HTTPConnection | None = None
        #: Another handle on its socket. The connection's own is out of reach during a TLS handshake.
        self._duplicate: socket.socket | None = None
        self.abandoned = False
        #: Connect and read timeouts, in seconds, of the request that is being carried out.
        self.timeouts = (settings.connect_timeout, settings.timeout)
        #: Done when the thread has ended.
        self.ended: Future[None] = Future()

    def submit(self, request: Callable[[Any], T], patience: float) -> Future[T]:
        """Have *request* called with the client, in this thread; *patience* bounds each silence of the agent."""
        future: Future[T] = Future()
        self._requests.put((request, patience, future))
        return future

    def abandon(self) -> None:
        """End the thread, and first what it does just now."""
        self.abandoned = True
        self._requests.put(None)
        if self._duplicate is not None:
            with suppress(OSError):
                self._duplicate.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        client = self._client()
        try:
            while (job := self._requests.get()) is not None:
                self._carry_out(client, *job)
        finally:
            client.session.close()
            self._close_connection()
            self.ended.set_result(None)

    def _carry_out(self, client: Any, request: Callable[[Any], T], patience: float, future: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        self.timeouts = (self._settings.connect_timeout, patience)
        try:
            answer = request(client)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(answer)

    def _client(self) -> Any:
        """The client's HTTP layer alone: above it, python-consul and its fork differ, and let the environment win."""
        settings = self._settings
        client = HTTPClient(
            self._agent.host,
            self._agent.port,
            self._agent.scheme,
            verify=(settings.ca_file or True) if settings.verify else False,
            cert=(settings.cert_file, settings.key_file) if settings.cert_file else None,
        )
        session = client.session
        session.mount(f"{self._agent.scheme}://", _Adapter(pool_connections=1, pool_maxsize=1))
        # No proxy of the environment between us and an agent that is ours, and no password out of a .netrc.
        session.trust_env = False
        if settings.token:
            # In a header: as a parameter, where python-consul has it, it would be in logs and in errors.
            session.headers["X-Consul-Token"] = settings.token
        return client

    def connected(self, connection: HTTPConnection, sock: socket.socket) -> socket.socket:
        """*sock*, which an abandoned request will be found to wait for.

        :raises OSError: nobody waits for it any more.
        """
        self._close_connection()
        self._connection, self._duplicate = connection, sock.dup()
        if self.abandoned:
            sock.close()
            raise OSError("given up")
        return sock

    def _close_connection(self) -> None:
        """The session leaves its connections to the garbage collector, and an error in somebody's hands keeps them."""
        if self._connection is not None:
            self._connection.close()
        if self._duplicate is not None:
            self._duplicate.close()


def _line() -> Line:
    """The line whose thread this is."""
    line = threading.current_thread()
    assert isinstance(line, Line)
    return line


class _PlainConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _line().connected(self, super()._new_conn())


class _SecureConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _line().connected(self, super()._new_conn())


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Makes connections of our classes, and gives each request the time that its line has for it."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        idle, every, times = _KEEPALIVE
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        if hasattr(socket, "TCP_KEEPIDLE"):  # not on every system
            options += [
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, every),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, times),
            ]
        super().init_poolmanager(*args, socket_options=options, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def send(self, *args: Any, **kwargs: Any) -> Response:
        # python-consul asks for no timeout, its fork for one of its own.
        return super().send(*args, **{**kwargs, "timeout": _line().timeouts})
