"""Which handler a request reaches: Kitex's rules for several services on one server."""

from __future__ import annotations

import pytest

from elanus.errors import ApplicationError, ConfigError
from elanus.net.routing import Routes
from elanus.testing import JsonCodec

idl = JsonCodec().loads(
    """
    service A {
      get(key)
      only_a(x)
    }
    service B {
      get(key)
      only_b(x)
    }
    service C {
      only_c(x)
    }
    """
)


def routes(*services: str, fallback: str | None = None, strict: bool = False) -> Routes:
    chosen = None if fallback is None else getattr(idl, fallback)
    return Routes([getattr(idl, name) for name in services], chosen, require_service=strict)


def owner(table: Routes, service: str | None, method: str) -> str:
    return table.find(service, method, "json").service.name


def test_a_named_service_gets_its_own_method() -> None:
    table = routes("A", "B", fallback="B")
    assert owner(table, "A", "get") == "A"
    assert owner(table, "B", "get") == "B"


def test_a_name_that_is_not_here_reaches_the_only_service_that_has_the_method() -> None:
    table = routes("A", "C")
    assert owner(table, "SomeAlias", "only_c") == "C"


def test_a_name_that_is_not_here_does_not_choose_between_two() -> None:
    with pytest.raises(ApplicationError, match="unknown service X, method get") as raised:
        owner(routes("A", "B", fallback="A"), "X", "get")
    assert raised.value.code == ApplicationError.UNKNOWN_SERVICE == 20


@pytest.mark.parametrize("service", [None, ""])
def test_a_request_without_a_service_reaches_the_fallback_first_and_else_the_owner(service: str | None) -> None:
    table = routes("A", "B", "C", fallback="B")
    assert owner(table, service, "get") == "B"
    assert owner(table, service, "only_a") == "A"
    assert owner(table, service, "only_c") == "C"


def test_a_known_service_without_the_method_is_error_1() -> None:
    with pytest.raises(ApplicationError) as raised:
        owner(routes("A", "C"), "A", "only_c")
    assert (raised.value.code, raised.value.message) == (1, "unknown method only_c (service A)")
    assert raised.value.phase == "route"


def test_nothing_that_has_the_method_is_error_20() -> None:
    with pytest.raises(ApplicationError) as raised:
        owner(routes("A"), "X", "nothing")
    assert (raised.value.code, raised.value.message) == (20, "unknown service X, method nothing")


def test_two_services_with_one_method_need_a_fallback() -> None:
    text = r"method name 'get' is conflicted between services \(A, B\) but no fallback service is specified"
    with pytest.raises(ConfigError, match=text):
        routes("A", "B")


def test_where_the_service_must_be_named_a_common_method_is_no_conflict_and_no_name_is_an_error() -> None:
    table = routes("A", "B", strict=True)
    assert owner(table, "B", "get") == "B"
    for service in (None, "", "X"):
        with pytest.raises(ApplicationError) as raised:
            owner(table, service, "only_a")
        assert raised.value.code == 20


def test_another_codec_on_the_wire_is_error_9() -> None:
    with pytest.raises(ApplicationError, match="codec msg type not match with protobufCodec") as raised:
        routes("A").find("A", "get", "protobuf")
    assert raised.value.code == ApplicationError.INVALID_PROTOCOL == 9


def test_a_route_is_kept_so_that_a_transport_may_keep_it_too() -> None:
    table = routes("A")
    assert table.find("A", "get", "json") is table.find("A", "get", "json") is table.find(None, "get", "json")
