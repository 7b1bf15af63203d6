"""The page on troubleshooting has every golden message, word by word, and no other."""

from __future__ import annotations

import re

from tests.core.governance.golden import golden_messages
from tests.docs.pages import ROOT, blocks, prose

PAGE = ROOT / "docs" / "troubleshooting.md"


def messages() -> list[str]:
    """The messages of the page. Long ones are broken into lines there."""
    text = PAGE.read_text(encoding="utf-8").partition("\n## Messages\n")[2]
    return [" ".join(each.split()) for each in re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def test_every_golden_message_is_on_the_page_and_no_other() -> None:
    golden = [text for _, text in golden_messages().values()]
    assert len(golden) >= 20
    assert messages() == golden, "in the order of the file"


def test_every_phase_is_in_the_table() -> None:
    from elanus import timeline

    client = {*timeline._CLIENT_PHASES.values(), timeline._EARLIER}
    rows = set(re.findall(r"^\| `([a-z ]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert client - {"stream"} <= rows
    for phase in set(timeline._SERVER_PHASES.values()) - {"done"}:
        assert f"`{phase}`" in prose(PAGE)


def test_its_example_runs() -> None:
    assert any(block.language == "python" and "run" in block.words for block in blocks(PAGE))
