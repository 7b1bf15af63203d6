"""The source: the suite of its contract, what happens to files, and a client and a server that follow one."""

# ruff: noqa: ASYNC240 - time stands still while these write their little files

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus.errors import ConfigError
from elanus.events import CONFIG_CHANGE, CONFIG_ERROR
from elanus.plugins import installed_plugins
from elanus.testing import ConfigSuite, JsonCodec, connected, run_virtual
from elanus_config_file import FileConfig, FileSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping

    from elanus.contracts.config import Config

idl = JsonCodec().loads("service Shop {\n  find(name)\n  wait(seconds)\n}")


class Shop:
    async def find(self, name: str) -> str:
        return name

    async def wait(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds


def put(path: Path, text: str) -> None:
    """Put *text* in the place of the file, whole or not at all."""
    spare = path.with_suffix(".new")
    spare.write_text(text)
    os.replace(spare, path)


def as_toml(scopes: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for scope, settings in scopes.items():
        side, *names = scope.split("/")
        kinds = ("services", "methods")
        path = ".".join([side, *(f"{kind}.{name}" for kind, name in zip(kinds, names, strict=False))])
        lines.append(f"[{path}]")
        for name, value in settings.items():
            written = json.dumps(value)
            if isinstance(value, dict):
                written = "{" + ", ".join(f"{key} = {json.dumps(each)}" for key, each in value.items()) + "}"
            lines.append(f"{name} = {written}")
    return "\n".join(lines) + "\n"


class TestFileConfig(ConfigSuite):
    settle = 5.0

    def setup_method(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "elanus.toml"

    def teardown_method(self) -> None:
        shutil.rmtree(self.folder)

    async def write(self, scopes: Mapping[str, Mapping[str, Any]]) -> None:
        put(self.path, as_toml(scopes))

    async def spoil(self) -> None:
        put(self.path, "[client")

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Config]:
        config = installed_plugins().select("config", ("file", {"path": str(self.path), "poll": 0.02}))
        await config.start()
        try:
            yield config
        finally:
            await config.aclose()


def virtual(scenario: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Run a test in virtual time, with a file to write. Seconds cost nothing."""

    def test(tmp_path: Path) -> None:
        run_virtual(scenario(tmp_path / "elanus.toml"))

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


class Follower:
    """The changes of a source, as they come."""

    def __init__(self, path: Path, poll: float = 1.0) -> None:
        self.config = FileConfig(FileSettings(str(path), poll))
        self.told: list[str] = []

    async def __aenter__(self) -> Follower:
        self._task = asyncio.ensure_future(self._follow())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _follow(self) -> None:
        async for error in self.config.changes():
            self.told.append("new" if error is None else str(error))

    def timeout(self) -> object:
        return self.config.settings("client")["timeout"].value


@virtual
async def test_a_file_is_read_once_it_has_stood_still(path: Path) -> None:
    path.write_text("[client]\ntimeout = 1\n")
    async with Follower(path) as follower:
        await asyncio.sleep(10.5)
        assert follower.told == []
        put(path, "[client]\ntimeout = 2\n")
        await asyncio.sleep(1)
        assert (follower.told, follower.timeout()) == ([], 1), "seen for the first time"
        await asyncio.sleep(1)
        assert (follower.told, follower.timeout()) == (["new"], 2)


@virtual
async def test_half_of_a_file_is_never_read_while_somebody_writes_on(path: Path) -> None:
    path.write_text("[client]\ntimeout = 1\ncaller = 'web'\n")
    async with Follower(path) as follower:
        text = "[client]\ntimeout = 2\ncaller = 'webshop'\n"
        for end in range(0, len(text) + 1, 4):  # right TOML at several of these ends
            path.write_text(text[:end])
            await asyncio.sleep(1)
        path.write_text(text)
        await asyncio.sleep(3)
        assert follower.told == ["new"]
        assert follower.config.settings("client")["caller"].value == "webshop"


@virtual
async def test_many_who_look_read_no_sooner_than_one(path: Path) -> None:
    path.write_text("[client]\ntimeout = 1\n")
    async with Follower(path) as follower:
        others = [follower.config.changes() for _ in range(3)]
        tasks = []
        for other in others:
            await asyncio.sleep(0.1)
            tasks.append(asyncio.ensure_future(anext(other)))
        await asyncio.sleep(0.6)
        path.write_text("[client]\n")  # at 0.9: the looks are at 1.0, 1.1, 1.2, 1.3, 2.0 and so on
        await asyncio.sleep(1)
        assert follower.told == []
        path.write_text("[client]\ntimeout = 2\n")  # at 1.9
        await asyncio.sleep(1)
        assert follower.told == []
        await asyncio.sleep(2)
        assert (follower.told, follower.timeout()) == (["new"], 2)
        assert await asyncio.gather(*tasks) == [None] * 3
        for other in others:
            await other.aclose()


@virtual
async def test_a_file_that_is_touched_or_written_as_it_was_is_no_change(path: Path) -> None:
    path.write_text("[client]\ntimeout = 1\n")
    async with Follower(path) as follower:
        os.utime(path, ns=(1, 1))
        await asyncio.sleep(5)
        put(path, "[client]\ntimeout = 1\n")
        await asyncio.sleep(5)
        assert follower.told == []


@virtual
async def test_a_change_that_leaves_size_and_time_alone_is_seen_when_the_file_is_another(path: Path) -> None:
    path.write_text("[client]\ntimeout = 1\n")
    found = path.stat()
    async with Follower(path) as follower:
        put(path, "[client]\ntimeout = 2\n")
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        await asyncio.sleep(5)
        assert (follower.told, follower.timeout()) == (["new"], 2)


@virtual
async def test_a_folder_that_is_changed_as_kubernetes_does_is_followed(path: Path) -> None:
    """A ConfigMap is a link to a link to a folder; the middle one is put in place anew."""
    folder = path.parent
    for number in (1, 2):
        (folder / f"data{number}").mkdir()
        (folder / f"data{number}" / "elanus.toml").write_text(f"[client]\ntimeout = {number}\n")
    (folder / "data").symlink_to("data1")
    path.symlink_to("data/elanus.toml")
    async with Follower(path) as follower:
        (folder / "next").symlink_to("data2")
        os.replace(folder / "next", folder / "data")
        await asyncio.sleep(5)
        assert (follower.told, follower.timeout()) == (["new"], 2)


@virtual
async def test_a_bad_file_or_none_is_told_once_and_changes_nothing(path: Path) -> None:
    path.write_text("[client]\ntimeout = 1\n")
    async with Follower(path) as follower:
        put(path, "[client]\n\ntimeout = \n")
        await asyncio.sleep(20)
        path.unlink()
        await asyncio.sleep(20)
        assert follower.timeout() == 1
        first, second = follower.told
        assert first.startswith(f"{path}:3: no TOML: Invalid value")
        assert second == f"{path} cannot be read: No such file or directory. Check the path, and who may read there"
        put(path, "[client]\ntimeout = 1\n")
        await asyncio.sleep(20)
        assert follower.told[2:] == ["new"], "what was bad is good again"


@virtual
async def test_a_file_that_comes_back_as_it_was_ends_the_trouble(path: Path) -> None:
    path.write_text("[client]\ntimeout = 1\n")
    away = path.with_suffix(".away")
    async with Follower(path) as follower:
        os.rename(path, away)
        await asyncio.sleep(5)
        os.rename(away, path)
        await asyncio.sleep(5)
        assert [told.partition(":")[0] for told in follower.told] == [f"{path} cannot be read", "new"]


def test_a_file_that_is_missing_or_wrong_ends_the_building(tmp_path: Path) -> None:
    path = tmp_path / "elanus.toml"
    with pytest.raises(ConfigError, match=r"elanus\.toml cannot be read: No such file"):
        elanus.Client(idl.Shop, "h:1", config=("file", {"path": str(path)}))
    path.write_text("[client]\ntimeout = 1\n\ntimout = 2\n")
    with pytest.raises(ConfigError) as caught:
        elanus.Client(idl.Shop, "h:1", config=("file", {"path": str(path)}))
    assert str(caught.value) == f"{path}:4: unknown option 'timout' of client. Did you mean 'timeout'?"
    with pytest.raises(ConfigError, match=r"config 'file' has no option 'pth'\. Did you mean 'path'\?"):
        elanus.Client(idl.Shop, "h:1", config=("file", {"pth": str(path)}))
    with pytest.raises(ConfigError, match=r"option 'poll' of config 'file' is 0\.0"):
        FileSettings(poll=0.0)
    with pytest.raises(ConfigError, match="option 'path' of config 'file' is empty"):
        FileSettings(path="")


@virtual
async def test_a_client_and_a_server_follow_the_file_that_the_environment_names(path: Path) -> None:
    path.write_text("[server]\nhandler_timeout = 1.0\n[client.services.Shop.methods.wait]\ntimeout = '2s'\n")
    os.environ["ELANUS_CONFIG"] = str(path)
    try:
        server = elanus.Server()
        async with connected(idl.Shop, Shop(), server=server) as client:
            assert client.effective("wait")["timeout"] == (2.0, f"{path}:4")
            with pytest.raises(elanus.RpcTimeoutError, match=r"within 2\.000 s \(timeout\)"):
                await client.wait(5)
            put(path, "[client.services.Shop.methods.wait]\ntimeout = 10\n")
            await asyncio.sleep(3)
            assert await client.wait(5) == 5
            put(path, "[client]\ntimout = 1\n")
            await asyncio.sleep(3)
            assert await client.wait(5) == 5
            names = [happening.name for happening in client.events.recent()]
            assert names == [CONFIG_ERROR, CONFIG_CHANGE]
            assert f"{path}:2: unknown option 'timout'" in client.events.recent()[0].detail
            assert [happening.name for happening in server.events.recent()] == [CONFIG_ERROR, CONFIG_CHANGE]
    finally:
        del os.environ["ELANUS_CONFIG"]
