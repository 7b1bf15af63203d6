"""`elanus instances`: what a resolver sees, once or as it changes."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from click.testing import CliRunner

from elanus.cli.app import build
from elanus.plugins import installed_plugins
from elanus.service import Instance

ONE = Instance("10.0.0.1:80", 3, {"zone": "a"})
TWO = Instance("10.0.0.2:80")


def announced(directory: Path, *instances: Instance) -> None:
    async def scenario() -> None:
        registry = installed_plugins().select("registry", ("file", {"directory": str(directory), "ttl": 30.0}))
        for instance in instances:
            await registry.register("acme.echo", instance)
        registry._policy.announcements.clear()  # leave the files behind, as a killed process does
        await registry.aclose()

    asyncio.run(scenario())


def arguments(directory: Path, *more: str) -> list[str]:
    return ["instances", "acme.echo", "--resolver", "file", "--option", f"directory={directory}", *more]


def test_lists_address_weight_and_tags(tmp_path: Path) -> None:
    announced(tmp_path / "r", ONE, TWO)
    result = CliRunner().invoke(build(), arguments(tmp_path / "r"))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["10.0.0.1:80  weight 3  zone=a", "10.0.0.2:80  weight 10"]


def test_json_has_the_same_for_machines(tmp_path: Path) -> None:
    announced(tmp_path / "r", ONE)
    printed = json.loads(CliRunner().invoke(build(), arguments(tmp_path / "r", "--json")).stdout)
    assert printed["instances"] == [{"address": "10.0.0.1:80", "weight": 3, "tags": {"zone": "a"}}]


def test_nobody_there_is_an_error_for_scripts(tmp_path: Path) -> None:
    result = CliRunner().invoke(build(), arguments(tmp_path / "r"))
    assert result.exit_code == 1
    assert "resolver 'file' knows no instance of 'acme.echo'" in result.stderr


def test_an_unknown_resolver_or_option_is_a_mistake_on_the_command_line(tmp_path: Path) -> None:
    assert CliRunner().invoke(build(), ["instances", "x", "--resolver", "nope"]).exit_code == 2
    result = CliRunner().invoke(build(), arguments(tmp_path, "--option", "tll=1"))
    assert result.exit_code == 2
    assert "Did you mean 'ttl'?" in result.stderr


def test_watch_prints_each_change_as_it_comes(tmp_path: Path) -> None:
    directory = tmp_path / "r"
    announced(directory, ONE)
    command = [sys.executable, "-u", "-m", "elanus.cli", *arguments(directory, "--watch")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("10.0.0.1:80")
            announced(directory, TWO)
            assert "+ 10.0.0.2:80" in process.stdout.readline()
            time.sleep(0.02)  # so that the file's time differs
            announced(directory, Instance(ONE.address, 4))
            assert "~ 10.0.0.1:80  weight 4" in process.stdout.readline()
        finally:
            process.terminate()
