"""Real registries for tests: one class per server, on free loopback ports, in a folder of its own, ended by pid."""

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

__all__ = ["Certificates", "EtcdServer", "ServerError", "ServerProcess", "free_ports"]

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


class ServerError(RuntimeError):
    """A server did not do what a test asked of it; with the end of its log."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class ServerProcess:
    """A server of which a test can take hold: started, stopped, killed, and held still, as often as it takes.

    :param folder: for its log and its data; the caller removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "log"

    def command(self) -> Sequence[str]:
        """What to run."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it does what it is for, by now. May raise OSError for "no"."""
        raise NotImplementedError

    def start(self) -> None:
        """Start, and wait until it answers.

        :raises ServerError: it ended, or does not answer in time.
        """
        with self._log.open("ab") as log:
            command = self.command()
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        give_up = time.monotonic() + _START_SECONDS
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise ServerError(f"{command[0]} did not start:\n{self.tail()}")
            time.sleep(0.02)

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.answers()
        return False

    def stop(self) -> None:
        """SIGTERM, and wait for the end. No error when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait for the end. No error when it does not run."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # one that is held still would not see a SIGTERM
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and the kernel takes new ones, and nothing is answered."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        # The signal is on its way when this returns; a request could still be served.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise ServerError("the server does not run")
        return self._process

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(frozen=True)
class Certificates:
    """PEM files of an authority, and of one certificate for a server on 127.0.0.1 and one for a client."""

    ca_file: str
    cert_file: str
    key_file: str
    client_cert_file: str
    client_key_file: str

    @classmethod
    def make(cls, folder: Path, client: str = "tester") -> "Certificates":
        """New ones in *folder*; *client* is the common name of the client's."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        issued = {
            "server": authority.issue_cert("127.0.0.1", "localhost"),
            "client": authority.issue_cert("client.test", common_name=client),
        }
        paths = [str(folder / "ca.pem")]
        for name, certificate in issued.items():
            certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
            certificate.private_key_pem.write_to_path(folder / f"{name}-key.pem")
            paths += [str(folder / f"{name}.pem"), str(folder / f"{name}-key.pem")]
        return cls(*paths)


