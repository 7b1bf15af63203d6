"""Documents: TOML as settings by scope, each with its line; and what is no configuration is said with its line."""

from __future__ import annotations

import pytest

from elanus.contracts.config import Setting
from elanus.errors import ConfigError
from elanus_config_file.document import Document

FILE = b"""\
# the house
[client]
timeout = 1.5
[client.retrier]
name = "budget"
attempts = 3

[client.services.EchoService]
timeout = 0.5
methods.echo.timeout = 0.2
[client.services.EchoService.methods.list]
idempotent = true
[client.services.Quiet]

[server]
limiter = { name = "token", qps = 100 }
[server.services."acme.Echo".methods.echo]
handler_timeout = "2s"
"""


def test_tables_become_scopes() -> None:
    document = Document("elanus.toml", FILE)
    assert list(document.scopes()) == [
        "client",
        "client/EchoService",
        "client/EchoService/echo",
        "client/EchoService/list",
        "server",
        "server/acme.Echo/echo",
    ]
    assert document.settings("client") == {
        "timeout": Setting(1.5, "elanus.toml:3"),
        "retrier": Setting(
            {"name": "budget", "attempts": 3}, "elanus.toml:4", {"name": "elanus.toml:5", "attempts": "elanus.toml:6"}
        ),
    }
    assert document.settings("client/EchoService/echo") == {"timeout": Setting(0.2, "elanus.toml:10")}
    assert document.settings("server")["limiter"].inner == {"name": "elanus.toml:16", "qps": "elanus.toml:16"}
    assert document.settings("server/acme.Echo/echo") == {"handler_timeout": Setting("2s", "elanus.toml:18")}
    assert document.settings("client/Quiet") == {}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a = ", "elanus.toml:1: no TOML: Invalid value"),
        (b"[client]\ntimeout = 1\ntimeout = 2\n", "elanus.toml:3: no TOML: Cannot overwrite a value"),
        (b"[client]\n\ntimeout = 1 2\n", "elanus.toml:3: no TOML: Expected newline"),
        (b"[client]\nx = '''\n\n", "elanus.toml:2: no TOML: Expected \"'''\". Mend"),
        (b"[client]\ncaller = '\xff'\n", "elanus.toml:2: the file is not UTF-8. Save it as UTF-8"),
        (b"\n[clients]\n", 'elanus.toml:2: unknown table \'clients\'. A file has "client" and "server"'),
        (b"timeout = 1\n", "elanus.toml:1: unknown table 'timeout'"),
        (b"client = 1\n", "elanus.toml:1: client is no table. Write [client]"),
        (b"[client]\nservices = 1\n", "elanus.toml:2: client.services is no table"),
        (b"[client.services]\nE = 1\n", "elanus.toml:2: client.services.E is no table"),
        (b"[client.services.'a.E']\nmethods = 1\n", 'elanus.toml:2: client.services."a.E".methods is no table'),
        (b"[client.services.E.methods]\ne = 1\n", "elanus.toml:2: client.services.E.methods.e is no table"),
        (
            b"[server]\nthreads = 1\n[server.methods.echo]\n",
            "elanus.toml:3: methods belong to a service. Write [server.services.<service>.methods.<method>]",
        ),
    ],
)
def test_what_is_no_configuration_is_said_with_its_line(content: bytes, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Document("elanus.toml", content)
    assert text in str(caught.value)


def test_lines_end_as_on_windows_too() -> None:
    document = Document("e", FILE.replace(b"\n", b"\r\n"))
    assert document.settings("server/acme.Echo/echo") == {"handler_timeout": Setting("2s", "e:18")}
