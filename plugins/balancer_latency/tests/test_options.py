"""What users write: the name and options; and what importing the hooks costs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import elanus_balancer_latency
from elanus.errors import ConfigError
from elanus_balancer_latency import LatencyBalancer
from elanus_balancer_latency.hooks import elanus_balancers
from elanus_balancer_latency.settings import LatencySettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.contracts.balancer import Balancer


def built(options: Mapping[str, object]) -> Balancer:
    (provider,) = elanus_balancers()
    assert provider.name == "latency"
    return provider.build(options)


def test_by_name() -> None:
    assert isinstance(built({}), LatencyBalancer)
    assert built({"decay": 5, "seed": 1}) is not built({"decay": 5, "seed": 1})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dekay": 1}, r"balancer 'latency' has no option 'dekay'\. Did you mean 'decay'"),
        ({"on_ejection": print}, r"balancer 'latency' has no option 'on_ejection'"),
        ({"decay": 0}, r"option 'decay' of balancer 'latency' is 0\.0\. Give a number above 0"),
        ({"decay": "1"}, r"option 'decay' of balancer 'latency' is '1'\. Give a number"),
        ({"slow_start": -1}, r"option 'slow_start' .* is -1\.0\. Give a number from 0 on"),
        ({"slow_start": float("inf")}, r"option 'slow_start' .* is inf"),
        ({"penalty": 0.5}, r"option 'penalty' .* Give a number from 1 on"),
        ({"failures": -1}, r"option 'failures' .* Give a number from 0 on"),
        ({"failures": 2.5}, r"option 'failures' .* Give a whole number"),
        ({"failure_share": 0}, r"option 'failure_share' .* Give a number above 0, to 1 at most"),
        ({"failure_share": 1.5}, r"option 'failure_share'"),
        ({"min_calls": 0}, r"option 'min_calls' .* Give a number from 1 on"),
        ({"slow_factor": float("nan")}, r"option 'slow_factor' .* is nan"),
        ({"ejection": 0}, r"option 'ejection' .* Give a number above 0"),
        ({"ejection": 60, "longest_ejection": 30}, r"option 'longest_ejection' .* is 30\.0\. Give a number from 60 on"),
        ({"max_ejected": 1.1}, r"option 'max_ejected' .* Give a number from 0 on, to 1 at most"),
        ({"seed": True}, r"option 'seed' .* Give a whole number"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        built(options)


def test_code_gets_the_same_checks() -> None:
    with pytest.raises(ConfigError, match="no option 'max_ejekted'"):
        LatencyBalancer(max_ejekted=0.5)


def test_an_ejection_longer_than_the_default_limit_needs_a_higher_limit() -> None:
    with pytest.raises(ConfigError, match="longest_ejection"):
        LatencySettings(ejection=400)
    assert LatencySettings(ejection=400, longest_ejection=400).ejection == 400


def test_the_package_offers_what_its_all_says() -> None:
    for name in elanus_balancer_latency.__all__:
        assert getattr(elanus_balancer_latency, name).__name__ == name
        assert name in dir(elanus_balancer_latency)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = elanus_balancer_latency.nothing_of_this_name  # type: ignore[attr-defined]


def test_asking_for_offers_imports_no_balancer() -> None:
    script = (
        "import sys\n"
        "from elanus_balancer_latency.hooks import elanus_balancers\n"
        "elanus_balancers()\n"
        "own = sorted(name for name in sys.modules if name.startswith('elanus_balancer_latency'))\n"
        "assert own == ['elanus_balancer_latency', 'elanus_balancer_latency.hooks'], own\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
