"""thriftpy2 and Apache Thrift as they are: their own clients and threaded servers, for buffered and framed.

Apache Thrift's compiler is a C++ program, so what it would generate is written by hand here: struct classes by their
``thrift_spec``, and the loop of a processor and of a client.
"""

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import thriftpy2
from thrift import Thrift
from thrift.protocol.TBase import TBase
from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory
from thrift.server import TServer
from thrift.transport import TSocket, TTransport
from thriftpy2.protocol import TBinaryProtocolFactory as ThriftpyProtocolFactory
from thriftpy2.rpc import make_client
from thriftpy2.server import TThreadedServer as ThriftpyServer
from thriftpy2.thrift import TApplicationException as ThriftpyApplicationException
from thriftpy2.thrift import TProcessor
from thriftpy2.transport import TBufferedTransportFactory, TFramedTransportFactory
from thriftpy2.transport import TServerSocket as ThriftpyServerSocket

__all__ = ["PEERS", "Apache", "Handler", "Peer", "Thriftpy2"]

_IDL = Path(__file__).with_name("idl") / "interop.thrift"


class Peer(ABC):
    """One Python implementation of Thrift."""

    #: Struct and exception classes, by IDL name.
    types: Any
    #: What its client raises for an error reply; has ``type`` and ``message``.
    application_error: type[Exception]

    @abstractmethod
    def serve(self, framing: str) -> AbstractContextManager[str]:
        """A threaded server of :class:`Handler`; gives its address."""

    @abstractmethod
    def connect(self, framing: str, address: str) -> AbstractContextManager[Callable[..., Any]]:
        """A client; gives ``call(method, *arguments)``, which blocks."""


class Handler:
    """A part of Interop, in terms of either peer's types."""

    def __init__(self, types: Any) -> None:
        self._types = types
        self._tokens: list[str] = []

    def echo(self, req: Any) -> Any:
        return self._types.Response(message=req.message, payload=req.payload)

    def all_types(self, value: Any) -> Any:
        return value

    def nested(self, value: Any) -> Any:
        return value

    def multi_args(self, a: int, b: str, c: list[int]) -> Any:
        return self._types.Triple(a=a, b=b, c=c)

    def ping(self) -> None:
        return None

    def nothing(self) -> None:
        return None

    def refuse(self, kind: str, text: str) -> Any:
        if kind == "not_found":
            raise self._types.NotFound(text=text)
        if kind == "conflict":
            raise self._types.Conflict(code=409, text=text, details=["a", "b"])
        return self._types.Response(message=text)

    def check(self, kind: str, text: str) -> None:
        self.refuse(kind, text)

    def fire(self, token: str, delay_ms: int) -> None:
        self._tokens.append(token)

    def fired(self, prefix: str) -> list[str]:
        return [token for token in self._tokens if token.startswith(prefix)]


class _ClosedError(BaseException):
    """The listening socket was closed. Both servers would log any lesser exception, and go on."""


@contextmanager
def _in_thread(server: Any, close: Callable[[], None]) -> Iterator[None]:
    def run() -> None:
        with suppress(_ClosedError):
            server.serve()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        close()
        thread.join()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


# thriftpy2

_ThriftpyServerSocket: Any = ThriftpyServerSocket
_ThriftpyProtocolFactory: Any = ThriftpyProtocolFactory


