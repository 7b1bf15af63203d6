"""The suite of the configuration contract, and a source that tests fill by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from elanus.contracts.config import Config, Setting
from elanus.errors import ConfigError
from elanus.testing.suite import Suite

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection
    from contextlib import AbstractAsyncContextManager

__all__ = ["ConfigSuite", "MemoryConfig"]

#: Settings by scope, as a test writes them: plain values.
Scopes: TypeAlias = Mapping[str, Mapping[str, Any]]

FIRST: Scopes = {
    "client": {"timeout": 1.5, "caller": "web", "tracers": ["a", "b"], "retrier": {"name": "budget", "attempts": 3}},
    "client/EchoService": {"timeout": 1},
    "client/EchoService/echo": {"idempotent": True},
    "server": {"enforce_deadline": False},
    "server/EchoService/echo": {"handler_timeout": 2.5},
}
SECOND: Scopes = {"client": {"timeout": 2.5}, "client/Other": {"caller": "other"}}


class MemoryConfig(Config):
    """A source that holds what it was told last. ::

    config = MemoryConfig({"client": {"timeout": 1.0}})
    async with connected(service, handler, config=config) as client:
        config.write({"client": {"timeout": 2.0}})
    """

    name = "memory"

    def __init__(self, scopes: Scopes | None = None) -> None:
        self._scopes: dict[str, dict[str, Setting]] = {}
        self._told: list[asyncio.Queue[ConfigError | None]] = []
        self.write(scopes or {})

    def write(self, scopes: Scopes) -> None:
        """Hold exactly *scopes* from now on; the places are ``"memory:<scope>.<name>"``."""
        self._scopes = {scope: _settings(scope, values) for scope, values in scopes.items()}
        self._tell(None)

    def spoil(self, error: ConfigError) -> None:
        """Say that the source has changed and cannot be read."""
        self._tell(error)

    def scopes(self) -> Collection[str]:
        return self._scopes.keys()

    def settings(self, scope: str) -> Mapping[str, Setting]:
        return self._scopes.get(scope, {})

    def changes(self) -> AsyncGenerator[ConfigError | None]:
        told: asyncio.Queue[ConfigError | None] = asyncio.Queue()
        self._told.append(told)
        return self._follow(told)

    async def _follow(self, told: asyncio.Queue[ConfigError | None]) -> AsyncGenerator[ConfigError | None]:
        try:
            while True:
                yield await told.get()
        finally:
            self._told.remove(told)

    def _tell(self, error: ConfigError | None) -> None:
        for told in self._told:
            told.put_nowait(error)


def _settings(scope: str, values: Mapping[str, Any]) -> dict[str, Setting]:
    settings = {}
    for name, value in values.items():
        place = f"memory:{scope}.{name}"
        inner = {key: f"{place}.{key}" for key in value} if isinstance(value, Mapping) else {}
        settings[name] = Setting(value, place, inner)
    return settings


class ConfigSuite(Suite):
    """What every source does. Subclass as ``TestXxx``; override :meth:`open`, :meth:`write` and :meth:`spoil`.

    Behaviours that may go into ``unsupported``: ``"tables"`` (a value cannot be a mapping), ``"services"`` (it knows
    the scopes of the process only), ``"changes"`` (what it holds never changes), ``"spoil"`` (what is written is always
    readable).
    """

    #: Seconds within which a change is seen.
    settle = 10.0

    def open(self) -> AbstractAsyncContextManager[Config]:
        """A started source that holds what :meth:`write` wrote last before. Leaving the context closes it."""
        raise NotImplementedError

    async def write(self, scopes: Scopes) -> None:
        """Make the backend hold exactly *scopes*: settings by scope. Called before :meth:`open` and inside of it."""
        raise NotImplementedError

    async def spoil(self) -> None:
        """Make the backend hold something that cannot be read."""
        raise NotImplementedError

    def shaped(self, scopes: Scopes) -> dict[str, dict[str, Any]]:
        """*scopes* without what the backend cannot hold."""
        tables, services = "tables" not in self.unsupported, "services" not in self.unsupported
        return {
            scope: {name: value for name, value in values.items() if tables or not isinstance(value, Mapping)}
            for scope, values in scopes.items()
            if services or "/" not in scope
        }

    def test_it_has_a_name_that_users_can_write(self) -> None:
        async def scenario() -> None:
            await self.write({})
            async with self.open() as config:
                assert isinstance(config, Config)
                assert re.fullmatch(r"[a-z][a-z0-9_]*", config.name)

        self.run(scenario())

    def test_it_has_what_is_there_with_its_types(self) -> None:
        async def scenario() -> None:
            await self.write(self.shaped(FIRST))
            async with self.open() as config:
                held = values(config)
                assert held == self.shaped(FIRST)
                assert {name: type(held["client"][name]) for name in ("timeout", "caller")} == {
                    "timeout": float,
                    "caller": str,
                }
                if "client/EchoService" in held:
                    assert type(held["client/EchoService"]["timeout"]) is int

        self.run(scenario())

    def test_an_unknown_scope_is_empty(self) -> None:
        async def scenario() -> None:
            await self.write({"client": {"timeout": 1.5}})
            async with self.open() as config:
                assert dict(config.settings("client/Nobody")) == {}
                assert set(config.scopes()) == {"client"}

        self.run(scenario())

    def test_each_setting_says_where_it_stands(self) -> None:
        async def scenario() -> None:
            await self.write(self.shaped(FIRST))
            async with self.open() as config:
                places = [one.source for scope in config.scopes() for one in config.settings(scope).values()]
                assert all(places)
                assert len(set(places)) == len(places), "two settings stand in one place"

        self.run(scenario())

    def test_keys_of_tables_say_where_they_stand(self) -> None:
        self.requires("tables")

        async def scenario() -> None:
            await self.write(FIRST)
            async with self.open() as config:
                retrier = config.settings("client")["retrier"]
                assert set(retrier.inner) == {"name", "attempts"}
                assert all(retrier.inner.values())

        self.run(scenario())

    def test_a_change_is_told_when_all_of_it_is_there(self) -> None:
        self.requires("changes")

        async def scenario() -> None:
            await self.write(self.shaped(FIRST))
            async with self.open() as config, _Told(config) as told:
                await self.write(self.shaped(SECOND))
                assert await told.next(self.settle) is None
                assert values(config) == self.shaped(SECOND)

        self.run(scenario())

    def test_several_may_follow_the_changes(self) -> None:
        self.requires("changes")

        async def scenario() -> None:
            await self.write(self.shaped(FIRST))
            async with self.open() as config, _Told(config) as one, _Told(config) as two:
                await self.write(self.shaped(SECOND))
                assert await one.next(self.settle) is None
                assert await two.next(self.settle) is None
                await self.write(self.shaped(FIRST))
                assert await two.next(self.settle) is None
                assert await one.next(self.settle) is None
                assert values(config) == self.shaped(FIRST)

        self.run(scenario())

    def test_what_cannot_be_read_leaves_the_settings_as_they_were(self) -> None:
        self.requires("changes")
        self.requires("spoil")

        async def scenario() -> None:
            await self.write(self.shaped(FIRST))
            async with self.open() as config, _Told(config) as told:
                await self.spoil()
                assert isinstance(await told.next(self.settle), ConfigError)
                assert values(config) == self.shaped(FIRST)
                await self.write(self.shaped(SECOND))
                assert await told.next(self.settle) is None
                assert values(config) == self.shaped(SECOND)

        self.run(scenario())

    def test_following_can_end_at_any_time(self) -> None:
        async def scenario() -> None:
            await self.write(self.shaped(FIRST))
            async with self.open() as config:
                before = asyncio.all_tasks()
                async with _Told(config):
                    await asyncio.sleep(0)
                assert asyncio.all_tasks() == before

        self.run(scenario())

    def test_closing_twice_is_no_error(self) -> None:
        async def scenario() -> None:
            await self.write({})
            async with self.open() as config:
                await config.aclose()
                await config.aclose()

        self.run(scenario())


def values(config: Config) -> dict[str, dict[str, Any]]:
    """All settings of a source, without their places."""
    return {
        scope: {name: setting.value for name, setting in config.settings(scope).items()} for scope in config.scopes()
    }


class _Told:
    """Follows the changes of a source in a task, from the moment that the context is entered."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._queue: asyncio.Queue[ConfigError | None] = asyncio.Queue()

    async def __aenter__(self) -> _Told:
        self._task = asyncio.ensure_future(self._follow())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _follow(self) -> None:
        async for error in self._config.changes():
            self._queue.put_nowait(error)

    async def next(self, within: float) -> ConfigError | None:
        """The next change."""
        async with asyncio.timeout(within):
            return await self._queue.get()
