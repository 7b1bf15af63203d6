"""The table of outages in ``docs/discovery.md`` says nothing that no test proves, and leaves out no tested outage.

Each row has, in a comment, the tests that prove it.
"""

import re

import pytest

from tests.docs.collected import collected
from tests.docs.pages import ROOT, tables

_PAGE = ROOT / "docs/discovery.md"
_COMMENT = re.compile(r"<!--(.*?)-->")
#: What the last column says of a test in such a file.
_WHERE = {
    "tests/integration/test_etcd.py": "etcd",
    "tests/integration/test_outage_etcd.py": "etcd",
    "tests/integration/test_consul.py": "Consul",
    "tests/integration/test_outage_consul.py": "Consul",
    "tests/integration/test_dns.py": "DNS",
    "plugins/registry_file/tests/test_registry_file.py": "files",
    "tests/core/test_client.py": "all",
    "tests/core/test_discovery.py": "all",
    "tests/core/test_server.py": "all",
    "tests/core/net/test_reconciler.py": "all",
}


def _rows() -> dict[str, tuple[str, list[str]]]:
    """By what happens: where it is tested, in words, and the tests."""
    _, found, text = _PAGE.read_text().partition("<!-- outages -->\n")
    assert found, "the table has lost its mark"
    return {
        row[0]: (_COMMENT.sub("", row[-1]).strip(), " ".join(_COMMENT.findall(row[-1])).split())
        for row in tables(text)[0]
    }


@pytest.fixture(scope="module")
def known() -> dict[str, list[str]]:
    """The tests that there are, with their marks."""
    return collected(_WHERE)


def test_every_row_is_proven_by_tests_that_run(known: dict[str, list[str]]) -> None:
    rows = _rows()
    assert rows
    for outage, (_, tests) in rows.items():
        assert tests, f"{outage}: no test is named"
        for test in tests:
            assert test in known, f"{outage}: there is no test {test}"
            assert not {"skip", "skipif", "xfail"} & {*known[test]}, f"{outage}: {test} need not pass"


def test_every_row_says_where_it_was_tested() -> None:
    for outage, (where, tests) in _rows().items():
        assert where.split(", ") == list(dict.fromkeys(_WHERE[test.partition("::")[0]] for test in tests)), outage


def test_every_outage_that_is_tested_has_its_row(known: dict[str, list[str]]) -> None:
    named = {test for _, tests in _rows().values() for test in tests}
    outages = {test for test in known if "::test_an_outage_of_" in test}
    assert len(outages) > 20
    assert outages <= named, f"without a row: {sorted(outages - named)}"
