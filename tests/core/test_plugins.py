"""Plugins: found one by one, each with its faults to itself, silent until they are named.

Installed ones are real throw-away distributions on ``sys.path``, found by the interpreter as any other.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

import elanus
from elanus import hookimpl, plugins
from elanus.contracts.provider import Provider
from elanus.errors import ConfigError, PluginError
from elanus.plugins import PluginSet, installed_plugins
from elanus.testing import InTurn, JsonCodec

from .store import idl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from elanus.contracts.balancer import Balancer

    Install = Callable[..., str]

GOOD = """
    from elanus import Provider, hookimpl
    from elanus.testing import InTurn

    @hookimpl
    def elanus_balancers():
        return [Provider({name!r}, lambda options: InTurn())]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a module as a distribution with an entry point; the process looks for plugins anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_process", None)
    modules: list[str] = []

    def run(name: str, source: str, *, requires: str = "elanus", version: str = "1.0", distribution: str = "") -> str:
        module = f"throw_away_{name}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        metadata = (
            f"Metadata-Version: 2.1\nName: {distribution or module}\nVersion: {version}\nRequires-Dist: {requires}\n"
        )
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(f"[elanus]\n{name} = {module}\n")
        modules.append(module)
        importlib.invalidate_caches()
        return module

    yield run
    for module in modules:
        sys.modules.pop(module, None)


def record_of(name: str) -> plugins.PluginRecord:
    return next(record for record in installed_plugins().records() if record.name == name)


def good(name: str) -> str:
    return textwrap.dedent(GOOD).format(name=name)


# -- isolation -------------------------------------------------------------------------------------------------------

