"""Everything that can go wrong with a call, made to happen over TCP: one function for each golden message.

Each gives the error that a caller gets; those of :data:`SERVER_SCENES` give what the server logs instead.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.core.policies import Always, OpenBreaker, Refuses

import elanus
from elanus.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

FOLDER = Path(__file__).parent
echo = elanus.load(FOLDER / "echo.thrift")
newer = elanus.load(FOLDER / "newer.thrift")
other = elanus.load(FOLDER / "other.thrift")

#: Seconds that a call gets where it will need all of them.
SHORT = 0.1


class Echo:
    """Answers, or does what the message says."""

    async def echo(self, request: Any) -> Any:
        match request.message:
            case "sleep":
                await asyncio.sleep(30)
            case "bug":
                raise KeyError("no such user")
            case "no":
                raise elanus.BizStatusError(4011, "the account is closed", {"account": "7"})
            case "much":
                return echo.Response(message="x" * 5_000)
        return echo.Response(message=request.message)


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[elanus.Server]:
    server = elanus.Server(drain_timeout=0.0, **options)
    server.add_service(echo.Echo, Echo())
    await server.start("127.0.0.1:0")
    try:
        yield server
    finally:
        await server.stop()


@contextmanager
def closed_port() -> Iterator[str]:
    """An address on which nobody listens, for as long as this lasts."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


async def failure(
    targets: Any,
    message: str = "hi",
    *,
    idl: Any = echo,
    method: str = "echo",
    acquainted: bool = False,
    **options: Any,
) -> elanus.ElanusError:
    """The error of one call.

    :param acquainted: it is not the first call on its connection, and that one was a success.
    """
    options.setdefault("timeout", 5.0)
    service = next(iter(idl.__services__.values()))
    argument = idl.Request(message=message) if hasattr(idl, "Request") else message
    async with elanus.Client(service, targets, **options) as client:
        if acquainted:
            await client.call(method, idl.Request(message="hi"))
        try:
            await client.call(method, argument)
        except elanus.ElanusError as error:
            return error
    raise AssertionError("the call was a success")


# Finding an instance


async def name_not_found(folder: Path) -> elanus.ElanusError:
    return await failure(None, resolver=("file", {"directory": str(folder)}), name="acme.echo")


async def registry_down(folder: Path) -> elanus.ElanusError:
    with closed_port() as address:
        return await failure(None, resolver=("etcd", {"endpoints": address}), name="acme.echo")


async def no_instance_left(folder: Path) -> elanus.ElanusError:
    with closed_port() as one, closed_port() as two:
        return await failure([one, two])


# Connecting


async def connection_refused(folder: Path) -> elanus.ElanusError:
    with closed_port() as address:
        return await failure(address)


async def connect_timeout(folder: Path) -> elanus.ElanusError:
    with full_backlog() as address:
        return await failure(address, connect_timeout=SHORT)


