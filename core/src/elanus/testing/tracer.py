"""The suite of the tracer contract. A plugin's test subclasses it and says how to make its tracer."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from typing import TYPE_CHECKING

from elanus.call import Event
from elanus.contracts.tracer import Tracer
from elanus.errors import BizStatusError, RemoteError, RpcTimeoutError
from elanus.service import Instance, MethodKind
from elanus.testing.calls import make_call
from elanus.testing.suite import Suite

if TYPE_CHECKING:
    from elanus.call import Call

__all__ = ["TracerSuite"]

_OUTCOMES: tuple[BaseException | None, ...] = (
    None,
    RpcTimeoutError(0.5),
    RemoteError("no"),
    ValueError("a bug in a middleware"),
    asyncio.CancelledError(),
)


class TracerSuite(Suite):
    """What every tracer does. Subclass as ``TestXxx`` and override :meth:`tracer`."""

    def tracer(self) -> Tracer:
        """A new tracer, which reports to nobody or to a place in memory."""
        raise NotImplementedError

    def whole(self, tracer: Tracer, call: Call, error: BaseException | None = None) -> None:
        """Take *call* through its life, as the trace room does on a client."""
        tracer.start(call)
        call.instance = Instance("10.0.0.1:8888")
        for event in (Event.RESOLVED, Event.CONNECTED, Event.WRITTEN, Event.ANSWERED):
            call.mark(event)
        call.sent_bytes, call.received_bytes = 120, 80
        tracer.finish(call, error)

    def test_it_has_a_name_that_users_can_write(self) -> None:
        tracer = self.tracer()
        assert isinstance(tracer, Tracer)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", tracer.name)

    def test_every_outcome(self) -> None:
        tracer = self.tracer()
        for error in _OUTCOMES:
            self.whole(tracer, make_call(), error)

    def test_every_kind_of_method(self) -> None:
        tracer = self.tracer()
        for kind in MethodKind:
            self.whole(tracer, make_call(kind=kind))

    def test_a_call_that_got_nowhere(self) -> None:
        tracer = self.tracer()
        call = make_call(caller="", callee="")
        tracer.start(call)
        tracer.finish(call, RpcTimeoutError(0.1))

    def test_a_business_status(self) -> None:
        tracer = self.tracer()
        call = make_call()
        tracer.start(call)
        call.biz_status = BizStatusError(404, "no such thing", {"key": "value"})
        tracer.finish(call, None)

    def test_events_with_any_name_and_detail(self) -> None:
        tracer = self.tracer()
        call = make_call(kind=MethodKind.BIDI_STREAM)
        tracer.start(call)
        for detail in (None, 42, "text", b"bytes", {"a": 1}, ValueError("an error"), object()):
            tracer.event(call, "stream send", detail)
            tracer.event(call, "an event of a later release", detail)
        tracer.finish(call, None)

    def test_calls_inside_one_another_and_side_by_side(self) -> None:
        tracer = self.tracer()
        outer, inner, beside = make_call("outer"), make_call("inner"), make_call("beside")
        tracer.start(outer)
        tracer.start(inner)
        tracer.start(beside)
        tracer.finish(inner, None)
        tracer.finish(outer, None)
        tracer.finish(beside, RpcTimeoutError(1.0))

    def test_calls_in_many_tasks(self) -> None:
        tracer = self.tracer()

        async def one(number: int) -> None:
            call = make_call(arguments=(number,))
            tracer.start(call)
            await asyncio.sleep(0)
            tracer.event(call, "stream send")
            await asyncio.sleep(0)
            tracer.finish(call, _OUTCOMES[number % len(_OUTCOMES)])

        async def scenario() -> None:
            await asyncio.gather(*(one(number) for number in range(100)))

        self.run(scenario())

    def test_it_changes_nothing_of_the_outcome(self) -> None:
        tracer = self.tracer()
        call = make_call(arguments=("hello",))
        error = RemoteError("no")
        call.reply_metadata = {"key": "value"}
        self.whole(tracer, call, error)
        assert call.arguments == ("hello",)
        assert call.reply_metadata == {"key": "value"}
        assert call.biz_status is None
        assert error.__context__ is None

    def test_it_lets_go_of_a_finished_call(self) -> None:
        tracer = self.tracer()
        call = make_call()
        self.whole(tracer, call, ValueError("an error"))
        gone = weakref.ref(call)
        del call
        gc.collect()
        assert gone() is None, "a tracer that keeps calls keeps their payloads"
