"""The Go programs of the quick start, built with Kitex's own generator, talk to the Python ones as the page says."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.interop.build_peers import KITEX, SOURCES

pytestmark = pytest.mark.interop

_PAGE = ROOT / "docs/quickstart.md"
_ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
    "GOWORK": "off",
    "CGO_ENABLED": "0",
}
_PORTS = {"8888": "", "8889": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page and the built programs, as its reader has them after its commands."""
    go = shutil.which("go")
    if go is None:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail("the Go programs of the quick start cannot be built: there is no `go` on PATH", pytrace=False)
        pytest.skip("THE GO PROGRAMS OF THE QUICK START ARE NOT TESTED: there is no `go` on PATH")
    made = tmp_path_factory.mktemp("quickstart")
    with contextlib.ExitStack() as stack:
        for port in _PORTS:
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            _PORTS[port] = str(held.getsockname()[1])
    for block in blocks(_PAGE):
        if block.file is not None:
            path = made / block.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(_with_ports(block.text))
    # The pins of the interop tests in place of `go mod tidy`, which would look for newer ones.
    module = re.sub(r"^module .*$", "module example.com/echo", (SOURCES / "go.mod").read_text(), flags=re.MULTILINE)
    (made / "go.mod").write_text(module)
    shutil.copyfile(SOURCES / "go.sum", made / "go.sum")
    _run(made, go, "build", "-o", "bin/kitex", f"{KITEX}/tool/cmd/kitex")
    _run(made, "bin/kitex", "-module", "example.com/echo", "echo.thrift")
    _run(made, go, "build", "-o", "bin/", "./client", "./server")
    return made


def _with_ports(text: str) -> str:
    for port, free in _PORTS.items():
        text = text.replace(port, free)
    return text


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


@contextlib.contextmanager
def _running(folder: Path, port: str, *command: str) -> Iterator[None]:
    """A server that listens on *port*, for the time of the block."""
    process = subprocess.Popen(command, cwd=folder, env=_ENVIRONMENT)
    try:
        deadline = time.monotonic() + 30
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
                break
            assert time.monotonic() < deadline, f"{command} does not listen"
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
    assert status == 0, f"{command} ended with {status}"


def _shown(command: str) -> str:
    """What the page says that a command prints."""
    text = next(block.text for block in blocks(_PAGE) if block.language == "console" and f"$ {command}\n" in block.text)
    return text.partition(f"$ {command}\n")[2].partition("$ ")[0]


def test_the_go_client_calls_the_python_service(folder: Path) -> None:
    serve = ("elanus", "serve", "service:server", "--bind", f"127.0.0.1:{_PORTS['8888']}")
    with _running(folder, _PORTS["8888"], *serve):
        assert _run(folder, "bin/client") == _shown("go run ./client")


def test_the_python_client_calls_the_go_server(folder: Path) -> None:
    with _running(folder, _PORTS["8889"], "bin/server"):
        printed = _run(folder, "python", "client.py", f"127.0.0.1:{_PORTS['8889']}")
    assert printed == _shown("python client.py 127.0.0.1:8889")
