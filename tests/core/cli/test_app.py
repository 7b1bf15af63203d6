"""The `elanus` command: its group, `serve`, `plugins` and shell completion."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from elanus.cli.app import build
from elanus.plugin_record import PluginRecord
from elanus.plugins import PluginSet

SERVICE = """
import elanus

greet = elanus.load({idl!r})

class Greeter:
    async def greet(self, request):
        return greet.Greeting(text="hello " + request.name)
    async def wait(self):
        return None

server = elanus.Server()
server.add_service(greet.Greeter, Greeter())

def factory():
    return server

not_a_server = 1
"""


@pytest.fixture
def folder(tmp_path: Path, idl: Path) -> Path:
    (tmp_path / "app.py").write_text(SERVICE.format(idl=str(idl)))
    return tmp_path


def elanus(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "elanus.cli", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )


@pytest.mark.parametrize("target", ["app:server", "app:factory"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_runs_until_a_signal_and_exits_cleanly(
    folder: Path, idl: Path, target: str, number: signal.Signals
) -> None:
    with elanus("serve", target, "--bind", "127.0.0.1:0", cwd=folder) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = line.rpartition(" on ")[2].strip()
        arguments = ["call", address, str(idl), "greet", '{"request": {"name": "you"}}']
        assert json.loads(CliRunner().invoke(build(), arguments).stdout) == {"text": "hello you"}
        process.send_signal(number)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["app"], "Write MODULE:SERVER"),
        (["nowhere:server"], "no module 'nowhere'"),
        (["app:not_a_server"], "Servers in app: server"),
        (["app:server", "-p", "nobody"], "no plugin or module 'nobody'"),
    ],
)
def test_serve_says_what_is_wrong_with_its_target(folder: Path, arguments: list[str], text: str) -> None:
    with elanus("serve", *arguments, cwd=folder) as process:
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 2
        assert text in errors


def test_serve_says_that_the_port_is_taken(folder: Path, address: str) -> None:
    with elanus("serve", "app:server", "--bind", address, cwd=folder) as process:
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert f"cannot listen on {address}" in errors


def test_plugins_lists_what_is_installed_with_what_it_offers() -> None:
    result = CliRunner().invoke(build(), ["plugins", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["codec_thrift"]["offers"] == {"codec": ["thrift"]}
    assert rows["codec_thrift"]["distribution"] == "elanus-codec-thrift"
    assert "ttheader" in rows["transport_ttheader"]["offers"]["transport"]
    table = CliRunner().invoke(build(), ["plugins"]).stdout
    assert all(name in table for name in rows)


@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "--json"]])
def test_plugins_ends_with_1_when_one_has_a_fault(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    records = [PluginRecord("fine", plugin=object()), PluginRecord("broken", faults=[ImportError("no module x")])]
    monkeypatch.setattr(PluginSet, "records", lambda _: records[:1])
    assert CliRunner().invoke(build(), arguments).exit_code == 0
    monkeypatch.setattr(PluginSet, "records", lambda _: records)
    result = CliRunner().invoke(build(), arguments)
    assert result.exit_code == 1
    assert "no module x" in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    result = CliRunner().invoke(build(), ["completion", shell])
    assert result.exit_code == 0
    assert "_ELANUS_COMPLETE" in result.stdout
