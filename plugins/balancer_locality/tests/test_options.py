"""What users write: names, options and objects; and what importing the hooks costs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import elanus
import elanus_balancer_locality
from elanus.contracts.balancer import Balancer, Picker
from elanus.errors import ConfigError, PluginError
from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_locality import LocalityBalancer
from elanus_balancer_locality.hooks import elanus_balancers

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from elanus.call import Call


class LastPicker(Picker):
    def __init__(self, instances: Sequence[Instance], skip: int) -> None:
        self.instances = instances[: max(1, len(instances) - skip)]

    def pick(self, call: Call, excluded: Container[Instance], now: float) -> Instance | None:
        return next((one for one in reversed(self.instances) if one not in excluded), None)


class LastBalancer(Balancer):
    name = "last"

    def __init__(self, skip: int = 0) -> None:
        self.skip = skip

    def picker(self, instances: Sequence[Instance], previous: Picker | None = None) -> Picker:
        return LastPicker(instances, self.skip)


class House:
    """A plugin that offers the balancer ``last``."""

    @elanus.hookimpl
    def elanus_balancers(self) -> Sequence[elanus.Provider[Balancer]]:
        return [elanus.Provider("last", lambda options: LastBalancer(**options))]  # type: ignore[arg-type]


@pytest.fixture
def house() -> Iterator[None]:
    plugin = House()
    elanus.register(plugin)
    yield
    elanus.unregister(plugin)


INSTANCES = [
    Instance("a1:80", 10, {"zone": "a"}),
    Instance("a2:80", 10, {"zone": "a"}),
    Instance("b1:80", 10, {"zone": "b"}),
]


def built(options: Mapping[str, object]) -> Balancer:
    (provider,) = elanus_balancers()
    assert provider.name == "locality"
    return provider.build(options)


def first(balancer: Balancer) -> str:
    return str(balancer.picker(INSTANCES).pick(make_call(), (), 0.0))


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("last", "a2:80"),
        (("last", {"skip": 1}), "a1:80"),
        (["last", {"skip": 1}], "a1:80"),
        ({"name": "last", "skip": 1}, "a1:80"),
        ({"name": "last"}, "a2:80"),
        (LastBalancer(), "a2:80"),
        (["locality", {"inner": "last"}], "a2:80"),
    ],
)
def test_the_inner_balancer_is_chosen_as_that_of_a_client(inner: object, expected: str) -> None:
    assert first(built({"inner": inner, "prefer": {"zone": "a"}})) == expected
    assert first(LocalityBalancer(inner, prefer={"zone": "a"})) == expected
    assert first(LocalityBalancer(inner, prefer=[{"zone": "x"}, {"zone": "b"}])) == "b1:80"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"perfer": {"zone": "a"}}, r"balancer 'locality' has no option 'perfer'\. Did you mean 'prefer'"),
        ({"prefer": "zone"}, r"option 'prefer' of balancer 'locality' is 'zone'\. Give tags, such as"),
        ({"prefer": {"zone": 1}}, r"option 'prefer' .* Give tags"),
        ({"prefer": [{}]}, r"option 'prefer' .* Give tags"),
        ({"prefer": ["a"]}, r"option 'prefer' .* Give tags"),
        ({"prefer": 5}, r"option 'prefer' .* is 5"),
        ({"min_instances": 0}, r"option 'min_instances' .* Give a whole number from 1 on"),
        ({"min_share": 1.5}, r"option 'min_share' .* Give a number from 0 to 1"),
        ({"spill_below": 0}, r"option 'spill_below' .* Give a number above 0, to 1 at most"),
        ({"unmatched": "any"}, r"option 'unmatched' .* Give 'refuse' or 'ignore'"),
        ({"filter_by": [1]}, r"option 'filter_by' .* Give a list of texts or nothing at all"),
        ({"inner": 5}, r"5 is no balancer"),
        ({"inner": ["last"]}, r"\('last',\) is no balancer"),
        ({"inner": {"skip": 1}}, r"\{'skip': 1\} is no balancer"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        built({"inner": LastBalancer(), **options})


def test_an_inner_balancer_that_is_not_installed_is_named() -> None:
    with pytest.raises(PluginError, match="no installed plugin offers balancer 'nearest_of_all'"):
        built({"inner": "nearest_of_all"})


def test_the_package_offers_what_its_all_says() -> None:
    for name in elanus_balancer_locality.__all__:
        assert getattr(elanus_balancer_locality, name).__name__ == name
        assert name in dir(elanus_balancer_locality)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = elanus_balancer_locality.nothing_of_this_name  # type: ignore[attr-defined]


def test_asking_for_offers_imports_no_balancer() -> None:
    script = (
        "import sys\n"
        "from elanus_balancer_locality.hooks import elanus_balancers\n"
        "elanus_balancers()\n"
        "own = sorted(name for name in sys.modules if name.startswith('elanus_balancer_locality'))\n"
        "assert own == ['elanus_balancer_locality', 'elanus_balancer_locality.hooks'], own\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
