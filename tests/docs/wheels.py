"""Plugins that a page shows as files, built and installed as their reader would do it."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.docs.pages import ROOT, Block


def installed(files: Sequence[Block], folder: Path) -> str:
    """Build a wheel of each ``pyproject.toml`` among *files* and install it.

    :param files: the ``file=`` blocks of one page.
    :returns: the folder where the wheels were installed: an entry of ``PYTHONPATH``; empty when there were none.
    """
    projects = [Path(block.file).parent for block in files if block.file and Path(block.file).name == "pyproject.toml"]
    if not projects:
        return ""
    sources, wheels, site = folder / "sources", folder / "wheels", folder / "site"
    for block in files:
        assert block.file is not None
        path = sources / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
    for project in projects:
        _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, sources / project])
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{ROOT / '.venv/bin'}")
    assert uv is not None, "make setup installs uv"
    built = sorted(wheels.glob("*.whl"))
    assert len(built) == len(projects)
    _run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--offline",
            "--no-deps",
            "--python",
            sys.executable,
            "--target",
            site,
            *built,
        ]
    )
    return str(site)


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
