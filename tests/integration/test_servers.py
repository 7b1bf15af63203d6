"""The servers of the integration tests do what tests ask of them."""

import pytest

from .conftest import EtcdFactory
from .servers import Certificates, EtcdServer, ServerError

pytestmark = pytest.mark.integration


def test_both_versions_of_etcd_are_the_ones_they_are_taken_for(etcd: EtcdServer, etcd_34: EtcdServer) -> None:
    assert etcd.version().startswith("3.6.")
    assert etcd_34.version().startswith("3.4.")


@pytest.mark.parametrize("name", ["etcd", "etcd_34"])
def test_keys_are_written_read_and_deleted(name: str, request: pytest.FixtureRequest) -> None:
    server: EtcdServer = request.getfixturevalue(name)
    server.put("a/1", "one")
    server.put("a/2", "zwölf")
    server.compact()
    assert server.get("a/") == {"a/1": "one", "a/2": "zwölf"}
    assert server.delete("a/") == 2
    assert server.get("a/") == {}
    assert server.leases() == []
    assert not server.requests(), "all of these were ours"


def test_data_survives_a_kill_and_not_a_wipe(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    server.put("a", "1")
    server.kill()
    server.start()
    assert server.get("a") == {"a": "1"}
    server.stop()
    server.wipe()
    server.start()
    assert server.get("a") == {}


def test_a_paused_server_answers_nobody_until_it_is_resumed(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    server.patience = 0.5
    server.pause()
    with pytest.raises(OSError, match="timed out"):
        server.version()
    server.resume()
    assert server.version()


def test_users_and_their_rights(start_etcd: EtcdFactory) -> None:
    server = start_etcd()
    server.enable_users()
    server.add_user("alice", "secret", prefix="a/")
    server.put("a/1", "one")
    assert server.get("a/") == {"a/1": "one"}
    server._root_password = ""
    with pytest.raises(ServerError, match="user name is empty"):
        server.get("a/")


def test_tls_wants_a_certificate_of_the_client(start_etcd: EtcdFactory, certificates: Certificates) -> None:
    server = start_etcd(certificates=certificates)
    server.put("a", "1")
    assert server.get("a") == {"a": "1"}
