"""Options: checked, frozen, and each value knows who set it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from elanus import CallOptions, ClientOptions, ConfigError, Limits, Metadata, PoolOptions, ServerOptions


def test_an_unknown_option_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'timeuot'\. Did you mean 'timeout'\?"):
        ClientOptions.from_code({"timeuot": 1})
    with pytest.raises(ConfigError, match=r"unknown option 'zzz'\. Known: .*'?drain_timeout"):
        ServerOptions.from_code({"zzz": 1})
    with pytest.raises(ConfigError, match=r"unknown call option 'timout'\. Did you mean 'timeout'\?"):
        CallOptions().merged({"timout": 1})


@pytest.mark.parametrize("name", ["sources", "writer"])
def test_the_bookkeeping_is_no_option(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown option"):
        ClientOptions.from_code({name: {}})


@pytest.mark.parametrize(
    ("make", "values", "text"),
    [
        (ClientOptions.from_code, {"timeout": 0}, r"'timeout' is 0\. Give seconds above 0"),
        (ClientOptions.from_code, {"connect_timeout": -1}, "'connect_timeout' is -1"),
        (ServerOptions.from_code, {"handler_timeout": 0}, "'handler_timeout' is 0"),
        (ServerOptions.from_code, {"threads": 0}, r"'threads' of ServerOptions is 0\. Give at least 1"),
        (ServerOptions.from_code, {"transports": ()}, "a server without transports"),
        (lambda values: PoolOptions(**values), {"open": 0}, "'open' of PoolOptions is 0"),
        (lambda values: Limits(**values), {"frame_bytes": 0}, "limit 'frame_bytes' is 0"),
        (lambda values: CallOptions().merged(values), {"attempt_timeout": 0}, "'attempt_timeout' is 0"),
    ],
)
def test_a_value_out_of_range_is_refused(make: Any, values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make(values)


def test_zero_is_fine_for_limits_in_seconds() -> None:
    assert Limits(idle_timeout=0.0).idle_timeout == 0.0


def test_options_are_frozen() -> None:
    for options in (ClientOptions(), ServerOptions(), CallOptions(), PoolOptions(), Limits()):
        for item in dataclasses.fields(options):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(options, item.name, 1)


def test_where_several_may_be_given_a_single_one_may_be_bare() -> None:
    def middleware(endpoint: Any) -> Any:
        return endpoint

    options = ClientOptions.from_code({"targets": "a:1", "tracers": "otel", "middlewares": middleware})
    assert options.targets == ("a:1",)
    assert options.tracers == ("otel",)
    assert options.middlewares == (middleware,)
    assert ServerOptions.from_code({"transports": ["grpc", "http"]}).transports == ("grpc", "http")
    assert ClientOptions.from_code({"config": ("file", {"path": "a"})}).config == (("file", {"path": "a"}),)
    assert ClientOptions.from_code({"config": ["a", ("file", {})]}).config == ("a", ("file", {}))
    assert ClientOptions.from_code({"config": None}).config is None


def test_a_default_gives_way_to_code_and_a_replacement_overrules_it() -> None:
    options = ClientOptions.from_code({"timeout": 5.0}).written_by("house")
    assert options.with_defaults(timeout=1.0, attempt_timeout=0.5).timeout == 5.0
    assert options.with_defaults(timeout=1.0, attempt_timeout=0.5).attempt_timeout == 0.5
    assert options.replace(timeout=1.0).timeout == 1.0


def test_the_later_default_wins_and_a_replacement_stays() -> None:
    options = ClientOptions().written_by("first").with_defaults(timeout=1.0)
    assert options.written_by("second").with_defaults(timeout=2.0).timeout == 2.0
    replaced = options.written_by("second").replace(timeout=3.0)
    assert replaced.written_by("third").with_defaults(timeout=4.0).timeout == 3.0


def test_every_value_can_say_where_it_came_from() -> None:
    options = ClientOptions.from_code({"timeout": 5.0}).written_by("house").with_defaults(caller="web", timeout=1.0)
    options = options.written_by("ops").replace(attempt_timeout=0.3)
    effective = options.effective()
    assert effective["timeout"] == (5.0, "code")
    assert effective["caller"] == ("web", "default of house")
    assert effective["attempt_timeout"] == (0.3, "set by ops")
    assert effective["connect_timeout"] == (1.0, "default")
    assert list(effective) == ClientOptions.names()
    with pytest.raises(ConfigError, match="unknown option"):
        options.source("nothing")


def test_addresses_and_a_resolver_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="both addresses and a resolver"):
        ClientOptions.from_code({"targets": ["a:1"], "resolver": "consul"})


def test_a_default_resolver_gives_way_to_addresses_in_code() -> None:
    options = ClientOptions.from_code({"targets": ["a:1"]}).with_defaults(resolver="consul", timeout=1.0)
    assert options.resolver is None
    assert options.timeout == 1.0
    assert ClientOptions().with_defaults(resolver="consul").resolver == "consul"


def test_call_options_add_up() -> None:
    first = CallOptions().merged({"tags": {"a": "1"}, "metadata": {"m": "1"}, "headers": {"h": "1"}, "timeout": 1.0})
    second = first.merged({"tags": {"b": "2"}, "metadata": Metadata(persistent={"p": "2"}), "timeout": 2.0})
    assert second.tags == {"a": "1", "b": "2"}
    assert second.metadata == Metadata({"m": "1"}, {"p": "2"})
    assert second.headers == {"h": "1"}
    assert second.timeout == 2.0
    assert first.tags == {"a": "1"}, "the options that were added to stay as they are"


def test_plain_metadata_of_a_call_is_transient() -> None:
    assert CallOptions().merged({"metadata": {"m": "1"}}).metadata == Metadata({"m": "1"})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"timeout": "1"}, "option 'timeout' is '1'"),
        ({"timeout": True}, "option 'timeout' is True"),
        ({"pool": {"idle": 1}}, "Give an elanus.PoolOptions"),
        ({"limits": {}}, "Give an elanus.Limits"),
        ({"middlewares": 1}, "Give a list of functions"),
        ({"acl": ["not a function"]}, "Give a list of functions"),
        ({"targets": ["nonsense"]}, "'nonsense' is no address"),
        ({"targets": "127.0.0.1:0"}, "an address to listen on"),
    ],
)
def test_values_of_the_wrong_type_are_refused_when_the_client_is_built(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientOptions.from_code(values)
    assert text in str(caught.value)
