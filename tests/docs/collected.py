"""Which tests there are: ``python -m tests.docs.collected FILE ...`` prints one JSON object.

Its keys are the tests as pytest names them, parameters included, and its values the names of their marks.
"""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterable

import pytest

from tests.docs.pages import ROOT


def collected(files: Iterable[str]) -> dict[str, list[str]]:
    """The tests in *files*, each with its marks. Collected in a process of its own: pytest does not nest."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.collected", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


class _Notes:
    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tests = {item.nodeid: [mark.name for mark in item.iter_markers()] for item in session.items}


def main() -> int:
    """The exit code; what pytest says is printed when it could not collect."""
    notes, said = _Notes(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[notes])
    print(json.dumps(notes.tests) if code == 0 else said.getvalue())
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