class _ThriftpySocket(_ThriftpyServerSocket):  # type: ignore[misc]  # thriftpy2's types do not fit each other
    """Listens from the start, and ends its server's loop when it is closed."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0)
        super().listen()
        self.address = "{}:{}".format(*self.sock.getsockname())

    def listen(self) -> None:
        pass

    def accept(self) -> Any:
        try:
            return super().accept()
        except (OSError, AssertionError):
            raise _ClosedError from None


class Thriftpy2(Peer):
    types = thriftpy2.load(str(_IDL), module_name="interop_of_thriftpy2_thrift")
    application_error = ThriftpyApplicationException
    _framings = {"buffered": TBufferedTransportFactory, "framed": TFramedTransportFactory}  # noqa: RUF012

    @contextmanager
    def serve(self, framing: str) -> Iterator[str]:
        listening = _ThriftpySocket()
        server = ThriftpyServer(
            TProcessor(self.types.Interop, Handler(self.types)),
            listening,
            iprot_factory=_ThriftpyProtocolFactory(),
            itrans_factory=self._framings[framing](),
        )
        with _in_thread(server, listening.close):
            yield listening.address

    @contextmanager
    def connect(self, framing: str, address: str) -> Iterator[Callable[..., Any]]:
        host, port = _split(address)
        factory: Any = self._framings[framing]()
        client = make_client(self.types.Interop, host, port, trans_factory=factory, timeout=30_000)
        try:
            yield lambda method, *arguments: getattr(client, method)(*arguments)
        finally:
            client.close()


# Apache Thrift

_T = Thrift.TType
_TEXT, _BINARY = "UTF8", "BINARY"


def _struct(name: str, *fields: tuple[Any, ...], base: type = TBase) -> Any:
    """A class as the compiler makes it; fields are (id, type, name) and what that type needs to know more."""
    spec: list[Any] = [None] * (1 + max((field[0] for field in fields), default=0))
    for number, kind, field_name, *more in fields:
        spec[number] = (number, kind, field_name, more[0] if more else None, None)
    names = [field[2] for field in fields]

    def init(self: Any, *values: Any, **named: Any) -> None:
        given = {**dict(zip(names, values, strict=False)), **named}
        for field_name in names:
            setattr(self, field_name, given.get(field_name))

    body = {"__init__": init, "__slots__": tuple(names), "thrift_spec": tuple(spec)}
    if issubclass(base, Exception):
        body["__hash__"] = object.__hash__
    return type(name, (base,), body)


class _ExceptionBase(TBase, Thrift.TException):  # type: ignore[misc]  # they have no types
    pass


def _apache_types() -> Any:
    request = _struct("Request", (1, _T.STRING, "message", _TEXT), (2, _T.STRING, "payload", _BINARY))
    response = _struct("Response", (1, _T.STRING, "message", _TEXT), (2, _T.STRING, "payload", _BINARY))
    scalars = {"flag": _T.BOOL, "tiny": _T.BYTE, "small": _T.I16, "medium": _T.I32, "large": _T.I64, "ratio": _T.DOUBLE}
    plain = [(number, kind, name) for number, (name, kind) in enumerate(scalars.items(), 1)]
    all_types = _struct(
        "AllTypes",
        *plain,
        (7, _T.STRING, "text", _TEXT),
        (8, _T.STRING, "blob", _BINARY),
        (9, _T.I32, "color"),
        (10, _T.I64, "user"),
        (11, _T.STRING, "must", _TEXT),
        *((number + 20, kind, f"maybe_{name}") for number, kind, name in plain),
        (27, _T.STRING, "maybe_text", _TEXT),
        (28, _T.STRING, "maybe_blob", _BINARY),
        (29, _T.I32, "maybe_color"),
        (30, _T.I64, "maybe_user"),
    )
    texts = (_T.STRING, _TEXT, False)
    leaf = _struct("Leaf", (1, _T.I32, "id"), (2, _T.STRING, "name", _TEXT), (3, _T.LIST, "tags", texts))
    leaves = (_T.STRUCT, [leaf, leaf.thrift_spec], False)
    by_name = (_T.STRING, _TEXT, _T.LIST, leaves, False)
    nested = _struct(
        "Nested",
        (1, _T.LIST, "forest", (_T.MAP, by_name, False)),
        (2, _T.SET, "numbers", (_T.I32, None, False)),
        (3, _T.MAP, "leaves", (_T.I32, None, _T.STRUCT, [leaf, leaf.thrift_spec], False)),
        (4, _T.LIST, "matrix", (_T.LIST, (_T.I64, None, False), False)),
        (5, _T.MAP, "deep", (_T.STRING, _TEXT, _T.MAP, (_T.I32, None, _T.SET, texts, False), False)),
        (6, _T.LIST, "blobs", (_T.STRING, _BINARY, False)),
        (7, _T.LIST, "flags", (_T.BOOL, None, False)),
        (8, _T.MAP, "ratios", (_T.STRING, _TEXT, _T.DOUBLE, None, False)),
        (10, _T.LIST, "colors", (_T.I32, None, False)),
    )
    triple = _struct("Triple", (1, _T.I32, "a"), (2, _T.STRING, "b", _TEXT), (3, _T.LIST, "c", (_T.I64, None, False)))
    not_found = _struct("NotFound", (1, _T.STRING, "text", _TEXT), base=_ExceptionBase)
    conflict = _struct(
        "Conflict",
        (1, _T.I32, "code"),
        (2, _T.STRING, "text", _TEXT),
        (3, _T.LIST, "details", texts),
        base=_ExceptionBase,
    )
    return SimpleNamespace(
        Request=request,
        Response=response,
        AllTypes=all_types,
        Leaf=leaf,
        Nested=nested,
        Triple=triple,
        NotFound=not_found,
        Conflict=conflict,
    )


def _of(cls: Any) -> list[Any]:
    return [cls, cls.thrift_spec]


def _apache_methods(types: Any) -> dict[str, tuple[Any, Any]]:
    """The classes of arguments and result of each method; a oneway method has no result."""
    thrown = ((1, _T.STRUCT, "not_found", _of(types.NotFound)), (2, _T.STRUCT, "conflict", _of(types.Conflict)))
    refusal = _struct("refusal", (1, _T.STRING, "kind", _TEXT), (2, _T.STRING, "text", _TEXT))
    empty = _struct("empty")

    def result(cls: Any, *more: Any) -> Any:
        return _struct("result", (0, _T.STRUCT, "success", _of(cls)), *more)

    def one(cls: Any, name: str) -> Any:
        return _struct("arguments", (1, _T.STRUCT, name, _of(cls)))

    return {
        "echo": (one(types.Request, "req"), result(types.Response)),
        "all_types": (one(types.AllTypes, "value"), result(types.AllTypes)),
        "nested": (one(types.Nested, "value"), result(types.Nested)),
        "multi_args": (types.Triple, result(types.Triple)),
        "ping": (empty, empty),
        "nothing": (empty, result(types.Response)),
        "no_such_method": (empty, empty),
        "fail": (_struct("arguments", (1, _T.STRING, "text", _TEXT)), result(types.Response)),
        "refuse": (refusal, result(types.Response, *thrown)),
        "check": (refusal, _struct("result", *thrown)),
        "fire": (_struct("arguments", (1, _T.STRING, "token", _TEXT), (2, _T.I32, "delay_ms")), None),
        "fired": (
            _struct("arguments", (1, _T.STRING, "prefix", _TEXT)),
            _struct("result", (0, _T.LIST, "success", (_T.STRING, _TEXT, False))),
        ),
    }


class _ApacheProcessor:
    """What the compiler would make of Interop: reads a message, runs the handler, writes its answer."""

    def __init__(self, methods: dict[str, tuple[Any, Any]], handler: Handler) -> None:
        self._methods = methods
        self._handler = handler

    def process(self, iprot: Any, oprot: Any) -> None:
        name, _, seq_id = iprot.readMessageBegin()
        function = getattr(self._handler, name, None)
        if function is None:
            iprot.skip(_T.STRUCT)
            iprot.readMessageEnd()
            error = Thrift.TApplicationException(
                Thrift.TApplicationException.UNKNOWN_METHOD, f"Unknown function {name}"
            )
            self._answer(oprot, name, Thrift.TMessageType.EXCEPTION, seq_id, error)
            return
        arguments_class, result_class = self._methods[name]
        arguments = arguments_class()
        arguments.read(iprot)
        iprot.readMessageEnd()
        values = [getattr(arguments, field) for field in arguments.__slots__]
        if result_class is None:
            function(*values)
            return
        result = result_class()
        try:
            reply = function(*values)
            if reply is not None:
                result.success = reply
        except _ExceptionBase as error:
            setattr(result, "conflict" if hasattr(error, "code") else "not_found", error)
        self._answer(oprot, name, Thrift.TMessageType.REPLY, seq_id, result)

    def _answer(self, oprot: Any, name: str, kind: int, seq_id: int, body: Any) -> None:
        oprot.writeMessageBegin(name, kind, seq_id)
        body.write(oprot)
        oprot.writeMessageEnd()
        oprot.trans.flush()


class _ApacheSocket(TSocket.TServerSocket):  # type: ignore[misc]  # it has no types
    """Listens from the start, and ends its server's loop when it is closed."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0)
        super().listen()
        self.address = "{}:{}".format(*self.handle.getsockname())

    def listen(self) -> None:
        pass

    def accept(self) -> Any:
        try:
            return super().accept()
        except (OSError, AttributeError):
            raise _ClosedError from None

    def close(self) -> None:
        self.handle.shutdown(socket.SHUT_RDWR)  # which wakes the thread that waits in accept()
        super().close()


