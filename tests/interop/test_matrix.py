"""Row x framing x direction: elanus and Go Kitex v0.16.3 agree on everything that interop.thrift offers.

Each result is named after what it proves, as in ``test_row[echo-ttheaderframed-go_to_py]``. ``ttheader`` has no frame
length behind the header, ``ttheaderframed`` is what Kitex clients send when they are told "TTHeader", ``mux`` is
the latter over one connection with replies out of order.
"""

from collections.abc import Callable
from typing import Any

import pytest

from . import rows_go_to_py, rows_py_to_go
from .conftest import ClientFactory
from .elanus_peers import FRAMINGS, ElanusServer, elanus_client, with_undeclared_method
from .peer import KitexServer
from .rows import Row, Rows
from .service import idl

pytestmark = pytest.mark.interop


def cases(rows: Rows, direction: str) -> list[Any]:
    return [
        pytest.param(row, framing, direction, id=f"{row.name}-{framing}-{direction}")
        for row in rows.values()
        for framing in row.framings
    ]


GO_TO_PY = cases(rows_go_to_py.ROWS, "go_to_py")
PY_TO_GO = cases(rows_py_to_go.ROWS, "py_to_go")


@pytest.mark.parametrize(("row", "framing", "direction"), [*GO_TO_PY, *PY_TO_GO])
async def test_row(
    row: Row,
    framing: str,
    direction: str,
    kitex_server: Callable[..., KitexServer],
    kitex_client: ClientFactory,
    elanus_server: Callable[..., ElanusServer],
) -> None:
    if direction == "go_to_py":
        async with (
            elanus_server(**row.server) as server,
            kitex_client(server.address, transport=FRAMINGS[framing], **row.client) as client,
        ):
            await row.check(client, server, framing)
    else:
        async with (
            kitex_server(mux=framing == "mux", second_service=True, **row.server) as go_server,
            elanus_client(
                go_server.address, framing, service=with_undeclared_method(idl.Interop), **row.client
            ) as py_client,
        ):
            await row.check(py_client, go_server, framing)
            go_server.kill()  # its graceful end takes a good part of a second, a hundred times


def test_both_directions_have_the_same_rows() -> None:
    there, back = rows_go_to_py.ROWS, rows_py_to_go.ROWS
    assert {name: row.framings for name, row in there.items()} == {name: row.framings for name, row in back.items()}
