"""Options of a plugin's part are checked by the annotations of their dataclass."""

from dataclasses import dataclass

import pytest

from elanus.errors import ConfigError
from elanus.settings import read_settings


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