class EtcdServer(ServerProcess):
    """One etcd, alone in its cluster. Asked through its JSON gateway, so that nothing of elanus is in the way.

    :param certificates: serve TLS with them, and take only clients that show a certificate of the same authority.
    :param token_ttl: seconds after which an unused token expires.
    """

    def __init__(
        self, binary: Path, folder: Path, *, certificates: Certificates | None = None, token_ttl: int = 300
    ) -> None:
        super().__init__(folder)
        self.certificates = certificates
        self._binary = binary
        self._token_ttl = token_ttl
        self._port, self._peer_port = free_ports(2)
        self._root_password = ""
        #: Seconds that a request of a test may take.
        self.patience = 5.0
        #: Requests that tests made through the gateway, by the method that they end in.
        self._own_requests: Counter[str] = Counter()

    @property
    def address(self) -> str:
        """Where clients connect to; the same after every restart."""
        return f"127.0.0.1:{self._port}"

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.folder / "data"

    def command(self) -> Sequence[str]:
        scheme = "https" if self.certificates else "http"
        options = {
            "data-dir": str(self.data),
            "listen-client-urls": f"{scheme}://{self.address}",
            "advertise-client-urls": f"{scheme}://{self.address}",
            "listen-peer-urls": f"http://127.0.0.1:{self._peer_port}",
            "initial-advertise-peer-urls": f"http://127.0.0.1:{self._peer_port}",
            "initial-cluster": f"default=http://127.0.0.1:{self._peer_port}",
            # Alone it need not wait for others. They also set the shortest lease that it grants: 1 s.
            "heartbeat-interval": "50",
            "election-timeout": "250",
            "auth-token-ttl": str(self._token_ttl),
            "log-level": "warn",
        }
        if self.certificates is not None:
            options["cert-file"] = self.certificates.cert_file
            options["key-file"] = self.certificates.key_file
            options["trusted-ca-file"] = self.certificates.ca_file
            options["client-cert-auth"] = "true"
        return [str(self._binary), *(f"--{name}={value}" for name, value in options.items())]

    def answers(self) -> bool:
        return json.loads(self._http("GET", "/health")).get("health") in ("true", True)

    def version(self) -> str:
        """Such as ``"3.6.5"``."""
        return str(json.loads(self._http("GET", "/version"))["etcdserver"])

    def wipe(self) -> None:
        """Remove all data. It must not run."""
        assert self._process is None, "stop or kill it first"
        shutil.rmtree(self.data)

    def _connection(self) -> http.client.HTTPConnection:
        if self.certificates is None:
            return http.client.HTTPConnection(self.address, timeout=self.patience)
        context = ssl.create_default_context(cafile=self.certificates.ca_file)
        context.load_cert_chain(self.certificates.client_cert_file, self.certificates.client_key_file)
        return http.client.HTTPSConnection(self.address, timeout=self.patience, context=context)

    def _http(self, verb: str, path: str, body: str | None = None, token: str = "") -> str:
        connection = self._connection()
        try:
            connection.request(verb, path, body, {"Authorization": token} if token else {})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise ServerError(f"etcd answered {response.status} to {path}: {text}")
        return text

    def call(self, path: str, method: str, **fields: Any) -> dict[str, Any]:
        """One request to the gateway, as root where users are known.

        :param path: such as ``"kv/range"``.
        :param method: the gRPC method that serves it, for :meth:`requests`.
        """
        token = ""
        if self._root_password:
            self._own_requests["Authenticate"] += 1
            login = json.dumps({"name": "root", "password": self._root_password})
            token = json.loads(self._http("POST", "/v3/auth/authenticate", login))["token"]
        self._own_requests[method] += 1
        answer: dict[str, Any] = json.loads(self._http("POST", f"/v3/{path}", json.dumps(fields), token))
        return answer

    def put(self, key: str, value: str) -> None:
        """Write a key, without a lease."""
        self.call("kv/put", "Put", key=_base64(key), value=_base64(value))

    def get(self, prefix: str) -> dict[str, str]:
        """Every key that begins with *prefix*, and its value."""
        return {_text(one["key"]): _text(one.get("value", "")) for one in self.entries(prefix)}

    def entries(self, prefix: str) -> list[dict[str, Any]]:
        """The same as the gateway tells it: texts in base64, numbers as texts, with ``lease`` and ``mod_revision``."""
        answer = self.call("kv/range", "Range", key=_base64(prefix), range_end=_base64(_end(prefix)))
        found: list[dict[str, Any]] = answer.get("kvs", [])
        return found

    def delete(self, prefix: str) -> int:
        """Delete every key that begins with *prefix*; how many there were."""
        answer = self.call("kv/deleterange", "DeleteRange", key=_base64(prefix), range_end=_base64(_end(prefix)))
        return int(answer.get("deleted", 0))

    def compact(self) -> None:
        """Forget the history of everything up to now."""
        revision = self.call("kv/range", "Range", key=_base64("none"))["header"]["revision"]
        self.call("kv/compaction", "Compact", revision=revision, physical=True)

    def leases(self) -> list[int]:
        """The leases that are alive."""
        return [int(one["ID"]) for one in self.call("lease/leases", "LeaseLeases").get("leases", [])]

    def lease_ttl(self, lease: int) -> int:
        """The seconds for which *lease* was granted."""
        return int(self.call("lease/timetolive", "LeaseTimeToLive", ID=str(lease))["grantedTTL"])

    def revoke(self, lease: int) -> None:
        """End a lease, and delete its keys."""
        self.call("lease/revoke", "LeaseRevoke", ID=str(lease))

    def enable_users(self) -> None:
        """From now on only users may do anything."""
        self.add_user("root", "root's password", role="root")
        self.call("auth/enable", "AuthEnable")
        self._root_password = "root's password"

    def add_user(self, name: str, password: str, *, role: str = "", prefix: str = "", write: bool = True) -> None:
        """Add a user, who may read (and write) keys that begin with *prefix*, or who has a role that is there."""
        self.call("auth/user/add", "UserAdd", name=name, password=password)
        role = role or f"{name}s"
        if role != "root" or not self._root_password:
            self.call("auth/role/add", "RoleAdd", name=role)
        if prefix:
            permission = {
                "permType": "READWRITE" if write else "READ",
                "key": _base64(prefix),
                "range_end": _base64(_end(prefix)),
            }
            self.call("auth/role/grant", "RoleGrantPermission", name=role, perm=permission)
        self.call("auth/user/grant", "UserGrantRole", user=name, role=role)

    def change_password(self, name: str, password: str) -> None:
        """Give a user another password."""
        self.call("auth/user/changepw", "UserChangePassword", name=name, password=password)

    def requests(self) -> Counter[str]:
        """Requests that it got since its start, by method, without those that tests made through this object."""
        counted: Counter[str] = Counter()
        for method, count in re.findall(
            r'^grpc_server_started_total\{grpc_method="(\w+)".*\} (\S+)$', self._http("GET", "/metrics"), re.MULTILINE
        ):
            counted[method] += int(float(count))
        counted.subtract(self._own_requests)
        return +counted

    def start(self) -> None:
        self._own_requests.clear()  # its counts begin anew, too
        super().start()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(data: str) -> str:
    return base64.b64decode(data).decode()


def _end(prefix: str) -> str:
    """What follows every key that begins with *prefix*."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
