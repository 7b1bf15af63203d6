"""py-consul, the maintained fork of python-consul, in its place: the same tests, with the other module of that name."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.interop.build_peers import BUILDING, PEERS, PeerBuildError, build_lock, run_step

from .conftest import binary_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

FORK = "py-consul==1.8.0"
ROOT = Path(__file__).parents[2]
#: Everything that goes through the client: the agents of tests, and both suites on a real Consul.
TESTS = ("plugins/registry_consul/tests", "tests/integration/test_consul.py")


def fork_folder() -> Path:
    """A folder with the fork and nothing else, installed once."""
    home = PEERS / FORK.replace("==", "-")
    if not home.exists():
        uv = Path(sys.executable).with_name("uv")
        if not uv.exists():
            raise PeerBuildError(f"{FORK} is installed with uv, which `make setup` puts beside Python")
        with build_lock(), tempfile.TemporaryDirectory(prefix=BUILDING, dir=PEERS) as folder:
            work = Path(folder) / "site"
            install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", work, FORK]
            run_step([str(word) for word in install], Path(folder), FORK)
            shutil.rmtree(home, ignore_errors=True)
            work.rename(home)
    return home


def run(*command: str, path: str) -> str:
    """The output of a Python that looks in *path* first."""
    settings = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"with {FORK}:\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def fork() -> Path:
    """The folder of the fork."""
    return binary_of(fork_folder)


def test_it_is_the_fork_that_is_imported(fork: Path) -> None:
    ask = "import consul.std; print(consul.std.__file__)"
    assert Path(run("-c", ask, path=str(fork)).strip()) == fork / "consul" / "std.py"
    without = Path(run("-c", ask, path="").strip())
    # The fork has split the client into files of this folder.
    assert (fork / "consul" / "api").exists()
    assert not without.with_name("api").exists()


def test_everything_works_with_it(fork: Path) -> None:
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, path=str(fork))
    assert " passed" in told
    assert " failed" not in told
