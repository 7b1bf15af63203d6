"""The registry and the resolver of files: the suites of their contracts, and what happens to files."""

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from elanus.contracts.registry import Registry
from elanus.contracts.resolver import Resolver
from elanus.errors import ConfigError, DiscoveryError
from elanus.plugins import installed_plugins
from elanus.service import Instance
from elanus.testing.registry import RegistrySuite
from elanus.testing.resolver import ResolverSuite
from elanus_registry_file import FileResolver, FileSettings, file_registry
from elanus_registry_file.entries import entry_path, list_entries, read_entry, remove_entry, write_entry
from elanus_registry_file.liveness import Liveness

ONE = Instance("10.0.0.1:80", 3, {"zone": "a"})
TTL = 0.6


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp()) / "registry"
    try:
        yield path
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)


class TestFileRegistry(RegistrySuite):
    settle = 5.0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Registry]:
        with folder() as self.directory:
            options = {"directory": str(self.directory), "ttl": TTL, "poll": 0.02}
            registry = installed_plugins().select("registry", ("file", options))
            try:
                yield registry
            finally:
                await registry.aclose()

    async def seen(self, name: str) -> Sequence[Instance]:
        read = [read_entry(path) for path in list_entries(self.directory, name)]
        return [instance for instance in read if instance is not None]

    async def lose(self) -> None:
        shutil.rmtree(self.directory)


class TestFileResolver(ResolverSuite):
    settle = 5.0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Resolver]:
        with folder() as self.directory:
            options = {"directory": str(self.directory), "ttl": 60.0, "poll": 0.02}
            resolver = installed_plugins().select("resolver", ("file", options))
            try:
                yield resolver
            finally:
                await resolver.aclose()

    async def offer(self, name: str, instances: Sequence[Instance]) -> None:
        wanted = {entry_path(self.directory, name, instance.address) for instance in instances}
        for path in list_entries(self.directory, name).keys() - wanted:
            path.unlink()
        for instance in instances:
            write_entry(self.directory, name, instance)

    @asynccontextmanager
    async def outage(self) -> AsyncGenerator[None]:
        """A directory that turns into a file cannot be read; permissions would not stop root."""
        hidden = self.directory.with_name("hidden")
        self.directory.rename(hidden)
        self.directory.write_text("not a directory")
        try:
            yield
        finally:
            self.directory.unlink()
            hidden.rename(self.directory)


async def first(resolver: FileResolver, name: str = "echo") -> Sequence[Instance]:
    watch = resolver.watch(name)
    try:
        return await anext(watch)
    finally:
        await watch.aclose()


async def test_an_entry_whose_process_was_killed_is_gone_after_its_ttl(tmp_path: Path) -> None:
    settings = FileSettings(str(tmp_path / "r"), ttl=0.3, poll=0.02)
    write_entry(settings.path, "echo", ONE)  # nobody beats for it
    watch = FileResolver(settings).watch("echo")
    assert await anext(watch) == [ONE]
    started = time.monotonic()
    assert await asyncio.wait_for(anext(watch), 5) == []
    assert time.monotonic() - started >= 0.2
    await watch.aclose()


async def test_an_entry_that_is_old_already_is_not_believed(tmp_path: Path) -> None:
    settings = FileSettings(str(tmp_path / "r"), ttl=6.0)
    write_entry(settings.path, "echo", ONE)
    old = time.time() - 60
    os.utime(entry_path(settings.path, "echo", ONE.address), (old, old))
    assert await first(FileResolver(settings)) == []


async def test_heartbeats_keep_it_alive_far_beyond_its_ttl(tmp_path: Path) -> None:
    settings = FileSettings(str(tmp_path / "r"), ttl=0.3, poll=0.02)
    registry = file_registry(settings)
    await registry.register("echo", ONE)
    watch = FileResolver(settings).watch("echo")
    assert await anext(watch) == [ONE]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 1.5)
    await watch.aclose()
    await registry.aclose()


def test_a_wall_clock_that_jumps_kills_nobody() -> None:
    liveness, path = Liveness(6.0), Path("one")
    hour = 3600 * 10**9
    assert liveness.alive({path: hour}, 0.0, hour) == {path}
    assert liveness.alive({path: hour + 1}, 2.0, 10 * hour) == {path}  # forward
    assert liveness.alive({path: hour + 2}, 4.0, 0) == {path}  # and back
    assert liveness.alive({path: hour + 2}, 10.1, hour) == set()
    assert liveness.alive({}, 11.0, hour) == set()


NO_ENTRIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'{"address": 1}',
    b'{"address": "a:1", "weight": "x", "tags": null}',
    b"x" * 70_000,
]


@pytest.mark.parametrize("content", NO_ENTRIES)
def test_a_file_that_is_no_entry_is_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    assert read_entry(path) is None


@pytest.mark.parametrize("name", ["../up", "..", ".hidden", "a/b", "name with spaces", "ünïcode"])
def test_no_name_leaves_the_directory(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "r"
    write_entry(directory, name, ONE)
    [path] = list_entries(directory, name)
    assert path.parent.parent == directory
    assert read_entry(path) == ONE
    remove_entry(directory, name, ONE.address)
    assert list(directory.iterdir()) == []
    assert list(tmp_path.iterdir()) == [directory]


def test_the_content_is_kitexs(tmp_path: Path) -> None:
    write_entry(tmp_path / "r", "echo", ONE)
    [path] = list_entries(tmp_path / "r", "echo")
    expected = {"network": "tcp", "address": "10.0.0.1:80", "weight": 3, "tags": {"zone": "a"}}
    assert json.loads(path.read_text()) == expected


def test_a_directory_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "r"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(DiscoveryError, match="everybody may write"):
        write_entry(directory, "echo", ONE)


@pytest.mark.parametrize("values", [{"ttl": 0.0}, {"poll": -1.0}, {"ttl": 1.0, "poll": 1.0}, {"dir": "x"}])
def test_options_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        installed_plugins().select("resolver", ("file", values))
