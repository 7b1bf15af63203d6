"""The table of docs/cancellation.md is the matrix that the tests run."""

from tests.core.governance.test_cancellation_matrix import CELLS
from tests.docs.pages import ROOT, tables

_PAGE = ROOT / "docs/cancellation.md"


def test_the_rows_are_the_cells_of_the_matrix() -> None:
    _, found, rest = _PAGE.read_text().partition("<!-- cells -->\n")
    assert found
    told = [tuple(row) for row in tables(rest)[0]]
    wanted = [
        (cell.what, cell.kind, ", ".join(cell.transports), cell.caller, cell.handler, cell.connection) for cell in CELLS
    ]
    assert told == wanted


def test_every_happening_has_a_cell_for_every_kind_and_transport() -> None:
    happenings = {"cancel", "timeout", "disconnect", "handler raises", "handler cancels itself"}
    cells = [(cell.what, cell.kind, transport) for cell in CELLS for transport in cell.transports]
    assert len(cells) == len(set(cells))
    assert {*cells} == {
        (what, kind, transport)
        for what in happenings
        for kind in ("unary", "oneway")
        for transport in ("memory", "turns", "shared")
    }