class Apache(Peer):
    types = _apache_types()
    application_error = Thrift.TApplicationException
    _methods = _apache_methods(types)
    _framings = {  # noqa: RUF012
        "buffered": TTransport.TBufferedTransportFactory,
        "framed": TTransport.TFramedTransportFactory,
    }

    @contextmanager
    def serve(self, framing: str) -> Iterator[str]:
        listening = _ApacheSocket()
        processor = _ApacheProcessor(self._methods, Handler(self.types))
        server = TServer.TThreadedServer(processor, listening, self._framings[framing](), TBinaryProtocolFactory())
        with _in_thread(server, listening.close):
            yield listening.address

    @contextmanager
    def connect(self, framing: str, address: str) -> Iterator[Callable[..., Any]]:
        transport = self._framings[framing]().getTransport(TSocket.TSocket(*_split(address)))
        protocol = TBinaryProtocolFactory().getProtocol(transport)
        transport.open()
        try:
            yield lambda method, *arguments: self._call(protocol, method, arguments)
        finally:
            transport.close()

    def _call(self, protocol: Any, method: str, values: tuple[Any, ...]) -> Any:
        arguments_class, result_class = self._methods[method]
        kind = Thrift.TMessageType.ONEWAY if result_class is None else Thrift.TMessageType.CALL
        protocol.writeMessageBegin(method, kind, 7)
        arguments_class(*values).write(protocol)
        protocol.writeMessageEnd()
        protocol.trans.flush()
        if result_class is None:
            return None
        name, kind, seq_id = protocol.readMessageBegin()
        assert (name, seq_id) == (method, 7)
        if kind == Thrift.TMessageType.EXCEPTION:
            error = Thrift.TApplicationException()
            error.read(protocol)
            protocol.readMessageEnd()
            raise error
        result = result_class()
        result.read(protocol)
        protocol.readMessageEnd()
        for name in ("not_found", "conflict"):
            declared = getattr(result, name, None)
            if declared is not None:
                raise declared
        return getattr(result, "success", None)


PEERS: dict[str, Peer] = {"thriftpy2": Thriftpy2(), "apache": Apache()}
