"""A real Consul for tests: one server that is its own agent. Asked through its HTTP API, without elanus."""

import http.client
import json
import shutil
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from .servers import Certificates, ServerError, ServerProcess, free_ports

__all__ = ["ConsulFactory", "ConsulServer"]

#: The token that may do everything, where users are known. Consul wants it to look like this.
ROOT_TOKEN = "5e2d3c1a-0000-4000-8000-000000000001"


class ConsulServer(ServerProcess):
    """One Consul, alone in its datacenter ``dc1``, with its data in a folder.

    :param certificates: serve HTTPS with them, and take only clients that show a certificate of the same authority.
    :param acl: know users, and let nobody do anything who shows no token.
    """

    def __init__(
        self, binary: Path, folder: Path, *, certificates: Certificates | None = None, acl: bool = False
    ) -> None:
        super().__init__(folder)
        self.certificates = certificates
        self.acl = acl
        self._binary = binary
        self._port, self._server_port, self._serf_port = free_ports(3)
        #: Seconds that a request of a test may take.
        self.patience = 5.0

    @property
    def address(self) -> str:
        """Where clients connect to; the same after every restart."""
        return f"127.0.0.1:{self._port}"

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.folder / "data"

    def command(self) -> Sequence[str]:
        config = self.folder / "consul.json"
        config.write_text(json.dumps(self._config()))
        return [str(self._binary), "agent", f"-config-file={config}"]

    def _config(self) -> dict[str, Any]:
        api, other = ("https", "http") if self.certificates else ("http", "https")
        config: dict[str, Any] = {
            "server": True,
            "bootstrap": True,
            "node_name": "tester",
            "data_dir": str(self.data),
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "ports": {
                api: self._port,
                other: -1,
                "server": self._server_port,
                "serf_lan": self._serf_port,
                "serf_wan": -1,
                "dns": -1,
                "grpc": -1,
                "grpc_tls": -1,
            },
            "performance": {"raft_multiplier": 1},  # alone it need not wait for others
            "connect": {"enabled": False},
            "peering": {"enabled": False},
            "disable_update_check": True,
            "log_level": "warn",
        }
        if self.acl:
            config["acl"] = {
                "enabled": True,
                "default_policy": "deny",
                "policy_ttl": "1s",
                "token_ttl": "1s",
                # Without one of its own the agent may not tell its servers that a service is gone.
                "tokens": {"initial_management": ROOT_TOKEN, "agent": ROOT_TOKEN},
            }
        if self.certificates is not None:
            config["tls"] = {
                "https": {
                    "ca_file": self.certificates.ca_file,
                    "cert_file": self.certificates.cert_file,
                    "key_file": self.certificates.key_file,
                    "verify_incoming": True,
                }
            }
        return config

    def answers(self) -> bool:
        """Whether it has a leader that has taken up its work: the agent itself is then a node that is known."""
        try:
            return bool(self.ask("catalog/node/tester"))
        except ServerError:
            return False

    def version(self) -> str:
        """Such as ``"1.20.6"``."""
        return str(self.ask("agent/self")["Config"]["Version"])

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

    def ask(self, path: str, params: Mapping[str, str] | None = None, *, verb: str = "GET", **body: Any) -> Any:
        """One request to ``/v1/<path>``, as root where users are known; with a body it is a PUT.

        :raises ServerError: it answered with something else than success.
        """
        connection = self._connection()
        target = f"/v1/{quote(path, safe='/:')}" + (f"?{urlencode(params)}" if params else "")
        headers = {"X-Consul-Token": ROOT_TOKEN} if self.acl else {}
        try:
            connection.request("PUT" if body else verb, target, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise ServerError(f"consul answered {response.status} to {path}: {text}")
        return json.loads(text) if text else None

    def put(self, path: str, **body: Any) -> Any:
        """The same as a PUT, also without a body."""
        return self.ask(path, verb="PUT", **body)

    def services(self) -> dict[str, dict[str, Any]]:
        """What its agent has registered, by id."""
        found: dict[str, dict[str, Any]] = self.ask("agent/services")
        return found

    def deregister_all(self) -> None:
        """Make its agent forget every service."""
        for one in self.services():
            self.put(f"agent/service/deregister/{one}")

    def health(self, name: str, *, passing: bool = False) -> list[dict[str, Any]]:
        """The instances of a service, as anybody sees them."""
        found: list[dict[str, Any]] = self.ask(f"health/service/{name}", {"passing": "1"} if passing else None)
        return found

    def new_token(self, name: str, rules: str) -> str:
        """The token of a new user, who may do what *rules* say."""
        self.put("acl/policy", Name=name, Rules=rules)
        return str(self.put("acl/token", Policies=[{"Name": name}])["SecretID"])

    def set_rules(self, name: str, rules: str) -> None:
        """Change what the user of :meth:`new_token` may do."""
        policy = self.ask(f"acl/policy/name/{name}")["ID"]
        self.put(f"acl/policy/{policy}", Name=name, Rules=rules)


ConsulFactory = Callable[..., ConsulServer]
