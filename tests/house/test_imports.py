"""Who may import whom: `lint-imports` checks it; checked here is that it sees everything, and what it cannot see."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.house.sources import ROOT, dotted, members, parsed, place, plugins, source_files, workspace

PURE_KINDS = ("balancer_", "breaker_", "limiter_", "retrier_", "codec_")
OPENERS = {
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "open_connection",
    "open_unix_connection",
    "sock_accept",
    "sock_connect",
    "start_server",
    "start_unix_server",
}


def contract(name: str) -> dict[str, Any]:
    """The import-linter contract of that id."""
    contracts = workspace()["tool"]["importlinter"]["contracts"]
    (found,) = [entry for entry in contracts if entry["id"] == name]
    return dict(found)


def in_core(path: Path, *packages: str) -> bool:
    """Whether a file is in core and in none of its *packages*."""
    module = dotted(path)
    return module.split(".")[0] == "elanus" and module.split(".")[1:2] not in [[package] for package in packages]


@pytest.mark.skipif(find_spec("importlinter") is None, reason="a tool of the main environment, where this test runs")
def test_the_contracts_hold() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    answer = subprocess.run([lint, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout


def test_every_member_is_looked_at() -> None:
    names = {member.module for member in members()}
    apart = {plugin.module for plugin in plugins()}
    assert set(workspace()["tool"]["importlinter"]["root_packages"]) == names
    assert set(contract("plugins-apart")["modules"]) == apart
    assert set(contract("core-alone")["forbidden_modules"]) == apart
    assert set(contract("kit")["source_modules"]) == apart


def test_every_policy_codec_and_protocol_is_held_to_be_pure() -> None:
    pure = {plugin.module for plugin in plugins() if plugin.folder.name.startswith(PURE_KINDS)}
    pure |= {f"{plugin.module}.protocol" for plugin in plugins() if (plugin.source / "protocol").is_dir()}
    assert pure <= set(contract("pure-plugins")["source_modules"])


def test_only_net_and_the_kit_open_connections() -> None:
    found = [
        f"{place(path)}:{node.lineno} {node.func.attr}"
        for path in source_files()
        if in_core(path, "net", "testing")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OPENERS
    ]
    assert not found


def test_only_plugins_builds_a_plugin_manager() -> None:
    found = {
        dotted(path)
        for path in source_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute | ast.Name)
        and "PluginManager" in (getattr(node, "attr", ""), getattr(node, "id", ""))
    }
    assert found == {"elanus.plugins"}


def test_plugins_take_nothing_private_from_core() -> None:
    found = []
    for path in [path for plugin in plugins() for path in plugin.files]:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "elanus":
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                found += [f"{place(path)}:{node.lineno} {name}" for name in names if name.startswith("_")]
            elif isinstance(node, ast.Import):
                names = [
                    part for alias in node.names for part in alias.name.split(".") if alias.name.startswith("elanus.")
                ]
                found += [f"{place(path)}:{node.lineno} {name}" for name in names if name.startswith("_")]
    assert not found


def modules_after(statements: str) -> set[str]:
    """What a fresh interpreter has loaded after *statements*, beyond what it starts with."""
    script = (
        f"import sys\nbefore = set(sys.modules)\n{statements}\nprint('\\n'.join(sorted(set(sys.modules) - before)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


def test_importing_elanus_loads_next_to_nothing() -> None:
    loaded = modules_after("import elanus")
    heavy = {"asyncio", "click", "importlib.metadata", "logging", "pluggy", "socket", "ssl", "uvloop"}
    assert not loaded & heavy
    assert not [module for module in loaded if module.startswith(("elanus.", "elanus_"))]
    assert len(loaded) <= 60, f"{len(loaded)} modules: {sorted(loaded)}"


def test_the_words_of_elanus_need_no_plugin_and_no_loop() -> None:
    loaded = modules_after("import elanus\nelanus.ElanusError, elanus.Instance, elanus.Metadata, elanus.Limits")
    assert not loaded & {"asyncio", "importlib.metadata", "pluggy", "uvloop"}


def test_taking_the_client_looks_for_no_plugin() -> None:
    loaded = modules_after("import elanus\nelanus.Client, elanus.Server, elanus.load")
    assert not loaded & {"uvloop", "click", "thriftpy2"}
    assert not [module for module in loaded if module.startswith("elanus_")]


def test_taking_the_client_builds_no_plugin_manager_and_scans_no_entry_points() -> None:
    # Whoever scans or builds calls these two, wherever it does so.
    modules_after(
        "import importlib.metadata, pluggy\n"
        "def refuse(*args, **kwargs): raise AssertionError('at import')\n"
        "importlib.metadata.entry_points = importlib.metadata.distributions = refuse\n"
        "pluggy.PluginManager.__init__ = refuse\n"
        "import elanus\n"
        "elanus.Client, elanus.Server, elanus.load, elanus.register"
    )
