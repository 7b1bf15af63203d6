"""elanus's own side of the interop tests: ``Interop`` and ``Other`` as interop.thrift describes them.

In a test: the fixture ``elanus_server``. In a process of its own, which takes the same signals, lines and events as the
Go peer: ``python -m elanus.cli serve tests.interop.service:server --bind 127.0.0.1:0``.
"""

import asyncio
import atexit
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import elanus

__all__ = ["FRAMING_NAMES", "OPTIONS_VARIABLE", "InteropHandler", "OtherHandler", "idl", "make_server", "server"]

idl = elanus.load(Path(__file__).with_name("idl") / "interop.thrift")

#: Where :func:`server` looks for the options of its server, as a JSON object.
OPTIONS_VARIABLE = "ELANUS_INTEROP_SERVER"

#: The peers' words for what a call arrived in, by the transport's own.
FRAMING_NAMES = {
    "PurePayload": "buffered",
    "Framed": "framed",
    "TTHeader": "ttheader-unframed",
    "TTHeaderFramed": "ttheader-framed",
}


class InteropHandler:
    """Interop. What arrived at the methods that give a value back is in :attr:`seen`, as this side decoded it."""

    def __init__(self, name: str = "elanus.interop") -> None:
        self.seen: list[Any] = []
        self._name = name
        self._tokens: list[str] = []
        self._attempts: dict[str, list[str]] = {}
        self._onward: dict[str, elanus.Client] = {}

    async def aclose(self) -> None:
        """Close the clients that :meth:`forward` made."""
        while self._onward:
            _, client = self._onward.popitem()
            await client.aclose()

    async def version(self) -> str:
        return str(idl.shared.PEER_PROTOCOL)

    async def echo(self, req: Any) -> Any:
        self.seen.append(req)
        return idl.Response(message=req.message, payload=req.payload)

    async def all_types(self, value: Any) -> Any:
        return self._back(value)

    async def nested(self, value: Any) -> Any:
        return self._back(value)

    async def defaults(self, value: Any) -> Any:
        return self._back(value)

    async def fresh_defaults(self) -> Any:
        return idl.Defaults()

    async def stamp(self, value: Any) -> Any:
        return self._back(value)

    async def choose(self, value: Any) -> Any:
        return self._back(value)

    async def ping(self) -> None:
        return None

    async def multi_args(self, a: int, b: str, c: list[int]) -> Any:
        return self._back(idl.Triple(a=a, b=b, c=c))

    async def nothing(self) -> None:
        return None

    async def refuse(self, kind: str, text: str) -> Any:
        _refuse(kind, text)
        return idl.Response(message=text)

    def check(self, kind: str, text: str) -> None:
        # A plain function, so that one of the two ways of running handlers is not the only one that peers meet.
        _refuse(kind, text)

    async def fail(self, text: str) -> Any:
        raise ValueError(text)

    async def fail_with_code(self, type_id: int, text: str) -> Any:
        raise elanus.ApplicationError(type_id, text)

    async def panic(self, text: str) -> Any:
        raise RuntimeError(text)

    async def biz_status(self, code: int, message: str, extra: Mapping[str, str]) -> Any:
        raise elanus.BizStatusError(code, message, extra)

    async def fire(self, token: str, delay_ms: int) -> None:
        await asyncio.sleep(delay_ms / 1000)
        self._tokens.append(token)

    async def fired(self, prefix: str) -> list[str]:
        return [token for token in self._tokens if token.startswith(prefix)]

    async def sleep(self, milliseconds: int, token: str) -> str:
        await asyncio.sleep(milliseconds / 1000)
        return token

    async def flaky(self, token: str, unwell: int, delay_ms: int) -> Any:
        call = elanus.current_call()
        marks = self._attempts.setdefault(token, [])
        marks.append(call.metadata.persistent.get("RetryReq", ""))
        report = idl.AttemptReport(marks=list(marks), retried=call.retried)
        if len(marks) <= unwell:
            if delay_ms == 0:
                raise RuntimeError("not yet")
            await asyncio.sleep(delay_ms / 1000)
        return report

    async def deadline(self) -> Any:
        return _deadline_report(elanus.current_call())

    async def metadata(self, request: Any) -> Any:
        call = elanus.current_call()
        for key, value in (request.backward or {}).items():
            call.send_back(key, value)
        return idl.MetadataReport(
            transient_values=dict(call.metadata.transient),
            persistent_values=dict(call.metadata.persistent),
            caller_service=call.caller,
            caller_method=call.caller_method,
            callee_service=call.callee,
            idl_service=call.service.name,
            idl_method=call.method.name,
            string_headers={key: value for key, value in call.headers.items() if isinstance(key, str)},
            int_headers={key: value for key, value in call.headers.items() if isinstance(key, int)},
            framing=FRAMING_NAMES[call.transport],
            sequence_id=call.seq_id,
            deadline=_deadline_report(call),
        )

    async def forward(self, address: str, request: Any) -> Any:
        client = await self._client(address)
        if request.timeout_ms:
            client = client.with_options(timeout=request.timeout_ms / 1000)
        result = await client.invoke("metadata", request)
        return idl.ForwardReport(seen=result.reply, backward=dict(result.metadata))

    async def who(self) -> str:
        return "Interop"

    def _back(self, value: Any) -> Any:
        self.seen.append(value)
        return value

    async def _client(self, address: str) -> elanus.Client:
        client = self._onward.get(address)
        if client is None:
            client = elanus.Client(idl.Interop, address, name="elanus.interop", caller=self._name)
            self._onward[address] = client
            await client.start()
        return client


