"""The rows of the matrix in which elanus calls Go Kitex. What happens on each side is said in interop.thrift."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

import elanus

from .elanus_peers import elanus_client, with_undeclared_method
from .peer import KitexServer
from .rows import ALL_TYPES, NESTED, TTHEADER, Rows
from .service import idl

ROWS = Rows()

_E = TypeVar("_E", bound=BaseException)


async def _goes_on(client: elanus.Client) -> None:
    """Whatever became of the call before, the next ones get their own replies."""
    for number in range(3):
        assert (await client.echo(idl.Request(message=str(number)))).message == str(number)


async def _error(client: elanus.Client, kind: type[_E], call: Awaitable[object]) -> _E:
    with pytest.raises(kind) as caught:
        await call
    await _goes_on(client)
    return caught.value


@ROWS.row()
async def echo(client: elanus.Client, server: KitexServer, framing: str) -> None:
    reply = await client.echo(idl.Request(message="héllo", payload=b"\0\1\xff"))
    assert reply == idl.Response(message="héllo", payload=b"\0\1\xff")
    assert await client.version() == "1"
    large = idl.Request(message="x" * 1_000_000)
    assert (await client.echo(large)).message == large.message


@ROWS.row()
async def all_base_types(client: elanus.Client, server: KitexServer, framing: str) -> None:
    assert await client.all_types(ALL_TYPES) == ALL_TYPES


@ROWS.row()
async def nested_containers(client: elanus.Client, server: KitexServer, framing: str) -> None:
    assert await client.nested(NESTED) == NESTED


@ROWS.row()
async def defaults(client: elanus.Client, server: KitexServer, framing: str) -> None:
    assert await client.fresh_defaults() == idl.Defaults()
    assert idl.Defaults().numbers == [1, 2, 3]
    changed = idl.Defaults(table={"three": 3}, number=0)
    assert await client.defaults(changed) == changed
    # Nothing of it on the wire: the peer's defaults are the same ones.
    bare = idl.Defaults(None, None, None, None, None, None, None, None, None)
    assert await client.defaults(bare) == idl.Defaults()


@ROWS.row()
async def included_types(client: elanus.Client, server: KitexServer, framing: str) -> None:
    stamp = await client.stamp(idl.shared.Stamp(amount=5))
    assert (stamp.amount, stamp.unit, stamp.label) == (5, idl.shared.Unit.MILLISECONDS, None)


@ROWS.row()
async def union(client: elanus.Client, server: KitexServer, framing: str) -> None:
    leaf = idl.Leaf(id=7, name="leaf", tags=["a"])
    for choice in (idl.Choice(text="t"), idl.Choice(number=0), idl.Choice(leaf=leaf)):
        assert await client.choose(choice) == choice


@ROWS.row()
async def multi_args(client: elanus.Client, server: KitexServer, framing: str) -> None:
    assert await client.multi_args(-1, "b", [1, 2**62]) == idl.Triple(a=-1, b="b", c=[1, 2**62])
    assert await client.multi_args(c=[], a=0, b="") == idl.Triple(a=0, b="", c=[])


@ROWS.row()
async def void(client: elanus.Client, server: KitexServer, framing: str) -> None:
    assert await client.ping() is None


@ROWS.row()
async def absent_result(client: elanus.Client, server: KitexServer, framing: str) -> None:
    assert await client.nothing() is None


@ROWS.row()
async def declared_exceptions(client: elanus.Client, server: KitexServer, framing: str) -> None:
    for method in ("refuse", "check"):
        missing = await _error(client, idl.NotFound, client.call(method, "not_found", "t"))
        assert missing == idl.NotFound(text="t")
        conflict = await _error(client, idl.Conflict, client.call(method, "conflict", "t"))
        assert conflict == idl.Conflict(code=409, text="t", details=["a", "b"])
        await client.call(method, "none", "fine")


@ROWS.row()
async def unknown_method(client: elanus.Client, server: KitexServer, framing: str) -> None:
    error = await _error(client, elanus.ApplicationError, client.no_such_method(idl.Request()))
    if framing in TTHEADER:
        expected = (1, "unknown method no_such_method (service Interop)")
    else:  # which names no service
        expected = (20, "unknown service , method no_such_method")
    assert (error.code, error.message, error.method) == (*expected, "no_such_method")
    assert error.instance == server.address


@ROWS.row()
async def unknown_service(client: elanus.Client, server: KitexServer, framing: str) -> None:
    from dataclasses import replace

    nobody = replace(with_undeclared_method(idl.Interop), name="Nobody")
    async with elanus_client(server.address, framing, service=nobody) as stranger:
        error = await _error(stranger, elanus.ApplicationError, stranger.no_such_method(idl.Request()))
        named = "Nobody" if framing in TTHEADER else ""
        assert (error.code, error.message) == (20, f"unknown service {named}, method no_such_method")
        # A method that only one service has finds it under whatever name.
        assert await stranger.version() == "1"


@ROWS.row()
async def handler_error(client: elanus.Client, server: KitexServer, framing: str) -> None:
    error = await _error(client, elanus.ApplicationError, client.fail("t"))
    assert (error.code, error.message, error.instance) == (6, "biz error: t", server.address)
    error = await _error(client, elanus.ApplicationError, client.fail_with_code(1234, "t"))
    assert (error.code, error.message) == (1234, "t [biz error]")


@ROWS.row()
async def panic(client: elanus.Client, server: KitexServer, framing: str) -> None:
    error = await _error(client, elanus.ApplicationError, client.panic("t"))
    place = "[happened in biz handler, method=Interop.panic, please check the panic at the server side]"
    assert (error.code, error.message) == (6, f"panic: {place} t")


@ROWS.row()
async def biz_status(client: elanus.Client, server: KitexServer, framing: str) -> None:
    for extra in ({}, {"a": "<&>", "ключ": "\u2028"}):
        if framing not in TTHEADER:
            # Kitex loses it: an empty result, and no place for more.
            assert await client.biz_status(-7, "no money", extra) is None
            continue
        error = await _error(client, elanus.BizStatusError, client.biz_status(-7, "no money", extra))
        assert (error.code, error.message, error.extra) == (-7, "no money", extra)
    await _goes_on(client)


@ROWS.row()
async def oneway(client: elanus.Client, server: KitexServer, framing: str) -> None:
    tokens = [f"t{number}" for number in range(5)]
    for token in tokens:
        assert await client.fire(token, 20) is None
    # There is no answer to wait for; the test's own limit ends this loop if a token is lost.
    while sorted(await client.fired("t")) != tokens:
        await client.sleep(5, "")
    await _goes_on(client)


@ROWS.row()
async def timeout(client: elanus.Client, server: KitexServer, framing: str) -> None:
    for values, limit in (({"timeout": 0.05}, "timeout"), ({"attempt_timeout": 0.05}, "attempt_timeout")):
        error = await _error(client, elanus.RpcTimeoutError, client.with_options(**values).sleep(400, "late"))
        assert (error.seconds, error.limit, error.sent) == (0.05, limit, True)
        assert (error.method, error.instance) == ("sleep", server.address)
    # The late replies come while these run.
    for number in range(5):
        assert await client.sleep(100, str(number)) == str(number)


@ROWS.row()
async def cancel(client: elanus.Client, server: KitexServer, framing: str) -> None:
    task = asyncio.ensure_future(client.sleep(300, "late"))
    await asyncio.sleep(0.03)
    task.cancel()
    await _error(client, asyncio.CancelledError, task)
    assert await client.sleep(400, "own") == "own"


@ROWS.row(server={"context_timeout": True})
async def deadline(client: elanus.Client, server: KitexServer, framing: str) -> None:
    for name in ("timeout", "attempt_timeout"):
        hurried = client.with_options(**{name: 20.0})
        seen = (await hurried.metadata(idl.MetadataRequest())).int_headers.get(12)
        report = await hurried.deadline()
        if framing in TTHEADER:
            # What is left of it when the request leaves, in milliseconds.
            assert 0 < int(seen) <= 20_000
            assert 0 < report.rpc_timeout_ms <= 20_000
            assert report.has_deadline
            assert 0 < report.remaining_ms <= 20_000
        else:
            assert seen is None
            assert report == idl.DeadlineReport(rpc_timeout_ms=0, has_deadline=False, remaining_ms=0)
    assert not (await client.deadline()).has_deadline


async def _checksums(client: elanus.Client, *, request: bool, reply: bool) -> None:
    result = await client.invoke("metadata", idl.MetadataRequest())
    assert ("crc32c" in result.reply.string_headers) == request
    assert ("crc32c" in result.metadata) == reply
    assert await client.nested(NESTED) == NESTED
    large = idl.Request(message="x" * 100_000)
    assert (await client.echo(large)).message == large.message
    error = await _error(client, elanus.ApplicationError, client.fail("t"))
    assert error.message == "biz error: t"


_CHECKED = {"transport": {"crc32c": True}}


@ROWS.row(*TTHEADER, client=_CHECKED, server={"crc32c": True})
async def crc32c_both(client: elanus.Client, server: KitexServer, framing: str) -> None:
    await _checksums(client, request=True, reply=True)


@ROWS.row(*TTHEADER, client=_CHECKED)
async def crc32c_client(client: elanus.Client, server: KitexServer, framing: str) -> None:
    await _checksums(client, request=True, reply=False)


@ROWS.row(*TTHEADER, server={"crc32c": True})
async def crc32c_server(client: elanus.Client, server: KitexServer, framing: str) -> None:
    await _checksums(client, request=False, reply=True)


@ROWS.row(*TTHEADER, client={"caller": "near", "name": "there"}, server={"name": "far"})
async def metadata(client: elanus.Client, server: KitexServer, framing: str) -> None:
    carried = elanus.Metadata({"one": "hop"}, {"every": "hop", "Ключ": "值"})
    request = idl.MetadataRequest(backward={"k": "v", "Ключ": "值"})
    result = await client.with_options(metadata=carried).invoke("metadata", request)
    seen = result.reply
    assert (seen.transient_values, seen.persistent_values) == (carried.transient, carried.persistent)
    assert result.metadata == {"k": "v", "Ключ": "值"}
    assert (seen.caller_service, seen.callee_service) == ("near", "far")
    assert (seen.idl_service, seen.idl_method) == ("Interop", "metadata")
    assert {key: seen.int_headers[key] for key in (3, 6, 9, 22)} == {3: "near", 6: "there", 9: "metadata", 22: "1"}
    # The next call has none of it.
    plain = await client.invoke("metadata", idl.MetadataRequest())
    assert (plain.reply.transient_values, plain.reply.persistent_values, plain.metadata) == ({}, {}, {})


@ROWS.row()
async def framing_seen(client: elanus.Client, server: KitexServer, framing: str) -> None:
    result = await client.invoke("metadata", idl.MetadataRequest())
    names = {"mux": "ttheader-framed", "ttheader": "ttheader-unframed", "ttheaderframed": "ttheader-framed"}
    assert result.reply.framing == names.get(framing, framing)
    assert (result.peer, str(result.instance)) == (server.address, server.address)


@ROWS.row()
async def several_services(client: elanus.Client, server: KitexServer, framing: str) -> None:
    async with elanus_client(server.address, framing, service=idl.Other) as other:
        assert (await other.other_echo(idl.Request(message="m"))).message == "other: m"
        # Both have it: without a name on the wire the fallback service answers.
        assert await other.who() == ("Other" if framing in TTHEADER else "Interop")
    assert await client.who() == "Interop"
