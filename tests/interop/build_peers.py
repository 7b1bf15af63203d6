"""Build the Go peers of the interop tests and benchmarks, each once for each state of its sources.

Run it (``python tests/interop/build_peers.py``) to build and print the paths, or call :func:`peer_binary`. Only the
standard library is used, so that any Python can run it before there is an environment.

Needed on a cold machine: Go, and the network for Go's module proxy. Every module is pinned by ``kitex/go.sum``.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "kitex"
IDL = HERE / "idl"
PEERS = HERE.parent.parent / ".peers"

NAME = "kitexpeer"
KITEX = "github.com/cloudwego/kitex"
#: Files that Kitex's tool generates code for; what they include comes with them.
ROOT_IDLS = ("interop.thrift", "bench.thrift")
#: A Go from 1.21 on fetches the newer one that go.mod asks for; an older one does not understand go.mod's ``tool``.
OLDEST_GO = (1, 21)
BUILDING = ".building-"
#: Raise it when the way of building changes: the sources alone would not show that.
RECIPE = "1"


class PeerBuildError(RuntimeError):
    """A peer cannot be built; the text names what is missing or the step that failed, with its last output."""


def peer_binary() -> Path:
    """Give the ``kitexpeer`` executable, built now if it does not exist for these sources.

    A build takes about a minute on a cold machine. Several processes may call this at once: one builds, the others
    wait for it. A finished build is found without Go.

    :raises PeerBuildError: Go is missing or too old, or a step of the build failed.
    """
    home = PEERS / f"{NAME}-{kitex_version()}-{_fingerprint()}"
    binary = home / "bin" / NAME
    if binary.exists():
        return binary
    go = go_tool()
    with build_lock():
        if not binary.exists():
            clear(home)
            _build(go, home)
    return binary


def kitex_version() -> str:
    """The Kitex release that ``kitex/go.mod`` pins, such as ``v0.16.3``."""
    found = re.search(rf"^\s*(?:require )?{re.escape(KITEX)} (v\S+)$", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise PeerBuildError(f"{SOURCES / 'go.mod'} does not pin {KITEX}")
    return found.group(1)


def _sources() -> list[Path]:
    """Everything the binary is made from, without tests, in a stable order."""
    code = [path for path in SOURCES.glob("*.go") if not path.name.endswith("_test.go")]
    return sorted([*code, SOURCES / "go.mod", SOURCES / "go.sum", *IDL.glob("*.thrift")])


def _fingerprint() -> str:
    digest = hashlib.sha256(f"{RECIPE} {platform.system()} {platform.machine()}".encode())
    for path in _sources():
        digest.update(f"\0{path.relative_to(HERE).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def go_tool(what: str = "the Go Kitex peer", how: str = "python build_peers.py") -> str:
    """Path of a ``go`` that can build *what*.

    :raises PeerBuildError: there is none, or it is too old; says that *how* builds it later.
    """
    go = shutil.which("go")
    if go is None:
        raise PeerBuildError(
            f"{what} is not built yet and there is no `go` on PATH; install Go 1.24 or newer "
            f"(https://go.dev/dl) and run `{how}`"
        )
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if found is not None and (int(found.group(1)), int(found.group(2))) < OLDEST_GO:
        raise PeerBuildError(f"{what} needs Go 1.24 or newer; {go} is {version} (https://go.dev/dl)")
    return go


@contextmanager
def build_lock() -> Iterator[None]:
    """Let one build at a time run in this checkout; the lock ends with its process, however that ends."""
    PEERS.mkdir(exist_ok=True)
    # The folder ignores itself, so that no rule elsewhere has to know of it.
    (PEERS / ".gitignore").write_text("*\n")
    with (PEERS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def clear(home: Path) -> None:
    """Remove what a killed build or a careless hand left; under the lock nobody else is building."""
    for leftover in (home, *PEERS.glob(f"{BUILDING}*")):
        shutil.rmtree(leftover, ignore_errors=True)


def _build(go: str, home: Path) -> None:
    """Build in a folder of its own and rename it at the end: *home* is complete or absent, never half-built."""
    with tempfile.TemporaryDirectory(prefix=BUILDING, dir=PEERS) as folder:
        work = Path(folder) / home.name
        source = work / "src"
        _copy_sources(source)
        generator = Path(folder) / "kitex"
        run_step([go, "build", "-o", str(generator), f"{KITEX}/tool/cmd/kitex"], source)
        for idl in ROOT_IDLS:
            # Kitex calls `go` for the module's name, so the generator needs the same environment as the builds.
            run_step([str(generator), "-module", "elanus.test/kitexpeer", f"idl/{idl}"], source)
        run_step([go, "build", "-o", str(work / "bin" / NAME), "."], source)
        work.rename(home)


def _copy_sources(source: Path) -> None:
    for path in _sources():
        target = source / (Path("idl", path.name) if path.parent == IDL else path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def run_step(command: Sequence[str], folder: Path, what: str = "the Go Kitex peer") -> None:
    """Run one step of building *what*.

    :raises PeerBuildError: it failed; with its last output.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        output = "\n".join(done.stdout.splitlines()[-40:])
        shown = " ".join([Path(command[0]).name, *command[1:]])
        raise PeerBuildError(f"building {what} failed at `{shown}` (exit {done.returncode}):\n{output}")


def _environment() -> dict[str, str]:
    """The caller's environment (its proxy and caches stay), less what would build something else."""
    return {
        **os.environ,
        # go.sum is the pin: nothing may be resolved anew. No paths of this machine and no git state in the binary.
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOWORK": "off",
        # A machine with Go need not have a C compiler.
        "CGO_ENABLED": "0",
    }


def main() -> int:
    try:
        print(peer_binary())
    except PeerBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
