"""etcd's API, from the descriptors that the ``etcd3`` package carries.

The generated modules of etcd3 0.12.0 cannot be imported with protobuf 4 or newer ("Descriptors cannot be created
directly"), and they would put ``kv.proto`` and ``rpc.proto`` into the pool that the whole process shares, where every
other etcd library wants to put files of the same names. But each holds its file descriptor as a serialized literal. It
is read from the source, which is never run, and goes into a pool of our own: nothing is put into ``sys.modules`` or the
shared pool, and whoever else uses ``etcd3``, or another etcd library, finds it as if this plugin were not there.
"""

from __future__ import annotations

import ast
import functools
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from elanus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EtcdApi", "etcd_api"]

_DISTRIBUTION = "etcd3"
#: In the order in which they depend on each other.
_FILES = ("kv_pb2.py", "auth_pb2.py", "rpc_pb2.py")
_PACKAGE = "etcdserverpb"


class EtcdApi:
    """The messages and methods of etcd's API, version 3.

    Message classes are attributes: ``api.RangeRequest(key=b"a")``.
    """

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        try:
            descriptor = self._pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")
        except KeyError:
            raise AttributeError(f"etcd's API has no message {name!r}") from None
        message = message_factory.GetMessageClass(descriptor)
        setattr(self, name, message)
        return message

    def bind(self, channel: Any, path: str) -> Callable[..., Any]:
        """The callable of a method on a gRPC channel.

        :param path: the service and the method: ``"KV/Range"``.
        """
        service, _, name = path.partition("/")
        method = self._pool.FindServiceByName(f"{_PACKAGE}.{service}").methods_by_name[name]
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        # etcd's API knows methods that stream both ways, and methods that do not stream.
        make = channel.stream_stream if method.client_streaming else channel.unary_unary
        bound: Callable[..., Any] = make(
            f"/{_PACKAGE}.{path}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return bound


@functools.cache
def etcd_api() -> EtcdApi:
    """The API; read once per process, in some 10 ms.

    :raises ConfigError: the package ``etcd3`` is not there, or not one that carries the descriptors.
    """
    pool = descriptor_pool.DescriptorPool()
    for name in _FILES:
        pool.AddSerializedFile(_serialized_descriptor(_source(name), name))
    return EtcdApi(pool)


def _source(name: str) -> str:
    # By distribution, not by module: other distributions, too, install a module of the name `etcd3`.
    try:
        file = metadata.distribution(_DISTRIBUTION).locate_file(f"etcd3/etcdrpc/{name}")
        return Path(str(file)).read_text("utf-8")
    except (metadata.PackageNotFoundError, OSError) as error:
        raise ConfigError(
            f"the package etcd3 is not installed, or has no etcdrpc/{name}",
            hint="Try: pip install --force-reinstall 'etcd3==0.12.0'",
        ) from error


def _serialized_descriptor(source: str, name: str) -> bytes:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
            # A literal of bytes, or, where Python 2 was to read it too, of text in a call that encodes it.
            literal = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
            value = ast.literal_eval(literal)
            data: bytes = value.encode("latin-1") if isinstance(value, str) else value
            descriptor_pb2.FileDescriptorProto.FromString(data)  # fails here, with a message, when it is none
            return data
    raise ConfigError(f"etcdrpc/{name} of etcd3 holds no descriptor", hint="Try: pip install 'etcd3==0.12.0'")
