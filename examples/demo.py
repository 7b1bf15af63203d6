"""`make demo`: three instances of a service under load, one killed with SIGKILL; then Go Kitex on either end.

What must be seen: the client finds the instances by itself; the calls in flight on the killed one fail with an error
that names it, no other call fails, no reply reaches another call's caller; the killed instance leaves the registry; and
an unmodified Kitex client and server talk to the same service and client.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import elanus
from examples.service import echo

ROOT = Path(__file__).parents[1]
Options = dict[str, object]
INSTANCES = 3
CONCURRENCY = 30
SECONDS = 3.0
#: For the registry to notice that a process was killed.
REGISTRY_SECONDS = 90.0


@dataclass
class Instance:
    """A service in a process of its own."""

    process: asyncio.subprocess.Process
    address: str


@dataclass
class Tally:
    """What the load saw."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: list[elanus.ElanusError] = field(default_factory=list)
    mixed_up: int = 0

    def __str__(self) -> str:
        shares = ", ".join(f"{address}: {count}" for address, count in sorted(self.answered.items()))
        return f"{self.answered.total()} calls answered ({shares}), {len(self.failed)} failed, {self.mixed_up} mixed up"


@contextlib.asynccontextmanager
async def instance() -> AsyncIterator[Instance]:
    """Start `elanus serve` on a port that the system chooses."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "elanus.cli", "serve", "examples.service:server", "--bind", "127.0.0.1:0", "-p", "examples.discovery"),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        line = (await asyncio.wait_for(process.stderr.readline(), 30)).decode().strip()
        if " on " not in line:
            raise RuntimeError(f"the service did not start: {line}")
        yield Instance(process, line.rpartition(" on ")[2])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def load(client: elanus.Client, tally: Tally, until: float) -> None:
    """One caller: calls until the time has come, each with a token of its own."""
    loop = asyncio.get_running_loop()
    number = 0
    while loop.time() < until:
        number += 1
        token = f"{id(tally)}-{id(asyncio.current_task())}-{number}"
        try:
            result = await client.invoke("echo", echo.Request(message=token))
        except elanus.ElanusError as error:
            tally.failed.append(error)
            continue
        tally.answered[str(result.instance)] += 1
        tally.mixed_up += result.reply.message != token


async def run_load(client: elanus.Client, seconds: float) -> Tally:
    """Many callers at once."""
    tally = Tally()
    until = asyncio.get_running_loop().time() + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(load(client, tally, until))
    return tally


async def kill_one_under_load(instances: list[Instance]) -> None:
    """The main job."""
    victim = instances[0]
    async with elanus.Client(echo.EchoService, timeout=1.0) as client:
        await known(client, {one.address for one in instances})
        where, name = client.options.resolver[0], client.options.name
        print(f"\n{INSTANCES} instances of {name!r} found by resolver {where!r}; {CONCURRENCY} callers")
        print(f"  before   {await run_load(client, SECONDS / 3)}")
        running = asyncio.create_task(run_load(client, SECONDS / 3))
        await asyncio.sleep(SECONDS / 6)
        os.kill(victim.process.pid, signal.SIGKILL)
        tally = await running
        print(f"  SIGKILL  {tally}")
        for error in tally.failed[:1]:
            print(f"           one of {len(tally.failed)} calls in flight on it: {error}")
        after = await run_load(client, SECONDS / 3)
        print(f"  after    {after}")
        await known(client, {one.address for one in instances[1:]})
        print(f"  the registry has let go of {victim.address}")
    check(len(tally.failed) <= CONCURRENCY, "only calls in flight on the killed instance fail")
    check(bool(tally.failed), "some call was in flight on it")
    check(all(error.instance == victim.address for error in tally.failed), "each error names the instance")
    check(not after.failed, "every later call succeeds")
    check(tally.mixed_up + after.mixed_up == 0, "no reply reaches another call's caller")


async def known(client: elanus.Client, addresses: set[str]) -> None:
    """Wait until the client knows exactly these instances, calling meanwhile."""
    async with asyncio.timeout(REGISTRY_SECONDS):
        while {instance.address for instance in client.instances} != addresses:
            with contextlib.suppress(elanus.ElanusError):
                await client.echo(echo.Request(message="are you there?"))
            await asyncio.sleep(0.05)


async def talk_to_kitex(address: str) -> None:
    """An unmodified Go Kitex client calls our service; our client calls an unmodified Go Kitex server."""
    from tests.interop.build_peers import PeerBuildError, peer_binary

    try:
        binary = await asyncio.to_thread(peer_binary)
    except PeerBuildError as error:
        print(f"\nGo Kitex is left out: {error}", file=sys.stderr)
        check(not os.environ.get("CI"), "CI has Go")
        return
    print("\nGo Kitex v0.16.3, built from its module")
    client = await asyncio.create_subprocess_exec(
        binary,
        *("bench-client", "--address", address, "--transport", "ttheader", "--concurrency", "10", "--seconds", "1"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await client.communicate()
    result = json.loads(output.splitlines()[-1])
    print(f"  Kitex client -> elanus server  {result['decoded_replies']} replies, {result['errors']} errors")
    check(result["decoded_replies"] > 0, "the Kitex client gets replies")
    check(result["errors"] == 0 and result["wrong_replies"] == 0, "all of them right")
    await call_kitex(str(binary))


async def call_kitex(binary: str) -> None:
    """Our client against a Kitex server."""
    server = await asyncio.create_subprocess_exec(
        binary, "bench-server", "--listen", "127.0.0.1:0", stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    try:
        ready = json.loads(await server.stdout.readline())
        async with elanus.Client(echo.EchoService, ready["address"], timeout=1.0) as client:
            tally = await run_load(client, 1.0)
        print(f"  elanus client -> Kitex server  {tally}")
        check(not tally.failed and tally.answered.total() > 0 and not tally.mixed_up, "every call is answered right")
    finally:
        server.terminate()
        await server.wait()


@contextlib.contextmanager
def a_registry_of_our_own(kind: str) -> Iterator[None]:
    """A registry for this demo alone, which its processes inherit through the environment."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="elanus-demo-")))
        try:
            shared, announced = STARTERS[kind](folder, stack)
        except RuntimeError as error:  # it could not be built, or did not start
            raise SystemExit(f"demo: {error}") from None
        os.environ["REGISTRY"] = kind
        os.environ["REGISTRY_OPTIONS"] = json.dumps(shared)
        os.environ["REGISTER_OPTIONS"] = json.dumps(announced)
        yield


