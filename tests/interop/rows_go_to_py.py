"""The rows of the matrix in which Go Kitex calls elanus. What happens on each side is said in interop.thrift."""

from typing import Any

from .elanus_peers import ElanusServer
from .peer import KitexClient
from .rows import ALL_TYPES, ALL_TYPES_JSON, NESTED, NESTED_JSON, TTHEADER, Rows
from .service import FRAMING_NAMES, idl

ROWS = Rows()

_ECHO = {"req": {"message": "héllo", "payload": b"\0\1\xff"}}


async def _goes_on(client: KitexClient) -> None:
    """Whatever became of the call before, the next ones get their own replies."""
    for number in range(3):
        assert (await client.result("echo", {"req": {"message": str(number)}}))["message"] == str(number)


async def _error(client: KitexClient, method: str, args: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = await client.call(method, args, **options)
    assert "error" in answer, answer
    error: dict[str, Any] = answer["error"]
    await _goes_on(client)
    return error


@ROWS.row()
async def echo(client: KitexClient, server: ElanusServer, framing: str) -> None:
    assert await client.result("echo", _ECHO) == {"message": "héllo", "payload": "AAH/"}
    assert server.handler.seen == [idl.Request(message="héllo", payload=b"\0\1\xff")]
    assert await client.result("version") == "1"
    large = "x" * 1_000_000
    assert (await client.result("echo", {"req": {"message": large}}))["message"] == large


@ROWS.row()
async def all_base_types(client: KitexClient, server: ElanusServer, framing: str) -> None:
    assert await client.result("all_types", {"value": ALL_TYPES_JSON}) == ALL_TYPES_JSON
    assert server.handler.seen == [ALL_TYPES]


@ROWS.row()
async def nested_containers(client: KitexClient, server: ElanusServer, framing: str) -> None:
    result = await client.result("nested", {"value": NESTED_JSON})
    assert sorted(result.pop("numbers")) == [-1, 1]
    assert result == {key: value for key, value in NESTED_JSON.items() if key != "numbers"}
    assert server.handler.seen == [NESTED]


@ROWS.row()
async def defaults(client: KitexClient, server: ElanusServer, framing: str) -> None:
    plain = {
        "flag": True,
        "number": 42,
        "text": "plain",
        "numbers": [1, 2, 3],
        "table": {"one": 1, "two": 2},
        "color": 2,
        "maybe": "perhaps",
        "ratio": 0.5,
    }
    assert await client.result("fresh_defaults") == plain
    changed = {"table": {"three": 3}, "number": 0}
    assert await client.result("defaults", {"value": changed}) == {**plain, **changed}
    assert server.handler.seen == [idl.Defaults(table={"three": 3}, number=0)]


@ROWS.row()
async def included_types(client: KitexClient, server: ElanusServer, framing: str) -> None:
    assert await client.result("stamp", {"value": {"amount": 5}}) == {"amount": 5, "unit": 3}
    assert server.handler.seen == [idl.shared.Stamp(amount=5)]


@ROWS.row()
async def union(client: KitexClient, server: ElanusServer, framing: str) -> None:
    leaf = {"id": 7, "name": "leaf", "tags": ["a"]}
    for choice in ({"text": "t"}, {"number": 0}, {"leaf": leaf}):
        assert await client.result("choose", {"value": choice}) == choice
    assert server.handler.seen == [
        idl.Choice(text="t"),
        idl.Choice(number=0),
        idl.Choice(leaf=idl.Leaf(id=7, name="leaf", tags=["a"])),
    ]


@ROWS.row()
async def multi_args(client: KitexClient, server: ElanusServer, framing: str) -> None:
    triple = {"a": -1, "b": "b", "c": [1, 2**62]}
    assert await client.result("multi_args", triple) == triple
    assert server.handler.seen == [idl.Triple(a=-1, b="b", c=[1, 2**62])]


@ROWS.row()
async def void(client: KitexClient, server: ElanusServer, framing: str) -> None:
    assert await client.result("ping") is None


@ROWS.row()
async def absent_result(client: KitexClient, server: ElanusServer, framing: str) -> None:
    assert await client.result("nothing") is None


@ROWS.row()
async def declared_exceptions(client: KitexClient, server: ElanusServer, framing: str) -> None:
    for method in ("refuse", "check"):
        error = await _error(client, method, {"kind": "not_found", "text": "t"})
        assert (error["kind"], error["type"], error["field"]) == ("declared", "NotFound", "not_found")
        assert error["value"] == {"text": "t"}
        error = await _error(client, method, {"kind": "conflict", "text": "t"})
        assert error["value"] == {"code": 409, "text": "t", "details": ["a", "b"]}
        await client.result(method, {"kind": "none", "text": "fine"})


@ROWS.row()
async def unknown_method(client: KitexClient, server: ElanusServer, framing: str) -> None:
    error = await _error(client, "no_such_method", {})
    if framing in TTHEADER:
        expected = (1, "unknown method no_such_method (service Interop)")
    else:  # which names no service
        expected = (20, "unknown service , method no_such_method")
    assert (error["type_id"], error["message"]) == expected


@ROWS.row()
async def unknown_service(client: KitexClient, server: ElanusServer, framing: str) -> None:
    named = "Nobody" if framing in TTHEADER else ""
    error = await _error(client, "no_such_method", {}, service_name="Nobody")
    assert (error["type_id"], error["message"]) == (20, f"unknown service {named}, method no_such_method")
    # A method that only one service has finds it under whatever name.
    assert await client.result("version", service_name="Nobody") == "1"


@ROWS.row()
async def handler_error(client: KitexClient, server: ElanusServer, framing: str) -> None:
    error = await _error(client, "fail", {"text": "t"})
    assert (error["kind"], error["type_id"], error["message"]) == ("exception", 6, "biz error: t")
    error = await _error(client, "fail_with_code", {"type_id": 1234, "text": "t"})
    assert (error["kind"], error["type_id"], error["message"]) == ("exception", 1234, "t [biz error]")


@ROWS.row()
async def panic(client: KitexClient, server: ElanusServer, framing: str) -> None:
    # Python knows no difference between an error and a panic of a handler: the caller gets the words of the former.
    error = await _error(client, "panic", {"text": "t"})
    assert (error["kind"], error["type_id"], error["message"]) == ("exception", 6, "biz error: t")


@ROWS.row()
async def biz_status(client: KitexClient, server: ElanusServer, framing: str) -> None:
    for extra in ({}, {"a": "<&>", "ключ": "\u2028"}):
        answer = await client.call("biz_status", {"code": -7, "message": "no money", "extra": extra})
        if framing not in TTHEADER:
            # Kitex loses it too: an empty result, and no place for more.
            assert (answer["result"], answer.get("error")) == (None, None)
            continue
        error = answer["error"]
        assert (error["kind"], error["biz_code"], error["biz_message"]) == ("biz", -7, "no money")
        assert error.get("biz_extra", {}) == extra
    await _goes_on(client)


@ROWS.row()
async def oneway(client: KitexClient, server: ElanusServer, framing: str) -> None:
    tokens = [f"t{number}" for number in range(5)]
    for token in tokens:
        await client.result("fire", {"token": token, "delay_ms": 20})
    # There is no answer to wait for; the test's own limit ends this loop if a token is lost.
    while sorted(await client.result("fired", {"prefix": "t"})) != tokens:
        await client.result("sleep", {"milliseconds": 5, "token": ""})
    await _goes_on(client)


@ROWS.row()
async def timeout(client: KitexClient, server: ElanusServer, framing: str) -> None:
    error = await _error(client, "sleep", {"milliseconds": 400, "token": "late"}, timeout_ms=50)
    if framing in TTHEADER and error["kind"] == "exception":
        # The server has the caller's deadline, and both sides see it pass: whoever is first tells.
        assert error["type_id"] == 6
        assert "over its deadline" in error["message"]
    else:
        assert error["kind"] == "timeout"
    # The late reply, if there is one, comes while these run.
    for number in range(5):
        assert await client.result("sleep", {"milliseconds": 100, "token": str(number)}) == str(number)


@ROWS.row()
async def cancel(client: KitexClient, server: ElanusServer, framing: str) -> None:
    error = await _error(client, "sleep", {"milliseconds": 300, "token": "late"}, cancel_after_ms=30)
    assert error["kind"] == "canceled"
    assert await client.result("sleep", {"milliseconds": 400, "token": "own"}) == "own"


@ROWS.row()
async def deadline(client: KitexClient, server: ElanusServer, framing: str) -> None:
    seen = (await client.result("metadata", {"request": {}}, timeout_ms=20_000))["int_headers"].get("12")
    report = await client.result("deadline", timeout_ms=20_000)
    if framing in TTHEADER:
        assert seen == "20000"
        assert (report["rpc_timeout_ms"], report["has_deadline"]) == (20_000, True)
        assert 0 < report["remaining_ms"] <= 20_000
    else:
        assert seen is None
        assert report == {"rpc_timeout_ms": 0, "has_deadline": False, "remaining_ms": 0}
    assert not (await client.result("deadline"))["has_deadline"]


async def _checksums(client: KitexClient, *, request: bool, reply: bool) -> None:
    answer = await client.call("metadata", {"request": {}})
    assert ("crc32c" in answer["result"]["string_headers"]) == request
    assert ("crc32c" in answer["string_headers"]) == reply
    await client.result("nested", {"value": NESTED_JSON})
    large = "x" * 100_000
    assert (await client.result("echo", {"req": {"message": large}}))["message"] == large
    error = await _error(client, "fail", {"text": "t"})
    assert error["message"] == "biz error: t"


@ROWS.row(*TTHEADER, client={"crc32c": True}, server={"transports": [("ttheader", {"crc32c": True})]})
async def crc32c_both(client: KitexClient, server: ElanusServer, framing: str) -> None:
    await _checksums(client, request=True, reply=True)


@ROWS.row(*TTHEADER, client={"crc32c": True})
async def crc32c_client(client: KitexClient, server: ElanusServer, framing: str) -> None:
    await _checksums(client, request=True, reply=False)


@ROWS.row(*TTHEADER, server={"transports": [("ttheader", {"crc32c": True})]})
async def crc32c_server(client: KitexClient, server: ElanusServer, framing: str) -> None:
    await _checksums(client, request=False, reply=True)


@ROWS.row(*TTHEADER, client={"name": "near", "dest_name": "there"})
async def metadata(client: KitexClient, server: ElanusServer, framing: str) -> None:
    carried = {"transient": {"one": "hop"}, "persistent": {"every": "hop", "Ключ": "值"}}
    answer = await client.call("metadata", {"request": {"backward": {"k": "v", "Ключ": "值"}}}, **carried)
    seen = answer["result"]
    assert (seen["transient_values"], seen["persistent_values"]) == (carried["transient"], carried["persistent"])
    assert answer["backward"] == {"k": "v", "Ключ": "值"}
    assert (seen["caller_service"], seen["callee_service"]) == ("near", "there")
    assert (seen["idl_service"], seen["idl_method"]) == ("Interop", "metadata")
    assert {key: seen["int_headers"][key] for key in ("3", "6", "9", "22")} == {
        "3": "near",
        "6": "there",
        "9": "metadata",
        "22": "1",
    }
    assert answer["int_headers"] == {22: "2"}
    # The next call has none of it.
    plain = await client.call("metadata", {"request": {}})
    assert (plain["result"]["transient_values"], plain["result"]["persistent_values"]) == ({}, {})
    assert plain["backward"] == {}


@ROWS.row()
async def framing_seen(client: KitexClient, server: ElanusServer, framing: str) -> None:
    seen = (await client.result("metadata", {"request": {}}))["framing"]
    names = {"mux": "ttheader-framed", "ttheader": "ttheader-unframed", "ttheaderframed": "ttheader-framed"}
    assert seen == names.get(framing, framing)
    assert seen in FRAMING_NAMES.values()


@ROWS.row()
async def several_services(client: KitexClient, server: ElanusServer, framing: str) -> None:
    assert (await client.result("other_echo", {"req": {"message": "m"}}, service="Other"))["message"] == "other: m"
    # Both have it: without a name on the wire the fallback service answers.
    expected = "Other" if framing in TTHEADER else "Interop"
    assert await client.result("who", service="Other") == expected
    assert await client.result("who") == "Interop"
