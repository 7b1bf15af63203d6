"""Links between pages lead somewhere: the file is there, and so is the heading."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, page_name, pages, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: there is no such file"
        assert target.is_relative_to(ROOT), f"{link}: leads out of the repository"
        assert not anchor or anchor in _anchors(target), f"{link}: {target.name} has no such heading"


def test_every_page_can_be_reached() -> None:
    links = [(page, link.partition("#")[0]) for page in pages() for link in _LINK.findall(prose(page))]
    assert set((ROOT / "docs").glob("*.md")) <= {(page.parent / link).resolve() for page, link in links}
