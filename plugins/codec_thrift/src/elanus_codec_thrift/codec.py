"""The codec: thriftpy2's Cython reader and writer over memory, with the checks that they lack around them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from thriftpy2.protocol.cybin import TCyBinaryProtocol  # type: ignore[attr-defined]
from thriftpy2.transport.memory.cymemory import TCyMemoryBuffer

from elanus.contracts.codec import Codec, Idl, Payload
from elanus.errors import CodecError, ConfigError
from elanus.limits import DEFAULT_LIMITS
from elanus_codec_thrift import json_form
from elanus_codec_thrift.checking import PADDING
from elanus_codec_thrift.explaining import find_in_struct
from elanus_codec_thrift.loading import load_idl
from elanus_codec_thrift.messages import Message
from elanus_codec_thrift.schema import Form, Kind, ThriftType
from elanus_codec_thrift.walking import PAST_THE_END, MalformedError, Walker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from elanus.limits import Limits
    from elanus.service import MethodInfo
    from elanus_codec_thrift.schema import Struct

__all__ = ["MAX_DEPTH", "ThriftCodec"]

#: Deeper than this nothing is read or written, whatever ``Limits.depth`` says: the readers are recursive.
MAX_DEPTH = 128

_BUFFER_BYTES = 16 * 1024
# A buffer that a large message made grow is not kept.
_KEPT_BYTES = 256 * 1024
_STOP = b"\0"

#: The methods of one buffer, and of the protocol over it: clean, write_struct, getvalue.
_Writer = tuple["Callable[[], None]", "Callable[[Any], None]", "Callable[[], bytes]"]
#: The same for reading: setvalue, read_struct.
_Reader = tuple["Callable[[bytes], None]", "Callable[[Any], Any]"]


class ThriftCodec(Codec):
    """The Thrift binary protocol, for services whose IDL files this codec loaded.

    :param limits: hold while decoding: depth, container items, string bytes.
    """

    wire = "thrift-binary"
    suffixes = (".thrift",)

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._depth = min(limits.depth, MAX_DEPTH)
        # A message no larger than this cannot hold a container or string over its limit: each item takes a byte.
        self._unlimited_bytes = min(limits.container_items, limits.string_bytes)
        self._limited = Walker(limits, thorough=True)
        self._explaining = Walker(limits, thorough=True, texts=True)
        # Buffers that no call uses now. Calls of several threads, and calls inside a call, each take their own.
        self._writers: list[_Writer] = []
        self._readers: list[_Reader] = []

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Self:
        """The codec for a user's options; it has none of its own.

        :raises ConfigError: there are options.
        """
        if options:
            raise ConfigError(
                f"the codec 'thrift' has no option {', '.join(sorted(options))}",
                hint="Leave it out; limits are options of the client and of the server",
            )
        return cls()

    def load(self, path: str | os.PathLike[str], include_directories: Sequence[str | os.PathLike[str]] = ()) -> Idl:
        """Read an IDL file and everything that it includes.

        Includes are looked for beside the including file, then in *include_directories*. Every call reads the files
        again and gives new classes.

        :raises ConfigError: a file is missing, cannot be parsed, or says what cannot be; names file, line and cause.
        """
        return load_idl(self, os.fspath(path), [os.fspath(item) for item in include_directories])

    def with_limits(self, limits: Limits) -> ThriftCodec:
        """A codec as this one whose decoding keeps *limits*."""
        return type(self)(limits)

    # Requests and replies.

    def encode_arguments(self, method: MethodInfo, arguments: Sequence[Any]) -> bytes:
        """The arguments struct of a request: a field for each parameter; one that is ``None`` is left out."""
        message: Message = method.argument_type
        if message.only is not None and len(arguments) == 1 and arguments[0].__class__ is message.only_cls:
            return self._encode_only(message, message.only, arguments[0])
        if len(arguments) != len(message.names):
            raise _wrong_count(message, arguments)
        wrapper = message.blank()
        for name, value in zip(message.names, arguments, strict=True):
            setattr(wrapper, name, value)
        return self._encode(message.struct, wrapper, message)

    def decode_arguments(self, method: MethodInfo, payload: Payload) -> Sequence[Any]:
        """The arguments of a request; one that the payload lacks is the IDL's default or ``None``."""
        message: Message = method.argument_type
        if message.only is not None and payload[:3] == message.head:
            value = self._decode_only(message, message.only, payload)
            if value is not None:
                return (value,)
        return message.pick(self._decode(message.struct, payload, message))

    def encode_result(self, method: MethodInfo, reply: Any) -> bytes:
        """The result struct with field 0, or an empty one for ``None`` and for methods that return ``void``."""
        message: Message = method.result_type
        if message.only is not None and reply.__class__ is message.only_cls:
            return self._encode_only(message, message.only, reply)
        if reply is None or message.success is None:
            return _STOP
        wrapper = message.blank()
        wrapper.success = reply
        return self._encode(message.struct, wrapper, message)

    def encode_exception(self, method: MethodInfo, error: BaseException) -> bytes | None:
        """The result struct with the field of the declared exception that *error* is; ``None`` when it is none."""
        message: Message = method.result_type
        for name, cls in message.declared:
            if isinstance(error, cls):
                wrapper = message.blank()
                setattr(wrapper, name, error)
                return self._encode(message.struct, wrapper, message)
        return None

    def decode_result(self, method: MethodInfo, payload: Payload) -> Any:
        """The reply, ``None`` when there is none.

        :raises CodecError: the payload makes no sense or is over a limit.
        :raises BaseException: the declared exception that the payload carries, as itself.
        """
        message: Message = method.result_type
        if message.only is not None and payload[:3] == message.head:
            value = self._decode_only(message, message.only, payload)
            if value is not None:
                return value
        wrapper = self._decode(message.struct, payload, message)
        for name, _ in message.declared:
            error = getattr(wrapper, name)
            if error is not None:
                raise error
        return None if message.success is None else wrapper.success

    # Stream messages.

    def encode_item(self, method: MethodInfo, item: Any, *, reply: bool) -> bytes:
        """One message of a stream: the struct itself."""
        message = _stream_message(method, reply)
        assert message.only is not None
        if not isinstance(item, message.only.cls):
            raise self._unfit(message.only, item, message, None)
        return self._encode(message.only, item, message)

    def decode_item(self, method: MethodInfo, payload: Payload, *, reply: bool) -> Any:
        """The reverse of :meth:`encode_item`."""
        message = _stream_message(method, reply)
        assert message.only is not None
        return self._decode(message.only, payload, message)

    # JSON.

    def from_json(self, type_: Any, text: str | bytes) -> Any:
        """Build a value of *type_* from JSON.

        :param type_: a class of the loaded IDL, a typedef, or a ``method.argument_type``; for the latter the result is
            the sequence of arguments. Of a ``method.result_type``, the reply.
        :raises CodecError: names the path of the value that does not fit.
        """
        plain = json_form.parse_json(text)
        if isinstance(type_, Message):
            if type_.struct.form is Form.ARGUMENTS:
                return type_.pick(json_form.read_struct(type_.struct, plain))
            return None if plain is None or type_.success is None else json_form.read_value(type_.success, plain)
        if isinstance(type_, ThriftType):
            return json_form.read_value(type_, plain)
        struct = getattr(type_, "__elanus_struct__", None)
        if struct is not None:
            return json_form.read_struct(struct, plain)
        if hasattr(type_, "__members__") or hasattr(type_, "_NAMES_TO_VALUES"):
            return json_form.read_value(ThriftType(Kind.ENUM, enum=type_), plain)
        raise CodecError(
            f"{type_!r} is no type of a Thrift IDL", hint="Give a class of the loaded IDL or a method's argument_type"
        )

    def to_json(self, value: Any) -> str:
        """The reverse of :meth:`from_json`: of structs and exceptions, and of what is made of them and plain values."""
        return json_form.write_json(value, None, getattr(type(value), "__elanus_struct__", None))

    # The way through thriftpy2.

    def _encode(self, struct: Struct, value: Any, message: Message) -> bytes:
        try:
            writer = self._writers.pop()
        except IndexError:
            writer = self._new_writer()
        clean, write_struct, getvalue = writer
        try:
            if struct.verify is not None:
                struct.verify(value)
            clean()
            write_struct(value)
        except Exception as error:
            raise self._unfit(struct, value, message, error) from error
        data = getvalue()
        if len(data) <= _KEPT_BYTES:
            self._writers.append(writer)
        return data

    def _decode(self, struct: Struct, payload: Payload, message: Message) -> Any:
        padded = payload + PADDING if payload.__class__ is bytes else b"".join((payload, PADDING))
        size = len(padded) - len(PADDING)
        try:
            if size > self._unlimited_bytes:
                end = self._limited.struct(padded, 0, struct, self._depth)
            else:
                end = struct.check(padded, 0, self._depth)
            if end > size:
                raise MalformedError("the bytes end inside of a value")
            return self._read(struct, padded)
        except Exception as error:
            raise self._malformed(struct, payload, message, error) from error

    def _encode_only(self, message: Message, struct: Struct, value: Any) -> bytes:
        """A wrapper around *value* and nothing else."""
        if message.write is not None:
            try:
                data = message.write(value)
            except Exception:  # the long way says what is wrong
                data = None
            if data is not None:
                return data
        return b"".join((message.head, self._encode(struct, value, message), _STOP))

    def _decode_only(self, message: Message, struct: Struct, payload: Payload) -> Any:
        """The struct of a wrapper around nothing else; ``None`` when there is more to it, or something is wrong."""
        if len(payload) > self._unlimited_bytes or self._depth < 2:
            return None
        if message.read is not None:
            try:
                value = message.read(payload)
            except Exception:  # the long way says what is wrong
                value = None
            if value is not None:
                return value
        padded = payload[3:] + PADDING if payload.__class__ is bytes else b"".join((payload[3:], PADDING))
        size = len(padded) - len(PADDING)
        try:
            end = struct.check(padded, 0, self._depth - 1)
            return self._read(struct, padded) if end < size and padded[end] == 0 else None
        except Exception:  # the long way says what is wrong
            return None

    def _read(self, struct: Struct, padded: bytes) -> Any:
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = self._new_reader()
        setvalue, read_struct = reader
        setvalue(padded)
        value = read_struct(struct.blank())
        if len(padded) <= _KEPT_BYTES:
            self._readers.append(reader)
        return value if struct.settle is None else struct.settle(value)

    def _new_writer(self) -> _Writer:
        buffer = TCyMemoryBuffer(b"", _BUFFER_BYTES)
        return buffer.clean, TCyBinaryProtocol(buffer, max_depth=self._depth).write_struct, buffer.getvalue

    def _new_reader(self) -> _Reader:
        buffer = TCyMemoryBuffer(b"", _BUFFER_BYTES)
        protocol = TCyBinaryProtocol(buffer, strict_decode=True, max_depth=self._depth)
        return buffer.setvalue, protocol.read_struct

    # The words for what went wrong: slow, and only then.

    def _unfit(self, struct: Struct, value: Any, message: Message, error: Exception | None) -> CodecError:
        try:
            found = find_in_struct(struct, value, self._depth)
        except Exception:  # a value so odd that looking at it raises
            found = None
        path, cause = found or ((), f"the value cannot be encoded: {error!r}")
        return CodecError(cause, path=message.path_to(struct, path), method=message.method, hint=_FIT)

    def _malformed(self, struct: Struct, payload: Payload, message: Message, error: Exception) -> CodecError:
        path: Sequence[str] = ()
        try:
            self._explaining.struct(bytes(payload), 0, struct, self._depth)
            cause = f"the bytes cannot be decoded: {error}"
        except MalformedError as found:
            cause, path = found.message, found.path
        except PAST_THE_END:
            cause = "the bytes end inside of a value"
        except RecursionError:
            cause = "nested too deep"
        return CodecError(cause, path=message.path_to(struct, path), method=message.method, hint=_SAME_IDL)


_FIT = "Give a value that fits the IDL"
_SAME_IDL = "Check that the peer and this side use the same IDL"


def _wrong_count(message: Message, arguments: Sequence[Any]) -> CodecError:
    wanted = ", ".join(message.names) or "none"
    return CodecError(
        f"{len(arguments)} arguments for {len(message.names)} parameters ({wanted})",
        method=message.method,
        hint="Give one value per IDL parameter",
    )


def _stream_message(method: MethodInfo, reply: bool) -> Message:
    message: Message = method.result_type if reply else method.argument_type
    if message.only is None:
        raise CodecError(
            f"{method} has no single struct for a stream's {'replies' if reply else 'requests'}",
            method=method.name,
            hint="A stream needs one parameter and a result, both structs",
        )
    return message