def start_nothing(folder: Path, stack: contextlib.ExitStack) -> tuple[Options, Options]:
    """Files need no server."""
    return {"directory": str(folder / "registry"), "ttl": 3.0}, {}


def start_etcd(folder: Path, stack: contextlib.ExitStack) -> tuple[Options, Options]:
    """A real etcd, built from its module."""
    from tests.integration.build_servers import ETCD
    from tests.integration.servers import EtcdServer

    server = EtcdServer(ETCD.binary(), folder)
    server.start()
    stack.callback(server.kill)
    print(f"etcd {server.version()} at {server.address}")
    return {"endpoints": [server.address]}, {"ttl": 3}


def start_consul(folder: Path, stack: contextlib.ExitStack) -> tuple[Options, Options]:
    """A real Consul, built from its module."""
    from tests.integration.build_servers import CONSUL
    from tests.integration.consul_server import ConsulServer

    server = ConsulServer(CONSUL.binary(), folder)
    server.start()
    stack.callback(server.kill)
    print(f"Consul {server.version()} at {server.address}")
    return {"address": [server.address]}, {}


STARTERS = {"file": start_nothing, "etcd": start_etcd, "consul": start_consul}


def check(holds: bool, promise: str) -> None:
    """End with an error when what the demo promises does not hold."""
    if not holds:
        raise SystemExit(f"demo: broken promise: {promise}")


async def main() -> None:
    kind = os.environ.get("REGISTRY", "file")
    if kind not in STARTERS:
        raise SystemExit(f"demo: REGISTRY={kind} is not one of {', '.join(STARTERS)}")
    elanus.register("examples.discovery")
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(a_registry_of_our_own(kind))
        instances = [await stack.enter_async_context(instance()) for _ in range(INSTANCES)]
        await kill_one_under_load(instances)
        await talk_to_kitex(instances[1].address)
    print("\nEvery promise held.")


if __name__ == "__main__":
    asyncio.run(main())
