"""grpcio's asyncio server and client (``grpc.aio``), with protobuf messages (upb).

The messages are built at run time from a descriptor; stubs that ``protoc`` generates call the same functions.
``--chain full`` sends metadata (two pairs) and a deadline of 1 s with each call.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from .load import Run, messages
from .speaking import Asked, Handled, asked, run, serve

METHOD = "/bench.Bench/Echo"
METADATA = (("request-origin", "benchmark"), ("tenant", "acme"))


def _message_classes() -> tuple[Any, Any]:
    """The classes of ``Request`` and ``Response``, each with ``string message = 1``."""
    file = descriptor_pb2.FileDescriptorProto(name="elanus_bench.proto", package="bench", syntax="proto3")
    for name in ("Request", "Response"):
        field = file.message_type.add(name=name).field.add(name="message", number=1)
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
        field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"bench.{name}") for name in ("Request", "Response")]
    request, response = (message_factory.GetMessageClass(descriptor) for descriptor in found)
    return request, response


REQUEST, RESPONSE = _message_classes()


async def _serve(options: Asked) -> None:
    server = grpc.aio.server()

    async def start(handled: Handled) -> str:
        async def echo(request: Any, context: Any) -> Any:
            handled.calls += 1
            return RESPONSE(message=request.message)

        handler = grpc.unary_unary_rpc_method_handler(
            echo, request_deserializer=REQUEST.FromString, response_serializer=RESPONSE.SerializeToString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bench", {"Echo": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return f"127.0.0.1:{port}"

    await serve(start, options.profile)
    await server.stop(0)


async def _call(options: Asked) -> None:
    measured = Run(options)
    async with grpc.aio.insecure_channel(options.address) as channel:
        echo = channel.unary_unary(
            METHOD, request_serializer=REQUEST.SerializeToString, response_deserializer=RESPONSE.FromString
        )
        call: Callable[[Any], Awaitable[Any]] = echo
        if options.chain == "full":

            def call(request: Any) -> Awaitable[Any]:
                reply: Awaitable[Any] = echo(request, timeout=1.0, metadata=METADATA)
                return reply

        works = [measured.work(call, _requests(options, worker)) for worker in range(options.concurrency)]
        await measured.measure(works)


def _requests(options: Asked, worker: int) -> list[Any]:
    return [REQUEST(message=message) for message in messages(worker, options.payload)]


def main() -> None:
    options = asked(chains=("bare", "full"))
    run(_serve(options) if options.role == "server" else _call(options), options.loop)


if __name__ == "__main__":
    main()
