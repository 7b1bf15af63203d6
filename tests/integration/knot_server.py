"""A real name server for tests: Knot DNS out of Debian's packages, whose records change while it runs (RFC 2136)."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.update
from tests.interop.build_peers import BUILDING, PEERS, PeerBuildError, build_lock, clear, run_step

from .servers import ServerError, ServerProcess, free_ports

__all__ = ["BROKEN_DOMAIN", "KnotServer", "knot_command"]

#: The server has a zone of this name and no records for it: every question in it ends in SERVFAIL.
BROKEN_DOMAIN = "broken.test"

_CONFIGURATION = """\
server:
  rundir: {folder}/run
  listen: 127.0.0.1@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: {folder}/data
log:
  - target: stderr
    any: info
acl:
  - id: tests
    address: 127.0.0.1
    action: update
zone:
  - domain: .
    storage: {folder}
    file: root.zone
    acl: tests
    zonefile-sync: -1
    zonefile-load: whole
  - domain: {broken}
    storage: {folder}
    file: missing.zone
"""
#: It is the authority for everything, so that a search domain that has nothing is NXDOMAIN and not REFUSED.
_ROOT_ZONE = """\
. 1 IN SOA ns.test. admin.test. 1 60 60 3600 1
. 1 IN NS ns.test.
ns.test. 1 IN A 127.0.0.1
"""


def knot_command() -> tuple[str, ...]:
    """What starts ``knotd``: the installed one, or one out of Debian's packages, which are fetched now and unpacked.

    :raises PeerBuildError: this is no Debian, or it has no such package.
    """
    installed = Path("/usr/sbin/knotd")
    if installed.exists():
        return (str(installed),)
    home = PEERS / "knot-debian"
    if not home.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise PeerBuildError("knotd comes from Debian's package knot; there is no apt-get")
        with build_lock():
            if not home.exists():
                clear(home)
                _fetch(home)
    libraries = ":".join(str(folder) for folder in home.glob("usr/lib/*-linux-gnu"))
    return "env", f"LD_LIBRARY_PATH={libraries}", str(home / "usr" / "sbin" / "knotd")


def _fetch(home: Path) -> None:
    """Unpack the package and those libraries that this machine lacks; nothing is installed, and nothing starts."""
    with tempfile.TemporaryDirectory(prefix=BUILDING, dir=PEERS) as folder:
        archives = Path(folder, "archives")
        (archives / "partial").mkdir(parents=True)
        options = {"Dir::Cache::archives": str(archives), "Debug::NoLocking": "1", "APT::Sandbox::User": "root"}
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        download = ["apt-get", "install", "-q", "-y", "--download-only", "--no-install-recommends", *settings, "knot"]
        try:
            run_step(download, Path(folder), "knot")
        except PeerBuildError:
            if os.geteuid() != 0:
                raise
            run_step(["apt-get", "update", "-q"], Path(folder), "knot")  # a machine that has no lists yet
            run_step(download, Path(folder), "knot")
        work = Path(folder, home.name)
        for package in archives.glob("*.deb"):
            run_step(["dpkg-deb", "-x", str(package), str(work)], Path(folder), "knot")
        work.rename(home)


class KnotServer(ServerProcess):
    """One name server that is the authority for every name, on UDP and TCP.

    :param command: what starts it, from :func:`knot_command`.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        super().__init__(folder)
        self._knotd = command
        (self.port,) = free_ports(1)
        for name in ("run", "data"):
            (folder / name).mkdir()
        (folder / "root.zone").write_text(_ROOT_ZONE)
        settings = _CONFIGURATION.format(folder=folder, port=self.port, broken=BROKEN_DOMAIN)
        (folder / "knot.conf").write_text(settings)

    @property
    def address(self) -> str:
        """Where it is asked; the same after every restart."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [*self._knotd, "-c", str(self.folder / "knot.conf")]

    def answers(self) -> bool:
        question = dns.message.make_query(".", "SOA")
        try:
            return dns.query.udp(question, "127.0.0.1", port=self.port, timeout=0.2).rcode() == dns.rcode.NOERROR
        except dns.exception.DNSException:
            return False

    def set(self, name: str, kind: str, *values: str, ttl: int = 1) -> None:
        """Let *name* have exactly these records of this kind; without values it has none of it."""
        self.change({name: {kind: values}}, ttl=ttl)

    def change(self, names: dict[str, dict[str, Sequence[str]]], *, ttl: int = 1) -> None:
        """The same for several names and kinds, all at once."""
        update = dns.update.UpdateMessage(".")
        for name, kinds in names.items():
            for kind, values in kinds.items():
                update.delete(f"{name}.", kind)
                for value in values:
                    update.add(f"{name}.", ttl, kind, value)
        answer = dns.query.tcp(update, "127.0.0.1", port=self.port, timeout=5.0)
        if answer.rcode() != dns.rcode.NOERROR:
            raise ServerError(f"knotd refused a change with {dns.rcode.to_text(answer.rcode())}:\n{self.tail()}")
