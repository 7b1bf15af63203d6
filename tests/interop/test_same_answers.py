"""The same bytes to an elanus server and to a Kitex server get the same bytes back, and the connection the same fate.

Both have Interop alone, or Interop (the fallback) and Other; strict ones refuse requests that name no service. No
answer here depends on the order of a map, so they are compared whole: texts, codes, sequence ids, headers, framing.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from .elanus_peers import ElanusServer
from .peer import KitexServer
from .raw import CALL, EMPTY, EXCEPTION, ONEWAY, REPLY, Outcome, exchange, message, string_field, wrapped

pytestmark = pytest.mark.interop

ServerFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]

FRAMINGS = ("buffered", "framed", "ttheader", "ttheaderframed")
SERVERS = {
    "one_service": {"second_service": False, "strict": False},
    "two_services": {"second_service": True, "strict": False},
    "one_strict": {"second_service": False, "strict": True},
    "two_strict": {"second_service": True, "strict": True},
}


@asynccontextmanager
async def pair(
    kitex_server: ServerFactory, elanus_server: ElanusFactory, kind: str = "two_services"
) -> AsyncIterator[tuple[str, str]]:
    """The addresses of two servers that are set up alike: Kitex's, then elanus's."""
    second, strict = SERVERS[kind]["second_service"], SERVERS[kind]["strict"]
    async with (
        kitex_server(second_service=second, refuse_without_service=strict) as go,
        elanus_server(second_service=second, require_service_name=strict) as py,
    ):
        yield go.address, py.address


async def same(pair_: tuple[str, str], request: bytes, what: str) -> Outcome:
    """What both servers do with *request*."""
    go, py = [await exchange(address, request) for address in pair_]
    assert py == go, what
    return go


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("kind", SERVERS)
async def test_routing(kitex_server: ServerFactory, elanus_server: ElanusFactory, kind: str, framing: str) -> None:
    names = (None, "Interop", "Other", "Nobody", "") if framing.startswith("ttheader") else (None,)
    methods = {
        "version": EMPTY,  # Interop has it
        "other_echo": b"\x0c\0\1" + string_field(1, "m") + string_field(2, "p") + EMPTY + EMPTY,  # Other has it
        "who": EMPTY,  # both do
        "no_such_method": EMPTY,
    }
    outcomes = {}
    async with pair(kitex_server, elanus_server, kind) as servers:
        for name in names:
            for method, body in methods.items():
                strings = None if name is None else {"isn": name}
                request = wrapped(framing, message(method, body=body), strings)
                outcomes[name, method] = await same(servers, request, f"{method} of service {name!r}")

    refused = outcomes[None, "no_such_method"]
    assert refused.closed
    assert b"unknown service , method no_such_method" in refused.answer
    assert (b"Interop" in outcomes[None, "who"].answer) == (not SERVERS[kind]["strict"])
    if framing.startswith("ttheader"):
        assert b"unknown service Nobody, method no_such_method" in outcomes["Nobody", "no_such_method"].answer
        assert b"unknown method no_such_method (service Interop)" in outcomes["Interop", "no_such_method"].answer
        assert b"crrst" in outcomes["Interop", "no_such_method"].answer


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_sequence_ids_and_message_types(
    kitex_server: ServerFactory, elanus_server: ElanusFactory, framing: str
) -> None:
    async with pair(kitex_server, elanus_server) as servers:
        for seq_id in (0, -1, 2**31 - 1, -(2**31)):
            request = wrapped(framing, message("version", seq_id), seq_id=seq_id)
            outcome = await same(servers, request, f"sequence id {seq_id}")
            assert not outcome.closed
        token = string_field(1, "token") + b"\x08\0\2\0\0\0\0" + EMPTY
        fates = {
            # The IDL says what is oneway, not the message type.
            ("version", ONEWAY): True,
            ("fire", CALL): False,
            ("fire", ONEWAY): False,
            ("version", REPLY): False,
            ("version", EXCEPTION): False,
            ("version", 6): False,
            ("version", 77): False,
        }
        if framing.startswith("ttheader"):
            # Kitex's own type for streams is taken for a call; without a TTHeader its answer has sequence id 0.
            fates["version", 5] = True
        for (method, kind), answered in fates.items():
            body = token if method == "fire" else EMPTY
            request = wrapped(framing, message(method, kind=kind, body=body))
            outcome = await same(servers, request, f"{method} with message type {kind}")
            assert bool(outcome.answer) == answered, (method, kind)
            assert outcome.closed == (kind not in (CALL, ONEWAY, 5)), (method, kind)


@pytest.mark.parametrize("framing", ["ttheader", "ttheaderframed"])
async def test_sequence_id_of_the_header_is_not_believed(
    kitex_server: ServerFactory, elanus_server: ElanusFactory, framing: str
) -> None:
    async with pair(kitex_server, elanus_server) as servers:
        outcome = await same(servers, wrapped(framing, message("version", 5), seq_id=6), "two sequence ids")
        assert outcome.answer.count(b"\0\0\0\5") == 2


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_answers_of_handlers(kitex_server: ServerFactory, elanus_server: ElanusFactory, framing: str) -> None:
    requests = {
        "ping": EMPTY,
        "nothing": EMPTY,
        "echo": b"\x0c\0\1" + string_field(1, "m") + string_field(2, "p") + EMPTY + EMPTY,
        "multi_args": string_field(2, "b") + b"\x08\0\1\0\0\0\5" + b"\x0f\0\3\x0a\0\0\0\0" + EMPTY,
        "refuse": string_field(1, "conflict") + string_field(2, "t") + EMPTY,
        "check": string_field(1, "not_found") + string_field(2, "t") + EMPTY,
        "fail": string_field(1, "t") + EMPTY,
        "fail_with_code": b"\x08\0\1\0\0\4\xd2" + string_field(2, "t") + EMPTY,
    }
    async with pair(kitex_server, elanus_server) as servers:
        for method, body in requests.items():
            outcome = await same(servers, wrapped(framing, message(method, body=body)), method)
            assert not outcome.closed, method


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_unknown_and_mistyped_fields_are_skipped(
    kitex_server: ServerFactory, elanus_server: ElanusFactory, framing: str
) -> None:
    fields = {
        "unknown field": string_field(99, "?") + string_field(1, "m") + string_field(2, "p"),
        "field of another type": string_field(1, "m") + string_field(2, "p") + b"\x0c\0\2" + EMPTY,
        "other order": string_field(2, "p") + string_field(1, "m"),
    }
    async with pair(kitex_server, elanus_server) as servers:
        for what, body in fields.items():
            request = wrapped(framing, message("echo", body=b"\x0c\0\1" + body + EMPTY + EMPTY))
            outcome = await same(servers, request, what)
            assert b"\0\0\0\1p" in outcome.answer


@pytest.mark.parametrize("framing", ["framed", "ttheaderframed"])
async def test_wrong_codec(kitex_server: ServerFactory, elanus_server: ElanusFactory, framing: str) -> None:
    async with pair(kitex_server, elanus_server) as servers:
        request = wrapped(framing, message("version", body=b"", magic=0x9001))
        outcome = await same(servers, request, "protobuf for a Thrift service")
        assert outcome.closed
        assert b"codec msg type not match" in outcome.answer


async def test_no_answer_at_all(kitex_server: ServerFactory, elanus_server: ElanusFactory) -> None:
    requests = {
        "an HTTP/1 request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "an empty method name": wrapped("framed", message("")),
        "an empty method name behind a TTHeader": wrapped("ttheaderframed", message("")),
        "a TTHeader without a known payload": wrapped("ttheader", b"\1\2\3\4\5\6\7\x08"),
        "a TTHeader of size 0": b"\0\0\0\x22\x10\0\0\0\0\0\0\7\0\0" + wrapped("framed", message("version")),
        "an unknown protocol id": wrapped("ttheaderframed", message("version")).replace(
            b"\0\0\0\7\0\1\0\0\0\0", b"\0\0\0\7\0\1\x02\0\0\0"
        ),
    }
    async with pair(kitex_server, elanus_server) as servers:
        for what, request in requests.items():
            assert await same(servers, request, what) == Outcome(b"", closed=True), what


@pytest.mark.parametrize("framing", ["ttheader", "ttheaderframed"])
async def test_wrong_checksum(kitex_server: ServerFactory, elanus_server: ElanusFactory, framing: str) -> None:
    async with kitex_server(crc32c=True) as go, elanus_server() as py:
        request = wrapped(framing, message("version"), {"crc32c": "00000000"})
        assert await same((go.address, py.address), request, "a wrong checksum") == Outcome(b"", closed=True)
