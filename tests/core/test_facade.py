"""The facades of elanus and of its kit: lazy for people, explicit for type checkers, and the two agree."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import elanus
import elanus.testing

FACADES = [elanus, elanus.testing]


def declared_imports(path: str) -> dict[str, str]:
    """What the ``if TYPE_CHECKING:`` block of a facade imports: name to module."""
    tree = ast.parse(Path(path).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for name in node.names:
            assert name.asname == name.name, f"write `import {name.name} as {name.name}`, which marks it as exported"
            found[name.name] = str(node.module)
    return found


@pytest.mark.parametrize("facade", FACADES, ids=lambda facade: facade.__name__)
def test_the_lists_of_a_facade_agree(facade: object) -> None:
    declared = declared_imports(facade.__file__)  # type: ignore[attr-defined]
    homes = {name: f"{facade.__name__}.{home}" for name, home in facade._HOMES.items()}  # type: ignore[attr-defined]
    assert declared == homes
    assert sorted(facade.__all__) == facade.__all__ == sorted(declared)  # type: ignore[attr-defined]
    assert set(facade.__all__) <= set(dir(facade))  # type: ignore[attr-defined]


@pytest.mark.parametrize("facade", FACADES, ids=lambda facade: facade.__name__)
def test_every_name_of_a_facade_is_what_its_module_has(facade: object) -> None:
    for name, module in declared_imports(facade.__file__).items():  # type: ignore[attr-defined]
        assert getattr(facade, name) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("facade", FACADES, ids=lambda facade: facade.__name__)
def test_an_unknown_name_is_an_attribute_error(facade: object) -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'Cleint'"):
        facade.Cleint  # type: ignore[attr-defined]  # noqa: B018


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_elanus_loads_next_to_nothing() -> None:
    loaded = loaded_by("import elanus")
    assert {name for name in loaded if name.startswith("elanus")} == {"elanus"}
    assert not loaded & {"asyncio", "pluggy", "uvloop", "importlib.metadata", "thriftpy2", "ssl", "click"}


def test_a_client_and_a_server_load_no_plugin_and_no_uvloop() -> None:
    loaded = loaded_by("import elanus; elanus.Client, elanus.Server, elanus.load")
    assert not {name for name in loaded if name.startswith("elanus_") or name in ("uvloop", "pytest", "click")}


def test_the_kit_needs_no_pytest_until_a_suite_is_used() -> None:
    statement = "from elanus.testing import JsonCodec, MemoryTransport, connected, FakeClock, make_call"
    assert "pytest" not in loaded_by(statement)
    assert "pytest" in loaded_by("from elanus.testing import BalancerSuite")
