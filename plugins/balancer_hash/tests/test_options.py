"""What users write: the name and options; and what importing the hooks costs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import elanus_balancer_hash
from elanus.errors import ConfigError
from elanus.service import Instance
from elanus.testing.calls import make_call
from elanus_balancer_hash import HashBalancer
from elanus_balancer_hash.hooks import elanus_balancers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.contracts.balancer import Balancer


def built(options: Mapping[str, object]) -> Balancer:
    (provider,) = elanus_balancers()
    assert provider.name == "hash"
    return provider.build(options)


def test_by_name_and_by_object_are_the_same() -> None:
    instances = [Instance(f"10.0.0.{number}:80") for number in range(20)]
    options: dict[str, object] = {"points": 37, "load_factor": 1.5, "keyless": "refuse", "seed": 1}
    named = built({"key": "argument:0", **options}).picker(instances)
    made = HashBalancer("argument:0", **options).picker(instances)
    written = HashBalancer(lambda call: call.arguments[0], **options).picker(instances)
    for number in range(200):
        call = make_call(arguments=(number,))
        assert named.pick(call, (), 0.0) == made.pick(call, (), 0.0) == written.pick(call, (), 0.0)


def test_the_name_alone_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"balancer 'hash' has no key to go by.*\"key\": \"argument:"):
        built({})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kye": "metadata:user"}, r"balancer 'hash' has no option 'kye'\. Did you mean 'key'"),
        ({"key": "user"}, r"option 'key' of balancer 'hash' is 'user'"),
        ({"key": 5}, r"option 'key' of balancer 'hash' is 5\. Give a text"),
        ({"keyless": "fail"}, r"option 'keyless' of balancer 'hash' is 'fail'\. Give 'spread' or 'refuse'"),
        ({"placement": "nginx"}, r"option 'placement' .* is 'nginx'\. Give 'own' or 'ketama'"),
        ({"load_factor": 1}, r"option 'load_factor' .* is 1\.0\. Give a number above 1"),
        ({"load_factor": float("nan")}, r"option 'load_factor' .* is nan"),
        ({"points": 0}, r"option 'points' .* is 0\. Give a whole number from 1 to 10000"),
        ({"points": 50, "placement": "ketama"}, r"option 'points' .* is 50\. Leave it out: ketama has 160"),
        ({"seed": "1"}, r"option 'seed' .* is '1'\. Give a whole number"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        built({"key": "metadata:user", **options})


def test_code_gets_the_same_checks() -> None:
    with pytest.raises(ConfigError, match="no option 'pionts'"):
        HashBalancer("metadata:user", pionts=5)


def test_the_package_offers_what_its_all_says() -> None:
    assert elanus_balancer_hash.__all__ == ["HashBalancer"]
    assert "HashBalancer" in dir(elanus_balancer_hash)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = elanus_balancer_hash.nothing_of_this_name  # type: ignore[attr-defined]


def test_asking_for_offers_imports_no_balancer() -> None:
    script = (
        "import sys\n"
        "from elanus_balancer_hash.hooks import elanus_balancers\n"
        "elanus_balancers()\n"
        "own = sorted(name for name in sys.modules if name.startswith('elanus_balancer_hash'))\n"
        "assert own == ['elanus_balancer_hash', 'elanus_balancer_hash.hooks'], own\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
