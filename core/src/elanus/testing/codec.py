"""The suite of the codec contract. A plugin's test subclasses it and gives a codec, an IDL file, and sample values."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from elanus.contracts.codec import Codec, Idl
from elanus.errors import CodecError, ConfigError
from elanus.limits import DEFAULT_LIMITS
from elanus.testing.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from elanus.service import MethodInfo, ServiceInfo

__all__ = ["CodecSuite", "Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One method of the service, and values that fit it. Values must compare equal to what is decoded of them."""

    method: str
    #: One value per parameter.
    arguments: Sequence[Any] = ()
    #: What it returns; ``None`` where it returns nothing.
    reply: Any = None


class CodecSuite(Suite):
    """What every codec does. Subclass as ``TestXxx`` and override the methods that raise ``NotImplementedError``.

    Behaviours that may go into ``unsupported``: ``"declared exceptions"``, ``"streams"``, ``"depth limit"``,
    ``"container limit"``, ``"string limit"``, ``"parameter names"`` (a codec whose IDL does not name parameters),
    ``"syntax errors"`` (one that takes any file). Override the method of the same name for each that is not there.
    """

    #: How many messages of random bytes the codec has to survive.
    hostile_messages = 500

    # What the author gives.

    def codec(self) -> Codec:
        """A new codec with default limits."""
        raise NotImplementedError

    def path(self) -> str | Path:
        """An IDL file."""
        raise NotImplementedError

    def service(self, idl: Idl) -> ServiceInfo:
        """The service of that file which has the methods that the samples name."""
        raise NotImplementedError

    def samples(self, idl: Idl) -> Sequence[Sample]:
        """Methods with arguments and a reply: at least one with a reply, and the richest values that there are."""
        raise NotImplementedError

    def declared_exception(self, idl: Idl) -> tuple[str, BaseException]:
        """A method, and an exception that its IDL declares; the two are told apart from others by equality."""
        raise NotImplementedError

    def stream(self, idl: Idl) -> tuple[str, Any, Any]:
        """A streaming method, a message of its client and one of its server."""
        raise NotImplementedError

    def nested(self, idl: Idl, depth: int) -> Sample:
        """Arguments in which structs and containers are *depth* deep inside one another."""
        raise NotImplementedError

    def many(self, idl: Idl, items: int) -> Sample:
        """Arguments that hold a list or map of so many items."""
        raise NotImplementedError

    def long(self, idl: Idl, size_bytes: int) -> Sample:
        """Arguments that hold a string of so many bytes."""
        raise NotImplementedError

    def unfit(self, idl: Idl) -> tuple[str, Sequence[Any], str]:
        """A method, arguments for it of which one does not fit, and a name that the path to the fault goes through."""
        raise NotImplementedError

    # Loading.

    def loaded(self) -> tuple[Codec, Idl, ServiceInfo]:
        """What most tests begin with."""
        codec = self.codec()
        idl = codec.load(self.path())
        return codec, idl, self.service(idl)

    def _each(self) -> Iterator[tuple[Codec, MethodInfo, Sample]]:
        codec, idl, service = self.loaded()
        for sample in self.samples(idl):
            yield codec, service.methods[sample.method], sample

    def test_it_says_what_it_speaks_and_what_it_loads(self) -> None:
        codec = self.codec()
        assert codec.wire
        assert codec.suffixes
        assert all(suffix.startswith(".") for suffix in codec.suffixes)
        assert str(self.path()).endswith(tuple(codec.suffixes))

    def test_a_loaded_idl_has_its_services_and_types(self) -> None:
        codec, idl, service = self.loaded()
        assert isinstance(idl, Idl)
        assert idl.__services__[service.name] is service
        assert getattr(idl, service.name) is service
        assert service.codec is codec
        for name, method in service.methods.items():
            assert method.name == name
        with pytest.raises(AttributeError, match="no_such_name_at_all"):
            _ = idl.no_such_name_at_all

    def test_parameters_are_named_in_their_order(self) -> None:
        self.requires("parameter names")
        for _, method, sample in self._each():
            assert len(method.parameters) == len(sample.arguments)
            assert all(method.parameters), "a parameter without a name"

    def test_two_loads_are_two_idls(self) -> None:
        codec, _, first = self.loaded()
        second = self.service(codec.load(self.path()))
        assert all(first.methods[name] is not second.methods[name] for name in first.methods)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        codec = self.codec()
        path = tmp_path / f"nowhere{codec.suffixes[0]}"
        with pytest.raises(ConfigError, match="nowhere"):
            codec.load(path)

    def test_a_file_that_makes_no_sense_is_named(self, tmp_path: Path) -> None:
        self.requires("syntax errors")
        codec = self.codec()
        path = tmp_path / f"garbage{codec.suffixes[0]}"
        path.write_text("}}} this is no IDL {{{\n")
        with pytest.raises(ConfigError, match="garbage"):
            codec.load(path)

    # Requests and replies.

    def test_arguments_come_back(self) -> None:
        for codec, method, sample in self._each():
            payload = codec.encode_arguments(method, sample.arguments)
            assert isinstance(payload, bytes)
            assert list(codec.decode_arguments(method, payload)) == list(sample.arguments)

    def test_a_reply_comes_back(self) -> None:
        for codec, method, sample in self._each():
            payload = codec.encode_result(method, sample.reply)
            assert isinstance(payload, bytes)
            assert codec.decode_result(method, payload) == sample.reply

    def test_an_absent_reply_is_none(self) -> None:
        for codec, method, _ in self._each():
            assert codec.decode_result(method, codec.encode_result(method, None)) is None

    def test_payloads_may_be_views(self) -> None:
        for codec, method, sample in self._each():
            payload = b"before" + codec.encode_arguments(method, sample.arguments) + b"after"
            view = memoryview(payload)[6:-5]
            assert list(codec.decode_arguments(method, view)) == list(sample.arguments)
            reply = memoryview(codec.encode_result(method, sample.reply))
            assert codec.decode_result(method, reply) == sample.reply

    def test_decoded_values_do_not_share_what_can_change(self) -> None:
        for codec, method, sample in self._each():
            buffer = bytearray(codec.encode_arguments(method, sample.arguments))
            decoded = codec.decode_arguments(method, memoryview(buffer).toreadonly())
            buffer[:] = bytes(len(buffer))
            assert list(decoded) == list(sample.arguments)

    def test_encoding_leaves_the_values_alone(self) -> None:
        for codec, method, sample in self._each():
            first = codec.encode_arguments(method, sample.arguments)
            assert codec.encode_arguments(method, sample.arguments) == first

    def test_a_declared_exception_is_raised_as_itself(self) -> None:
        self.requires("declared exceptions")
        codec, idl, service = self.loaded()
        name, error = self.declared_exception(idl)
        payload = codec.encode_exception(service.methods[name], error)
        assert isinstance(payload, bytes)
        with pytest.raises(type(error)) as caught:
            codec.decode_result(service.methods[name], payload)
        assert caught.value == error

    def test_an_undeclared_exception_has_no_payload(self) -> None:
        for codec, method, _ in self._each():
            assert codec.encode_exception(method, LookupError("nobody declared it")) is None

    def test_stream_messages_come_back(self) -> None:
        self.requires("streams")
        codec, idl, service = self.loaded()
        name, of_client, of_server = self.stream(idl)
        method = service.methods[name]
        assert method.kind.streams
        for item, reply in ((of_client, False), (of_server, True)):
            payload = codec.encode_item(method, item, reply=reply)
            assert isinstance(payload, bytes)
            assert codec.decode_item(method, payload, reply=reply) == item
            assert codec.decode_item(method, memoryview(payload), reply=reply) == item

    def test_many_threads_may_use_it(self) -> None:
        def work(_: int) -> None:
            for _ in range(50):
                for codec, method, sample in each:
                    payload = codec.encode_arguments(method, sample.arguments)
                    assert list(codec.decode_arguments(method, payload)) == list(sample.arguments)

        each = list(self._each())
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

    # What does not fit.

    def test_a_value_that_does_not_fit_is_located(self) -> None:
        codec, idl, service = self.loaded()
        name, arguments, within = self.unfit(idl)
        with pytest.raises(CodecError) as caught:
            codec.encode_arguments(service.methods[name], arguments)
        assert any(within in part for part in caught.value.path), caught.value.path
        assert name in str(caught.value)

    def test_bytes_cut_short_never_break_anything_else(self) -> None:
        for codec, method, sample in self._each():
            payload = codec.encode_arguments(method, sample.arguments)
            for end in range(len(payload)):
                _survives(codec, method, payload[:end])
            assert list(codec.decode_arguments(method, payload)) == list(sample.arguments)

    def test_hostile_bytes_raise_codec_errors_only(self) -> None:
        chance = random.Random(20)
        for codec, method, sample in self._each():
            payload = codec.encode_arguments(method, sample.arguments)
            for _ in range(self.hostile_messages):
                _survives(codec, method, chance.randbytes(chance.randrange(1, 80)))
                _survives(codec, method, _harmed(payload, chance))

    def test_a_decoding_error_names_the_method(self) -> None:
        codec, idl, service = self.loaded()
        sample = max(self.samples(idl), key=lambda item: len(item.arguments))
        method = service.methods[sample.method]
        payload = codec.encode_arguments(method, sample.arguments)
        errors = [error for end in range(len(payload)) if (error := _error(codec, method, payload[:end])) is not None]
        assert errors, "no part of the message was refused"
        assert all(sample.method in str(error) for error in errors)

    # Limits.

    def test_depth_is_limited(self) -> None:
        self.requires("depth limit")
        self._limited("depth", 12, self.nested, 8, 16)

    def test_containers_are_limited(self) -> None:
        self.requires("container limit")
        self._limited("container_items", 100, self.many, 100, 101)

    def test_strings_are_limited(self) -> None:
        self.requires("string limit")
        self._limited("string_bytes", 100, self.long, 100, 101)

    def _limited(self, limit: str, value: int, make: Any, within: int, over: int) -> None:
        codec, idl, service = self.loaded()
        strict = codec.with_limits(replace(DEFAULT_LIMITS, **{limit: value}))
        for size, fits in ((within, True), (over, False)):
            sample = make(idl, size)
            method = service.methods[sample.method]
            payload = codec.encode_arguments(method, sample.arguments)
            assert list(codec.decode_arguments(method, payload)) == list(sample.arguments), "refused by default"
            if fits:
                assert list(strict.decode_arguments(method, payload)) == list(sample.arguments)
            else:
                with pytest.raises(CodecError, match=limit):
                    strict.decode_arguments(method, payload)

    # JSON.

    def test_arguments_are_built_from_json_by_name(self) -> None:
        self.requires("parameter names")
        for codec, method, sample in self._each():
            named = dict(zip(method.parameters, map(codec.to_json, sample.arguments), strict=True))
            text = "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in named.items()) + "}"
            assert list(codec.from_json(method.argument_type, text)) == list(sample.arguments)
            assert list(codec.from_json(method.argument_type, text.encode())) == list(sample.arguments)

    def test_replies_are_written_as_json(self) -> None:
        for codec, _, sample in self._each():
            json.loads(codec.to_json(sample.reply))
            if sample.reply is None:
                assert codec.to_json(sample.reply) == "null"

    def test_an_exception_is_written_as_json(self) -> None:
        self.requires("declared exceptions")
        codec, idl, _ = self.loaded()
        _, error = self.declared_exception(idl)
        assert codec.from_json(type(error), codec.to_json(error)) == error

    def test_json_with_an_unknown_name_is_refused(self) -> None:
        self.requires("parameter names")
        for codec, method, _ in self._each():
            with pytest.raises(CodecError, match="no_such_name_at_all"):
                codec.from_json(method.argument_type, '{"no_such_name_at_all": 1}')

    def test_text_that_is_no_json_is_refused(self) -> None:
        for codec, method, _ in self._each():
            with pytest.raises(CodecError):
                codec.from_json(method.argument_type, '{"half')


def _error(codec: Codec, method: MethodInfo, payload: bytes) -> CodecError | None:
    try:
        codec.decode_arguments(method, payload)
    except CodecError as error:
        return error
    return None


def _survives(codec: Codec, method: MethodInfo, payload: bytes) -> None:
    """Decoding gives a value, a CodecError, or (of a reply) an exception that the bytes carry."""
    _error(codec, method, payload)
    try:
        codec.decode_result(method, payload)
    except CodecError:
        pass
    except Exception as error:
        if codec.encode_exception(method, error) is None:
            raise


def _harmed(payload: bytes, chance: random.Random) -> bytes:
    data = bytearray(payload)
    for _ in range(chance.randrange(1, 4)):
        if data:
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice((b"", b"\xff\xff\xff\xff", chance.randbytes(1)))
    return bytes(data)
