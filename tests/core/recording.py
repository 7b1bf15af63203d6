"""Parts of every kind that note when they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elanus.contracts.balancer import Balancer, Picker
from elanus.contracts.breaker import Breaker, Outcome, State
from elanus.contracts.limiter import Limiter, Refusal
from elanus.contracts.metadata import MetadataHandler
from elanus.contracts.retrier import Plan, Retrier, Retry, Stop
from elanus.contracts.tracer import Tracer
from elanus.testing import JsonCodec

from .store import idl

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from elanus.call import Call
    from elanus.service import Instance, MethodInfo
    from elanus.wheel import TimerWheel

UNARY = idl.Store.methods["get"]
STREAM = idl.Store.methods["chat"]


class Log:
    """Parts of every kind that note when they are asked."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def middleware(self, name: str) -> Any:
        def middleware(next_endpoint: Any) -> Any:
            async def endpoint(call: Call) -> Any:
                self.lines.append(name)
                return await next_endpoint(call)

            return endpoint

        return middleware

    def acl(self, call: Call) -> None:
        self.lines.append("acl")

    def error_handler(self, call: Call, error: Exception) -> Exception:
        self.lines.append("error_map")
        return error

    async def fallback(self, call: Call, reply: Any, error: Exception | None) -> Any:
        self.lines.append("fallback")
        if error is not None:
            raise error
        return reply


class LogTracer(Tracer):
    name = "log"

    def __init__(self, log: Log) -> None:
        self.log = log

    def start(self, call: Call) -> None:
        self.log.lines.append("trace")

    def finish(self, call: Call, error: BaseException | None) -> None:
        self.log.lines.append("trace finish")


class LogBreaker(Breaker):
    name = "log"

    def __init__(self, log: Log, line: str) -> None:
        self.log, self.line, self.keys = log, line, []  # type: tuple[Log, str, list[str]]

    def allow(self, key: str, now: float) -> bool:
        self.log.lines.append(self.line)
        self.keys.append(key)
        return True

    def record(self, key: str, outcome: Outcome, elapsed: float, now: float) -> None: ...
    def states(self) -> Mapping[str, State]:
        return {}

    def forget(self, key: str) -> None: ...


class LogLimiter(Limiter):
    name = "log"

    def __init__(self, log: Log) -> None:
        self.log = log

    def acquire(self, call: Call, now: float) -> Refusal | None:
        self.log.lines.append("limit")
        assert call.arguments == (), "the limiter is asked before anything is decoded"
        return None

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None: ...


class LogRetrier(Retrier, Plan):
    name = "log"

    def __init__(self, log: Log, attempts: int = 1) -> None:
        self.log, self.attempts = log, attempts

    def plan(self, call: Call, now: float) -> Plan:
        self.log.lines.append("retry")
        return self

    def ended(self, attempt: Call, reply: Any, error: Exception | None, running: int, now: float) -> Retry | Stop:
        self.attempts -= 1
        return Retry() if self.attempts > 0 else Stop()


class LogBalancer(Balancer, Picker):
    name = "log"

    def __init__(self, log: Log) -> None:
        self.log = log
        self.instances: Sequence[Instance] = ()

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        self.instances = instances
        return self

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        self.log.lines.append("resolve")
        return next((each for each in self.instances if each not in excluded), None)


class LogMetadata(MetadataHandler):
    def __init__(self, log: Log) -> None:
        self.log = log

    def write(self, call: Call) -> None:
        self.log.lines.append("metadata write")

    def read(self, call: Call) -> None:
        self.log.lines.append("metadata read")


class LogCodec(JsonCodec):
    log: Log

    def encode_arguments(self, method: MethodInfo, arguments: Sequence[Any]) -> bytes:
        self.log.lines.append("send")
        return super().encode_arguments(method, arguments)

    def decode_arguments(self, method: MethodInfo, payload: Any) -> Sequence[Any]:
        self.log.lines.append("decode")
        return super().decode_arguments(method, payload)


class LogWheel:
    """Stands in for the wheel, to see when a limit is armed."""

    def __init__(self, log: Log, wheel: TimerWheel) -> None:
        self.log, self.wheel = log, wheel

    def add(self, *args: Any) -> None:
        self.log.lines.append("timeout")
        self.wheel.add(*args)

    def remove(self, *args: Any) -> None:
        self.wheel.remove(*args)


def client_options(log: Log) -> dict[str, Any]:
    return {
        "timeout": 5.0,
        "tracers": [LogTracer(log)],
        "fallback": log.fallback,
        "retrier": LogRetrier(log),
        "service_breaker": LogBreaker(log, "service_breaker"),
        "instance_breaker": LogBreaker(log, "instance_breaker"),
        "balancer": LogBalancer(log),
        "unary_middlewares": [log.middleware("user unary")],
        "stream_middlewares": [log.middleware("user stream")],
        "middlewares": [log.middleware("user universal 1"), log.middleware("user universal 2")],
        "instance_middlewares": [log.middleware("instance_user")],
        "acl": [log.acl],
        "error_handler": log.error_handler,
        "metadata_handlers": [LogMetadata(log)],
    }
