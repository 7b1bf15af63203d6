"""Build or fetch the registries of the integration tests, each once for each state of its recipe.

Go servers are built from their modules, pinned by the ``go.sum`` beside each recipe; older ones come from Debian's
packages, which are unpacked and not installed, so that nothing starts and no rights are needed.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.interop.build_peers import BUILDING, PEERS, PeerBuildError, build_lock, clear, go_tool, run_step

HERE = Path(__file__).resolve().parent
#: Raise it when the way of building changes: the recipes alone would not show that.
RECIPE = "1"


@dataclass(frozen=True)
class GoServer:
    """A server that is built from Go modules.

    :param name: of the executable, and of the folder beside this file that has its ``go.mod`` and ``go.sum``.
    :param package: the Go package of its ``main``; ``"."`` when that lies in the folder.
    """

    name: str
    package: str

    def binary(self) -> Path:
        """The executable, built now if it is not there yet.

        :raises PeerBuildError: Go is missing or too old, or the build failed.
        """
        home = PEERS / f"{self.name}-{self._fingerprint()}"
        binary = home / "bin" / self.name
        if binary.exists():
            return binary
        go = go_tool(self.name, "python -m tests.integration.build_servers")
        with build_lock():
            if not binary.exists():
                clear(home)
                self._build(go, home)
        return binary

    def _sources(self) -> list[Path]:
        folder = HERE / self.name
        return sorted([*folder.glob("*.go"), folder / "go.mod", folder / "go.sum"])

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{RECIPE} {self.package} {platform.system()} {platform.machine()}".encode())
        for path in self._sources():
            digest.update(f"\0{path.name}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:12]

    def _build(self, go: str, home: Path) -> None:
        """Build in a folder of its own and rename it at the end: *home* is complete or absent, never half-built."""
        with tempfile.TemporaryDirectory(prefix=BUILDING, dir=PEERS) as folder:
            work = Path(folder) / home.name
            source = work / "src"
            source.mkdir(parents=True)
            for path in self._sources():
                shutil.copyfile(path, source / path.name)
            output = work / "bin" / self.name
            run_step([go, "build", "-ldflags", "-s -w", "-o", str(output), self.package], source, self.name)
            work.rename(home)


@dataclass(frozen=True)
class DebianServer:
    """A server out of a package of Debian, for versions that are too old to build.

    :param name: of the executable, and of the package without ``-server``.
    :param version: what its version must begin with.
    """

    name: str
    package: str
    version: str

    def binary(self) -> Path:
        """The executable: the installed one when it fits, else one out of the package, which is fetched now.

        :raises PeerBuildError: this is no Debian, or it has no package of this version.
        """
        installed = Path("/usr/bin", self.name)
        if installed.exists() and self._fits(installed):
            return installed
        home = PEERS / f"{self.name}-debian-{self.version.rstrip('.')}"
        binary = home / "usr" / "bin" / self.name
        if binary.exists():
            return binary
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise PeerBuildError(f"{self.name} {self.version}x comes from Debian's {self.package}; there is no apt-get")
        with build_lock():
            if not binary.exists():
                clear(home)
                self._fetch(home)
        return binary

    def _fits(self, binary: Path) -> bool:
        shown = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
        return re.search(rf"\b{re.escape(self.version)}", shown) is not None

    def _fetch(self, home: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=BUILDING, dir=PEERS) as folder:
            # apt-get gives up its rights for the download; then the folder must be one that anybody may write to.
            Path(folder).chmod(0o777)
            download = ["apt-get", "download", "-q", self.package]
            try:
                run_step(download, Path(folder), self.name)
            except PeerBuildError:
                if os.geteuid() != 0:
                    raise
                run_step(["apt-get", "update", "-q"], Path(folder), self.name)  # a machine that has no lists yet
                run_step(download, Path(folder), self.name)
            (package,) = Path(folder).glob("*.deb")
            work = Path(folder) / home.name
            run_step(["dpkg-deb", "-x", str(package), str(work)], Path(folder), self.name)
            binary = work / "usr" / "bin" / self.name
            if not self._fits(binary):
                raise PeerBuildError(f"Debian's {self.package} here is {package.name}, not {self.version}x")
            work.rename(home)


ETCD = GoServer("etcd", "go.etcd.io/etcd/server/v3")
ETCD_34 = DebianServer("etcd", "etcd-server", "3.4.")
CONSUL = GoServer("consul", ".")
SERVERS: tuple[GoServer | DebianServer, ...] = (ETCD, ETCD_34, CONSUL)


def main() -> int:
    """Build all of them and print where they are."""
    failed = 0
    for server in SERVERS:
        try:
            print(server.binary())
        except PeerBuildError as error:
            failed += 1
            print(error, file=sys.stderr)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
