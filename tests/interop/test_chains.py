"""A calls B, whose handler calls C, with both languages in the chain.

Transient metadata reaches B alone, persistent metadata B and C; each server is told who calls it and from where.
"""

from collections.abc import Callable

import pytest

import elanus

from .conftest import ClientFactory
from .elanus_peers import ElanusServer, elanus_client
from .peer import KitexServer
from .service import idl

pytestmark = pytest.mark.interop

ServerFactory = Callable[..., KitexServer]
ElanusFactory = Callable[..., ElanusServer]

CARRIED = elanus.Metadata({"one": "hop"}, {"every": "hop"})
BACKWARD = {"back": "value"}


async def test_py_to_go_to_py(kitex_server: ServerFactory, elanus_server: ElanusFactory) -> None:
    async with (
        elanus_server() as c,
        kitex_server(name="service.b") as b,
        elanus_client(b.address, caller="service.a", name="dest.b") as a,
    ):
        calls = a.with_options(metadata=CARRIED)
        at_b = await calls.metadata(idl.MetadataRequest())
        assert (at_b.transient_values, at_b.persistent_values) == (CARRIED.transient, CARRIED.persistent)
        assert (at_b.caller_service, at_b.caller_method, at_b.int_headers[6]) == ("service.a", "", "dest.b")

        request = idl.MetadataRequest(backward=BACKWARD, timeout_ms=3000)
        result = await calls.invoke("forward", c.address, request)
        at_c = result.reply.seen
        assert (at_c.transient_values, at_c.persistent_values) == ({}, CARRIED.persistent)
        assert {key: at_c.int_headers[key] for key in (3, 6, 9, 12, 20)} == {
            3: "service.b",
            6: "elanus.interop",
            9: "metadata",
            12: "3000",
            20: "forward",
        }
        assert (at_c.caller_service, at_c.caller_method) == ("service.b", "forward")
        assert (at_c.callee_service, at_c.idl_service) == ("elanus.interop", "Interop")
        assert at_c.deadline.has_deadline
        # Backward values go back one hop, and B's own reply has none.
        assert (result.reply.backward, result.metadata) == (BACKWARD, {})


async def test_go_to_py_to_go(
    kitex_server: ServerFactory, kitex_client: ClientFactory, elanus_server: ElanusFactory
) -> None:
    carried = {"transient": CARRIED.transient, "persistent": CARRIED.persistent}
    async with (
        kitex_server(name="service.c", context_timeout=True) as c,
        elanus_server(name="service.b") as b,
        kitex_client(b.address, name="service.a", dest_name="dest.b") as a,
    ):
        at_b = await a.result("metadata", {"request": {}}, **carried)
        assert (at_b["transient_values"], at_b["persistent_values"]) == (CARRIED.transient, CARRIED.persistent)
        assert (at_b["caller_service"], at_b["caller_method"], at_b["callee_service"]) == ("service.a", "", "dest.b")

        arguments = {"address": c.address, "request": {"backward": BACKWARD}}
        answer = await a.call("forward", arguments, timeout_ms=20_000, **carried)
        at_c = answer["result"]["seen"]
        assert (at_c["transient_values"], at_c["persistent_values"]) == ({}, CARRIED.persistent)
        headers = at_c["int_headers"]
        assert {key: headers[key] for key in ("3", "6", "9", "20")} == {
            "3": "service.b",
            "6": "elanus.interop",
            "9": "metadata",
            "20": "forward",
        }
        # What A gave B is what B's own calls have left, though nobody said so in B.
        assert 0 < int(headers["12"]) <= 20_000
        assert 0 < at_c["deadline"]["remaining_ms"] <= 20_000
        assert (answer["result"]["backward"], answer["backward"]) == (BACKWARD, {})

        arguments = {"address": c.address, "request": {"timeout_ms": 1000}}
        hurried = (await a.result("forward", arguments, timeout_ms=20_000))["seen"]["int_headers"]["12"]
        assert 0 < int(hurried) <= 1000
        unhurried = (await a.result("forward", {"address": c.address, "request": {}}))["seen"]["int_headers"]
        assert "12" not in unhurried


async def test_py_to_py_to_go(kitex_server: ServerFactory, elanus_server: ElanusFactory) -> None:
    async with (
        kitex_server(name="service.c") as c,
        elanus_server(name="service.b") as b,
        elanus_client(b.address, caller="service.a", name="dest.b") as a,
    ):
        calls = a.with_options(metadata=CARRIED, timeout=20)
        at_b = await calls.metadata(idl.MetadataRequest())
        assert (at_b.transient_values, at_b.persistent_values) == (CARRIED.transient, CARRIED.persistent)
        assert (at_b.caller_service, at_b.caller_method, at_b.callee_service) == ("service.a", "", "dest.b")

        result = await calls.invoke("forward", c.address, idl.MetadataRequest(backward=BACKWARD))
        at_c = result.reply.seen
        assert (at_c.transient_values, at_c.persistent_values) == ({}, CARRIED.persistent)
        assert {key: at_c.int_headers[key] for key in (3, 6, 9, 20)} == {
            3: "service.b",
            6: "elanus.interop",
            9: "metadata",
            20: "forward",
        }
        assert 0 < int(at_c.int_headers[12]) <= 20_000
        assert (result.reply.backward, result.metadata) == (BACKWARD, {})


async def test_go_to_go_to_py(
    kitex_server: ServerFactory, kitex_client: ClientFactory, elanus_server: ElanusFactory
) -> None:
    async with (
        elanus_server() as c,
        kitex_server(name="service.b") as b,
        kitex_client(b.address, name="service.a") as a,
    ):
        carried = {"transient": CARRIED.transient, "persistent": CARRIED.persistent}
        seen = (await a.result("forward", {"address": c.address, "request": {}}, **carried))["seen"]
        assert (seen["transient_values"], seen["persistent_values"]) == ({}, CARRIED.persistent)
        assert (seen["caller_service"], seen["caller_method"]) == ("service.b", "forward")
