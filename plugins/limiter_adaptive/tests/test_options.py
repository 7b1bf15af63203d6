"""What users write: the name and its options; and what importing the hooks costs."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import elanus
import elanus_limiter_adaptive
from elanus.errors import ConfigError
from elanus.testing import JsonCodec, connected, run_virtual
from elanus_limiter_adaptive import AdaptiveLimiter
from elanus_limiter_adaptive.hooks import elanus_limiters


def test_the_name_that_is_offered() -> None:
    (provider,) = elanus_limiters()
    assert provider.name == AdaptiveLimiter.name == "adaptive"
    built = provider.build({"min_limit": 2, "slack": 1})
    assert isinstance(built, AdaptiveLimiter)
    assert (built.settings.min_limit, built.settings.slack) == (2, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_limits": 1}, r"limiter 'adaptive' has no option 'min_limits'\. Did you mean 'min_limit'"),
        ({"algorithm": "vegas"}, r"option 'algorithm' of limiter 'adaptive' is 'vegas'.*Give 'gradient' or 'aimd'"),
        ({"min_limit": 0}, r"is 0, 20, 1000\. Give at least 1, in this order"),
        ({"min_limit": 30}, r"is 30, 20, 1000"),
        ({"max_limit": 10}, r"is 4, 20, 10\b"),
        ({"tolerance": 0.9}, r"'tolerance' of limiter 'adaptive' is 0.9"),
        ({"backoff": 1.0}, r"'backoff' of limiter 'adaptive' is 1.0"),
        ({"window_calls": 0}, r"'window_calls' of limiter 'adaptive' is 0"),
        ({"slack": 0}, r"'slack' of limiter 'adaptive' is 0.0.*Give seconds above 0"),
        ({"window": float("nan")}, r"'window' of limiter 'adaptive' is nan"),
        ({"probe_interval": -1.0}, r"'probe_interval' of limiter 'adaptive' is -1.0"),
        ({"drop_late": "no"}, r"'drop_late' of limiter 'adaptive' is 'no'.*Give true or false"),
    ],
)
def test_what_makes_no_sense_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdaptiveLimiter(**options)


def test_in_a_server_by_name() -> None:
    idl = JsonCodec().loads("service Shop {\n  find(name)\n}")

    class Shop:
        async def find(self, name: str) -> str:
            await asyncio.sleep(0.1)
            return name

    async def scenario() -> None:
        options = {"min_limit": 1, "initial_limit": 1, "max_limit": 1}
        server = elanus.Server(limiter=("adaptive", options))
        async with connected(idl.Shop, Shop(), server=server) as client:
            calls = (client.find("tea"), client.find("tea"))
            outcomes: list[object] = await asyncio.gather(*calls, return_exceptions=True)
            first, second = outcomes
            assert first == "tea"
            assert isinstance(second, elanus.ApplicationError)
            assert second.message == "request over limit: too many calls in flight (adaptive limit = 1)"
            assert server.refused == {"concurrency[normal]": 1}

    run_virtual(scenario())


def test_the_package_offers_what_its_all_says() -> None:
    for name in elanus_limiter_adaptive.__all__:
        assert getattr(elanus_limiter_adaptive, name).__name__ == name
        assert name in dir(elanus_limiter_adaptive)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = elanus_limiter_adaptive.nothing_of_this_name  # type: ignore[attr-defined]


def test_asking_for_offers_imports_no_limiter() -> None:
    script = (
        "import sys\n"
        "from elanus_limiter_adaptive.hooks import elanus_limiters\n"
        "elanus_limiters()\n"
        "own = sorted(name for name in sys.modules if name.startswith('elanus_limiter_adaptive'))\n"
        "assert own == ['elanus_limiter_adaptive', 'elanus_limiter_adaptive.hooks'], own\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
