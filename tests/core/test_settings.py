"""Options of a plugin's part are checked by the annotations of their dataclass."""

from dataclasses import dataclass

import pytest

from elanus.errors import ConfigError
from elanus.settings import backend_address, read_settings, wants_tls


@dataclass(frozen=True)
class Settings:
    endpoints: tuple[str, ...] = ("127.0.0.1:1",)
    ttl: float = 60.0
    user: str | None = None
    retries: int = 3
    tls: bool = False

    def __post_init__(self) -> None:
        if self.ttl <= 0:
            raise ConfigError(f"ttl is {self.ttl}")


def read(**values: object) -> Settings:
    return read_settings(Settings, "registry 'x'", values)


def test_nothing_given_is_all_defaults() -> None:
    assert read() == Settings()


def test_values_are_taken_and_near_types_fitted() -> None:
    read_back = read(endpoints=["a", "b"], ttl=5, user="u", retries=0, tls=True)
    assert read_back == Settings(("a", "b"), 5.0, "u", 0, True)
    assert isinstance(read_back.ttl, float)
    assert read(endpoints="a").endpoints == ("a",)
    assert read(user=None).user is None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"endpoint": "a"}, "registry 'x' has no option 'endpoint'. Did you mean 'endpoints'?"),
        ({"zzz": 1}, "Known: endpoints, retries, tls, ttl, user"),
        ({"ttl": "5"}, "option 'ttl' of registry 'x' is '5'. Give a number"),
        ({"ttl": True}, "Give a number"),
        ({"retries": True}, "Give a whole number"),
        ({"retries": 1.5}, "Give a whole number"),
        ({"tls": 1}, "Give true or false"),
        ({"user": 1}, "Give a text or nothing at all"),
        ({"endpoints": [1]}, "Give a list of texts"),
        ({"ttl": -1}, "ttl is -1.0"),
    ],
)
def test_what_does_not_fit_is_named_with_the_next_step(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**values)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "scheme", "place"),
    [
        ("10.0.0.1", "", "10.0.0.1:99"),
        (" store:1 ", "", "store:1"),
        ("http://store/", "http", "store:99"),
        ("https://[2001:db8::1]:443", "https", "[2001:db8::1]:443"),
    ],
)
def test_the_address_of_a_backend_is_taken_apart(text: str, scheme: str, place: str) -> None:
    address = backend_address("the store", text, 99)
    assert (address.scheme, str(address)) == (scheme, place)


@pytest.mark.parametrize("text", ["", "ftp://x", "x:99999", "2001:db8::1", "http://x/path"])
def test_what_is_no_address_of_a_backend_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no address of the store"):
        backend_address("the store", text, 99)


@pytest.mark.parametrize(
    ("tls", "texts", "files", "secure"),
    [
        (None, ["a", "b"], False, False),
        (None, ["a", "https://b"], False, True),
        (None, ["a"], True, True),
        (True, ["a"], False, True),
        (False, ["http://a"], False, False),
    ],
)
def test_whether_to_speak_tls_follows_from_what_was_given(
    tls: bool | None, texts: list[str], files: bool, secure: bool
) -> None:
    addresses = [backend_address("x", text, 1) for text in texts]
    assert wants_tls("x", tls, addresses, files=files) is secure


@pytest.mark.parametrize(
    ("tls", "texts", "files"),
    [
        (None, ["http://a", "https://b"], False),
        (True, ["http://a"], False),
        (False, ["a"], True),
        (None, ["http://a"], True),
    ],
)
def test_options_that_want_both_tls_and_none_are_refused(tls: bool | None, texts: list[str], files: bool) -> None:
    with pytest.raises(ConfigError, match="both TLS and no TLS"):
        wants_tls("x", tls, [backend_address("x", text, 1) for text in texts], files=files)
