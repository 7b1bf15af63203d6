"""Error handlers and access rules on both sides: what they are shown, and what becomes of what they return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.core.policies import Always

import elanus
from elanus.contracts.breaker import Outcome
from elanus.testing import InTurn, JsonCodec, MemoryTransport, connected

from .cancelling import CountedBreaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from elanus.call import Call

idl = JsonCodec().loads(
    """
    exception Declared(text)

    service Service {
      do(what) throws Declared
      server-stream list(what)
    }
    """
)


class Handler:
    async def do(self, what: str) -> Any:
        match what:
            case "fail":
                raise ValueError("boom")
            case "code":
                raise elanus.ApplicationError(1900, "of the handler")
            case "declared":
                raise idl.Declared("as agreed")
            case "status":
                raise elanus.BizStatusError(404, "not there")
        return what

    async def list(self, what: str) -> Any:
        yield await self.do(what)


class Shown:
    """An error handler that notes what it is shown, and returns what *becomes* makes of it."""

    def __init__(self, becomes: Callable[[Exception], Any] = lambda error: error) -> None:
        self.becomes = becomes
        self.errors: list[str] = []
        self.places: list[str | None] = []

    def __call__(self, call: Call, error: Exception) -> Any:
        self.errors.append(f"{type(error).__name__}: {error.args[0]}")
        self.places.append(None if call.instance is None else call.instance.address)
        return self.becomes(error)


async def outcome(client: elanus.Client, what: str) -> Any:
    try:
        return await client.do(what)
    except elanus.ApplicationError as error:
        return (error.code, error.message)
    except Exception as error:
        return error


# -- the server's error handler --------------------------------------------------------------------------------------


async def test_a_server_shows_what_handlers_raise_and_no_answers() -> None:
    shown = Shown()
    async with connected(idl.Service, Handler(), server=elanus.Server(error_handler=shown)) as client:
        outcomes = [await outcome(client, what) for what in ("fine", "fail", "code", "declared", "status")]
    assert outcomes[:3] == ["fine", (6, "biz error: boom"), (1900, "of the handler [biz error]")]
    assert isinstance(outcomes[3], idl.Declared)
    assert isinstance(outcomes[4], elanus.BizStatusError)
    assert shown.errors == ["ValueError: boom", "ApplicationError: of the handler"]


@pytest.mark.parametrize(
    ("becomes", "expected"),
    [
        (lambda error: elanus.ApplicationError(1900, "mapped"), (1900, "mapped")),
        (lambda error: RuntimeError("mapped"), (6, "mapped")),
        (lambda error: RuntimeError(), (6, "RuntimeError")),
        (lambda error: idl.Declared("mapped"), "Declared"),
        (lambda error: elanus.BizStatusError(1900, "mapped"), "BizStatusError"),
    ],
)
async def test_what_a_servers_error_handler_returns_is_what_the_caller_gets(
    becomes: Callable[[Exception], Any], expected: Any
) -> None:
    server = elanus.Server(error_handler=Shown(becomes))
    async with connected(idl.Service, Handler(), server=server) as client:
        got = await outcome(client, "fail")
        assert (got if isinstance(got, tuple) else type(got).__name__) == expected
        assert await outcome(client, "fine") == "fine"


async def test_a_bug_in_a_unary_middleware_is_shown_and_one_outside_is_not() -> None:
    def bug(next_endpoint: Any) -> Any:
        async def endpoint(call: Call) -> Any:
            raise KeyError("bug")

        return endpoint

    shown = Shown()
    server = elanus.Server(error_handler=shown, unary_middlewares=[bug])
    async with connected(idl.Service, Handler(), server=server) as client:
        code, text = await outcome(client, "fine")
    assert (code, "happened in biz handler" in text) == (6, True)
    server = elanus.Server(error_handler=shown, middlewares=[bug])
    async with connected(idl.Service, Handler(), server=server) as client:
        await outcome(client, "fine")
    assert shown.errors == ["KeyError: bug"]


async def test_streams_have_the_same_error_handler() -> None:
    server = elanus.Server(error_handler=Shown(lambda error: elanus.ApplicationError(7, "mapped")))
    async with connected(idl.Service, Handler(), server=server) as client:
        with pytest.raises(elanus.ApplicationError) as raised:
            await anext(aiter(client.list("fail")))
    assert (raised.value.code, raised.value.message) == (7, "mapped")


async def test_an_error_handler_that_returns_no_exception_is_a_bug_that_is_told(caplog: Any) -> None:
    server = elanus.Server(error_handler=Shown(lambda error: None))
    async with connected(idl.Service, Handler(), server=server) as client:
        code, text = await outcome(client, "fail")
    assert (code, "error_handler returned None, which is no exception" in text) == (6, True)
    async with connected(idl.Service, Handler(), error_handler=Shown(lambda error: None)) as client:
        with pytest.raises(TypeError, match="error_handler returned None"):
            await client.do("fail")


# -- the client's error handler --------------------------------------------------------------------------------------


async def test_a_client_shows_errors_of_network_and_server_with_the_instance_and_no_answers() -> None:
    shown = Shown()
    async with connected(idl.Service, Handler(), error_handler=shown) as client:
        for what in ("fine", "fail", "declared", "status"):
            await outcome(client, what)
    server = elanus.Server()
    server.add_service(idl.Service, Handler())
    await server.start()
    options: dict[str, Any] = {"transport": MemoryTransport({"memory:1": server}), "balancer": InTurn()}
    async with elanus.Client(idl.Service, "memory:2", error_handler=shown, **options) as client:
        await outcome(client, "fine")
    await server.stop()
    assert shown.errors == [
        "ApplicationError: biz error: boom",
        "ConnectFailedError: connection refused: no server has this address",
    ]
    assert shown.places == ["memory:1", "memory:2"]


async def test_outer_rooms_and_callers_see_what_it_returns() -> None:
    class Mapped(Exception):
        breaker_outcome = Outcome.TIMEOUT

    breaker = CountedBreaker()
    shown = Shown(lambda error: Mapped("mapped"))
    async with connected(idl.Service, Handler(), error_handler=shown, service_breaker=breaker) as client:
        got = await outcome(client, "fail")
    assert isinstance(got, Mapped)
    assert isinstance(got.__cause__, elanus.ApplicationError)
    assert breaker.outcomes == [Outcome.TIMEOUT]


async def test_it_is_asked_for_each_attempt() -> None:
    shown = Shown()
    async with connected(idl.Service, Handler(), error_handler=shown, retrier=Always(most=3)) as client:
        await outcome(client, "fail")
    assert len(shown.errors) == 3


# -- access rules ----------------------------------------------------------------------------------------------------


def no_secrets(call: Call) -> str | None:
    """Sees the call and its arguments."""
    return f"{call.method.name} must not ask for {call.arguments[0]}" if call.arguments[0] == "secret" else None


async def later_no_secrets(call: Call) -> str | None:
    return no_secrets(call)


def raises_its_no(call: Call) -> None:
    reason = no_secrets(call)
    if reason:
        raise elanus.AclError(reason)


RULES = [no_secrets, later_no_secrets, raises_its_no]
TEXT = "request forbidden: do must not ask for secret"


@pytest.mark.parametrize("rule", RULES)
async def test_a_client_refuses_before_anything_is_sent(rule: Any) -> None:
    server = elanus.Server()
    async with connected(idl.Service, Handler(), server=server, acl=[rule], service_breaker=CountedBreaker()) as client:
        with pytest.raises(elanus.AclError, match=TEXT) as raised:
            await client.do("secret")
        error = raised.value
        assert (error.sent, error.retryable, error.phase) == (False, False, "acl")
        assert (error.reason, error.service, error.instance) == (TEXT.partition(": ")[2], "Service", None)
        assert client.connections() == {}
        assert await client.do("fine") == "fine"


@pytest.mark.parametrize("rule", RULES)
async def test_a_server_refuses_with_the_reason_before_its_handler_runs(rule: Any) -> None:
    shown = Shown()
    server = elanus.Server(acl=[rule], error_handler=shown)
    async with connected(idl.Service, Handler(), server=server) as client:
        assert await outcome(client, "secret") == (6, TEXT)
        assert await outcome(client, "fine") == "fine"
    assert shown.errors == [], "no handler has failed"


@pytest.mark.parametrize("side", ["client", "server"])
async def test_the_first_no_counts_and_later_rules_are_not_asked(side: str) -> None:
    asked: list[str] = []

    def rule(name: str, reason: str | None) -> Callable[[Call], str | None]:
        def ask(call: Call) -> str | None:
            asked.append(name)
            return reason

        return ask

    rules = [rule("a", None), rule("b", "no b"), rule("c", "no c")]
    options: dict[str, Any] = {"acl": rules} if side == "client" else {"server": elanus.Server(acl=rules)}
    async with connected(idl.Service, Handler(), **options) as client:
        with pytest.raises((elanus.AclError, elanus.ApplicationError), match="request forbidden: no b"):
            await client.do("fine")
    assert asked == ["a", "b"]


async def test_rules_see_what_middlewares_have_set() -> None:
    def tag(next_endpoint: Any) -> Any:
        def endpoint(call: Call) -> Any:
            call.log_id = "tagged"
            return next_endpoint(call)

        return endpoint

    seen: list[str] = []

    def rule(call: Call) -> None:
        seen.append(call.log_id)

    server = elanus.Server(acl=[rule], middlewares=[tag])
    async with connected(idl.Service, Handler(), server=server, acl=[rule], middlewares=[tag]) as client:
        await client.do("fine")
    assert seen == ["tagged", "tagged"]


async def test_a_bug_in_a_rule_refuses_the_call() -> None:
    def bug(call: Call) -> str | None:
        raise KeyError("bug")

    async with connected(idl.Service, Handler(), server=elanus.Server(acl=[bug])) as client:
        code, text = await outcome(client, "fine")
        assert (code, text.startswith("panic: ")) == (6, True)
    async with connected(idl.Service, Handler(), acl=[bug]) as client:
        with pytest.raises(KeyError):
            await client.do("fine")


async def test_streams_are_refused_before_they_open() -> None:
    def rule(call: Call) -> str:
        return "no streams"

    async with connected(idl.Service, Handler(), server=elanus.Server(acl=[rule])) as client:
        with pytest.raises(elanus.ApplicationError) as raised:
            await anext(aiter(client.list("fine")))
        assert raised.value.message == "request forbidden: no streams"
    async with connected(idl.Service, Handler(), acl=[rule]) as client:
        with pytest.raises(elanus.AclError, match="no streams"):
            await anext(aiter(client.list("fine")))
