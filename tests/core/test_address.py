"""The forms of an address."""

import pytest

from elanus.address import check_address, split_address
from elanus.errors import ConfigError


@pytest.mark.parametrize(
    "address", ["localhost", "127.0.0.1:", "127.0.0.1:http", "::1:80", "127.0.0.1:70000", "", "a:\u0661", "udp://a:1"]
)
def test_what_is_no_address_is_refused_with_the_forms(address: str) -> None:
    with pytest.raises(ConfigError, match=r"is no address.*host:port"):
        split_address(address)
    with pytest.raises(ConfigError, match="is no address"):
        check_address(address)


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:80", ("::1", 80)), (":80", ("", 80)), ("host:0", ("host", 0))],
)
def test_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:80", "a.example:1", "unix:/tmp/x", "memory:1"])
def test_what_can_be_called(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", [":80", "host:0", "unix:", None, 80, b"a:1"])
def test_what_cannot_be_called(address: object) -> None:
    with pytest.raises(ConfigError):
        check_address(address)