class OtherHandler:
    """Other."""

    async def who(self) -> str:
        return "Other"

    async def other_echo(self, req: Any) -> Any:
        return idl.Response(message=f"other: {req.message}", payload=req.payload)


def _refuse(kind: str, text: str) -> None:
    if kind == "not_found":
        raise idl.NotFound(text=text)
    if kind == "conflict":
        raise idl.Conflict(code=409, text=text, details=["a", "b"])


def _deadline_report(call: elanus.Call) -> Any:
    left = call.remaining()
    return idl.DeadlineReport(
        rpc_timeout_ms=int(call.headers.get(12, "0")),
        has_deadline=left is not None,
        remaining_ms=0 if left is None else int(left * 1000),
    )


def make_server(handler: InteropHandler | None = None, *, second_service: bool = True, **options: Any) -> elanus.Server:
    """A server that is not started, of Interop (the fallback service) and, if asked, Other."""
    handler = handler or InteropHandler()
    made = elanus.Server(**options)
    made.add_service(idl.Interop, handler, fallback=second_service)
    if second_service:
        made.add_service(idl.Other, OtherHandler())
    return made


def server() -> elanus.Server:
    """The server of a process of its own, with the options of the environment; speaks as ``kitexpeer server`` does.

    It prints ``ready`` when it answers and ``stopped`` at its very end, both with what the Go peer says there; it takes
    the lines ``stats`` and ``stop`` on stdin, and stops when stdin ends.
    """
    counter = _Counter()
    made = make_server(middlewares=[counter.room], **json.loads(os.environ.get(OPTIONS_VARIABLE, "{}")))

    @made.on_start
    def ready() -> None:
        _emit("ready", address=made.address, pid=os.getpid())
        threading.Thread(target=_obey, args=(counter,), daemon=True).start()

    # Not a shutdown hook: those run before the drain, and what is handled in the drain has to be counted.
    atexit.register(lambda: _emit("stopped", handled=counter.handled))
    return made


class _Counter:
    """Counts the calls whose handler returned, whatever it returned; not those that were cancelled."""

    def __init__(self) -> None:
        self.handled = 0

    def room(self, next_endpoint: elanus.Endpoint) -> elanus.Endpoint:
        async def endpoint(call: elanus.Call) -> Any:
            try:
                reply = await next_endpoint(call)
            except Exception:
                self.handled += 1
                raise
            self.handled += 1
            return reply

        return endpoint


def _obey(counter: _Counter) -> None:
    # Not through sys.stdin: a thread that waits in there when the interpreter ends holds a lock that it wants.
    while lines := os.read(0, 4096).split():
        for line in lines:
            if line == b"stats":
                _emit("stats", handled=counter.handled)
            elif line == b"stop":
                os.kill(os.getpid(), signal.SIGTERM)
                return
    os.kill(os.getpid(), signal.SIGTERM)  # stdin has ended: whoever started this is gone


def _emit(event: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()
