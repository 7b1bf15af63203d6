"""Runs one page of the documentation: ``python -m tests.docs.runner PAGE FOLDER``, in a process of its own.

See :mod:`tests.docs.pages` for what it does with which block. Exits with 1 and a message that names page and line.
"""

import ast
import asyncio
import contextlib
import difflib
import doctest
import inspect
import io
import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.docs.pages import Block, blocks

_PORTS = ("8888", "8889")
#: How long one command or one page may take: it bounds a hang, and measures nothing.
_PATIENCE_SECONDS = 60.0
_LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class WrongPageError(Exception):
    """What a page says does not hold."""


class Page:
    """A page that is being run in the current folder."""

    def __init__(self, page: Path) -> None:
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._blocks = [_with_ports(block, ports) for block in blocks(page)]
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._printed = ""
        self._status = 0
        self._background: list[subprocess.Popen[str]] = []

    def write_files(self) -> None:
        """Write every ``file=`` of the page."""
        for block in self._blocks:
            if block.file is not None:
                Path(block.file).parent.mkdir(parents=True, exist_ok=True)
                Path(block.file).write_text(block.text)

    async def run(self) -> None:
        """Run what is to be run, in order."""
        for block in self._blocks:
            if block.language == "python" and "run" in block.words:
                await self._run_python(block)
            elif block.language == "console" and "run" in block.words:
                await asyncio.to_thread(self._run_console, block)
            elif block.language == "console" and "background" in block.words:
                await asyncio.to_thread(self._start, block)
            elif "output" in block.words:
                _compare(block, block.text, self._printed)

    async def _run_python(self, block: Block) -> None:
        # Line numbers in a traceback shall be those of the page.
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = eval(code, self._names)
            if inspect.isawaitable(result):
                await result
        self._printed = printed.getvalue()

    def _run_console(self, block: Block) -> None:
        commands = _commands(block)
        for number, (command, expected) in enumerate(commands, 1):
            done = subprocess.run(
                ["bash", "-c", f"(exit {self._status}); {command}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
            self._status = done.returncode
            told = number < len(commands) and commands[number][0] == "echo $?"
            if done.returncode and not told:
                raise WrongPageError(f"{block.place}: `{command}` ends with {done.returncode}\n{done.stdout}")
            if expected:
                _compare(block, expected, done.stdout, command)

    def _start(self, block: Block) -> None:
        ((command, _),) = _commands(block)
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._background.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if "serving" not in line:
            raise WrongPageError(f"{block.place}: `{command}` says {line!r} instead of serving")

    def stop(self) -> None:
        """End what runs in the background."""
        for process in self._background:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=_PATIENCE_SECONDS)
            if process.returncode:
                raise WrongPageError(f"a background command ended with {process.returncode}: {output}")


def _free_ports(count: int) -> list[str]:
    """Ports that nobody has now; all are held at the same time, so they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in sockets]


def _with_ports(block: Block, ports: dict[str, str]) -> Block:
    text = block.text
    for port, free in ports.items():
        text = text.replace(port, free)
    return Block(block.page, block.line, block.language, block.words, text)


def _commands(block: Block) -> list[tuple[str, str]]:
    """Each command of a console block, with what it must print."""
    found: list[tuple[str, str]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), ""))
        elif found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line.removeprefix('> ')}", "")
        else:
            command, expected = found[-1]
            found[-1] = (command, f"{expected}{line}\n")
    return found


def _compare(block: Block, expected: str, printed: str, command: str = "") -> None:
    if doctest.OutputChecker().check_output(expected, printed, _LOOSELY):
        return
    difference = "\n".join(difflib.ndiff(expected.splitlines(), printed.splitlines()))
    raise WrongPageError(f"{block.place}: {f'`{command}` ' if command else ''}prints something else\n{difference}")


async def _run(page: Page) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await page.run()
    finally:
        await asyncio.to_thread(page.stop)


def main() -> int:
    """The exit code."""
    path, folder = (Path(argument).resolve() for argument in sys.argv[1:])
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    page = Page(path)
    page.write_files()
    try:
        asyncio.run(_run(page))
    except WrongPageError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
