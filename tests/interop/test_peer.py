"""The Go peer against itself: what the interop tests of elanus build on is proven here, without elanus."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from . import build_peers
from .conftest import ClientFactory, LoadFactory
from .peer import KitexServer, PeerError, PeerProcess, binary, flags

ServerFactory = Callable[..., KitexServer]

pytestmark = pytest.mark.interop

FRAMINGS = {
    "buffered": "buffered",
    "framed": "framed",
    "ttheader-unframed": "ttheader-unframed",
    "ttheader": "ttheader-framed",
    "ttheaderframed": "ttheader-framed",
    "mux": "ttheader-framed",
}
TTHEADER = [name for name, framing in FRAMINGS.items() if framing.startswith("ttheader")]

LEAF = {"id": 7, "name": "leaf", "tags": ["a", "b"]}
SUCCEEDING: Mapping[str, tuple[dict[str, Any], Any]] = {
    "version": ({}, "1"),
    "ping": ({}, None),
    "nothing": ({}, None),
    "who": ({}, "Interop"),
    "echo": ({"req": {"message": "héllo", "payload": b"\0\1\xff"}}, {"message": "héllo", "payload": "AAH/"}),
    "multi_args": ({"a": -1, "b": "b", "c": [1, 2**62]}, {"a": -1, "b": "b", "c": [1, 2**62]}),
    "stamp": ({"value": {"amount": 5}}, {"amount": 5, "unit": 3}),
    "choose": ({"value": {"leaf": LEAF}}, {"leaf": LEAF}),
    "refuse": ({"kind": "none", "text": "fine"}, {"message": "fine", "payload": ""}),
    "check": ({"kind": "none", "text": "fine"}, None),
    "sleep": ({"milliseconds": 1, "token": "t"}, "t"),
    "fresh_defaults": (
        {},
        {
            "flag": True,
            "number": 42,
            "text": "plain",
            "numbers": [1, 2, 3],
            "table": {"one": 1, "two": 2},
            "color": 2,
            "maybe": "perhaps",
            "ratio": 0.5,
        },
    ),
}
ALL_TYPES = {
    "flag": True,
    "tiny": -128,
    "small": -(2**15),
    "medium": -(2**31),
    "large": -(2**63),
    "ratio": 1e300,
    "text": "日本",
    "blob": b"\xff\0",
    "color": 4,
    "user": 2**63 - 1,
    "must": "",
}
OPTIONAL = {
    "maybe_flag": False,
    "maybe_tiny": 127,
    "maybe_small": 0,
    "maybe_medium": 1,
    "maybe_large": 2,
    "maybe_ratio": -0.0,
    "maybe_text": "",
    "maybe_blob": b"x",
    "maybe_color": 1,
    "maybe_user": 3,
    "far": "away",
}
NESTED = {
    "forest": [{"oak": [LEAF, {"id": 8, "name": ""}]}, {}],
    "numbers": [1, -1],
    "leaves": {"-5": LEAF},
    "matrix": [[1, 2], [], [3]],
    "deep": {"a": {"1": ["x", "y"]}},
    "blobs": ["AA==", ""],
    "flags": [True, False],
    "ratios": {"half": 0.5},
    "tree": {"name": "root", "children": [{"name": "child", "children": []}]},
    "colors": [1, 4],
    "maybe_table": {"k": "v"},
}


def server_flags(transport: str) -> dict[str, object]:
    return {"mux": transport == "mux", "second_service": True}


@pytest.mark.parametrize("transport", FRAMINGS)
async def test_calls_that_succeed(kitex_server: ServerFactory, kitex_client: ClientFactory, transport: str) -> None:
    async with (
        kitex_server(**server_flags(transport)) as server,
        kitex_client(server.address, transport=transport) as client,
    ):
        for method, (args, expected) in SUCCEEDING.items():
            assert await client.result(method, args) == expected, method
        plain = await client.result("all_types", {"value": ALL_TYPES})
        assert plain == {**ALL_TYPES, "blob": "/wA="}
        full = await client.result("all_types", {"value": {**ALL_TYPES, **OPTIONAL}})
        assert full == {**ALL_TYPES, **OPTIONAL, "blob": "/wA=", "maybe_blob": "eA=="}
        assert binary(full["blob"]) == ALL_TYPES["blob"]
        assert await client.result("nested", {"value": NESTED}) == NESTED
        changed = await client.result("defaults", {"value": {"table": {"three": 3}, "number": 0}})
        assert (changed["table"], changed["number"], changed["numbers"]) == ({"three": 3}, 0, [1, 2, 3])
        assert (await client.result("metadata", {"request": {}}))["framing"] == FRAMINGS[transport]
        assert (await client.result("other_echo", {"req": {"message": "m"}}, service="Other"))["message"] == "other: m"


@pytest.mark.parametrize("transport", FRAMINGS)
async def test_calls_that_fail(kitex_server: ServerFactory, kitex_client: ClientFactory, transport: str) -> None:
    async with (
        kitex_server(**server_flags(transport)) as server,
        kitex_client(server.address, transport=transport) as client,
    ):
        for method in ("refuse", "check"):
            error = (await client.call(method, {"kind": "not_found", "text": "t"}))["error"]
            assert (error["kind"], error["type"], error["field"]) == ("declared", "NotFound", "not_found")
            assert error["value"] == {"text": "t"}
            error = (await client.call(method, {"kind": "conflict", "text": "t"}))["error"]
            assert error["value"] == {"code": 409, "text": "t", "details": ["a", "b"]}
        failures = {
            "fail": (6, "biz error: t"),
            "fail_with_code": (1234, "t [biz error]"),
            "panic": (6, "panic: [happened in biz handler, method=Interop.panic, "),
        }
        for method, (type_id, text) in failures.items():
            args = {"text": "t", "type_id": 1234} if method == "fail_with_code" else {"text": "t"}
            error = (await client.call(method, args))["error"]
            assert (error["kind"], error["type_id"]) == ("exception", type_id)
            assert error["message"].startswith(text)
        error = (await client.call("sleep", {"milliseconds": 300, "token": "late"}, timeout_ms=30))["error"]
        assert error["kind"] == "timeout"
        error = (await client.call("sleep", {"milliseconds": 300, "token": "late"}, cancel_after_ms=30))["error"]
        assert error["kind"] == "canceled"
        error = (await client.call("ping", address="127.0.0.1:1"))["error"]
        assert error["kind"] == "dial"


@pytest.mark.parametrize("transport", FRAMINGS)
async def test_oneway_messages_arrive(kitex_server: ServerFactory, kitex_client: ClientFactory, transport: str) -> None:
    async with (
        kitex_server(**server_flags(transport)) as server,
        kitex_client(server.address, transport=transport) as client,
    ):
        for number in range(5):
            await client.result("fire", {"token": f"t{number}", "delay_ms": 0})
        expected = {f"t{number}" for number in range(5)}
        # Oneway has no answer to wait for; the test's own timeout ends this loop if a token is lost.
        while set(await client.result("fired", {"prefix": "t"})) != expected:
            await client.result("sleep", {"milliseconds": 10, "token": ""})


@pytest.mark.parametrize("transport", TTHEADER)
async def test_headers_and_metadata(kitex_server: ServerFactory, kitex_client: ClientFactory, transport: str) -> None:
    async with (
        kitex_server(context_timeout=True, name="far", **server_flags(transport)) as server,
        kitex_client(server.address, transport=transport, name="near", dest_name="there") as client,
    ):
        carried = {"transient": {"one": "hop"}, "persistent": {"every": "hop"}, "timeout_ms": 5000}
        answer = await client.call("metadata", {"request": {"backward": {"k": "v"}}}, **carried)
        seen = answer["result"]
        assert (seen["transient_values"], seen["persistent_values"]) == ({"one": "hop"}, {"every": "hop"})
        assert (seen["caller_service"], seen["idl_service"], seen["idl_method"]) == ("near", "Interop", "metadata")
        assert seen["string_headers"]["isn"] == "Interop"
        assert (seen["int_headers"]["3"], seen["int_headers"]["6"], seen["int_headers"]["12"]) == (
            "near",
            "there",
            "5000",
        )
        assert seen["deadline"]["rpc_timeout_ms"] == 5000
        assert seen["deadline"]["has_deadline"]
        assert 0 < seen["deadline"]["remaining_ms"] <= 5000
        assert answer["backward"] == {"k": "v"}
        assert answer["int_headers"] == {22: "2"}

        error = (await client.call("biz_status", {"code": 7, "message": "m", "extra": {"a": "<"}}))["error"]
        assert (error["kind"], error["biz_code"], error["biz_message"]) == ("biz", 7, "m")
        assert error["biz_extra"] == {"a": "<"}
        # Both services have who(); only the service name on the wire tells them apart.
        assert await client.result("who", service="Other") == "Other"
        unknown_method = (await client.call("no_such_method"))["error"]
        assert (unknown_method["type_id"], unknown_method["message"]) == (
            1,
            "unknown method no_such_method (service Interop)",
        )
        unknown_service = (await client.call("no_such_method", service_name="Nobody"))["error"]
        assert (unknown_service["type_id"], unknown_service["message"]) == (
            20,
            "unknown service Nobody, method no_such_method",
        )


async def test_forward_makes_a_chain(kitex_server: ServerFactory, kitex_client: ClientFactory) -> None:
    async with (
        kitex_server(name="last") as last,
        kitex_server(name="middle") as middle,
        kitex_client(middle.address) as client,
    ):
        args = {"address": last.address, "request": {"backward": {"k": "v"}, "timeout_ms": 3000}}
        report = await client.result("forward", args, transient={"one": "hop"}, persistent={"every": "hop"})
        assert report["backward"] == {"k": "v"}
        seen = report["seen"]
        assert (seen["transient_values"], seen["persistent_values"]) == ({}, {"every": "hop"})
        assert (seen["caller_service"], seen["caller_method"]) == ("middle", "forward")
        assert seen["deadline"]["rpc_timeout_ms"] == 3000


async def test_no_meta_handlers_leave_the_headers_empty(
    kitex_server: ServerFactory, kitex_client: ClientFactory
) -> None:
    async with (
        kitex_server(no_meta_handlers=True) as server,
        kitex_client(server.address, no_meta_handlers=True) as client,
    ):
        answer = await client.call("metadata", {"request": {}}, timeout_ms=5000)
        assert (answer["result"]["string_headers"], answer["result"]["int_headers"]) == ({}, {})
        assert (answer["string_headers"], answer["int_headers"]) == ({}, {})


async def test_checksums_are_written_by_the_side_that_has_them_on(
    kitex_server: ServerFactory, kitex_client: ClientFactory
) -> None:
    async with kitex_server(crc32c=True) as server:
        async with kitex_client(server.address, crc32c=True) as client:
            answer = await client.call("metadata", {"request": {}})
            assert len(answer["result"]["string_headers"]["crc32c"]) == 8
            assert len(answer["string_headers"]["crc32c"]) == 8
        async with kitex_client(server.address) as client:
            answer = await client.call("metadata", {"request": {}})
            assert "crc32c" not in answer["result"]["string_headers"]
            assert len(answer["string_headers"]["crc32c"]) == 8


async def test_strict_server_wants_the_service_name(kitex_server: ServerFactory, kitex_client: ClientFactory) -> None:
    async with kitex_server(refuse_without_service=True) as server:
        async with kitex_client(server.address, transport="framed") as client:
            assert (await client.call("ping"))["error"]["type_id"] == 20
        async with kitex_client(server.address, transport="ttheader") as client:
            await client.result("ping")


async def test_concurrent_calls_overtake_each_other(kitex_server: ServerFactory, kitex_client: ClientFactory) -> None:
    async with (
        kitex_server(mux=True) as server,
        kitex_client(server.address, transport="mux") as client,
    ):
        order: list[str] = []

        async def nap(milliseconds: int, token: str) -> None:
            order.append(await client.result("sleep", {"milliseconds": milliseconds, "token": token}))

        await asyncio.gather(nap(400, "slow"), nap(0, "quick"))
        assert order == ["quick", "slow"]


async def test_unix_socket_and_short_connections(
    kitex_server: ServerFactory, kitex_client: ClientFactory, tmp_path: Path
) -> None:
    async with kitex_server(listen=f"unix:{tmp_path}/s") as server:
        assert server.address == f"unix:{tmp_path}/s"
        async with kitex_client(server.address, short=True) as client:
            for _ in range(3):
                await client.result("ping")


@pytest.mark.parametrize(
    "transport",
    [
        "ttheader",
        pytest.param(
            "mux",
            marks=pytest.mark.xfail(
                strict=True,
                reason="the mux client of Kitex v0.16.3 panics on the server's control frame, drops the connection and "
                "fails what is in flight: cloudwego/kitex issue 1897",
            ),
        ),
    ],
)
async def test_graceful_stop_under_load_answers_every_call_that_it_took(
    kitex_server: ServerFactory, kitex_load: LoadFactory, transport: str
) -> None:
    # Ten workers that are busy four fifths of the time: calls are in flight whenever the stop comes.
    steady = {"rate": 400, "concurrency": 10, "sleep_ms": 20, "seconds": 60}
    async with (
        kitex_server(mux=transport == "mux") as server,
        kitex_load(server.address, transport=transport, **steady) as load,
    ):
        assert (await load.event("second"))["ok"] > 0
        last = await server.stop()
        counts = await load.stop()
        assert (server.returncode, counts["wrong"]) == (0, 0)
        # Calls made after the stop cannot connect; that they were made at all shows that the load went on.
        assert counts["error_kinds"]["dial"] > 0
        assert counts["ok"] == last["handled"]


async def test_load_ends_by_itself_and_checks_replies(kitex_server: ServerFactory, kitex_load: LoadFactory) -> None:
    async with kitex_server() as server, kitex_load(server.address, seconds=0.3, concurrency=4, payload=100) as load:
        counts = await load.done()
        assert (counts["wrong"], counts["errors"], counts["error_texts"]) == (0, 0, {})
        assert counts["ok"] == (await server.stats())["handled"] > 0


async def test_killed_server_is_an_error_of_the_calls(kitex_server: ServerFactory, kitex_client: ClientFactory) -> None:
    async with kitex_server() as server, kitex_client(server.address) as client:
        await client.result("ping")
        call = asyncio.create_task(client.call("sleep", {"milliseconds": 20_000, "token": "t"}))
        await asyncio.sleep(0.1)
        server.kill()
        assert (await call)["error"]["kind"] == "network"
        assert await server.wait() == -signal.SIGKILL


async def test_wrong_commands_are_loud(kitex_server: ServerFactory, kitex_client: ClientFactory) -> None:
    async with kitex_server() as server, kitex_client(server.address) as client:
        with pytest.raises(PeerError, match="mesage"):
            await client.call("echo", {"req": {"mesage": "typo"}})
        with pytest.raises(PeerError, match="no method"):
            await client.call("undefined")
        with pytest.raises(PeerError, match="not on the loopback"):
            async with kitex_server(listen="0.0.0.0:0"):
                pass


@pytest.mark.parametrize("transport", ["ttheader", "framed", "mux"])
async def test_bench_pair(kitexpeer: Path, transport: str) -> None:
    options = flags({"mux": transport == "mux", "metadata": True})
    async with KitexServer(kitexpeer, "bench-server", "--follow-stdin", *options) as server:
        window = {"transport": transport, "concurrency": 8, "warmup": 0.1, "seconds": 0.3, "timeout_ms": 1000}
        command = flags({"address": server.address, "payload": 1024, "metadata": True, **window})
        output = await asyncio.to_thread(run, kitexpeer, "bench-client", *command)
        result = output[-1]
        assert [line["event"] for line in output] == ["measuring", "result"]
        assert (result["errors"], result["wrong_replies"], result["last_error"]) == (0, 0, None)
        assert 0 < result["calls"] == result["decoded_replies"] <= (await server.stats())["handled"]
        assert 0 < result["p50_us"] <= result["p99_us"]
        assert result["cpu_seconds"] > 0


def run(binary_path: Path, *arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run([binary_path, *arguments], capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_peer_ends_when_its_stdin_does(kitexpeer: Path) -> None:
    async with KitexServer(kitexpeer, "server", "--follow-stdin") as server:
        pass
    assert server.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_peer_that_refuses_its_flags_says_why(kitexpeer: Path) -> None:
    with pytest.raises(PeerError, match="flag provided but not defined: -colour"):
        async with PeerProcess(kitexpeer, "server", "--colour"):
            pass


def test_missing_go_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build_peers, "PEERS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build_peers.PeerBuildError, match=r"no `go` on PATH; install Go 1\.24"):
        build_peers.peer_binary()


def test_build_script_prints_the_path_of_a_finished_build(kitexpeer: Path) -> None:
    script = Path(build_peers.__file__)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == kitexpeer
