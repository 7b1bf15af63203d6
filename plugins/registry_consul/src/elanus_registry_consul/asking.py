"""Asking agents: one request after the other, bounded in time, with the next agent when one does not answer."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from requests import RequestException

from elanus_registry_consul.failures import ConsulError
from elanus_registry_consul.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from elanus_registry_consul.settings import ConnectionSettings

__all__ = ["Answer", "Asking", "Request"]

_log = logging.getLogger("elanus.registry")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to an agent.

    :param verb: ``"get"`` or ``"put"``.
    :param path: with names as they are; the client encodes them.
    """

    verb: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: str = ""


class Answer(NamedTuple, Generic[T]):
    """What an agent answered with success."""

    value: T
    headers: Mapping[str, str]


class Asking:
    """A line to the first agent that answers. For one task at a time; belongs to the event loop that first uses it."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._agents = settings.agents
        self._at = 0
        self._line: Line | None = None
        #: Lines that were given up and whose threads may not have ended yet.
        self._leftover: set[Line] = set()
        #: What is being waited for.
        self._pending: asyncio.Future[Any] | None = None
        self._closed = False

    @property
    def agent(self) -> str:
        """The agent that is asked now."""
        return str(self._agents[self._at])

    async def ask(self, request: Request, parse: Callable[[Any], T], *, wait: float = 0.0) -> Answer[T]:
        """Send *request*, to each agent in turn until one answers.

        :param parse: makes the value of the answer out of its JSON, in the line's thread.
        :param wait: seconds for which the agent was asked to wait; it may take a sixteenth longer.
        :raises ConsulError: no agent answered in time, or the one that did refused.
        """
        for remaining in reversed(range(len(self._agents))):
            try:
                return await self._ask(request, parse, wait * 17 / 16 + self._settings.timeout)
            except ConsulError as error:
                if not error.unreachable or self._closed:
                    raise
                self._turn()
                if not remaining:
                    raise
                _log.info("%s; trying %s", str(error), self.agent)
        raise AssertionError("there is an agent at least")

    async def _ask(self, request: Request, parse: Callable[[Any], T], patience: float) -> Answer[T]:
        if self._closed:
            raise ConsulError(self.agent, "closed")
        agent = self.agent
        if self._line is None:
            self._line = Line(self._agents[self._at], self._settings)
            self._line.start()
        sent = self._line.submit(lambda client: _send(client, agent, request, parse), patience)
        self._pending = pending = asyncio.wrap_future(sent)
        try:
            # The line bounds each silence; this bounds an answer that trickles.
            async with asyncio.timeout(self._settings.connect_timeout + patience):
                return await pending
        except TimeoutError:
            raise ConsulError(agent, f"no complete answer within {patience:g} s") from None
        except asyncio.CancelledError:
            if self._closed:
                task = asyncio.current_task()
                if task is None or not task.cancelling():
                    raise ConsulError(agent, "closed") from None
            raise
        finally:
            if not pending.done() or pending.cancelled():
                self._give_up()
            self._pending = None

    def _turn(self) -> None:
        if len(self._agents) > 1:
            self._give_up()
            self._at = (self._at + 1) % len(self._agents)

    def _give_up(self) -> None:
        if self._line is not None:
            line, self._line = self._line, None
            self._leftover = {one for one in self._leftover if not one.ended.done()} | {line}
            line.abandon()

    async def aclose(self) -> None:
        """End what is being asked, and the threads."""
        self._closed = True
        self._give_up()
        if self._pending is not None:
            self._pending.cancel()
        # A thread that is just connecting ends with that, at the latest.
        give_up = self._settings.connect_timeout + 1.0
        for line in list(self._leftover):
            await asyncio.wait({asyncio.wrap_future(line.ended)}, timeout=give_up)
            if line.ended.done():
                line.join()
            else:
                _log.warning(
                    "a request to consul at %s is held up in the system; its thread is left to end", self.agent
                )
        self._leftover.clear()


def _send(client: Any, agent: str, request: Request, parse: Callable[[Any], T]) -> Answer[T]:
    """In the thread of a line.

    :raises ConsulError: in place of everything that the client may raise.
    """
    try:
        if request.verb == "put":
            response = client.put(_as_it_is, request.path, params=list(request.params), data=request.body)
        else:
            response = client.get(_as_it_is, request.path, params=list(request.params))
    except (RequestException, OSError) as error:
        raise ConsulError(agent, _reason(error)) from error
    if response.code != 200:
        raise ConsulError(agent, f"{response.code} {response.body.strip()[:200]}", response.code)
    try:
        return Answer(parse(json.loads(response.body) if response.body else None), response.headers)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConsulError(agent, f"the answer makes no sense: {error!r}") from error


def _as_it_is(response: Any) -> Any:
    return response


def _reason(error: BaseException) -> str:
    """The error at the bottom: requests wraps urllib3's, which wraps the system's, each with its own address."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
