"""What callers of either language see of failing handlers, error handlers, access rules and fallbacks.

Kitex's acceptance cases ``failedcall``, ``error_handler``, ``crrst`` and those on timeouts of ``normalcall``, with
elanus on one side. Where both servers are set up alike, a Go client gets the same from both.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import elanus
from elanus.contracts.tracer import Tracer

from .conftest import ClientFactory
from .elanus_peers import FRAMINGS, ElanusServer, elanus_client, with_undeclared_method
from .peer import KitexClient, KitexServer
from .rows import TTHEADER
from .service import idl

pytestmark = pytest.mark.interop

KitexFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]


def forbid(call: elanus.Call) -> str | None:
    """The rule of Go's ``--forbid``."""
    argument = call.arguments[0] if call.arguments else None
    return "no forbidden" if isinstance(argument, idl.Request) and argument.message == "forbidden" else None


def map_error(call: elanus.Call, error: Exception) -> Exception:
    """The error handler of Go's ``--map-errors``."""
    text = str(error.args[0])
    if text.startswith("map to code"):
        return elanus.ApplicationError(1900, "mapped")
    if text.startswith("map to status"):
        return elanus.BizStatusError(1900, "mapped")
    return RuntimeError("mapped") if text.startswith("map to text") else error


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "refused": ("echo", {"req": {"message": "forbidden"}}),
    "not refused": ("echo", {"req": {"message": "allowed"}}),
    "error": ("fail", {"text": "t"}),
    "error with a code": ("fail_with_code", {"type_id": 1900, "text": "t"}),
    "error mapped to a code": ("fail", {"text": "map to code"}),
    "code mapped to a code": ("fail_with_code", {"type_id": 5, "text": "map to code"}),
    "error mapped to a text": ("fail", {"text": "map to text"}),
    "status, which is not mapped": ("biz_status", {"code": 7, "message": "map to code", "extra": {"k": "v"}}),
    "declared, which is not mapped": ("refuse", {"kind": "not_found", "text": "map to code"}),
}


async def answers(client: KitexClient) -> dict[str, Any]:
    """What a Go client makes of each call."""
    answered = {name: await client.call(*call) for name, call in CALLS.items()}
    return {name: (answer["result"], answer.get("error")) for name, answer in answered.items()}


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_go_client_gets_the_same_from_both_servers(
    kitex_server: KitexFactory, elanus_server: ElanusFactory, kitex_client: ClientFactory, framing: str
) -> None:
    transport = FRAMINGS[framing]
    async with (
        kitex_server(mux=framing == "mux", forbid=True, map_errors=True) as go,
        elanus_server(acl=[forbid], error_handler=map_error) as py,
        kitex_client(go.address, transport=transport) as to_go,
        kitex_client(py.address, transport=transport) as to_py,
    ):
        of_py = await answers(to_py)
        assert of_py == await answers(to_go)
        errors = {name: error for name, (_, error) in of_py.items() if error is not None}
        seen = {name: (error.get("type_id"), error.get("message")) for name, error in errors.items()}
        assert seen["refused"] == (6, "request forbidden: no forbidden")
        assert seen["error"] == (6, "biz error: t")
        assert errors["error"]["text"] == "remote or network error[remote]: biz error: t"
        assert seen["error with a code"] == (1900, "t [biz error]")
        assert seen["error mapped to a code"] == seen["code mapped to a code"] == (1900, "mapped")
        assert seen["error mapped to a text"] == (6, "mapped")
        if framing in TTHEADER:
            status = errors["status, which is not mapped"]
            assert (status["biz_code"], status["biz_message"], status["biz_extra"]) == (7, "map to code", {"k": "v"})
        # On purpose better: Kitex makes "biz error: code=1900, msg=mapped" of a status that an error handler returns.
        mapped = (await to_py.call("fail", {"text": "map to status"})).get("error", {})
        if framing in TTHEADER:
            assert (mapped["kind"], mapped["biz_code"]) == ("biz", 1900)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_an_elanus_client_reads_refusals_and_mapped_errors_of_kitex(
    kitex_server: KitexFactory, framing: str
) -> None:
    shown: list[str] = []

    def note(call: elanus.Call, error: Exception) -> Exception:
        shown.append(type(error).__name__)
        return error

    async with (
        kitex_server(mux=framing == "mux", forbid=True, map_errors=True) as server,
        elanus_client(server.address, framing, error_handler=note) as client,
    ):
        expected = {
            (6, "request forbidden: no forbidden"): client.echo(idl.Request(message="forbidden")),
            (1900, "mapped"): client.fail("map to code"),
            (6, "mapped"): client.fail("map to text"),
        }
        for (code, message), call in expected.items():
            with pytest.raises(elanus.ApplicationError) as raised:
                await call
            assert (raised.value.code, raised.value.message, raised.value.instance) == (code, message, server.address)
        with pytest.raises(idl.NotFound):
            await client.refuse("not_found", "t")
        assert (await client.echo(idl.Request(message="allowed"))).message == "allowed"
        assert client.pool_counters().connected == 1
    assert shown == ["ApplicationError"] * 3


