"""Folding, against a model; and ten thousand changes under load, none of which fails a call."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import elanus
from elanus import Provider
from elanus.contracts.retrier import Plan, Retrier
from elanus.events import CONFIG_CHANGE
from elanus.options import ClientOptions
from elanus.testing import InTurn, MemoryConfig, MemoryTransport, connected, run_virtual

from .store import Store, idl

NAMES = ("timeout", "attempt_timeout", "connect_timeout")
DEFAULTS = {name: getattr(ClientOptions(), name) for name in NAMES}
METHODS = ("get", "put")
SCOPES = ("client", "client/Store", "client/Store/get", "client/Store/put", "client/Other", "client/Other/get")

_SECONDS = st.integers(1, 9).map(float)
_VALUES = st.dictionaries(st.sampled_from(NAMES), _SECONDS, max_size=3)
_METHODS = st.dictionaries(st.sampled_from(METHODS), _VALUES, max_size=2)
_SCOPES = st.dictionaries(st.sampled_from(SCOPES), _VALUES, max_size=6)


class House:
    """A plugin with defaults, and with values that overrule everybody."""

    def __init__(self, defaults: dict[str, Any], overruled: dict[str, Any]) -> None:
        self.defaults, self.overruled = defaults, overruled

    @elanus.hookimpl
    def elanus_configure_client(self, options: ClientOptions) -> ClientOptions:
        return options.with_defaults(**self.defaults).replace(**self.overruled)


def model(code: dict[str, Any], house: House, sources: list[dict[str, Any]], method: str) -> dict[str, tuple[Any, str]]:
    """What holds for a method, by the rules as the manual has them: narrow before wide; in one scope a plugin's
    replacement, code, configuration (later sources first), a plugin's default, the default.
    """

    def in_scope(name: str, scopes: list[str], layer: Any) -> tuple[Any, str] | None:
        if name in layer(house.overruled):
            return layer(house.overruled)[name], "set by House"
        if name in layer(code):
            return layer(code)[name], "code"
        for scope in scopes:
            for number, source in reversed(list(enumerate(sources))):
                if name in source.get(scope, {}):
                    return source[scope][name], f"{number}:{scope}.{name}"
        if name in layer(house.defaults):
            return layer(house.defaults)[name], "default of House"
        return None

    found = {}
    for name in NAMES:
        own = in_scope(name, [f"client/Store/{method}"], lambda values: values.get("methods", {}).get(method, {}))
        whole = in_scope(name, ["client/Store", "client"], lambda values: values)
        found[name] = own or whole or (DEFAULTS[name], "default")
    return found


def layered(values: dict[str, Any], methods: dict[str, Any]) -> dict[str, Any]:
    return {**values, "methods": methods} if methods else dict(values)


class Numbered(MemoryConfig):
    """Its places begin with its number."""

    def __init__(self, number: int, scopes: dict[str, Any]) -> None:
        self.number = number
        super().__init__(scopes)

    def settings(self, scope: str) -> Any:
        held = super().settings(scope)
        return {name: type(one)(one.value, f"{self.number}:{scope}.{name}") for name, one in held.items()}


_LAYERS = st.builds(layered, _VALUES, _METHODS)


@settings(max_examples=150)
@given(_LAYERS, _LAYERS, _LAYERS, st.lists(st.lists(_SCOPES, min_size=2, max_size=2), min_size=1, max_size=4))
def test_what_holds_is_what_the_rules_say_before_and_after_every_change(
    code: dict[str, Any], defaults: dict[str, Any], overruled: dict[str, Any], states: list[list[dict[str, Any]]]
) -> None:
    house = House(defaults, overruled)

    async def scenario() -> None:
        sources = [Numbered(number, scopes) for number, scopes in enumerate(states[0])]
        each = elanus.Client(
            idl.Store,
            "memory:1",
            transport=MemoryTransport({}),
            balancer=InTurn(),
            config=sources,
            plugins=[house],
            **code,
        )
        async with each:
            await asyncio.sleep(0)
            for state in states:
                for source, scopes in zip(sources, state, strict=True):
                    source.write(scopes)
                for _ in range(8):
                    await asyncio.sleep(0)
                for method in METHODS:
                    effective = each.effective(method)
                    assert {name: effective[name] for name in NAMES} == model(code, house, state, method)

    run_virtual(scenario())


class Passing(Retrier):
    name = "passing"

    def plan(self, call: Any, now: float) -> Plan | None:
        return None


class Retriers:
    @elanus.hookimpl
    def elanus_retriers(self) -> list[Provider[Retrier]]:
        return [Provider("passing", lambda options: Passing())]


FLIPS = 10_000
STATES: list[dict[str, Any]] = [
    {},
    {"client": {"timeout": 50.0, "retrier": "passing"}, "server": {"handler_timeout": 40.0}},
    {"client": {"timeout": 60.0, "retrier": {"name": "passing", "attempts": 2}}, "client/Store/get": {"timeout": 30.0}},
    {"client": {"timout": 1.0}, "server": {"handler_timeout": 0}},
    {"client/Store/get": {"retrier": False, "attempt_timeout": 20.0}, "server/Store/get": {"enforce_deadline": False}},
]


class Slow(Store):
    async def get(self, key: Any) -> Any:
        await asyncio.sleep(key)
        return key


def test_ten_thousand_changes_under_load_fail_no_call() -> None:
    async def scenario() -> None:
        config = MemoryConfig()
        server = elanus.Server(config=config)
        async with connected(idl.Store, Slow(), server=server, config=config, plugins=[Retriers()]) as each:
            stop, done = False, 0

            async def load(seconds: float) -> None:
                nonlocal done
                while not stop:
                    assert await each.get(seconds) == seconds
                    done += 1

            tasks = [asyncio.ensure_future(load(0.01 * number)) for number in range(1, 9)]
            for number in range(FLIPS):
                config.write(STATES[number % len(STATES)])
                await asyncio.sleep(0.001)
            stop = True
            await asyncio.gather(*tasks)
            # Ten seconds of virtual time, in which the task that waits n hundredths ends 100 / n calls a second.
            assert done >= sum(950 // number for number in range(1, 9))
            assert any(happening.name == CONFIG_CHANGE for happening in each.events.recent())

    run_virtual(scenario())
