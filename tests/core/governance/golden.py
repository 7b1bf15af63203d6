"""The golden messages: ``golden_errors.txt``, and how a message is made comparable.

``python -m tests.core.governance.golden`` writes the file anew. Read what has changed before you commit it.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from elanus.errors import ElanusError

__all__ = ["PATH", "golden_messages", "heading", "normalised"]

PATH = Path(__file__).parent / "golden_errors.txt"

_ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")
#: How much of a budget is left depends on the machine; how gRPC words a refused connection, on its version.
_VARYING = (
    (re.compile(r"\b\d\.\d{3} s of the budget"), "0.9 s of the budget"),
    (re.compile(r"failed to connect to all addresses.*?(?=\. Check)"), "failed to connect to all addresses"),
)


def normalised(text: str) -> str:
    """*text* with the ports 8001, 8002, ... in the order in which they come, and without what varies between runs."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    ports: dict[str, int] = {}
    return _ADDRESS.sub(lambda found: f"127.0.0.1:{8001 + ports.setdefault(found[1], len(ports))}", text)


def heading(outcome: ElanusError | str) -> str:
    """What stands beside a message's name: the class of the error, and whether the server may have seen the call."""
    if isinstance(outcome, str):
        return "a server's log"
    return f"{type(outcome).__name__}, {'may have been sent' if outcome.sent else 'not sent'}"


def golden_messages() -> dict[str, tuple[str, str]]:
    """Heading and text by name, from the file."""
    found: dict[str, tuple[str, str]] = {}
    for block in PATH.read_text(encoding="utf-8").strip().split("\n\n")[1:]:
        title, _, text = block.partition("\n")
        name, _, words = title.removeprefix("## ").partition(": ")
        found[name] = words, text
    return found


def _write(scenes: Sequence[Callable[[Path], Coroutine[Any, Any, Any]]]) -> None:
    blocks = ["# Messages of elanus, word by word. See golden.py"]
    for scene in scenes:
        with tempfile.TemporaryDirectory() as folder:
            outcome: ElanusError | str = asyncio.run(scene(Path(folder)))
        blocks.append(f"## {scene.__name__}: {heading(outcome)}\n{normalised(str(outcome))}")
    PATH.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


if __name__ == "__main__":
    from .scenes import CLIENT_SCENES, SERVER_SCENES

    _write((*CLIENT_SCENES, *SERVER_SCENES))