def mocked(next_endpoint: elanus.Endpoint) -> elanus.Endpoint:
    """Every call fails in the room around its handler."""

    async def endpoint(call: elanus.Call) -> Any:
        raise RuntimeError("mocked error")

    return endpoint


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("room", ["middlewares", "unary_middlewares"])
async def test_failedcall(elanus_server: ElanusFactory, kitex_client: ClientFactory, framing: str, room: str) -> None:
    async with (
        elanus_server(**{room: [mocked]}) as server,
        kitex_client(server.address, transport=FRAMINGS[framing]) as client,
    ):
        answer = await client.call("echo", {"req": {"message": "m"}})
        assert "mocked error" in answer["error"]["text"]
        assert (answer["error"]["type_id"], answer["result"]) == (6, None)
        for _ in range(3):
            assert "error" not in await client.call("fire", {"token": "t", "delay_ms": 0})
        assert "mocked error" in (await client.call("ping"))["error"]["text"]


@pytest.mark.parametrize("framing", ["ttheader", "ttheaderframed"])
async def test_crrst(
    kitex_server: KitexFactory, elanus_server: ElanusFactory, kitex_client: ClientFactory, framing: str
) -> None:
    async with (
        elanus_server() as server,
        kitex_client(server.address, transport=FRAMINGS[framing]) as client,
    ):
        answer = await client.call("no_such_method", {})
        assert "unknown method" in answer["error"]["text"]
        assert answer["string_headers"]["crrst"] == "1"
    service = with_undeclared_method(idl.Interop)
    async with kitex_server() as go, elanus_client(go.address, framing, service=service) as py_client:
        with pytest.raises(elanus.ApplicationError, match="unknown method"):
            await py_client.no_such_method(idl.Request())
        await py_client.ping()
        counters = py_client.pool_counters()
        assert counters.connected == 2, "its server closes a connection after such an answer"


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_the_timeout_of_a_call_over_that_of_its_client(
    kitex_server: KitexFactory, elanus_server: ElanusFactory, kitex_client: ClientFactory, framing: str
) -> None:
    async with (
        kitex_server(mux=framing == "mux") as go,
        elanus_client(go.address, framing, attempt_timeout=20.0) as client,
    ):
        with pytest.raises(elanus.RpcTimeoutError) as raised:
            await client.with_options(attempt_timeout=0.1).sleep(300, "t")
        assert raised.value.seconds == 0.1
        assert await client.sleep(300, "t") == "t"
    async with (
        elanus_server() as py,
        kitex_client(py.address, transport=FRAMINGS[framing], timeout_ms=20_000) as go_client,
    ):
        late = (await go_client.call("sleep", {"milliseconds": 300, "token": "t"}, timeout_ms=100))["error"]
        assert late["kind"] == "timeout" or "over its deadline" in late["text"]
        assert await go_client.result("sleep", {"milliseconds": 300, "token": "t"}) == "t"


class Seen(Tracer):
    """Notes the errors that a tracer is shown."""

    name = "seen"

    def __init__(self) -> None:
        self.errors: list[str] = []

    def start(self, call: elanus.Call) -> None:
        """Nothing yet."""

    def finish(self, call: elanus.Call, error: BaseException | None) -> None:
        self.errors.append(type(error).__name__)


async def cached(call: elanus.Call, reply: Any, error: Exception | None) -> Any:
    return idl.Response(message=f"cached, since {type(error).__name__}")


def of_reply(call: elanus.Call, reply: Any, error: Exception | None) -> Any:
    """As for a BaseResp whose code is not 0."""
    return idl.Response(message="cached") if reply is not None and reply.message == "bad" else None


async def fails(call: elanus.Call, reply: Any, error: Exception | None) -> Any:
    raise LookupError("nothing cached")


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_fallback(kitex_server: KitexFactory, framing: str) -> None:
    tracer = Seen()
    on_error = elanus.Fallback(cached)
    async with (
        kitex_server(mux=framing == "mux") as server,
        elanus_client(server.address, framing, fallback=on_error, tracers=[tracer]) as client,
    ):
        assert (await client.panic("t")).message == "cached, since ApplicationError"
        assert (await client.fail("t")).message == "cached, since ApplicationError"
        timed = client.with_options(fallback=elanus.Fallback(_text, on="timeout_or_breaker"))
        assert await timed.with_options(attempt_timeout=0.1).sleep(300, "t") == "RpcTimeoutError"
        with pytest.raises(elanus.ApplicationError):
            await timed.fail("t")
        replied = client.with_options(fallback=of_reply)
        assert (await replied.echo(idl.Request(message="bad"))).message == "cached"
        assert (await replied.echo(idl.Request(message="good"))).message == "good"
        assert (
            tracer.errors
            == ["ApplicationError", "ApplicationError", "RpcTimeoutError", "ApplicationError"] + ["NoneType"] * 2
        )
        tracer.errors.clear()
        reported = client.with_options(fallback=elanus.Fallback(cached, report=True))
        assert (await reported.fail("t")).message == "cached, since ApplicationError"
        with pytest.raises(LookupError):
            await client.with_options(fallback=fails).echo(idl.Request(message="good"))
        assert tracer.errors == ["NoneType", "NoneType"]
        if framing in TTHEADER:
            assert (await client.biz_status(7, "no", {})).message == "cached, since BizStatusError"
        await asyncio.sleep(0.3)  # Go's handler that ran late
        assert (await client.echo(idl.Request(message="after"))).message == "after"


def _text(call: elanus.Call, reply: Any, error: Exception | None) -> str:
    return type(error).__name__
