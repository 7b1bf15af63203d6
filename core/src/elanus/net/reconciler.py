"""The loop around :mod:`elanus.reconcile`: carries out its steps, survives what they raise, ends without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from time import monotonic
from typing import TYPE_CHECKING

from elanus.contracts.registry import Registration, Registry
from elanus.errors import DiscoveryError, ElanusError, StateError
from elanus.reconcile import Announcement, Reconcile, Rhythm, Step, StepKind

if TYPE_CHECKING:
    from elanus.service import Instance

__all__ = ["Announcer", "ReconcilingRegistry"]

_log = logging.getLogger("elanus.registry")


class Announcer(ABC):
    """What a registry's backend can do, one request each. The loop decides when, bounds it in time, and tries again.

    Any exception means that the backend could not be asked or did not take it.
    """

    @abstractmethod
    async def announce(self, name: str, instance: Instance) -> None:
        """Write the announcement, or write it anew over what is there."""

    @abstractmethod
    async def renew(self, name: str, instance: Instance) -> bool:
        """Keep the announcement alive; ``False`` when the backend does not know of it."""

    @abstractmethod
    async def check(self, name: str, instance: Instance) -> bool:
        """Read back whether it is there, with the values that were announced."""

    @abstractmethod
    async def withdraw(self, name: str, instance: Instance) -> None:
        """Remove the announcement; no error when it is not there."""

    @abstractmethod
    async def aclose(self) -> None:
        """Free what was opened."""


class ReconcilingRegistry(Registry):
    """A registry made of an :class:`Announcer`: one task that keeps everything announced, through every outage.

    :param name: the name users select it by.
    :param announcer: the backend.
    :param rhythm: how often it is renewed and checked.
    :param step_timeout: seconds that one request to the backend may take.
    """

    def __init__(self, name: str, announcer: Announcer, rhythm: Rhythm, step_timeout: float = 3.0) -> None:
        self.name = name
        self._announcer = announcer
        self._policy = Reconcile(rhythm)
        self._step_timeout = step_timeout
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        #: Those who wait for the next outcome of an announcement.
        self._outcomes: dict[Announcement, asyncio.Future[None]] = {}
        self._closed = False
        # The policy knows monotonic time; people want to know the time of day.
        self._epoch = time.time() - monotonic()

    async def register(self, name: str, instance: Instance, *, insist: bool = False) -> None:
        if self._closed:
            raise StateError(f"registry {self.name!r} is closed", hint="Make a new one")
        announcement = self._policy.want(name, instance, monotonic())
        if announcement.standing:
            return
        try:
            await self._outcome(announcement)
        except DiscoveryError:
            if not insist:
                self._policy.forget(announcement)
                raise
            _log.warning("%s is not announced yet in %s: %s", name, self.name, announcement.last_error)

    async def deregister(self, name: str, instance: Instance) -> None:
        announcement = self._policy.release(name, instance, monotonic())
        if announcement is not None:
            await self._outcome(announcement)

    async def _outcome(self, announcement: Announcement) -> None:
        """Wait for the next step of *announcement* to succeed or fail."""
        outcome = self._outcomes.get(announcement)
        if outcome is None:
            outcome = self._outcomes[announcement] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"elanus registry {self.name}")
        self._changed.set()
        await asyncio.shield(outcome)

    def status(self) -> list[Registration]:
        return [
            Registration(
                one.name,
                one.instance,
                self._wall_clock(one.announced_since if one.standing else None),
                self._wall_clock(one.lost_since),
                one.last_error,
            )
            for one in self._policy.announcements.values()
            if one.wanted
        ]

    def _wall_clock(self, instant: float | None) -> float | None:
        return None if instant is None else instant + self._epoch

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            decision = self._policy.decide(monotonic())
            if isinstance(decision, Step):
                await self._carry_out(decision)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(decision):
                    await self._changed.wait()

    async def _carry_out(self, step: Step) -> None:
        announcement = step.announcement
        was_lost = announcement.lost_since is not None
        was_well = not announcement.last_error
        try:
            async with asyncio.timeout(self._step_timeout):
                found = await self._request(step)
        except Exception as error:
            text = f"no answer within {self._step_timeout:g} s" if isinstance(error, TimeoutError) else str(error)
            self._policy.failed(step, text or repr(error), monotonic())
            level = logging.WARNING if was_well else logging.DEBUG  # once an outage, not once an attempt
            _log.log(level, "%s: cannot %s %s at %s: %s", self.name, step.kind.value, *_who(announcement), text)
            self._settle(step, self._as_discovery_error(step, error))
            return
        self._policy.succeeded(step, monotonic(), found=found)
        if not found:
            _log.warning("%s: %s at %s is gone from it, announcing it again", self.name, *_who(announcement))
        elif was_lost and announcement.lost_since is None:
            _log.info("%s: %s at %s is announced again", self.name, *_who(announcement))
        if found:
            self._settle(step, None)

    async def _request(self, step: Step) -> bool:
        name, instance = step.announcement.name, step.announcement.instance
        match step.kind:
            case StepKind.ANNOUNCE:
                await self._announcer.announce(name, instance)
            case StepKind.RENEW:
                return await self._announcer.renew(name, instance)
            case StepKind.CHECK:
                return await self._announcer.check(name, instance)
            case StepKind.WITHDRAW:
                await self._announcer.withdraw(name, instance)
        return True

    def _as_discovery_error(self, step: Step, error: Exception) -> ElanusError:
        if isinstance(error, DiscoveryError):
            return error
        failure = DiscoveryError(
            f"registry {self.name!r} could not {step.kind.value} {step.announcement.name!r} "
            f"at {step.announcement.instance}: {step.announcement.last_error}",
            phase="register",
            hint="Check the registry's address and credentials",
        )
        failure.__cause__ = error
        return failure

    def _settle(self, step: Step, error: ElanusError | None) -> None:
        if not step.announcement.wanted and step.kind is not StepKind.WITHDRAW:
            return  # it was under way when somebody asked for the withdrawal, and they wait for that
        outcome = self._outcomes.pop(step.announcement, None)
        if outcome is None or outcome.done():
            return
        if error is None:
            outcome.set_result(None)
        else:
            outcome.set_exception(error)
            outcome.exception()  # whoever waited may have been cancelled; the log has it

    async def aclose(self) -> None:
        """Withdraw what is still announced, one attempt each, and end the loop."""
        if self._closed:
            return
        self._closed = True
        for announcement in list(self._policy.announcements.values()):
            with contextlib.suppress(ElanusError):
                await self.deregister(announcement.name, announcement.instance)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._announcer.aclose()


def _who(announcement: Announcement) -> tuple[str, str]:
    return announcement.name, announcement.instance.address
