"""Each wheel stands by itself: built, installed alone in an empty environment, and tested there.

In the workspace everything is installed side by side, so that nothing else would notice a dependency that a
distribution forgot to declare.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.house.sources import ROOT, Member, members, plugins, workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.wheels, pytest.mark.timeout(900)]

UV = Path(sys.executable).parent / "uv"
#: What runs the tests, in the versions that the workspace has pinned.
TOOLS = {"hypothesis", "pytest", "pytest-asyncio", "pytest-timeout"}
#: Tests of core that are about core together with plugins: the defaults, and those that these tests name.
WITH_PLUGINS = (
    "tests/core/cli",
    "tests/core/governance",
    "tests/core/net/test_accepting_tls.py",
    "tests/core/testing/test_simulation_scenarios.py",
)
PLUGINS_BESIDE_DEFAULTS = (
    "elanus-balancer-latency",
    "elanus-breaker-window",
    "elanus-config-file",
    "elanus-limiter-adaptive",
    "elanus-limiter-token",
    "elanus-registry-etcd",
    "elanus-registry-file",
    "elanus-retrier-budget",
)


@dataclass(frozen=True)
class Stand:
    """One environment: what is installed, and which tests run in it."""

    name: str
    #: Distributions whose wheels are installed, with extras. Core comes with every one.
    wheels: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def own_requirements(member: Member) -> tuple[str, ...]:
    """What only the tests of a distribution need: its dependency group ``test``."""
    return tuple(member.project.get("dependency-groups", {}).get("test", ()))


def stands() -> list[Stand]:
    """One per distribution, and one for core with its defaults."""
    core, *_ = members()
    defaults = [
        re.split(r"[\s<>=!~;\[]", entry)[0] for entry in core.project["project"]["optional-dependencies"]["thrift"]
    ]
    found = [
        Stand("elanus", ("elanus[testing,uvloop]",), ("tests/core",), WITH_PLUGINS, own_requirements(core)),
        Stand(
            "elanus[thrift]",
            ("elanus[testing,thrift,uvloop]", *defaults, *PLUGINS_BESIDE_DEFAULTS),
            WITH_PLUGINS,
            (),
            own_requirements(core),
        ),
    ]
    for plugin in plugins():
        folder = plugin.folder.relative_to(ROOT)
        found.append(
            Stand(plugin.name, ("elanus[testing]", plugin.name), (f"{folder}/tests",), (), own_requirements(plugin))
        )
    return found


class Wheelhouse:
    """The wheel of each distribution, built from the workspace as it is when somebody first asks for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        if name not in self._built:
            (member,) = [member for member in members() if member.name == name]
            place = self._folder / name
            run(
                [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, member.folder],
                f"building {name}",
            )
            (self._built[name],) = place.glob("*.whl")
        return self._built[name]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """One wheelhouse for all tests: a plugin that cannot be built fails its own, and nobody else's."""
    return Wheelhouse(tmp_path_factory.mktemp("wheels"))


def run(command: Sequence[str | Path], what: str, cwd: Path | None = None) -> str:
    """The output of a command that has to succeed."""
    # Without the variables that would let the workspace shine through.
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "ELANUS_PLUGINS", "PYTEST_ADDOPTS")
    settings = {name: value for name, value in os.environ.items() if name not in hidden}
    answer = subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.fail(f"{what} failed:\n{answer.stdout[-6_000:]}\n{answer.stderr[-4_000:]}", pytrace=False)
    return answer.stdout


def requirement(entry: str, wheels: Wheelhouse) -> str:
    """``elanus[testing]`` as a requirement that only the wheel that was just built can meet."""
    name, _, extras = entry.partition("[")
    extras = f"[{extras}" if extras else ""
    return f"{name}{extras} @ {wheels[name].as_uri()}"


def environment(stand: Stand, wheels: Wheelhouse, folder: Path) -> Path:
    """The Python of a new environment with the stand's wheels, their dependencies, and what runs tests."""
    place = folder / "environment"
    run([UV, "venv", "--quiet", "--python", sys.executable, place], f"making the environment of {stand}")
    python = place / "bin" / "python"
    tools = [entry for entry in workspace()["dependency-groups"]["test"] if re.split(r"[=<>\[ ]", entry)[0] in TOOLS]
    wanted = [*(requirement(entry, wheels) for entry in stand.wheels), *tools, *stand.extra]
    run([UV, "pip", "install", "--quiet", "--python", python, *wanted], f"installing {stand}")
    return python


def checkout(stand: Stand, folder: Path) -> Path:
    """A copy of the stand's tests, with what they find above them, and no source beside it."""
    place = folder / "checkout"
    place.mkdir()
    shutil.copy(ROOT / "pyproject.toml", place)
    for tests in stand.tests:
        for parent in reversed(Path(tests).parents):
            for above in (ROOT / parent).glob("*"):
                shared = above.name == "README.md" or (above.suffix == ".py" and not above.name.startswith("test_"))
                if shared:
                    (place / parent).mkdir(parents=True, exist_ok=True)
                    shutil.copy(above, place / parent)
        ignore = shutil.ignore_patterns("__pycache__", *(Path(other).name for other in stand.without))
        if (ROOT / tests).is_dir():
            shutil.copytree(ROOT / tests, place / tests, ignore=ignore)
        else:
            (place / tests).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / tests, place / tests)
    return place


@pytest.mark.parametrize("stand", stands(), ids=str)
def test_it_stands_alone(stand: Stand, wheels: Wheelhouse, tmp_path: Path) -> None:
    python = environment(stand, wheels, tmp_path)
    place = checkout(stand, tmp_path)
    marks = "not interop and not soak and not wheels"
    output = run([python, "-m", "pytest", "-q", "-m", marks, *stand.tests], f"the tests of {stand}", cwd=place)
    assert re.search(r"\d+ passed", output), output[-2_000:]
    assert str(ROOT) not in run([python, "-c", "import sys, elanus; print(elanus.__file__, sys.path)"], "a look", place)


@pytest.mark.parametrize("member", members(), ids=lambda member: member.name)
def test_what_is_in_the_wheel(member: Member, wheels: Wheelhouse) -> None:
    with zipfile.ZipFile(wheels[member.name]) as wheel:
        names = wheel.namelist()
        (metadata,) = [wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    packed = {name for name in names if ".dist-info/" not in name}
    sources = {f"{member.module}/{path.relative_to(member.source)}" for path in member.files}
    assert sources <= packed
    assert f"{member.module}/py.typed" in packed
    assert not [name for name in packed if not name.startswith(f"{member.module}/")], "its own package and nothing else"
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert "License-Expression: Apache-2.0" in metadata


@pytest.mark.parametrize("plugin", plugins(), ids=lambda plugin: plugin.name)
def test_its_entry_points_are_its_own(plugin: Member) -> None:
    entry_points = plugin.project["project"]["entry-points"]["elanus"]
    assert entry_points == {plugin.folder.name: f"{plugin.module}.hooks"}
