"""What the pages show works: every Python block compiles, and what is marked runs and prints what the page says."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks, page_name, pages
from tests.docs.wheels import installed

_RUN = {"run", "background"}
_RUNNING = [page for page in pages() if any(_RUN & {*block.words} for block in blocks(page))]
_PYTHON = [block for page in pages() for block in blocks(page) if block.language == "python"]


def _block_name(block: Block) -> str:
    return f"{page_name(block.page)}:{block.line}"


@pytest.mark.parametrize("block", _PYTHON, ids=_block_name)
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.parametrize("page", _RUNNING, ids=page_name)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    site = installed([block for block in blocks(page) if block.file is not None], tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs.runner", str(page), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": site, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_the_main_pages_run() -> None:
    """A page whose marks were lost would pass by not being tested."""
    names = {page_name(page) for page in _RUNNING}
    guides = ("quickstart", "manual", "discovery", "plugins", "middleware")
    contracts = ("codec", "transport", "registry", "resolver", "balancer")
    assert {"README.md", *(f"docs/{name}.md" for name in guides + contracts)} <= names
