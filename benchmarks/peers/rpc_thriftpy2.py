"""thriftpy2's own servers and clients, framed, with its Cython codec: ``--mode aio`` and ``--mode threads``.

Neither has metadata. ``--chain full`` sets a timeout of 1 s on the client, as the other peers do; ``bare`` sets none.
The server's ``client_timeout`` is off: in aio it would end every connection of that age, busy or not.
"""

# mypy: disable-error-code="no-untyped-call"

import asyncio
import os
import threading
import time
from itertools import cycle
from typing import Any

import thriftpy2
from thriftpy2.contrib.aio.processor import TAsyncProcessor
from thriftpy2.contrib.aio.protocol.binary import TAsyncBinaryProtocolFactory
from thriftpy2.contrib.aio.rpc import make_client as make_aio_client
from thriftpy2.contrib.aio.server import TAsyncServer
from thriftpy2.contrib.aio.socket import TAsyncServerSocket
from thriftpy2.contrib.aio.transport import TAsyncFramedTransportFactory
from thriftpy2.protocol import TCyBinaryProtocolFactory
from thriftpy2.rpc import make_client
from thriftpy2.server import TThreadedServer
from thriftpy2.thrift import TProcessor
from thriftpy2.transport import TCyFramedTransportFactory, TServerSocket

from .load import Run, messages
from .speaking import BENCH_IDL, Asked, Handled, answer_lines, asked, emit, run, serve

BENCH = thriftpy2.load(str(BENCH_IDL), module_name="bench_thrift")


class AsyncHandler:
    def __init__(self, handled: Handled) -> None:
        self._handled = handled

    async def echo(self, request: Any) -> Any:
        self._handled.calls += 1
        return BENCH.Response(message=request.message)


class ThreadHandler:
    def __init__(self, handled: Handled) -> None:
        self._handled = handled

    def echo(self, request: Any) -> Any:
        self._handled.calls += 1
        return BENCH.Response(message=request.message)


def _requests(options: Asked, worker: int) -> list[Any]:
    return [BENCH.Request(message=message) for message in messages(worker, options.payload)]


def _connecting(options: Asked) -> dict[str, Any]:
    host, _, port = options.address.rpartition(":")
    return {"host": host, "port": int(port), "timeout": 1_000 if options.chain == "full" else None}


async def _serve_aio(options: Asked) -> None:
    async def start(handled: Handled) -> str:
        socket = TAsyncServerSocket(host="127.0.0.1", port=0, client_timeout=None)
        server = TAsyncServer(
            TAsyncProcessor(BENCH.Bench, AsyncHandler(handled)),
            socket,
            itrans_factory=TAsyncFramedTransportFactory(),
            iprot_factory=TAsyncBinaryProtocolFactory(),
            loop=asyncio.get_running_loop(),
        )
        # init_server() would run the loop, which runs already; these are its two steps.
        socket.listen()
        server.server = await socket.accept(server.handle)
        return f"127.0.0.1:{socket.raw_sock.getsockname()[1]}"

    await serve(start, options.profile)


async def _call_aio(options: Asked) -> None:
    measured = Run(options)
    clients = [
        await make_aio_client(
            BENCH.Bench,
            proto_factory=TAsyncBinaryProtocolFactory(),
            trans_factory=TAsyncFramedTransportFactory(),
            **_connecting(options),
        )
        for _ in range(options.concurrency)
    ]
    await measured.measure([measured.work(client.echo, _requests(options, i)) for i, client in enumerate(clients)])
    for client in clients:
        client.close()


def _serve_threads(options: Asked) -> None:
    handled = Handled()
    socket: Any = TServerSocket(host="127.0.0.1", port=0, client_timeout=None)
    server = TThreadedServer(
        TProcessor(BENCH.Bench, ThreadHandler(handled)),
        socket,
        daemon=True,
        itrans_factory=TCyFramedTransportFactory(),
        iprot_factory=TCyBinaryProtocolFactory(),
    )
    socket.listen()
    # serve() listens too, on a port that could no longer be told.
    socket.listen = lambda: None
    # Its accept loop has no end of its own; the process ends with its stdin.
    answer_lines(handled, None, lambda: os._exit(0))
    emit("ready", address=f"127.0.0.1:{socket.sock.getsockname()[1]}", pid=os.getpid())
    server.serve()


def _work(measured: Run, client: Any, requests: list[Any]) -> None:
    """One thread's closed loop, as :meth:`Run.work`."""
    for request in cycle(requests):
        if measured.stopping:
            return
        counted = measured.measuring
        started = time.perf_counter()
        try:
            reply = client.echo(request)
        except Exception as error:
            # This connection is unusable now; the others go on, and the result tells of it.
            measured.failed(error)
            return
        elapsed = time.perf_counter() - started
        if reply.message != request.message:
            measured.wrong += 1
        elif counted and measured.measuring:
            measured.of_threads.append(elapsed)


def _call_threads(options: Asked) -> None:
    measured = Run(options)
    threads = []
    for worker in range(options.concurrency):
        client = make_client(
            BENCH.Bench,
            proto_factory=TCyBinaryProtocolFactory(),
            trans_factory=TCyFramedTransportFactory(),
            **_connecting(options),
        )
        arguments = (measured, client, _requests(options, worker))
        threads.append(threading.Thread(target=_work, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    time.sleep(options.warmup)
    measured.open()
    time.sleep(options.seconds)
    measured.close()
    for thread in threads:
        thread.join()


def main() -> None:
    options = asked(modes=("aio", "threads"), chains=("bare", "full"))
    if options.mode == "threads":
        (_serve_threads if options.role == "server" else _call_threads)(options)
        return
    run(_serve_aio(options) if options.role == "server" else _call_aio(options), options.loop)


if __name__ == "__main__":
    main()
