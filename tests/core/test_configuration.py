"""Configuration sources: what they say is checked, folded by scope and rank, and folded anew when it changes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import ConfigError, MethodOptions, PluginError, Provider, StateError
from elanus.configuration import ConfigChange
from elanus.contracts.retrier import Plan, Retrier
from elanus.events import CONFIG_CHANGE, CONFIG_ERROR
from elanus.options import ClientOptions, HandlerOptions, PoolOptions, ServerOptions
from elanus.testing import ConfigSuite, InTurn, MemoryConfig, MemoryTransport, connected, run_virtual

from .store import Store, idl

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from elanus.contracts.config import Config


class Slow(Store):
    async def get(self, key: Any) -> Any:
        await asyncio.sleep(key)
        return key


class OneTry(Retrier):
    name = "one_try"

    def __init__(self, options: Mapping[str, object]) -> None:
        self.options = options

    def plan(self, call: Any, now: float) -> Plan | None:
        return None


class Offers:
    """Offers a retrier, and keeps all that were built."""

    def __init__(self) -> None:
        self.built: list[OneTry] = []

    @elanus.hookimpl
    def elanus_retriers(self) -> list[Provider[Retrier]]:
        return [Provider("one_try", self.build)]

    def build(self, options: Mapping[str, object]) -> Retrier:
        if "wrong" in options:
            raise ConfigError("retrier 'one_try' has no option 'wrong'")
        self.built.append(OneTry(options))
        return self.built[-1]


def virtual(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def test() -> None:
        run_virtual(scenario())

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


def client(config: Any, **options: Any) -> elanus.Client:
    transport = options.pop("transport", MemoryTransport({}))
    return elanus.Client(idl.Store, "memory:1", transport=transport, balancer=InTurn(), config=config, **options)


async def turn() -> None:
    """Let what was told arrive."""
    for _ in range(5):
        await asyncio.sleep(0)


# -- what a source may say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "text"),
    [
        (
            {"client": {"timout": 1}},
            r"memory:client\.timout: unknown option 'timout' of client\. Did you mean 'timeout'\?",
        ),
        ({"client/Other": {"timout": 1}}, "unknown option 'timout' of client of Other"),
        ({"client/Other/x": {"timout": 1}}, r"unknown option 'timout' of method 'x' of client of Other\. Did you"),
        ({"server": {"timeout": 1}}, r"unknown option 'timeout' of server\. It is an option of \[client\]"),
        ({"client": {"limiter": "token"}}, r"unknown option 'limiter' of client\. It is an option of \[server\]"),
        ({"server/Other": {"threads": 1}}, "unknown option 'threads' of server of Other"),
        ({"server/Other/x": {"timeout": 1}}, "unknown option 'timeout' of method 'x' of server of Other"),
        ({"clients": {"timeout": 1}}, r"memory:clients\.timeout: unknown scope 'clients'"),
        ({"client/a/b/c": {"timeout": 1}}, "unknown scope 'client/a/b/c'"),
        ({"client/Store/gett": {"timeout": 1}}, r"Store has no method 'gett'\. Did you mean 'get'\?"),
        ({"client": {"timeout": "soon"}}, r"option 'timeout' of client is 'soon'\. Give seconds"),
        ({"client": {"timeout": True}}, "option 'timeout' of client is True"),
        ({"client": {"timeout": 0}}, r"memory:client\.timeout: option 'timeout' is 0"),
        ({"client/Store/get": {"timeout": -1}}, r"memory:client/Store/get\.timeout: method option 'timeout' is -1"),
        ({"client": {"caller": 5}}, r"'caller' of client is 5\. Give a text"),
        ({"server": {"threads": 1.5}}, r"'threads' of server is 1\.5\. Give a whole number"),
        ({"server": {"enforce_deadline": "no"}}, "Give true or false"),
        ({"server": {"tags": {"a": 1}}}, "Give a table of texts"),
        ({"client": {"tracers": [1]}}, r'Give a name, a table with "name" and options, or false for none'),
        ({"client": {"retrier": {"attempts": 1}}}, r'Give a name, a table with "name"'),
        ({"client": {"pool": 5}}, "Give a table of the fields of PoolOptions"),
        ({"client": {"pool": {"idel": 5}}}, r"memory:client\.pool\.idel: unknown option 'idel' of PoolOptions"),
        ({"client": {"pool": {"idle": "x"}}}, r"memory:client\.pool\.idle: option 'idle' of PoolOptions is 'x'"),
        ({"client": {"pool": {"keep": True, "open": 0}}}, r"memory:client\.pool\.open: 'open' of PoolOptions is 0"),
        ({"client": {"limits": {"depth": 0}}}, r"memory:client\.limits\.depth: limit 'depth' is 0"),
        ({"client": {"fallback": "f"}}, r"takes an object of Python, which no configuration holds\. Set it in code"),
        ({"client": {"config": "file"}}, "unknown option 'config' of client"),
        ({"client": {"methods": {}}}, "unknown option 'methods' of client"),
        ({"client": {"retrier": "nobody"}}, r"memory:client\.retrier: no installed plugin offers retrier 'nobody'"),
        ({"client": {"resolver": "r"}}, None),
    ],
)
def test_what_is_wrong_is_said_with_its_place(scopes: dict[str, Any], text: str | None) -> None:
    if text is None:
        assert client(MemoryConfig(scopes)).options.resolver is None, "addresses in code count before a resolver"
        return
    with pytest.raises(ConfigError, match=text):
        client(MemoryConfig(scopes))


@pytest.mark.parametrize(
    ("value", "seconds"), [(2, 2.0), (0.25, 0.25), ("200ms", 0.2), ("1.5s", 1.5), ("2m", 120.0), ("1 h", 3600.0)]
)
def test_seconds_may_have_a_unit(value: object, seconds: float) -> None:
    assert client(MemoryConfig({"client": {"timeout": value}})).options.timeout == pytest.approx(seconds)


def test_values_arrive_as_the_options_take_them() -> None:
    offers = Offers()
    scopes: dict[str, dict[str, Any]] = {
        "client": {
            "caller": "web",
            "pool": {"idle": 3, "idle_timeout": "90s"},
            "retrier": {"name": "one_try", "attempts": 3},
            "warm_up": {"connections": 2},
            "limits": {"depth": 9},
        },
        "client/Store/get": {"retrier": False, "idempotent": True},
    }
    each = client(MemoryConfig(scopes), plugins=[offers])
    options = each.options
    assert (options.caller, options.pool, options.limits.depth) == ("web", PoolOptions(idle=3, idle_timeout=90.0), 9)
    assert options.retrier == ("one_try", {"attempts": 3})
    assert offers.built[0].options == {"attempts": 3}
    assert each.options.for_method("get") == MethodOptions(
        connect_timeout=options.connect_timeout, idempotent=True, retrier=None
    )


# -- who wins ----------------------------------------------------------------------------------------------------------


def test_code_counts_before_configuration_and_that_before_a_plugins_default() -> None:
    class House:
        @elanus.hookimpl
        def elanus_configure_client(self, options: ClientOptions) -> ClientOptions:
            defaults = options.with_defaults(
                timeout=7.0, attempt_timeout=7.0, caller="house", methods={"get": {"timeout": 7.0}}
            )
            return defaults.replace(empty_grace=7.0)

    values = {"timeout": 2.0, "attempt_timeout": 2.0, "connect_timeout": 2.0, "empty_grace": 2.0}
    config = MemoryConfig(
        {"client": values, "client/Store": {"attempt_timeout": 3.0}, "client/Store/get": {"timeout": 4.0}}
    )
    each = client(config, timeout=1.0, plugins=[House()], methods={"put": {"timeout": 5.0}})
    effective = {name: pair for name, pair in each.options.effective().items() if pair[1] != "default"}
    assert effective["timeout"] == (1.0, "code")
    assert effective["attempt_timeout"] == (3.0, "memory:client/Store.attempt_timeout")
    assert effective["connect_timeout"] == (2.0, "memory:client.connect_timeout")
    assert effective["caller"] == ("house", "default of House")
    assert effective["empty_grace"] == (7.0, "set by House")
    assert each.effective("get")["timeout"] == (4.0, "memory:client/Store/get.timeout"), "the narrower scope counts"
    assert each.effective("put")["timeout"] == (5.0, "code")
    assert each.effective("list")["timeout"] == (1.0, "code")
    assert each.with_options(timeout=0.5).effective("get")["timeout"] == (0.5, "call")
    assert each.effective("get")["idempotent"] == (None, "IDL")


def test_the_later_source_counts_and_a_narrower_scope_before_it() -> None:
    first = MemoryConfig({"client": {"timeout": 1.0, "caller": "first"}, "client/Store": {"attempt_timeout": 1.0}})
    second = MemoryConfig({"client": {"timeout": 2.0, "attempt_timeout": 2.0}})
    options = client([first, second]).options
    assert (options.timeout, options.attempt_timeout, options.caller) == (2.0, 1.0, "first")


def test_configured_addresses_take_the_place_of_a_plugins_resolver() -> None:
    options = ClientOptions().written_by("house").with_defaults(resolver="consul")
    configured = options.configured({"targets": ["a:1"]}, "x:1")
    assert (configured.targets, configured.resolver) == (("a:1",), None)
    with pytest.raises(ConfigError, match="both addresses and a resolver"):
        configured.configured({"resolver": "dns"}, "x:2")


def test_a_plugin_that_a_configuration_names_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("house_rules")

    @elanus.hookimpl
    def elanus_configure_client(options: ClientOptions) -> ClientOptions:
        return options.with_defaults(caller="by the house")

    module.elanus_configure_client = elanus_configure_client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "house_rules", module)
    assert client(MemoryConfig({"client": {"plugins": ["house_rules"]}})).options.caller == "by the house"


def test_a_plugin_cannot_choose_what_configuration_is_read() -> None:
    class House:
        @elanus.hookimpl
        def elanus_configure_client(self, options: ClientOptions) -> ClientOptions:
            return options.replace(config="file")

    with pytest.raises(PluginError, match="a plugin sets 'config'"):
        client(None, plugins=[House()])


class ByName:
    @elanus.hookimpl
    def elanus_configs(self) -> list[Provider[Config]]:
        return [Provider("held", lambda options: MemoryConfig({"client": {"timeout": 9.0}}))]


def test_the_environment_names_a_source_unless_code_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELANUS_CONFIG", "held")
    assert client(None, plugins=[ByName()]).options.timeout == 9.0
    assert client((), plugins=[ByName()]).options.timeout is None
    assert client(MemoryConfig({"client": {"timeout": 1.0}}), plugins=[ByName()]).options.timeout == 1.0
    monkeypatch.setenv("ELANUS_CONFIG", "nowhere/elanus.toml")
    with pytest.raises(
        ConfigError, match=r"nowhere/elanus\.toml cannot be read|no installed plugin offers config 'file'"
    ):
        client(None)


# -- changes -----------------------------------------------------------------------------------------------------------


def happened(each: elanus.Client | elanus.Server, name: str) -> list[Any]:
    return [happening.value for happening in reversed(each.events.recent()) if happening.name == name]


@virtual
async def test_timeouts_change_while_calls_are_made() -> None:
    config = MemoryConfig({"client": {"timeout": 2.0}})
    async with connected(idl.Store, Slow(), config=config) as each:
        running = asyncio.ensure_future(each.get(1.5))
        await asyncio.sleep(0.1)
        config.write({"client": {"timeout": 5.0}, "client/Store/get": {"timeout": 0.5}})
        await turn()
        with pytest.raises(elanus.RpcTimeoutError, match=r"0\.500 s"):
            await each.get(1)
        assert await running == 1.5, "a call in flight ends as it began"
        change = happened(each, CONFIG_CHANGE)[-1]
        assert change.changed == {
            "timeout": (2.0, 5.0, "memory:client.timeout"),
            "methods.get.timeout": (None, 0.5, "memory:client/Store/get.timeout"),
        }
        config.write({})
        await turn()
        assert each.options.effective()["timeout"] == (None, "default"), "what is taken away is as it was before"
        assert await each.get(60) == 60


@virtual
async def test_a_part_is_built_anew_only_when_its_choice_has_changed() -> None:
    offers = Offers()
    scopes: dict[str, Any] = {
        "client": {"retrier": {"name": "one_try", "attempts": 3}},
        "client/Store/put": {"retrier": "one_try"},
    }
    config = MemoryConfig(scopes)
    async with connected(idl.Store, Store(), config=config, plugins=[offers]) as each:
        assert await each.get("k") == "value of k"
        assert len(offers.built) == 2
        config.write({**scopes, "client/Store": {"timeout": 9.0}})
        await turn()
        assert each.options.timeout == 9.0
        assert len(offers.built) == 2, "neither retrier was chosen anew"
        config.write({**scopes, "client": {"retrier": {"name": "one_try", "attempts": 4}}})
        await turn()
        assert [one.options for one in offers.built] == [{"attempts": 3}, {}, {"attempts": 4}]
        config.write({"client": {"retrier": False}})
        await turn()
        assert "retry" not in each.rooms("get")
        assert await each.with_options(retrier="one_try").get("k") == "value of k"


@virtual
async def test_what_needs_a_restart_is_told_and_left() -> None:
    config = MemoryConfig({"client": {"pool": {"idle": 3}}})
    async with connected(idl.Store, Store(), config=config) as each:
        config.write({"client": {"pool": {"idle": 4}, "name": "elsewhere", "caller": "me"}})
        await turn()
        change = happened(each, CONFIG_CHANGE)[-1]
        assert set(change.needs_restart) == {"pool", "name"}
        assert change.changed == {"caller": ("", "me", "memory:client.caller")}
        assert str(change) == (
            "caller: '' -> 'me' (memory:client.caller); needs a restart: name (memory:client.name); "
            "needs a restart: pool (memory:client.pool)"
        )
        assert each.options.pool.idle == 3
        assert each.options.source("pool") == "memory:client.pool"
        assert each.options.name == ""


@virtual
async def test_a_balancer_changes_while_calls_are_made() -> None:
    server = elanus.Server()
    server.add_service(idl.Store, Store())
    await server.start()

    class Balancers:
        @elanus.hookimpl
        def elanus_balancers(self) -> list[Any]:
            return [Provider("one", lambda options: InTurn()), Provider("two", lambda options: InTurn())]

    config = MemoryConfig({"client": {"balancer": "one"}})
    targets = ["memory:1", "memory:2"]
    async with elanus.Client(
        idl.Store, targets, transport=MemoryTransport(server), config=config, plugins=[Balancers()]
    ) as each:
        assert str((await each.invoke("get", "k")).instance) == "memory:1"
        config.write({"client": {"balancer": "two"}})
        await turn()
        assert str((await each.invoke("get", "k")).instance) == "memory:1", "the new one begins anew"
        assert str((await each.invoke("get", "k")).instance) == "memory:2"
    await server.stop()


@virtual
async def test_a_wrong_change_leaves_all_as_it_was_and_is_told_once() -> None:
    offers = Offers()
    config = MemoryConfig({"client": {"timeout": 2.0, "retrier": "one_try"}})
    async with connected(idl.Store, Store(), config=config, plugins=[offers]) as each:
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"client": {"timeout": 3.0, "timout": 1}}, "unknown option 'timout'"),
            (
                {"client": {"timeout": 3.0, "retrier": {"name": "one_try", "wrong": 1}}},
                "memory:client.retrier: retrier",
            ),
            ({"client": {"timeout": 3.0, "retrier": "nobody"}}, "no installed plugin offers retrier 'nobody'"),
            ({"client": {"timeout": 3.0}, "client/Store/nothing": {"timeout": 1}}, "Store has no method 'nothing'"),
        ]
        for scopes, text in wrong:
            config.write(scopes)
            await turn()
            assert text in str(happened(each, CONFIG_ERROR)[-1])
            assert each.options.timeout == 2.0
            assert await each.get("k") == "value of k"
        config.spoil(ConfigError("elanus.toml:3: no TOML"))
        await turn()
        assert [str(error) for error in happened(each, CONFIG_ERROR)][-1] == "elanus.toml:3: no TOML"
        assert len(happened(each, CONFIG_ERROR)) == 5
        assert len(offers.built) == 1
        config.write({"client": {"timeout": 4.0}})
        await turn()
        assert each.options.timeout == 4.0


@virtual
async def test_a_server_changes_while_it_runs() -> None:
    config = MemoryConfig({"server": {"handler_timeout": 1.0}, "server/Store/put": {"handler_timeout": 4.0}})
    server = elanus.Server(config=config)
    async with connected(idl.Store, Slow(), server=server) as each:
        with pytest.raises(elanus.ApplicationError, match=r"over its deadline \(1.000 s\)"):
            await each.get(60)
        assert server.effective("Store", "put")["handler_timeout"] == (4.0, "memory:server/Store/put.handler_timeout")
        config.write({"server": {"handler_timeout": 1.0, "threads": 5}, "server/Store": {"handler_timeout": 3.0}})
        await turn()
        assert await each.get(2) == 2
        change = happened(server, CONFIG_CHANGE)[-1]
        assert change.changed["methods.Store/get.handler_timeout"][:2] == (None, 3.0)
        assert set(change.needs_restart) == {"threads"}
        assert server.options.threads == 32
        config.write({"server": {"handler_timeout": 0}})
        await turn()
        assert "option 'handler_timeout' is 0" in str(happened(server, CONFIG_ERROR)[-1])
        assert await each.get(2) == 2


async def test_what_code_says_of_a_servers_method_by_its_short_name_counts_before_configuration() -> None:
    config = MemoryConfig({"server/Store/get": {"handler_timeout": 4.0, "enforce_deadline": False}})
    server = elanus.Server(config=config, methods={"get": HandlerOptions(handler_timeout=1.0)})
    server.add_service(idl.Store, Store())
    await server.start()
    assert server.options.for_method("Store", "get") == HandlerOptions(1.0, False)
    assert server.effective("Store", "get")["handler_timeout"] == (1.0, "code")
    with pytest.raises(ConfigError, match=r"unknown method 'Store/gett'\. Did you mean 'Store/get'\?"):
        server.effective("Store", "gett")
    await server.stop()
    server = elanus.Server(methods={"gett": {}})
    server.add_service(idl.Store, Store())
    with pytest.raises(ConfigError, match=r"unknown method of the server: 'gett'\. Did you mean 'get'\?"):
        await server.start()


# -- life --------------------------------------------------------------------------------------------------------------


class Watched(MemoryConfig):
    """Counts what is started, followed and closed."""

    def __init__(
        self, scopes: Mapping[str, Mapping[str, Any]], later: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        super().__init__(scopes)
        self.later = later
        self.started = self.closed = 0

    async def start(self) -> None:
        self.started += 1
        if self.later is not None:
            self.write(self.later)

    async def aclose(self) -> None:
        self.closed += 1

    @property
    def followers(self) -> int:
        return len(self._told)


async def test_what_a_source_learns_at_its_start_counts_from_the_first_call_on() -> None:
    config = Watched({}, {"client": {"name": "acme.store", "timeout": 2.0}, "server": {"threads": 3}})
    server = elanus.Server(config=config)
    async with connected(idl.Store, Store(), server=server, config=config) as each:
        assert (each.options.name, each.options.timeout) == ("acme.store", 2.0)
        assert (await each.invoke("get", "k")).reply == "value of k"
        assert server.options.threads == 3


async def test_a_source_is_closed_by_whoever_made_it() -> None:
    made: list[Watched] = []

    class Made:
        @elanus.hookimpl
        def elanus_configs(self) -> list[Provider[Config]]:
            return [Provider("watched", self.build)]

        def build(self, options: Mapping[str, object]) -> Config:
            made.append(Watched({}))
            return made[-1]

    given = Watched({})
    server = elanus.Server(config=["watched", given], plugins=[Made()])
    async with connected(idl.Store, Store(), server=server, config=["watched", given], plugins=[Made()]):
        await asyncio.sleep(0)
        assert [(one.started, one.followers) for one in (*made, given)] == [(1, 1), (1, 1), (2, 2)]
    assert [(one.closed, one.followers) for one in (*made, given)] == [(1, 0), (1, 0), (0, 0)]


async def test_a_client_that_nobody_uses_any_more_is_freed_though_its_source_lives() -> None:
    config = MemoryConfig({})
    each = client(config)
    await each.start()
    await asyncio.sleep(0)
    reference = weakref.ref(each._core)
    gc.collect()
    with pytest.warns(ResourceWarning, match="unclosed elanus client"):
        del each
    assert reference() is None
    await turn()


async def test_a_start_that_a_source_ends_leaves_nothing_running() -> None:
    config = Watched({}, {"client": {"timout": 1}, "server": {"nothing": 1}})
    before = asyncio.all_tasks()
    made: list[Watched] = []

    class Made:
        @elanus.hookimpl
        def elanus_configs(self) -> list[Provider[Config]]:
            return [Provider("watched", self.build)]

        def build(self, options: Mapping[str, object]) -> Config:
            made.append(Watched({}, config.later))
            return made[-1]

    with pytest.raises(ConfigError, match="unknown option 'timout'"):
        await client("watched", plugins=[Made()]).start()
    assert made[0].closed == 1
    server = elanus.Server(config=config)
    server.add_service(idl.Store, Store())
    with pytest.raises(ConfigError, match="unknown option"):
        await server.start()
    assert asyncio.all_tasks() == before
    assert repr(server) == "<Server of Store, failed>"


async def test_a_source_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MemoryConfig):
        async def changes(self) -> Any:
            raise RuntimeError("the source is broken")
            yield

    good = MemoryConfig({})
    async with connected(idl.Store, Store(), config=[Failing({}), good]) as each:
        await turn()
        assert "configuration 'memory' failed" in caplog.text
        good.write({"client": {"timeout": 3.0}})
        await turn()
        assert each.options.timeout == 3.0


async def test_a_server_that_is_stopped_while_its_source_starts() -> None:
    class Waiting(MemoryConfig):
        async def start(self) -> None:
            await asyncio.sleep(0.01)

    server = elanus.Server(config=Waiting())
    server.add_service(idl.Store, Store())
    starting = asyncio.ensure_future(server.start())
    await asyncio.sleep(0)
    await server.stop()
    with pytest.raises(StateError, match="was stopped while it started"):
        await starting


class TestMemoryConfig(ConfigSuite):
    async def write(self, scopes: Mapping[str, Mapping[str, Any]]) -> None:
        self.held = getattr(self, "held", None) or MemoryConfig()
        self.held.write(scopes)

    def open(self) -> AbstractAsyncContextManager[Config]:
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def opened() -> Any:
            await self.held.start()
            yield self.held
            await self.held.aclose()

        return opened()

    async def spoil(self) -> None:
        self.held.spoil(ConfigError("spoilt"))


def _all_options() -> Iterator[type[ClientOptions] | type[ServerOptions]]:
    yield from (ClientOptions, ServerOptions)


@pytest.mark.parametrize("cls", list(_all_options()))
def test_what_needs_a_restart_is_the_name_of_an_option(cls: type[ClientOptions]) -> None:
    assert cls.fixed <= set(cls.names())
    assert ConfigChange.between(cls(), cls()) == ConfigChange({}, {})
