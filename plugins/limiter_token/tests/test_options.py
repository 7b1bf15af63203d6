"""What users write: the name and its options; and what importing the hooks costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import elanus
import elanus_limiter_token
from elanus.errors import ConfigError
from elanus.testing import JsonCodec, connected
from elanus_limiter_token import TokenLimiter
from elanus_limiter_token.hooks import elanus_limiters


def test_the_name_that_is_offered() -> None:
    (provider,) = elanus_limiters()
    assert provider.name == TokenLimiter.name == "token"
    built = provider.build({"qps": 5, "per_caller": {"*": {"qps": 1}}})
    assert isinstance(built, TokenLimiter)
    assert (built.settings.qps, built.settings.per_caller["*"].qps) == (5.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"qsp": 1}, r"limiter 'token' has no option 'qsp'\. Did you mean 'qps'"),
        ({"qps": "1"}, r"option 'qps' of limiter 'token' is '1'.*Give a number or nothing at all"),
        ({"qps": float("nan")}, r"option 'qps' of limiter 'token' is nan"),
        ({"concurrency": 1.5}, r"option 'concurrency' of limiter 'token' is 1.5"),
        ({"burst": 0.5}, r"option 'burst' of limiter 'token' is 0.5.*Below 1 no call would ever pass"),
        ({"per_method": ["echo"]}, r"option 'per_method' of limiter 'token' is \['echo'\].*Give a table"),
        ({"per_method": {"echo": 5}}, r"per_method\['echo'\] of limiter 'token' is 5.*Give a table, such as"),
        ({"per_caller": {"a": {"qp": 1}}}, r"per_caller\['a'\] of limiter 'token' has no option 'qp'.*'qps'"),
        ({"per_caller": {"a": {"qps": float("inf")}}}, r"option 'qps' of per_caller\['a'\].* is inf"),
        ({"per_service": {"Echo/echo": {"qps": 1}}}, r"'per_service' of limiter 'token' names a method"),
        ({"callers": 0}, r"option 'callers' of limiter 'token' is 0.*Give at least 1"),
        ({"cut": 1}, r"option 'cut' of limiter 'token' is 1.*Give true or false"),
    ],
)
def test_what_makes_no_sense_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenLimiter(**options)


def test_in_a_server_by_name() -> None:
    idl = JsonCodec().loads("service Shop {\n  find(name)\n  buy(name)\n}")

    class Shop:
        async def find(self, name: str) -> str:
            return name

        async def buy(self, name: str) -> str:
            return name

    async def scenario() -> None:
        server = elanus.Server(limiter=("token", {"per_method": {"find": {"qps": 1}}}))
        async with connected(idl.Shop, Shop(), server=server) as client:
            await client.find("tea")
            with pytest.raises(elanus.ApplicationError) as raised:
                await client.find("tea")
            assert raised.value.message == "request over limit: request too frequent (per_method[find].qps = 1)"
            assert await client.buy("tea") == "tea"
            assert server.refused == {"per_method[find].qps": 1}

    from elanus.testing import run_virtual

    run_virtual(scenario())


def test_the_package_offers_what_its_all_says() -> None:
    for name in elanus_limiter_token.__all__:
        assert getattr(elanus_limiter_token, name).__name__ == name
        assert name in dir(elanus_limiter_token)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = elanus_limiter_token.nothing_of_this_name  # type: ignore[attr-defined]


def test_asking_for_offers_imports_no_limiter() -> None:
    script = (
        "import sys\n"
        "from elanus_limiter_token.hooks import elanus_limiters\n"
        "elanus_limiters()\n"
        "own = sorted(name for name in sys.modules if name.startswith('elanus_limiter_token'))\n"
        "assert own == ['elanus_limiter_token', 'elanus_limiter_token.hooks'], own\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
