"""`elanus call`: JSON in and out, errors in words, exit codes for scripts."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from elanus.cli.app import build


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(build(), ["call", *arguments], input=stdin)


def greet(name: str) -> str:
    return json.dumps({"request": {"name": name}})


def test_prints_the_reply_as_json_and_the_timing_beside_it(address: str, idl: Path) -> None:
    result = run(address, str(idl), "Greeter/greet", greet("you"))
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"text": "hello you {}"}
    assert "Greeter/greet at" in result.stderr
    assert "greeted-by: python" in result.stderr


def test_the_service_may_be_left_out_where_there_is_one(address: str, idl: Path) -> None:
    assert run(address, str(idl), "greet", greet("you")).exit_code == 0


def test_arguments_come_from_standard_input(address: str, idl: Path) -> None:
    result = run(address, str(idl), "greet", "-", stdin=greet("pipe"))
    assert json.loads(result.stdout) == {"text": "hello pipe {}"}


def test_json_for_machines_has_reply_metadata_instance_and_timing(address: str, idl: Path) -> None:
    result = run(address, str(idl), "greet", greet("you"), "--json", "-m", "k=v")
    printed = json.loads(result.stdout)
    assert printed["reply"] == {"text": "hello you {'k': 'v'}"}
    assert printed["metadata"]["greeted-by"] == "python"
    assert printed["instance"] == address
    assert printed["seconds"] > 0
    assert printed["sent_bytes"] > printed["received_bytes"] > 0


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("status", 3, "business status 404: nobody of that name"),
        ("declared", 4, 'Refused: {"code": 7, "reason": "no"}'),
        ("broken", 1, "biz error: a bug"),
    ],
)
def test_each_kind_of_refusal_has_its_exit_code(address: str, idl: Path, name: str, code: int, text: str) -> None:
    result = run(address, str(idl), "greet", greet(name))
    assert result.exit_code == code
    assert text in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(("name", "key"), [("status", "biz_status"), ("declared", "exception"), ("broken", "error")])
def test_json_tells_refusals_apart_by_key(address: str, idl: Path, name: str, key: str) -> None:
    result = run(address, str(idl), "greet", greet(name), "--json")
    assert next(iter(json.loads(result.stdout))) == key


def test_a_timeout_names_its_limit(address: str, idl: Path) -> None:
    result = run(address, str(idl), "wait", "--timeout", "0.1")
    assert result.exit_code == 1
    assert "no reply within 0.100 s (timeout)" in result.stderr


def test_explain_shows_where_the_time_went_and_who_answered(address: str, idl: Path) -> None:
    result = run(address, str(idl), "greet", greet("you"), "--explain")
    assert json.loads(result.stdout)["text"].startswith("hello you"), "what scripts read is not mixed with it"
    words = [line.split() for line in result.stderr.splitlines()]
    (told,) = [at for at, line in enumerate(words) if line[-4:] == ["as", "the", "server", "says"]]
    phases = [line[0] for line in words[:told]]
    assert [name for name in phases if name in ("connect", "write", "wait")] == ["connect", "write", "wait"]
    assert ["1", "attempt"] in words
    assert {"queue", "handler", "network"} <= {line[0] for line in words[told:]}
    assert "elanus-timeline" not in result.stderr
    assert any(line[:2] == ["0", "first"] and line[-2:] == [f"{address}:", "ok"] for line in words)


def test_explain_shows_what_an_error_knows(idl: Path) -> None:
    result = run("127.0.0.1:1", str(idl), "greet", greet("you"), "--explain")
    assert result.exit_code == 1
    words = [line.split(None, 1) for line in result.stderr.splitlines()]
    assert ["request", "was not sent"] in words
    assert ["call", "Greeter/greet"] in words
    assert any(line[0] == "next" and "Check that a server listens there" in line[1] for line in words)
    assert any(line[0] == "connect" for line in words), "the phase in which the time went"


def test_json_explains_a_failure_in_values(idl: Path) -> None:
    printed = json.loads(run("127.0.0.1:1", str(idl), "greet", greet("you"), "--json").stdout)
    assert printed["error"]["cause"].startswith("no instance of 'Greeter' can take the call")
    assert printed["error"]["next_step"].startswith("Check that a server listens there")
    assert printed["error"]["sent"] is False
    assert sum(phase["seconds"] for phase in printed["phases"]) == pytest.approx(printed["seconds"], abs=1e-4)
    assert [(each["number"], each["kind"]) for each in printed["attempts"]] == [(0, "first")]
    assert printed["decisions"][0]["text"].startswith("passed over 127.0.0.1:1: ConnectFailedError [connect]")


def test_a_dead_address_is_named_with_the_next_step(idl: Path) -> None:
    result = run("127.0.0.1:1", str(idl), "greet", greet("you"))
    assert result.exit_code == 1
    assert "127.0.0.1:1 [connect]" in result.stderr
    assert "Check that a server listens there" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["Greeter/gret", "{}"], "has no method 'gret'; it has: greet, wait"),
        (["Greter/greet", "{}"], "no service 'Greter' in the IDL; it has: Greeter"),
        (["greet", '{"request": {"nam": 1}}'], "Did you mean 'name'?"),
        (["greet", "{"], "not JSON"),
        (["greet", "{}", "--transport", "pigeon"], "pip install elanus-transport-pigeon"),
        (["greet", "{}", "-m", "novalue"], "is not KEY=VALUE"),
    ],
)
def test_mistakes_on_the_command_line_exit_with_2(address: str, idl: Path, arguments: list[str], text: str) -> None:
    result = run(address, str(idl), *arguments)
    assert result.exit_code == 2
    assert text in result.stderr


def test_tls_is_spoken_when_asked_for_and_its_failure_says_so(address: str, idl: Path) -> None:
    result = run(address, str(idl), "greet", greet("you"), "--tls", "--timeout", "2")
    assert result.exit_code == 1
    assert "the TLS handshake failed" in result.stderr