BROKEN = {
    "raises_at_import": ("raise OSError('no such library')", "OSError: no such library"),
    "exits_at_import": ("raise SystemExit(3)", "SystemExit: 3"),
    "does_not_parse": ("def def", "SyntaxError"),
    "misspells_a_hook": (
        "from elanus import hookimpl\n@hookimpl\ndef elanus_balancer():\n    return []",
        r"implements elanus_balancer\(\), which is no hook\. Did you mean elanus_balancers\(\)\?",
    ),
    "misspells_a_specname": (
        "from elanus import hookimpl\n@hookimpl(specname='elanus_balance')\ndef offer():\n    return []",
        r"implements elanus_balance\(\), which is no hook",
    ),
    "marks_what_is_no_hook": (
        "from elanus import hookimpl\n@hookimpl\ndef balancers():\n    return []",
        r"implements balancers\(\), which is no hook",
    ),
    "forgets_the_mark": ("def elanus_balancers():\n    return []", r"elanus_balancers\(\) is not marked\. Put @elanus"),
    "is_async": (
        "from elanus import hookimpl\n@hookimpl\nasync def elanus_balancers():\n    return []",
        r"elanus_balancers\(\) is async",
    ),
    "is_a_wrapper": (
        "from elanus import hookimpl\n@hookimpl(wrapper=True)\ndef elanus_balancers():\n    return (yield)",
        r"elanus_balancers\(\) is a hook wrapper",
    ),
    "takes_other_arguments": (
        "from elanus import hookimpl\n@hookimpl\ndef elanus_balancers(colour):\n    return []",
        r"elanus_balancers\(\) has no argument 'colour'\. It takes none",
    ),
    "raises_in_its_hook": (
        "from elanus import hookimpl\n@hookimpl\ndef elanus_balancers():\n    raise KeyError('x')",
        r"elanus_balancers\(\) failed: KeyError: 'x'",
    ),
    "raises_a_config_error": (
        "import elanus\n@elanus.hookimpl\ndef elanus_balancers():\n    raise elanus.ConfigError('mine')",
        "mine",
    ),
    "returns_none": (
        "from elanus import hookimpl\n@hookimpl\ndef elanus_balancers():\n    return None",
        "returned NoneType, not a sequence of Provider",
    ),
    "returns_something_else": (
        "from elanus import hookimpl\n@hookimpl\ndef elanus_balancers():\n    return ['in_turn']",
        "not a sequence of Provider",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_harms_nobody_else_and_its_fault_is_the_cause_of_what_is_missing(
    case: str, install: Install
) -> None:
    source, fault = BROKEN[case]
    install("aaa_before", good("before"))
    install("mmm_broken", source)
    install("zzz_after", good("after"))
    found = installed_plugins()
    assert isinstance(found.select("balancer", "before"), InTurn)
    assert isinstance(found.select("balancer", "after"), InTurn)
    assert record_of("aaa_before").state == record_of("zzz_after").state == "available"
    broken = record_of("mmm_broken")
    assert broken.state in ("broken", "faulty")
    assert (broken.distribution, broken.version) == ("throw_away_mmm_broken", "1.0")
    with pytest.raises(PluginError, match=fault):
        raise broken.faults[0]
    with pytest.raises(PluginError, match="no installed plugin offers balancer 'missing'") as raised:
        found.select("balancer", "missing")
    assert raised.value.__cause__ is broken.faults[0]
    assert "Broken: " in str(raised.value)


def test_a_plugin_that_needs_a_newer_core_is_not_loaded(install: Install) -> None:
    install("newer", "raise AssertionError('imported')", requires="elanus>=99")
    install("fine", good("fine"))
    assert record_of("newer").state == "broken"
    assert "needs elanus >=99" in str(record_of("newer").faults[0])
    assert record_of("fine").state == "available"


def test_what_an_extra_of_a_plugin_needs_is_not_its_own_need(install: Install) -> None:
    install("extra", good("extra"), requires='elanus>=99; extra == "future"')
    assert record_of("extra").state == "available"


def test_a_taken_name_stays_with_the_first_and_is_the_fault_of_the_second(install: Install) -> None:
    install("aaa", good("same"))
    install("bbb", good("same"))
    found = installed_plugins()
    assert isinstance(found.select("balancer", "same"), InTurn)
    assert record_of("aaa").offers == {"balancer": ["same"]}
    assert record_of("bbb").offers == {}
    assert record_of("bbb").state == "faulty"
    assert "offers balancer 'same', which plugin 'aaa' (throw_away_aaa 1.0) already offers" in str(
        record_of("bbb").faults[0]
    )


def test_a_part_of_the_wrong_type_is_the_fault_of_its_plugin(install: Install) -> None:
    source = good("wrong").replace("InTurn()", "object()")
    install("wrong", source)
    for _ in range(2):
        with pytest.raises(PluginError, match="balancer 'wrong' built object, which is no Balancer"):
            installed_plugins().select("balancer", "wrong")
    assert len(record_of("wrong").faults) == 1


def test_a_part_that_cannot_be_built_names_its_plugin_and_the_cause(install: Install) -> None:
    install("fails", good("fails").replace("InTurn()", "1 / 0"))
    with pytest.raises(PluginError, match=r"'fails' .* cannot build balancer 'fails': ZeroDivisionError") as raised:
        installed_plugins().select("balancer", "fails")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_record_tells_what_the_plugin_is_and_offers(install: Install) -> None:
    install("one", good("one"), version="2.3")
    record = record_of("one")
    assert (record.name, record.distribution, record.version) == ("one", "throw_away_one", "2.3")
    assert record.kinds == ["balancer"]
    assert record.offers == {"balancer": ["one"]}
    assert (record.state, record.active, record.faults) == ("available", False, [])
    assert str(record) == "plugin 'one' (throw_away_one 2.3)"


def test_an_unknown_name_says_what_is_installed_and_what_to_install() -> None:
    installed_plugins().activate(SimpleOffer("mine"))
    with pytest.raises(PluginError) as raised:
        installed_plugins().select("balancer", "least_loaded")
    assert "Installed: mine. Try: pip install elanus-balancer-least-loaded" in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_name_of_another_kind_says_which() -> None:
    installed_plugins().activate(SimpleOffer("mine"))
    with pytest.raises(PluginError) as raised:
        installed_plugins().select("limiter", "mine")
    assert "'mine' is offered as: balancer" in str(raised.value)
    assert "pip install" not in str(raised.value)


def test_a_suffix_that_nobody_loads_says_what_to_install() -> None:
    with pytest.raises(PluginError, match=r"no installed codec loads '\.thrift' files.*Install a codec for such files"):
        elanus.load("x.thrift")


# -- choosing --------------------------------------------------------------------------------------------------------


class SimpleOffer:
    """A plugin that offers balancers under the names that it is given."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.built: list[Any] = []

    @hookimpl
    def elanus_balancers(self) -> list[Provider[Balancer]]:
        return [Provider(name, self.build) for name in self.names]

    def build(self, options: Any) -> Balancer:
        self.built.append(dict(options))
        return InTurn()


def test_a_part_is_chosen_by_name_by_name_with_options_or_as_an_object() -> None:
    offer = SimpleOffer("mine")
    found = installed_plugins()
    found.activate(offer)
    found.select("balancer", "mine")
    found.select("balancer", ("mine", {"key": "user"}))
    assert offer.built == [{}, {"key": "user"}]
    own = InTurn()
    assert found.select("balancer", own) is own


@pytest.mark.parametrize("choice", [42, ("mine",), object(), InTurn])
def test_what_is_no_choice_is_refused(choice: object) -> None:
    with pytest.raises(ConfigError, match="is no balancer"):
        installed_plugins().select("balancer", choice)


def test_each_selection_builds_a_new_thing() -> None:
    found = installed_plugins()
    found.activate(SimpleOffer("mine"))
    assert found.select("balancer", "mine") is not found.select("balancer", "mine")


class JsonPlugin:
    def __init__(self, name: str = "json") -> None:
        self.name = name

    @hookimpl
    def elanus_codecs(self) -> list[Provider[JsonCodec]]:
        return [Provider(self.name, lambda options: JsonCodec(), suffixes=(".jsonidl",))]


def test_the_codec_that_claims_the_suffix_loads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "echo.jsonidl"
    path.write_text("service Echo {\n  echo(text)\n}\n")
    elanus.register(JsonPlugin())
    assert list(elanus.load(path).Echo.methods) == ["echo"]
    assert elanus.load(path, codec="json").Echo.codec.wire == "json"
    assert elanus.load(path, codec=JsonCodec()).Echo.name == "Echo"


def test_a_taken_suffix_stays_with_the_first() -> None:
    elanus.register(JsonPlugin("first"))
    elanus.register(JsonPlugin("second"))
    records = installed_plugins().records()
    assert [record.state for record in records] == ["active", "faulty"]
    assert "'.jsonidl' files are loaded by plugin 'JsonPlugin' already" in str(records[1].faults[0])


# -- contributions ---------------------------------------------------------------------------------------------------


class House:
    """A house default, and a middleware that says its name."""

    def __init__(self, name: str = "house", **defaults: Any) -> None:
        self.__name__ = name
        self.defaults = defaults or {"timeout": 1.0}
        self.services: list[str] = []

    @hookimpl
    def elanus_configure_client(self, service: Any, options: Any) -> Any:
        self.services.append(service.name)
        return options.with_defaults(**self.defaults)

    @hookimpl
    def elanus_client_middlewares(self) -> list[Any]:
        def middleware(next_endpoint: Any) -> Any:
            return next_endpoint

        middleware.__name__ = self.__name__
        return [middleware]


def client(**options: Any) -> elanus.Client:
    from elanus.testing import MemoryTransport

    return elanus.Client(idl.Store, "memory:1", transport=MemoryTransport({}), **{"balancer": InTurn(), **options})


def test_a_house_default_reaches_every_client_and_gives_way_to_code() -> None:
    house = House(timeout=1.0)
    elanus.register(house)
    assert client().options.effective()["timeout"] == (1.0, "default of house")
    assert client(timeout=9.0).options.effective()["timeout"] == (9.0, "code")
    assert house.services == ["Store", "Store"]


def test_the_order_of_folding_is_environment_then_registration_then_this_client(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = """
        from elanus import hookimpl
        seen = []
        @hookimpl
        def elanus_configure_client(options):
            seen.append(options.caller)
            return options.with_defaults(caller=options.caller + {mark!r})
    """
    for name in ("env", "registered", "own"):
        install(name, textwrap.dedent(template).format(mark=f"/{name}"))
    monkeypatch.setenv("ELANUS_PLUGINS", "env")
    elanus.register("registered")
    built = client(plugins=["own"])
    assert built.options.effective()["caller"] == ("/env/registered/own", "default of own")
    assert client().options.caller == "/env/registered", "what one client names is its own"
    assert sys.modules["throw_away_own"].seen == ["/env/registered"]


def test_plugins_run_in_the_order_in_which_they_were_named() -> None:
    for name in ("b", "a", "c"):
        elanus.register(House(name))
    assert client().options.source("timeout") == "default of c"
    middlewares = client()._core._middlewares
    assert [middleware.__name__ for middleware in middlewares] == ["b", "a", "c"]


def test_middlewares_of_plugins_are_outside_of_those_in_code() -> None:
    def own(next_endpoint: Any) -> Any:
        return next_endpoint

    elanus.register(House("house"))
    names = [each.__name__ for each in client(middlewares=[own], plugins=[House("suite")])._core._middlewares]
    assert names == ["house", "suite", "own"]


def test_installed_contributions_sleep_until_the_plugin_is_named(install: Install) -> None:
    install(
        "sleeper",
        """
        from elanus import hookimpl
        @hookimpl
        def elanus_configure_client(options):
            return options.replace(timeout=0.125)
        """,
    )
    assert client().options.timeout is None
    assert client(plugins=["sleeper"]).options.effective()["timeout"] == (0.125, "set by sleeper")
    assert client().options.timeout is None
    assert record_of("sleeper").state == "available", "one client has named it, not the process"
    elanus.register("sleeper")
    assert client().options.timeout == 0.125
    assert record_of("sleeper").state == "active"
    elanus.unregister(sys.modules["throw_away_sleeper"])
    assert client().options.timeout is None
    assert record_of("sleeper").state == "available"


def test_a_plugin_named_twice_runs_once() -> None:
    house = House()
    elanus.register(house)
    elanus.register(house)
    client(plugins=[house])
    assert house.services == ["Store"]


def test_elanus_plugins_takes_several_names_and_modules(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("named", good("named"))
    module = install("other", good("other"))
    monkeypatch.setenv("ELANUS_PLUGINS", f"named, {module}")
    records = {record.name: record.state for record in installed_plugins().records()}
    assert (records["named"], records["other"]) == ("active", "active")


def test_a_name_in_elanus_plugins_that_is_nothing_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins, "_process", None)
    monkeypatch.setenv("ELANUS_PLUGINS", "no_such_module_anywhere")
    with pytest.raises(PluginError, match="no plugin or module 'no_such_module_anywhere'"):
        installed_plugins()


def test_an_attribute_of_a_module_may_be_named(install: Install) -> None:
    source = """
        import elanus

        class Inner:
            @elanus.hookimpl
            def elanus_balancers(self):
                return []

        inner = Inner()
    """
    module = install("holder", textwrap.dedent(source))
    elanus.register(f"{module}:inner")
    assert [record.name for record in installed_plugins().records() if record.active] == [f"{module}:inner"]


def test_registering_what_has_no_hooks_is_a_mistake() -> None:
    with pytest.raises(PluginError, match="has no hooks"):
        elanus.register(lambda: None)


def test_the_distribution_named_after_a_part_has_its_name_whichever_comes_first(install: Install) -> None:
    install("aaa_squatter", good("rings"))
    install("zzz", good("rings"), distribution="elanus-balancer-rings")
    assert record_of("zzz").offers == {"balancer": ["rings"]}
    assert record_of("aaa_squatter").offers == {"balancer": []}
    assert "already offers" in str(record_of("aaa_squatter").faults[0])
    assert installed_plugins().select("balancer", "rings")


def test_a_near_name_is_the_first_hint_and_unrelated_faults_are_only_counted(install: Install) -> None:
    install("rings", good("rings"))
    install("broken", "raise OSError('no such library')")
    with pytest.raises(PluginError) as raised:
        installed_plugins().select("balancer", "ring")
    text = str(raised.value)
    assert text.startswith("no installed plugin offers balancer 'ring'. Did you mean 'rings'? Installed: ")
    assert text.endswith(". other plugins with faults: 1, see `elanus plugins`")


def test_a_name_that_cannot_be_written_is_a_fault(install: Install) -> None:
    install("odd", good("B-Ad Name"))
    assert "is no name" in str(record_of("odd").faults[0])


def test_registering_what_is_wrong_raises_and_changes_nothing() -> None:
    class Wrong:
        @hookimpl
        def elanus_configure_clients(self, options: Any) -> Any:
            return options

    with pytest.raises(PluginError, match=r"Did you mean elanus_configure_client\(\)\?"):
        elanus.register(Wrong())
    assert client().options.timeout is None


def test_unregister_undoes_register() -> None:
    house = House()
    offer = SimpleOffer("mine")
    elanus.register(house)
    elanus.register(offer)
    assert installed_plugins().names("balancer") == ["mine"]
    elanus.unregister(offer)
    elanus.unregister(house)
    assert installed_plugins().names("balancer") == []
    assert client().options.timeout is None
    with pytest.raises(PluginError, match="is not registered"):
        elanus.unregister(house)


def test_local_plugins_offer_names_to_their_client_only() -> None:
    built = client(plugins=[SimpleOffer("local")], balancer="local")
    assert built.options.balancer == "local"
    with pytest.raises(PluginError, match="no installed plugin offers balancer 'local'"):
        client(balancer="local")


def test_an_installed_plugin_that_is_broken_cannot_be_named(install: Install) -> None:
    install("broken", "raise OSError('gone')")
    with pytest.raises(PluginError, match="OSError: gone"):
        client(plugins=["broken"])


@pytest.mark.parametrize(
    ("hook", "value", "text"),
    [
        ("elanus_configure_client", {"timeout": 1}, r"elanus_configure_client\(\) returned dict, not ClientOptions"),
        ("elanus_client_middlewares", None, r"returned NoneType, not a sequence of middlewares"),
        ("elanus_client_middlewares", [1], r"returned list, not a sequence of middlewares"),
    ],
)
def test_a_contribution_of_the_wrong_type_fails_the_client_that_is_built(hook: str, value: Any, text: str) -> None:
    def contribute(self: Any) -> Any:
        return value

    contribute.__name__ = hook
    plugin = type("Wrong", (), {hook: hookimpl(contribute)})()
    with pytest.raises(PluginError, match=text):
        client(plugins=[plugin])


def test_a_contribution_that_raises_names_its_plugin() -> None:
    class Raises:
        @hookimpl
        def elanus_configure_client(self, options: Any) -> Any:
            raise KeyError("x")

    with pytest.raises(PluginError, match=r"plugin 'Raises' elanus_configure_client\(\) failed: KeyError: 'x'"):
        client(plugins=[Raises()])


def test_a_contribution_that_returns_none_changes_nothing() -> None:
    class Silent:
        @hookimpl
        def elanus_configure_client(self, options: Any) -> None:
            return None

    sources = {name: source for name, (_, source) in client(plugins=[Silent()]).options.effective().items()}
    assert {name for name, source in sources.items() if source != "default"} == {
        "targets",
        "transport",
        "balancer",
        "plugins",
    }


async def test_servers_are_configured_when_they_start() -> None:
    class HouseOfServers:
        @hookimpl
        def elanus_configure_server(self, options: Any) -> Any:
            return options.with_defaults(drain_timeout=1.5)

    from .store import started

    server = await started(plugins=[HouseOfServers()])
    assert server.options.effective()["drain_timeout"] == (1.5, "default of HouseOfServers")
    await server.stop()


def test_commands_of_one_plugin_that_fail_leave_those_of_others() -> None:
    import click

    class Fails:
        @hookimpl
        def elanus_commands(self, cli: click.Group) -> None:
            raise RuntimeError("no")

    class Works:
        @hookimpl
        def elanus_commands(self, cli: click.Group) -> None:
            cli.add_command(click.Command("mine"))

    found = PluginSet()
    found.activate(Fails())
    found.activate(Works())
    cli = click.Group()
    found.add_commands(cli)
    assert list(cli.commands) == ["mine"]
    assert "elanus_commands() failed: RuntimeError: no" in str(found.records()[0].faults[0])
