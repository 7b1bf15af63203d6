"""Runs the unit tests on every supported Python that the machine has, besides the one of .venv: `make pythons`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUPPORTED = ("3.11", "3.12", "3.13")


def interpreters() -> dict[str, Path]:
    """The supported versions that are installed: on PATH, or where pyenv keeps them."""
    found: dict[str, Path] = {}
    places = [Path(path) for path in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    for version in SUPPORTED:
        for place in places:
            candidate = place / f"python{version}"
            if version not in found and candidate.exists() and _runs(candidate, version):
                found[version] = candidate
    return found


def _runs(candidate: Path, version: str) -> bool:
    """Whether it is more than a shim for a version that is not chosen."""
    answer = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
    return re.match(rf"Python {re.escape(version)}\.", answer.stdout) is not None


def unit_tests(version: str, python: Path) -> int:
    """Set up an environment beside .venv, and run the unit tests there."""
    environment = ROOT / f".venv-{version}"
    uv = Path(sys.prefix) / "bin" / "uv"
    if not environment.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", python, environment], check=True)
    settings = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment), "VIRTUAL_ENV": str(environment)}
    groups = [argument for group in ("workspace", "test") for argument in ("--group", group)]
    subprocess.run([uv, "sync", "--quiet", *groups, "--python", python], cwd=ROOT, env=settings, check=True)
    marks = "not interop and not integration and not wheels and not soak and not bench"
    command = [str(environment / "bin" / "pytest"), "-q", "--numprocesses", "auto", "--dist", "loadfile", "-m", marks]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """The exit code: not 0 when a version fails."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = interpreters()
    missing = [version for version in SUPPORTED if version not in found and version != own]
    if missing:
        print(f"not installed here, so not tested: Python {', '.join(missing)}", file=sys.stderr)
    failed = []
    for version, python in found.items():
        if version == own:
            continue
        print(f"--- Python {version} ({shutil.which(python)})", flush=True)
        if unit_tests(version, python):
            failed.append(version)
    if failed:
        print(f"failed on Python {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
