"""What users write: names and options; and what importing the hooks costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import elanus_balancer_weighted
from elanus.errors import ConfigError
from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_weighted import balancers
from elanus_balancer_weighted.hooks import elanus_balancers

NAMES = ["weighted", "weighted_interleaved", "weighted_random", "weighted_alias"]


def test_the_names_that_are_offered() -> None:
    assert [provider.name for provider in elanus_balancers()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_name_builds_the_balancer_of_that_name(name: str) -> None:
    (provider,) = [provider for provider in elanus_balancers() if provider.name == name]
    assert provider.build({}).name == name
    assert provider.build({}) is not provider.build({})


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_makes_picks_foreseeable(name: str) -> None:
    (provider,) = [provider for provider in elanus_balancers() if provider.name == name]
    instances = [Instance(f"10.0.0.{number}:80", weight) for number, weight in enumerate([4, 1, 9, 2, 2, 3])]
    call = make_call()

    def picks(seed: int | None) -> list[Instance | None]:
        picker = provider.build({"seed": seed}).picker(instances)
        return [picker.pick(call, (), 0.0) for _ in range(60)]

    assert picks(1) == picks(1)
    assert len({tuple(picks(seed)) for seed in range(20)}) > 1
    assert len({tuple(picks(None)) for _ in range(40)}) > 1


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'weighted' has no option 'sede'\. Did you mean 'seed'"):
        balancers.WeightedBalancer.from_options({"sede": 1})


@pytest.mark.parametrize("seed", ["1", 1.5, True])
def test_a_seed_that_is_no_integer_is_refused(seed: object) -> None:
    with pytest.raises(ConfigError, match=r"option 'seed' of balancer 'weighted_alias' is .*Give a whole number"):
        balancers.AliasBalancer.from_options({"seed": seed})


def test_the_package_offers_what_its_all_says() -> None:
    for name in elanus_balancer_weighted.__all__:
        assert getattr(elanus_balancer_weighted, name) is getattr(balancers, name)
        assert name in dir(elanus_balancer_weighted)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = elanus_balancer_weighted.nothing_of_this_name  # type: ignore[attr-defined]


def test_asking_for_offers_imports_no_balancer() -> None:
    script = (
        "import sys\n"
        "from elanus_balancer_weighted.hooks import elanus_balancers\n"
        "elanus_balancers()\n"
        "own = sorted(name for name in sys.modules if name.startswith('elanus_balancer_weighted'))\n"
        "assert own == ['elanus_balancer_weighted', 'elanus_balancer_weighted.hooks'], own\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
