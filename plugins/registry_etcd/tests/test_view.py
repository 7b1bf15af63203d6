"""What a resolver knows of a service, by what it is told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from elanus.service import Instance
from elanus_registry_etcd.layout import encode_value
from elanus_registry_etcd.view import ServiceView

if TYPE_CHECKING:
    import pytest

ONE, TWO = Instance("10.0.0.1:80"), Instance("10.0.0.2:80", 20, {"zone": "a"})


def entry(instance: Instance) -> tuple[bytes, bytes]:
    return f"p/echo/{instance.address}".encode(), encode_value(instance)


def view_of(*instances: Instance, revision: int = 5) -> ServiceView:
    view = ServiceView(10)
    view.replace(map(entry, instances), revision)
    return view


def test_a_look_up_replaces_everything() -> None:
    view = view_of(ONE)
    view.replace([entry(TWO)], 9)
    assert view.instances() == (TWO,)
    assert (len(view), view.revision) == (1, 9)


def test_changes_are_applied() -> None:
    view = view_of(ONE)
    view.put(*entry(TWO), 6)
    assert view.instances() == (ONE, TWO)
    heavier = Instance(ONE.address, 99)
    view.put(*entry(heavier), 7)
    assert view.instances() == (heavier, TWO)
    view.delete(entry(ONE)[0], 8)
    assert view.instances() == (TWO,)


def test_what_a_look_up_knew_already_is_not_undone() -> None:
    """A look-up in the middle of a watch is ahead of the events that are still on their way."""
    view = view_of(ONE, revision=10)
    before = view.changes
    view.delete(entry(ONE)[0], 9)
    view.put(*entry(TWO), 10)
    assert view.instances() == (ONE,)
    assert view.changes == before


def test_several_changes_of_one_revision_all_count() -> None:
    view = view_of(ONE)
    view.put(*entry(TWO), 6)
    view.delete(entry(ONE)[0], 6)
    view.reached(6)
    assert view.instances() == (TWO,)
    assert view.revision == 6
    view.reached(3)
    assert view.revision == 6


def test_the_order_is_that_of_the_keys_whatever_the_order_of_events() -> None:
    view = view_of()
    view.put(*entry(TWO), 6)
    view.put(*entry(ONE), 7)
    assert view.instances() == (ONE, TWO)


def test_an_address_that_two_keys_announce_counts_once() -> None:
    view = view_of(ONE)
    view.put(b"p/echo/other", encode_value(ONE), 6)
    assert view.instances() == (ONE,)
    view.delete(entry(ONE)[0], 7)
    assert view.instances() == (ONE,)


def test_what_cannot_be_read_is_left_out_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    view = view_of(ONE)
    view.put(b"p/echo/bad", b"?", 6)
    view.put(b"p/echo/bad", b"??", 7)
    view.replace([entry(ONE), (b"p/echo/bad", b"??")], 8)
    assert view.instances() == (ONE,)
    assert len(view) == 2, "a poll compares counts"
    assert [record.getMessage() for record in caplog.records] == [
        "etcd: key 'p/echo/bad' is left out: it is not JSON: Expecting value: line 1 column 1 (char 0)"
    ]
    view.put(b"p/echo/bad", encode_value(TWO), 9)
    assert view.instances() == (ONE, TWO) or view.instances() == (TWO, ONE)
    view.put(b"p/echo/bad", b"?", 10)
    assert len(caplog.records) == 2, "it was well in between"


def test_a_big_service_takes_little_memory() -> None:
    import tracemalloc

    entries = [entry(Instance(f"10.{n // 250}.{n % 250}.1:8888", 10, {"zone": f"z{n % 3}"})) for n in range(2000)]
    view = ServiceView(10)
    tracemalloc.start()
    view.replace(iter(entries), 1)
    found = view.instances()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 2000
    assert used / 2000 < 1024, "bytes an instance"
