"""Ejections by a balancer are events of the clients that it balances."""

from __future__ import annotations

import gc

from elanus.contracts.balancer import Ejection
from elanus.events import INSTANCE_EJECTED, EventBus, report_ejections
from elanus.service import Instance
from elanus.testing import InTurn, connected

from .store import Store, idl

OUT = Ejection(Instance("a:1"), "5 failures in a row", 30.0, 81234.5)


def test_its_text_says_who_how_long_and_why() -> None:
    assert str(OUT) == "a:1 is ejected for 30 s: 5 failures in a row"
    again = Ejection(OUT.instance, OUT.reason, 60.0, 9.0, times=2)
    assert str(again) == "a:1 is ejected for 60 s, 2 times now: 5 failures in a row"


def test_a_balancer_does_not_keep_a_bus_alive_nor_reports_twice() -> None:
    policy, kept, gone = InTurn(), EventBus(), EventBus()
    for bus in (kept, kept, gone):
        report_ejections(policy, bus)
    policy.ejecting(OUT)
    assert len(kept.recent()) == len(gone.recent()) == 1
    del gone, bus
    gc.collect()
    policy.ejecting(OUT)
    assert [(one.name, one.detail, one.value) for one in kept.recent()] == [(INSTANCE_EJECTED, str(OUT), OUT)] * 2
    assert len(policy._watchers) == 1, "a dead bus is not even asked"


async def test_every_client_of_a_balancer_hears_of_it() -> None:
    policy = InTurn()
    async with (
        connected(idl.Store, Store(), balancer=policy) as one,
        connected(idl.Store, Store(), balancer=policy) as other,
    ):
        policy.ejecting(OUT)
        for client in (one, other):
            assert [(each.name, each.value) for each in client.events.recent()] == [("instance_ejected", OUT)]