@contextmanager
def full_backlog() -> Iterator[str]:
    """A listener that accepts nobody and whose queue is full: the system leaves further connects unanswered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        host, port = listener.getsockname()
        waiting = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((host, port))
            waiting.append(one)
        yield f"{host}:{port}"
        for one in waiting:
            one.close()


def anonymous(purpose: int) -> ssl.SSLContext:
    """TLS without certificates."""
    context = ssl.SSLContext(purpose)
    if purpose == ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:ADH-AES256-GCM-SHA384:@SECLEVEL=0")
    return context


async def tls_client_plain_server(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, ssl=anonymous(ssl.PROTOCOL_TLS_CLIENT))


async def plain_client_tls_server(folder: Path) -> elanus.ElanusError:
    async with serving(ssl=anonymous(ssl.PROTOCOL_TLS_SERVER)) as server:
        return await failure(server.address)


async def http_server(folder: Path) -> elanus.ElanusError:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async with listening(answer) as address:
        return await failure(address)


async def grpc_server(folder: Path) -> elanus.ElanusError:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00")
        await reader.read(1)
        writer.close()

    async with listening(answer) as address:
        return await failure(address)


@asynccontextmanager
async def listening(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


# Waiting


async def reset_while_waiting(folder: Path) -> elanus.ElanusError:
    async with serving() as server, FaultProxy(server.address) as proxy:

        async def cut() -> None:
            while proxy.up.chunks < 2:  # noqa: ASYNC110  # counts tell nobody
                await asyncio.sleep(0.01)
            await proxy.cut("reset")

        cutting = asyncio.create_task(cut())
        try:
            return await failure(proxy.address, "sleep", acquainted=True)
        finally:
            await cutting


async def half_open_peer(folder: Path) -> elanus.ElanusError:
    async with serving() as server, FaultProxy(server.address) as proxy:
        proxy.half_open = True
        return await failure(proxy.address, timeout=SHORT)


async def slow_server(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, "sleep", attempt_timeout=SHORT, acquainted=True)


# Policies


async def over_limit(folder: Path) -> elanus.ElanusError:
    async with serving(limiter=Refuses()) as server:
        return await failure(server.address)


async def breaker_open(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, service_breaker=OpenBreaker())


async def instance_breaker_open(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, instance_breaker=OpenBreaker())


async def all_attempts_failed(folder: Path) -> elanus.ElanusError:
    async with serving() as one, serving() as two:
        return await failure([one.address, two.address], "sleep", attempt_timeout=SHORT, retrier=Always(most=2))


async def budget_spent(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(
            server.address, "sleep", attempt_timeout=SHORT, timeout=1.0, retrier=Always(most=2, pause=30.0)
        )


# Answers


async def unknown_method(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, idl=newer, method="shout")


async def unknown_service(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, idl=other, method="count")


async def undecodable_reply(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, idl=newer)


async def oversized_reply(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, "much", limits=elanus.Limits(frame_bytes=4096))


async def handler_error(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, "bug")


async def biz_status(folder: Path) -> elanus.ElanusError:
    async with serving() as server:
        return await failure(server.address, "no")


# What a server logs


class _Lines(logging.Handler):
    """The warnings and errors of one server."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.first = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.first.set()


async def logged(data: bytes, **options: Any) -> str:
    """The line that a server logs when somebody connects and sends *data*."""
    lines = _Lines()
    logging.getLogger("elanus").addHandler(lines)
    try:
        async with serving(**options) as server:
            host, _, port = server.address.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(data)
            await lines.first.wait()
            writer.close()
    finally:
        logging.getLogger("elanus").removeHandler(lines)
    return lines.lines[0]


async def server_spoken_to_by_http(folder: Path) -> str:
    return await logged(b"GET /health HTTP/1.1\r\nHost: echo\r\n\r\n")


async def server_spoken_to_by_grpc(folder: Path) -> str:
    return await logged(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


async def server_spoken_to_in_tls(folder: Path) -> str:
    return await logged(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03")


async def tls_server_spoken_to_in_plain(folder: Path) -> str:
    return await logged(b"\x00\x00\x00\x40\x10\x00\x00\x00", ssl=anonymous(ssl.PROTOCOL_TLS_SERVER))


#: What callers get, in the order of the pages.
CLIENT_SCENES = (
    name_not_found,
    registry_down,
    no_instance_left,
    connection_refused,
    connect_timeout,
    tls_client_plain_server,
    plain_client_tls_server,
    http_server,
    grpc_server,
    reset_while_waiting,
    half_open_peer,
    slow_server,
    over_limit,
    breaker_open,
    instance_breaker_open,
    all_attempts_failed,
    budget_spent,
    unknown_method,
    unknown_service,
    undecodable_reply,
    oversized_reply,
    handler_error,
    biz_status,
)
#: What servers log.
SERVER_SCENES = (
    server_spoken_to_by_http,
    server_spoken_to_by_grpc,
    server_spoken_to_in_tls,
    tls_server_spoken_to_in_plain,
)
