"""The table of options in each README of a registry or resolver says what its settings say."""

import dataclasses
import re
from typing import Any

import pytest

import elanus_registry_consul.settings
import elanus_registry_etcd.settings
from elanus.reconcile import Rhythm
from elanus_balancer_hash.balancer import HashSettings
from elanus_balancer_latency.settings import LatencySettings
from elanus_balancer_locality.settings import LocalitySettings
from elanus_breaker_window import WindowSettings
from elanus_config_file import FileSettings as ConfigFileSettings
from elanus_limiter_adaptive import AdaptiveSettings
from elanus_limiter_token import TokenSettings
from elanus_registry_file import FileSettings
from elanus_resolver_dns import DnsSettings
from elanus_retrier_budget import BudgetSettings
from tests.docs.pages import ROOT, sections, tables

#: Who takes the options: the registry, the resolver, or both.
_SETTINGS: dict[str, dict[str, type]] = {
    "registry_file": {"registry": FileSettings, "resolver": FileSettings},
    "registry_etcd": {
        "registry": elanus_registry_etcd.settings.RegistrySettings,
        "resolver": elanus_registry_etcd.settings.ResolverSettings,
    },
    "registry_consul": {
        "registry": elanus_registry_consul.settings.RegistrySettings,
        "resolver": elanus_registry_consul.settings.ResolverSettings,
    },
    "resolver_dns": {"resolver": DnsSettings},
    "config_file": {"config": ConfigFileSettings},
    "breaker_window": {"breaker": WindowSettings},
    "retrier_budget": {"retrier": BudgetSettings},
    "balancer_hash": {"balancer": HashSettings},
    "balancer_latency": {"balancer": LatencySettings},
    "balancer_locality": {"balancer": LocalitySettings},
    "limiter_token": {"limiter": TokenSettings},
    "limiter_adaptive": {"limiter": AdaptiveSettings},
}


def _told(plugin: str) -> dict[str, dict[str, str]]:
    """The cells of each option by the head of their column; a row may be of several options.

    Whom an option is for stands in a column ``For``, or in the heading above its table.
    """
    told: dict[str, dict[str, str]] = {}
    for heading, text in sections(ROOT / "plugins" / plugin / "README.md").items():
        of = re.search(r"of the (registry|resolver)$", heading)
        for head, rows in _tables_with_heads(text):
            for row in rows if head[0] == "Option" else ():
                for name in re.findall(r"`(\w+)`", row[0]):
                    assert name not in told, f"{name} has two rows"
                    told[name] = {"For": of[1] if of else "both", **dict(zip(head, row, strict=True))}
    return told


def _tables_with_heads(text: str) -> list[tuple[list[str], list[list[str]]]]:
    # The head of a table is what `tables` takes away: give each a line more to lose.
    doubled = re.sub(r"^(\|.*)\n(\|[-| :]+)$", r"\1\n\2\n\1", text, flags=re.MULTILINE)
    return [(rows[0], rows[1:]) for rows in tables(doubled)]


def _fields(plugin: str) -> dict[str, tuple[Any, set[str]]]:
    """Each option with its default, and who takes it."""
    found: dict[str, tuple[Any, set[str]]] = {}
    for owner, cls in _SETTINGS[plugin].items():
        for item in dataclasses.fields(cls):
            default = None if item.default is dataclasses.MISSING else item.default  # what is made anew is empty
            _, owners = found.setdefault(item.name, (default, set()))
            owners.add(owner)
    return found


def _says(cell: str, default: Any) -> bool:
    """Whether a cell gives this default; one that leaves it open (``None``, nothing) may be put in words."""
    text = cell.strip("`").strip('"')
    if default is None or default in ("", ()):
        return bool(text)
    if isinstance(default, bool):
        return text.lower() == str(default).lower()
    if isinstance(default, int | float):
        return re.fullmatch(r"-?[\d.]+", text) is not None and float(text) == default
    return text == (", ".join(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("plugin", _SETTINGS)
def test_options(plugin: str) -> None:
    told, fields = _told(plugin), _fields(plugin)
    assert set(told) == set(fields), "options without a row, or rows without an option"
    for name, (default, owners) in fields.items():
        assert _says(told[name]["Default"], default), f"{name}: {told[name]['Default']} is not {default!r}"
        who = told[name]["For"]
        assert who == "both" or owners == {who}, f"{name} is for {owners}"
        assert who != "both" or owners == set(_SETTINGS[plugin]), f"{name} is for {owners} only"


def test_the_rhythm() -> None:
    _, found, text = (ROOT / "docs/registry.md").read_text().partition("<!-- options: Rhythm -->\n")
    assert found
    told = {row[0].strip("`"): row[1].strip("`") for row in tables(text)[0]}
    defaults = {item.name: item.default for item in dataclasses.fields(Rhythm)}
    assert told == {name: "" if value is dataclasses.MISSING else str(value) for name, value in defaults.items()}
