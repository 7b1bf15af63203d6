"""The retry room under plans and attempts made by chance: there is always one outcome, and nothing is left over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.retrying import Script, room, timed_out

from elanus.contracts.retrier import STOP, WAIT, Retry, Verdict
from elanus.deadline import Deadline
from elanus.errors import RpcTimeoutError
from elanus.testing import make_call, run_virtual

if TYPE_CHECKING:
    from elanus.call import Call

seconds = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5])
verdicts = st.one_of(st.just(STOP), st.just(WAIT), seconds.map(Retry))


@dataclass
class Fate:
    """What becomes of one attempt."""

    takes: float
    fails: bool
    #: Answers of the plan when it ends, and when the clock that its start sets has run off.
    verdict: Verdict
    delay: float | None
    due: Verdict


fates = st.lists(
    st.builds(Fate, seconds, st.booleans(), verdicts, st.one_of(st.none(), seconds), verdicts), min_size=6, max_size=6
)


class Chance(Script):
    """Follows what chance says; :class:`Script` checks that core keeps its order. Stops when the fates are used up."""

    def __init__(self, fates: list[Fate]) -> None:
        super().__init__(most=len(fates))
        self.fates = fates

    def started(self, attempt: Call, now: float) -> float | None:
        super().started(attempt, now)
        return self.fates[attempt.attempt].delay

    def due(self, now: float) -> Verdict:
        assert not self.decided
        verdict = self.fates[self.count - 1].due
        return WAIT if self.count >= self.most else verdict

    def verdict(self, error: Exception | None, running: int) -> Verdict:
        verdict = self.fates[self.count - 1].verdict
        return STOP if isinstance(verdict, Retry) and self.count + running >= self.most else verdict


async def play(fates: list[Fate], budget: float | None, cancel_after: float | None) -> None:
    loop = asyncio.get_running_loop()
    chance, begun, ends = Chance(fates), [], []

    async def endpoint(call: Call) -> Any:
        fate = fates[call.attempt]
        begun.append(call.attempt)
        assert call.deadline is None or loop.time() < call.deadline, "no attempt begins after the deadline"
        try:
            await asyncio.sleep(fate.takes)
            if fate.fails:
                raise timed_out()
            return call.attempt
        finally:
            ends.append(call.attempt)

    call = make_call()
    call.deadline = None if budget is None else Deadline(loop.time() + budget)
    task = asyncio.ensure_future(room(chance, endpoint)(call))
    if cancel_after is not None:
        loop.call_later(cancel_after, task.cancel)
    (done,), _ = await asyncio.wait([task])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sorted(ends) == sorted(begun), "each attempt that began has ended, and ended once"
    assert set(begun) <= set(range(chance.count)), "one that loses in the turn in which it starts may never begin"
    assert len(asyncio.all_tasks()) == 1
    if done.cancelled():
        assert cancel_after is not None
        return
    assert not done.cancelling() or cancel_after is not None
    winner = call.attempt
    assert isinstance(done.exception(), RpcTimeoutError) == fates[winner].fails
    assert fates[winner].fails or done.result() == winner
    if call.journal is not None:
        outcomes = {each.number: each.outcome for each in call.history(done.exception()).attempts}
        assert len(outcomes) == chance.count
        assert (outcomes[winner] == "ok") is not fates[winner].fails
        assert all(outcomes.values())
    else:
        assert chance.count == 1
    await asyncio.sleep(60)
    assert len(ends) == len(begun), "nothing starts after the outcome"


@settings(max_examples=200, deadline=None)
@given(fates, st.one_of(st.none(), seconds), st.one_of(st.none(), seconds))
def test_there_is_one_outcome_and_nothing_is_left(
    fates: list[Fate], budget: float | None, cancel_after: float | None
) -> None:
    run_virtual(play(fates, (budget or 0.0) + 0.05 if budget is not None else None, cancel_after))
