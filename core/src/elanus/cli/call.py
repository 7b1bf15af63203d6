"""``elanus call``: one call from the command line, with JSON in and out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from elanus.cli.exits import BUSINESS_STATUS, CALL_FAILED, DECLARED_EXCEPTION, USAGE, fail, reported
from elanus.cli.parameters import literals, pairs, plugin_option, run, uvloop_option
from elanus.errors import BizStatusError, CodecError, ElanusError

if TYPE_CHECKING:
    from elanus.contracts.codec import Idl
    from elanus.result import Result
    from elanus.service import MethodInfo, ServiceInfo
    from elanus.timeline import Timeline

__all__ = ["call"]


@dataclass(frozen=True, slots=True)
class _Request:
    """What the command line asks for."""

    address: str
    service: ServiceInfo
    method: MethodInfo
    arguments: Any
    options: dict[str, Any]
    timeout: float
    transient: dict[str, str]
    persistent: dict[str, str]
    explain: bool
    as_json: bool


@click.command()
@click.argument("address")
@click.argument("idl", type=click.Path(exists=True, dir_okay=False))
@click.argument("method", metavar="SERVICE/METHOD")
@click.argument("arguments", metavar="[JSON]", default="{}")
@click.option(
    "-I", "--include", multiple=True, type=click.Path(exists=True, file_okay=False), help="Folder of includes."
)
@click.option("-t", "--timeout", type=float, default=5.0, show_default=True, help="Seconds for the whole call.")
@click.option("-m", "--metadata", "transient", multiple=True, callback=pairs, metavar="KEY=VALUE", help="For one hop.")
@click.option("--persistent", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Metadata for every hop.")
@click.option("--transport", default="ttheader", show_default=True, help="By name, as offered by a plugin.")
@click.option("--option", multiple=True, callback=literals, metavar="KEY=VALUE", help="An option of the transport.")
@click.option("--tls", is_flag=True, help="Speak TLS; the authorities are the system's, or those of --ca-file.")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="PEM file of authorities; implies --tls.")
@click.option("--name", default="", help="The destination's name, when it is not the IDL's service name.")
@click.option("--explain", is_flag=True, help="Show where the time went: phases, attempts, decisions.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object with reply, metadata and timing.")
@uvloop_option
@plugin_option
def call(
    address: str,
    idl: str,
    method: str,
    arguments: str,
    include: tuple[str, ...],
    timeout: float,
    transient: dict[str, str],
    persistent: dict[str, str],
    transport: str,
    option: dict[str, Any],
    tls: bool,
    ca_file: str | None,
    name: str,
    explain: bool,
    as_json: bool,
    uvloop: bool,
) -> None:
    """Call SERVICE/METHOD of IDL at ADDRESS with the arguments in JSON, an object with one key per parameter.

    The service may be left out where the IDL has one. JSON of "-" is read from standard input.
    What $ELANUS_CONFIG names is read for options of the client, as in any process.

    Example: elanus call 127.0.0.1:8888 echo.thrift EchoService/echo '{"request": {"message": "hi"}}'
    """
    from elanus.idl import load
    from elanus.net.tls import client_context

    with reported():
        service, info = _find(load(idl, include), method)
        text = sys.stdin.read() if arguments == "-" else arguments
        values = _values(service, info, text)
        context = client_context(ca_file) if tls or ca_file else None
        options = {"transport": (transport, option), "name": name, "ssl": context}
        request = _Request(address, service, info, values, options, timeout, transient, persistent, explain, as_json)
        run(_call(request), uvloop=uvloop)


async def _call(request: _Request) -> None:
    from elanus.client import Client
    from elanus.metadata import Metadata
    from elanus.timeline import SERVER_TIMELINE

    asked = {SERVER_TIMELINE: "1"} if request.explain else {}
    metadata = Metadata({**request.transient, **asked}, request.persistent)
    async with Client(request.service, request.address, **request.options) as client:
        caller = client.with_options(timeout=request.timeout, metadata=metadata)
        try:
            if request.method.kind.server_streams and not request.method.kind.client_streams:
                async for item in caller.call(request.method.name, *request.arguments):
                    click.echo(request.service.codec.to_json(item))
                return
            result = await caller.invoke(request.method.name, *request.arguments)
        except BizStatusError as status:
            value = {"code": status.code, "message": status.message, "extra": status.extra}
            _failed(request, "biz_status", value, status, BUSINESS_STATUS)
        except ElanusError as error:
            _failed(request, "error", _described(error), error, CALL_FAILED)
        except Exception as error:
            value = _declared(request, error)
            text = f"{type(error).__name__}: {json.dumps(value)}"
            _failed(request, "exception", {"type": type(error).__name__, "value": value}, text, DECLARED_EXCEPTION)
    _succeeded(request, result)


def _described(error: ElanusError) -> dict[str, Any]:
    """An error for machines."""
    return {
        "type": type(error).__name__,
        "text": str(error),
        "instance": error.instance,
        "phase": error.phase,
        "cause": error.cause_text(),
        "next_step": error.hint,
        "sent": error.sent,
    }


def _timing(timeline: Timeline) -> dict[str, Any]:
    """A timeline for machines, in seconds from the start of the call."""
    return {
        "seconds": round(timeline.total, 6),
        "phases": [{"name": name, "seconds": round(seconds, 6)} for name, seconds in timeline.phases],
        "attempts": [
            {
                "number": each.number,
                "kind": each.kind,
                "instance": each.instance,
                "outcome": each.outcome,
                "started": round(each.started, 6),
                "elapsed": None if each.elapsed is None else round(each.elapsed, 6),
            }
            for each in timeline.attempts
        ],
        "server": [{"name": name, "seconds": round(seconds, 6)} for name, seconds in timeline.server],
        "decisions": [{"at": round(at, 6), "attempt": n, "text": text} for at, n, text in timeline.verdicts],
        "timeline": [[event, round(at, 6)] for event, at in timeline.events],
    }


def _declared(request: _Request, error: Exception) -> Any:
    """The value of an exception that the IDL declares; any other is a bug, and keeps its traceback."""
    try:
        return json.loads(request.service.codec.to_json(error))
    except ElanusError:
        raise error from None


def _succeeded(request: _Request, result: Result) -> None:
    from elanus.timeline import SERVER_TIMELINE

    reply = request.service.codec.to_json(result.reply)
    if request.as_json:
        click.echo(
            json.dumps(
                {
                    "reply": json.loads(reply),
                    "metadata": dict(result.metadata),
                    "instance": str(result.instance),
                    "transport": result.transport,
                    "sent_bytes": result.sent_bytes,
                    "received_bytes": result.received_bytes,
                    **_timing(result.timeline),
                }
            )
        )
        return
    click.echo(json.dumps(json.loads(reply), indent=2, ensure_ascii=False))
    for key, value in result.metadata.items():
        if key == SERVER_TIMELINE:
            continue  # the table has it
        click.secho(f"{key}: {value}", fg="cyan", err=True)
    milliseconds = result.timeline.total * 1e3
    sizes = f"{result.sent_bytes} bytes sent, {result.received_bytes} received"
    click.secho(
        f"{request.method} at {result.instance} ({result.transport}): {milliseconds:.2f} ms, {sizes}",
        dim=True,
        err=True,
    )
    if request.explain:
        click.echo(result.timeline.table(), err=True)


def _failed(request: _Request, kind: str, value: Any, failure: ElanusError | str, code: int) -> NoReturn:
    timeline = failure.timeline if isinstance(failure, ElanusError) else None
    if request.as_json:
        click.echo(json.dumps({kind: value, **({} if timeline is None else _timing(timeline))}))
        raise SystemExit(code)
    if request.explain and isinstance(failure, ElanusError):
        click.echo(failure.explain(), err=True)
    fail(str(failure), code)


def _find(idl: Idl, path: str) -> tuple[ServiceInfo, MethodInfo]:
    services = idl.__services__
    service_name, slash, method_name = path.rpartition("/")
    if not slash and len(services) == 1:
        service_name = next(iter(services))
    service = services.get(service_name)
    if service is None:
        fail(f"no service {service_name!r} in the IDL; it has: {', '.join(services) or 'none'}", USAGE)
    method = service.methods.get(method_name)
    if method is None:
        fail(f"{service_name} has no method {method_name!r}; it has: {', '.join(service.methods)}", USAGE)
    if method.kind.client_streams:
        fail(f"{method} takes a stream of requests, which a command line cannot give", USAGE)
    return service, method


def _values(service: ServiceInfo, method: MethodInfo, text: str) -> Any:
    """The arguments in *text*; what does not fit the IDL is a mistake on the command line."""
    try:
        return service.codec.from_json(method.argument_type, text)
    except CodecError as error:
        fail(str(error), USAGE)
