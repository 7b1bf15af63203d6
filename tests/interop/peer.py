"""The Go Kitex peer as Python objects: a server, a client, a load, each a process that speaks JSON lines.

Every class is an async context manager; leaving it ends the process by its own pid. A peer also ends by itself when
its stdin closes, so none outlives a test run that was killed.

Bytes in arguments are sent as base64, which is how Go's JSON has them; in results they arrive as base64 text
(:func:`binary` turns it back). Map keys that are numbers in the IDL are text in JSON, enums are numbers, a union is
an object with one key.
"""

import asyncio
import base64
import json
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

#: How long a peer may take to start, stop or answer before the test fails. It bounds a hang; it measures nothing.
PATIENCE_SECONDS = 30.0
#: One JSON line may carry some MiB of base64.
LINE_LIMIT_BYTES = 64 << 20

JsonObject = dict[str, Any]


class PeerError(AssertionError):
    """The peer did not do what it was told: it ended, stayed silent, or refused its flags. The text has its log."""


class PeerProcess:
    """One ``kitexpeer`` subcommand, running from ``async with`` on until that is left.

    :param binary: The executable (fixture ``kitexpeer``).
    :param arguments: Subcommand and flags.
    """

    def __init__(self, binary: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._command = (str(binary), *arguments)
        self._environment = None if environment is None else dict(environment)
        self._events: dict[str, asyncio.Queue[JsonObject]] = {}
        self._ended = asyncio.Event()
        self._process: asyncio.subprocess.Process
        self._reader: asyncio.Task[None]
        #: The ``ready`` event: ``pid``, and for servers ``address``.
        self.ready: JsonObject = {}

    async def __aenter__(self) -> Self:
        # Kitex logs a lot on some tests; a file never fills up as a pipe does.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
            limit=LINE_LIMIT_BYTES,
        )
        self._reader = asyncio.create_task(self._read(), name=f"stdout of {self}")
        try:
            self.ready = await self.event("ready")
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __str__(self) -> str:
        return f"kitexpeer {' '.join(self._command[1:])}"

    async def aclose(self) -> None:
        """End the process: by closing its stdin, and by SIGKILL if that is not enough. Idempotent."""
        if self._process.returncode is None:
            self._close_stdin()
            try:
                await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS)
            except TimeoutError:
                self._process.kill()
        await self._process.wait()
        await self._reader
        self._close_stdin()
        self._log.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """``None`` while the process runs."""
        return self._process.returncode

    def log(self) -> str:
        """What the peer and Kitex have written to stderr so far."""
        if self._log.closed:
            return "(log closed)"
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        """Signal this process, and no other."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: every connection is cut at once, nothing is drained."""
        self._process.kill()

    async def wait(self) -> int:
        """Wait for the process to end by itself; its exit status."""
        return await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS)

    async def event(self, name: str, seconds: float = PATIENCE_SECONDS) -> JsonObject:
        """The next event of that name that no earlier call took.

        :raises PeerError: the process ended, or *seconds* passed, without one.
        """
        queue = self._queue(name)
        getting = asyncio.ensure_future(queue.get())
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            pair: set[asyncio.Future[Any]] = {getting, ending}
            await asyncio.wait(pair, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
        finally:
            getting.cancel()
            ending.cancel()
        if not queue.empty():
            return queue.get_nowait()
        raise self._failed(f"gave no event {name!r}")

    def write_line(self, line: str) -> None:
        """Send one line to the peer's stdin."""
        if self._process.stdin is None or self._process.returncode is not None:
            raise self._failed(f"cannot take {line[:80]!r}")
        self._process.stdin.write(line.encode() + b"\n")

    def _queue(self, name: str) -> asyncio.Queue[JsonObject]:
        return self._events.setdefault(name, asyncio.Queue())

    def _failed(self, what: str) -> PeerError:
        state = "still runs" if self.returncode is None else f"ended with {self.returncode}"
        return PeerError(f"{self} {what} ({state}); the end of its log:\n{self.log()[-4000:]}")

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                self._received(json.loads(line))
        finally:
            # The exit status is known a moment after stdout closes; errors raised from here on want to name it.
            await self._process.wait()
            self._ended.set()

    def _received(self, message: JsonObject) -> None:
        self._queue(message["event"]).put_nowait(message)


class KitexServer(PeerProcess):
    """A Go Kitex server; :attr:`address` is where it listens."""

    @property
    def address(self) -> str:
        """``127.0.0.1:port``, or ``unix:/path``."""
        return str(self.ready["address"])

    async def stats(self) -> JsonObject:
        """``cpu_seconds``, ``max_rss_bytes``, ``handled`` (calls whose handler returned), since its start."""
        self.write_line("stats")
        return await self.event("stats")

    def terminate(self) -> None:
        """SIGTERM: Kitex's graceful shutdown begins. :meth:`stopped` waits for its end."""
        self.send_signal(signal.SIGTERM)

    async def stopped(self) -> JsonObject:
        """Wait for the end of a graceful shutdown; the last stats."""
        last = await self.event("stopped")
        await self.wait()
        return last

    async def stop(self) -> JsonObject:
        """SIGTERM, and the last stats once the shutdown is over."""
        self.terminate()
        return await self.stopped()


class KitexClient(PeerProcess):
    """A Go Kitex client that makes calls by name."""

    def __init__(self, binary: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(binary, *arguments, environment=environment)
        self._answers: dict[int, asyncio.Future[JsonObject]] = {}
        self._last_id = 0

    async def call(self, method: str, args: Mapping[str, Any] | None = None, **options: Any) -> JsonObject:
        """Make one call, and give the peer's whole answer.

        :param method: The IDL name; ``no_such_method`` is one that no IDL declares (it takes echo's arguments).
        :param args: One key per IDL parameter. One that is left out is Go's zero value.
        :param options:
            ``service`` ("Interop", "Other"), ``service_name`` (sent instead of the IDL's), ``timeout_ms``,
            ``connect_timeout_ms``, ``cancel_after_ms``, ``retries`` (and ``backup_ms``), ``address``, ``transient`` and
            ``persistent`` (str to str).
        :returns:
            ``result`` (``None`` for void, absent and failed), ``error`` when the call failed (``kind``, ``text``, and
            what the kind has: ``type_id`` and ``message``; ``biz_code``, ``biz_message``, ``biz_extra``; ``type``,
            ``field``, ``value``), ``backward``, ``string_headers`` and ``int_headers`` of the reply (``None`` when no
            reply came; integer keys are ints here), ``elapsed_us``.
        :raises PeerError: the client ended or stayed silent, or the command itself was wrong (kind ``command``).
        """
        answer = await self.try_call(method, args, **options)
        if (answer.get("error") or {}).get("kind") == "command":
            raise PeerError(f"{self} refused the command {method!r}: {answer['error']['text']}")
        return answer

    async def result(self, method: str, args: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """As :meth:`call`, for a call that has to succeed: its result alone.

        :raises PeerError: the call failed; the text has the error.
        """
        answer = await self.call(method, args, **options)
        if "error" in answer:
            raise PeerError(f"{self}: {method} failed: {answer['error']}")
        return answer["result"]

    async def try_call(self, method: str, args: Mapping[str, Any] | None = None, **options: Any) -> JsonObject:
        """As :meth:`call`, but a wrong command is an answer too."""
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "args": json_ready(dict(args or {})), **options}
        future: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._answers[self._last_id] = future
        self.write_line(json.dumps(command))
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            pair: set[asyncio.Future[Any]] = {future, ending}
            await asyncio.wait(pair, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            self._answers.pop(command["id"], None)
        if future.done():
            return future.result()
        raise self._failed(f"gave no answer to {method!r}")

    def _received(self, message: JsonObject) -> None:
        if "event" in message:
            super()._received(message)
            return
        if message["int_headers"] is not None:
            message["int_headers"] = {int(key): value for key, value in message["int_headers"].items()}
        waiting = self._answers.get(message["id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(message)


class KitexLoad(PeerProcess):
    """A steady load of a Go Kitex client, each reply checked against its own request."""

    async def done(self, seconds: float = 120.0) -> JsonObject:
        """Wait for its end: ``ok``, ``wrong``, ``errors``, ``error_texts``, ``error_kinds``, ``seconds``, ``max_us``.

        The first three are counts, ``wrong`` those of replies that were not the call's own; ``max_us`` is the longest
        call. The process ends when its context manager is left.
        """
        return await self.event("done", seconds)

    async def stop(self) -> JsonObject:
        """End the load now; calls in flight are waited for and counted. The same counts as :meth:`done`."""
        self.write_line("stop")
        return await self.done()


def flags(options: Mapping[str, object]) -> list[str]:
    """Keyword arguments as flags: ``mux=True`` is ``--mux``, ``exit_wait_ms=200`` is ``--exit-wait-ms=200``.

    ``None`` and ``False`` leave the flag out.
    """
    return [
        f"--{name.replace('_', '-')}" if value is True else f"--{name.replace('_', '-')}={value}"
        for name, value in options.items()
        if value is not None and value is not False
    ]


def json_ready(value: Any) -> Any:
    """*value* with bytes as base64, sets as lists, and mapping keys as text, all the way down."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item) for item in value]
    return value


def binary(text: str | None) -> bytes:
    """The bytes of a binary field in a result; Go's nil gives ``b""``."""
    return base64.b64decode(text or "", validate=True)
