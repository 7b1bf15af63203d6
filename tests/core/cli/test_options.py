"""`elanus options`: a configuration checked and shown, without starting anything."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from elanus.cli.app import build

FILE = """\
[client]
timeout = 1.0
pool = { idle = 3 }
[client.services.Shop.methods.slow]
timeout = "5s"
retrier = false
[server.services.Shop]
handler_timeout = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "elanus.toml"
    path.write_text(FILE)
    return path


def run(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(build(), ["options", *map(str, arguments)], **options)


def rows(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.stdout.splitlines()]


def test_what_is_set_is_shown_with_its_line(file: Path) -> None:
    head, timeout, pool = rows(run("--config", file))
    assert head == ["OPTION", "VALUE", "FROM"]
    assert timeout == ["timeout", "1.0", f"{file}:2"]
    assert pool[0] == "pool"


def test_of_a_method_and_of_a_server(file: Path) -> None:
    slow = {row[0]: row[1:] for row in rows(run("--config", file, "--service", "Shop", "--method", "slow"))}
    assert slow["timeout"] == ["5.0", f"{file}:5"]
    assert slow["retrier"] == ["False", f"{file}:6"]
    other = {row[0]: row[1:] for row in rows(run("--config", file, "--service", "Shop", "--method", "find"))}
    assert other["timeout"] == ["1.0", f"{file}:2"]
    server = rows(run("--config", file, "--server", "--service", "Shop", "--method", "any"))
    assert server[1] == ["handler_timeout", "2.0", f"{file}:8"]


def test_the_handlers_of_a_whole_service(file: Path) -> None:
    file.write_text(FILE + "[server.services.Shop.methods.slow]\nenforce_deadline = false\n")
    found = {
        row[0]: row[1:] for row in rows(run("--config", file, "--server", "--service", "Shop", "--method", "slow"))
    }
    assert found["handler_timeout"] == ["2.0", f"{file}:8"]
    assert found["enforce_deadline"] == ["False", f"{file}:10"]


def test_all_and_json(file: Path) -> None:
    printed = json.loads(run("--config", file, "--all", "--json").stdout)
    assert printed["timeout"] == {"value": 1.0, "from": f"{file}:2"}
    assert printed["balancer"] == {"value": "weighted", "from": "default"}
    assert "balancer" not in json.loads(run("--config", file, "--json").stdout)


def test_what_differs_from_another_file(file: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.toml"
    new.write_text(FILE.replace("1.0", "1.5").replace("idle = 3", "idle = 4"))
    result = run("--config", new, "--against", file)
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["timeout", "1.0", "1.5", f"{new}:2"]
    assert lines[2].split()[0] == "pool"
    assert lines[2].split()[-1] == "restart"
    assert run("--config", file, "--against", file).stdout == "No difference.\n"
    (printed, *_) = json.loads(run("--config", new, "--against", file, "--json").stdout)
    assert printed == {"option": "timeout", "before": "1.0", "after": "1.5", "from": f"{new}:2", "needs": ""}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("timout = 1", ":9: unknown option 'timout' of server of Shop. Known: enforce_deadline, handler_timeout"),
        ("[client.services.Other]\nretrier = 'nobody'", ":10: no installed plugin offers retrier 'nobody'"),
        ("[client]\n", ":9: no TOML: Cannot declare"),
        ("[server]\nlimiter = { name = 'token', wrong = 1 }", ":10: limiter 'token' has no option 'wrong'"),
    ],
)
def test_what_is_wrong_anywhere_ends_with_2(file: Path, line: str, text: str) -> None:
    file.write_text(FILE + line)
    result = run("--config", file)
    assert result.exit_code == 2
    assert f"elanus: {file}{text}" in result.stderr


def test_usage(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELANUS_CONFIG", raising=False)
    assert "say which configuration" in run().stderr
    assert "--method needs --service" in run("--config", file, "--method", "x").stderr
    assert run("--config", "nowhere.toml").exit_code == 2
    monkeypatch.setenv("ELANUS_CONFIG", str(file))
    assert rows(run())[1][0] == "timeout"
    file.write_text("")
    assert run().stdout == "Nothing wrong, and nothing set here.\n"


def test_a_service_without_a_table_is_told(file: Path) -> None:
    result = run("--config", file, "--service", "Stok")
    assert rows(result)[1][:2] == ["timeout", "1.0"]
    assert "no table [client.services.Stok]" in result.stderr
    assert "There are tables for: Shop" in result.stderr
    assert run("--config", file, "--service", "Shop").stderr == ""


def test_an_attempt_that_may_take_longer_than_its_call_is_told(file: Path) -> None:
    file.write_text(FILE.replace("timeout = 1.0", "timeout = 1.0\nattempt_timeout = 3.0"))
    result = run("--config", file)
    assert f"{file}:3: attempt_timeout 3.0 is longer than timeout 1.0" in result.stderr
    assert rows(result)
    assert "longer" not in run("--config", file, "--service", "Shop", "--method", "slow").stderr
